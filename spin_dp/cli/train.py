# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp train``: stock ``dp --pt train`` with errors by spin state."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from spin_dp.cli.display import progress_bar
from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from spin_dp.evaluation.validation import TrainingResult


def train(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Folder with input.json, e.g. of spin-dp init, or the input itself.",
            show_default=False,
        ),
    ],
    finetune: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Start from this checkpoint, frozen model or shipped one (lixmo2), of "
            "nets as wide; its elements may be others. A folder of spin-dp init --like "
            "does so by itself.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Result of collect whose validation frames are told apart by spin "
            "state; what spin-dp init was given if left out.",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, metavar="N", help="Threads of dp; 1 for small nets.")
    ] = 1,
    go_on: Annotated[
        bool,
        typer.Option(
            "--continue",
            help="Go on from the newest checkpoint although input.json was changed, "
            "e.g. with more steps.",
        ),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Remove older checkpoints and start over.")
    ] = False,
) -> None:
    """Train with dp --pt and freeze to model.pth; the same command resumes.

    Each checkpoint runs over all validation frames while the training goes on:
    lcurve_states.csv, beside dp's lcurve.out, has its energy RMSE (meV/atom), force
    RMSE (meV/Å), error of the energy difference of two spin states (meV per cell) and
    share of pairs of states in the right order, for all frames and for each spin
    state; lcurve.png shows them. Examples:

    spin-dp train run

    spin-dp train new --finetune run/model.pth
    """
    import logging

    from spin_dp.evaluation.validation import find_validation, train_with_states
    from spin_dp.training import INPUT

    logging.getLogger("deepmd").setLevel(logging.ERROR)  # hints cut the bar
    path = run / INPUT if run.is_dir() else run
    if not path.is_file():
        raise ConfigError(f"{path}: no such input; write one with spin-dp init {run}.")
    frames = find_validation(path, data)
    with progress_bar("starting dp") as update:

        def show(step: int, total: int, errors: dict[str, float]) -> None:
            note = f"step {step}/{total}"
            if errors:
                note += (
                    f"  {errors['energy']:.0f} meV/atom  {errors['force']:.0f} meV/Å"
                )
            update(description=note, completed=step, total=total)

        result = train_with_states(
            path,
            frames,
            finetune=finetune,
            resume=not fresh,
            accept_changes=go_on,
            threads=threads,
            progress=show,
        )
    _print_result(result)


def _print_result(result: TrainingResult) -> None:
    from spin_dp.evaluation.validation import STATES_CURVE

    print(f"{result.model}: frozen; {result.plot}: learning curves")
    if result.states.empty:
        print(
            "no validation frames of known spin states, so no "
            f"{STATES_CURVE}: collect with --validation, or name a folder with --data"
        )
        return
    from rich.console import Console

    from spin_dp.cli.display import score_table

    last = result.states[result.states["step"] == result.states["step"].max()]
    step = int(last["step"].iloc[0])
    Console().print(score_table(last, title=f"validation frames, step {step}"))
    print(f"all checkpoints are in {result.plot.parent / STATES_CURVE}")
