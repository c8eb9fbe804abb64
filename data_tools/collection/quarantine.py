# SPDX-License-Identifier: LGPL-3.0-or-later
"""Frames that were read well but must not be trained on.

Absurd energies and forces, atoms on top of each other, and copies of frames. Nothing
is dropped: such frames stay in the manifest with the reason.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.geometry import same_geometry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spin_dp.data_tools.collection.summary import Summary
    from spin_dp.data_tools.frame import Array
    from spin_dp.data_tools.naming.sites import Sites

OUTLIER = "absurd energy: over 50 eV/atom from the median of its formula and level"
SPIKE = "force spike: a force over {limit:g} eV/Å"
OVERLAP = "atoms overlap: two of them are less than 0.5 Å apart"
DUPLICATE = "duplicate of {source}, step {step}"

_OUTLIER_EV_PER_ATOM = 50.0
_FEWEST_FOR_MEDIAN = 3
_OVERLAP_ANGSTROM = 0.5
_SAME_ENERGY_EV = 1.0e-5
_SAME_FORCE_EV_PER_ANGSTROM = 1.0e-4
_SAME_MOMENT_MUB = 5.0e-4
_SAME_POSITION_ANGSTROM = 1.0e-3


def find_flaws(frames: Sequence[Summary], max_force: float) -> dict[int, str]:
    """Return the frames that must not be used, with reasons.

    Parameters
    ----------
    frames
        All frames, in the order in which the first of equal ones is to be kept.
    max_force
        Largest force allowed on an atom, eV/Å.

    Returns
    -------
    dict
        Reason for each index of a flawed frame. A duplicate has the geometry, level,
        energy (within 0.01 meV), sizes of the largest forces (within 0.1 meV/Å) and
        moments (within 0.0005 μB) of an earlier frame: the same calculation found
        twice, or repeated with settings that change nothing. Different runs that came
        to one solution by different ways agree less closely and are kept.
    """
    reasons: dict[int, str] = {}
    medians = _median_energies(frames)
    for index, frame in enumerate(frames):
        energy = frame.energy / frame.natoms
        median = medians.get((frame.formula, frame.level.id), energy)
        if abs(energy - median) > _OUTLIER_EV_PER_ATOM:
            reasons[index] = OUTLIER
        elif frame.shortest < _OVERLAP_ANGSTROM:
            reasons[index] = OVERLAP
        elif frame.largest_force > max_force:
            reasons[index] = SPIKE.format(limit=max_force)
    for index, first in _duplicates(frames).items():
        original = frames[first]
        reasons.setdefault(
            index, DUPLICATE.format(source=original.source, step=original.step)
        )
    return reasons


def _median_energies(frames: Sequence[Summary]) -> dict[tuple[str, str], float]:
    per_atom: dict[tuple[str, str], list[float]] = defaultdict(list)
    for frame in frames:
        per_atom[frame.formula, frame.level.id].append(frame.energy / frame.natoms)
    return {
        group: statistics.median(energies)
        for group, energies in per_atom.items()
        if len(energies) >= _FEWEST_FOR_MEDIAN
    }


def _duplicates(frames: Sequence[Summary]) -> dict[int, int]:
    """Return the first of its copies for each frame that is not the first itself."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, frame in enumerate(frames):
        groups[frame.formula, frame.level.id].append(index)
    copies: dict[int, int] = {}
    for members in groups.values():
        classes = same_geometry(
            [frames[i].fingerprint for i in members], [None] * len(members)
        )
        firsts: dict[int, list[int]] = defaultdict(list)
        for index, geometry in zip(members, classes, strict=True):
            for first in firsts[geometry]:
                if _is_copy(frames[first], frames[index]):
                    copies[index] = first
                    break
            else:
                firsts[geometry].append(index)
    return copies


def _is_copy(a: Summary, b: Summary) -> bool:
    if abs(a.energy - b.energy) > _SAME_ENERGY_EV or a.constrained != b.constrained:
        return False
    if not _close(a.force_print, b.force_print, _SAME_FORCE_EV_PER_ANGSTROM):
        return False
    return _same_moments(a.sites, b.sites)


def _same_moments(a: Sites, b: Sites) -> bool:
    """Compare moments up to reversal of all; only their sizes if atoms are reordered.

    Orderings of the same moments may have nearly equal energies and forces.
    """
    if _close(a.positions, b.positions, _SAME_POSITION_ANGSTROM):
        return any(_close(a.moments, s * b.moments, _SAME_MOMENT_MUB) for s in (1, -1))
    sizes, totals = (
        [np.linalg.norm(moments, axis=-1) for moments in kinds]
        for kinds in (
            (a.moments, b.moments),
            (a.moments.sum(axis=0), b.moments.sum(axis=0)),
        )
    )
    return _close(np.sort(sizes[0]), np.sort(sizes[1]), _SAME_MOMENT_MUB) and _close(
        totals[0], totals[1], len(a.elements) * _SAME_MOMENT_MUB
    )


def _close(a: Array, b: Array, limit: float) -> bool:
    return bool((np.abs(a - b) <= limit).all())
