# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which model of the ensemble answers: the one whose MD holds where it is hardest.

Models that differ in nothing but their seeds err alike on frames, and yet some of them
let crystals fall apart where others do not.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from benchmarks.stability.results import run_grid
from benchmarks.stability.structures import STRUCTURES
from examples.base_model.frames import HOT, predicted_frames
from spin_dp import evaluation
from spin_dp.demo.watched import fast_form
from spin_dp.files import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

HARD = ("nvt-1500", "nvt-300-squeezed")
"""Conditions of ``benchmarks/stability`` under which models tell themselves apart."""
WATCHED_PS = 5.0
CHOICE = "choice.json"


@dataclass(frozen=True)
class Candidate:
    """A model that could answer.

    Attributes
    ----------
    seed
        Of its weights.
    held, runs
        Runs whose crystal holds, and all.
    force
        RMSE of the forces of held-out frames of MD, meV/Å.
    """

    seed: int
    held: int
    runs: int
    force: float


def choose(
    models: Mapping[int, Path],
    data: Path,
    out: Path,
    *,
    jobs: int,
    progress: Callable[[str, int, int], None],
    crystals: Sequence[str] = tuple(STRUCTURES),
    size: str = "full",
    ps: float = WATCHED_PS,
) -> None:
    """Run MD of all crystals with each model and write which one answers.

    Goes on where it was stopped. Writes ``choice.json``, candidates in the order of
    :func:`ranked`, and the results of the runs.

    Parameters
    ----------
    models
        Frozen model of each seed.
    data
        Result of ``spin-dp collect`` that they were trained on.
    out
        Where it works.
    jobs
        Runs at the same time.
    progress
        Called with the name of a run, its step and the number of steps.
    crystals, size, ps
        Names and size of ``benchmarks/stability``; length of a run, ps.
    """
    files = out / "models"
    files.mkdir(parents=True, exist_ok=True)
    fast: dict[int, Path] = {}
    for seed, model in models.items():
        named = files / f"seed-{seed}{model.suffix}"
        shutil.copy(model, named)
        fast[seed] = fast_form(named, files)
    table = run_grid(
        list(fast.values()),
        out,
        crystals=crystals,
        conditions=HARD,
        size=size,
        ps=ps,
        jobs=jobs,
        progress=progress,
    )
    frames = predicted_frames(data, {file.stem: models[s] for s, file in fast.items()})
    hot = frames[frames["kind"] == HOT]
    candidates = []
    for seed, file in fast.items():
        broken = table.loc[table["model"] == file.stem, "broken_ps"]
        candidates.append(
            Candidate(
                seed=seed,
                held=int(broken.isna().sum()),
                runs=len(broken),
                force=float(evaluation.score(hot, file.stem).force),
            )
        )
    rows = [asdict(candidate) for candidate in ranked(candidates)]
    write_text(out / CHOICE, json.dumps(rows, indent=1) + "\n")


def ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the models, the one that answers first.

    More runs that hold go before smaller errors: MD is what the model is for. The
    errors are those of held-out frames, which flatters the first one there a little.
    """
    return sorted(candidates, key=lambda one: (-one.held, one.force, one.seed))


def read_choice(out: Path) -> list[Candidate]:
    """Return what :func:`choose` wrote."""
    return [Candidate(**row) for row in json.loads((out / CHOICE).read_text())]
