# SPDX-License-Identifier: LGPL-3.0-or-later
"""The deepmd systems of a data set, a block of frames at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.data_tools.elements import carries_spin_state
from spin_dp.data_tools.spin_states.ions import is_anion
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ATOMS_PER_BLOCK = 20_000
_PAIRS_AT_ONCE = 500_000
_ARRAYS = ("coord", "box", "force", "spin")


@dataclass(frozen=True, eq=False)
class Block:
    """Frames of one system.

    Attributes
    ----------
    start
        Number of the first frame in its system, from 0.
    symbols
        Elements, natoms of them.
    positions, cells, forces, moments
        (nf, natoms, 3) Å; (nf, 3, 3) Å; (nf, natoms, 3) eV/Å; (nf, natoms, 3) μB.
    """

    start: int
    symbols: tuple[str, ...]
    positions: Floats
    cells: Floats
    forces: Floats
    moments: Floats


def read_blocks(
    folder: Path, system: str, atoms: int = _ATOMS_PER_BLOCK
) -> Iterator[Block]:
    """Read a system, a block of whole frames at a time.

    Parameters
    ----------
    folder
        The data set.
    system
        Folder of the system, relative to it.
    atoms
        Most atoms of a block of two frames or more.

    Yields
    ------
    Block
        In the order of the frames.

    Raises
    ------
    DataError
        If a file is absent or an array does not fit the number of atoms.
    """
    path = folder / system
    symbols = read_symbols(path)
    size = max(1, atoms // len(symbols))
    start = 0
    parts = sorted(path.glob("set.*"))
    if not parts:
        raise DataError(f"{path}: no set.* folder with arrays; collect the data again.")
    for part in parts:
        arrays = {name: _array(part, name, len(symbols)) for name in _ARRAYS}
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(
                f"{part}: its arrays hold different numbers of frames ({lengths}); "
                "collect the data again."
            )
        n_frames = lengths["coord"]
        for first in range(0, n_frames, size):
            cut = {
                name: np.array(a[first : first + size]) for name, a in arrays.items()
            }
            nf = len(cut["coord"])
            yield Block(
                start=start + first,
                symbols=symbols,
                positions=cut["coord"].reshape(nf, -1, 3),
                cells=cut["box"].reshape(nf, 3, 3),
                forces=cut["force"].reshape(nf, -1, 3),
                moments=cut["spin"].reshape(nf, -1, 3),
            )
        start += n_frames


def read_symbols(path: Path) -> tuple[str, ...]:
    """Return the elements of a system's atoms.

    Parameters
    ----------
    path
        Folder of the system.

    Returns
    -------
    tuple of str
        (natoms,).

    Raises
    ------
    DataError
        If it is no deepmd system.
    """
    try:
        types = np.loadtxt(path / "type.raw", dtype=int, ndmin=1)
        type_map = (path / "type_map.raw").read_text(encoding="utf-8").split()
        return tuple(type_map[number] for number in types)
    except (OSError, ValueError, IndexError) as error:
        raise DataError(
            f"{path}: expected a deepmd system with type.raw and type_map.raw "
            f"({error}); collect the data again."
        ) from error


def scan_systems(
    folder: Path,
    kept: pd.DataFrame,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what the arrays say of each frame and each metal site.

    Parameters
    ----------
    folder
        The data set.
    kept
        The manifest's rows of kept frames, numbered from 0.
    progress
        Called with what is done, a number and the count.

    Returns
    -------
    tuple of pandas.DataFrame
        Per row of ``kept``: ``volume`` (Å³/atom), ``max_force`` (eV/Å), ``shortest``
        (shortest metal-anion distance, Å; nan without one), ``metals`` (their number)
        and ``mean_moment`` (mean |moment| of the metals, μB). Per metal site:
        ``system``, ``index``, ``element``, ``length`` (|moment|, μB).

    Raises
    ------
    DataError
        If a system lacks a frame of the manifest, or an array.
    """
    names = ("volume", "max_force", "shortest", "metals", "mean_moment")
    values = np.full((len(kept), len(names)), np.nan)
    sites = []
    members = list(kept.groupby("system", sort=True))
    for number, (name, rows) in enumerate(members):
        system = str(name)
        if progress is not None:
            progress("reading", number, len(members))
        found, lengths = _scan_system(folder, system)
        indices = rows["index"].to_numpy()
        if indices.max() >= len(found):
            raise DataError(
                f"{folder / system}: the manifest names frame {indices.max()}, but "
                f"there are {len(found)} frames; collect the data again."
            )
        values[rows.index.to_numpy()] = found[indices]
        sites.append(lengths.assign(system=system))
    features = pd.DataFrame(values, columns=list(names), index=kept.index)
    return features, pd.concat(sites, ignore_index=True)


