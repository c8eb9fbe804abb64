# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pairs of atoms in a periodic cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Pairs:
    """All ordered pairs of atoms closer than a cutoff, periodic images included.

    Attributes
    ----------
    first, second
        The atoms, (n,).
    distances
        How far they are apart, (n,), Å.
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]


def find_pairs(
    cell: npt.NDArray[np.float64],
    positions: npt.NDArray[np.float64],
    cutoff: float,
    *,
    periodic: Sequence[bool] = (True, True, True),
) -> Pairs:
    """Find the pairs of atoms closer than a cutoff.

    Parameters
    ----------
    cell, positions
        (3, 3) and (nloc, 3), Å.
    cutoff
        Largest distance, Å.
    periodic
        Along which cell vectors the atoms repeat.

    Returns
    -------
    Pairs
        In both directions; an atom is no neighbour of itself, but of its images.
    """
    from vesin import NeighborList

    first, second, distances = NeighborList(cutoff=cutoff, full_list=True).compute(
        points=positions, box=cell, periodic=list(periodic), quantities="ijd"
    )
    return Pairs(first.astype(np.int64), second.astype(np.int64), distances)
