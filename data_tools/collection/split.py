# SPDX-License-Identifier: LGPL-3.0-or-later
"""Validation frames: whole geometries or trajectories, drawn from every composition.

Names and sides given once stay: what an earlier collection decided for a frame is an
argument here, so that a growing data set never moves a frame out of training into
validation.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.geometry import connected, same_geometry
from spin_dp.data_tools.systems.system import TRAINING, VALIDATION
from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spin_dp.data_tools.frame import Array

_FEWEST_UNITS = 3


def number_geometries(
    formulas: Sequence[str],
    fingerprints: Sequence[Array],
    geometry_ids: Sequence[str | None],
    earlier: Sequence[str | None] | None = None,
) -> list[str]:
    """Name the geometry of each frame, e.g. ``LiCoO2-0003``.

    Parameters
    ----------
    formulas
        Formula of each frame, (nf,).
    fingerprints
        What :func:`spin_dp.data_tools.geometry.fingerprint` gives, (nf, 29), Å.
    geometry_ids
        Name of the geometry where the source gives one, (nf,).
    earlier
        Name that an earlier collection gave to the geometry of each frame, None for new
        frames, (nf,). A name of another formula is that of a replaced calculation and
        does not count.

    Returns
    -------
    list of str
        Equal names for equal geometries. Earlier names stay; new geometries are
        numbered on in order of appearance. Geometries that turn out to be one take the
        lowest of their names.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, formula in enumerate(formulas):
        members[formula].append(index)
    names = [""] * len(formulas)
    for formula, indices in members.items():
        classes = same_geometry(
            [fingerprints[i] for i in indices], [geometry_ids[i] for i in indices]
        )
        known = [earlier[i] for i in indices] if earlier else [None] * len(indices)
        numbers = _numbers(classes, [_number(name, formula) for name in known])
        for index, number in zip(indices, numbers, strict=True):
            names[index] = f"{formula}-{number:04d}"
    return names


def _number(name: str | None, formula: str) -> int | None:
    match = re.fullmatch(re.escape(formula) + r"-(\d+)", name or "")
    return int(match[1]) if match else None


def _numbers(classes: Sequence[int], earlier: Sequence[int | None]) -> list[int]:
    """Return the number of each frame's class, (nf,): earlier ones first, then new."""
    given: dict[int, int] = {}
    for class_, number in zip(classes, earlier, strict=True):
        if number is not None:
            given[class_] = min(number, given.get(class_, number))
    following = max((n for n in earlier if n is not None), default=-1) + 1
    for class_ in classes:
        if class_ not in given:
            given[class_] = following
            following += 1
    return [given[class_] for class_ in classes]


