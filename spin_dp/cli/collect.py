# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp collect``: frames in, deepmd systems and a manifest out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from spin_dp.cli.display import progress_bar, state_table
from spin_dp.threads import cores

if TYPE_CHECKING:
    from spin_dp.data_tools import CollectReport

_READING, _STATES, _SPLIT = "What is read", "Spin states and labels", "Validation"
_SPEED = "Speed"


class SplitBy(StrEnum):
    """What is not torn apart by the validation split."""

    geometry = "geometry"
    trajectory = "trajectory"


class Labels(StrEnum):
    """The moments that are written."""

    dft = "dft"
    nominal = "nominal"


class MissingMoments(StrEnum):
    """What to do with sources without moments."""

    reject = "reject"
    zero = "zero"


def collect(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Folders (searched with all subfolders) or files. VASP: OUTCAR*, "
            "alone or with the vasprun.xml of the same run. ASE: *.extxyz, *.xyz, "
            "*.traj, *.gpw. GPAW text output. ABACUS run folders. deepmd-kit systems. "
            "Any of them also .gz. Anything else that dpdata reads with spins: "
            "FORMAT:PATH, e.g. abacus/scf:run1.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Output folder. An earlier result of the same options grows: only new "
            "and changed sources are read, frames keep their side of the split.",
            show_default=False,
        ),
    ],
    level: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Level of theory of frames that do not record one.",
            rich_help_panel=_READING,
        ),
    ] = None,
    missing_moments: Annotated[
        MissingMoments,
        typer.Option(
            help="Frames of spin-blind sources (ISPIN=1, formats without moments): "
            "quarantine them, or take them with all moments zero. Spin-polarised runs "
            "without printed moments are always quarantined.",
            rich_help_panel=_READING,
        ),
    ] = MissingMoments.reject,
    max_force: Annotated[
        float,
        typer.Option(
            metavar="EV_PER_A",
            help="Frames with a larger force are quarantined.",
            rich_help_panel=_READING,
        ),
    ] = 50.0,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Forget sources of earlier runs whose files exist no more.",
            rich_help_panel=_READING,
        ),
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Make an earlier result anew with these options, of the frames "
            "already read; the validation draw starts afresh.",
            rich_help_panel=_READING,
        ),
    ] = False,
    type_map: Annotated[
        str | None,
        typer.Option(
            metavar="Li,O,...",
            help="Elements in type order; all elements found if left out.",
            rich_help_panel=_STATES,
        ),
    ] = None,
    labels: Annotated[
        Labels,
        typer.Option(
            help="Moments to be written: those of DFT, or the mean of each spin state "
            "(with which MD can start without DFT).",
            rich_help_panel=_STATES,
        ),
    ] = Labels.dft,
    stationary_moments: Annotated[
        bool,
        typer.Option(
            "--stationary-moments",
            help="Label frames with free moments with zero magnetic forces: true of "
            "converged calculations without NUPDOWN or the like.",
            rich_help_panel=_STATES,
        ),
    ] = False,
    lowest_solutions: Annotated[
        bool,
        typer.Option(
            "--lowest-solutions",
            help="Of frames with one geometry and one spin-state key keep the lowest "
            "energy: moments do not tell such solutions apart.",
            rich_help_panel=_STATES,
        ),
    ] = False,
    validation: Annotated[
        float,
        typer.Option(
            metavar="FRACTION",
            help="Share of the geometries of each composition kept for validation; the "
            "one with the largest force stays in training.",
            rich_help_panel=_SPLIT,
        ),
    ] = 0.0,
    split_by: Annotated[
        SplitBy,
        typer.Option(
            help="Keep all frames of a geometry, or of a whole trajectory (file), on "
            "one side.",
            rich_help_panel=_SPLIT,
        ),
    ] = SplitBy.geometry,
    hold_out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Geometries for validation whatever is drawn: a file, a pattern of "
            "paths such as 'NMC*/*', or a geometry_id; repeat it.",
            rich_help_panel=_SPLIT,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the draw.", rich_help_panel=_SPLIT)
    ] = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Processes that read; as many as there are cores if left out.",
            rich_help_panel=_SPEED,
            show_default=False,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Read on the workers of this Dask scheduler, which must see the same "
            "files.",
            rich_help_panel=_SPEED,
        ),
    ] = None,
) -> None:
    """Read DFT outputs, name spin states, write deepmd-kit systems.

    Frames of different composition, level of theory or spin state go into different
    systems. Every frame read gets a row in manifest.csv, kept or quarantined with the
    reason. What was read is kept: after an interruption, or when the campaign has
    grown, the same command goes on.
    """
    from spin_dp.data_tools import ReadOptions, Rules
    from spin_dp.data_tools import collect as run

    elements = None
    if type_map is not None:
        elements = [word.strip() for word in type_map.split(",") if word.strip()]
    with progress_bar("looking for sources") as update:

        def show(path: Path, number: int, count: int) -> None:
            name = f"{path.parent.name}/{path.name}"
            update(total=count, completed=number, description=name)

        report = run(
            sources,
            output,
            type_map=elements,
            options=ReadOptions(level=level, missing_moments=missing_moments.value),
            rules=Rules(
                validation=validation,
                seed=seed,
                split_by=split_by.value,
                hold_out=tuple(hold_out or ()),
                max_force=max_force,
                labels=labels.value,
                stationary_moments=stationary_moments,
                lowest_solutions=lowest_solutions,
            ),
            prune=prune,
            rebuild=rebuild,
            workers=cores() if workers is None else workers,
            scheduler=scheduler,
            progress=show,
        )
    _print_report(report)


def _print_report(report: CollectReport) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for level, rows in report.table.groupby("level", sort=False):
        table = state_table(
            rows,
            title=f"frames by spin state, {level}",
            caption="energies above the lowest frame of the formula",
            with_level=False,
        )
        console.print(table)
    if report.reasons:
        quarantine = Table("quarantined", "reason")
        quarantine.columns[0].justify = "right"
        for reason, count in report.reasons.items():
            quarantine.add_row(str(count), escape(reason))
        console.print(quarantine)
    n_groups = len(set(report.level_groups.values()))
    if n_groups > 1:
        print(
            f"{len(report.level_groups)} levels of theory in {n_groups} groups that "
            "must not be trained on together (levels.json says how they differ); "
            "spin-dp merge keeps them apart"
        )
    if report.n_doubtful:
        print(
            f"{report.n_doubtful} frames have sites whose state is in doubt, or "
            "nominal charges that do not add up: see the columns naming and charge"
        )
    n_systems = len(report.training) + len(report.validation)
    print(
        f"kept {report.n_kept} of {report.n_read} frames from {report.n_sources} "
        f"sources ({report.n_read_now} read now) in {n_systems} systems under "
        f"{report.out}; every frame read is in {report.manifest}"
    )
