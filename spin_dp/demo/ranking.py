# SPDX-License-Identifier: LGPL-3.0-or-later
"""Spin states of held-out geometries: ranked by the model, beside DFT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from spin_dp.data_tools.collection.collected import open_collected
from spin_dp.data_tools.systems.system import VALIDATION
from spin_dp.errors import DataError
from spin_dp.evaluation import MEV_PER_EV, read_system

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ase import Atoms

FAVOURITE = "Li2Mn2O4"
"""Composition shown where it has a held-out geometry: high and low spin, FM and AFM."""


def rank_held_out(
    model: Path, data: Path, *, progress: Callable[[int, int], None] | None = None
) -> pd.DataFrame:
    """Rank the spin states of all held-out geometries.

    The model is asked for all neutral assignments of the states that it knows; where
    DFT converged to a state of the same key at this geometry, its energy stands beside.

    Parameters
    ----------
    model
        A spin-aware model.
    data
        A folder written by ``spin-dp collect`` with validation frames.
    progress
        Called with geometries done and their total number.

    Returns
    -------
    pandas.DataFrame
        The table of :func:`spin_dp.search.rank_states` of each geometry, with
        ``formula``, ``geometry`` and ``dft_above_lowest`` (meV per formula unit; NaN
        where DFT has no such state; zero at the lowest state).

    Raises
    ------
    DataError
        If there are no held-out frames.
    """
    from spin_dp.inference.predictor import SpinDP
    from spin_dp.search import rank_states

    collected = open_collected(data)
    held_out = collected.kept[collected.kept["split"] == VALIDATION]
    if held_out.empty:
        raise DataError(
            f"{data}: expected held-out frames, found none. Collect with a validation "
            "share above 0."
        )
    opened = SpinDP(model)
    groups = list(held_out.groupby(["formula", "geometry"]))
    tables = []
    for number, ((formula, geometry), frames) in enumerate(groups, 1):
        states = rank_states(_structure(data, frames.iloc[0]), opened)
        units = float((states["energy"] / states["energy_per_fu"]).iloc[0])
        dft = frames.groupby("key", as_index=False)["energy"].min()
        above = (dft["energy"] - dft["energy"].min()) * MEV_PER_EV / units
        labels = pd.DataFrame({"state": dft["key"], "dft_above_lowest": above})
        states = states.merge(labels, on="state", how="left")
        # Of rows with one key, the lowest is what DFT is likely to have found.
        states.loc[states.duplicated("state"), "dft_above_lowest"] = float("nan")
        tables.append(states.assign(formula=str(formula), geometry=str(geometry)))
        if progress is not None:
            progress(number, len(groups))
    table = pd.concat(tables, ignore_index=True).drop(columns="moments")
    first = ["formula", "geometry", "rank", "state", "order", "energy_per_fu"]
    return table[[*first, *(name for name in table if name not in first)]]


def choose_shown(states: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the geometry with most DFT states, of :data:`FAVOURITE`."""
    favourites = states[states["formula"] == FAVOURITE]
    pool = states if favourites.empty else favourites
    geometry = pool.groupby("geometry")["dft_above_lowest"].count().idxmax()
    return pool[pool["geometry"] == geometry]


def agreement(states: pd.DataFrame, least: float = 20.0) -> dict[str, int]:
    """Return how well the ranking of all geometries agrees with DFT.

    Parameters
    ----------
    states
        What :func:`rank_held_out` gives.
    least
        Pairs of states whose DFT energies are closer do not count, meV per formula
        unit.

    Returns
    -------
    dict
        ``geometries``; ``pairs`` of states that DFT has, and how many are ``ordered``
        as in DFT.
    """
    pairs = ordered = 0
    for _, rows in states.dropna(subset="dft_above_lowest").groupby("geometry"):
        both = rows.merge(rows, how="cross", suffixes=("_a", "_b"))
        apart = both["dft_above_lowest_b"] - both["dft_above_lowest_a"]
        both = both[apart > least]
        pairs += len(both)
        ordered += int((both["above_lowest_b"] > both["above_lowest_a"]).sum())
    geometries = int((states["rank"] == 1).sum())
    return {"geometries": geometries, "pairs": pairs, "ordered": ordered}


def _structure(data: Path, row: pd.Series) -> Atoms:
    from ase import Atoms

    system, index = read_system(data, str(row["system"])), int(row["index"])
    return Atoms(
        system.symbols,
        positions=system.positions[index],
        cell=system.cells[index],
        pbc=True,
    )
