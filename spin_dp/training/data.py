# SPDX-License-Identifier: LGPL-3.0-or-later
"""What systems hold before a model is trained on them: elements, moments, levels."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.data_tools.dataset.split import TRAINING, VALIDATION
from spin_dp.data_tools.dataset.systems import read_note
from spin_dp.data_tools.level import UNSPECIFIED, Level, compatible_groups
from spin_dp.errors import ConfigError, DataError, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_MIXED = "real_atom_types.npy"
_FRAMES_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class SystemFacts:
    """What one deepmd system holds.

    Attributes
    ----------
    folder, split
        Where it lies; ``training`` or ``validation``.
    type_map
        Its elements in type order.
    frames
        Number of frames.
    atoms
        Atoms of each element in all frames.
    largest
        Largest moment of each element in any frame, μB; empty without ``spin.npy``.
    level
        Its level of theory; None of a merged system.
    levels
        Identifiers of the levels of its frames.
    labels
        Kind of moments, ``dft`` or ``nominal``.
    """

    folder: Path
    split: str
    type_map: tuple[str, ...]
    frames: int
    atoms: Mapping[str, int]
    largest: Mapping[str, float]
    level: Level | None
    levels: tuple[str, ...]
    labels: str

    @property
    def is_merged(self) -> bool:
        """Whether ``spin-dp merge`` wrote it."""
        return self.level is None


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Systems that may be trained on together.

    Attributes
    ----------
    folder
        Folder that was looked through.
    systems
        Those of one group of levels of theory.
    others
        Levels that were left out.
    """

    folder: Path
    systems: Sequence[SystemFacts]
    others: Sequence[str] = field(default=())

    def of(self, split: str) -> list[SystemFacts]:
        """Return the systems of ``training`` or ``validation``."""
        return [system for system in self.systems if system.split == split]

    def frames(self, split: str) -> int:
        """Return the number of frames of a split."""
        return sum(system.frames for system in self.of(split))

    @property
    def type_map(self) -> tuple[str, ...]:
        """Elements in type order, the same in all systems."""
        return self.systems[0].type_map

    @property
    def levels(self) -> list[str]:
        """Identifiers of the levels of theory."""
        return sorted({name for system in self.systems for name in system.levels})

    @property
    def is_merged(self) -> bool:
        """Whether the systems are merged ones."""
        return any(system.is_merged for system in self.systems)

    def atoms(self) -> Counter[str]:
        """Return the number of atoms of each element in all training frames."""
        counts: Counter[str] = Counter()
        for system in self.of(TRAINING):
            counts.update(system.atoms)
        return counts

    def largest_moments(self) -> dict[str, float]:
        """Return the largest moment of each element in the training frames, μB."""
        largest: dict[str, float] = {}
        for system in self.of(TRAINING):
            for element, moment in system.largest.items():
                largest[element] = max(moment, largest.get(element, 0.0))
        return largest

    def magnetic_elements(self, threshold: float) -> list[str]:
        """Return the elements with a moment above a threshold in some training frame.

        Parameters
        ----------
        threshold
            In μB.

        Returns
        -------
        list of str
            In the order of the type map.
        """
        largest = self.largest_moments()
        return [
            element
            for element in self.type_map
            if largest.get(element, 0.0) > threshold
        ]


def look_through(data: Path, level: str | None = None) -> TrainingData:
    """Find the systems below a folder and what is in them.

    Parameters
    ----------
    data
        A result of ``spin-dp collect``, ``select`` or ``merge``, or any folder with
        deepmd systems.
    level
        Level of theory whose group is taken; needed where there are several groups
        that must not be mixed.

    Returns
    -------
    TrainingData
        Systems in ``data/training`` and ``data/validation``, or all below ``data`` as
        training where there is no such folder.

    Raises
    ------
    DataError
        If there is no training system, type maps differ, or some moments are nominal
        and others those of DFT.
    ConfigError
        If levels of theory must not be mixed and none is chosen, or it is unknown.
    """
    systems = [
        _facts(file.parent, split)
        for split, folder in _splits(data).items()
        for file in sorted(folder.rglob("type.raw"))
    ]
    if not any(system.split == TRAINING for system in systems):
        raise DataError(
            f"{data}: expected deepmd systems (folders with type.raw), found none; "
            "collect frames into it first: spin-dp collect SOURCES -o "
            f"{data}"
        )
    _check_alike(data, systems)
    groups = _groups(systems)
    chosen = _choose(data, groups, level)
    others = {
        name
        for number, group in groups.items()
        if number != chosen
        for system in group
        for name in system.levels
    }
    return TrainingData(data, groups[chosen], sorted(others))


