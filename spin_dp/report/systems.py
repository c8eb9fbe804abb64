# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the arrays of a data set say of each frame, a block of frames at a time."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.evaluation import read_system
from spin_dp.spin_states.ions import is_anion

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from spin_dp.evaluation import LabelledSystem

    Floats = NDArray[np.float64]

_ATOMS_PER_BLOCK = 20_000
_PAIRS_AT_ONCE = 500_000
_QUANTITIES = ("volume", "shortest", "metals", "mean_moment")


def scan_systems(
    folder: Path,
    kept: pd.DataFrame,
    progress: Callable[[str, int, int], None] | None = None,
) -> pd.DataFrame:
    """Return what the arrays say of each frame.

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
    pandas.DataFrame
        Per row of ``kept``: ``volume`` (Å³/atom), ``shortest`` (shortest metal-anion
        distance, Å; nan without one), ``metals`` (their number) and ``mean_moment``
        (mean |moment| of the metals, μB; nan without one).

    Raises
    ------
    DataError
        If an array of a system is absent or does not fit.
    """
    values = np.full((len(kept), len(_QUANTITIES)), np.nan)
    members = list(kept.groupby("system", sort=True))
    for number, (name, rows) in enumerate(members):
        if progress is not None:
            progress("reading", number, len(members))
        found = _scan_system(read_system(folder, str(name)))
        values[rows.index.to_numpy()] = found[rows["index"].to_numpy()]
    return pd.DataFrame(values, columns=list(_QUANTITIES), index=kept.index)


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


def _scan_system(system: LabelledSystem) -> Floats:
    natoms = len(system.symbols)
    metals = system.metals
    anions = [i for i, symbol in enumerate(system.symbols) if is_anion(symbol)]
    size = max(1, _ATOMS_PER_BLOCK // natoms)
    rows = []
    for start in range(0, len(system.energies), size):
        cells = np.array(system.cells[start : start + size])
        positions = np.array(system.positions[start : start + size])
        lengths = np.linalg.norm(system.moments[start : start + size, metals], axis=-1)
        nothing = np.full(len(cells), np.nan)
        shortest = nothing
        if metals and anions:
            shortest = shortest_distances(cells, positions, metals, anions)
        columns = (
            np.abs(np.linalg.det(cells)) / natoms,
            shortest,
            np.full(len(cells), float(len(metals))),
            lengths.mean(axis=1) if metals else nothing,
        )
        rows.append(np.stack(columns, axis=1))
    return np.concatenate(rows)
