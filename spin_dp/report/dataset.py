# SPDX-License-Identifier: LGPL-3.0-or-later
"""The tables of a collected data set, with what the report adds to them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.data_tools.collection.collected import open_collected
from spin_dp.data_tools.collection.manifest import KEPT
from spin_dp.evaluation import MEV_PER_EV, read_system
from spin_dp.neighbours import find_pairs
from spin_dp.spin_states.ions import is_anion

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spin_dp.evaluation import LabelledSystem

_FARTHEST_ANION = 4.0  # Å


@dataclass(frozen=True, eq=False)
class Dataset:
    """A collected data set.

    Attributes
    ----------
    folder
        Where it lies.
    manifest
        One row per frame read; ``place`` is its source without the folders that all
        sources share.
    frames
        One row per kept frame, numbered from 0: the manifest's columns; ``per_atom``
        (eV), ``above`` (meV/atom above the lowest frame of formula and level);
        ``volume`` (Å³/atom), ``shortest`` (shortest metal-anion distance, Å; nan
        without one); ``metals`` (their number), ``mean_moment`` (mean |moment| of the
        metals, μB; nan without one), ``states`` (how many sites are in which state,
        whatever their signs).
    sites
        One row per metal site of the kept frames: ``system``, ``index``, ``element``,
        ``site_level``, ``state``, ``length`` (|moment|, μB) and ``level`` of the frame.
    states
        The states with their mean moment (μB) and its range, by element and site
        level.
    levels, record
        Descriptions of the levels of theory, and how the data were collected.
    """

    folder: Path
    manifest: pd.DataFrame
    frames: pd.DataFrame
    sites: pd.DataFrame
    states: pd.DataFrame
    levels: dict[str, object]
    record: dict[str, object]


def read_dataset(
    folder: Path, progress: Callable[[str, int, int], None] | None = None
) -> Dataset:
    """Read a data set.

    Parameters
    ----------
    folder
        Output folder of ``spin-dp collect``.
    progress
        Called with what is done, a number and the count.

    Returns
    -------
    Dataset
        Its tables.

    Raises
    ------
    DataError
        If the folder was not collected, or a file in it is damaged.
    """
    data = open_collected(folder)
    manifest = data.manifest.assign(place=_without_common_part(data.manifest["source"]))
    frames = manifest[manifest["status"] == KEPT].reset_index(drop=True)
    sites = data.sites()
    sites["length"] = sites["moment"].abs()
    place = ["system", "index"]
    sites = sites.merge(frames[[*place, "level"]], on=place, how="inner")
    frames = frames.join(_distances(folder, frames, progress))
    frames = frames.join(_per_frame(sites), on=place)
    frames = frames.fillna({"metals": 0.0, "states": "no metal"})
    frames["per_atom"] = frames["energy"] / frames["natoms"]
    lowest = frames.groupby(["formula", "level"])["per_atom"].transform("min")
    frames["above"] = MEV_PER_EV * (frames["per_atom"] - lowest)
    return Dataset(
        folder=folder,
        manifest=manifest,
        frames=frames,
        sites=sites,
        states=data.states(),
        levels=data.levels(),
        record=data.record(),
    )


def _without_common_part(sources: pd.Series) -> pd.Series:
    try:
        root = os.path.commonpath([PurePath(name).parent for name in sources.unique()])
    except ValueError:  # some absolute, some relative
        return sources
    return sources.map(lambda name: PurePath(name).relative_to(root).as_posix())


def _per_frame(sites: pd.DataFrame) -> pd.DataFrame:
    """Return ``metals``, ``mean_moment`` and ``states`` by system and index."""
    by_frame = sites.groupby(["system", "index"])["length"]
    sizes = sites.groupby(["system", "index", "state"]).size()
    counts = sizes.rename("n").reset_index("state")
    words = counts["state"] + " ×" + counts["n"].astype(str)
    return pd.DataFrame(
        {
            "metals": by_frame.size().astype(float),
            "mean_moment": by_frame.mean(),
            "states": words.groupby(["system", "index"]).agg(", ".join),
        }
    )


def _distances(
    folder: Path,
    frames: pd.DataFrame,
    progress: Callable[[str, int, int], None] | None,
) -> pd.DataFrame:
    """Return ``volume`` and ``shortest`` of each frame, a system at a time."""
    parts = []
    members = list(frames.groupby("system", sort=True))
    for number, (name, rows) in enumerate(members):
        if progress is not None:
            progress("reading", number, len(members))
        system = read_system(folder, str(name))
        volumes = np.abs(np.linalg.det(system.cells)) / len(system.symbols)
        columns = {
            "volume": volumes[rows["index"]],
            "shortest": [shortest_bond(system, index) for index in rows["index"]],
        }
        parts.append(pd.DataFrame(columns, index=rows.index))
    return pd.concat(parts)


def shortest_bond(system: LabelledSystem, index: int) -> float:
    """Return the shortest metal-anion distance of a frame.

    Parameters
    ----------
    system
        The frames.
    index
        Which of them.

    Returns
    -------
    float
        Å; nan without one below 4 Å.
    """
    is_metal = np.isin(np.arange(len(system.symbols)), system.metals)
    may_bond = np.array([is_anion(symbol) for symbol in system.symbols])
    pairs = find_pairs(system.cells[index], system.positions[index], _FARTHEST_ANION)
    bonds = pairs.distances[is_metal[pairs.first] & may_bond[pairs.second]]
    return float(bonds.min()) if len(bonds) else float("nan")
