# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp select``: a smaller training set from a collected one."""

from __future__ import annotations

from math import isfinite
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from spin_dp.cli.display import progress_bar
from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from spin_dp.data_tools.selection.select import SelectionReport


def select(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder written by spin-dp collect.",
            show_default=False,
        ),
    ],
    number: Annotated[
        str,
        typer.Option(
            "-n",
            "--number",
            metavar="N",
            help="Training frames to choose, e.g. 200, or their share, e.g. 0.3.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Output folder.", show_default=False
        ),
    ],
    method: Annotated[
        str,
        typer.Option(
            metavar="METHOD",
            help="stratified: as many of each spin state; farthest: in proportion to "
            "the compositions (both take frames that lie far apart); or random.",
        ),
    ] = "stratified",
    seed: Annotated[int, typer.Option(help="Seed of the method random.")] = 0,
    per_state_minimum: Annotated[
        int,
        typer.Option(
            "--per-state-minimum",
            metavar="K",
            help="Frames to choose of every spin state before any others.",
        ),
    ] = 0,
) -> None:
    """Choose training frames that cover a collected data set; copy validation."""
    from spin_dp.data_tools.selection.select import select_frames

    with progress_bar("comparing frames") as update:
        report = select_frames(
            data,
            output,
            _number(number),
            method=method,
            seed=seed,
            per_state_minimum=per_state_minimum,
            progress=lambda done, count: update(completed=done, total=count),
        )
    _print_report(report, method)


def _number(text: str) -> float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise ConfigError(f"expected a number of frames or a share as -n, got {text!r}")


def _print_report(report: SelectionReport, method: str) -> None:
    from rich.console import Console

    from spin_dp.data_tools.systems.system import TRAINING, find_systems

    console = Console()
    console.print(_state_table(report))
    console.print(_total_table(report))
    n_systems = len(find_systems(report.out / TRAINING))
    print(
        f"chose {report.n_chosen} of {report.n_available} training frames ({method}) "
        f"in {n_systems} systems under {report.out}"
    )
    if isfinite(report.mean_distance):
        print(
            "distance of a frame left out to the nearest chosen one: "
            f"mean {report.mean_distance:.2f}, largest {report.largest_distance:.2f}"
        )


def _state_table(report: SelectionReport) -> Table:
    from rich.markup import escape
    from rich.table import Table

    several = report.table["level"].nunique() > 1
    table = Table(
        title="training frames before and after",
        caption="energies above the lowest frame of formula and level",
    )
    for column in ("formula", *(["level"] if several else []), "spin state"):
        table.add_column(column, overflow="fold")
    for column in ("frames", "chosen", "meV/atom", "of the chosen"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in report.table.to_dict(orient="records"):
        energies = (
            _range([row["lowest_energy_before"], row["highest_energy_before"]], 0),
            _range([row["lowest_energy_after"], row["highest_energy_after"]], 0),
        )
        table.add_row(
            str(row["formula"]),
            *([str(row["level"])] if several else []),
            escape(str(row["key"])),
            str(row["frames_before"]),
            str(row["frames_after"]),
            *energies,
        )
    return table


def _total_table(report: SelectionReport) -> Table:
    from rich.table import Table

    table = Table("", "before", "after")
    before, after = (
        (report.table[f"frames_{when}"] > 0).sum() for when in ("before", "after")
    )
    table.add_row("spin states", str(before), str(after))
    for quantity, unit, digits in (
        ("energy", "meV/atom", 0),
        ("force", "eV/Å, largest of a frame", 2),
        ("volume", "Å³/atom", 2),
    ):
        ranges = (report.totals(when)[quantity] for when in ("before", "after"))
        table.add_row(f"{quantity}, {unit}", *(_range(r, digits) for r in ranges))
    return table


def _range(ends: Sequence[float], digits: int) -> str:
    texts = dict.fromkeys(f"{end:.{digits}f}" for end in ends if isfinite(end))
    return " to ".join(texts)
