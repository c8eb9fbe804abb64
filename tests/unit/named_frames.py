# SPDX-License-Identifier: LGPL-3.0-or-later
"""Frames of examples/gpaw with the spin states that they are given."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from spin_dp.data_tools import Frame, read_extxyz
from spin_dp.data_tools.collection.decide import site_levels
from spin_dp.data_tools.collection.summary import summarise
from spin_dp.data_tools.naming.classify import FrameState, SpinStates
from spin_dp.data_tools.naming.cluster_pattern import FrameMoments
from spin_dp.demo.origins import RATTLED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spin_dp.data_tools.collection.summary import Summary

GPAW = Path(__file__).resolve().parents[2] / "examples" / "gpaw"
METALS = ("Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu")
GROUP_NUMBER = dict(zip(METALS, range(4, 12), strict=True))


def frames_of(*names: str) -> list[Frame]:
    paths = [GPAW / f"{name}.extxyz" for name in names]
    found = [frame for path in paths for frame in read_extxyz(path)]
    assert all(isinstance(frame, Frame) for frame in found)
    return [frame for frame in found if isinstance(frame, Frame)]


class Named(NamedTuple):
    frame: Frame
    summary: Summary
    state: FrameState


def named(frames: Sequence[Frame]) -> list[Named]:
    summaries = [summarise(frame) for frame in frames]
    known = [
        FrameMoments(
            group=(summary.formula, summary.level.id),
            site_levels=site_levels(summary.level, summary.elements),
            sites=summary.sites,
            is_held=summary.constrained is True,
        )
        for summary in summaries
    ]
    states = SpinStates(known).frames()
    return [Named(*parts) for parts in zip(frames, summaries, states, strict=True)]


@cache
def gpaw_frames() -> list[Named]:
    """Return the frames of rattled cells in examples/gpaw, named together."""
    found = named(frames_of(*RATTLED))
    assert len(found) == 221  # examples/gpaw/README.md
    return found
