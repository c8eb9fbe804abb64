# SPDX-License-Identifier: LGPL-3.0-or-later
"""The ends of a hop: a supercell before and after it, labelled, in order of atoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.geometry import find_mic

from spin_dp.errors import ConfigError, DataError
from spin_dp.properties.migration.holes import (
    LabelledEnds,
    count_holes,
    place_holes,
)
from spin_dp.structures import SPIN_STATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.properties.migration.holes import Electron
    from spin_dp.properties.migration.hops import HopNetwork
    from spin_dp.properties.subject import Subject

    Floats = NDArray[np.float64]

WIDTH = 7.0
"""Å; least distance of a cell's faces, so that an ion hardly feels its images."""

_STILL_ANGSTROM = 0.5  # an atom that moves less is none that hops


@dataclass(frozen=True, eq=False)
class HopEnds:
    """A hop in a supercell.

    Attributes
    ----------
    labelled
        The initial structure in the spin states that images may be in.
    final
        The final structure; no atom is led across the cell.
    ion
        Atom that hops.
    passes
        Where it is half-way, (3,), Å; None where the way is found by itself.
    way, distance, copies
        As of :class:`spin_dp.properties.migration.hops.Hop`.
    """

    labelled: LabelledEnds
    final: Atoms
    ion: int
    passes: Floats | None
    way: str
    distance: float
    copies: int = 1

    @property
    def initial(self) -> Subject:
        """The initial structure in its spin state."""
        return self.labelled.states[self.labelled.initial[0]]


def hop_ends(
    subject: Subject,
    network: HopNetwork,
    number: int = 0,
    *,
    electron: Electron = "staying",
    holes: Mapping[str, str] | None = None,
    width: float = WIDTH,
) -> HopEnds:
    """Return the ends of a hop that was found in a crystal.

    Parameters
    ----------
    subject
        The crystal that hops were found in.
    network
        Of :func:`spin_dp.properties.migration.find_hops`.
    number
        Of the hop.
    electron, holes
        Where the holes of ions that are taken out are, see
        :func:`spin_dp.properties.migration.holes.place_holes`.
    width
        The cell is repeated until its faces are so far apart, Å.

    Raises
    ------
    ConfigError
        If there is no such hop; if holes cannot be placed.
    """
    if not 0 <= number < len(network.hops):
        raise ConfigError(
            f"hop: expected 0 to {len(network.hops) - 1}, as {len(network.hops)} hops "
            f"were found, got {number}."
        )
    hop = network.hops[number]
    repetitions = supercell_of(subject.atoms, width)
    crystal = subject.atoms
    large = crystal.repeat(repetitions)
    places = _Places(network, repetitions)
    ion = places.atom(hop.start, (0, 0, 0))
    emptied = [(hop.end, hop.shift), (hop.third, hop.third_shift)]
    removed = [
        places.atom(site, shift)
        for site, shift in emptied
        if site is not None and network.occupant[site] >= 0
    ]
    if len({ion, *removed}) <= len(removed):
        raise ConfigError(
            f"{crystal.get_chemical_formula()}: too small for this hop, whose sites "
            "are images of each other; give a larger width."
        )
    kept = np.setdiff1d(np.arange(len(large)), removed)
    initial, moved = large[kept], int(np.searchsorted(kept, ion))
    final = initial.copy()
    cell = crystal.cell.array
    end = network.positions[hop.end] + np.array(hop.shift) @ cell
    final.positions[moved] = end
    before = _with_labels(subject, initial)
    count = count_holes(before)
    labelled = place_holes(before, final, count, electron, holes)
    passes = hop.passes if hop.third is not None else None
    return HopEnds(
        labelled, _bare(final), moved, passes, hop.way, hop.distance, hop.copies
    )


def given_ends(initial: Subject, final: Subject) -> HopEnds:
    """Return the ends of a hop between two structures.

    Parameters
    ----------
    initial, final
        The same atoms in the same order in one cell, each with its labels. Where these
        differ an electron comes along.

    Raises
    ------
    DataError
        If atoms or cells differ, or no atom is elsewhere.
    """
    before, after = initial.atoms, final.atoms
    what = before.get_chemical_formula()
    if before.get_chemical_symbols() != after.get_chemical_symbols():
        raise DataError(
            f"ends of a hop: expected {what} with its atoms in the same order, got "
            f"{after.get_chemical_formula()}, or another order."
        )
    if not np.allclose(before.cell.array, after.cell.array, atol=1e-4):
        raise DataError(
            f"ends of a hop: {what} has another cell at the end; a band is searched in "
            "one, relax both with fixed cell."
        )
    way, lengths = find_mic(after.positions - before.positions, before.cell, before.pbc)
    ion = int(lengths.argmax())
    if lengths[ion] < _STILL_ANGSTROM:
        raise DataError(
            f"ends of a hop: no atom of {what} goes farther than {lengths[ion]:.2f} Å."
        )
    moved = _bare(after)
    moved.positions = before.positions + way
    same = np.array_equal(
        before.get_initial_magnetic_moments(), after.get_initial_magnetic_moments()
    ) or list(before.arrays[SPIN_STATES]) == list(after.arrays[SPIN_STATES])
    states = (initial,) if same else (initial, final)
    labelled = LabelledEnds(states, (0,), (len(states) - 1,))
    return HopEnds(labelled, moved, ion, None, "as given", float(lengths[ion]))


def supercell_of(atoms: Atoms, width: float = WIDTH) -> tuple[int, int, int]:
    """Return the repetitions that keep an ion that hops from its images.

    Parameters
    ----------
    atoms
        The crystal.
    width
        Least distance of the cell's faces, Å.

    Raises
    ------
    ConfigError
        If it is none.
    """
    if not 0.0 <= width < np.inf:
        raise ConfigError(f"width: expected a distance in Å, got {width}.")
    cell = atoms.cell
    heights = cell.volume / np.linalg.norm(np.cross(*_faces(cell.array)), axis=1)
    repetitions = np.maximum(1, np.ceil((width - 1e-3) / heights)).astype(int)
    a, b, c = (int(one) for one in repetitions)
    return a, b, c


def _faces(cell: Floats) -> tuple[Floats, Floats]:
    return np.roll(cell, -1, axis=0), np.roll(cell, -2, axis=0)


class _Places:
    """Atoms of a supercell by site and cell."""

    def __init__(self, network: HopNetwork, repetitions: tuple[int, int, int]) -> None:
        self._network, self._repetitions = network, np.array(repetitions)

    def atom(self, site: int, shift: tuple[int, int, int]) -> int:
        """Return the atom of a full site."""
        a, b, c = np.mod(shift, self._repetitions).tolist()
        _, nb, nc = self._repetitions.tolist()
        block = (a * nb + b) * nc + c
        return int(block * len(self._network.atoms) + self._network.occupant[site])


def _with_labels(subject: Subject, atoms: Atoms) -> Subject:
    """Return the subject of atoms cut out of its repeated cell, labels as they are."""
    if subject.label_mode == "adiabatic":
        return subject.relabelled(atoms)
    return subject.carrying(atoms)


def _bare(atoms: Atoms) -> Atoms:
    bare = atoms.copy()
    bare.calc = None
    return bare
