# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a system holds: numbers of atoms, largest moments, how dense its atoms are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import DataError
from spin_dp.neighbours import fewest_neighbours, least_of, shortest_contacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from spin_dp.data_tools.systems.system import DeepmdSystem

_FRAMES_AT_ONCE = 4096
_FLAT_ANGSTROM3 = 1e-6


def count_contents(system: DeepmdSystem) -> tuple[dict[str, int], dict[str, float]]:
    """Count atoms and find the largest moments, some frames at a time.

    Returns
    -------
    tuple
        Atoms of each element in all frames; the largest moment of each, μB, empty
        without moments.

    Raises
    ------
    DataError
        If an array cannot be read.
    """
    n_types = len(system.elements)
    counts = np.zeros(n_types, dtype=np.int64)
    largest = np.zeros(n_types)
    has_spin = "spin" in system.labels
    for part in system.sets:
        types = system.frame_types(part)
        for start in range(0, part.n_frames, _FRAMES_AT_ONCE):
            rows = slice(start, start + _FRAMES_AT_ONCE)
            is_atom = types[rows] >= 0
            kinds = types[rows][is_atom]
            counts += np.bincount(kinds, minlength=n_types)
            if has_spin:
                moments = np.linalg.norm(part.label("spin")[rows], axis=-1)
                np.maximum.at(largest, kinds, moments[is_atom])
    present = [number for number in range(n_types) if counts[number]]
    names = system.elements
    atoms = {names[i]: int(counts[i]) for i in present}
    return atoms, {names[i]: float(largest[i]) for i in present} if has_spin else {}


def largest_moments(systems: Iterable[DeepmdSystem]) -> dict[str, float]:
    """Return the largest moment of each element in some systems, μB."""
    largest: dict[str, float] = {}
    for system in systems:
        for element, moment in count_contents(system)[1].items():
            largest[element] = max(moment, largest.get(element, 0.0))
    return largest


def shortest_distances(systems: Iterable[DeepmdSystem]) -> dict[str, float]:
    """Return the shortest distance of each pair of elements that touch, Å.

    Parameters
    ----------
    systems
        Looked through frame by frame, half a millisecond each.

    Returns
    -------
    dict
        By names as :func:`spin_dp.neighbours.pair_name` gives them; ``Ni-O``.

    Raises
    ------
    DataError
        If a cell has no volume, or an array cannot be read.
    """
    return least_of(
        shortest_contacts(*frame) for system in systems for frame in _frames(system)
    )


def fewest_in_reach(systems: Iterable[DeepmdSystem], cutoff: float) -> dict[str, int]:
    """Return the least number of neighbours that an atom of each element has.

    Parameters
    ----------
    systems
        As for :func:`shortest_distances`, a millisecond each frame.
    cutoff
        Radius within which atoms are neighbours, Å.

    Raises
    ------
    DataError
        As :func:`shortest_distances`.
    """
    return least_of(
        fewest_neighbours(*frame, cutoff)
        for system in systems
        for frame in _frames(system)
    )


def _frames(
    system: DeepmdSystem,
) -> Iterator[tuple[Sequence[str], npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Go through elements, cells and positions of the atoms that are there."""
    elements = np.array(system.elements)
    for part in system.sets:
        types = system.frame_types(part)
        frames = zip(part.label("box"), part.label("coord"), types, strict=True)
        for number, (cell, positions, kinds) in enumerate(frames):
            if abs(np.linalg.det(cell)) < _FLAT_ANGSTROM3:
                raise DataError(
                    f"{part.folder / 'box.npy'}: expected cells with a volume, got "
                    f"{cell.tolist()} in frame {number}; collect the runs anew."
                )
            is_atom = kinds >= 0
            yield elements[kinds[is_atom]], cell, positions[is_atom]
