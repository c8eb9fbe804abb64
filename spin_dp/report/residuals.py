# SPDX-License-Identifier: LGPL-3.0-or-later
"""Predicted less DFT energies, of a fit to compositions and of models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.systems.system import open_system
from spin_dp.evaluation import MEV_PER_EV, Potential, read_system

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from spin_dp.report.dataset import Dataset

    Floats = NDArray[np.float64]


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
        str(name): open_system(data.folder / str(name)).symbols
        for name in systems.index
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
        A model file, see :class:`spin_dp.evaluation.predict.Potential`; models with
        spin get the moments.
    progress
        Called with what is done, a number and the count.

    Returns
    -------
    Residuals
        Of all kept frames.

    Raises
    ------
    DataError
        If the model cannot be read, lacks an element of the data or gives no number.
    """
    potential = Potential(path)
    frames = data.frames
    values = np.full(len(frames), np.nan)
    members = list(frames.groupby("system", sort=True))
    for number, (name, rows) in enumerate(members):
        if progress is not None:
            progress(path.name, number, len(members))
        energies = potential.predict(read_system(data.folder, str(name))).energies
        predicted = energies[rows["index"].to_numpy()]
        difference = predicted - rows["energy"].to_numpy(dtype=float)
        per_atom = MEV_PER_EV * difference / rows["natoms"].to_numpy()
        values[rows.index.to_numpy()] = per_atom
    name = path.name if path.parent == Path() else f"{path.parent.name}/{path.name}"
    return Residuals(name.lstrip("/"), potential.reads_moments, values)


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
