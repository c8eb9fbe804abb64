# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp report``: what a collected data set holds, and why its residuals band."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from spin_dp.cli.display import progress_bar, state_table

if TYPE_CHECKING:
    from rich.console import Console

    from spin_dp.report import Report

_MOST_ROWS = 40


def report(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Data set that spin-dp collect wrote.",
            show_default=False,
        ),
    ],
    models: Annotated[
        list[Path] | None,
        typer.Option(
            "-m",
            "--model",
            metavar="MODEL",
            help="Frozen model, with or without spin, whose residuals are diagnosed; "
            "repeat it for more.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The page; DIR/report.html if left out.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the permutation tests.")] = 0,
) -> None:
    """Write one page on a data set and on models: states, gaps, bands, errors."""
    from rich.console import Console

    from spin_dp.report import write_report

    with progress_bar("reading") as update:

        def show(what: str, number: int, count: int) -> None:
            update(description=what, completed=number, total=count)

        written = write_report(data, output, models or (), seed=seed, progress=show)
    _print_report(written, Console())


def _print_report(report: Report, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    overview = Table(title="data set", show_header=False)
    for name, value in report.summary:
        overview.add_row(name, value)
    console.print(overview)
    table = state_table(
        report.keys.head(_MOST_ROWS),
        title="frames by spin state",
        caption="energies above the lowest frame of formula and level",
        with_level=True,
    )
    console.print(table)
    if len(report.keys) > _MOST_ROWS:
        console.print(
            f"{len(report.keys) - _MOST_ROWS} more spin states: see the page."
        )
    for text in report.warnings:
        console.print(f"[yellow]![/] {escape(text)}", highlight=False)
    for text in report.verdicts:
        console.print(f"[bold]=>[/] {escape(text)}", highlight=False)
    print(f"page: {report.path}")
