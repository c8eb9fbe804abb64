# SPDX-License-Identifier: LGPL-3.0-or-later
"""Counts, ranges and warnings of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from spin_dp.report.gaps import hidden_solutions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spin_dp.report.dataset import Dataset

QUANTITIES = {
    "volume": ("volume", "Å³/atom"),
    "above": ("energy above the lowest", "meV/atom"),
    "max_force": ("largest force", "eV/Å"),
    "shortest": ("shortest metal-anion distance", "Å"),
}
"""Columns of the frames whose range is reported: name and unit."""

_DOUBTFUL_MARGIN_MUB = 0.1
_NEUTRAL_E = 0.5
_BEYOND = 0.02  # part of the training range that validation may exceed it by
_EXAMPLES = 3
_DUPLICATE = r"^duplicate of .*$"


def summary_rows(data: Dataset, gaps: pd.DataFrame) -> list[tuple[str, str]]:
    """Return what the data set holds, as names and values to read."""
    frames = data.frames
    n_read, n_kept = len(data.manifest), len(frames)
    splits = frames["split"].value_counts()
    rows = [
        ("frames read", f"{n_read}"),
        ("kept", f"{n_kept}"),
        ("quarantined", f"{n_read - n_kept}"),
        ("for training", f"{splits.get('training', 0)}"),
        ("for validation", f"{splits.get('validation', 0)}"),
        ("formulas", f"{frames['formula'].nunique()}"),
        ("levels of theory", f"{frames['level'].nunique()}"),
        ("spin-state keys", f"{frames['key'].nunique()}"),
        ("geometries", f"{_geometries(frames)}"),
        ("with two states or more", f"{_geometries(gaps)}"),
    ]
    above = gaps.loc[~gaps["is_lowest"], "gap"]
    if len(above):
        low, high = above.min(), above.max()
        rows.append(("gaps between states", f"{low:.0f} to {high:.0f} meV per cell"))
    return rows


def warnings(data: Dataset, gaps: pd.DataFrame) -> list[str]:
    """Return what a user should know before training, one sentence each."""
    frames = data.frames
    found = [
        *_level_warnings(frames),
        *_state_warnings(data, gaps),
        *_split_warnings(frames),
    ]
    duplicates = data.manifest["reason"].str.contains("duplicate", case=False)
    quarantined = data.manifest["status"] != "kept"
    if n := int((duplicates & quarantined).sum()):
        found.append(f"{_frames(n)} left out as duplicates of others.")
    share = quarantined.mean()
    if share > 0.1:
        found.append(f"{100 * share:.0f} % of the frames read are quarantined.")
    return found


def _level_warnings(frames: pd.DataFrame) -> list[str]:
    levels = sorted(frames["level"].unique())
    found = []
    per_formula = frames.groupby("formula")["level"].nunique()
    if len(levels) > 1:
        text = (
            f"Energies of the {len(levels)} levels of theory are NOT comparable, and "
            "this report never compares them."
        )
        mixed = per_formula[per_formula > 1]
        if len(mixed):
            names = ", ".join(str(name) for name in mixed.index[:_EXAMPLES])
            text += (
                f" Formulas with frames of several levels: {len(mixed)} ({names}); "
                "train one model per level."
            )
        else:
            text += (
                " Each formula has one level: train them together only if Provenance "
                "shows that nothing differs but the potentials of other elements."
            )
        found.append(text)
    unnamed = frames["level"].str.startswith("unspecified")
    if n := int(unnamed.sum()):
        found.append(
            f"{_frames(n)} without a record of the level of theory; if they come from "
            "different settings, collect them apart with --level."
        )
    return found


def _state_warnings(data: Dataset, gaps: pd.DataFrame) -> list[str]:
    frames = data.frames
    found = []
    several, geometries = _geometries(gaps), _geometries(frames)
    if several < geometries:
        found.append(
            f"{geometries - several} of {geometries} geometries have one spin state "
            "only: they teach a model nothing about gaps."
        )
    ambiguous = frames["naming"] == "ambiguous"
    if n := int(ambiguous.sum()):
        found.append(
            f"{_frames(n)} with sites whose state is ambiguous: e.g. "
            f"{_sources(frames[ambiguous])}."
        )
    if n := int((frames["margin"] < _DOUBTFUL_MARGIN_MUB).sum()):
        found.append(
            f"{_frames(n)} with a moment within {_DOUBTFUL_MARGIN_MUB} μB of the "
            "boundary between two states."
        )
    charged = frames["charge"].abs() > _NEUTRAL_E
    if n := int(charged.sum()):
        found.append(
            f"{_frames(n)} off charge neutrality by nominal states: e.g. "
            f"{_sources(frames[charged])}."
        )
    if n := int((frames["constrained"] == "true").sum()):
        found.append(
            f"{_frames(n)} whose moments were held in the calculation; such states may "
            "not be stable by themselves."
        )
    hidden = hidden_solutions(frames)
    if n := len(hidden):
        worst = hidden.iloc[0]
        found.append(
            f"{n} geometr{'y' if n == 1 else 'ies'} with different energies of one "
            f"spin-state key (up to {worst['spread']:.0f} meV per cell, {worst['key']} "
            f"at {worst['geometry']}): the moments do not tell these solutions apart."
        )
    return found


def _split_warnings(frames: pd.DataFrame) -> list[str]:
    is_training = frames["split"] == "training"
    training, validation = frames[is_training], frames[~is_training]
    if validation.empty:
        return ["There are no validation frames; collect with --validation 0.1."]
    found = []
    names = ["formula", "level", "key"]
    known = set(training[names].itertuples(index=False, name=None))
    new = [
        row
        for row in validation[names].itertuples(index=False, name=None)
        if row not in known
    ]
    if new:
        found.append(
            f"{_frames(len(new))} for validation in states that training does not "
            f"have: e.g. {new[0][0]} {new[0][2]}."
        )
    for column, (name, unit) in QUANTITIES.items():
        low, high = training[column].min(), training[column].max()
        slack = _BEYOND * (high - low)
        values = validation[column]
        outside = int(((values < low - slack) | (values > high + slack)).sum())
        if outside:
            found.append(
                f"Validation goes beyond training in {name} for {_frames(outside)} "
                f"(training: {low:.3g} to {high:.3g} {unit})."
            )
    return found


def coverage_table(frames: pd.DataFrame) -> pd.DataFrame:
    """Return the range of each quantity for each state.

    Returns
    -------
    pandas.DataFrame
        One row per formula, level and key, those with most frames first: ``frames``
        and for each of :data:`QUANTITIES` its least and largest value
        (``volume_min``, ``volume_max``, ...).
    """
    groups = frames.groupby(["formula", "level", "key"], sort=True)
    table = groups.size().rename("frames").to_frame()
    for column in QUANTITIES:
        table[f"{column}_min"] = groups[column].min()
        table[f"{column}_max"] = groups[column].max()
    table = table.reset_index()
    return table.sort_values("frames", ascending=False, kind="stable").reset_index(
        drop=True
    )


def quarantine_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Count the frames left out.

    Returns
    -------
    pandas.DataFrame
        ``reason``, ``frames`` and ``examples`` (sources), the most frequent first.
    """
    rejected = manifest[manifest["status"] != "kept"]
    # The reason of a duplicate names its twin: all count as one reason.
    reasons = rejected["reason"].str.replace(_DUPLICATE, "duplicate", regex=True)
    rows = [
        {"reason": reason, "frames": len(group), "examples": _sources(group)}
        for reason, group in rejected.groupby(reasons, sort=True)
    ]
    table = pd.DataFrame(rows, columns=["reason", "frames", "examples"])
    return table.sort_values("frames", ascending=False, kind="stable").reset_index(
        drop=True
    )


def states_per_geometry(frames: pd.DataFrame) -> pd.Series:
    """Return how many geometries have one, two, ... states (index, ascending)."""
    counts = frames.groupby(["level", "geometry"])["key"].nunique()
    return counts.value_counts().sort_index()


def _geometries(table: pd.DataFrame) -> int:
    return int(table.groupby(["level", "geometry"]).ngroups) if len(table) else 0


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _sources(rows: pd.DataFrame) -> str:
    names: Sequence[str] = rows["place"].drop_duplicates().tolist()
    text = ", ".join(names[:_EXAMPLES])
    return (
        text if len(names) <= _EXAMPLES else f"{text} and {len(names) - _EXAMPLES} more"
    )
