# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a data set holds and what to know before training, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spin_dp.report.statistics.counts import QUANTITIES, examples, geometries
from spin_dp.report.statistics.gaps import hidden_solutions

if TYPE_CHECKING:
    import pandas as pd

    from spin_dp.report.dataset import Dataset

_DOUBTFUL_MARGIN_MUB = 0.1
_NEUTRAL_E = 0.5
_BEYOND = 0.02  # part of the training range that validation may exceed it by


def summary_rows(data: Dataset, gaps: pd.DataFrame) -> list[tuple[str, str]]:
    """Return what the data set holds, as names and values to read."""
    frames = data.frames
    n_read, n_kept = len(data.manifest), len(frames)
    splits = frames["split"].value_counts()
    counts = {
        "frames read": n_read,
        "kept": n_kept,
        "quarantined": n_read - n_kept,
        "for training": splits.get("training", 0),
        "for validation": splits.get("validation", 0),
        "formulas": frames["formula"].nunique(),
        "levels of theory": frames["level"].nunique(),
        "spin-state keys": frames["key"].nunique(),
        "geometries": geometries(frames),
        "with two states or more": geometries(gaps),
    }
    rows = [(name, f"{count}") for name, count in counts.items()]
    above = gaps.loc[~gaps["is_lowest"], "gap"]
    if len(above):
        low, high = above.min(), above.max()
        rows.append(("gaps between states", f"{low:.0f} to {high:.0f} meV per cell"))
    return rows


def warnings(data: Dataset, gaps: pd.DataFrame) -> list[str]:
    """Return what a user should know before training, one sentence each."""
    frames = data.frames
    texts = [
        *_level_warnings(frames),
        *_state_warnings(frames, gaps),
        *_split_warnings(frames),
    ]
    quarantined = data.manifest[data.manifest["status"] != "kept"]
    duplicates = quarantined["reason"].str.contains("duplicate", case=False)
    if n := int(duplicates.sum()):
        texts.append(f"{_frames(n)} left out as duplicates of others.")
    share = len(quarantined) / len(data.manifest)
    if share > 0.1:
        texts.append(f"{100 * share:.0f} % of the frames read are quarantined.")
    return texts


def _level_warnings(frames: pd.DataFrame) -> list[str]:
    texts = []
    n_levels = frames["level"].nunique()
    if n_levels > 1:
        per_formula = frames.groupby("formula")["level"].nunique()
        mixed = [str(name) for name in per_formula.index[per_formula > 1]]
        advice = (
            f"Formulas with frames of several levels: {len(mixed)} "
            f"({', '.join(mixed[:3])}); train one model per level."
            if mixed
            else "Each formula has one level: train them together only if Provenance "
            "shows that nothing differs but the potentials of other elements."
        )
        texts.append(
            f"Energies of the {n_levels} levels of theory are NOT comparable, and "
            f"this report never compares them. {advice}"
        )
    if n := int(frames["level"].str.startswith("unspecified").sum()):
        texts.append(
            f"{_frames(n)} without a record of the level of theory; if they come from "
            "different settings, collect them apart with --level."
        )
    return texts


def _state_warnings(frames: pd.DataFrame, gaps: pd.DataFrame) -> list[str]:
    texts = []
    n_geometries = geometries(frames)
    if alone := n_geometries - geometries(gaps):
        texts.append(
            f"{alone} of {n_geometries} geometries have one spin state only: they "
            "teach a model nothing about gaps."
        )
    doubts = {
        "with sites whose state is ambiguous: e.g. {}.": (
            frames["naming"] == "ambiguous"
        ),
        f"with a moment within {_DOUBTFUL_MARGIN_MUB} μB of the boundary between two "
        "states.": frames["margin"] < _DOUBTFUL_MARGIN_MUB,
        "off charge neutrality by nominal states: e.g. {}.": (
            frames["charge"].abs() > _NEUTRAL_E
        ),
        "whose moments were held in the calculation; such states may not be stable by "
        "themselves.": frames["constrained"] == "true",
    }
    for text, is_doubtful in doubts.items():
        if n := int(is_doubtful.sum()):
            named = text.format(examples(frames.loc[is_doubtful, "place"]))
            texts.append(f"{_frames(n)} {named}")
    hidden = hidden_solutions(frames)
    if n := len(hidden):
        worst = hidden.iloc[0]
        texts.append(
            f"{n} geometr{'y' if n == 1 else 'ies'} with different energies of one "
            f"spin-state key (up to {worst['spread']:.0f} meV per cell, {worst['key']} "
            f"at {worst['geometry']}): the moments do not tell these solutions apart; "
            "collect with --lowest-solutions to keep the lowest of each."
        )
    return texts


def _split_warnings(frames: pd.DataFrame) -> list[str]:
    is_training = frames["split"] == "training"
    training, validation = frames[is_training], frames[~is_training]
    if validation.empty:
        return ["There are no validation frames; collect with --validation 0.1."]
    texts = []
    names = ["formula", "level", "key"]
    known = training[names].drop_duplicates()
    origin = validation[names].merge(known, how="left", indicator=True)
    new = origin[origin["_merge"] == "left_only"]
    if len(new):
        texts.append(
            f"{_frames(len(new))} for validation in states that training does not "
            f"have: e.g. {new['formula'].iloc[0]} {new['key'].iloc[0]}."
        )
    for column, (name, unit) in QUANTITIES.items():
        low, high = training[column].min(), training[column].max()
        slack = _BEYOND * (high - low)
        values = validation[column]
        outside = int(((values < low - slack) | (values > high + slack)).sum())
        if outside:
            texts.append(
                f"Validation goes beyond training in {name} for {_frames(outside)} "
                f"(training: {low:.3g} to {high:.3g} {unit})."
            )
    return texts


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"
