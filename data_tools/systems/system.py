# SPDX-License-Identifier: LGPL-3.0-or-later
"""One deepmd-kit system on disk: its layout, and opening it without reading it.

A system is a folder with ``type.raw`` (a type number for each atom), ``type_map.raw``
(the elements in the order of their numbers) and sets, folders ``set.*`` with the arrays
of some frames: ``coord``, ``force``, ``spin`` (nf, 3 nloc), ``box``, ``virial``
(nf, 9) and ``energy`` (nf,). Units are Å, eV, μB; ``force_mag`` is -dE/dm in eV/μB and
``initial_spin`` a guess of the moments from which to predict them. In a mixed-type
system ``real_atom_types`` (nf, nloc) has the types, -1 for no atom, and the numbers in
``type.raw`` mean nothing. What spin-dp writes has one set and, besides,
``spin_dp.json``, see :mod:`spin_dp.data_tools.systems.note`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.data_tools.systems.note import Note, read_note
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

    from spin_dp.data_tools.frame import Array

TRAINING = "training"
VALIDATION = "validation"
"""Folders of a data set with the systems of either side of the split."""

TYPES = "type.raw"
TYPE_MAP = "type_map.raw"
OPEN = "nopbc"
FIRST_SET = "set.000"
FRAME_TYPES = "real_atom_types"
NO_ATOM = -1
"""Type of a place without an atom in a mixed-type system."""

PER_ATOM = frozenset({"coord", "force", "spin", "force_mag", "initial_spin"})
"""Labels with three numbers an atom."""

PER_FRAME: dict[str, tuple[int, ...]] = {"box": (3, 3), "virial": (3, 3), "energy": ()}
"""Shape of a frame's row of the other labels."""


@dataclass(frozen=True, eq=False)
class FrameSet:
    """A folder ``set.*``.

    Attributes
    ----------
    folder
        The folder.
    n_frames, n_places
        Number of its frames, and of atoms in each (mixed types: of places for atoms).
    labels
        Names of its arrays, without that of the types.
    is_mixed
        Whether it holds the types of each frame.
    """

    folder: Path
    n_frames: int
    n_places: int
    labels: frozenset[str]
    is_mixed: bool

    def label(self, name: str) -> Array:
        """Return an array, mapped into memory and read from disk when used.

        Parameters
        ----------
        name
            Name of the label.

        Returns
        -------
        ndarray
            (nf, nloc, 3) for a label of :data:`PER_ATOM`, (nf, 3, 3) for box and
            virial, (nf,) for the energy, others as they are in the file.

        Raises
        ------
        DataError
            If there is no such array, or it cannot be read.
        """
        if name not in self.labels:
            raise _missing(self.folder, name)
        array = _mapped(self.folder / f"{name}.npy")
        if name in PER_ATOM:
            return array.reshape(self.n_frames, self.n_places, 3)
        if name in PER_FRAME:
            return array.reshape(self.n_frames, *PER_FRAME[name])
        return array


