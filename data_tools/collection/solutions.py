# SPDX-License-Identifier: LGPL-3.0-or-later
"""Frames that share geometry and key and differ in energy all the same.

Moments do not tell such solutions apart, and a model that reads states by name is
taught a mean that is the energy of none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spin_dp.data_tools.collection.summary import Summary

SAME_SOLUTION_EV = 0.005
"""Energies of one state and geometry at most this far apart are one solution, eV."""
HIGHER = "higher solution of the state of {source}, step {step}: +{above:.0f} meV"


def higher_solutions(
    frames: Sequence[Summary], keys: Sequence[str], geometries: Sequence[str]
) -> dict[int, str]:
    """Return the frames that are above another one of the same state and geometry.

    Parameters
    ----------
    frames, keys, geometries
        Frames, the keys of their states and the names of their geometries.

    Returns
    -------
    dict
        Reason for each index of a frame whose energy is more than
        :data:`SAME_SOLUTION_EV` above the lowest one of its level, geometry and key.
    """
    names = [
        (frame.level.id, geometry, key)
        for frame, geometry, key in zip(frames, geometries, keys, strict=True)
    ]
    lowest: dict[tuple[str, str, str], Summary] = {}
    for name, frame in zip(names, frames, strict=True):
        if name not in lowest or frame.energy < lowest[name].energy:
            lowest[name] = frame
    found = {}
    for index, (name, frame) in enumerate(zip(names, frames, strict=True)):
        ground = lowest[name]
        above = frame.energy - ground.energy
        if above > SAME_SOLUTION_EV:
            found[index] = HIGHER.format(
                source=ground.source, step=ground.step, above=1000.0 * above
            )
    return found
