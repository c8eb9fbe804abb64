# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which trainings there are, and how long each of them is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from benchmarks.accuracy.dp import Progress, Training, run_all
from benchmarks.accuracy.inputs import Choice, choice_of, write_training
from benchmarks.accuracy.models import MODELS, OURS
from spin_dp.errors import BackendError, ConfigError
from spin_dp.files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.accuracy.data import Dataset
    from benchmarks.accuracy.model import Model

TIMING_STEPS, TIMING_SHOWN = 200, 20
"""Steps of a training for its time, and those between two lines of its curve."""

PLAN, TIMES = "plan.json", "times.json"


@dataclass(frozen=True)
class Run:
    """A model trained to one budget, ``steps`` or ``time``; seed of split and weights.

    A model may have the same run for both budgets; it is one training then.
    """

    budget: str
    seed: int
    model: str
    steps: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.model}-seed{self.seed}-{self.steps}"


def make_plan(
    models: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    times: Mapping[str, float],
) -> list[Run]:
    """Return all runs: at equal steps, then as many as fit into the time of ours.

    ``times`` has the seconds a step of each model.
    """
    affordable = {m: max(1, round(steps * times[OURS] / times[m])) for m in models}
    equal = [Run("steps", seed, name, steps) for seed in seeds for name in models]
    timed = [Run("time", s, name, affordable[name]) for s in seeds for name in models]
    return equal + timed


def update_plan(out: Path, steps: int, plan: Sequence[Run]) -> None:
    """Add runs to the plan of a folder; ConfigError if it has other equal steps."""
    path = out / PLAN
    known = read_plan(out) if path.is_file() else []
    before = {run.steps for run in known if run.budget == "steps"} - {steps}
    if before:
        raise ConfigError(
            f"{out}: made with {before.pop()} steps, now {steps}; give another folder "
            "with -o, or the same --steps."
        )
    rows = [asdict(run) for run in dict.fromkeys([*known, *plan])]
    write_text(path, json.dumps(rows, indent=1) + "\n")


def read_plan(out: Path) -> list[Run]:
    """Return the runs planned in an output folder; ConfigError if there are none."""
    path = out / PLAN
    if not path.is_file():
        raise ConfigError(f"{out}: no {PLAN}; make one with `run -o {out}`.")
    return [Run(**row) for row in json.loads(path.read_text())]


def read_times(out: Path) -> dict[str, float]:
    """Return the seconds a step of the models that were timed in a folder."""
    path = out / TIMES
    times: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    return times


def measure_times(
    models: Sequence[Model],
    data: Dataset,
    out: Path,
    *,
    tuned: Mapping[str, Choice],
    progress: Progress,
) -> dict[str, float]:
    """Return the seconds a step by model, ours besides, one short training at a time.

    What was measured before counts, so that a run that goes on keeps its plan.
    """
    times = read_times(out)
    for name in dict.fromkeys([OURS, *(model.name for model in models)]):
        if name in times:
            continue
        training = plan_training(
            out / "timing" / name,
            MODELS[name],
            data,
            steps=TIMING_STEPS,
            seed=0,
            choice=choice_of(MODELS[name], tuned),
            save=False,
        )
        failed = run_all([training], jobs=1, progress=progress)
        if failed:
            raise BackendError(failed[name])
        times[name] = training.seconds_per_step()
        write_text(out / TIMES, json.dumps(times, indent=1) + "\n")
    return times


def plan_training(
    folder: Path,
    model: Model,
    data: Dataset,
    *,
    steps: int,
    seed: int,
    choice: Choice,
    save: bool = True,
) -> Training:
    """Write the input of a training and return it; ``save``: checkpoints on the way."""
    folder.mkdir(parents=True, exist_ok=True)
    timing = {"save_freq": steps, "disp_freq": TIMING_SHOWN}
    write_training(
        folder / "input.json",
        model,
        data.training(model),
        steps=steps,
        seed=seed,
        choice=choice,
        changes={} if save else {"training": timing},
    )
    return Training(folder, model.backend)
