# SPDX-License-Identifier: LGPL-3.0-or-later
"""A collected data set on disk: its tables read and checked against its systems."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.collection.manifest import COLUMNS, KEPT, SITE_COLUMNS
from spin_dp.data_tools.collection.output_folder import (
    LEVELS,
    MANIFEST,
    RECORD,
    SITES,
    STATES,
)
from spin_dp.data_tools.naming.classify import STATE_COLUMNS
from spin_dp.data_tools.systems.system import open_system
from spin_dp.errors import DataError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pandas as pd

LABELS = ("energy", "force", "spin")
"""Labels that each collected system has."""

_WHOLE_NUMBERS = ("step", "natoms", "index")
_NUMBERS = ("energy", "total_moment", "margin", "charge", "max_force")
_STATE_NUMBERS = ("unpaired", "sites", "mean", "std", "lowest", "highest")


@dataclass(frozen=True, eq=False)
class CollectedData:
    """A data set that ``spin-dp collect`` wrote.

    Attributes
    ----------
    folder
        Where it lies.
    manifest
        One row for each frame read, see :data:`spin_dp.data_tools.collection.manifest.
        COLUMNS`; numbers as numbers, all else as the text in the file.
    """

    folder: Path
    manifest: pd.DataFrame

    @property
    def kept(self) -> pd.DataFrame:
        """The rows of the kept frames, numbered as in the manifest."""
        return self.manifest[self.manifest["status"] == KEPT]

    def sites(self) -> pd.DataFrame:
        """Return the metal sites of the kept frames.

        Returns
        -------
        pandas.DataFrame
            See :data:`spin_dp.data_tools.collection.manifest.SITE_COLUMNS`; ``index``
            and ``moment`` (μB) as numbers, all else as text.

        Raises
        ------
        DataError
            If the file cannot be read, lacks a column, or holds no numbers there.
        """
        return _read_table(self.folder / SITES, SITE_COLUMNS, ("index",), ("moment",))

    def states(self) -> pd.DataFrame:
        """Return the spin states that were found.

        Returns
        -------
        pandas.DataFrame
            See :meth:`spin_dp.data_tools.naming.classify.SpinStates.table`.

        Raises
        ------
        DataError
            If the file cannot be read, lacks a column, or holds no numbers there.
        """
        return _read_table(self.folder / STATES, STATE_COLUMNS, (), _STATE_NUMBERS)

    def levels(self) -> dict[str, object]:
        """Return the description of each level of theory.

        Raises
        ------
        DataError
            If the file is not a JSON object.
        """
        return _read_json(self.folder / LEVELS)

    def record(self) -> dict[str, object]:
        """Return how the data were collected.

        Raises
        ------
        DataError
            If the file is not a JSON object.
        """
        return _read_json(self.folder / RECORD)


def open_collected(folder: str | os.PathLike[str]) -> CollectedData:
    """Open a collected data set.

    Parameters
    ----------
    folder
        Folder written by :func:`spin_dp.data_tools.collect`.

    Returns
    -------
    CollectedData
        With its manifest; the other tables are read when asked for.

    Raises
    ------
    DataError
        If the folder was not collected by this version, no frame was kept, or the kept
        frames of the manifest are not just the frames of the systems.
    """
    folder = Path(folder)
    for name in (MANIFEST, RECORD, LEVELS, STATES, SITES):
        if not (folder / name).is_file():
            raise DataError(
                f"{folder}: expected a folder written by spin-dp collect, found no "
                f"{name}; give another folder or collect the data again"
            )
    data = CollectedData(folder, read_manifest(folder))
    if data.kept.empty:
        raise DataError(
            f"{folder / MANIFEST}: none of the {len(data.manifest)} frames was kept; "
            "its column reason says why"
        )
    for system, rows in data.kept.groupby("system"):
        _check_frames(folder, str(system), rows["index"].to_list())
    return data


def read_manifest(folder: Path) -> pd.DataFrame:
    """Read the manifest of a data set.

    Parameters
    ----------
    folder
        Folder written by :func:`spin_dp.data_tools.collect`.

    Returns
    -------
    pandas.DataFrame
        As in :class:`CollectedData`.

    Raises
    ------
    DataError
        If the file cannot be read, lacks a column, holds no numbers there, or not the
        energy of a kept frame.
    """
    path = folder / MANIFEST
    table = _read_table(path, COLUMNS, _WHOLE_NUMBERS, _NUMBERS)
    is_wrong = table["status"].eq(KEPT) & ~np.isfinite(table["energy"])
    if is_wrong.any():
        source = table["source"][is_wrong].iloc[0]
        raise DataError(
            f"{path}: the energy of a kept frame of {source} is not a finite number; "
            "collect the data again"
        )
    return table


def _read_table(
    path: Path,
    columns: Sequence[str],
    whole_numbers: Sequence[str],
    numbers: Sequence[str],
) -> pd.DataFrame:
    import pandas as pd

    try:  # as text, for a formula may look like a missing value or a number
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(
            f"{path}: not a readable table ({error}); collect the data again"
        ) from error
    missing = [name for name in columns if name not in table]
    if missing:
        raise DataError(
            f"{path}: expected the columns that spin-dp collect writes, found no "
            f"{', '.join(missing)}; collect the data again, with --rebuild or into a "
            "new folder"
        )
    for name in (*whole_numbers, *numbers):
        is_whole = name in whole_numbers
        try:
            table[name] = (
                table[name].astype("int64")
                if is_whole
                else table[name].replace("", "nan").astype("float64")
            )
        except ValueError as error:
            raise DataError(
                f"{path}: expected {'whole ' if is_whole else ''}numbers as {name} "
                f"({error}); collect the data again"
            ) from error
    return table


def _read_json(path: Path) -> dict[str, object]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: not a JSON object ({error}); collect the data again"
        ) from error


def _check_frames(folder: Path, name: str, indices: Sequence[int]) -> None:
    n_frames = open_system(folder / name, LABELS).n_frames
    if sorted(indices) != list(range(n_frames)):
        raise DataError(
            f"{folder / MANIFEST}: expected the frames 0 to {n_frames - 1} of "
            f"{folder / name}, got {len(indices)} rows up to {max(indices)}; collect "
            "the data again"
        )
