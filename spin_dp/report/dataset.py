# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reading a folder of ``spin-dp collect`` into tables, columns not yet known included.

Columns and files that only newer versions of ``collect`` write may be absent; what is
absent is left out of the report.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.data_tools.dataset.manifest import KEPT
from spin_dp.data_tools.dataset.output import LEVELS, MANIFEST, RECORD, SITES, STATES
from spin_dp.errors import DataError
from spin_dp.report.systems import scan_systems

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TEXT = (
    *("source", "formula", "level", "key", "status", "reason", "system", "geometry"),
    "split",
)
_NUMBERS = ("natoms", "energy", "index")
_OPTIONAL_TEXT = {"constrained": "unknown", "energy_kind": "", "naming": ""}
_OPTIONAL_NUMBERS = ("margin", "charge", "total_moment")
_STATE_COLUMNS = ("element", "site_level", "state", "mean")
_STATE_NUMBERS = ("mean", "std", "sites", "lowest", "highest", "lower", "upper")
_SITE_COLUMNS = ("system", "index", "element", "moment")


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
        One row per kept frame: the manifest's columns and what
        :func:`spin_dp.report.systems.scan_systems` adds; ``per_atom`` (eV),
        ``above`` (meV/atom above the lowest frame of formula and level), ``states``
        (how many sites are in which state, whatever their signs).
    sites
        One row per metal site of the kept frames: ``system``, ``index``, ``element``,
        ``length`` (|moment|, μB), ``label`` (its state, or the moment in whole μB),
        ``level`` of the frame, and ``site_level`` where the data set names it.
    states
        Nominal states with their mean moment (μB) and its range, by element and site
        level; empty where there is no such file.
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
        If the folder or its manifest is absent or incomplete, nothing was kept, or
        an array of a system is absent or does not fit.
    """
    manifest = _read_manifest(folder)
    kept = manifest[manifest["status"] == KEPT].reset_index(drop=True)
    if kept.empty:
        raise DataError(
            f"{folder / MANIFEST}: none of the {len(manifest)} frames was kept, so "
            "there is nothing to report on; its column reason says why."
        )
    _check_numbers(kept, folder / MANIFEST)
    features, sites = scan_systems(folder, kept, progress)
    frames = kept.drop(columns=["max_force"], errors="ignore").join(features)
    sites = _read_sites(folder / SITES, kept, sites)
    frames["per_atom"] = frames["energy"] / frames["natoms"]
    lowest = frames.groupby(["formula", "level"])["per_atom"].transform("min")
    frames["above"] = 1000.0 * (frames["per_atom"] - lowest)
    frames["states"] = _count_states(frames, sites)
    return Dataset(
        folder=folder,
        manifest=manifest,
        frames=frames,
        sites=sites,
        states=_read_states(folder / STATES),
        levels=_read_json(folder / LEVELS),
        record=_read_json(folder / RECORD),
    )


def _read_manifest(folder: Path) -> pd.DataFrame:
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; give a folder that `spin-dp collect` wrote."
        )
    table = _read_csv(path)
    _require(table, (*_TEXT, *_NUMBERS), path)
    for name in (*_NUMBERS, *_OPTIONAL_NUMBERS):
        given = table[name] if name in table else pd.Series(np.nan, table.index)
        table[name] = pd.to_numeric(given, errors="coerce").astype(float)
    for name, default in _OPTIONAL_TEXT.items():
        if name not in table:
            table[name] = default
    table["place"] = _without_common_part(table["source"])
    return table


def _without_common_part(sources: pd.Series) -> pd.Series:
    names = [PurePath(source) for source in sources.unique()]
    parents = {parent for name in names[:1] for parent in name.parents}
    for name in names[1:]:
        parents &= set(name.parents)
    root = max(parents, key=lambda parent: len(parent.parts), default=PurePath())
    return sources.map(lambda source: PurePath(source).relative_to(root).as_posix())


def _read_csv(path: Path) -> pd.DataFrame:
    """Read all columns as text; a formula may look like a missing value."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(
            f"{path}: not a readable table ({error}); collect the data again."
        ) from error


def _require(table: pd.DataFrame, columns: tuple[str, ...], path: Path) -> None:
    missing = [name for name in columns if name not in table]
    if missing:
        raise DataError(
            f"{path}: expected the columns {', '.join(columns)}, but "
            f"{', '.join(missing)} are missing; collect the data again."
        )


def _check_numbers(kept: pd.DataFrame, path: Path) -> None:
    for name in _NUMBERS:
        wrong = kept.index[~np.isfinite(kept[name].to_numpy(dtype=float))]
        if len(wrong):
            source = kept["source"].iloc[int(wrong[0])]
            raise DataError(
                f"{path}: {name} of a kept frame of {source} is not a number; "
                "collect the data again."
            )
    kept["index"] = kept["index"].astype(int)
    kept["natoms"] = kept["natoms"].astype(int)


def _read_sites(path: Path, kept: pd.DataFrame, scanned: pd.DataFrame) -> pd.DataFrame:
    """Return the sites of the file, or those found in the systems without names."""
    if path.is_file():
        sites = _read_csv(path)
        _require(sites, _SITE_COLUMNS, path)
        sites["index"] = pd.to_numeric(sites["index"], errors="coerce")
        sites["length"] = pd.to_numeric(sites["moment"], errors="coerce").abs()
        if sites[["index", "length"]].isna().to_numpy().any():
            raise DataError(
                f"{path}: an index or moment is not a number; collect the data again."
            )
    else:
        sites = scanned
    whole = (sites["length"] + 0.5).astype(int).astype(str)
    named = sites["state"] if "state" in sites else pd.Series("", sites.index)
    sites["label"] = named.where(named != "", sites["element"] + "~" + whole)
    frames = kept[["system", "index", "level"]]
    return sites.merge(frames, on=["system", "index"], how="inner")


def _count_states(frames: pd.DataFrame, sites: pd.DataFrame) -> pd.Series:
    if sites.empty:
        return pd.Series("no metal", frames.index)
    counts = sites.groupby(["system", "index", "label"]).size().reset_index(name="n")
    counts["word"] = counts["label"] + " ×" + counts["n"].astype(str)
    words = counts.groupby(["system", "index"])["word"].agg(", ".join)
    found = words.reindex(pd.MultiIndex.from_frame(frames[["system", "index"]]))
    return pd.Series(found.to_numpy(), frames.index).fillna("no metal")


def _read_states(path: Path) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame(columns=list(_STATE_COLUMNS))
    table = _read_csv(path)
    _require(table, _STATE_COLUMNS, path)
    for name in _STATE_NUMBERS:
        if name in table:
            table[name] = pd.to_numeric(table[name], errors="coerce")
    return table


def _read_json(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"{path}: not a JSON file ({error}); collect the data again."
        ) from error
    return dict(content) if isinstance(content, dict) else {}
