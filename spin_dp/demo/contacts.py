# SPDX-License-Identifier: LGPL-3.0-or-later
"""What becomes of a crystal during MD: shortest contacts and lost octahedra."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from spin_dp.neighbours import find_pairs, least_of, shortest_contacts
from spin_dp.spin_states.elements import carries_spin_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BROKEN_ANGSTROM = 1.3
"""A contact below this is none of any crystal or moving ion: peroxide O-O is 1.45 Å
long, and the shortest Ni-O of hot DFT frames 1.59 Å."""

BOND_ANGSTROM = 2.7
"""M-O bonds of an octahedron are shorter, at rest, also the long ones of Mn3+ (2.3 Å);
the next oxygen is 3.2 Å away or more."""

AVERAGED_PS = 0.2
"""Positions are averaged over so long before bonds are counted: about ten vibrations
of M-O, short against the hop of an ion."""

COORDINATION = 6
ANION = "O"


@dataclass
class Contacts:
    """A record that grows with the frames of a run.

    Attributes
    ----------
    symbols
        Elements, (n,).
    shortest
        Shortest distance so far of each pair of elements, Å, by names as ``Ni-O``.
    lost
        Number of metals with other than six oxygens in the averaged positions, window
        after window.
    broken_ps, broken_by
        When a contact below :data:`BROKEN_ANGSTROM` was first seen, ps, and which one;
        None and empty before.
    """

    symbols: Sequence[str]
    shortest: dict[str, float] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)
    broken_ps: float | None = None
    broken_by: str = ""

    def __post_init__(self) -> None:
        self._elements = np.array(self.symbols)
        self._metals = np.array([carries_spin_state(s) for s in self.symbols])
        self._frames, self._since = 0, 0.0  # of the window
        self._sum: Floats = np.zeros((len(self.symbols), 3))

    @classmethod
    def from_notes(cls, symbols: Sequence[str], notes: Mapping[str, Any]) -> Self:
        """Return the record of a run that is gone on with; see :meth:`notes`."""
        return cls(symbols, **notes)

    def notes(self) -> dict[str, Any]:
        """Return all but the elements and the window that is not full, JSON types."""
        content = asdict(self)
        del content["symbols"]
        return content

    def add(self, time_ps: float, cell: Floats, positions: Floats) -> None:
        """Take a frame.

        Parameters
        ----------
        time_ps
            Its time, ps; rising.
        cell
            Cell vectors as rows, (3, 3), Å; of a run at fixed volume.
        positions
            Unwrapped, (n, 3), Å.
        """
        found = shortest_contacts(self.symbols, cell, positions)
        self.shortest = least_of([self.shortest, found])
        name, distance = min(found.items(), key=itemgetter(1), default=("", np.inf))
        if distance < BROKEN_ANGSTROM and self.broken_ps is None:
            self.broken_ps, self.broken_by = time_ps, f"{name} {distance:.2f} Å"
        if self._frames == 0:
            self._since = time_ps
        self._sum += positions
        self._frames += 1
        if time_ps - self._since >= AVERAGED_PS * (1.0 - 1e-9):
            mean = self._sum / self._frames
            self.lost.append(lost_octahedra(cell, mean, self._metals, self._elements))
            self._frames, self._sum = 0, np.zeros_like(self._sum)


def lost_octahedra(
    cell: Floats,
    positions: Floats,
    is_metal: NDArray[np.bool_],
    elements: NDArray[np.str_],
) -> int:
    """Return how many metals have other than six oxygens within a bond.

    Parameters
    ----------
    cell, positions
        (3, 3) and (n, 3), Å; positions averaged over some vibrations.
    is_metal
        Which atoms are metals with a shell of oxygen, (n,).
    elements
        Chemical symbols, (n,).
    """
    pairs = find_pairs(cell, positions, BOND_ANGSTROM)
    is_bond = is_metal[pairs.first] & (elements[pairs.second] == ANION)
    numbers = np.bincount(pairs.first[is_bond], minlength=len(positions))
    return int((numbers[is_metal] != COORDINATION).sum())
