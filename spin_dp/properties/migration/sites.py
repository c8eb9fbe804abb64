# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where an ion of a crystal can be, and what anions are on its way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.neighbours import find_near, find_pairs
from spin_dp.sampling.ion_sites import find_ion_sites
from spin_dp.spin_states.ions import is_anion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_OWN = 2.2  # Å; an octahedron nearer to an ion is on its way, as in a spinel, no site
_AROUND = 3.5  # Å; anions of a tetrahedron, from the middle of the sites at its faces
_REGULAR = (0.75, 1.3)  # distances of its anions from their centre, over the mean one
_INTO = 0.25  # way from the middle of the sites to the centre of the tetrahedron
_FIRST_SHELL = 1.25  # of the nearest anion's distance
_WAYS = {2: "dumbbell", 6: "octahedron"}


@dataclass(frozen=True, eq=False)
class IonPlaces:
    """Places of an ion in a crystal, full ones first.

    Attributes
    ----------
    atoms, ion
        The crystal, and the element.
    positions
        (ns, 3), Å.
    occupant
        Atom on each, -1 on empty ones, (ns,).
    """

    atoms: Atoms
    ion: str
    positions: Floats
    occupant: Ints

    @classmethod
    def of(cls, atoms: Atoms, ion: str) -> IonPlaces:
        """Return where the ions of a crystal are, and the octahedra that are empty."""
        symbols = atoms.get_chemical_symbols()
        full = np.flatnonzero(np.array(symbols) == ion)
        cell = atoms.cell.array
        known = find_ion_sites(symbols, cell, atoms.positions)
        centres = known.centres[known.empty]
        near, *_ = find_near(cell, centres, atoms.positions[full], _OWN)
        empty = centres[np.setdiff1d(np.arange(len(centres)), near)]
        positions = np.concatenate([atoms.positions[full], empty])
        occupant = np.concatenate([full, np.full(len(empty), -1, dtype=np.int64)])
        return cls(atoms, ion, positions, occupant)

    @cached_property
    def anions(self) -> Floats:
        """Positions of the anions, (na, 3), Å."""
        is_one = [is_anion(symbol) for symbol in self.atoms.get_chemical_symbols()]
        positions: Floats = self.atoms.positions[is_one]
        return positions

    def pairs(self, reach: float, *, mixed: bool) -> list[tuple[int, int, Ints]]:
        """Return pairs of two full sites, or of a full and an empty one."""
        found = find_pairs(self.atoms.cell.array, self.positions, reach)
        full = self.occupant >= 0
        is_mixed = full[found.first] != full[found.second]
        both = full[found.first] & full[found.second]
        chosen = np.flatnonzero(is_mixed if mixed else both)
        return [
            (int(found.first[i]), int(found.second[i]), found.shifts[i]) for i in chosen
        ]

    def place(self, site: int, shift: Ints) -> Floats:
        """Return where a site is in another cell, (3,), Å."""
        place: Floats = self.positions[site] + shift @ self.atoms.cell.array
        return place

    def nearest(self) -> float:
        """Return the least distance of two sites, Å."""
        pairs = find_pairs(self.atoms.cell.array, self.positions, 15.0)
        return float(pairs.distances.min(initial=np.inf))

    def around(self, point: Floats, reach: float) -> tuple[Floats, Floats]:
        """Return ways to the anions around a point, nearest first, and distances."""
        _, _, ways = find_near(self.atoms.cell.array, point[None], self.anions, reach)
        distances = np.linalg.norm(ways, axis=1)
        order = np.argsort(distances)
        return ways[order], distances[order]

    def tetrahedron(self, corners: Sequence[Floats]) -> Floats | None:
        """Return where an ion enters the tetrahedron at three sites; None without one.

        Near its face: the metal behind it keeps ions from the centre.
        """
        middle = np.mean(corners, axis=0)
        ways, _ = self.around(middle, _AROUND)
        if len(ways) < 4:
            return None
        centre: Floats = middle + ways[:4].mean(axis=0)
        distances = np.linalg.norm(middle + ways[:4] - centre, axis=1)
        ratios = distances / distances.mean()
        if ratios.min() < _REGULAR[0] or ratios.max() > _REGULAR[1]:
            return None
        entered: Floats = middle + _INTO * (centre - middle)
        return entered

    def way(self, point: Floats) -> str:
        """Return what an ion passes at a point, by the number of nearest anions."""
        _, distances = self.around(point, _AROUND)
        count = int((distances < _FIRST_SHELL * distances.min(initial=np.inf)).sum())
        return _WAYS.get(count, f"{count} anions")
