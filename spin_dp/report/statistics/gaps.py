# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energy differences between spin states of one geometry, within one level of theory.

Equal positions leave only the electrons to differ, so these gaps need no model and no
fit; energies of different levels are never subtracted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.collection.solutions import SAME_SOLUTION_EV
from spin_dp.evaluation import MEV_PER_EV

if TYPE_CHECKING:
    import pandas as pd

_STATE = ["level", "formula", "geometry", "key"]


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
    states = frames.groupby(_STATE, sort=True, as_index=False).agg(
        energy=("energy", "min"), metals=("metals", "first")
    )
    energies = states.groupby(["level", "geometry"])["energy"]
    states["gap"] = MEV_PER_EV * (states["energy"] - energies.transform("min"))
    n_metals = states["metals"].where(states["metals"] > 0.0)
    states["gap_per_metal"] = states["gap"] / n_metals
    states["is_lowest"] = states["gap"] == 0.0
    columns = [*_STATE, "gap", "gap_per_metal", "is_lowest"]
    several = energies.transform("size") > 1
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
    above = ["gap", "gap_per_metal"]
    excited = gaps.assign(mean=gaps["gap"])
    excited[above] = gaps[above].mask(gaps["is_lowest"])
    table = excited.groupby(["formula", "level", "key"], as_index=False).agg(
        geometries=("key", "size"),
        lowest=("is_lowest", "sum"),
        least=("gap", "min"),
        median=("gap", "median"),
        largest=("gap", "max"),
        median_per_metal=("gap_per_metal", "median"),
        mean=("mean", "mean"),
    )
    names = ["formula", "level", "mean"]
    table = table.sort_values(names, kind="stable", ignore_index=True)
    return table.drop(columns="mean")


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
    energies = frames.groupby(_STATE, sort=True)["energy"]
    spread = MEV_PER_EV * (energies.max() - energies.min())
    table = spread[spread > MEV_PER_EV * SAME_SOLUTION_EV].rename("spread")
    return table.sort_values(ascending=False, kind="stable").reset_index()


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
