# SPDX-License-Identifier: LGPL-3.0-or-later
"""Who feels it when a few atoms of a cell are elsewhere, and whom they see then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.inference.neighbourhood import packed
from spin_dp.neighbours import find_near

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from spin_dp.inference.neighbourhood import Neighbourhood

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

_SAME_ANGSTROM = 1.0e-8


@dataclass(frozen=True, slots=True, eq=False)
class MovedSurroundings:
    """The atoms whose energies change, then whom they see.

    Attributes
    ----------
    centres
        Atoms whose energies change, (m,).
    owners
        The atoms that the members are images of, centres first, (k,).
    positions
        Of the members, (k, 3), Å.
    neighbours
        Of the centres, (m, nnei): places among the members, -1 where there is none.
    nearest
        Shortest distance of a moved atom to any other, Å.
    """

    centres: Ints
    owners: Ints
    positions: Floats
    neighbours: Ints
    nearest: float


def moved_surroundings(
    near: Neighbourhood,
    cell: Floats,
    periodic: Sequence[bool],
    cutoff: float,
    atoms: Sequence[int],
    to: Floats,
) -> MovedSurroundings:
    """Return who feels that atoms are elsewhere.

    Parameters
    ----------
    near
        The atoms as they were, one frame.
    cell, periodic, cutoff
        Of the frame: (3, 3), Å; along which vectors it repeats; Å.
    atoms, to
        Which atoms move, (k,), and where they are then, (k, 3), Å.
    """
    moved = np.array(atoms, dtype=np.int64)
    table, owner = near.neighbours[0], near.owner[0]
    n = len(table)
    positions = near.positions[0].copy()
    positions[moved] = to
    who, other, ways = find_near(cell, to, positions[:n], cutoff, periodic=periodic)
    # An atom is no neighbour of itself, but of its images.
    kept = (np.linalg.norm(ways, axis=1) > _SAME_ANGSTROM) | (moved[who] != other)
    who, other, ways = who[kept], other[kept], ways[kept]
    before = table[moved]
    centres = np.unique(np.concatenate([moved, owner[before[before >= 0]], other]))
    m = len(centres)
    place = np.full(n, -1, dtype=np.int64)
    place[centres] = np.arange(m)
    is_moved = np.zeros(n, dtype=np.bool_)
    is_moved[moved] = True
    # Of atoms that stay: those whom they saw, but for the moved ones.
    rows, columns = np.nonzero((table[centres] >= 0) & ~is_moved[centres][:, None])
    images = table[centres][rows, columns]
    stays = ~is_moved[owner[images]]
    rows, images = rows[stays], images[stays]
    others, number = np.unique(images, return_inverse=True)
    is_centre = (others < n) & (place[np.minimum(others, n - 1)] >= 0)
    ghosts = others[~is_centre]
    code = np.empty(len(others), dtype=np.int64)
    code[is_centre] = place[others[is_centre]]
    code[~is_centre] = m + np.arange(len(ghosts))
    # Then both ends of the pairs of the moved ones: each as the other sees it.
    stranger = ~is_moved[other]
    first = m + len(ghosts)
    second = first + len(who)
    count = int(stranger.sum())
    all_rows = np.concatenate([rows, place[moved[who]], place[other[stranger]]])
    members = np.concatenate(
        [code[number], first + np.arange(len(who)), second + np.arange(count)]
    )
    return MovedSurroundings(
        centres,
        np.concatenate([centres, owner[ghosts], other, moved[who[stranger]]]),
        np.concatenate(
            [
                positions[centres],
                positions[ghosts],
                to[who] + ways,
                positions[other[stranger]] - ways[stranger],
            ]
        ),
        packed(all_rows, members, m),
        float(np.linalg.norm(ways, axis=1).min(initial=np.inf)),
    )
