# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energy differences of other moments, or of atoms elsewhere, at a cost of few atoms.

The energy is a sum over atoms, each of which sees no farther than the cutoff: other
moments on some sites change the energies of these sites and of their neighbours, an
atom that is elsewhere those around its old and its new place. Only these are computed,
whatever the size of the cell.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.inference.engines import Geometries
from spin_dp.inference.moved_atoms import MovedSurroundings, moved_surroundings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from spin_dp.inference.neighbourhood import Neighbourhood
    from spin_dp.inference.potential import Potential

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_KEPT = 4096  # surroundings; each some ten kilobytes


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """Other moments on some sites, or other positions of some atoms.

    Attributes
    ----------
    sites
        Atoms, each once, (k,).
    moments
        What they get, (k, 3), μB.
    positions
        Where they are then, (k, 3), Å; None: where they were.
    """

    sites: tuple[int, ...]
    moments: Floats
    positions: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Surroundings:
    """Who feels a change of the moments of some sites, and whom they see.

    Attributes
    ----------
    centres
        Atoms whose energies change, (m,).
    members
        Numbers, among local atoms and ghosts, of the centres and then of those they
        see, (k,).
    neighbours
        Of the centres, (m, nnei): places in ``members``, -1 where there is none.
    seen
        The atoms that ``members`` are images of: moments that the energies depend on.
    """

    centres: Ints
    members: Ints
    neighbours: NDArray[np.int32]
    seen: frozenset[int]


