# SPDX-License-Identifier: LGPL-3.0-or-later
"""Counts and ranges of the frames of a data set."""

from __future__ import annotations

import pandas as pd

QUANTITIES = {
    "volume": ("volume", "Å³/atom"),
    "above": ("energy above the lowest", "meV/atom"),
    "max_force": ("largest force", "eV/Å"),
    "shortest": ("shortest metal-anion distance", "Å"),
}
"""Columns of the frames whose range is reported: name and unit."""

_EXAMPLES = 3


def coverage_table(frames: pd.DataFrame) -> pd.DataFrame:
    """Return the range of each quantity for each state.

    Parameters
    ----------
    frames
        Kept frames of :func:`spin_dp.report.dataset.read_dataset`.

    Returns
    -------
    pandas.DataFrame
        One row per formula, level and key, those with most frames first: ``frames``
        and for each of :data:`QUANTITIES` its least and largest value
        (``volume_min``, ``volume_max``, ...).
    """
    ranges = {
        f"{name}_{end}": (name, end) for name in QUANTITIES for end in ("min", "max")
    }
    groups = frames.groupby(["formula", "level", "key"], sort=True, as_index=False)
    table = groups.agg(frames=("index", "size"), **ranges)
    return table.sort_values(
        "frames", ascending=False, kind="stable", ignore_index=True
    )


def quarantine_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Count the frames left out.

    Parameters
    ----------
    manifest
        Of :func:`spin_dp.report.dataset.read_dataset`.

    Returns
    -------
    pandas.DataFrame
        ``reason``, ``frames`` and ``examples`` (sources), the most frequent first.
    """
    rejected = manifest[manifest["status"] != "kept"]
    # The reason of a duplicate names its twin: all count as one reason.
    reasons = rejected["reason"].str.replace(
        r"^duplicate of .*$", "duplicate", regex=True
    )
    groups = rejected.groupby(reasons, sort=True)["place"]
    table = pd.DataFrame({"frames": groups.size(), "examples": groups.agg(examples)})
    return table.reset_index().sort_values(
        "frames", ascending=False, kind="stable", ignore_index=True
    )


def states_per_geometry(frames: pd.DataFrame) -> pd.Series:
    """Return how many geometries have one, two, ... states (index, ascending)."""
    counts = frames.groupby(["level", "geometry"])["key"].nunique()
    return counts.value_counts().sort_index()


def geometries(table: pd.DataFrame) -> int:
    """Return the number of geometries, those of each level for themselves."""
    return len(table[["level", "geometry"]].drop_duplicates())


def examples(places: pd.Series) -> str:
    """Return the first sources in words, and how many there are more."""
    names = places.drop_duplicates().tolist()
    more = f" and {len(names) - _EXAMPLES} more" if len(names) > _EXAMPLES else ""
    return ", ".join(names[:_EXAMPLES]) + more