@dataclass(frozen=True, eq=False)
class DeepmdSystem:
    """A system on disk, its arrays not read.

    Attributes
    ----------
    folder
        Its folder.
    elements
        The type map.
    place_types
        What ``type.raw`` says, (nloc,).
    sets
        Its sets, in order; one at least.
    """

    folder: Path
    elements: tuple[str, ...]
    place_types: npt.NDArray[np.int64]
    sets: tuple[FrameSet, ...]

    @property
    def n_places(self) -> int:
        """Number of atoms of each frame; of places for them where types are mixed."""
        return len(self.place_types)

    @property
    def n_frames(self) -> int:
        """Number of frames in all sets."""
        return sum(part.n_frames for part in self.sets)

    @property
    def is_mixed(self) -> bool:
        """Whether its frames differ in the types of their atoms."""
        return self.sets[0].is_mixed

    @property
    def labels(self) -> frozenset[str]:
        """Labels that all its sets have."""
        return frozenset.intersection(*(part.labels for part in self.sets))

    @cached_property
    def note(self) -> Note:
        """What its ``spin_dp.json`` says, or the defaults; DataError if not valid."""
        return read_note(self.folder)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Element of each atom, (nloc,); DataError where types are mixed."""
        if self.is_mixed:
            raise DataError(
                f"{self.folder}: expected atoms of the same elements in all frames, "
                f"got mixed types ({FRAME_TYPES}.npy)"
            )
        return tuple(self.elements[number] for number in self.place_types)

    def label(self, name: str) -> Array:
        """Return a label of all frames, see :meth:`FrameSet.label`.

        It is mapped where there is one set, and in memory where there are several.
        """
        parts = [part.label(name) for part in self.sets]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def frame_types(self, part: FrameSet) -> npt.NDArray[np.int64]:
        """Return the types of the atoms in a set's frames, (nf, nloc); -1: no atom.

        Raises
        ------
        DataError
            If a number is not in the type map.
        """
        if not part.is_mixed:
            shape = (part.n_frames, self.n_places)
            return np.broadcast_to(self.place_types, shape)
        types = np.asarray(_mapped(part.folder / f"{FRAME_TYPES}.npy"), dtype=np.int64)
        _check_types(self.folder, types, self.elements, NO_ATOM)
        return types


def system_folders(root: Path) -> list[Path]:
    """Return the folders of systems below a folder, hidden ones left out, sorted."""
    folders = (file.parent for file in root.rglob(TYPES))
    return sorted(
        folder
        for folder in folders
        if not any(name.startswith(".") for name in folder.relative_to(root).parts)
    )


def find_systems(root: Path) -> list[Path]:
    """Return the folders of systems below a folder, at any depth.

    Raises
    ------
    DataError
        If there is none.
    """
    folders = system_folders(root)
    if not folders:
        raise DataError(
            f"{root}: expected deepmd systems (folders with {TYPES}), found none; "
            f"collect frames into it first: spin-dp collect SOURCES -o {root}"
        )
    return folders


def open_system(folder: Path, required: Iterable[str] = ()) -> DeepmdSystem:
    """Open a system, written by spin-dp or not.

    Parameters
    ----------
    folder
        Folder with ``type.raw``.
    required
        Labels that each set must have, besides ``coord`` and ``box``.

    Returns
    -------
    DeepmdSystem
        The system with all its sets; of the arrays only the shapes have been read.

    Raises
    ------
    DataError
        If a file is missing or cannot be read, there is no set or no periodic cell, or
        an array does not fit the numbers of frames and atoms.
    """
    types, elements = _types(folder), _elements(folder)
    if (folder / OPEN).exists():
        raise DataError(
            f"{folder}: no periodic cell ({OPEN}); put the atoms into a cell with "
            f"room around them (box.npy) and remove {OPEN}"
        )
    paths = sorted(path for path in folder.glob("set.*") if path.is_dir())
    if not paths and (folder / "coord.raw").exists():
        raise DataError(
            f"{folder}: no folder set.* beside coord.raw; collect the system as "
            "deepmd/raw:FOLDER first"
        )
    if not paths:
        raise DataError(f"{folder}: no folder set.* beside {TYPES}")
    required = ("coord", "box", *required)
    sets = tuple(_open_set(path, len(types), required) for path in paths)
    for part in sets:
        if part.is_mixed != sets[0].is_mixed:
            raise DataError(
                f"{folder}: {FRAME_TYPES}.npy in some sets only "
                f"({sets[0].folder.name} and {part.folder.name} differ)"
            )
    _check_types(folder, types, elements, 0)
    return DeepmdSystem(folder, elements, types, sets)


def _elements(folder: Path) -> tuple[str, ...]:
    try:
        return tuple((folder / TYPE_MAP).read_text(encoding="utf-8").split())
    except FileNotFoundError as error:
        raise DataError(
            f"{folder}: no {TYPE_MAP} beside {TYPES}; write the elements there in the "
            "order of their numbers, one a line"
        ) from error


def _types(folder: Path) -> npt.NDArray[np.int64]:
    try:
        words = (folder / TYPES).read_text(encoding="utf-8").split()
    except FileNotFoundError as error:
        raise DataError(f"{folder}: not a deepmd system, it has no {TYPES}") from error
    try:
        return np.array([int(word) for word in words], dtype=np.int64)
    except ValueError as error:
        raise DataError(
            f"{folder}: {TYPES} holds something else than type numbers"
        ) from error


def _check_types(
    folder: Path, types: npt.NDArray[np.int64], elements: tuple[str, ...], lowest: int
) -> None:
    if types.size and not (lowest <= types.min() and types.max() < len(elements)):
        raise DataError(
            f"{folder}: a type number is outside {TYPE_MAP}, which names "
            f"{len(elements)} elements"
        )


def _open_set(path: Path, n_places: int, required: Iterable[str]) -> FrameSet:
    shapes = {file.stem: _mapped(file).shape for file in path.glob("*.npy")}
    for name in required:
        if name not in shapes:
            raise _missing(path, name)
    n_frames = next(iter(shapes["coord"]), 0)
    widths = {
        **dict.fromkeys(PER_ATOM, 3 * n_places),
        **{name: prod(shape) for name, shape in PER_FRAME.items()},
        FRAME_TYPES: n_places,
    }
    for name in sorted(shapes, key=lambda name: (name != "coord", name)):
        width, shape = widths.get(name), shapes[name]
        fits = shape[:1] == (n_frames,)
        if width is not None and not (fits and prod(shape) == n_frames * width):
            raise DataError(
                f"{path.parent}: {path.name}/{name}.npy has shape {shape}, expected "
                f"({n_frames}, {width}) for {n_frames} frames (coord.npy) of "
                f"{n_places} atoms ({TYPES})"
            )
    labels = frozenset(shapes) - {FRAME_TYPES}
    return FrameSet(path, n_frames, n_places, labels, FRAME_TYPES in shapes)


def _mapped(path: Path) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path.parent.parent}: {path.parent.name}/{path.name} cannot be read: "
            f"{error}"
        ) from error
    return array


def _missing(path: Path, name: str) -> DataError:
    return DataError(f"{path.parent}: no {name}.npy in {path.name}")
