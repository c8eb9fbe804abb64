# SPDX-License-Identifier: LGPL-3.0-or-later
"""Predicted less DFT energies, of a fit to compositions and of models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.data_tools.dataset.stored import read_symbols
from spin_dp.errors import DataError
from spin_dp.report.gaps import MEV_PER_EV
from spin_dp.report.systems import read_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from spin_dp.report.dataset import Dataset

    Floats = NDArray[np.float64]

_ATOMS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Residuals:
    """What one way of predicting energies leaves over.

    Attributes
    ----------
    name
        What predicts.
    reads_moments
        Whether it knows the moments; None for the composition fit.
    values
        (E_predicted - E_DFT) / natoms of each frame, (nf,), meV/atom.
    """

    name: str
    reads_moments: bool | None
    values: Floats

    @property
    def rmse(self) -> float:
        """Root mean square, meV/atom."""
        return float(np.sqrt(np.mean(self.values**2)))


def composition_residuals(data: Dataset) -> Residuals:
    """Fit one energy per element within each level of theory.

    Where the compositions of a level do not determine the energies of its elements,
    each formula gets its mean energy.

    Parameters
    ----------
    data
        The data set.

    Returns
    -------
    Residuals
        Of all kept frames.
    """
    frames = data.frames
    values = np.zeros(len(frames))
    systems = frames.groupby("system")["level"].first()
    symbols = {
        str(name): read_symbols(data.folder / str(name)) for name in systems.index
    }
    for _, rows in frames.groupby("level"):
        names = [symbols[str(name)] for name in rows["system"]]
        elements = sorted({symbol for name in set(names) for symbol in name})
        shares = {
            name: [name.count(symbol) / len(name) for symbol in elements]
            for name in set(names)
        }
        per_atom = rows["per_atom"].to_numpy(dtype=float)
        fit = _fit([shares[name] for name in names], per_atom, rows["formula"])
        values[rows.index.to_numpy()] = MEV_PER_EV * (fit - per_atom)
    return Residuals("composition fit", None, values)


def model_residuals(
    data: Dataset,
    path: Path,
    progress: Callable[[str, int, int], None] | None = None,
) -> Residuals:
    """Run a model over all kept frames.

    Parameters
    ----------
    data
        The data set.
    path
        A model that ``deepmd.infer.DeepPot`` reads (.pth, .pt2, .pt, .pb); models
        with spin get the moments.
    progress
        Called with what is done, a number and the count.

    Returns
    -------
    Residuals
        Of all kept frames.

    Raises
    ------
    DataError
        If the model cannot be read or lacks an element of the data.
    """
    potential, known = _load(path)
    frames = data.frames
    values = np.full(len(frames), np.nan)
    members = list(frames.groupby("system", sort=True))
    for number, (name, rows) in enumerate(members):
        system = str(name)
        if progress is not None:
            progress(path.name, number, len(members))
        _check_elements(path, data.folder / system, known)
        energies = _predict(potential, known, data.folder, system)
        predicted = energies[rows["index"].to_numpy()]
        difference = predicted - rows["energy"].to_numpy(dtype=float)
        per_atom = MEV_PER_EV * difference / rows["natoms"].to_numpy()
        values[rows.index.to_numpy()] = per_atom
    if not np.isfinite(values).all():
        raise DataError(
            f"{path}: its energy is not a finite number for "
            f"{int((~np.isfinite(values)).sum())} of {len(values)} frames; check how "
            "it was trained."
        )
    name = path.name if path.parent == Path() else f"{path.parent.name}/{path.name}"
    return Residuals(name.lstrip("/"), bool(potential.has_spin), values)


def _fit(
    shares: Sequence[Sequence[float]], energies: Floats, formulas: pd.Series
) -> Floats:
    matrix = np.array(shares)
    if np.linalg.matrix_rank(np.unique(matrix, axis=0)) == matrix.shape[1]:
        per_element: Floats = np.linalg.lstsq(matrix, energies, rcond=None)[0]
        return matrix @ per_element
    codes = formulas.factorize()[0]
    means: Floats = np.bincount(codes, weights=energies) / np.bincount(codes)
    return np.asarray(means[codes])


def _load(path: Path) -> tuple[Any, list[str]]:
    if not path.is_file():
        raise DataError(
            f"{path}: no such model file; write one with `dp --pt freeze -o {path}`."
        )
    from deepmd.infer import DeepPot

    try:
        potential = DeepPot(str(path), auto_batch_size=False)
        return potential, list(potential.get_type_map())
    except Exception as error:  # each back end of deepmd-kit fails in its own way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{path}: expected a model that deepmd-kit reads ({reason}); write one "
            "with `dp --pt freeze`."
        ) from error


def _check_elements(path: Path, system: Path, known: Sequence[str]) -> None:
    missing = sorted(set(read_symbols(system)) - set(known))
    if missing:
        raise DataError(
            f"{path}: the model knows {', '.join(known)}, but {system} holds "
            f"{', '.join(missing)}; give a model trained with these elements, or leave "
            "the model out."
        )


def _predict(potential: Any, known: list[str], folder: Path, system: str) -> Floats:  # noqa: ANN401
    parts = []
    for block in read_blocks(folder, system, _ATOMS_AT_ONCE):
        nf = len(block.cells)
        spin = {"spin": block.moments.reshape(nf, -1)} if potential.has_spin else {}
        output = potential.eval(
            block.positions.reshape(nf, -1),
            block.cells.reshape(nf, -1),
            [known.index(symbol) for symbol in block.symbols],
            **spin,
        )
        parts.append(np.asarray(output[0], dtype=float).reshape(nf))
    return np.concatenate(parts)
