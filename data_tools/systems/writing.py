# SPDX-License-Identifier: LGPL-3.0-or-later
"""Writing systems, part by part, so that they may be larger than the memory."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.data_tools.systems.note import write_note
from spin_dp.data_tools.systems.system import (
    FIRST_SET,
    FRAME_TYPES,
    PER_ATOM,
    PER_FRAME,
    TYPE_MAP,
    TYPES,
)
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from spin_dp.data_tools.frame import Array, Frame
    from spin_dp.data_tools.systems.system import DeepmdSystem


def atom_order(
    symbols: Sequence[str], type_map: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Return the order that sorts atoms by type and keeps it within a type, (nloc,)."""
    types = [type_map.index(symbol) for symbol in symbols]
    return np.argsort(types, kind="stable")


class SystemWriter:
    """A system with one set that is written part by part.

    Parameters
    ----------
    folder
        Folder to be made; must not exist.
    type_map
        Elements in the order of their type numbers.
    types
        Type number of each atom, (nloc,).
    n_frames
        Number of frames it will have.
    note
        Contents of ``spin_dp.json``; none is written if empty.
    """

    def __init__(
        self,
        folder: Path,
        type_map: Iterable[str],
        types: Iterable[int],
        n_frames: int,
        note: Mapping[str, object] | None = None,
    ) -> None:
        self._set = folder / FIRST_SET
        self._n_frames = n_frames
        self._set.mkdir(parents=True)
        (folder / TYPE_MAP).write_text("".join(f"{name}\n" for name in type_map))
        (folder / TYPES).write_text("".join(f"{number}\n" for number in types))
        if note:
            write_note(folder, note)

    def append(self, name: str, rows: npt.NDArray[Any]) -> None:
        """Append the rows of further frames to an array.

        Parameters
        ----------
        name
            A label, or ``real_atom_types``.
        rows
            As :meth:`spin_dp.data_tools.systems.system.FrameSet.label` returns them,
            (nf, ...).
        """
        if name in PER_ATOM or PER_FRAME.get(name):
            rows = rows.reshape(len(rows), -1)
        kind = "<i4" if name == FRAME_TYPES else "<f8"
        with (self._set / f"{name}.npy").open("ab") as stream:
            if stream.tell() == 0:
                shape = (self._n_frames, *rows.shape[1:])
                header = {"descr": kind, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(stream, header)
            stream.write(rows.astype(kind).tobytes())


def write_frames(system: DeepmdSystem, indices: Sequence[int], folder: Path) -> None:
    """Write some frames of a system, with all their labels, as a system of one set.

    Parameters
    ----------
    system
        The system; not one of mixed types.
    indices
        Numbers of the frames, from 0.
    folder
        Folder to be made; must not exist.
    """
    writer = SystemWriter(folder, system.elements, system.place_types, len(indices))
    for name in system.labels:
        writer.append(name, system.label(name)[list(indices)])


class FrameWriter:
    """A system of frames of one composition that are added one by one.

    Parameters
    ----------
    folder, type_map, n_frames, note
        As of :class:`SystemWriter`; the folder is made by the first :meth:`flush`.
    """

    def __init__(
        self,
        folder: Path,
        type_map: Sequence[str],
        n_frames: int,
        note: Mapping[str, object] | None = None,
    ) -> None:
        self._folder = folder
        self._type_map = type_map
        self._n_frames = n_frames
        self._note = note
        self._types: list[int] = []
        self._rows: dict[str, list[Array]] = defaultdict(list)
        self._writer: SystemWriter | None = None

    def add(self, frame: Frame, initial_moments: Array | None = None) -> None:
        """Add a frame; it is on disk after :meth:`flush`.

        Parameters
        ----------
        frame
            The frame; all of a system have a virial or none, and magnetic forces alike.
        initial_moments
            Guess of its moments, (nloc, 3), μB: for all frames of a system or none.
        """
        order = atom_order(frame.symbols, self._type_map)
        self._types = [self._type_map.index(frame.symbols[atom]) for atom in order]
        rows = self._rows
        rows["coord"].append(frame.positions[order])
        rows["force"].append(frame.forces[order])
        rows["spin"].append(frame.moments[order])
        rows["box"].append(frame.cell)
        rows["energy"].append(np.array(frame.energy))
        if frame.virial is not None:
            rows["virial"].append(frame.virial)
        if frame.magnetic_forces is not None:
            rows["force_mag"].append(frame.magnetic_forces[order])
        if initial_moments is not None:
            rows["initial_spin"].append(initial_moments[order])

    def flush(self) -> None:
        """Append the frames added since to the files."""
        if self._writer is None:
            self._writer = SystemWriter(
                self._folder, self._type_map, self._types, self._n_frames, self._note
            )
        for name, rows in self._rows.items():
            self._writer.append(name, np.stack(rows))
        self._rows.clear()


def write_system(
    folder: Path,
    frames: Sequence[Frame],
    type_map: Sequence[str],
    *,
    stationary: bool = False,
) -> None:
    """Write frames of one composition as a deepmd-kit system.

    Parameters
    ----------
    folder
        Folder to be made; must not exist.
    frames
        Frames, all with the same numbers of the same elements.
    type_map
        Elements in the order of their type numbers.
    stationary
        Whether to write ``force_mag`` = 0: true of frames whose moments were free in a
        converged SCF calculation.

    Raises
    ------
    DataError
        If the frames have different compositions.
    """
    compositions = {tuple(sorted(frame.symbols)) for frame in frames}
    if len(compositions) > 1:
        raise DataError(f"{folder}: frames of different compositions in one system")
    if stationary:
        frames = [stationary_frame(frame) for frame in frames]
    if any(frame.virial is None for frame in frames):
        frames = [replace(frame, virial=None) for frame in frames]
    if any(frame.magnetic_forces is None for frame in frames):
        frames = [replace(frame, magnetic_forces=None) for frame in frames]
    writer = FrameWriter(folder, type_map, len(frames))
    for frame in frames:
        writer.add(frame)
    writer.flush()


def stationary_frame(frame: Frame) -> Frame:
    """Return the frame with magnetic forces of zero."""
    return replace(frame, magnetic_forces=np.zeros_like(frame.moments))
