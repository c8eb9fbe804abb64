# SPDX-License-Identifier: LGPL-3.0-or-later
"""The deepmd systems of a data set, a block of frames at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.data_tools.dataset.stored import open_system
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
    stored = open_system(folder / system)
    labels = stored.labels
    size = max(1, atoms // len(stored.symbols))
    for start in range(0, stored.n_frames, size):
        part = slice(start, start + size)
        yield Block(
            start=start,
            symbols=stored.symbols,
            positions=np.array(labels["coord"][part]).reshape(
                -1, len(stored.symbols), 3
            ),
            cells=np.array(labels["box"][part]).reshape(-1, 3, 3),
            forces=np.array(labels["force"][part]).reshape(-1, len(stored.symbols), 3),
            moments=np.array(labels["spin"][part]).reshape(-1, len(stored.symbols), 3),
        )


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
