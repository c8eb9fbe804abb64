# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp collect``: calculation outputs to deepmd-kit systems by spin state."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from spin_dp.data_tools import CollectReport


def collect(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="Files or folders: *.extxyz, *.xyz, OUTCAR*, each also .gz.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Output folder.", show_default=False
        ),
    ],
    validation: Annotated[
        float,
        typer.Option(
            metavar="FRACTION",
            help="Share of the geometries of each composition kept for validation; the "
            "one with the largest force stays in training.",
        ),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the validation draw.")] = 0,
    type_map: Annotated[
        str | None,
        typer.Option(
            metavar="Li,O,...",
            help="Elements in type order; all elements found if left out.",
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Level of theory of frames that do not record one."
        ),
    ] = None,
    stationary_moments: Annotated[
        bool,
        typer.Option(
            "--stationary-moments",
            help="Label frames with free moments with zero magnetic forces.",
        ),
    ] = False,
) -> None:
    """Read DFT outputs, sort frames by spin state, write deepmd-kit systems."""
    from rich.console import Console
    from rich.progress import Progress

    from spin_dp.data_tools import collect as run

    elements = None
    if type_map is not None:
        elements = [word.strip() for word in type_map.split(",") if word.strip()]
    console = Console(stderr=True)
    with Progress(
        console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("reading", total=None)

        def show(path: Path, number: int, count: int) -> None:
            bar.update(task, total=count, completed=number, description=path.name)

        report = run(
            sources,
            output,
            type_map=elements,
            validation=validation,
            seed=seed,
            level=level,
            stationary_moments=stationary_moments,
            progress=show,
        )
    _print_report(report)


def _print_report(report: CollectReport) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(
        title="frames by spin state",
        caption="energies above the lowest frame of formula and level",
    )
    for column in ("formula", "level", "spin state"):
        table.add_column(column, overflow="fold")
    for column in ("train", "valid", "meV/atom"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in report.table.itertuples(index=False):
        energies = {f"{row.lowest:.0f}", f"{row.highest:.0f}"}
        table.add_row(
            str(row.formula),
            str(row.level),
            escape(str(row.key)),
            str(row.training),
            str(row.validation),
            " to ".join(sorted(energies, key=float)),
        )
    console.print(table)
    if report.reasons:
        quarantine = Table("quarantined", "reason")
        quarantine.columns[0].justify = "right"
        for reason, count in report.reasons.items():
            quarantine.add_row(str(count), escape(reason))
        console.print(quarantine)
    n_systems = len(report.training) + len(report.validation)
    print(
        f"kept {report.n_kept} of {report.n_read} frames from {report.n_files} files "
        f"in {n_systems} systems under {report.out}; every frame read is in "
        f"{report.manifest}"
    )
