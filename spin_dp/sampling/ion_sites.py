# SPDX-License-Identifier: LGPL-3.0-or-later
"""Octahedra of anions, and which ions are in them: where ions can change places.

An octahedron is known by its six anions alone, whatever is in it and however they
vibrate, so that an ion that goes from one to another finds its way back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.neighbours import find_near, find_pairs
from spin_dp.spin_states.ions import is_anion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

ALKALI = ("Li", "Na", "K")
"""Ions that exchange with vacancies and with metals."""

# Å: opposite corners of an octahedron, with vibrations; corner from centre, of which
# the next ones are 3.4 Å away; ion from the centre that it belongs to, less than half
# of the way to the next centre.
_ACROSS, _CORNER, _INSIDE = (3.4, 5.0), 3.0, 1.1
_CORNERS = 6
_OPPOSITE = -0.6
"""Cosine of two corners that are opposite: -1, with vibrations; of others 0."""
_EVEN = 0.78
"""Shortest over mean distance of corners: 0.94 with Jahn-Teller bonds, 0.66 from the
middle of an edge, which has six neighbours in pairs as well."""
_SAME = 0.5
_NOWHERE = -1


@dataclass(frozen=True, eq=False)
class IonSites:
    """Octahedra of a geometry.

    Attributes
    ----------
    centres
        Mean positions of their six corners, (k, 3), Å.
    site
        Octahedron of each atom, -1 for anions and ions in none, (n,).
    offset
        From its centre to the atom, nan where there is none, (n, 3), Å.
    """

    centres: Floats
    site: Ints
    offset: Floats

    @cached_property
    def empty(self) -> Ints:
        """Octahedra without an ion."""
        return np.setdiff1d(np.arange(len(self.centres)), self.site)

    def alone(self, atoms: Ints) -> Ints:
        """Return those of some atoms that have an octahedron for themselves."""
        counts = np.bincount(self.site[self.site >= 0], minlength=len(self.centres))
        here = self.site[atoms]
        chosen: Ints = atoms[(here >= 0) & (counts[np.maximum(here, 0)] == 1)]
        return chosen


def find_ion_sites(
    symbols: Sequence[str],
    cell: Floats,
    positions: Floats,
    centres: Floats | None = None,
) -> IonSites:
    """Return the octahedra of a geometry, periodic in three directions.

    Parameters
    ----------
    symbols
        Elements, (n,).
    cell, positions
        (3, 3) and (n, 3), Å.
    centres
        Where the anions are as they were when these were found, (k, 3), Å.
    """
    is_ion = np.array([not is_anion(symbol) for symbol in symbols])
    if centres is None:
        centres = _octahedra(cell, positions[~is_ion])
    site = np.full(len(symbols), _NOWHERE, dtype=np.int64)
    offset = np.full((len(symbols), 3), np.nan)
    ions = np.flatnonzero(is_ion)
    if len(centres) and len(ions):
        atom, centre, way = find_near(cell, positions[ions], centres, _INSIDE)
        distances = np.linalg.norm(way, axis=1)
        order = np.argsort(distances)[::-1]  # the nearest comes last
        site[ions[atom[order]]] = centre[order]
        offset[ions[atom[order]]] = -way[order]
    return IonSites(centres, site, offset)


def _octahedra(cell: Floats, anions: Floats) -> Floats:
    """Return the centres of anions with six corners, each once, (k, 3), Å."""
    if not len(anions):
        return np.zeros((0, 3))
    pairs = find_pairs(cell, anions, _ACROSS[1])
    across = pairs.distances > _ACROSS[0]
    first, second = pairs.first[across], pairs.second[across]
    ways = anions[second] + pairs.shifts[across] @ cell - anions[first]
    middles = anions[first] + 0.5 * ways
    number, _, way = find_near(cell, middles, anions, _CORNER)
    counts = np.bincount(number, minlength=len(middles))
    full = counts == _CORNERS
    order = np.argsort(number, kind="stable")
    corners = way[order][full[number[order]]].reshape(-1, _CORNERS, 3)
    offsets = corners.mean(axis=1)
    centres = (middles[full] + offsets)[_is_octahedron(corners - offsets[:, None])]
    if not len(centres):
        return np.zeros((0, 3))
    # One octahedron has three pairs of opposite corners, and other images of them.
    fractions = np.linalg.solve(cell.T, centres.T).T % 1.0
    _, kept = np.unique((fractions * 1e5).round() % 1e5, axis=0, return_index=True)
    centres = fractions[np.sort(kept)] @ cell
    doubles = find_pairs(cell, centres, _SAME)
    later = np.unique(doubles.second[doubles.second > doubles.first])
    once: Floats = centres[np.setdiff1d(np.arange(len(centres)), later)]
    return once


def _is_octahedron(corners: Floats) -> NDArray[np.bool_]:
    """Return whether six corners, (k, 6, 3), are about as far, in three pairs."""
    lengths = np.linalg.norm(corners, axis=2)
    units = corners / lengths[..., None]
    opposite = np.einsum("kia,kja->kij", units, units) < _OPPOSITE
    in_pairs = (opposite.sum(axis=2) == 1).all(axis=1)
    found: NDArray[np.bool_] = in_pairs & (
        lengths.min(axis=1) > _EVEN * lengths.mean(axis=1)
    )
    return found
