# SPDX-License-Identifier: LGPL-3.0-or-later
"""Loss prefactors, optimizer and learning rate of each model, by the same small grid.

Judged on geometries held out inside the training part of one split; the frames that
are reported are never seen.
"""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.accuracy.dp import Progress, Training, run_all
from benchmarks.accuracy.evaluate import FRAMES, evaluate_training
from benchmarks.accuracy.inputs import OPTIMIZERS, WEIGHTS, Choice
from benchmarks.accuracy.results import scores
from benchmarks.accuracy.runs import plan_training
from spin_dp.errors import DataError
from spin_dp.files import replacing, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.accuracy.data import Dataset
    from benchmarks.accuracy.model import Model

TABLE, CHOICES = "tuning.csv", "tuned.json"
NEAR = 1.1
"""Scores so many times the best one count as equal; chance is larger."""

_MEASURES = ("energy", "force", "gap", "order", "score")


def tune(
    models: Sequence[Model],
    data: Dataset,
    out: Path,
    *,
    steps: int,
    jobs: int,
    progress: Progress,
) -> dict[str, str]:
    """Train each model with each point of the grid; write table and choices."""
    points: dict[str, tuple[Model, Choice]] = {}
    trainings = []
    for model, weights, (optimizer, rate) in product(models, WEIGHTS, OPTIMIZERS):
        name = f"{model.name}-{weights}-{optimizer}-{rate:g}"
        points[name] = model, Choice(weights, optimizer, rate)
        folder = out / "trainings" / name
        trainings.append(
            plan_training(
                folder, model, data, steps=steps, seed=0, choice=points[name][1]
            )
        )
    rows = []

    def evaluate(training: Training) -> None:
        model, choice = points[training.name]
        evaluate_training(training, model, data.frames)
        found = scores(pd.read_csv(training.folder / FRAMES))
        measures = {name: found[name] for name in _MEASURES}
        about = {"model": model.name, **choice._asdict(), "steps": steps}
        seconds = training.seconds_per_step()
        rows.append({**about, "seconds_per_step": seconds, **measures})
        _write(out, pd.DataFrame(rows))  # each time: what is done counts

    failed = run_all(trainings, jobs=jobs, progress=progress, on_done=evaluate)
    if not rows:
        raise DataError(f"{out}: every training failed: {next(iter(failed.values()))}")
    return failed


def _write(out: Path, table: pd.DataFrame) -> None:
    """Write table and choices; models that were tried earlier stay."""
    if (out / TABLE).is_file():
        earlier = pd.read_csv(out / TABLE)
        table = pd.concat([earlier[~earlier["model"].isin(table["model"])], table])
    table = table.sort_values(["model", "score"], ignore_index=True)
    with replacing(out / TABLE) as part:
        table.to_csv(part, index=False)
    write_text(out / CHOICES, json.dumps(best_choices(table), indent=2) + "\n")


def best_choices(table: pd.DataFrame) -> dict[str, dict[str, object]]:
    """Return the choice of each model: of the nearly best scores, the fastest step."""
    known = table.dropna(subset="score")
    lowest = known.groupby("model")["score"].transform("min")
    near = known[known["score"] <= NEAR * lowest]
    best = near.sort_values("seconds_per_step", kind="stable")
    return {
        str(row["model"]): {
            "weights": str(row["weights"]),
            "optimizer": str(row["optimizer"]),
            "start_lr": float(row["start_lr"]),
            "score": round(float(row["score"]), 3),
            "steps": int(row["steps"]),
        }
        for row in best.drop_duplicates("model").sort_values("model").to_dict("records")
    }
