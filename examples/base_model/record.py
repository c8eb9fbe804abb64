# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is recorded of a base model: data, settings, errors; the card's only source."""

from __future__ import annotations

import hashlib
from collections import Counter
from importlib.metadata import version
from math import isnan
from typing import TYPE_CHECKING, Any

from examples.base_model.frames import origins, predicted_frames
from spin_dp import evaluation
from spin_dp.data_tools.collection.collected import open_collected
from spin_dp.data_tools.collection.manifest import KEPT
from spin_dp.data_tools.systems.system import TRAINING, VALIDATION
from spin_dp.inference.predictor import SpinDP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

QUANTITIES = ("energy", "force", "virial", "gap", "order", "moment")


def make_record(
    name: str,
    models: Sequence[Path],
    data: Path,
    files: Mapping[str, str],
    made: Mapping[str, object],
) -> dict[str, Any]:
    """Return the record of an ensemble.

    Parameters
    ----------
    name
        By which it is opened.
    models
        Its files.
    data
        Result of ``spin-dp collect`` that they were trained on.
    files
        Hash of each file of frames.
    made
        Settings of the training.
    """
    first = SpinDP(models[0])
    origin = origins(data)
    frames = predicted_frames(data, {model.stem: model for model in models})
    answering = models[0].stem
    with_moments = predicted_frames(data, {answering: models[0]}, labels=False)
    by_temperature = frames.dropna(subset=["temperature"])
    return {
        "name": name,
        "licence": "CC-BY-4.0",
        "made": {**made, "spin-dp": version("spin-dp")},
        "type_map": first.type_map,
        "spin_elements": first.spin_elements,
        "cutoff": first.cutoff,
        "shortest_distance": round(first.info.min_distance, 3),
        "data": {
            "sha256": _digest(files),
            "files": dict(files),
            **_counts(origin),
            "trained": _names(origin, TRAINING),
            "held_out": _names(origin, VALIDATION),
            "unconverged": _quarantined(data),
            "levels": _levels(data),
            "families": [
                {"family": family, **_counts(rows), **_reach(rows)}
                for family, rows in origin.groupby("family", sort=True)
            ],
        },
        "states": first.states.records(),
        "largest": dict(first.states.largest),
        "errors": {
            "all": _scores(frames, answering),
            "with_moments": _scores(with_moments, answering),
            "kind": _groups(frames, answering, "kind"),
            "temperature": _groups(by_temperature, answering, "temperature"),
            "family": _groups(frames, answering, "family"),
            "state": _states(frames, answering),
        },
        "models": [
            {
                "file": model.name,
                "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
                **_scores(frames, model.stem),
            }
            for model in models
        ],
        "stability": [],
    }


def spread_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how well the spread of the ensemble tells its error, for the record.

    Parameters
    ----------
    table
        Of :func:`spin_dp.evaluation.calibration.calibration_table`.
    """
    return [
        {
            str(key): _rounded(value) if isinstance(value, float) else value
            for key, value in row.items()
        }
        for row in table.to_dict(orient="records")
    ]


def _rounded(value: float) -> float | None:
    return None if isnan(value) else round(value, 4)


def _digest(files: Mapping[str, str]) -> str:
    text = "\n".join(f"{digest}  {name}" for name, digest in sorted(files.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    held = rows[rows["split"] == VALIDATION]
    return {
        "frames": len(rows),
        "geometries": rows["geometry"].nunique(),
        "held_out_frames": len(held),
        "held_out_geometries": held["geometry"].nunique(),
        "states": len(rows[["formula", "key"]].drop_duplicates()),
    }


def _names(rows: pd.DataFrame, split: str) -> list[str]:
    """Return the names of the geometries on one side."""
    return sorted(set(rows.loc[rows["split"] == split, "name"]))


def _reach(rows: pd.DataFrame) -> dict[str, Any]:
    kinds = Counter(str(kind) for kind in rows["kind"])
    hottest = rows["temperature"].max()
    return {
        "kinds": dict(sorted(kinds.items())),
        "hottest": None if isnan(hottest) else float(hottest),
    }


def _quarantined(data: Path) -> int:
    manifest = open_collected(data).manifest
    return int((manifest["status"] != KEPT).sum())


def _levels(data: Path) -> dict[str, str]:
    levels = open_collected(data).levels()
    return {
        name: str(level.get("settings", "")) if isinstance(level, dict) else ""
        for name, level in levels.items()
    }


def _scores(frames: pd.DataFrame, model: str) -> dict[str, Any]:
    """Return counts and errors; None for what there is nothing of."""
    scores = evaluation.score(frames, model)
    numbers = {name: float(getattr(scores, name)) for name in QUANTITIES}
    return {
        "frames": scores.frames,
        "pairs": scores.pairs,
        "ordered_pairs": scores.ordered_pairs,
        **{key: _rounded(value) for key, value in numbers.items()},
    }


def _groups(frames: pd.DataFrame, model: str, column: str) -> list[dict[str, Any]]:
    return [
        {column: value, **_scores(rows, model)}
        for value, rows in frames.groupby(column, sort=True)
    ]


def _states(frames: pd.DataFrame, model: str) -> list[dict[str, Any]]:
    """Return errors by composition and spin state; pairs count for both states."""
    return [
        {
            "formula": row["formula"],
            "state": str(row["key"]).partition("#")[0],
            "frames": int(row["frames"]),
            "pairs": int(row["pairs"]),
            **{name: _rounded(float(row[f"{name}_{model}"])) for name in QUANTITIES},
        }
        for row in evaluation.per_state(frames, [model]).to_dict(orient="records")
    ]
