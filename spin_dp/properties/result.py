# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a property returns: values with units, and whose they are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from matplotlib.figure import Figure

from spin_dp.errors import ConfigError, DataError
from spin_dp.structures import SPIN_STATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from spin_dp.properties.settings import Progress
    from spin_dp.properties.subject import Subject

    Floats = NDArray[np.float64]

_RESULTS = "results"  # of atoms in JSON

OF_SUBJECT = ("formula", "spin_state", "label_mode", "model")
"""Columns that say whose a value is."""


def value(
    unit: str, name: str, *, digits: int = 3, default: float | None = None
) -> Any:  # noqa: ANN401
    """Return the field of a number that has a row in the tables.

    Parameters
    ----------
    unit
        As it is printed; empty of plain numbers.
    name
        In words.
    digits
        After the point, as it is printed.
    default
        Of a number that need not be there.
    """
    metadata = {"unit": unit, "name": name, "digits": digits}
    if default is not None:
        return field(metadata=metadata, default=default)
    return field(metadata=metadata)


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What all properties have in common; each is a subclass with its own values.

    Numbers declared by :func:`value` are the rows of :meth:`table`; fields that are
    pandas tables are curves, and each is written to a file of its own.

    Attributes
    ----------
    formula
        Of the cell.
    spin_state
        Key of the spin state that was asked for, :mod:`spin_dp.spin_states.key`.
    label_mode
        ``adiabatic``, ``held`` or ``free``, see :class:`spin_dp.properties.Subject`.
    model
        What gave the energies.
    becomes
        Key of the moments at the end where the state did not hold; empty if it did.
    spread
        Standard deviation of each value over the models of an ensemble (divided by
        their number less one), by its field; None of a single one.
    seconds
        Time that it took, of all models; None where nobody timed it.
    geometries
        What found the geometries, where it is another than gave the energies.
    """

    name: ClassVar[str]
    """Of the property."""
    overlay: ClassVar[bool] = False
    """Whether results of several spin states are drawn into one picture."""

    formula: str
    spin_state: str
    label_mode: str
    model: str
    becomes: str = ""
    spread: Mapping[str, float] | None = None
    seconds: float | None = None
    geometries: str = ""

    def table(self) -> pd.DataFrame:
        """Return one row a value.

        Returns
        -------
        pandas.DataFrame
            Columns ``property``, ``formula``, ``spin_state``, ``label_mode``,
            ``model``, ``quantity``, ``value``, ``spread`` (NaN where there is none),
            ``unit`` and ``field`` (the attribute).
        """
        spread = self.spread or {}
        rows = [
            {
                "property": self.name,
                **{name: getattr(self, name) for name in OF_SUBJECT},
                "quantity": one.metadata["name"],
                "value": float(getattr(self, one.name)),
                "spread": float(spread.get(one.name, np.nan)),
                "unit": one.metadata["unit"],
                "field": one.name,
            }
            for one in self.values()
        ]
        return pd.DataFrame(rows)

    @classmethod
    def values(cls) -> list[Any]:
        """Return the dataclass fields that are rows of the table."""
        return [one for one in fields(cls) if "unit" in one.metadata]

    def curves(self) -> dict[str, pd.DataFrame]:
        """Return the fields that are tables, by name."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {k: v for k, v in found.items() if isinstance(v, pd.DataFrame)}

    def to_json(self) -> str:
        """Return all fields as JSON, which :meth:`from_json` reads."""
        content = {one.name: _plain(getattr(self, one.name)) for one in fields(self)}
        text = {"property": self.name, **content}
        return json.dumps(text, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the result that :meth:`to_json` wrote.

        Raises
        ------
        DataError
            If the text is no such result.
        """
        try:
            content = json.loads(text)
            if content.pop("property") != cls.name:
                raise KeyError("property")
            known = {one.name: str(one.type) for one in fields(cls)}
            return cls(**{k: _restored(v, known[k]) for k, v in content.items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"expected a result of {cls.name} as JSON, got {text[:40]!r} "
                f"({error}); run it anew."
            ) from error

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw it.

        Parameters
        ----------
        axes
            Into these; None: into those of a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            With ``axes.figure`` to save.
        """
        if axes is None:
            figure = Figure(figsize=(6.4, 4.4), layout="constrained")
            axes = figure.subplots()
        self.draw(axes)
        return axes

    def draw(self, axes: Axes) -> None:
        """Draw into axes; what :meth:`plot` calls, for subclasses to write."""
        raise NotImplementedError

    def frames(self) -> list[Atoms]:
        """Return the structures that go into a file: that in field ``structure``."""
        structure = getattr(self, "structure", None)
        return [] if structure is None else [structure]

    def remarks(self) -> list[str]:
        """Return what must be known of it, such as that it is unstable."""
        return []

    def at_same_geometries(
        self,
        other: Subject,
        progress: Progress | None = None,  # noqa: ARG002 - subclasses tell
    ) -> Self:
        """Return the same by the energies of another one, where nothing relaxes.

        Parameters
        ----------
        other
            What gives energies, DFT or another model. Its structure and labels do not
            count: each geometry carries its own.
        progress
            Called as ``progress(what, done, total)``.

        Raises
        ------
        ConfigError
            If this property keeps no geometries (:meth:`keeps_geometries`).
        BackendError
            If DFT fails.
        """
        raise ConfigError(
            f"{self.name} keeps no geometries, so that {other.model} can only "
            "calculate it by itself."
        )

    @classmethod
    def keeps_geometries(cls) -> bool:
        """Return whether :meth:`at_same_geometries` can be asked."""
        return cls.at_same_geometries is not Result.at_same_geometries

    @property
    def label(self) -> str:
        """What it is called in a legend."""
        return f"{self.spin_state.partition('#')[0]}, {self.model}"


def with_spread(results: Sequence[Any]) -> Any:  # noqa: ANN401 - of one subclass
    """Return the first of the results of an ensemble with the spread of all.

    Parameters
    ----------
    results
        Of each model, of one subclass of :class:`Result`.
    """
    first = results[0]
    if len(results) == 1:
        return first
    spread = {}
    for one in first.values():
        numbers = np.array([getattr(result, one.name) for result in results])
        spread[one.name] = float(np.std(numbers.astype(float), ddof=1))
    return replace(first, spread=spread)


def _plain(content: Any) -> Any:  # noqa: ANN401
    """Return what JSON can hold; no number is null."""
    if isinstance(content, pd.DataFrame):
        return {str(name): _plain(content[name].to_numpy()) for name in content}
    if isinstance(content, Atoms):
        return {
            "symbols": content.get_chemical_symbols(),
            "positions": content.positions.tolist(),
            "cell": content.cell.array.tolist(),
            "pbc": content.pbc.tolist(),
            "initial_magmoms": content.get_initial_magnetic_moments().tolist(),
            **(
                {SPIN_STATES: content.arrays[SPIN_STATES].tolist()}
                if content.has(SPIN_STATES)
                else {}
            ),
            **_calculated(content),
        }
    if isinstance(content, np.ndarray | np.generic):
        return _plain(content.tolist())
    if isinstance(content, dict):
        return {str(key): _plain(one) for key, one in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(one) for one in content]
    if isinstance(content, float) and not np.isfinite(content):
        return None
    return content


def _calculated(atoms: Atoms) -> dict[str, Any]:
    """Return what a calculator left with atoms, where it is frozen there."""
    if not isinstance(atoms.calc, SinglePointCalculator):
        return {}
    return {_RESULTS: {k: _plain(v) for k, v in atoms.calc.results.items()}}


def _restored(content: Any, kind: str) -> Any:  # noqa: ANN401
    """Return a field from JSON by its annotation."""
    if content is None:
        return None if "None" in kind else float("nan")
    if "DataFrame" in kind:
        return pd.DataFrame(content)
    if kind.startswith("tuple[Atoms"):
        return tuple(_atoms(one) for one in content)
    if "Atoms" in kind:
        several = isinstance(content, list)
        return tuple(map(_atoms, content)) if several else _atoms(content)
    if "Floats" in kind:
        return np.array(content, dtype=np.float64)
    if kind.startswith("tuple"):
        return tuple(content)
    if kind.startswith("Mapping"):
        return {k: float("nan") if v is None else v for k, v in content.items()}
    return content


def _atoms(content: Mapping[str, Any]) -> Atoms:
    atoms = Atoms(
        content["symbols"],
        positions=content["positions"],
        cell=content["cell"],
        pbc=content["pbc"],
        magmoms=content["initial_magmoms"],
    )
    if SPIN_STATES in content:
        atoms.set_array(SPIN_STATES, np.array(content[SPIN_STATES]))
    if _RESULTS in content:
        results = {k: np.array(v) for k, v in content[_RESULTS].items()}
        results |= {k: float(v) for k, v in results.items() if not v.ndim}
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