class LocalEnergies:
    """The atomic energies of one geometry, kept up to date while moments change.

    Parameters
    ----------
    potential
        A spin model that is run with our neighbours.
    symbols
        Elements, (n,).
    geometry
        One frame.
    moments
        Of all atoms, (n, 3), μB.

    Attributes
    ----------
    moments
        As they are now, (n, 3), μB.
    energies
        Of the atoms, (n,), eV.

    Raises
    ------
    ConfigError, ShapeError, DataError, BackendError
        As :meth:`spin_dp.inference.potential.Potential.predict`; if the model gives no
        energies of single atoms.
    """

    def __init__(
        self,
        potential: Potential,
        symbols: Sequence[str],
        geometry: Geometries,
        moments: Floats,
    ) -> None:
        self._potential = potential
        self.moments = np.array(moments, dtype=np.float64)
        self._types, self.energies = potential.atomic_energies(
            symbols, geometry, self.moments
        )
        self._geometry = geometry
        self._look()

    def _look(self) -> None:
        """Find ghosts and neighbours of the geometry as it is."""
        near = self._near
        self._positions, self._owner = near.positions[0], near.owner[0]
        self._neighbours = near.neighbours[0]
        self._known: OrderedDict[tuple[int, ...], _Surroundings] = OrderedDict()
        self._moved: dict[tuple[tuple[int, ...], bytes], MovedSurroundings] = {}

    @property
    def _near(self) -> Neighbourhood:
        return self._geometry.neighbourhood(self._potential.info.cutoff)

    @property
    def positions(self) -> Floats:
        """Of the atoms as they are now, (n, 3), Å."""
        positions: Floats = self._geometry.positions[0]
        return positions

    @property
    def energy(self) -> float:
        """Sum over the atoms, eV."""
        return float(self.energies.sum())

    def seen(self, sites: Sequence[int]) -> frozenset[int]:
        """Return the atoms whose moments the difference of a change depends on.

        Changes of sites that do not see each other have differences that do not depend
        on which of them are made.
        """
        return self._surroundings(sites).seen

    def differences(self, changes: Sequence[Change]) -> list[Floats]:
        """Return what the energies of the atoms become, each change by itself.

        Parameters
        ----------
        changes
            Tried one beside the other, none after another.

        Returns
        -------
        list of ndarray
            Differences of energies of the atoms that feel each change, eV, in the order
            of :meth:`accept`; their sum is the difference of the energy.
        """
        if any(change.positions is not None for change in changes):
            return [
                self.differences([one])[0]
                if one.positions is None
                else self._elsewhere(one, one.positions)
                for one in changes
            ]
        around = [self._surroundings(change.sites) for change in changes]
        local = np.array([len(one.centres) for one in around])
        ghosts = np.array([len(one.members) for one in around]) - local
        first, first_ghost = _starts(local), _starts(ghosts) + local.sum()
        width = max(one.neighbours.shape[1] for one in around)
        neighbours = np.full((int(local.sum()), width), -1, dtype=np.int64)
        members = np.empty(int(local.sum() + ghosts.sum()), dtype=np.int64)
        moments = np.empty((len(members), 3))
        for k, (one, change) in enumerate(zip(around, changes, strict=True)):
            m, table = local[k], one.neighbours
            begin, ghost = first[k], first_ghost[k]
            moved = np.where(table < m, table + begin, table + (ghost - m))
            neighbours[begin : begin + m, : table.shape[1]] = np.where(
                table < 0, -1, moved
            )
            owners = self._owner[one.members]
            spins = self.moments[owners]
            for site, moment in zip(change.sites, change.moments, strict=True):
                spins[owners == site] = moment
            for target, values in ((members, one.members), (moments, spins)):
                target[begin : begin + m] = values[:m]
                target[ghost : ghost + ghosts[k]] = values[m:]
        energies = self._potential.energies_of(
            self._positions[members],
            self._types[self._owner[members]],
            moments,
            neighbours,
        )
        return [
            energies[begin : begin + m] - self.energies[one.centres]
            for begin, m, one in zip(first, local, around, strict=True)
        ]

    def accept(self, change: Change, difference: Floats) -> None:
        """Make a change whose differences :meth:`differences` gave."""
        self.moments[list(change.sites)] = change.moments
        if change.positions is None:
            self.energies[self._surroundings(change.sites).centres] += difference
            return
        self.energies[self._around(change.sites, change.positions).centres] += (
            difference
        )
        positions = self.positions.copy()
        positions[list(change.sites)] = change.positions
        cells, periodic = self._geometry.cells, self._geometry.periodic
        self._geometry = Geometries(positions[None], cells, periodic)
        self._look()

    def nearest(self, sites: Sequence[int], positions: Floats) -> float:
        """Return how near atoms that are elsewhere would come to any other, Å."""
        return self._around(sites, positions).nearest

    def _elsewhere(self, change: Change, positions: Floats) -> Floats:
        around = self._around(change.sites, positions)
        moments = self.moments[around.owners]
        for site, moment in zip(change.sites, change.moments, strict=True):
            moments[around.owners == site] = moment
        energies = self._potential.energies_of(
            around.positions, self._types[around.owners], moments, around.neighbours
        )
        difference: Floats = energies - self.energies[around.centres]
        return difference

    def _around(self, sites: Sequence[int], positions: Floats) -> MovedSurroundings:
        key = tuple(sites), positions.tobytes()
        if key not in self._moved:  # the last one is asked for again
            self._moved = {
                key: moved_surroundings(
                    self._near,
                    self._geometry.cells[0],
                    self._geometry.periodic,
                    self._potential.info.cutoff,
                    sites,
                    positions,
                )
            }
        return self._moved[key]

    def _surroundings(self, sites: Sequence[int]) -> _Surroundings:
        key = tuple(sites)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._find(key)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return found

    def _find(self, sites: tuple[int, ...]) -> _Surroundings:
        near = self._neighbours[list(sites)]
        centres = np.union1d(np.array(sites), self._owner[near[near >= 0]])
        table = self._neighbours[centres]
        table = table[:, : max(1, int((table >= 0).sum(axis=1).max()))]
        others = np.setdiff1d(table[table >= 0], centres)
        members = np.concatenate([centres, others])
        order = np.argsort(members)
        places = order[np.searchsorted(members, np.maximum(table, 0), sorter=order)]
        return _Surroundings(
            centres,
            members,
            np.where(table < 0, -1, places).astype(np.int32),
            frozenset(self._owner[members].tolist()),
        )


def _starts(sizes: Ints) -> Ints:
    starts: Ints = np.cumsum(sizes) - sizes
    return starts
