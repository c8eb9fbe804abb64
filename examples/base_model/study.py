# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which nets and how many steps the base model gets: a small study.

``python -m examples.base_model study FRAMES... -o DIR``; goes on where it was stopped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated, Any

import pandas as pd
import typer

from examples.base_model.frames import HOT, RATTLED, collect_frames, predicted_frames
from spin_dp import evaluation
from spin_dp.data_tools.systems.system import TRAINING, VALIDATION
from spin_dp.deployment import deploy
from spin_dp.files import write_text
from spin_dp.training import TrainingSettings, train
from spin_dp.training.folder import SIZES, make_training_folder


@dataclass(frozen=True)
class Variant:
    """One training: size of the nets, steps, and what else differs from ``init``."""

    size: str
    steps: int
    other: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of its folder."""
        words = [f"{key}={value:g}" for key, value in self.other.items()]
        return "-".join([self.size, str(self.steps), *words])


VARIANTS = (
    Variant("small", 10_000),
    Variant("small", 30_000),
    Variant("medium", 5000),
    Variant("medium", 10_000),
)


def run(variant: Variant, data: Path, folder: Path) -> dict[str, object]:
    """Train one variant and return its row of the table."""
    result = folder / "result.json"
    if result.is_file():
        return dict(json.loads(result.read_text()))
    settings = replace(TrainingSettings(), **SIZES[variant.size], **variant.other)
    made = make_training_folder(
        data, folder, settings=settings, steps=variant.steps, force=True
    )
    model = train(made.input_json)
    row: dict[str, object] = {"variant": variant.name}
    for split in (
        VALIDATION,
        TRAINING,
    ):  # learnt ones, too: too small, or too few data?
        frames = predicted_frames(data, {"model": model}, split)
        for kind in (RATTLED, HOT):
            scores = evaluation.score(frames[frames["kind"] == kind], "model")
            row |= {
                f"{split}, {kind}: meV/atom": scores.energy,
                f"{split}, {kind}: meV/Å": scores.force,
                f"{split}, {kind}: gap, meV": scores.gap,
            }
    fastest = deploy(model).timings[0]
    row["MD, μs per atom and step"] = 1e6 * fastest.seconds / 1000
    write_text(result, json.dumps(row, ensure_ascii=False, indent=1) + "\n")
    return row


def study(
    frames: Annotated[list[Path], typer.Argument(help="Folders with frames.")],
    out: Annotated[Path, typer.Option("-o", "--output")],
) -> None:
    """Train all variants, one after another, and print the table."""
    data = out / "data"
    if not data.is_dir():
        collect_frames(frames, data)
    rows = []
    for variant in VARIANTS:
        rows.append(run(variant, data, out / variant.name))
        print(pd.DataFrame(rows).round(1).to_markdown(index=False), flush=True)
