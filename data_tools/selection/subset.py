# SPDX-License-Identifier: LGPL-3.0-or-later
"""A collected folder on disk: its manifest checked, its systems opened and copied."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.dataset.manifest import KEPT
from spin_dp.data_tools.dataset.output import MANIFEST, REPORT, SITES
from spin_dp.data_tools.dataset.split import TRAINING, VALIDATION
from spin_dp.data_tools.dataset.stored import StoredSystem, open_system
from spin_dp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd


UNSELECTED = "unselected"
RECORD = "selection.json"
_SET = "set.000"
_COLUMNS = ("formula", "level", "key", "status", "split", "system", "index")


def read_manifest(data: Path) -> pd.DataFrame:
    """Read the manifest of a collected folder and compare it with the systems.

    Parameters
    ----------
    data
        Folder written by :func:`spin_dp.data_tools.collect`.

    Returns
    -------
    pandas.DataFrame
        The manifest, all columns as the text in the file, but ``index``.

    Raises
    ------
    DataError
        If there is no manifest, if a column is missing, or if its kept frames are not
        just the frames of the systems.
    """
    import pandas as pd

    path = data / MANIFEST
    if not path.is_file():
        raise DataError(
            f"{data}: expected a folder written by spin-dp collect, found no {MANIFEST}"
        )
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:
        raise DataError(f"{path}: cannot be read as a table: {error}") from error
    for column in _COLUMNS:
        if column not in table:
            raise DataError(f"{path}: expected a column {column!r}, found none")
    try:
        table["index"] = table["index"].astype(int)
    except ValueError as error:
        raise DataError(f"{path}: expected whole numbers as index: {error}") from error
    kept = table[table["status"] == KEPT]
    for name, rows in kept.groupby("system"):
        _check_frames(path, open_system(data / str(name)), rows["index"].to_list())
    return table


def _check_frames(path: Path, system: StoredSystem, indices: Sequence[int]) -> None:
    if sorted(indices) != list(range(system.n_frames)):
        raise DataError(
            f"{path}: expected the frames 0 to {system.n_frames - 1} of "
            f"{system.folder}, got {len(indices)} rows up to {max(indices)}; collect "
            "the data again"
        )


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


def write_subset(
    data: Path, folder: Path, manifest: pd.DataFrame, chosen: pd.Index
) -> None:
    """Write a collected folder with the chosen training frames only.

    Systems keep all labels and files; validation and the files of the folder are
    copied, but for the report of the whole. In the manifest the frames left out have
    the status ``unselected``; the table of sites has the frames that are left.

    Parameters
    ----------
    data
        The collected folder.
    folder
        An empty folder.
    manifest
        What :func:`read_manifest` gives.
    chosen
        Rows of the manifest: the training frames to be written.
    """
    for path in data.iterdir():
        if path.is_file() and not _is_left_behind(path.name):
            shutil.copy2(path, folder / path.name)
    if (data / VALIDATION).is_dir():
        shutil.copytree(data / VALIDATION, folder / VALIDATION)
    smaller = _without(manifest, chosen)
    for name, rows in manifest.loc[chosen].sort_values("index").groupby("system"):
        system = open_system(data / str(name))
        _write_part(system, rows["index"].to_list(), folder / str(name))
        smaller.loc[rows.index, "index"] = range(len(rows))
    smaller.to_csv(folder / MANIFEST, index=False)
    if (data / SITES).is_file():
        _move_sites(data / SITES, folder / SITES, manifest, smaller)


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


def _move_sites(
    path: Path, target: Path, manifest: pd.DataFrame, smaller: pd.DataFrame
) -> None:
    """Write the rows of the frames that are left, with their new indices."""
    import pandas as pd

    place = ["system", "index"]
    kept = smaller["status"] == KEPT
    moved = manifest.loc[kept, place].assign(moved=smaller.loc[kept, "index"])
    sites = pd.read_csv(path, dtype=str, keep_default_na=False)
    columns = list(sites)
    sites["index"] = sites["index"].astype(int)
    sites = sites.merge(moved, on=place)
    sites["index"] = sites["moved"]
    sites[columns].to_csv(target, index=False)


def _write_part(system: StoredSystem, indices: Sequence[int], folder: Path) -> None:
    (folder / _SET).mkdir(parents=True)
    for name, array in system.labels.items():
        np.save(folder / _SET / f"{name}.npy", array[list(indices)])
    for path in system.folder.iterdir():
        if path.is_file():
            shutil.copy2(path, folder / path.name)
