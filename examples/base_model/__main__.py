# SPDX-License-Identifier: LGPL-3.0-or-later
"""``python -m examples.base_model VERB``: the base model from the shipped frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from benchmarks.stability.results import by_condition
from examples.base_model.build import BaseModelSettings, Build, write_record
from examples.base_model.numbers import make_numbers
from examples.base_model.study import study
from spin_dp.cli.display import stage_bars
from spin_dp.pretrained import RECORD

TARGET = Path(__file__).resolve().parents[2] / "spin_dp" / "pretrained" / "lixmo2"
DEFAULTS = BaseModelSettings()

app = typer.Typer(no_args_is_help=True)
app.command()(study)


@app.command()
def build(
    frames: Annotated[list[Path], typer.Argument(help="Folders with frames.")],
    out: Annotated[
        Path, typer.Option("-o", "--output", help="Where it works; goes on there.")
    ],
    size: Annotated[str, typer.Option(help="Widths of the nets.")] = DEFAULTS.size,
    steps: Annotated[int, typer.Option(help="Training steps.")] = DEFAULTS.steps,
    together: Annotated[
        int, typer.Option(help="Models trained at the same time.")
    ] = DEFAULTS.together,
    target: Annotated[Path, typer.Option(help="Folder of the shipped model.")] = TARGET,
) -> None:
    """Collect, train four models, test them, write weights, record and card."""
    settings = BaseModelSettings(size=size, steps=steps, together=together)
    with stage_bars() as reporter:
        Build(frames, out, target, settings).run(reporter)


@app.command()
def numbers(
    frames: Annotated[Path, typer.Argument(help="Folder with frames.")],
    out: Annotated[
        Path, typer.Option("-o", "--output", help="Where it works; goes on there.")
    ],
    gpaw_python: Annotated[
        str, typer.Option(help="Python that has GPAW, for pages that need DFT.")
    ] = "",
    only: Annotated[
        str, typer.Option(help="Names of pages, with commas; all if left out.")
    ] = "",
) -> None:
    """Make the tables anew of all pages that speak of the shipped model."""
    with stage_bars() as reporter:
        make_numbers(
            frames, out, TARGET, gpaw_python=gpaw_python, only=only, reporter=reporter
        )


@app.command()
def card(
    stability: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="results.csv of benchmarks/stability."),
    ] = None,
    target: Annotated[Path, typer.Option(help="Folder of the shipped model.")] = TARGET,
) -> None:
    """Write the card anew from the record."""
    record = json.loads((target / RECORD).read_text(encoding="utf-8"))
    if stability is not None:
        table = by_condition(pd.read_csv(stability))
        record["stability"] = table.to_dict(orient="records")
    write_record(target, record)


app()
