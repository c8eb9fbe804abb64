# SPDX-License-Identifier: LGPL-3.0-or-later
"""The whole benchmark: data, times of a step, trainings, LAMMPS, tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.accuracy.data import Dataset, prepare
from benchmarks.accuracy.dp import Progress, Training, run_all
from benchmarks.accuracy.evaluate import FRAMES, RECORD, evaluate_training
from benchmarks.accuracy.inputs import choice_of, read_tuned
from benchmarks.accuracy.lammps import read_speeds, time_files
from benchmarks.accuracy.models import MODELS
from benchmarks.accuracy.plot import plot_accuracy
from benchmarks.accuracy.results import render_table, result_rows
from benchmarks.accuracy.runs import (
    Run,
    make_plan,
    measure_times,
    plan_training,
    read_plan,
    read_times,
    update_plan,
)
from spin_dp.errors import DataError
from spin_dp.files import replacing, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.accuracy.model import Model

RESULTS, TABLE, PICTURE = "results.csv", "table.md", "accuracy.png"


def run_benchmark(
    source: Path,
    out: Path,
    models: Sequence[Model],
    *,
    seeds: Sequence[int],
    steps: int,
    jobs: int,
    progress: Progress,
) -> dict[str, str]:
    """Train and test all models at equal steps and at equal training time.

    What is finished in ``out`` is left alone. Returns the message of each training or
    LAMMPS run that failed, by name.
    """
    tuned = read_tuned()
    data = {s: prepare(source, out / f"data/seed{s}", seed=s) for s in seeds}
    first = data[seeds[0]]
    times = measure_times(models, first, out, tuned=tuned, progress=progress)
    plan = make_plan([model.name for model in models], seeds, steps, times)
    update_plan(out, steps, plan)
    run_of = {run.name: run for run in plan}

    def planned(run: Run) -> Training:
        model = MODELS[run.model]
        return plan_training(
            out / "runs" / run.name,
            model,
            data[run.seed],
            steps=run.steps,
            seed=run.seed,
            choice=choice_of(model, tuned),
        )

    def evaluate(training: Training) -> None:
        run = run_of[training.name]
        evaluate_training(training, MODELS[run.model], data[run.seed].frames)
        write_tables(out)

    trainings = {name: planned(run) for name, run in run_of.items()}
    failed = run_all(
        list(trainings.values()), jobs=jobs, progress=progress, on_done=evaluate
    )
    for model in models:
        training = trainings[Run("steps", seeds[0], model.name, steps).name]
        if training.name not in failed:
            failed |= time_files(model, training, out, progress)
    write_tables(out)
    return failed


def inner_split(source: Path, out: Path) -> Dataset:
    """Return a split of the training part of the first split, for tuning."""
    outer = prepare(source, out / "data/seed0", seed=0)
    return prepare(outer.frames / "training", out / "data/seed0-inner", seed=0)


def write_tables(out: Path) -> None:
    """Write ``results.csv``, ``table.md`` and ``accuracy.png`` of what is finished."""
    rows: list[dict[str, object]] = []
    times = read_times(out)
    for run in read_plan(out):
        folder = out / "runs" / run.name
        if not (folder / FRAMES).is_file():
            continue
        about = {"model": run.model, "seed": run.seed, "budget": run.budget}
        about |= {"steps": run.steps, **json.loads((folder / RECORD).read_text())}
        about["seconds_per_step"] = times[run.model]  # of one training at a time
        rows += result_rows(pd.read_csv(folder / FRAMES), about)
    if not rows:
        raise DataError(f"{out}: no training is finished; go on with `run -o {out}`.")
    results = pd.DataFrame(rows)
    with replacing(out / RESULTS) as part:
        results.to_csv(part, index=False)
    untuned = [name for name in results["model"].unique() if name not in read_tuned()]
    write_text(out / TABLE, render_table(results, read_speeds(out), untuned))
    plot_accuracy(out / PICTURE, results)
