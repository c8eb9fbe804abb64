# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a model predicts of one spin state, or of many, and how many are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from spin_dp.inference.labelling import Given

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Energy and derivatives of one spin state, or of k spin states.

    The leading axis (k) is there only when many were asked for.
    """

    energy: Floats
    """() or (k,), eV."""
    forces: Floats
    """-dE/dx, (n, 3) or (k, n, 3), eV/Å."""
    magnetic_forces: Floats
    """-dE/dm, (n, 3) or (k, n, 3), eV/μB."""
    virial: Floats
    """Minus volume times stress, (3, 3) or (k, 3, 3), eV."""
    atomic_energies: Floats | None
    """(n,) or (k, n), eV; None of models that deepmd-kit runs."""
    moments: Floats
    """That the energy belongs to, (n, 3) or (k, n, 3), μB."""

    def part(self, part: int | slice) -> Prediction:
        """Return one of k spin states, without the leading axis, or some of them."""
        atomic = self.atomic_energies
        return Prediction(
            self.energy[part],
            self.forces[part],
            self.magnetic_forces[part],
            self.virial[part],
            None if atomic is None else atomic[part],
            self.moments[part],
        )


def refuse_many(moments: Given | None, n: int) -> None:
    """Refuse an array of more than one pattern."""
    if moments is None or isinstance(moments, str | Mapping):
        return
    shape = np.shape(moments)
    if len(shape) == 3 or (len(shape) == 2 and shape[1] == n != 3):
        raise ShapeError(
            f"moments: expected those of one spin state, ({n},) or ({n}, 3), got "
            f"{shape}; evaluate_many takes many."
        )


def pattern_vectors(patterns: ArrayLike, n: int) -> Floats:
    """Return many patterns as (k, n, 3)."""
    given = np.asarray(patterns, dtype=np.float64)
    if given.ndim < 2 or not len(given) or given.shape[1:] not in ((n,), (n, 3)):
        raise ShapeError(
            f"patterns: expected (k, {n}) or (k, {n}, 3) for {n} atoms, got "
            f"{given.shape}; evaluate takes one."
        )
    if given.ndim == 3:
        return given
    vectors = np.zeros((*given.shape, 3))
    vectors[..., 2] = given
    return vectors
