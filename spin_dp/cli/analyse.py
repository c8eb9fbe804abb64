# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp analyse``: what a run shows, by spin state."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from spin_dp.cli.display import progress_bar

if TYPE_CHECKING:
    import pandas as pd


def analyse(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Output folder of spin-dp md, or a trajectory in extended XYZ.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Where tables, picture and page go; RUN/analysis if left out.",
            show_default=False,
        ),
    ] = None,
    skip: Annotated[
        float, typer.Option(metavar="PS", min=0.0, help="Left out at the start, ps.")
    ] = 0.0,
) -> None:
    """Write what a run shows: states, bonds, moments and neighbours by spin state.

    Tables, a picture and one page: sites in each state against time, Jahn-Teller
    distortion, moments, cell, distances, and who sits beside lithium vacancies.
    Frames are read one at a time. Example:

    spin-dp analyse md --skip 2
    """
    from spin_dp.dynamics.analysis import analyse as look_at
    from spin_dp.dynamics.analysis_page import write_page

    folder = output or (run if run.is_dir() else run.parent) / "analysis"
    with progress_bar(f"reading {run.name}") as update:
        found = look_at(
            run, skip_ps=skip, progress=lambda number: update(completed=number)
        )
    found.write(folder)
    page = write_page(found, folder, run.name)
    _print(found.states, len(found.frames))
    print(f"page:   {page}")
    print(f"tables: {folder}")


def _print(states: pd.DataFrame, frames: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{frames} frames")
    table.add_column("state")
    columns = {
        "sites": ("sites", 1),
        "bond": ("bond, Å", 3),
        "stretch": ("long/short", 3),
        "moment": ("moment, μB", 2),
        "mobile": ("alkali near", 2),
    }
    for head, _ in columns.values():
        table.add_column(head, justify="right")
    for row in states.to_dict(orient="records"):
        cells = [f"{row[name]:.{form}f}" for name, (_, form) in columns.items()]
        table.add_row(str(row["state"]), *cells)
    Console().print(table)
