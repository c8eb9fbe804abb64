# SPDX-License-Identifier: LGPL-3.0-or-later
"""Writing frames as stock deepmd-kit systems.

A system is a folder with ``type.raw``, ``type_map.raw`` and ``set.000/*.npy`` in
float64: ``coord``, ``force``, ``spin`` (nf, 3 nloc), ``box``, ``virial`` (nf, 9),
``energy`` (nf,). Units are Å, eV, μB; ``force_mag`` is -dE/dm in eV/μB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from spin_dp.data_tools.frame import Array, Frame


def atom_order(
    symbols: Sequence[str], type_map: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Return the order that sorts atoms by type and keeps it within a type, (nloc,)."""
    types = [type_map.index(symbol) for symbol in symbols]
    return np.argsort(types, kind="stable")


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
    orders = [atom_order(frame.symbols, type_map) for frame in frames]
    types = [
        [type_map.index(frame.symbols[i]) for i in order]
        for frame, order in zip(frames, orders, strict=True)
    ]
    if any(other != types[0] for other in types[1:]):
        raise DataError(f"{folder}: frames of different compositions in one system")

    def rows(arrays: Sequence[Array]) -> Array:
        ordered = [a[order] for a, order in zip(arrays, orders, strict=True)]
        return np.stack(ordered).reshape(len(frames), -1)

    arrays = {
        "coord": rows([frame.positions for frame in frames]),
        "force": rows([frame.forces for frame in frames]),
        "spin": rows([frame.moments for frame in frames]),
        "box": np.stack([frame.cell.ravel() for frame in frames]),
        "energy": np.array([frame.energy for frame in frames]),
    }
    virials = [frame.virial.ravel() for frame in frames if frame.virial is not None]
    if len(virials) == len(frames):
        arrays["virial"] = np.stack(virials)
    if stationary:
        arrays["force_mag"] = np.zeros_like(arrays["spin"])
    data = folder / "set.000"
    data.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(data / f"{name}.npy", np.asarray(array, dtype=np.float64))
    (folder / "type.raw").write_text("".join(f"{t}\n" for t in types[0]))
    (folder / "type_map.raw").write_text("".join(f"{name}\n" for name in type_map))
