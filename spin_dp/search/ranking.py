# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which spin state of a structure is lowest: assign states to sites, rank by energy."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spin_dp.errors import ConfigError
from spin_dp.search.choices import find_choices
from spin_dp.search.symmetry import magnetic_space_group
from spin_dp.spin_states.frame_name import SiteKeys
from spin_dp.spin_states.labels import write_labels
from spin_dp.spin_states.orderings import order_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from spin_dp.inference.labelling import Given
    from spin_dp.inference.prediction import Prediction
    from spin_dp.inference.predictor import SpinDP
    from spin_dp.inference.uncertainty import Uncertainty
    from spin_dp.search.choices import Choices
    from spin_dp.spin_states.catalogue import Catalogue

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Codes = NDArray[np.uint8]

log = logging.getLogger(__name__)

DEGENERATE_EV = 1e-6
"""Assignments of one key whose energies differ by less are one state, eV an atom."""

COLUMNS = (
    *("rank", "state", "order", "space_group", "charge", "total_moment", "energy"),
    *("energy_per_fu", "energy_per_site", "above_lowest", "above_lowest_spread"),
    *("above_lowest_interval", "degeneracy", "max_magnetic_force", "becomes"),
    *("labels", "moments"),
)

_ROWS_AT_ONCE = 256


