# SPDX-License-Identifier: LGPL-3.0-or-later
"""Existing deepmd-kit systems: ``type.raw``, ``type_map.raw`` and ``set.*/*.npy``.

Mixed-type systems (``real_atom_types.npy``) are read too. The virial of deepmd-kit has
the sign of a frame's. A file ``spin_dp.json`` beside ``type.raw`` states the level of
theory, kind of moments and constraint::

    {"level": "VASP-PBE+U-520eV-1a2b3c", "level_description": {...},
     "labels": "dft" or "nominal", "constrained": true, false or null}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.data_tools.frame import Frame, Rejected, flaw, reject
from spin_dp.data_tools.level import UNSPECIFIED, Level, named_level
from spin_dp.data_tools.readers.source import Reader, ReadOptions, Source
from spin_dp.errors import DataError
from spin_dp.spin_states.elements import is_element

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from spin_dp.data_tools.frame import Array

RECORD = "spin_dp.json"
NO_SPIN = "no spin.npy: the system holds no moments"
ZERO_MOMENTS = "no spin.npy: moments taken as zero"
NOMINAL = "moments are nominal spin states"
OPEN = "no periodic cell (nopbc)"

_WIDTHS = {"coord": 3, "force": 3, "spin": 3, "force_mag": 3}  # components per atom
_CELL_ARRAYS = {"box": 9, "virial": 9, "energy": 1}
_REQUIRED = ("coord", "box", "energy", "force")


@dataclass(frozen=True)
class _Record:
    """What is known of all frames of a system."""

    level: Level
    constrained: bool | None
    note: str


def read_deepmd_system(
    folder: Path, options: ReadOptions | None = None
) -> Iterator[Frame | Rejected]:
    """Yield the frames of a deepmd-kit system, set by set.

    Parameters
    ----------
    folder
        Folder with ``type.raw``.
    options
        What the user decided; the defaults when None.

    Yields
    ------
    Frame or Rejected
        One for each frame, in order of the sets.

    Raises
    ------
    DataError
        If a file is missing or an array does not fit the numbers of frames and atoms.
    """
    options = options or ReadOptions()
    if (folder / "nopbc").exists():
        raise DataError(OPEN)
    elements, types = _elements(folder), _types(folder)
    record = _record(folder, options)
    sets = sorted(path for path in folder.glob("set.*") if path.is_dir())
    if not sets:
        raise DataError("no set.* folder beside type.raw; run raw_to_set.sh on it")
    step = 0
    for data in sets:
        arrays = _arrays(data, len(types))
        kinds = _kinds(data, types, arrays["energy"].size, len(elements))
        for index, row in enumerate(kinds):
            step += 1
            values = {name: array[index] for name, array in arrays.items()}
            yield _frame(folder, step, row, elements, values, record, options)


def _elements(folder: Path) -> tuple[str, ...]:
    try:
        names = (folder / "type_map.raw").read_text().split()
    except OSError as error:
        raise DataError(
            "no type_map.raw beside type.raw: write the elements there, one a line"
        ) from error
    for name in names:
        if not is_element(name):
            raise DataError(f"type_map.raw names {name!r}, which is no element")
    return tuple(names)


def _types(folder: Path) -> npt.NDArray[np.int64]:
    words = (folder / "type.raw").read_text().split()
    try:
        return np.array([int(word) for word in words], dtype=np.int64)
    except ValueError as error:
        raise DataError("type.raw holds something else than type numbers") from error


def _record(folder: Path, options: ReadOptions) -> _Record:
    path = folder / RECORD
    if not path.exists():
        return _Record(named_level(options.level or UNSPECIFIED), None, "")
    try:
        content = json.loads(path.read_text())
        note = NOMINAL if content["labels"] == "nominal" else ""
        if "level" not in content:  # merged from systems of several levels
            return _Record(named_level(options.level or UNSPECIFIED), None, note)
        name, description = str(content["level"]), dict(content["level_description"])
        constrained = content["constrained"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{RECORD} is not a record of spin-dp ({type(error).__name__}: {error}); "
            "remove it to read the system without"
        ) from error
    level = Level(str(content.get("level_label", name.rpartition("-")[0])), description)
    if level.id != name:
        raise DataError(
            f"{RECORD} names the level {name}, but its description makes {level.id}; "
            "remove the file or collect the system again"
        )
    return _Record(level, constrained, note)


def _arrays(data: Path, natoms: int) -> dict[str, Array]:
    """Return the arrays of one set, (nf, nloc, 3), (nf, 9) or (nf, 1), float64."""
    arrays: dict[str, Array] = {}
    for name in (*_WIDTHS, *_CELL_ARRAYS):
        path = data / f"{name}.npy"
        if path.exists():
            arrays[name] = _load(path).astype(np.float64)
        elif name in _REQUIRED:
            raise DataError(f"no {name}.npy in {data.name}")
    nframes = len(np.atleast_1d(arrays["coord"]))
    for name, array in arrays.items():
        per_atom = name in _WIDTHS
        width = natoms * _WIDTHS[name] if per_atom else _CELL_ARRAYS[name]
        if array.shape[:1] != (nframes,) or array.size != nframes * width:
            raise DataError(
                f"{data.name}/{name}.npy has shape {array.shape}, expected "
                f"({nframes}, {width}) for {nframes} frames of {natoms} atoms"
            )
        shape = (nframes, natoms, _WIDTHS[name]) if per_atom else (nframes, width)
        arrays[name] = array.reshape(shape)
    return arrays


def _load(path: Path) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path.parent.name}/{path.name} cannot be read: {error}"
        ) from error
    return array


def _kinds(
    data: Path, types: npt.NDArray[np.int64], nframes: int, nelements: int
) -> npt.NDArray[np.int64]:
    """Return the type of each atom in each frame, (nf, nloc); -1 for padding."""
    path = data / "real_atom_types.npy"
    kinds = np.tile(types, (nframes, 1))
    if path.exists():
        kinds = _load(path).astype(np.int64)
        if kinds.shape != (nframes, len(types)):
            raise DataError(
                f"{data.name}/real_atom_types.npy has shape {kinds.shape}, expected "
                f"({nframes}, {len(types)})"
            )
    lowest = -1 if path.exists() else 0
    if kinds.size and not (lowest <= kinds.min() and kinds.max() < nelements):
        raise DataError(
            f"a type number of {data.name} is outside type_map.raw, "
            f"which names {nelements} elements"
        )
    return kinds


def _frame(
    folder: Path,
    step: int,
    kinds: npt.NDArray[np.int64],
    elements: Sequence[str],
    values: dict[str, Array],
    record: _Record,
    options: ReadOptions,
) -> Frame | Rejected:
    real = kinds >= 0
    spin, magnetic_forces = values.get("spin"), values.get("force_mag")
    constrained = record.constrained
    if constrained is None and magnetic_forces is not None:
        constrained = bool(magnetic_forces.any())  # free moments feel no force
    notes = [record.note, ZERO_MOMENTS if spin is None else ""]
    frame = Frame(
        source=str(folder),
        step=step,
        symbols=tuple(elements[kind] for kind in kinds[real]),
        cell=values["box"].reshape(3, 3),
        positions=values["coord"][real],
        energy=float(values["energy"][0]),
        forces=values["force"][real],
        moments=np.zeros((int(real.sum()), 3)) if spin is None else spin[real],
        virial=values["virial"].reshape(3, 3) if "virial" in values else None,
        level=record.level,
        magnetic_forces=None if magnetic_forces is None else magnetic_forces[real],
        energy_kind="energy",
        constrained=constrained,
        note="; ".join(filter(None, notes)),
    )
    if spin is None and options.missing_moments == "reject":
        return reject(frame, NO_SPIN)
    reason = flaw(frame)
    return frame if reason is None else reject(frame, reason)


def _find(folder: Path, files: Sequence[Path]) -> list[Source]:
    if "type.raw" not in {path.name for path in files}:
        return []
    arrays = sorted(folder.glob("set.*/*.npy"))
    if not arrays and not list(folder.glob("set.*")):
        return []
    names = ("type.raw", "type_map.raw", "nopbc", RECORD)
    texts = [folder / name for name in names if (folder / name).exists()]
    return [Source("deepmd", folder, (*texts, *arrays))]


def _read(source: Source, options: ReadOptions) -> Iterator[Frame | Rejected]:
    return read_deepmd_system(source.path, options)


DEEPMD = Reader("deepmd", "deepmd-kit systems (type.raw, set.*)", _find, _read)
