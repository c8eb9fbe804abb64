# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp test``: errors of a model on frames with labels, by spin state."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from spin_dp.cli.display import progress_bar, score_table

if TYPE_CHECKING:
    from spin_dp.evaluation.model_test import ModelTest


class Split(StrEnum):
    """Part of collected data."""

    validation = "validation"
    training = "training"
    all = "all"


def measure(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Result of collect, or any folder with deepmd-kit systems (then the "
            "spin states are unknown).",
            show_default=False,
        ),
    ],
    model: Annotated[
        Path,
        typer.Option(
            "-m",
            "--model",
            metavar="MODEL",
            help="Frozen model (.pth) or checkpoint (.pt), spin-aware or not, or a "
            "shipped model, lixmo2: its first.",
            show_default=False,
        ),
    ],
    split: Annotated[
        Split | None,
        typer.Option(
            help="Which frames of collected data; validation where there is one.",
            show_default=False,
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Level of theory to test on, where the data hold some whose energies "
            "cannot be compared.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="TABLE.csv",
            help="Write the table: RMS errors of energy and virial in meV/atom, of "
            "force in meV/Å, of the gap in meV per cell, of magnetic force in eV/μB "
            "and of moment in μB; order as a share.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="PARITY.png",
            help="Draw predicted against DFT energies, coloured by moment.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the errors of a model on all frames and on those of each spin state.

    The gap is the energy difference of two spin states of one geometry, the order
    which of them is lower: what a spin-blind model cannot know. Virials and magnetic
    forces are compared on frames that have them as labels; where moments were free the
    magnetic force is zero. Examples:

    spin-dp test -m run/model.pth data

    spin-dp test -m run/model.ckpt-3000.pt data --split all -o table.csv --plot p.png
    """
    import logging

    from rich.console import Console

    from spin_dp.evaluation.model_test import run_test

    logging.getLogger("deepmd").setLevel(logging.ERROR)  # hints cut the bar
    with progress_bar(f"running {model.name}") as update:
        result = run_test(
            model,
            data,
            split=None if split is None else split.value,
            level=level,
            progress=lambda done, total: update(completed=done, total=total),
        )
    what = "frames" if result.split == "all" else f"{result.split} frames"
    Console().print(score_table(result.table, title=f"{model}: {what} of {data}"))
    for reason, count in result.left_out.items():
        print(f"left out {count} frames: {reason}")
    if not result.has_states:
        print(f"{data} has no manifest.csv of spin-dp collect: spin states unknown")
    if output is not None:
        from spin_dp.files import replacing

        with replacing(output) as temporary:
            result.table.to_csv(temporary, index=False)
        print(f"table: {output}")
    if plot is not None:
        _plot(plot, result)
        print(f"parity: {plot}")


def _plot(path: Path, result: ModelTest) -> None:
    from spin_dp.evaluation import score
    from spin_dp.evaluation.parity_plot import plot_parity

    frames = result.frames
    plot_parity(path, frames[:0], frames, {result.model: score(frames, result.model)})