def rank_states(
    structure: Atoms | Structure,
    model: SpinDP,
    elements: Sequence[str] | None = None,
    *,
    states: Mapping[str, Sequence[str | float]] | None = None,
    moments: Given | None = None,
    any_charge: bool = False,
    total_moment: float | None = None,
    max_excited: int | None = None,
    converge: bool | None = None,
    max_patterns: int = 4096,
    keep: int = 512,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Rank spin states of a structure by their energy at fixed positions.

    All assignments of states and signs to the sites of the elements are tried whose
    nominal charges add up to a neutral cell, one of those that a symmetry of the
    structure or the reversal of all moments makes equal; where there would be more than
    ``max_patterns``, likely ones (named orderings, charges spread evenly, one site
    flipped or excited). How many there are is logged before they are tried.

    What the structure carries itself does not count, but for sites of metals that are
    not varied: these keep their labels.

    Parameters
    ----------
    structure
        ASE Atoms or pymatgen Structure.
    model
        The model to ask; of an ensemble the first model ranks.
    elements
        Elements whose states are varied; by default all with spin states that the
        structure has and the model reads.
    states
        States to try of an element, ``{"Mn": ["3+HS", "4+"]}``; a number of μB stands
        for the state with the nearest moment, at that moment. By default all that the
        model knows but solutions without any moment (``NM``).
    moments
        Labels of the metals that are not varied, as for
        :meth:`spin_dp.SpinDP.evaluate`; None: what the structure carries.
    any_charge
        Whether assignments whose charges do not add up are tried, too.
    total_moment
        Sum of the unpaired electrons, up less down: only such assignments; within half
        an electron.
    max_excited
        At most so many sites in a state that is not the most frequent one of its charge
        in the model's data.
    converge
        Whether the moments of each assignment relax: the energy is that of the states
        if the model learnt it, else of the moments that it predicts from them; by
        default if it can.
    max_patterns
        Largest number of assignments to evaluate.
    keep
        Largest number of rows: of more assignments only the lowest are kept, so that
        memory does not grow with their number.
    progress
        Called as ``progress(done, number)`` while assignments are evaluated.

    Returns
    -------
    pandas.DataFrame
        One row a state, lowest first: ``rank``; ``state`` (spin-state key, with the
        tag of the ordering); ``order``; ``space_group`` (number of the magnetic space
        group, BNS; empty of moments off one axis); ``charge`` (e; NaN where it is
        not known); ``total_moment`` (μB); ``energy`` (eV); ``energy_per_fu`` and
        ``energy_per_site`` (eV per formula unit and per site with a state);
        ``above_lowest`` (meV per formula unit) with its spread and interval of an
        ensemble; ``degeneracy`` (equal assignments, up to reversal where that is one);
        ``max_magnetic_force`` (eV/μB; small where the state is a valley; NaN where the
        energy is that of states, not of moments); ``becomes``
        (the key of the moments that it converges to, where that is another one);
        ``labels`` (an expression that names the state); ``moments`` (of all atoms,
        (n, 3), μB). ``attrs`` has ``assignments``, ``distinct`` and ``evaluated``.

    Raises
    ------
    ConfigError
        If an element is not in the structure or has no states in the model; if a metal
        is neither varied nor labelled.
    ShapeError, DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    choices = find_choices(
        structure,
        model,
        elements,
        states=states,
        moments=moments,
        any_charge=any_charge,
        total_moment=total_moment,
        max_excited=max_excited,
    )
    found = _assignments(choices, max_patterns)
    if converge is None:
        converge = model.info.predicts_moments
    lowest = _lowest(choices, model, found, keep, progress, converge=converge)
    table = rank_assignments(
        choices, model, lowest.codes, lowest.numbers, converge=converge
    )
    table.attrs |= found.counts
    return table


def rank_assignments(
    choices: Choices, model: SpinDP, codes: Codes, numbers: Ints, *, converge: bool
) -> pd.DataFrame:
    """Return the table of :func:`rank_states` of assignments.

    Parameters
    ----------
    choices
        What the codes mean.
    model
        As for :func:`rank_states`.
    codes
        Labels of the sites, (k, ns).
    numbers
        How many assignments each stands for, (k,).
    converge
        Whether moments relax.
    """
    atoms = choices.atoms
    patterns = choices.moments(codes)
    result, spreads, reached = _evaluate(atoms, model, patterns, converge=converge)
    namer = _Namer(choices, model.states)
    rows = [
        namer.row(one, number, result, reached[k], k)
        for k, (one, number) in enumerate(zip(codes, numbers.tolist(), strict=True))
    ]
    table = _table(rows, formula_units(atoms), len(atoms), spreads)
    if spreads is not None:
        table.attrs["interval"] = spreads.describe("gap")
    return table


def formula_units(atoms: Atoms) -> int:
    """Return the number of formula units in the cell."""
    counts = list(atoms.symbols.formula.count().values())
    return int(np.gcd.reduce(counts))


@dataclass(frozen=True, eq=False)
class _Found:
    """Assignments to evaluate, block by block: codes, (k, ns), and how many equal."""

    blocks: Iterator[tuple[Codes, Ints]]
    counts: dict[str, int]


@dataclass(frozen=True, eq=False)
class _Lowest:
    codes: Codes
    numbers: Ints
    energies: Floats


def _assignments(choices: Choices, most: int) -> _Found:
    enumeration = choices.enumeration
    number = enumeration.count_all()
    if number == 0:
        names = ", ".join(
            dict.fromkeys(
                element
                for element, options in zip(
                    choices.elements, choices.options, strict=True
                )
                if len(options) > 1
            )
        )
        raise ConfigError(
            f"no assignment of the states of {names} makes the cell neutral within "
            "what is asked for; give other states (--states), or ask for any charge "
            "(--any-charge)."
        )
    distinct = enumeration.count_distinct()
    counts = {"assignments": number, "distinct": distinct, "evaluated": distinct}
    if distinct <= most:
        log.info("%d assignments, %d of them distinct", number, distinct)
        return _Found(_up_to_reversal(choices), counts)
    codes = choices.likely(most)
    log.info(
        "%.3g assignments, %.3g of them distinct: only %d likely ones are tried",
        number,
        distinct,
        len(codes),
    )
    counts["evaluated"] = len(codes)
    return _Found(iter([(codes, np.ones(len(codes), dtype=np.int64))]), counts)


def _up_to_reversal(choices: Choices) -> Iterator[tuple[Codes, Ints]]:
    """Go through distinct assignments; one and its reversal count once."""
    for codes, numbers in choices.enumeration.blocks():
        yield codes, choices.up_to_reversal(codes, numbers)


def _lowest(
    choices: Choices,
    model: SpinDP,
    found: _Found,
    keep: int,
    progress: Callable[[int, int], None] | None,
    *,
    converge: bool,
) -> _Lowest:
    """Return the assignments with the lowest energies, as far as that has to be known.

    Where all are kept, their energies are not needed here.
    """
    total = found.counts["evaluated"]
    n_sites = len(choices.sites)
    best = _Lowest(
        np.zeros((0, n_sites), dtype=np.uint8), np.zeros(0, dtype=np.int64), np.zeros(0)
    )
    done = 0
    for block, numbers in found.blocks:
        for start in range(0, len(block), _ROWS_AT_ONCE):
            codes = block[start : start + _ROWS_AT_ONCE]
            energies = np.zeros(len(codes))
            if total > keep:
                patterns = choices.moments(codes)
                energies = _energies(choices.atoms, model, patterns, converge=converge)
            together = np.concatenate([best.energies, energies])
            order = np.argsort(together, kind="stable")[:keep]
            best = _Lowest(
                np.concatenate([best.codes, codes])[order],
                np.concatenate([best.numbers, numbers[start : start + len(codes)]])[
                    order
                ],
                together[order],
            )
            done += len(codes)
            if progress is not None:
                progress(done, total)
    return best


def _energies(
    atoms: Atoms, model: SpinDP, patterns: Floats, *, converge: bool
) -> Floats:
    """Return the energies that the first model ranks by, (k,), eV."""
    moments = patterns
    if not converge:
        moments, _, _ = model.complete(atoms, patterns)
    elif not model.info.reads_labels:
        moments = model.predict_moments(atoms, patterns)
    return model.energies(atoms, moments)


def _evaluate(
    atoms: Atoms, model: SpinDP, patterns: Floats, *, converge: bool
) -> tuple[Prediction, Uncertainty | None, Floats]:
    """Evaluate the patterns, or what they converge to; all models, if there are.

    Returns
    -------
    tuple
        Predictions of the first model, spreads, and the moments of all atoms,
        (k, n, 3), μB.
    """
    moments = patterns
    if converge:
        moments = model.predict_moments(atoms, patterns)
    if not (converge and model.info.reads_labels):
        if model.ensemble is None:
            result = model.evaluate_many(atoms, moments)
            return result, None, result.moments
        found = model.uncertainty_many(atoms, moments)
        return found.prediction, found, found.prediction.moments
    if model.ensemble is None:
        result, spreads = model.predict(atoms, patterns), None
    else:
        is_number = np.zeros(patterns.shape[:2], dtype=np.bool_)
        spreads = model.ensemble.ask(atoms, patterns, patterns, is_number, states=True)
        result = spreads.prediction
    no_force = np.full_like(result.magnetic_forces, np.nan)
    return replace(result, magnetic_forces=no_force), spreads, moments


class _Namer:
    """Writes the row of each assignment."""

    def __init__(self, choices: Choices, catalogue: Catalogue) -> None:
        self._choices = choices
        self._sites = list(choices.sites)
        self._keys = SiteKeys(
            choices.elements,
            choices.atoms.cell.array,
            choices.atoms.positions[self._sites],
            catalogue,
        )

    def row(
        self, codes: Codes, number: int, result: Prediction, moments: Floats, k: int
    ) -> dict[str, Any]:
        """Return the row of assignment k without what depends on the other rows."""
        reached = moments[self._sites, 2]
        assignment = self._choices.labelled(codes)
        charge = self._choices.charge(codes)
        pattern = self._choices.moments(codes[None])[0]
        return {
            "number": k,
            "degeneracy": number,
            "state": self._keys.key(assignment),
            "order": order_name(
                np.array([state.moment * sign for state, sign in assignment])
            ),
            "space_group": magnetic_space_group(self._choices.atoms, pattern),
            "charge": float("nan") if charge is None else charge,
            "sites": len(self._sites),
            "total_moment": float(moments[:, 2].sum()),
            "energy": float(result.energy[k]),
            "max_magnetic_force": float(
                np.linalg.norm(result.magnetic_forces[k], axis=-1).max()
            ),
            "becomes": self._keys.becomes(assignment, reached),
            "labels": write_labels(
                [
                    (site, state.name, sign)
                    for site, (state, sign) in zip(self._sites, assignment, strict=True)
                ]
            ),
            "moments": moments,
        }


def _table(
    rows: list[dict[str, Any]],
    units: int,
    n_atoms: int,
    spreads: Uncertainty | None,
) -> pd.DataFrame:
    """Return the table; rows of one key and energy are one state."""
    merged: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["energy"]):
        alike = merged.setdefault(row["state"], [])
        twin = next(
            (
                other
                for other in alike
                if row["energy"] - other["energy"] < DEGENERATE_EV * n_atoms
            ),
            None,
        )
        if twin is None:
            alike.append(dict(row))
        else:
            twin["degeneracy"] += row["degeneracy"]
    states = [row for alike in merged.values() for row in alike]
    table = pd.DataFrame(states).sort_values("energy", ignore_index=True)
    table["energy_per_fu"] = table["energy"] / units
    table["energy_per_site"] = table["energy"] / table.pop("sites")
    lowest = table["energy_per_fu"].min()
    table["above_lowest"] = 1000.0 * (table["energy_per_fu"] - lowest)
    scale = 1000.0 / units
    table[["above_lowest_spread", "above_lowest_interval"]] = float("nan")
    if spreads is not None:
        numbers = table["number"].to_numpy()
        reference = int(numbers[0])
        for name, found in (
            ("above_lowest_spread", spreads.gaps(reference)[1]),
            ("above_lowest_interval", spreads.gap_interval(reference)),
        ):
            table[name] = scale * found[numbers]
    table["rank"] = np.arange(1, len(table) + 1)
    return table[list(COLUMNS)]
