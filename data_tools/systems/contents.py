# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a system holds: numbers of atoms, and the largest moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spin_dp.data_tools.systems.system import DeepmdSystem

_FRAMES_AT_ONCE = 4096


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
