# SPDX-License-Identifier: LGPL-3.0-or-later
"""Spin states of one held-out geometry: ranked by the model, beside DFT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools import moment_pattern
from spin_dp.data_tools.collection.collected import open_collected
from spin_dp.data_tools.systems.system import VALIDATION
from spin_dp.errors import DataError
from spin_dp.evaluation import MEV_PER_EV, read_system

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from ase import Atoms

    from spin_dp.data_tools.collection.collected import CollectedData

FAVOURITE = "Li2Mn2O4"
"""Composition taken where it has a held-out geometry: high and low spin, FM and AFM."""


def rank_held_out(model: Path, data: Path) -> pd.DataFrame:
    """Rank the spin states of a held-out geometry with usual moments.

    The model is asked for every pattern of usual moments; where DFT converged to a
    state of the same pattern of moments at this geometry, its key and energy stand
    beside.

    Parameters
    ----------
    model
        A frozen spin-aware model.
    data
        A folder written by ``spin-dp collect`` with validation frames.

    Returns
    -------
    pandas.DataFrame
        One row a state, lowest first: ``geometry``, ``rank``, ``order``, ``pattern``
        (e.g. ``Mn[+4,-4]``), ``key`` (empty where DFT has none), ``moments`` (μB),
        ``energy_per_fu`` (eV), ``above_lowest``, ``dft_above_lowest`` (meV per formula
        unit; NaN where DFT has no such state; zero at the lowest state of each).
    """
    from spin_dp.predictor import SpinDP
    from spin_dp.states import rank_states

    geometry, rows = _choose(open_collected(data))
    atoms = _structure(data, rows.iloc[0])
    states = rank_states(atoms, SpinDP(model))
    symbols = atoms.get_chemical_symbols()
    states["pattern"] = [_pattern(symbols, moments) for moments in states["pattern"]]
    units = float((states["energy"] / states["energy_per_fu"]).iloc[0])
    dft = rows.drop_duplicates("pattern")[["pattern", "key", "energy"]]  # lowest first
    lowest = rows["energy"].min()
    dft["dft_above_lowest"] = (dft.pop("energy") - lowest) * MEV_PER_EV / units
    table = states.merge(dft, on="pattern", how="left").fillna({"key": ""})
    table.insert(0, "geometry", geometry)
    columns = ["geometry", "rank", "order", "pattern", "key", "moments"]
    columns.append("energy_per_fu")
    return table[[*columns, "above_lowest", "dft_above_lowest"]].reset_index(drop=True)


def _choose(data: CollectedData) -> tuple[str, pd.DataFrame]:
    held_out = data.kept[data.kept["split"] == VALIDATION]
    if held_out.empty:
        raise DataError(
            f"{data.folder}: expected held-out frames, found none. Collect with a "
            "validation share above 0."
        )
    favourites = held_out[held_out["formula"] == FAVOURITE]
    pool = held_out if favourites.empty else favourites
    states = pool.groupby("geometry")["key"].nunique()
    geometry = str(states.idxmax())
    return geometry, pool[pool["geometry"] == geometry].sort_values("energy")


def _structure(data: Path, row: pd.Series) -> Atoms:
    from ase import Atoms

    system, index = read_system(data, str(row["system"])), int(row["index"])
    return Atoms(
        system.symbols,
        positions=system.positions[index],
        cell=system.cells[index],
        pbc=True,
    )


def _pattern(symbols: list[str], moments: np.ndarray) -> str:
    vectors = np.zeros((len(symbols), 3))
    vectors[:, 2] = moments
    return moment_pattern(symbols, vectors)