def draw_validation(
    formulas: Sequence[str],
    geometries: Sequence[str],
    largest_forces: Sequence[float],
    fraction: float,
    seed: int,
    *,
    units: Sequence[str] | None = None,
    earlier: Sequence[str | None] | None = None,
) -> list[bool]:
    """Choose the validation frames: random whole units of each composition.

    A unit is a geometry, or what ``units`` names (a trajectory, say); units that share
    a geometry are one. For each composition the units in order of appearance are
    permuted by ``numpy.random.default_rng([seed, crc32(formula)])`` and the first ones
    are drawn. The unit with the largest force of a composition is never drawn. A model
    needs it more than a test does: without it, training data end before validation
    data begin, and the test measures extrapolation.

    Units with an earlier frame stay on its side, and only new units are drawn, as many
    as are missing to the share. A unit with earlier frames on both sides goes to
    training.

    Parameters
    ----------
    formulas, geometries
        Composition and geometry of each frame, (nf,).
    largest_forces
        Largest force on an atom of each frame, (nf,), eV/Å.
    fraction
        Share of the units of each composition, 0 to below 1. A composition with three
        units or more gives at least one; one with fewer gives none. Units of several
        compositions are drawn apart from the others.
    seed
        Seed of the draw.
    units
        Name of the unit of each frame, (nf,); None for the geometries.
    earlier
        ``training`` or ``validation`` where an earlier collection decided for the
        frame, else None, (nf,).

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
    joined = _joined(geometries if units is None else units, geometries)
    sides = _sides(joined, earlier or [None] * len(joined))
    protected = _with_largest_force(formulas, joined, largest_forces, sides)
    drawn = {unit for unit, side in sides.items() if side == VALIDATION}
    for composition, names in _by_composition(formulas, joined).items():
        missing = _share(len(names), fraction) - sum(n in drawn for n in names)
        rng = np.random.default_rng([seed, zlib.crc32(composition.encode())])
        order = [names[i] for i in rng.permutation(len(names))]
        new = [n for n in order if sides[n] is None and n not in protected]
        drawn.update(new[: max(0, missing)])
    return [unit in drawn for unit in joined]


def named_to_hold_out(
    frames: Sequence[tuple[str | None, str]], names: Sequence[str]
) -> list[bool]:
    """Return which frames are named by somebody to be for validation, (nf,).

    Parameters
    ----------
    frames
        Name of its geometry where the source gives one, and path of the source.
    names
        Of geometries, or patterns of paths, matched from the right: ``NMC*/*``.

    Raises
    ------
    ConfigError
        If a name is that of no frame.
    """
    patterns = [name for name in names if any(sign in name for sign in "*?[/")]
    plain, found = set(names) - set(patterns), set[str]()
    by_path = {
        path: [one for one in patterns if PurePath(path).match(one)]
        for path in {path for _, path in frames}
    }
    named = []
    for geometry, path in frames:
        words = {geometry, PurePath(path).name} & plain
        hits = [*by_path[path], *(word for word in words if word is not None)]
        found.update(hits)
        named.append(bool(hits))
    missing = [name for name in names if name not in found]
    if missing:
        raise ConfigError(
            f"hold out {missing[0]}: no frame has a geometry of this name, nor a path "
            "that ends so; expected a geometry_id, a file, or a pattern such as NMC*/*."
        )
    return named


def _joined(units: Sequence[str], geometries: Sequence[str]) -> list[int]:
    """Return unit numbers that are equal where units share a geometry, (nf,)."""
    first: dict[str, int] = {}
    pairs = []
    for index, names in enumerate(zip(units, geometries, strict=True)):
        for kind, name in zip(("unit", "geometry"), names, strict=True):
            pairs.append((first.setdefault(f"{kind} {name}", index), index))
    return connected(len(units), pairs)


def _sides(
    units: Sequence[int], earlier: Sequence[str | None]
) -> dict[int, str | None]:
    sides: dict[int, str | None] = {}
    for unit, side in zip(units, earlier, strict=True):
        known = sides.setdefault(unit, side)
        if known is None or side == TRAINING:
            sides[unit] = side
    return sides


def _with_largest_force(
    formulas: Sequence[str],
    units: Sequence[int],
    largest_forces: Sequence[float],
    sides: dict[int, str | None],
) -> set[int]:
    """Return the units with the largest force of a composition outside validation."""
    largest: dict[str, dict[int, float]] = defaultdict(dict)
    for formula, unit, force in zip(formulas, units, largest_forces, strict=True):
        if sides[unit] != VALIDATION:
            known = largest[formula].get(unit, 0.0)
            largest[formula][unit] = max(known, force)
    return {max(forces, key=forces.__getitem__) for forces in largest.values()}


def _by_composition(
    formulas: Sequence[str], units: Iterable[int]
) -> dict[str, list[int]]:
    """Return the units of each composition (formulas joined by +) in their order."""
    formulas_of: dict[int, set[str]] = defaultdict(set)
    for formula, unit in zip(formulas, units, strict=True):
        formulas_of[unit].add(formula)
    compositions: dict[str, list[int]] = defaultdict(list)
    for unit, members in formulas_of.items():
        compositions["+".join(sorted(members))].append(unit)
    return compositions


def _share(n_units: int, fraction: float) -> int:
    if fraction == 0.0 or n_units < _FEWEST_UNITS:
        return 0
    return min(max(1, round(fraction * n_units)), n_units - 1)
