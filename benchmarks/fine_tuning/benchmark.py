# SPDX-License-Identifier: LGPL-3.0-or-later
"""A base model that never saw some compositions learns them from a few frames.

What is learnt are cells of NMC111, of the spinel and with Li/M anti-sites; the base
model is trained on all other frames. Half of the geometries to be learnt are held out.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pandas as pd

from spin_dp import evaluation
from spin_dp.data_tools import Rules, collect, select_frames
from spin_dp.data_tools.collection.collected import open_collected
from spin_dp.files import write_text
from spin_dp.training import MODEL, TrainingSettings, train
from spin_dp.training.folder import make_training_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NEW = ("NMC111", "LNMO", "antisite")
"""How the names of the files begin whose frames are to be learnt."""

TYPE_MAP = ("Li", "Mn", "Co", "Ni", "O")
NUMBERS = (2, 5, 10, 20)
FROM_BASE, FROM_NOTHING = "fine-tuned", "from nothing"


@dataclass(frozen=True)
class Plan:
    """Steps of the base model and of each other training; draws of the frames."""

    base_steps: int = 3000
    steps: int = 1000
    seeds: tuple[int, ...] = (1,)


def run(
    sources: Sequence[Path],
    out: Path,
    plan: Plan,
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Train all models that are not trained yet and return their errors.

    Parameters
    ----------
    sources
        Folders with frames.
    out
        Where it works; goes on there.
    plan
        What is trained.
    say
        Told what is done.

    Returns
    -------
    pandas.DataFrame
        One row a model: ``start``, ``frames``, ``seed`` and the errors on the held-out
        geometries, in the units of :class:`spin_dp.evaluation.Scores`.
    """
    out.mkdir(parents=True, exist_ok=True)
    note = out / "plan.json"
    text = json.dumps(asdict(plan))
    if note.is_file() and note.read_text() != text:
        raise SystemExit(f"{out}: was begun with {note.read_text()}, not {text}")
    write_text(note, text)
    files = sorted(file for folder in sources for file in folder.rglob("*.extxyz"))
    is_new = {file: file.stem.startswith(NEW) for file in files}
    known = _collected([f for f in files if not is_new[f]], out / "known", 0.1)
    new = _collected([f for f in files if is_new[f]], out / "new", 0.5)
    base = _trained(known, out / "base", plan.base_steps, 1, None, say)
    rows = [
        {"start": "base model as it is", "frames": 0, "seed": 1, **_errors(base, new)}
    ]
    for seed in plan.seeds:
        for number in NUMBERS:
            chosen = out / f"{number}-{seed}"
            if not (chosen / "manifest.csv").is_file():
                select_frames(new, chosen, number, method="random", seed=seed)
            for start, like in ((FROM_BASE, base), (FROM_NOTHING, None)):
                folder = out / f"{number}-{seed}-{start.replace(' ', '-')}"
                model = _trained(chosen, folder, plan.steps, seed, like, say)
                row = {"start": start, "frames": number, "seed": seed}
                rows.append({**row, **_errors(model, new)})
                pd.DataFrame(rows).to_csv(out / "results.csv", index=False)
    return pd.DataFrame(rows)


def _collected(files: Sequence[Path], out: Path, held_out: float) -> Path:
    if not (out / "manifest.csv").is_file():
        rules = Rules(validation=held_out, stationary_moments=True)
        collect(list(files), out, type_map=TYPE_MAP, rules=rules)
    return out


def _trained(
    data: Path,
    folder: Path,
    steps: int,
    seed: int,
    like: Path | None,
    say: Callable[[str], None],
) -> Path:
    if not (folder / MODEL).is_file():
        say(f"training {folder.name}, {steps} steps")
        settings = TrainingSettings(seed=seed)
        made = make_training_folder(
            data, folder, settings=settings, steps=steps, like=like, force=True
        )
        train(made.input_json)
    return folder / MODEL


def _errors(model: Path, data: Path) -> dict[str, float]:
    systems = evaluation.read_systems(data, "validation")
    manifest = open_collected(data).manifest
    scores = evaluation.score(
        evaluation.evaluate({"model": model}, systems, manifest), "model"
    )
    return {
        name: getattr(scores, name) for name in ("energy", "force", "gap", "moment")
    }


def markdown(results: pd.DataFrame) -> str:
    """Return means over the draws as a table."""
    names = {"energy": "meV/atom", "force": "meV/Å", "gap": "gap, meV per cell"}
    means = results.groupby(["frames", "start"], sort=True)[list(names)].mean()
    lines = [
        f"| frames | start | {' | '.join(names.values())} |",
        "|---:|---|---:|---:|---:|",
    ]
    lines += [
        f"| {frames} | {start} | {row.energy:.1f} | {row.force:.0f} | {row.gap:.0f} |"
        for (frames, start), row in zip(means.index, means.itertuples(), strict=True)
    ]
    return "\n".join(lines)
