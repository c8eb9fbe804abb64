# SPDX-License-Identifier: LGPL-3.0-or-later
"""Writing a part of a collected data set as a collected data set."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from spin_dp.data_tools.collection.manifest import KEPT
from spin_dp.data_tools.collection.output_folder import (
    LEVELS,
    MANIFEST,
    SITES,
    STATES,
)
from spin_dp.data_tools.collection.output_folder import RECORD as COLLECTED
from spin_dp.data_tools.systems.note import NOTE
from spin_dp.data_tools.systems.system import TRAINING, VALIDATION, open_system
from spin_dp.data_tools.systems.writing import write_frames

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from spin_dp.data_tools.collection.collected import CollectedData

UNSELECTED = "unselected"


def write_subset(data: CollectedData, folder: Path, chosen: pd.Index) -> None:
    """Write a collected folder with the chosen training frames only.

    Systems keep all labels; validation is copied, and so is what holds for the whole
    data set. In the manifest the frames left out have
    the status ``unselected``; the table of sites has the frames that are left.

    Parameters
    ----------
    data
        The collected data set.
    folder
        An empty folder.
    chosen
        Rows of the manifest: the training frames to be written.
    """
    for file in (COLLECTED, LEVELS, STATES):
        shutil.copy2(data.folder / file, folder / file)
    if (data.folder / VALIDATION).is_dir():
        shutil.copytree(data.folder / VALIDATION, folder / VALIDATION)
    manifest = data.manifest
    smaller = _without(manifest, chosen)
    for name, rows in manifest.loc[chosen].sort_values("index").groupby("system"):
        system, target = open_system(data.folder / str(name)), folder / str(name)
        write_frames(system, rows["index"].to_list(), target)
        if (system.folder / NOTE).is_file():
            shutil.copy2(system.folder / NOTE, target)
        smaller.loc[rows.index, "index"] = range(len(rows))
    smaller.to_csv(folder / MANIFEST, index=False)
    _moved_sites(data, smaller).to_csv(folder / SITES, index=False)


def _without(manifest: pd.DataFrame, chosen: pd.Index) -> pd.DataFrame:
    manifest = manifest.copy()
    training = manifest["split"].eq(TRAINING) & manifest["status"].eq(KEPT)
    left_out = manifest.index[training].difference(chosen)
    manifest.loc[left_out, "status"] = UNSELECTED
    manifest.loc[left_out, "system"] = ""
    manifest.loc[left_out, "index"] = -1
    return manifest


def _moved_sites(data: CollectedData, smaller: pd.DataFrame) -> pd.DataFrame:
    """Return the sites of the frames that are left, with their new indices."""
    place = ["system", "index"]
    kept = smaller["status"] == KEPT
    moved = data.manifest.loc[kept, place].assign(moved=smaller.loc[kept, "index"])
    sites = data.sites()
    columns = list(sites)
    sites = sites.merge(moved, on=place)
    sites["index"] = sites["moved"]
    return sites[columns]
