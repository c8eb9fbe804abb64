# SPDX-License-Identifier: LGPL-3.0-or-later
"""Measures of a model on labelled frames: pure functions of arrays.

A frame is one DFT solution: a geometry with the moments it converged to. Several
frames may share a geometry; what tells a spin-aware model from a spin-blind one is
how well it knows them apart. The gap and the order are measured on pairs of frames
(see :func:`state_pairs`), everything else on single frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.data_tools.collection.solutions import SAME_SOLUTION_EV
from spin_dp.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

MEV_PER_EV = 1000.0

ORDER_THRESHOLD_EV = 0.020
"""Pairs closer than this have no order worth testing, eV."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How well one model does on a set of frames.

    Attributes
    ----------
    frames, pairs, ordered_pairs
        Number of frames, of pairs, and of pairs above the order threshold.
    energy, virial
        RMSE of energy and of the components of the virial, meV/atom.
    force
        RMSE of components, meV/Å.
    gap
        RMS error of the energy difference of pairs, meV per cell; NaN without pairs.
    order
        Share of pairs in the right order, 0..1; NaN without pairs to order.
    magnetic_force
        RMS length of the error over metals, eV/μB. Where moments were free the label
        is zero, so that this is the size of what the model predicts.
    moment
        RMS length of the error of predicted moments over metals, μB.

    NaN stands where frames have no such label, or the model no such prediction.
    """

    frames: int
    pairs: int
    ordered_pairs: int
    energy: float
    force: float
    virial: float
    gap: float
    order: float
    magnetic_force: float
    moment: float


def frame_rmse(predicted: Floats, reference: Floats) -> Floats:
    """Return the root mean square error of each frame over atoms and components.

    Parameters
    ----------
    predicted, reference
        Vectors of atoms or tensors of cells, (nf, n, 3).

    Returns
    -------
    ndarray
        (nf,), in the unit of the arrays.

    Raises
    ------
    ShapeError
        If the arrays differ in shape, or have another one.
    """
    if predicted.shape != reference.shape or predicted.ndim != 3:
        raise ShapeError(
            f"errors of frames: expected two arrays (nf, n, 3), got {predicted.shape} "
            f"and {reference.shape}."
        )
    squares: Floats = np.square(predicted - reference).mean(axis=(1, 2))
    return np.sqrt(squares)


def rms(values: Floats, weights: Floats | Integers | None = None) -> float:
    """Return the root mean square of numbers, NaN for none.

    Parameters
    ----------
    values
        The numbers, (n,).
    weights
        How often each counts, (n,).

    Returns
    -------
    float
        In the unit of the numbers.
    """
    if len(values) == 0:
        return float("nan")
    return float(np.sqrt(np.average(np.square(values), weights=weights)))


def state_pairs(
    geometry: Sequence[str],
    state: Sequence[str],
    reference: Floats,
    *,
    same_solution: float = SAME_SOLUTION_EV,
) -> Integers:
    """Return the pairs of frames that are two solutions of one geometry.

    Two frames of one geometry are a pair unless they are the same solution found
    twice: the same state and reference energies at most ``same_solution`` apart.

    Parameters
    ----------
    geometry
        Which geometry each frame has, (nf,).
    state
        Spin state of each frame, (nf,).
    reference
        DFT energies, (nf,), eV per cell.
    same_solution
        Largest energy difference of two runs of one solution, eV per cell.

    Returns
    -------
    ndarray
        Indices of the two frames, (n_pairs, 2), the first below the second.
    """
    for name, values in (("state", state), ("reference", reference)):
        if len(values) != len(geometry):
            raise ShapeError(
                f"{name}: expected {len(geometry)} frames as in geometry, got "
                f"{len(values)}."
            )
    frames = pd.DataFrame(
        {
            "geometry": geometry,
            "state": state,
            "energy": reference,
            "place": range(len(geometry)),
        }
    )
    both = frames.merge(frames, on="geometry", suffixes=("", "_2"))
    apart = (both["energy"] - both["energy_2"]).abs() > same_solution
    differ = (both["state"] != both["state_2"]) | apart
    pairs = both.loc[(both["place"] < both["place_2"]) & differ, ["place", "place_2"]]
    return pairs.sort_values(["place", "place_2"]).to_numpy(dtype=np.int64)


def gap_rmse(predicted: Floats, reference: Floats, pairs: Integers) -> float:
    """Return the root mean square error of the energy difference of pairs.

    A model that sees no moments predicts zero difference for every pair; its value
    is the root mean square of the DFT differences.

    Parameters
    ----------
    predicted, reference
        Energies, (nf,), eV per cell.
    pairs
        What :func:`state_pairs` gives, (n_pairs, 2).

    Returns
    -------
    float
        meV per cell; NaN for no pairs.
    """
    return MEV_PER_EV * rms(_gaps(predicted, pairs) - _gaps(reference, pairs))


def ordering_accuracy(
    predicted: Floats,
    reference: Floats,
    pairs: Integers,
    *,
    threshold: float = ORDER_THRESHOLD_EV,
) -> tuple[float, int]:
    """Return the share of pairs that are predicted in the right order.

    Only pairs whose DFT energies differ by more than ``threshold`` count. Equal
    predictions are wrong: they order nothing. Differences below 1 μeV per cell count
    as equal (rounding of a model that sees no moments).

    Parameters
    ----------
    predicted, reference
        Energies, (nf,), eV per cell.
    pairs
        What :func:`state_pairs` gives, (n_pairs, 2).
    threshold
        Smallest DFT difference that has an order, eV per cell.

    Returns
    -------
    float
        Share between 0 and 1; NaN where no pair counts.
    int
        Number of pairs that count.
    """
    wanted = _gaps(reference, pairs)
    got = _gaps(predicted, pairs)
    counts = np.abs(wanted) > threshold
    if not counts.any():
        return float("nan"), 0
    right = (np.sign(got) == np.sign(wanted)) & (np.abs(got) > 1e-6)
    return float(right[counts].mean()), int(counts.sum())


def _gaps(energies: Floats, pairs: Integers) -> Floats:
    return energies[pairs[:, 0]] - energies[pairs[:, 1]]
