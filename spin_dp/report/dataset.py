# SPDX-License-Identifier: LGPL-3.0-or-later
"""The tables of a collected data set, with what the report adds to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import pandas as pd

from spin_dp.data_tools.collection.collected import open_collected
from spin_dp.data_tools.collection.manifest import KEPT
from spin_dp.evaluation import MEV_PER_EV
from spin_dp.report.systems import scan_systems

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
        One row per kept frame, numbered from 0: the manifest's columns and what
        :func:`spin_dp.report.systems.scan_systems` adds; ``per_atom`` (eV),
        ``above`` (meV/atom above the lowest frame of formula and level), ``states``
        (how many sites are in which state, whatever their signs).
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
    sites = sites.merge(
        frames[["system", "index", "level"]], on=["system", "index"], how="inner"
    )
    frames = frames.join(scan_systems(folder, frames, progress))
    frames["per_atom"] = frames["energy"] / frames["natoms"]
    lowest = frames.groupby(["formula", "level"])["per_atom"].transform("min")
    frames["above"] = MEV_PER_EV * (frames["per_atom"] - lowest)
    frames["states"] = _count_states(frames, sites)
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
    names = [PurePath(source) for source in sources.unique()]
    parents = {parent for name in names[:1] for parent in name.parents}
    for name in names[1:]:
        parents &= set(name.parents)
    root = max(parents, key=lambda parent: len(parent.parts), default=PurePath())
    return sources.map(lambda source: PurePath(source).relative_to(root).as_posix())


def _count_states(frames: pd.DataFrame, sites: pd.DataFrame) -> pd.Series:
    if sites.empty:
        return pd.Series("no metal", frames.index)
    counts = sites.groupby(["system", "index", "state"]).size().reset_index(name="n")
    counts["word"] = counts["state"] + " ×" + counts["n"].astype(str)
    words = counts.groupby(["system", "index"])["word"].agg(", ".join)
    found = words.reindex(pd.MultiIndex.from_frame(frames[["system", "index"]]))
    return pd.Series(found.to_numpy(), frames.index).fillna("no metal")
