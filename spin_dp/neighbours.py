# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pairs of atoms in a periodic cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_SAME_ANGSTROM = 1.0e-8


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
    cell: npt.NDArray[np.float64], positions: npt.NDArray[np.float64], cutoff: float
) -> Pairs:
    """Find the pairs of atoms closer than a cutoff.

    pymatgen's neighbour list does it, a hundred times faster than that of ASE.

    Parameters
    ----------
    cell, positions
        (3, 3) and (nloc, 3), Å.
    cutoff
        Largest distance, Å.

    Returns
    -------
    Pairs
        In both directions; an atom is no neighbour of itself, but of its images.
    """
    from pymatgen.optimization.neighbors import find_points_in_spheres

    points = np.ascontiguousarray(positions, dtype=np.float64)
    first, second, _, distances = find_points_in_spheres(
        points,
        points,
        r=cutoff,
        pbc=np.ones(3, dtype=np.int64),
        lattice=np.ascontiguousarray(cell, dtype=np.float64),
        tol=_SAME_ANGSTROM,
    )
    others = (distances > _SAME_ANGSTROM) | (first != second)
    return Pairs(first[others], second[others], distances[others])
