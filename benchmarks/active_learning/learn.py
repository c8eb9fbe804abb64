# SPDX-License-Identifier: LGPL-3.0-or-later
"""The benchmark: teacher, pool, then rounds of choosing, labelling and training."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pandas as pd

from benchmarks.active_learning.students import deviations, errors, train_ensemble
from benchmarks.active_learning.teacher import (
    collect_examples,
    label,
    read_runs,
    run_all_md,
    train_teacher,
)
from spin_dp.campaign.candidate import Candidate
from spin_dp.campaign.choice import choose
from spin_dp.deployment.compile import compile_model
from spin_dp.errors import DataError
from spin_dp.files import file_digest, replacing, write_text
from spin_dp.model_file import read_model_info
from spin_dp.stages import Reporter, Stage, prepare_folder, run_stages

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ase import Atoms

    from benchmarks.active_learning.plan import Plan

RESULTS = "results.csv"
_TEST = "test-"


class Benchmark:
    """The folder of the benchmark; the same call goes on after an interruption."""

    def __init__(
        self,
        examples: Path,
        out: Path,
        plan: Plan,
        *,
        jobs: int,
        teacher: Path | None = None,
    ) -> None:
        self.examples, self.out, self.plan, self.jobs = examples, out, plan, jobs
        self.given_teacher = teacher
        self.fast = out / "teacher" / "model.pt2"
        self.model = out / "teacher" / "model.pth"
        self.pool_file, self.test_file = out / "pool.extxyz", out / "test.extxyz"

    def prepare(self, reporter: Reporter) -> None:
        """Make teacher, pool and test frames."""
        prepare_folder(self.out)
        plan = asdict(self.plan)
        names = (
            *("systems", "states", "pool_temperatures", "test_temperature"),
            *("steps", "timestep", "every", "rattled", "amplitude"),
        )
        given = None if self.given_teacher is None else file_digest(self.given_teacher)
        run_stages(
            self.out,
            [
                Stage(
                    name="teacher",
                    title="Train the teacher",
                    settings={**plan["teacher"], "given": given},
                    products=[self.model, self.fast],
                    run=lambda _: self._train_teacher(),
                ),
                Stage(
                    name="pool",
                    title="Run the teacher's MD and label its frames",
                    settings={name: plan[name] for name in names},
                    products=[self.pool_file, self.test_file],
                    clears=[self.out / "md", self.out / "runs"],
                    run=lambda _: self._make_pool(),
                ),
            ],
            reporter,
        )

    def _train_teacher(self) -> None:
        collect_examples(self.examples, self.out)
        if self.given_teacher is None:
            train_teacher(self.out, self.plan)
        else:
            self.model.parent.mkdir(exist_ok=True)
            shutil.copy(self.given_teacher, self.model)
        compile_model(self.model, self.fast)

    def _make_pool(self) -> None:
        run_all_md(self.fast, self.out, self.plan, jobs=self.jobs)
        rows, frames = read_runs(self.out, self.plan)
        answers = label(self.fast, frames)
        for row, answer in zip(rows.to_dict(orient="records"), answers, strict=True):
            answer.info |= {**row, "geometry_id": f"{row['run']}-{row['step']}"}
        is_test = rows["run"].str.startswith(_TEST)
        for path, wanted in ((self.pool_file, ~is_test), (self.test_file, is_test)):
            chosen = [answers[i] for i in np.flatnonzero(wanted)]
            with replacing(path) as part:
                ase.io.write(part, chosen, format="extxyz")

    def run(self, seeds: Sequence[int], strategies: Sequence[str]) -> None:
        """Go through all rounds of seeds and strategies."""
        pool, test = read_frames(self.pool_file), read_frames(self.test_file)
        for seed in seeds:
            for strategy in strategies:
                for number in range(self.plan.rounds + 1):
                    self._round(pool, test, seed, strategy, number)
                    write_results(self.out)

    def _folder(self, seed: int, strategy: str, number: int) -> Path:
        # All strategies begin with the same frames, drawn at random.
        name = f"seed{seed}-{strategy if number else 'start'}"
        return self.out / "runs" / name / f"round{number}"

    def _round(
        self,
        pool: Sequence[Atoms],
        test: Sequence[Atoms],
        seed: int,
        strategy: str,
        number: int,
    ) -> None:
        folder = self._folder(seed, strategy, number)
        record = folder / "record.json"
        if record.is_file():
            return
        folder.mkdir(parents=True, exist_ok=True)
        chosen = self._chosen(pool, folder, seed, strategy, number)
        models = train_ensemble(
            [pool[i] for i in chosen],
            folder,
            self.plan.student,
            models=self.plan.models,
            seed=seed,
            jobs=self.jobs,
        )
        rows = errors(models, test)
        content = {"labels": len(chosen), "chosen": chosen, "errors": rows}
        write_text(record, json.dumps(content) + "\n")

    def _chosen(
        self, pool: Sequence[Atoms], folder: Path, seed: int, strategy: str, number: int
    ) -> list[int]:
        """Return the frames of the pool that are labelled in a round."""
        path = folder / "chosen.json"
        if path.is_file():
            found: list[int] = json.loads(path.read_text())
            return found
        rng = np.random.default_rng([seed, number])
        if number == 0:
            chosen = sorted(
                rng.choice(len(pool), self.plan.begin, replace=False).tolist()
            )
        else:
            earlier = self._folder(seed, strategy, number - 1)
            known = json.loads((earlier / "record.json").read_text())["chosen"]
            rest = sorted(set(range(len(pool))) - set(known))
            if strategy == "random":
                new = rng.choice(rest, self.plan.add, replace=False).tolist()
            else:
                new = self._choose(pool, known, rest, earlier, folder, strategy)
            chosen = [*known, *new]
        write_text(path, json.dumps(chosen) + "\n")
        return chosen

    def _choose(
        self,
        pool: Sequence[Atoms],
        known: Sequence[int],
        rest: Sequence[int],
        earlier: Path,
        folder: Path,
        strategy: str,
    ) -> list[int]:
        models = sorted(earlier.glob("student*/model.pth"))
        force, magnetic = deviations(models, [pool[i] for i in rest])
        candidates = [
            Candidate(
                atoms=bare(pool[i], i),
                run=str(pool[i].info["run"]),
                step=int(pool[i].info["step"]),
                temperature=0.0,
                force_deviation=float(force[k]),
                magnetic_deviation=float(magnetic[k]),
                reason="band",
            )
            for k, i in enumerate(rest)
        ]
        found = choose(
            candidates,
            [pool[i] for i in known],
            self.plan.add,
            replace(self.plan.choice, method=strategy),
            catalogue=read_model_info(self.model).catalogue,
        )
        found.table.to_csv(folder / "choice.csv", index=False)
        found.states.to_csv(folder / "states.csv", index=False)
        write_text(folder / "left_out.json", json.dumps(found.left_out) + "\n")
        return [int(c.atoms.info["number"]) for c in found.candidates]


def bare(atoms: Atoms, number: int) -> Atoms:
    """Return a frame of the pool without the teacher's answer."""
    copy = atoms.copy()
    copy.calc = None
    copy.info["number"] = number
    return copy


def read_frames(path: Path) -> list[Atoms]:
    """Return the frames of a file of the pool."""
    frames = ase.io.read(path, index=":")
    if not isinstance(frames, list) or not frames:
        raise DataError(f"{path}: expected frames, found none.")
    return frames


def write_results(out: Path) -> pd.DataFrame:
    """Write ``results.csv`` of all rounds that are finished: a row for each model."""
    rows = list(_rows(sorted((out / "runs").glob("seed*/round*/record.json"))))
    table = pd.DataFrame(rows)
    with replacing(out / RESULTS) as part:
        table.to_csv(part, index=False)
    return table


def _rows(records: Iterable[Path]) -> Iterable[dict[str, object]]:
    for record in records:
        content = json.loads(record.read_text())
        seed, _, strategy = record.parent.parent.name.partition("-")
        for number, found in enumerate(content["errors"]):
            yield {
                "strategy": strategy,
                "seed": int(seed.removeprefix("seed")),
                "round": int(record.parent.name.removeprefix("round")),
                "labels": content["labels"],
                "student": number,
                **{f"{name}_rmse": round(value, 3) for name, value in found.items()},
            }
