# SPDX-License-Identifier: LGPL-3.0-or-later
"""Errors of any model file on any frames with DFT labels, by spin state if known."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.data_tools.collection.collected import read_manifest
from spin_dp.data_tools.collection.manifest import COLUMNS as MANIFEST_COLUMNS
from spin_dp.data_tools.collection.manifest import KEPT
from spin_dp.data_tools.collection.output_folder import MANIFEST
from spin_dp.data_tools.frame import Frame
from spin_dp.data_tools.readers.deepmd_system import read_deepmd_system
from spin_dp.data_tools.readers.source import ReadOptions
from spin_dp.data_tools.systems.system import TRAINING, VALIDATION, find_systems
from spin_dp.errors import DataError, unknown
from spin_dp.evaluation import LabelledSystem, evaluate, read_system
from spin_dp.evaluation.error_table import error_table
from spin_dp.inference.potential import Potential
from spin_dp.spin_states.elements import formula
from spin_dp.training.data import look_through

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from spin_dp.data_tools.frame import Array

EVERYTHING = "all"
SPLITS = (VALIDATION, TRAINING, EVERYTHING)


@dataclass(frozen=True, eq=False)
class ModelTest:
    """Errors of a model, and the frames they were found on.

    Attributes
    ----------
    frames
        Rows of :func:`spin_dp.evaluation.evaluate`, the model by its name.
    table
        Table of :func:`spin_dp.evaluation.error_table.error_table`.
    model
        Name of the model in the columns of ``frames``.
    split
        ``validation``, ``training`` or ``all``.
    has_states
        Whether the spin states of the frames are known.
    left_out
        Number of frames that cannot be used, by reason.
    """

    frames: pd.DataFrame
    table: pd.DataFrame
    model: str
    split: str
    has_states: bool
    left_out: Mapping[str, int]


def run_test(
    model: Path,
    data: Path,
    *,
    split: str | None = None,
    level: str | None = None,
    labels: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ModelTest:
    """Run a model over frames with labels.

    Parameters
    ----------
    model
        Frozen model (.pth) or checkpoint (.pt), spin-aware or not.
    data
        A result of ``spin-dp collect``, whose manifest names the spin states, or any
        folder with deepmd systems at any depth, mixed-type ones too.
    split
        ``validation``, ``training`` or ``all`` of collected data; validation where
        there is one if None.
    level
        Level of theory of the frames, where the data hold some that conflict.
    labels
        Whether the model reads labels, see :func:`spin_dp.evaluation.predict`.
    progress
        Called with systems done and their total number.

    Returns
    -------
    ModelTest
        Frames with predictions, and the errors.

    Raises
    ------
    DataError
        If model or data cannot be read, do not fit, or no frame is left.
    ConfigError
        If split or level is unknown, or levels of theory conflict.
    """
    found = read_frames(
        data, lambda: Potential(model).reads_moments, split=split, level=level
    )
    frames = evaluate(
        {model.stem: model},
        found.systems,
        found.manifest,
        labels=labels,
        progress=progress,
    )
    return found.tested(frames, model.stem)


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames that models are tested on.

    Attributes
    ----------
    systems, manifest
        For :func:`spin_dp.evaluation.evaluate`.
    split, has_states, left_out
        See :class:`ModelTest`.
    """

    systems: Sequence[LabelledSystem]
    manifest: pd.DataFrame
    split: str
    has_states: bool
    left_out: Mapping[str, int]

    def tested(self, frames: pd.DataFrame, model: str) -> ModelTest:
        """Return the errors of a model, by its name in the rows of the frames."""
        table = error_table(frames, model, has_states=self.has_states)
        return ModelTest(
            frames, table, model, self.split, self.has_states, self.left_out
        )


def read_frames(
    data: Path,
    reads_moments: Callable[[], bool],
    *,
    split: str | None = None,
    level: str | None = None,
) -> Frames:
    """Return frames with labels.

    Parameters
    ----------
    data, split, level
        As for :func:`run_test`.
    reads_moments
        Says whether the models read moments; asked for frames without manifest.

    Raises
    ------
    DataError, ConfigError
        As :func:`run_test`.
    """
    if split is not None and split not in SPLITS:
        raise unknown("part of the data", split, SPLITS)
    if (data / MANIFEST).is_file():
        systems, split = _collected(data, split, level)
        return Frames(systems, read_manifest(data), split, True, {})
    systems, left_out = _plain(data, reads_moments=reads_moments())
    return Frames(systems, _nameless(systems), EVERYTHING, False, left_out)


def _collected(
    data: Path, split: str | None, level: str | None
) -> tuple[list[LabelledSystem], str]:
    collected = look_through(data, level)
    if split is None:
        split = VALIDATION if collected.of(VALIDATION) else EVERYTHING
    chosen = collected.systems if split == EVERYTHING else collected.of(split)
    if not chosen:
        raise DataError(
            f"{data}: expected {split} frames, found none; give another --split, or "
            "collect with --validation."
        )
    names = [system.folder.relative_to(data).as_posix() for system in chosen]
    return [read_system(data, name) for name in sorted(names)], split


def _plain(
    data: Path, *, reads_moments: bool
) -> tuple[list[LabelledSystem], dict[str, int]]:
    """Return all deepmd systems below a folder, frames of one kind together."""
    options = ReadOptions(missing_moments="reject" if reads_moments else "zero")
    groups: dict[tuple[str, tuple[str, ...]], list[Frame]] = defaultdict(list)
    reasons: Counter[str] = Counter()
    for folder in find_systems(data):
        for frame in read_deepmd_system(folder, options):
            if isinstance(frame, Frame):
                name = folder.relative_to(data).as_posix()
                groups[name, tuple(frame.symbols)].append(frame)
            else:
                reasons[frame.reason] += 1
    if not groups:
        raise DataError(
            f"{data}: expected frames that can be used, found none "
            f"({'; '.join(reasons)})."
        )
    systems = [
        _system(f"{name}#{number}", frames)
        for number, ((name, _), frames) in enumerate(groups.items())
    ]
    return systems, dict(reasons)


def _system(name: str, frames: Sequence[Frame]) -> LabelledSystem:
    return LabelledSystem(
        name=name,
        symbols=list(frames[0].symbols),
        positions=np.stack([frame.positions for frame in frames]),
        cells=np.stack([frame.cell for frame in frames]),
        energies=np.array([frame.energy for frame in frames]),
        forces=np.stack([frame.forces for frame in frames]),
        moments=np.stack([frame.moments for frame in frames]),
        virials=_stacked([frame.virial for frame in frames]),
        magnetic_forces=_stacked([frame.magnetic_forces for frame in frames]),
    )


def _stacked(arrays: Sequence[Array | None]) -> Array | None:
    """Return labels that all frames have, or None."""
    known = [array for array in arrays if array is not None]
    return np.stack(known) if len(known) == len(arrays) else None


def _nameless(systems: Sequence[LabelledSystem]) -> pd.DataFrame:
    """Return a manifest of frames without spin states, each a geometry of its own."""
    rows = [
        {
            "status": KEPT,
            "system": system.name,
            "index": index,
            "formula": formula(system.symbols),
            "key": "",
            "geometry": f"{system.name}/{index}",
        }
        for system in systems
        for index in range(len(system.energies))
    ]
    return pd.DataFrame(rows).reindex(columns=list(MANIFEST_COLUMNS))
