# SPDX-License-Identifier: LGPL-3.0-or-later
"""Predicted less DFT energies, and those of a fit to compositions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from ase.formula import Formula

from spin_dp.evaluation import MEV_PER_EV

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    errors
        Of a model: ``formula``, ``level``, ``key``, ``frames`` and the RMS errors of
        :data:`spin_dp.evaluation.QUANTITIES`, one row for each formula, level and
        spin-state key; else empty.
    """

    name: str
    reads_moments: bool | None
    values: Floats
    errors: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def rmse(self) -> float:
        """Root mean square, meV/atom."""
        return float(np.sqrt(np.mean(self.values**2)))


def composition_residuals(frames: pd.DataFrame) -> Residuals:
    """Fit one energy per element within each level of theory.

    Where the compositions of a level do not determine the energies of its elements,
    each formula gets its mean energy.

    Parameters
    ----------
    frames
        Kept frames of :func:`spin_dp.report.dataset.read_dataset`.

    Returns
    -------
    Residuals
        Of all frames.
    """
    fits = [_fit(rows) for _, rows in frames.groupby("level")]
    predicted = pd.concat(fits).reindex(frames.index)
    values = MEV_PER_EV * (predicted - frames["per_atom"])
    return Residuals("composition fit", None, values.to_numpy(dtype=float))


def _fit(rows: pd.DataFrame) -> pd.Series:
    """Return fitted energies per atom, eV."""
    formulas = rows["formula"].unique()
    counts = pd.DataFrame([Formula(name).count() for name in formulas], index=formulas)
    shares = counts.fillna(0.0).div(counts.sum(axis=1), axis=0)
    if np.linalg.matrix_rank(shares) < shares.shape[1]:
        return rows.groupby("formula")["per_atom"].transform("mean")
    matrix = shares.loc[rows["formula"]].to_numpy(dtype=float)
    per_atom = rows["per_atom"].to_numpy(dtype=float)
    return pd.Series(matrix @ np.linalg.lstsq(matrix, per_atom)[0], rows.index)
