# SPDX-License-Identifier: LGPL-3.0-or-later
"""Everything that is decided about the frames of a data set, from their summaries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from spin_dp.data_tools.collection.quarantine import find_flaws
from spin_dp.data_tools.collection.solutions import higher_solutions
from spin_dp.data_tools.collection.split import (
    draw_validation,
    named_to_hold_out,
    number_geometries,
)
from spin_dp.data_tools.collection.summary import Summary
from spin_dp.data_tools.frame import Rejected, reject
from spin_dp.data_tools.naming.classify import FrameState, SpinStates
from spin_dp.data_tools.naming.cluster_pattern import FrameMoments
from spin_dp.data_tools.systems.system import TRAINING, VALIDATION
from spin_dp.spin_states.key import slug
from spin_dp.spin_states.pattern import moment_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spin_dp.data_tools.collection.labels import Labels
    from spin_dp.data_tools.level import Level

SplitBy = Literal["geometry", "trajectory"]
Earlier = tuple[str, str]  # geometry, split


@dataclass(frozen=True)
class Rules:
    """What the user decides about frames that were read.

    Attributes
    ----------
    validation, seed, split_by
        Share of the geometries (or trajectories) of each composition for validation,
        seed of the draw, and the unit that is not torn apart.
    hold_out
        Geometries that are for validation whatever is drawn: names that their sources
        give them, or patterns of paths, matched from the right. They count to the
        share.
    max_force
        Largest force allowed on an atom, eV/Å.
    labels
        Moments that are written: ``dft`` or ``nominal``.
    stationary_moments
        Whether frames with free moments get magnetic forces of zero.
    lowest_solutions
        Whether of frames with one geometry and key only the lowest in energy are kept.
    """

    validation: float = 0.0
    seed: int = 0
    split_by: SplitBy = "geometry"
    hold_out: tuple[str, ...] = ()
    max_force: float = 50.0
    labels: Labels = "dft"
    stationary_moments: bool = False
    lowest_solutions: bool = False


@dataclass(frozen=True, eq=False)
class Entry:
    """A kept frame with everything decided about it.

    Attributes
    ----------
    frame, state
        Its summary and its spin state.
    pattern
        Its moments in integers, e.g. ``Mn[+4,-4]``.
    geometry
        Name of its geometry.
    split
        ``training`` or ``validation``.
    system
        Folder of its system relative to the output folder.
    index
        Its number in that system, from 0.
    magnetic_forces
        Which label of this kind it has: ``source``, ``zero`` or none (empty).
    """

    frame: Summary
    state: FrameState
    pattern: str
    geometry: str
    split: str
    system: str
    index: int
    magnetic_forces: str

    @property
    def site_levels(self) -> dict[str, str]:
        """Site level of each of its elements."""
        return site_levels(self.frame.level, self.frame.elements)


@dataclass(frozen=True, eq=False)
class Decisions:
    """The fate of all frames.

    Attributes
    ----------
    fates
        For each frame read, in order, its entry or why it is rejected.
    states
        The spin states found.
    """

    fates: list[Entry | Rejected]
    states: SpinStates


def decide(
    items: Sequence[Summary | Rejected],
    rules: Rules,
    earlier: Mapping[tuple[str, int], Earlier],
) -> Decisions:
    """Decide what becomes of each frame that was read.

    Parameters
    ----------
    items
        All frames in the order of the sources.
    rules
        What the user decided.
    earlier
        Geometry and split that an earlier collection gave to frames, by source and
        step; they stay as they are.

    Returns
    -------
    Decisions
        Entries of the kept frames, and reasons for all others.
    """
    frames = [item for item in items if isinstance(item, Summary)]
    flaws = _flaws(frames, rules, earlier)
    if rules.lowest_solutions:
        flaws |= _higher(frames, flaws, earlier)
    kept = [frame for index, frame in enumerate(frames) if index not in flaws]
    states = SpinStates([_moments(frame) for frame in kept])
    entries = iter(_entries(kept, states.frames(), rules, earlier))
    reasons = iter([flaws.get(index) for index in range(len(frames))])
    fates: list[Entry | Rejected] = []
    for item in items:
        if isinstance(item, Rejected):
            fates.append(item)
        elif (reason := next(reasons)) is not None:
            fates.append(reject(item, reason))
        else:
            fates.append(next(entries))
    return Decisions(fates, states)


def _flaws(
    frames: Sequence[Summary], rules: Rules, earlier: Mapping[tuple[str, int], Earlier]
) -> dict[int, str]:
    """Find flawed frames; of copies the one that was kept earlier stays."""
    order = sorted(
        range(len(frames)),
        key=lambda i: (frames[i].source, frames[i].step) not in earlier,
    )
    flaws = find_flaws([frames[i] for i in order], rules.max_force)
    return {order[place]: reason for place, reason in flaws.items()}


def _higher(
    frames: Sequence[Summary],
    flaws: Mapping[int, str],
    earlier: Mapping[tuple[str, int], Earlier],
) -> dict[int, str]:
    """Find higher solutions; states are named once more without them."""
    places = [index for index in range(len(frames)) if index not in flaws]
    sound = [frames[index] for index in places]
    states = SpinStates([_moments(frame) for frame in sound])
    keys = [state.key for state in states.frames()]
    geometries = _geometries(sound, _before(sound, earlier))
    found = higher_solutions(sound, keys, geometries)
    return {places[index]: reason for index, reason in found.items()}


def site_levels(level: Level, elements: Sequence[str]) -> dict[str, str]:
    """Return the site level of each element at a level of theory."""
    return {element: _site_level(level, element) for element in elements}


@cache
def _site_level(level: Level, element: str) -> str:
    return level.of_element(element).id


def _moments(frame: Summary) -> FrameMoments:
    return FrameMoments(
        group=(frame.formula, frame.level.id),
        site_levels=site_levels(frame.level, frame.elements),
        sites=frame.sites,
        is_held=frame.constrained is True,
        run=frame.source,
    )


def _entries(
    frames: Sequence[Summary],
    states: Sequence[FrameState],
    rules: Rules,
    earlier: Mapping[tuple[str, int], Earlier],
) -> list[Entry]:
    formulas = [frame.formula for frame in frames]
    before = _before(frames, earlier)
    geometries = _geometries(frames, before)
    named = named_to_hold_out(
        [(frame.geometry_id, frame.source) for frame in frames], rules.hold_out
    )
    sides = [
        VALIDATION if is_named else None if known is None else known[1]
        for is_named, known in zip(named, before, strict=True)
    ]
    held_out = draw_validation(
        formulas,
        geometries,
        [frame.largest_force for frame in frames],
        rules.validation,
        rules.seed,
        units=None
        if rules.split_by == "geometry"
        else [frame.source for frame in frames],
        earlier=sides,
    )
    counts: dict[str, int] = {}
    entries = []
    for frame, state, geometry, is_held_out in zip(
        frames, states, geometries, held_out, strict=True
    ):
        split = VALIDATION if is_held_out else TRAINING
        kind = _magnetic_forces(frame, rules)
        system = f"{split}/{_system_name(frame, state, kind)}"
        index = counts.setdefault(system, 0)
        counts[system] += 1
        pattern = moment_pattern(frame.sites.elements, frame.sites.moments)
        entries.append(
            Entry(frame, state, pattern, geometry, split, system, index, kind)
        )
    return entries


def _before(
    frames: Sequence[Summary], earlier: Mapping[tuple[str, int], Earlier]
) -> list[Earlier | None]:
    return [earlier.get((frame.source, frame.step)) for frame in frames]


def _geometries(
    frames: Sequence[Summary], before: Sequence[Earlier | None]
) -> list[str]:
    return number_geometries(
        [frame.formula for frame in frames],
        [frame.fingerprint for frame in frames],
        [frame.geometry_id for frame in frames],
        [None if known is None else known[0] for known in before],
    )


def _magnetic_forces(frame: Summary, rules: Rules) -> str:
    if rules.labels == "nominal":
        return ""
    if frame.has_magnetic_forces:
        return "source"
    return "zero" if rules.stationary_moments and frame.constrained is False else ""


def _system_name(frame: Summary, state: FrameState, magnetic_forces: str) -> str:
    ending = ("-fm" if magnetic_forces else "") + (
        "" if frame.has_virial else "-novirial"
    )
    return f"{frame.formula}/{frame.level.id}/{slug(state.key)}{ending}"
