# SPDX-License-Identifier: LGPL-3.0-or-later
"""Systems on disk: opened without being read.

Arrays are mapped into memory and read when they are used, so that systems larger than
the memory can be worked on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from spin_dp.data_tools.frame import Array

_SET = "set.000"
PER_ATOM = frozenset({"coord", "force", "spin", "force_mag", "initial_spin"})
"""Labels with three numbers an atom."""

_LABELS = ("box", "coord", "energy", "force", "spin")


@dataclass(frozen=True)
class StoredSystem:
    """A system as :func:`spin_dp.data_tools.write_system` writes it.

    Attributes
    ----------
    folder
        Its folder.
    symbols
        Element of each atom, (nloc,).
    labels
        Arrays of ``set.000`` by name, (nf, ...) each, read from disk when used.
    """

    folder: Path
    symbols: tuple[str, ...]
    labels: dict[str, Array]

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.labels["energy"])

    def vectors(self, label: str, index: int) -> Array:
        """Return a label of one frame in rows of three: (nloc, 3), the box (3, 3)."""
        return np.reshape(self.labels[label][index], (-1, 3))


def open_system(folder: Path) -> StoredSystem:
    """Open a system.

    Parameters
    ----------
    folder
        Folder with ``type.raw``, ``type_map.raw`` and ``set.000``.

    Returns
    -------
    StoredSystem
        The system; its arrays are mapped, not read.

    Raises
    ------
    DataError
        If a file is missing or cannot be read, if there is another set, or if arrays
        differ in their number of frames.
    """
    sets = sorted(path.name for path in folder.glob("set.*"))
    if sets != [_SET]:
        raise DataError(
            f"{folder}: expected a system with the one set {_SET}, found "
            f"{', '.join(sets) or 'none'}"
        )
    symbols = read_symbols(folder)
    files = sorted((folder / _SET).glob("*.npy"))
    labels = {path.stem: _mapped(path) for path in files}
    for name in _LABELS:
        if name not in labels:
            raise DataError(f"{folder / _SET}: expected {name}.npy, found none")
    for name, array in labels.items():
        if len(array) != len(labels["energy"]):
            raise DataError(
                f"{folder / _SET / name}.npy: expected {len(labels['energy'])} frames "
                f"as in energy.npy, got {len(array)}"
            )
        if name in PER_ATOM and array.shape[1:] != (3 * len(symbols),):
            raise DataError(
                f"{folder / _SET / name}.npy: expected {3 * len(symbols)} numbers a "
                f"frame for {len(symbols)} atoms, got shape {array.shape}"
            )
    return StoredSystem(folder, symbols, labels)


def _mapped(path: Path) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: not a readable array; collect the data again"
        ) from error
    return array


def read_symbols(folder: Path) -> tuple[str, ...]:
    """Return the element of each atom of a system, (nloc,).

    Raises
    ------
    DataError
        If ``type.raw`` and ``type_map.raw`` are not those of a system.
    """
    try:
        names = (folder / "type_map.raw").read_text(encoding="utf-8").split()
        types = (folder / "type.raw").read_text(encoding="utf-8").split()
        return tuple(names[int(number)] for number in types)
    except (OSError, ValueError, IndexError) as error:
        raise DataError(
            f"{folder}: expected a deepmd system with type.raw and type_map.raw "
            f"({error}); collect the data again"
        ) from error
