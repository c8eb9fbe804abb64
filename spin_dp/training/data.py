# SPDX-License-Identifier: LGPL-3.0-or-later
"""What systems hold before a model is trained on them: elements, moments, levels."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spin_dp.data_tools.level import compatible_groups
from spin_dp.data_tools.systems.contents import count_contents
from spin_dp.data_tools.systems.merging import check_alike
from spin_dp.data_tools.systems.system import (
    TRAINING,
    VALIDATION,
    DeepmdSystem,
    find_systems,
    open_system,
    system_folders,
)
from spin_dp.errors import ConfigError, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, eq=False)
class TrainingSystem:
    """A system and what it holds.

    Attributes
    ----------
    system
        The system.
    split
        ``training`` or ``validation``.
    atoms
        Atoms of each element in all frames.
    largest
        Largest moment of each element in any frame, μB; empty without ``spin.npy``.
    """

    system: DeepmdSystem
    split: str
    atoms: Mapping[str, int]
    largest: Mapping[str, float]

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.system.folder

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.system.n_frames

    @property
    def is_merged(self) -> bool:
        """Whether ``spin-dp merge`` wrote it."""
        return self.system.note.is_merged

    @property
    def levels(self) -> tuple[str, ...]:
        """Identifiers of the levels of theory of its frames."""
        return self.system.note.level_ids


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
    systems: Sequence[TrainingSystem]
    others: Sequence[str] = field(default=())

    def of(self, split: str) -> list[TrainingSystem]:
        """Return the systems of ``training`` or ``validation``."""
        return [system for system in self.systems if system.split == split]

    def frames(self, split: str) -> int:
        """Return the number of frames of a split."""
        return sum(system.frames for system in self.of(split))

    @property
    def type_map(self) -> tuple[str, ...]:
        """Elements in type order, the same in all systems."""
        return self.systems[0].system.elements

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
        If there is no training system, one is damaged, type maps differ, or some
        moments are nominal and others those of DFT.
    ConfigError
        If levels of theory must not be mixed and none is chosen, or it is unknown.
    """
    if (data / TRAINING).is_dir():
        folders = {TRAINING: find_systems(data / TRAINING)}
        folders[VALIDATION] = system_folders(data / VALIDATION)
    else:
        folders = {TRAINING: find_systems(data)}
    systems = [
        TrainingSystem(system, split, *count_contents(system))
        for split, members in folders.items()
        for system in map(open_system, members)
    ]
    check_alike(data, [system.system for system in systems])
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


def _groups(systems: Sequence[TrainingSystem]) -> dict[object, list[TrainingSystem]]:
    """Return the systems that may be mixed; merged ones lie in a folder a group."""
    plain = [system.system.note.level for system in systems if not system.is_merged]
    numbers = compatible_groups(plain)
    groups: dict[object, list[TrainingSystem]] = defaultdict(list)
    for system in systems:
        if system.is_merged:
            name = system.folder.parent.name
            is_split = name in {TRAINING, VALIDATION}
            groups["" if is_split else name].append(system)
        else:
            groups[numbers[system.system.note.level.id]].append(system)
    return groups


def _choose(
    data: Path, groups: Mapping[object, Sequence[TrainingSystem]], level: str | None
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
