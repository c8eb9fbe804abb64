# SPDX-License-Identifier: LGPL-3.0-or-later
"""Merging systems so that one training batch holds many spin states.

deepmd-kit draws a batch from one system. Systems that keep spin states apart make
batches of one state each, often of one or two frames, and training sees one state
at a time. Merged into ``mixed_type`` systems the same frames fill batches across
states, compositions and sizes of cells: cells of up to 8, up to 16, up to 32 ...
atoms are filled up to the largest of their kind with places of type -1, which
deepmd-kit takes for no atom, unless that is not wanted. Frames with different sets of
labels stay apart, and so do levels of theory that conflict, each group in a folder of
its own.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from spin_dp.data_tools.level import compatible_groups
from spin_dp.data_tools.systems.note import read_note
from spin_dp.data_tools.systems.padding import size_class, void_positions
from spin_dp.data_tools.systems.system import (
    FRAME_TYPES,
    NO_ATOM,
    PER_ATOM,
    PER_FRAME,
    TRAINING,
    VALIDATION,
    DeepmdSystem,
    FrameSet,
    find_systems,
    open_system,
)
from spin_dp.data_tools.systems.writing import SystemWriter
from spin_dp.errors import ConfigError, DataError
from spin_dp.files import check_replaceable, recover_folder, replaced_folder
from spin_dp.spin_states.catalogue import Catalogue

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt

    from spin_dp.data_tools.frame import Array

_Key: TypeAlias = tuple[str, int, int, tuple[str, ...]]  # split, levels, size, labels
_Member: TypeAlias = tuple[DeepmdSystem, FrameSet]


def merge_systems(
    root: Path,
    out: Path,
    *,
    fill: bool = True,
    levels: Collection[str] | None = None,
) -> list[Path]:
    """Merge all systems below a folder into ``mixed_type`` systems.

    Parameters
    ----------
    root
        Folder with systems of one ``type_map`` at any depth: a data set, a part of it,
        or systems that others wrote, with any number of sets.
    out
        Folder to be made; an older one is replaced once the new one is complete.
    fill
        Whether cells of different size share systems, filled up with places for no
        atom. Not all models of deepmd-kit know such places (DPA4C does not), and most
        spend time on them.
    levels
        Identifiers of the levels of theory that are merged; all if None.

    Returns
    -------
    list of Path
        The merged systems in ``out``. Those of ``root/training`` and
        ``root/validation`` stay apart, in folders of these names; levels of theory that
        must not be trained on together lie in folders below, named after the level with
        most elements of each group.

    Raises
    ------
    DataError
        If there is no such system below ``root``, one is merged already, holds labels
        that are not known or is damaged, their type maps differ, or some have nominal
        moments and others those of DFT.
    ConfigError
        If ``out`` holds anything but the result of an earlier merge, or cannot be
        replaced.
    """
    systems = [_open(folder) for folder in find_systems(root)]
    if levels is not None:
        systems = [system for system in systems if system.note.level.id in levels]
        if not systems:
            raise DataError(f"{root}: no system at the levels {', '.join(levels)}.")
    check_alike(root, systems)
    recover_folder(out)
    check_replaceable(out)
    if out.exists() and not _is_merged(out):
        raise ConfigError(
            f"{out}: holds other things than merged systems; give a new folder."
        )
    groups = compatible_groups(system.note.level for system in systems)
    members: dict[_Key, list[_Member]] = defaultdict(list)
    for system in systems:
        group = groups[system.note.level.id]
        size = size_class(system.n_places) if fill else system.n_places
        split = _split(system.folder.relative_to(root))
        for part in system.sets:
            labels = tuple(sorted(part.labels))
            members[split, group, size, labels].append((system, part))
    names = []
    with replaced_folder(out) as fresh:
        for number, ((split, group, *_), merged) in enumerate(sorted(members.items())):
            level = _first_level(groups, group) if max(groups.values()) else ""
            n_places = max(part.n_places for _, part in merged)
            names.append(Path(split, level, f"{n_places}-atoms-{number}"))
            _write(fresh / names[-1], merged, n_places)
    return [out / name for name in names]


def check_alike(root: Path, systems: Sequence[DeepmdSystem]) -> None:
    """Refuse systems below a folder that must not be trained on together.

    Raises
    ------
    DataError
        If type maps differ, or some moments are nominal and others those of DFT.
    """
    first = systems[0]
    for system in systems:
        if system.elements != first.elements:
            raise DataError(
                f"{system.folder}: its type_map.raw ({', '.join(system.elements)}) "
                f"differs from that of {first.folder} ({', '.join(first.elements)}); "
                "collect both with the same --type-map."
            )
    if len({system.note.labels or "dft" for system in systems}) > 1:
        raise DataError(
            f"{root}: some systems have nominal moments and others those of DFT; "
            "collect all of them with the same --labels."
        )


def _open(folder: Path) -> DeepmdSystem:
    system = open_system(folder)
    if system.note.is_merged:
        raise DataError(
            f"{folder}: is merged already (mixed_type); merge the systems that it was "
            "made of, the result of collect."
        )
    for part in system.sets:
        unknown = sorted(part.labels - PER_ATOM - set(PER_FRAME))
        if unknown:
            raise DataError(
                f"{part.folder / unknown[0]}.npy: a label that merge does not know; "
                "remove it, or train on the systems as they are (init --no-merge)."
            )
    return system


def _split(folder: Path) -> str:
    first = folder.parts[:1]
    return first[0] if first and first[0] in {TRAINING, VALIDATION} else ""


def _first_level(groups: Mapping[str, int], group: int) -> str:
    """Return the level that a group of levels is named after."""
    return next(level for level, number in groups.items() if number == group)


def _write(folder: Path, members: Sequence[_Member], n_places: int) -> None:
    systems = list(dict.fromkeys(system for system, _ in members))
    writer = SystemWriter(
        folder,
        systems[0].elements,
        [0] * n_places,
        sum(part.n_frames for _, part in members),
        note={
            "labels": systems[0].note.labels or "dft",
            "levels": sorted({system.note.level.id for system in systems}),
            "states": Catalogue.joined([s.note.states for s in systems]).records(),
        },
    )
    for system, part in members:
        types = _widened(system.frame_types(part), n_places, NO_ATOM)
        writer.append(FRAME_TYPES, types)
        for name in part.labels:
            values = part.label(name)
            if name in PER_ATOM:
                values = _widened(values, n_places, 0.0)
                values[types == NO_ATOM] = 0.0
            if name == "coord":
                _place_voids(values, part.label("box"), types == NO_ATOM)
            writer.append(name, values)


def _widened(
    values: npt.NDArray[Any], n_places: int, filling: float
) -> npt.NDArray[Any]:
    """Return a copy with more places in each frame, (nf, n_places, ...)."""
    missing = [(0, 0)] * values.ndim
    missing[1] = (0, n_places - values.shape[1])
    return np.pad(values, missing, constant_values=filling)


def _place_voids(coord: Array, boxes: Array, is_void: npt.NDArray[np.bool_]) -> None:
    """Move the places for no atom of all frames, (nf, n_places, 3) Å, to voids."""
    for positions, box, void in zip(coord, boxes, is_void, strict=True):
        if void.any():
            positions[void] = void_positions(positions[~void], box, int(void.sum()))


def _is_merged(folder: Path) -> bool:
    """Return whether a folder holds merged systems, at any depth, and nothing else."""
    return all(
        item.is_dir()
        and (read_note(item).is_merged or (any(item.iterdir()) and _is_merged(item)))
        for item in folder.iterdir()
    )
