# SPDX-License-Identifier: LGPL-3.0-or-later
"""Merging systems so that one training batch holds many spin states.

deepmd-kit draws a batch from one system. Systems that keep spin states apart make
batches of one state each, often of one or two frames, and training sees one state
at a time. Merged into ``mixed_type`` systems (one for each number of atoms and set of
labels) the same frames fill batches across states and compositions.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

_Group = tuple[int, tuple[str, ...]]


def merge_systems(root: Path, out: Path) -> list[Path]:
    """Merge all systems below a folder into ``mixed_type`` systems.

    Parameters
    ----------
    root
        Folder with stock systems of one ``type_map`` at any depth.
    out
        Folder to be made; an older one is replaced once the new one is complete.

    Returns
    -------
    list of Path
        The merged systems, in ``out``.

    Raises
    ------
    DataError
        If there is no system below ``root``, or their type maps differ.
    ConfigError
        If ``out`` holds anything but the result of an earlier merge.
    """
    folders = sorted(file.parent for file in root.rglob("type.raw"))
    if not folders:
        raise DataError(f"{root}: expected deepmd systems (type.raw), found none.")
    type_map = (folders[0] / "type_map.raw").read_text()
    groups: dict[_Group, list[Path]] = defaultdict(list)
    for folder in folders:
        if (folder / "type_map.raw").read_text() != type_map:
            raise DataError(
                f"{folder}: its type_map.raw differs from that of {folders[0]}; "
                "collect both with the same --type-map."
            )
        labels = tuple(sorted(file.stem for file in folder.glob("set.000/*.npy")))
        groups[len(_types(folder)), labels].append(folder)
    if out.exists() and (not out.is_dir() or not _is_merged(out)):
        raise ConfigError(
            f"{out}: holds other things than merged systems; give a new folder."
        )
    part = out.with_name(f"{out.name}.part")
    if part.exists():
        shutil.rmtree(part)
    names = []
    for number, ((n_atoms, labels), members) in enumerate(sorted(groups.items())):
        names.append(f"{n_atoms}-atoms-{number}")
        _write(part / names[-1], n_atoms, labels, members, type_map)
    if out.exists():
        shutil.rmtree(out)
    part.rename(out)
    return [out / name for name in names]


def _write(
    folder: Path,
    n_atoms: int,
    labels: tuple[str, ...],
    members: list[Path],
    type_map: str,
) -> None:
    data = folder / "set.000"
    data.mkdir(parents=True)
    for label in labels:
        parts = [np.load(member / "set.000" / f"{label}.npy") for member in members]
        np.save(data / f"{label}.npy", np.concatenate(parts))
    types = [
        np.tile(_types(member), (len(np.load(member / "set.000" / "energy.npy")), 1))
        for member in members
    ]
    np.save(data / "real_atom_types.npy", np.concatenate(types))
    (folder / "type.raw").write_text("0\n" * n_atoms)
    (folder / "type_map.raw").write_text(type_map)


def _is_merged(folder: Path) -> bool:
    return all(
        (item / "set.000" / "real_atom_types.npy").is_file()
        for item in folder.iterdir()
    )


def _types(folder: Path) -> npt.NDArray[np.int32]:
    return np.loadtxt(folder / "type.raw", dtype=np.int32, ndmin=1)
