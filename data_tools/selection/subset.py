# SPDX-License-Identifier: LGPL-3.0-or-later
"""Writing a part of a collected data set as a collected data set."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from spin_dp.data_tools.collection.manifest import KEPT
from spin_dp.data_tools.collection.output_folder import MANIFEST, REPORT, SITES
from spin_dp.data_tools.systems.note import NOTE
from spin_dp.data_tools.systems.system import TRAINING, VALIDATION, open_system
from spin_dp.data_tools.systems.writing import write_frames
from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from spin_dp.data_tools.collection.collected import CollectedData

UNSELECTED = "unselected"
RECORD = "selection.json"


def check_subset_folder(out: Path, data: Path, arguments: Mapping[str, object]) -> None:
    """Refuse an output folder that must not be overwritten.

    Parameters
    ----------
    out
        The folder; absent, empty, or an earlier result of the same arguments.
    data
        The collected folder.
    arguments
        Arguments of this run as they are recorded in ``selection.json``.

    Raises
    ------
    ConfigError
        If it lies in ``data``, is a file, holds anything else, or was made with other
        arguments.
    """
    if out.resolve().is_relative_to(data.resolve()):
        raise ConfigError(f"{out}: lies in the data folder {data}; give another folder")
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError(f"{out}: is a file; give a new folder with --output")
    names = {path.name for path in out.iterdir()}
    if not names:
        return
    try:
        record = json.loads((out / RECORD).read_text())
        foreign = sorted(names - set(record["contents"]))
        earlier = dict(record["arguments"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{out}: holds files that are no earlier result of select "
            f"({min(names)}); give a new or empty folder with --output"
        ) from error
    if foreign:
        raise ConfigError(
            f"{out}: holds {foreign[0]} besides an earlier result of select; move it "
            "away or give another folder with --output"
        )
    if earlier != arguments:
        other = next(n for n in arguments if earlier.get(n) != arguments[n])
        raise ConfigError(
            f"{out}: made by select with another {other} ({earlier.get(other)!r}, now "
            f"{arguments[other]!r}); remove it or give another folder with --output"
        )


def write_subset(data: CollectedData, folder: Path, chosen: pd.Index) -> None:
    """Write a collected folder with the chosen training frames only.

    Systems keep all labels and files; validation and the files of the folder are
    copied, but for the report of the whole. In the manifest the frames left out have
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
    for path in data.folder.iterdir():
        if path.is_file() and not _is_left_behind(path.name):
            shutil.copy2(path, folder / path.name)
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


def _is_left_behind(name: str) -> bool:
    """Return whether a file is hidden, written anew, or about the whole data set."""
    return name.startswith(".") or name in {MANIFEST, RECORD, SITES, REPORT}


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