def shortest_distances(
    cells: Floats, positions: Floats, first: list[int], second: list[int]
) -> Floats:
    """Return the shortest distance between two kinds of atoms in periodic cells.

    Parameters
    ----------
    cells, positions
        (nf, 3, 3) and (nf, natoms, 3), Å.
    first, second
        Indices of the atoms of either kind; both not empty, none in both.

    Returns
    -------
    ndarray
        (nf,), Å, exact in cells of any shape.
    """
    size = max(1, _PAIRS_AT_ONCE // (len(first) * len(second)))
    parts = [
        _shortest(cells[i : i + size], positions[i : i + size], first, second)
        for i in range(0, len(cells), size)
    ]
    return np.concatenate(parts)


def _shortest(
    cells: Floats, positions: Floats, first: list[int], second: list[int]
) -> Floats:
    inverse = np.linalg.inv(cells)
    fractional = positions @ inverse
    apart = fractional[:, first, None, :] - fractional[:, None, second, :]
    apart = (apart - np.round(apart)).reshape(len(cells), -1, 3)
    bound = np.linalg.norm(apart @ cells, axis=-1).min(axis=1)
    heights = 1.0 / np.linalg.norm(inverse, axis=1)  # (nf, 3), between cell faces
    # An image n cells away is at least (n - 1/2) heights off.
    reach = np.floor(bound[:, None] / heights + 0.5).max(axis=0).astype(int)
    for shift in product(*(range(-n, n + 1) for n in reach)):
        if any(shift):
            moved = (apart + np.array(shift)) @ cells
            bound = np.minimum(bound, np.linalg.norm(moved, axis=-1).min(axis=1))
    return np.asarray(bound, dtype=np.float64)


def _scan_system(folder: Path, system: str) -> tuple[Floats, pd.DataFrame]:
    rows, tables = [], []
    for block in read_blocks(folder, system):
        nf, natoms = block.positions.shape[:2]
        metals = [i for i, s in enumerate(block.symbols) if carries_spin_state(s)]
        anions = [i for i, s in enumerate(block.symbols) if is_anion(s)]
        lengths = np.linalg.norm(block.moments[:, metals], axis=-1)  # (nf, metals)
        nothing = np.full(nf, np.nan)
        shortest = nothing
        if metals and anions:
            shortest = shortest_distances(block.cells, block.positions, metals, anions)
        columns = (
            np.abs(np.linalg.det(block.cells)) / natoms,
            np.linalg.norm(block.forces, axis=-1).max(axis=1),
            shortest,
            np.full(nf, float(len(metals))),
            lengths.mean(axis=1) if metals else nothing,
        )
        rows.append(np.stack(columns, axis=1))
        sites: dict[str, object] = {
            "index": np.repeat(np.arange(block.start, block.start + nf), len(metals)),
            "element": pd.Series([block.symbols[i] for i in metals] * nf, dtype=str),
            "length": lengths.ravel(),
        }
        tables.append(pd.DataFrame(sites))
    return np.concatenate(rows), pd.concat(tables, ignore_index=True)


def _array(part: Path, name: str, natoms: int) -> Floats:
    path = part / f"{name}.npy"
    if not path.is_file():
        raise DataError(f"{path}: no such file; collect the data again.")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(
            f"{path}: not a readable array ({error}); collect the data again."
        ) from error
    width = 9 if name == "box" else 3 * natoms
    if array.ndim < 1 or array.size != len(array) * width:
        raise DataError(
            f"{path}: expected {width} numbers per frame, got the shape {array.shape}; "
            "collect the data again."
        )
    found: Floats = array
    return found
