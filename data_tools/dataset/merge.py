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

import json
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from spin_dp.data_tools.dataset.padding import NO_ATOM, size_class, void_positions
from spin_dp.data_tools.dataset.split import TRAINING, VALIDATION
from spin_dp.data_tools.dataset.stored import PER_ATOM
from spin_dp.data_tools.dataset.systems import NOTE, read_note
from spin_dp.data_tools.level import UNSPECIFIED, Level, compatible_groups
from spin_dp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from spin_dp.data_tools.frame import Array

_Key: TypeAlias = tuple[str, int, int, tuple[str, ...]]  # split, level, size, labels


@dataclass(frozen=True, eq=False)
class _System:
    folder: Path
    split: str  # training, validation or empty
    n_atoms: int
    labels: tuple[str, ...]  # files of each set
    level: Level
    moments: str  # dft or nominal
    of_states: dict[str, float]  # mean moment of each state, μB


def merge_systems(root: Path, out: Path, *, fill: bool = True) -> list[Path]:
    """Merge all systems below a folder into ``mixed_type`` systems.

    Parameters
    ----------
    root
        Folder with stock systems of one ``type_map`` at any depth: a data set, or a
        part of it.
    out
        Folder to be made; an older one is replaced once the new one is complete.
    fill
        Whether cells of different size share systems, filled up with places for no
        atom. Not all models of deepmd-kit know such places (DPA4C does not), and most
        spend time on them.

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
        If there is no system below ``root``, one is merged already, their type maps
        differ, or some have nominal moments and others those of DFT.
    ConfigError
        If ``out`` holds anything but the result of an earlier merge.
    """
    systems = [_system(file.parent, root) for file in sorted(root.rglob("type.raw"))]
    if not systems:
        raise DataError(f"{root}: expected deepmd systems (type.raw), found none.")
    type_map = _common_type_map(systems)
    if len({system.moments for system in systems}) > 1:
        raise DataError(
            f"{root}: some systems have nominal moments and others those of DFT; "
            "collect all of them with the same --labels."
        )
    if out.exists() and (not out.is_dir() or not _is_merged(out)):
        raise ConfigError(
            f"{out}: holds other things than merged systems; give a new folder."
        )
    groups = compatible_groups(system.level for system in systems)
    members: dict[_Key, list[_System]] = defaultdict(list)
    for system in systems:
        group = groups[system.level.id]
        size = size_class(system.n_atoms) if fill else system.n_atoms
        members[system.split, group, size, system.labels].append(system)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    names = []
    for number, ((split, group, _, _), merged) in enumerate(sorted(members.items())):
        level = _first_level(groups, group) if max(groups.values()) else ""
        n_atoms = max(member.n_atoms for member in merged)
        names.append(Path(split, level, f"{n_atoms}-atoms-{number}"))
        _write(part / names[-1], merged, type_map)
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
    return [out / name for name in names]


def _system(folder: Path, root: Path) -> _System:
    first = folder.relative_to(root).parts[:1]
    if any(folder.glob("set.*/real_atom_types.npy")):
        raise DataError(
            f"{folder}: is merged already (mixed_type); merge the systems that it was "
            "made of, the result of collect."
        )
    note = read_note(folder)
    label = str(note.get("level_label", UNSPECIFIED))
    description = note.get("level_description", {})
    of_states = note.get("moments", {})
    return _System(
        folder=folder,
        split=first[0] if first and first[0] in {TRAINING, VALIDATION} else "",
        n_atoms=len(_types(folder)),
        labels=tuple(sorted(file.stem for file in folder.glob("set.000/*.npy"))),
        level=Level(label, description if isinstance(description, dict) else {}),
        moments=str(note.get("labels", "dft")),
        of_states=dict(of_states) if isinstance(of_states, dict) else {},
    )


def _common_type_map(systems: Sequence[_System]) -> str:
    first = systems[0].folder
    type_map = (first / "type_map.raw").read_text()
    for system in systems:
        if (system.folder / "type_map.raw").read_text() != type_map:
            raise DataError(
                f"{system.folder}: its type_map.raw differs from that of {first}; "
                "collect both with the same --type-map."
            )
    return type_map


def _first_level(groups: Mapping[str, int], group: int) -> str:
    """Return the level that a group of levels is named after."""
    return next(level for level, number in groups.items() if number == group)


def _write(folder: Path, members: Sequence[_System], type_map: str) -> None:
    data = folder / "set.000"
    data.mkdir(parents=True)
    n_atoms = max(member.n_atoms for member in members)
    for label in members[0].labels:
        parts = []
        for member in members:
            values = np.load(member.folder / "set.000" / f"{label}.npy")
            missing = n_atoms - member.n_atoms
            if missing and label in PER_ATOM:
                places = np.zeros((len(values), 3 * missing))
                if label == "coord":
                    places = _void_places(values, member, missing)
                values = np.concatenate([values, places], axis=1)
            parts.append(values)
        np.save(data / f"{label}.npy", np.concatenate(parts))
    types = []
    for member in members:
        n_frames = len(np.load(member.folder / "set.000" / "energy.npy"))
        filled = np.full(n_atoms, NO_ATOM, dtype=np.int32)
        filled[: member.n_atoms] = _types(member.folder)
        types.append(np.tile(filled, (n_frames, 1)))
    np.save(data / "real_atom_types.npy", np.concatenate(types))
    (folder / "type.raw").write_text("0\n" * n_atoms)
    (folder / "type_map.raw").write_text(type_map)
    note = {
        "labels": members[0].moments,
        "levels": sorted({member.level.id for member in members}),
        "moments": {k: v for member in members for k, v in member.of_states.items()},
    }
    (folder / NOTE).write_text(json.dumps(note, indent=2) + "\n")


def _void_places(coord: Array, member: _System, count: int) -> Array:
    """Return where the places for no atom lie, (nf, 3 count), Å."""
    boxes = np.load(member.folder / "set.000" / "box.npy").reshape(-1, 3, 3)
    frames = zip(coord.reshape(len(coord), -1, 3), boxes, strict=True)
    return np.stack([void_positions(*frame, count).ravel() for frame in frames])


def _is_merged(folder: Path) -> bool:
    """Return whether a folder holds merged systems, at any depth, and nothing else."""
    return all(
        item.is_dir()
        and (
            (item / "set.000" / "real_atom_types.npy").is_file()
            or (any(item.iterdir()) and _is_merged(item))
        )
        for item in folder.iterdir()
    )


def _types(folder: Path) -> npt.NDArray[np.int32]:
    return np.loadtxt(folder / "type.raw", dtype=np.int32, ndmin=1)
