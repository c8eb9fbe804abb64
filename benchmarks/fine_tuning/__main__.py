# SPDX-License-Identifier: LGPL-3.0-or-later
"""``python -m benchmarks.fine_tuning FRAMES... -o DIR``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer

from benchmarks.fine_tuning.benchmark import Plan, markdown, run

DEFAULTS = Plan()


def main(
    frames: Annotated[list[Path], typer.Argument(help="Folders with frames.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Goes on there.")],
    base_steps: int = DEFAULTS.base_steps,
    steps: int = DEFAULTS.steps,
    draws: Annotated[int, typer.Option(help="Draws of the frames.")] = 1,
) -> None:
    """Train the base model and those of a few frames; print the table."""
    plan = Plan(base_steps, steps, tuple(range(1, draws + 1)))
    print(markdown(run(frames, out, plan)))


typer.run(main)
