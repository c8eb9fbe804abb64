# SPDX-License-Identifier: LGPL-3.0-or-later
"""Writing frames as stock deepmd-kit systems.

A system is a folder with ``type.raw``, ``type_map.raw`` and ``set.000/*.npy`` in
float64: ``coord``, ``force``, ``spin`` (nf, 3 nloc), ``box``, ``virial`` (nf, 9),
``energy`` (nf,). Units are Å, eV, μB; ``force_mag`` is -dE/dm in eV/μB and
``initial_spin`` a guess of the moments from which to predict them. Besides,
``spin_dp.json`` says what the frames have in common.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from typing import IO, TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.readers.deepmd_system import RECORD
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from spin_dp.data_tools.frame import Array, Frame

NOTE = RECORD


def atom_order(
    symbols: Sequence[str], type_map: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Return the order that sorts atoms by type and keeps it within a type, (nloc,)."""
    types = [type_map.index(symbol) for symbol in symbols]
    return np.argsort(types, kind="stable")


class SystemWriter:
    """A deepmd-kit system that is written frame by frame.

    Parameters
    ----------
    folder
        Folder to be made; must not exist.
    type_map
        Elements in the order of their type numbers.
    n_frames
        Number of frames it will have.
    has_virial, has_magnetic_forces
        Whether all frames have these labels.
    note
        Contents of ``spin_dp.json``; none is written if empty.
    """

    def __init__(
        self,
        folder: Path,
        type_map: Sequence[str],
        n_frames: int,
        *,
        has_virial: bool,
        has_magnetic_forces: bool,
        note: Mapping[str, object] | None = None,
    ) -> None:
        self._folder = folder
        self._type_map = type_map
        self._n_frames = n_frames
        self._has_virial = has_virial
        self._has_magnetic_forces = has_magnetic_forces
        self._rows: dict[str, list[Array]] = defaultdict(list)
        (folder / "set.000").mkdir(parents=True)
        (folder / "type_map.raw").write_text("".join(f"{name}\n" for name in type_map))
        if note:
            (folder / NOTE).write_text(json.dumps(note, indent=2) + "\n")

    def add(self, frame: Frame, initial_moments: Array | None = None) -> None:
        """Add a frame of the same composition; it is on disk after :meth:`flush`.

        Parameters
        ----------
        frame
            The frame.
        initial_moments
            Guess of its moments, (nloc, 3), μB: for all frames of a system or none.
        """
        order = atom_order(frame.symbols, self._type_map)
        types = self._folder / "type.raw"
        if not types.exists():
            numbers = (self._type_map.index(frame.symbols[i]) for i in order)
            types.write_text("".join(f"{number}\n" for number in numbers))
        rows = self._rows
        rows["coord"].append(frame.positions[order].ravel())
        rows["force"].append(frame.forces[order].ravel())
        rows["spin"].append(frame.moments[order].ravel())
        rows["box"].append(frame.cell.ravel())
        rows["energy"].append(np.array([frame.energy]))
        if self._has_virial and frame.virial is not None:
            rows["virial"].append(frame.virial.ravel())
        if self._has_magnetic_forces and frame.magnetic_forces is not None:
            rows["force_mag"].append(frame.magnetic_forces[order].ravel())
        if initial_moments is not None:
            rows["initial_spin"].append(initial_moments[order].ravel())

    def flush(self) -> None:
        """Append the frames added since to the files."""
        for name, rows in self._rows.items():
            path = self._folder / "set.000" / f"{name}.npy"
            with path.open("ab") as stream:
                if stream.tell() == 0:
                    self._write_header(stream, rows[0].size, name)
                stream.write(np.stack(rows).astype("<f8").tobytes())
        self._rows.clear()

    def _write_header(self, stream: IO[bytes], width: int, name: str) -> None:
        shape = (self._n_frames,) if name == "energy" else (self._n_frames, width)
        header = {"descr": "<f8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)


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
    writer = SystemWriter(
        folder,
        type_map,
        len(frames),
        has_virial=all(frame.virial is not None for frame in frames),
        has_magnetic_forces=stationary
        or all(frame.magnetic_forces is not None for frame in frames),
    )
    for frame in frames:
        writer.add(stationary_frame(frame) if stationary else frame)
    writer.flush()


def read_note(folder: Path) -> dict[str, object]:
    """Return the contents of a system's ``spin_dp.json``, empty if there is none.

    Raises
    ------
    DataError
        If the file is not valid.
    """
    path = folder / NOTE
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path}: not a JSON object; remove it, or collect again"
        ) from error


def stationary_frame(frame: Frame) -> Frame:
    """Return the frame with magnetic forces of zero."""
    return replace(frame, magnetic_forces=np.zeros_like(frame.moments))
