# SPDX-License-Identifier: LGPL-3.0-or-later
"""Existing deepmd-kit systems as sources of frames, mixed-type ones too.

The virial of deepmd-kit has the sign of a frame's. Level of theory, kind of moments and
constraint are those of the note in the system, if there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.frame import Frame, Rejected, flaw, reject
from spin_dp.data_tools.level import UNSPECIFIED, named_level
from spin_dp.data_tools.readers.source import Reader, ReadOptions, Source
from spin_dp.data_tools.systems.note import NOTE
from spin_dp.data_tools.systems.system import (
    OPEN,
    PER_ATOM,
    TYPE_MAP,
    TYPES,
    DeepmdSystem,
    open_system,
)
from spin_dp.errors import DataError
from spin_dp.spin_states.elements import is_element

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from spin_dp.data_tools.frame import Array

NO_SPIN = "no spin.npy: the system holds no moments"
ZERO_MOMENTS = "no spin.npy: moments taken as zero"
NOMINAL = "moments are nominal spin states"

_REQUIRED = ("energy", "force")
_OPTIONAL = ("spin", "force_mag", "virial")


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
        If the system cannot be opened, or lacks energies or forces.
    """
    options = options or ReadOptions()
    system = open_system(folder, _REQUIRED)
    for name in system.elements:
        if not is_element(name):
            raise DataError(f"{folder}: {TYPE_MAP} names {name!r}, which is no element")
    step = 0
    for part in system.sets:
        optional = part.labels.intersection(_OPTIONAL)
        arrays = {n: part.label(n) for n in ("coord", "box", *_REQUIRED, *optional)}
        for index, types in enumerate(system.frame_types(part)):
            step += 1
            values = {n: array[index].astype(float) for n, array in arrays.items()}
            yield _frame(system, step, types, values, options)


def _frame(
    system: DeepmdSystem,
    step: int,
    types: npt.NDArray[np.int64],
    values: dict[str, Array],
    options: ReadOptions,
) -> Frame | Rejected:
    real, note = types >= 0, system.note
    values |= {name: values[name][real] for name in values.keys() & PER_ATOM}
    spin, magnetic_forces = values.get("spin"), values.get("force_mag")
    constrained = note.constrained
    if constrained is None and magnetic_forces is not None:
        constrained = bool(magnetic_forces.any())  # free moments feel no force
    remarks = [NOMINAL] if note.labels == "nominal" else []
    level = note.level
    if options.level is not None and level.id == named_level(UNSPECIFIED).id:
        level = named_level(options.level)
    frame = Frame(
        source=str(system.folder),
        step=step,
        symbols=tuple(system.elements[number] for number in types[real]),
        cell=values["box"],
        positions=values["coord"],
        energy=float(values["energy"]),
        forces=values["force"],
        moments=np.zeros((int(real.sum()), 3)) if spin is None else spin,
        virial=values.get("virial"),
        level=level,
        magnetic_forces=magnetic_forces,
        energy_kind="energy",
        constrained=constrained,
        note="; ".join(remarks if spin is not None else [*remarks, ZERO_MOMENTS]),
    )
    if spin is None and options.missing_moments == "reject":
        return reject(frame, NO_SPIN)
    reason = flaw(frame)
    return frame if reason is None else reject(frame, reason)


def _find(folder: Path, files: Sequence[Path]) -> list[Source]:
    if TYPES not in {path.name for path in files}:
        return []
    if not list(folder.glob("set.*")) and not (folder / "coord.raw").exists():
        return []
    names = (TYPES, TYPE_MAP, OPEN, NOTE)
    texts = [folder / name for name in names if (folder / name).exists()]
    return [Source("deepmd", folder, (*texts, *sorted(folder.glob("set.*/*.npy"))))]


def _read(source: Source, options: ReadOptions) -> Iterator[Frame | Rejected]:
    try:
        yield from read_deepmd_system(source.path, options)
    except DataError as error:  # the manifest names the source beside the reason
        raise DataError(str(error).removeprefix(f"{source.path}: ")) from error


DEEPMD = Reader("deepmd", "deepmd-kit systems (type.raw, set.*)", _find, _read)
