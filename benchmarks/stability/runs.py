# SPDX-License-Identifier: LGPL-3.0-or-later
"""The runs: crystals under conditions, one folder and one record each."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from benchmarks.stability.structures import build, compressed
from spin_dp.demo.side_by_side import side_by_side
from spin_dp.demo.watched import Outcome, run_watched
from spin_dp.files import file_digest, write_text
from spin_dp.lammps_interface import MDSettings
from spin_dp.stages import Reporter, Stage, run_stages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from spin_dp.lammps_interface.settings import Ensemble

RECORD = "outcome.json"
_TRAJECTORY_PS = 1.0


@dataclass(frozen=True)
class Condition:
    """Under what a crystal runs.

    Attributes
    ----------
    ensemble, temperature
        As in :class:`spin_dp.lammps_interface.MDSettings`; K.
    squeezed
        Share of the volume that the start is smaller by.
    """

    ensemble: Ensemble
    temperature: float
    squeezed: float = 0.0

    @property
    def name(self) -> str:
        """``nvt-300``, ``nvt-300-squeezed``."""
        return f"{self.ensemble}-{self.temperature:g}" + "-squeezed" * bool(
            self.squeezed
        )


CONDITIONS: Mapping[str, Condition] = {
    condition.name: condition
    for condition in (
        *(Condition("nvt", kelvin) for kelvin in (300.0, 600.0, 1000.0, 1500.0)),
        Condition("nvt", 300.0, squeezed=0.15),
        *(Condition("nve", kelvin) for kelvin in (300.0, 600.0)),
    )
}
"""All conditions by name, in the order of the table."""


@dataclass(frozen=True)
class Run:
    """One crystal under one condition.

    Attributes
    ----------
    model
        Model file, in its fast form.
    structure, size
        As for :func:`benchmarks.stability.structures.build`.
    condition
        Under what it runs.
    ps
        Length, ps.
    seed
        Of the velocities.
    """

    model: Path
    structure: str
    size: str
    condition: Condition
    ps: float
    seed: int = 1

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return f"{self.model.stem}/{self.structure}-{self.condition.name}"

    def settings(self) -> MDSettings:
        """Return the settings of the MD: steps of 1 fs, a frame every ps."""
        steps = max(1, round(1000 * self.ps))
        return MDSettings(
            ensemble=self.condition.ensemble,
            temperature=self.condition.temperature,
            steps=steps,
            timestep=1.0,
            seed=self.seed,
            dump_every=round(1000 * _TRAJECTORY_PS),
            restart_every=min(steps, 5000),
        )


def run_one(
    run: Run, folder: Path, progress: Callable[[int, int, float], None] | None = None
) -> Outcome:
    """Run MD in a folder, or go on with it; see :func:`run_watched`."""
    atoms = build(run.structure, run.size)
    if run.condition.squeezed:
        atoms = compressed(atoms, run.condition.squeezed)
    return run_watched(atoms, run.model, folder, run.settings(), progress=progress)


def run_all(
    runs: Sequence[Run],
    out: Path,
    *,
    jobs: int,
    progress: Callable[[str, int, int], None],
    on_done: Callable[[], object],
) -> None:
    """Run what is not finished, some at the same time.

    Each run is a stage in a folder of its own, so that other runs can be added later.

    Parameters
    ----------
    runs
        What to run.
    out
        Output folder.
    jobs
        How many at the same time, one thread each.
    progress
        Called with the name of a run, its step and the number of steps.
    on_done
        Called after each.
    """

    def do(run: Run, check: Callable[[], None]) -> None:
        folder = out / "runs" / run.folder
        folder.mkdir(parents=True, exist_ok=True)

        def show(step: int, total: int, _kelvin: float) -> None:
            check()
            progress(run.folder, min(step, total - 1), total)

        def move(_: Reporter) -> None:
            outcome = run_one(run, folder / "md", show)
            write_text(folder / RECORD, json.dumps(outcome.record(), indent=2) + "\n")

        stage = Stage(
            name="md",
            title=run.folder,
            run=move,
            products=[folder / RECORD],
            settings={
                "model": file_digest(run.model),
                "size": run.size,
                "condition": asdict(run.condition),
                **asdict(run.settings()),
            },
            clears=[folder / "md", folder / RECORD],
        )
        run_stages(folder, [stage], Reporter())
        steps = run.settings().steps
        progress(run.folder, steps, steps)

    side_by_side(do, runs, jobs, on_done=on_done)


def read_outcome(run: Run, out: Path) -> Outcome | None:
    """Return what became of a run; None while it is not finished."""
    path = out / "runs" / run.folder / RECORD
    return Outcome(**json.loads(path.read_text())) if path.is_file() else None