def _splits(data: Path) -> dict[str, Path]:
    if (data / TRAINING).is_dir():
        return {TRAINING: data / TRAINING, VALIDATION: data / VALIDATION}
    return {TRAINING: data}


def _facts(folder: Path, split: str) -> SystemFacts:
    note = read_note(folder)
    sets = [path for path in sorted(folder.glob("set.*")) if path.is_dir()]
    merged = any((path / _MIXED).is_file() for path in sets)
    try:
        type_map = tuple((folder / "type_map.raw").read_text().split())
        frames, atoms, largest = _count(folder, sets, type_map)
    except (OSError, ValueError, IndexError) as error:
        raise DataError(
            f"{folder}: not a readable deepmd system ({error}); collect it again"
        ) from error
    description = note.get("level_description", {})
    level = Level(
        str(note.get("level_label", UNSPECIFIED)),
        description if isinstance(description, dict) else {},
    )
    levels = note.get("levels", []) if merged else [level.id]
    return SystemFacts(
        folder=folder,
        split=split,
        type_map=type_map,
        frames=frames,
        atoms=atoms,
        largest=largest,
        level=None if merged else level,
        levels=tuple(levels) if isinstance(levels, list) else (),
        labels=str(note.get("labels", "dft")),
    )


def _count(
    folder: Path, sets: Sequence[Path], type_map: Sequence[str]
) -> tuple[int, Counter[str], dict[str, float]]:
    """Return frames, atoms of each element, and largest moments (μB)."""
    types = np.loadtxt(folder / "type.raw", dtype=np.int64, ndmin=1)
    n_types = len(type_map)
    counts = np.zeros(n_types, dtype=np.int64)
    largest = np.zeros(n_types)
    frames, has_spin = 0, bool(sets)
    for path in sets:
        n_frames = len(np.load(path / "coord.npy", mmap_mode="r"))
        frames += n_frames
        mixed = _open(path / _MIXED)
        spin = _open(path / "spin.npy")
        has_spin = has_spin and spin is not None
        for start in range(0, n_frames, _FRAMES_AT_ONCE):
            part = slice(start, min(start + _FRAMES_AT_ONCE, n_frames))
            shape = (part.stop - start, len(types))
            kinds = np.broadcast_to(types, shape) if mixed is None else mixed[part]
            real = kinds >= 0
            counts += np.bincount(kinds[real], minlength=n_types)
            if spin is not None:
                moments = np.linalg.norm(spin[part].reshape(*shape, 3), axis=-1)
                np.maximum.at(largest, kinds[real], moments[real])
    present = [number for number in range(n_types) if counts[number]]
    moments = {type_map[i]: float(largest[i]) for i in present} if has_spin else {}
    return frames, Counter({type_map[i]: int(counts[i]) for i in present}), moments


def _open(path: Path) -> NDArray[Any] | None:
    return np.load(path, mmap_mode="r") if path.is_file() else None


def _check_alike(data: Path, systems: Sequence[SystemFacts]) -> None:
    first = systems[0]
    for system in systems:
        if system.type_map != first.type_map:
            raise DataError(
                f"{system.folder}: its type_map.raw ({', '.join(system.type_map)}) "
                f"differs from that of {first.folder} ({', '.join(first.type_map)}); "
                "collect both with the same --type-map."
            )
    if len({system.labels for system in systems}) > 1:
        raise DataError(
            f"{data}: some systems have nominal moments and others those of DFT; "
            "collect all of them with the same --labels."
        )


def _groups(systems: Sequence[SystemFacts]) -> dict[object, list[SystemFacts]]:
    """Return the systems that may be mixed; merged ones lie in a folder a group."""
    levels = [system.level for system in systems if system.level is not None]
    numbers = compatible_groups(levels)
    groups: dict[object, list[SystemFacts]] = defaultdict(list)
    for system in systems:
        if system.level is None:
            name = system.folder.parent.name
            is_split = name in {TRAINING, VALIDATION}
            groups["" if is_split else name].append(system)
        else:
            groups[numbers[system.level.id]].append(system)
    return groups


def _choose(
    data: Path, groups: Mapping[object, Sequence[SystemFacts]], level: str | None
) -> object:
    names = {
        name: number
        for number, group in groups.items()
        for system in group
        for name in system.levels
    }
    if level is not None:
        if level not in names:
            raise unknown(f"level of theory in {data}", level, names)
        return names[level]
    if len(groups) == 1:
        return next(iter(groups))
    counts = ", ".join(
        f"{group[0].levels[0]} ({sum(system.frames for system in group)} frames)"
        for group in groups.values()
    )
    raise ConfigError(
        f"{data}: {len(groups)} groups of levels of theory whose energies must not be "
        f"trained on together: {counts}. Choose one with --level; levels.json says how "
        "they differ."
    )
