# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp test``: errors of a model on frames with labels, by spin state."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from spin_dp.cli.display import progress_bar, score_table
from spin_dp.cli.ensemble_tables import member_table, spread_table
from spin_dp.errors import ConfigError
from spin_dp.inference.calibration import CALIBRATION_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spin_dp.evaluation.ensemble_test import EnsembleTest
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
        list[Path],
        typer.Option(
            "-m",
            "--model",
            metavar="MODEL",
            help="Frozen model (.pth) or checkpoint (.pt), spin-aware or not, or a "
            "shipped model, lixmo2; repeat it for an ensemble of spin models.",
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
    by_name: Annotated[
        bool,
        typer.Option(
            "--by-name",
            help="Give the model the spin states by name, as MD and states do, instead "
            "of the moments of DFT.",
        ),
    ] = False,
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
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Of an ensemble: write calibration.json, tables and a plot of spread "
            "against error into this folder. In the folder of the first model the "
            "factors are found by all that states a ±.",
            show_default=False,
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Of an ensemble: test the factors of this file on the frames.",
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

    Of several models the errors are those of their mean, and a table says how well
    their spread tells the error:

    spin-dp test -m run1/model.pth -m run2/model.pth data --calibrate run1
    """
    import logging

    from rich.console import Console

    from spin_dp.evaluation.ensemble_test import (
        refuse_training_frames,
        run_ensemble_test,
        write_calibration,
    )
    from spin_dp.evaluation.model_test import run_test

    if calibrate is not None and split is not None:
        refuse_training_frames(data, split.value)  # before the work
    _refuse_single(model, calibrate, calibration)
    logging.getLogger("deepmd").setLevel(logging.ERROR)  # hints cut the bar
    chosen = None if split is None else split.value
    tested: EnsembleTest | None = None
    with progress_bar(f"running {', '.join(path.name for path in model)}") as update:

        def show(done: int, total: int) -> None:
            update(completed=done, total=total)

        if len(model) == 1:
            result = run_test(
                model[0],
                data,
                split=chosen,
                level=level,
                labels=by_name,
                progress=show,
            )
        else:
            tested = run_ensemble_test(
                model,
                data,
                split=chosen,
                level=level,
                calibration=calibration,
                labels=by_name,
                progress=show,
            )
            result = tested.test
    what = "frames" if result.split == "all" else f"{result.split} frames"
    name = str(model[0]) if tested is None else f"mean of {len(model)} models"
    console = Console()
    console.print(score_table(result.table, title=f"{name}: {what} of {data}"))
    if tested is not None:
        console.print(member_table(tested.errors))
        console.print(spread_table(tested.table, is_tested=calibration is not None))
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
    if tested is not None and calibrate is not None:
        factors = write_calibration(tested, calibrate, data)
        print(
            f"calibration: {calibrate / CALIBRATION_FILE}, of {factors.frames} frames "
            f"of {factors.geometries} geometries"
        )


def _refuse_single(
    models: Sequence[Path], calibrate: Path | None, calibration: Path | None
) -> None:
    for option, value in (("calibrate", calibrate), ("calibration", calibration)):
        if value is not None and len(models) == 1:
            raise ConfigError(
                f"--{option}: expected an ensemble, got one model; repeat -m, or train "
                "others with `spin-dp init --seed`."
            )
    if calibrate is not None and calibration is not None:
        raise ConfigError(
            "--calibrate finds factors, --calibration tests given ones; give one of "
            "them."
        )


def _plot(path: Path, result: ModelTest) -> None:
    from spin_dp.evaluation import score
    from spin_dp.evaluation.parity_plot import plot_parity

    frames = result.frames
    plot_parity(path, frames[:0], frames, {result.model: score(frames, result.model)})
