# SPDX-License-Identifier: LGPL-3.0-or-later
"""Validation frames: whole geometries, drawn from every composition."""

from __future__ import annotations

import zlib
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.geometry import same_geometry
from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spin_dp.data_tools.frame import Frame

_FEWEST_GEOMETRIES = 3


def number_geometries(frames: Sequence[Frame]) -> list[str]:
    """Name the geometry of each frame, e.g. ``LiCoO2-0003``.

    Parameters
    ----------
    frames
        Frames of any compositions.

    Returns
    -------
    list of str
        Equal names for equal geometries, in order of appearance.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, frame in enumerate(frames):
        members[frame.formula].append(index)
    names = [""] * len(frames)
    for formula, indices in members.items():
        numbers = same_geometry([frames[i] for i in indices])
        for index, number in zip(indices, numbers, strict=True):
            names[index] = f"{formula}-{number:04d}"
    return names


def draw_validation(
    formulas: Sequence[str],
    geometries: Sequence[str],
    largest_forces: Sequence[float],
    fraction: float,
    seed: int,
) -> list[bool]:
    """Choose the validation frames: random whole geometries of each composition.

    The geometry with the largest force of a composition is never drawn. A model needs
    it more than a test does: without it, training data end before validation data
    begin, and the test measures extrapolation.

    Parameters
    ----------
    formulas, geometries
        Composition and geometry of each frame, (nf,).
    largest_forces
        Largest force on an atom of each frame, (nf,), eV/Å.
    fraction
        Share of the geometries of each composition, 0 to below 1. A composition with
        three geometries or more gives at least one; one with fewer gives none.
    seed
        Seed of the draw.

    Returns
    -------
    list of bool
        Whether each frame is for validation, (nf,).

    Raises
    ------
    ConfigError
        If the fraction is not in [0, 1).
    """
    if not 0.0 <= fraction < 1.0:
        raise ConfigError(
            f"the validation fraction must be at least 0 and below 1, got {fraction}"
        )
    members: dict[str, dict[str, float]] = defaultdict(dict)
    for formula, geometry, force in zip(
        formulas, geometries, largest_forces, strict=True
    ):
        largest = members[formula].get(geometry, 0.0)
        members[formula][geometry] = max(largest, force)
    chosen: set[str] = set()
    for formula in sorted(members):
        names = list(members[formula])
        kept = max(names, key=members[formula].__getitem__)
        rng = np.random.default_rng([seed, zlib.crc32(formula.encode())])
        order = rng.permutation(len(names))  # does not depend on other compositions
        drawn = [names[i] for i in order if names[i] != kept]
        chosen.update(drawn[: _share(len(names), fraction)])
    return [geometry in chosen for geometry in geometries]


def _share(n_geometries: int, fraction: float) -> int:
    if fraction == 0.0 or n_geometries < _FEWEST_GEOMETRIES:
        return 0
    return min(max(1, round(fraction * n_geometries)), n_geometries - 1)
