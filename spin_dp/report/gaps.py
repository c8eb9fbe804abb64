# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energy differences between spin states of one geometry, within one level of theory.

Equal positions leave only the electrons to differ, so these gaps need no model and no
fit; energies of different levels are never subtracted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spin_dp.evaluation import MEV_PER_EV, SAME_SOLUTION_EV

if TYPE_CHECKING:
    import pandas as pd


def state_gaps(frames: pd.DataFrame) -> pd.DataFrame:
    """Return the energy of each state of each geometry above the lowest one.

    Parameters
    ----------
    frames
        Kept frames of :func:`spin_dp.report.dataset.read_dataset`.

    Returns
    -------
    pandas.DataFrame
        One row per state (``key``) of the geometries that have two or more:
        ``level``, ``formula``, ``geometry``, ``key``, ``gap`` (meV per cell above the
        lowest state of that geometry), ``gap_per_metal`` (meV) and ``is_lowest``.
        A state that was found several times counts with its lowest energy.
    """
    names = ["level", "formula", "geometry", "key"]
    states = frames.groupby(names, sort=True).agg(
        energy=("energy", "min"), metals=("metals", "first")
    )
    states = states.reset_index()
    by_geometry = states.groupby(["level", "geometry"])
    states["gap"] = MEV_PER_EV * (
        states["energy"] - by_geometry["energy"].transform("min")
    )
    states["gap_per_metal"] = states["gap"] / states["metals"].where(
        states["metals"] > 0.0, np.nan
    )
    states["is_lowest"] = states["gap"] == 0.0
    several = by_geometry["key"].transform("size") > 1
    columns = [*names, "gap", "gap_per_metal", "is_lowest"]
    return states.loc[several, columns].reset_index(drop=True)


def gap_table(gaps: pd.DataFrame) -> pd.DataFrame:
    """Return how far each state lies above the lowest one, over all geometries.

    Parameters
    ----------
    gaps
        Table of :func:`state_gaps`.

    Returns
    -------
    pandas.DataFrame
        One row per formula, level and key, the lowest state first: ``geometries``
        that have the state and another one, in how many it is ``lowest``, and
        ``least``, ``median``, ``largest`` gap (meV per cell) with
        ``median_per_metal`` (meV) where it is not.
    """
    above = gaps.assign(
        gap=gaps["gap"].where(~gaps["is_lowest"]),
        gap_per_metal=gaps["gap_per_metal"].where(~gaps["is_lowest"]),
        mean=gaps["gap"],
    )
    table = above.groupby(["formula", "level", "key"], sort=True).agg(
        geometries=("key", "size"),
        lowest=("is_lowest", "sum"),
        least=("gap", "min"),
        median=("gap", "median"),
        largest=("gap", "max"),
        median_per_metal=("gap_per_metal", "median"),
        mean=("mean", "mean"),
    )
    table = table.reset_index()
    table = table.sort_values(["formula", "level", "mean"], kind="stable")
    return table.drop(columns="mean").reset_index(drop=True)


def hidden_solutions(frames: pd.DataFrame) -> pd.DataFrame:
    """Return states found in one geometry with clearly different energies.

    Parameters
    ----------
    frames
        Kept frames.

    Returns
    -------
    pandas.DataFrame
        ``level``, ``formula``, ``geometry``, ``key`` and ``spread`` (meV per cell),
        the largest first: here the moments do not tell two solutions apart.
    """
    names = ["level", "formula", "geometry", "key"]
    energies = frames.groupby(names, sort=True)["energy"]
    spread = MEV_PER_EV * (energies.max() - energies.min())
    table = spread.rename("spread").reset_index()
    table = table[table["spread"] > MEV_PER_EV * SAME_SOLUTION_EV]
    return table.sort_values("spread", ascending=False, kind="stable").reset_index(
        drop=True
    )


def blind_floor(frames: pd.DataFrame) -> float:
    """Return the least energy RMSE that a model without moments can have.

    Such a model gives one energy to equal geometries; the best one is their mean.

    Parameters
    ----------
    frames
        Kept frames.

    Returns
    -------
    float
        meV/atom; zero if no geometry was calculated twice.
    """
    per_atom = frames["per_atom"]
    means = per_atom.groupby([frames["level"], frames["geometry"]]).transform("mean")
    return MEV_PER_EV * float(np.sqrt(((per_atom - means) ** 2).mean()))
