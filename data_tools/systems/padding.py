# SPDX-License-Identifier: LGPL-3.0-or-later
"""Places for no atom, which bring cells of different size into one system.

deepmd-kit takes type -1 for no atom. Its neighbour statistics look at positions only
and refuse atoms that overlap, so that the places lie in the voids of the structure.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from spin_dp.data_tools.frame import Array

SMALLEST_SIZE = 8
"""Cells of up to so many atoms are filled up to one size; sizes double from there."""

_GRID = 12  # points along each cell vector
_SMALL_CELL_ATOMS = 16  # cells below may be so thin that the next image is nearer


def size_class(n_atoms: int) -> int:
    """Return the smallest of 8, 16, 32 ... that is not below the number of atoms."""
    size = SMALLEST_SIZE
    while size < n_atoms:
        size *= 2
    return size


def void_positions(positions: Array, cell: Array, count: int) -> Array:
    """Return positions far from all atoms and from each other.

    One after the other, each the point of a grid of a twelfth of the cell vectors that
    is farthest from the atoms and from the places before it.

    Parameters
    ----------
    positions
        Atoms, (nloc, 3), Å.
    cell
        Cell vectors as rows, (3, 3), Å.
    count
        Number of places.

    Returns
    -------
    ndarray
        Positions, (count, 3), Å.
    """
    steps = np.arange(_GRID) / _GRID
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    reach = (-1, 0, 1) if len(positions) <= _SMALL_CELL_ATOMS else (0,)
    images = np.array(list(product(reach, repeat=3))) @ cell
    squares = (images**2).sum(axis=1)
    nearest = np.full(len(grid), np.inf)  # squared distances

    def take(point: Array) -> None:
        offset = grid - point
        offset = (offset - np.round(offset)) @ cell
        to_images = 2.0 * offset @ images.T + squares
        np.minimum(nearest, (offset**2).sum(1) + to_images.min(1), out=nearest)

    for atom in np.linalg.solve(cell.T, positions.T).T:
        take(atom)
    places = np.empty((count, 3))
    for number in range(count):
        places[number] = grid[np.argmax(nearest)]
        take(places[number])
    return places @ cell
