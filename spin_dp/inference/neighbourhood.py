# SPDX-License-Identifier: LGPL-3.0-or-later
"""Atoms with the periodic images and neighbours that a model needs, as LAMMPS has them.

Found once for a geometry, whatever moments its atoms carry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.neighbours import CONTACT_ANGSTROM, find_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Local atoms, then ghosts: their periodic images near the cell.

    ``nf`` frames with ``n`` local atoms each; frames with fewer ghosts or neighbours
    than others are filled up with ghosts that are nobody's neighbours.

    Attributes
    ----------
    positions
        Of local atoms and ghosts, (nf, nall, 3), Å.
    owner
        The local atom that each is an image of, (nf, nall).
    neighbours
        Of each local atom, (nf, n, nnei), -1 where there is none.
    contacts
        Local atoms that touch, (m, 2), in all frames.
    contact_distances
        How far they are apart, (m,), Å.
    """

    positions: Floats
    owner: Ints
    neighbours: Ints
    contacts: Ints
    contact_distances: Floats


def find_neighbourhood(
    positions: Floats, cell: Floats, periodic: Sequence[bool], cutoff: float
) -> Neighbourhood:
    """Find the images and neighbours of the atoms of one geometry, a frame.

    Parameters
    ----------
    positions
        (n, 3), Å, finite.
    cell
        Cell vectors as rows, (3, 3), Å.
    periodic
        Along which cell vectors the atoms repeat.
    cutoff
        Radius within which atoms are neighbours, Å.
    """
    n = len(positions)
    pairs = find_pairs(cell, positions, cutoff, periodic=periodic)
    first, second, distances = pairs.first, pairs.second, pairs.distances
    images, index = _distinct_images(second, pairs.shifts, n)
    owner, vectors = images
    near = np.flatnonzero(distances < CONTACT_ANGSTROM)
    return Neighbourhood(
        positions=(positions[owner] + vectors @ cell)[None],
        owner=owner[None],
        neighbours=packed(first, index, n)[None],
        contacts=np.stack([first[near], second[near]], axis=1),
        contact_distances=distances[near],
    )


def packed(rows: Ints, members: Ints, n_rows: int) -> Ints:
    """Return a table of the members of each row, filled up with -1."""
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=n_rows)
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((n_rows, max(1, int(counts.max(initial=0)))), -1, dtype=np.int64)
    table[rows[order], columns] = members[order]
    return table


def _distinct_images(
    atoms: Ints, shifts: Ints, n: int
) -> tuple[tuple[Ints, Floats], Ints]:
    """Return the different images (atom, shift), local atoms first.

    Returns
    -------
    tuple
        Atom (nall,) and shift (nall, 3) of each image; the number of each pair's.
    """
    along = np.ascontiguousarray(shifts.T)  # rows are quicker than columns
    lowest = along.min(axis=1, initial=0)
    spans = along.max(axis=1, initial=0) - lowest + 1
    strides = np.array([spans[1] * spans[2], spans[2], 1])
    at_home = int(-lowest @ strides)
    codes = (strides @ along + at_home) * n + atoms
    is_used = np.zeros(int(np.prod(spans)) * n, dtype=np.bool_)
    is_used[codes] = True
    home = slice(at_home * n, at_home * n + n)
    is_used[home] = False
    ghosts = np.flatnonzero(is_used)
    number = np.empty(len(is_used), dtype=np.int64)
    number[ghosts] = n + np.arange(len(ghosts))
    number[home] = np.arange(n)
    owner = np.concatenate([np.arange(n), ghosts % n])
    places = np.stack(np.unravel_index(ghosts // n, tuple(spans)), axis=1)
    vectors = np.zeros((len(owner), 3))
    vectors[n:] = places + lowest
    return (owner, vectors), number[codes]


def stack_neighbourhoods(frames: Sequence[Neighbourhood]) -> Neighbourhood:
    """Return many geometries of equal numbers of atoms as one batch."""
    if len(frames) == 1:
        return frames[0]
    n_all = max(frame.owner.shape[1] for frame in frames)
    width = max(frame.neighbours.shape[2] for frame in frames)

    def filled(
        array: npt.NDArray[Any], axis: int, size: int, value: int
    ) -> npt.NDArray[Any]:
        margin = [(0, 0)] * array.ndim
        margin[axis] = (0, size - array.shape[axis])
        return np.pad(array, margin, constant_values=value)

    return Neighbourhood(
        positions=np.concatenate([filled(f.positions, 1, n_all, 0) for f in frames]),
        owner=np.concatenate([filled(f.owner, 1, n_all, 0) for f in frames]),
        neighbours=np.concatenate([filled(f.neighbours, 2, width, -1) for f in frames]),
        contacts=np.concatenate([f.contacts for f in frames]),
        contact_distances=np.concatenate([f.contact_distances for f in frames]),
    )
