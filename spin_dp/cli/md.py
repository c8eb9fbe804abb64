# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp md``: molecular dynamics with spin labels in LAMMPS."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from spin_dp.lammps_interface import MDResult
    from spin_dp.lammps_interface.settings import CellChange, Ensemble

_TALKING = ("spin_dp.md", "spin_dp.deployment", "spin_dp.lammps_interface")
_LABELS, _ENSEMBLE, _OUTPUT, _RUN = "Labels", "Ensemble", "Output", "Run"
_WATCH = "Watch: where the model no longer knows"

LEFT = 3
"""Exit status of a run that was stopped where it left the known region."""


def md(
    structure: Annotated[
        Path,
        typer.Argument(help="Structure file of any format that ASE or pymatgen reads."),
    ],
    model: Annotated[
        list[Path],
        typer.Option(
            "-m",
            "--model",
            help="Model file, .pth or .pt2, or a shipped model, lixmo2: its ensemble, "
            "compiled at the first use. Several models, each with -m, watch how far "
            "they differ, and the first one moves the atoms.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR", help="Output folder."),
    ] = Path("md"),
    moments: Annotated[
        str | None,
        typer.Option(
            "--moments",
            "--labels",
            metavar="LABELS",
            help="Spin states by element or atom, 'Mn=3+HS' or 'Ni=2+ Mn=-4+ 5=4+' (- "
            "for down), or moments in μB, 'Mn=3.7' or one number per atom, or a file "
            "of one or three numbers a row; what the structure carries if left out.",
            rich_help_panel=_LABELS,
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Magnetic ordering of the supercell: FM, AFM, AFM-001.",
            rich_help_panel=_LABELS,
        ),
    ] = None,
    ensemble: Annotated[
        str, typer.Option(help="nve, nvt or npt.", rich_help_panel=_ENSEMBLE)
    ] = "nvt",
    temperature: Annotated[
        float,
        typer.Option(
            metavar="K",
            help="Of thermostat and first velocities.",
            rich_help_panel=_ENSEMBLE,
        ),
    ] = 300.0,
    steps: Annotated[
        int, typer.Option(help="Number of time steps.", rich_help_panel=_RUN)
    ] = 1000,
    timestep: Annotated[
        float,
        typer.Option(metavar="FS", help="Time step in fs.", rich_help_panel=_ENSEMBLE),
    ] = 1.0,
    pressure: Annotated[
        float | None,
        typer.Option(
            metavar="BAR", help="npt only; 0 if left out.", rich_help_panel=_ENSEMBLE
        ),
    ] = None,
    cell_change: Annotated[
        str,
        typer.Option(
            help="What npt changes: iso, aniso or tri.", rich_help_panel=_ENSEMBLE
        ),
    ] = "tri",
    supercell: Annotated[
        tuple[int, int, int],
        typer.Option(help="Repetitions of the cell.", rich_help_panel=_RUN),
    ] = (1, 1, 1),
    ranks: Annotated[
        int, typer.Option(help="Number of MPI processes.", rich_help_panel=_RUN)
    ] = 1,
    thermo_every: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Steps between lines of energies.",
            rich_help_panel=_OUTPUT,
        ),
    ] = 10,
    dump_every: Annotated[
        int,
        typer.Option(
            metavar="N", help="Steps between frames.", rich_help_panel=_OUTPUT
        ),
    ] = 100,
    restart_every: Annotated[
        int,
        typer.Option(
            metavar="N", help="Steps between restart files.", rich_help_panel=_OUTPUT
        ),
    ] = 1000,
    seed: Annotated[
        int,
        typer.Option(help="Seed of the initial velocities.", rich_help_panel=_ENSEMBLE),
    ] = 1,
    predict: Annotated[
        bool,
        typer.Option(
            help="Let the model predict the moments of sites that are labelled by name "
            "or not at all, in the structure to start from.",
            rich_help_panel=_LABELS,
        ),
    ] = True,
    watch_every: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Steps between looks at the limits below; with several models each "
            "costs an evaluation of all.",
            rich_help_panel=_WATCH,
        ),
    ] = 10,
    force_limits: Annotated[
        tuple[float, float],
        typer.Option(
            metavar="LOW HIGH",
            help="Of the largest deviation of a force between models, eV/Å: worth a "
            "calculation by DFT above LOW, stop above HIGH.",
            rich_help_panel=_WATCH,
        ),
    ] = (0.5, 1.5),
    magnetic_limits: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH",
            help="The same of magnetic forces, eV/μB, for models that were trained on "
            "them; they do not count if left out.",
            rich_help_panel=_WATCH,
        ),
    ] = None,
    shortest: Annotated[
        float | None,
        typer.Option(
            metavar="Å",
            help="Shortest distance of two atoms; 0.8 of that in the model's training "
            "data, at least 1 Å, if left out.",
            rich_help_panel=_WATCH,
        ),
    ] = None,
    max_temperature: Annotated[
        float | None,
        typer.Option(
            metavar="K",
            help="Highest temperature; if left out, twice that of the thermostat, its "
            "fluctuations and 300 K, and none in nve.",
            rich_help_panel=_WATCH,
        ),
    ] = None,
    no_stop: Annotated[
        bool,
        typer.Option(
            "--no-stop",
            help="Go on where a limit is exceeded, and only say so.",
            rich_help_panel=_WATCH,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Write the input deck and stop.", rich_help_panel=_RUN
        ),
    ] = False,
) -> None:
    """Run molecular dynamics with every atom's moment held as a label.

    A run that leaves what the model knows is stopped there, with exit status 3; what
    was computed is kept. Examples:

    spin-dp md LiNiO2.cif -m model.pt2 --moments Ni=3+LS -o md --supercell 4 4 2

    spin-dp md cell.extxyz -m a.pth -m b.pth -m c.pth -o md --temperature 600
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from spin_dp.cli.display import notes
    from spin_dp.md import MDSettings, Watch, run_md

    settings = MDSettings(
        ensemble=cast("Ensemble", ensemble),
        temperature=temperature,
        steps=steps,
        timestep=timestep,
        pressure=pressure,
        cell_change=cast("CellChange", cell_change),
        thermo_every=thermo_every,
        dump_every=dump_every,
        restart_every=restart_every,
        watch_every=watch_every,
        seed=seed,
    )
    watch = Watch(
        force_limits=force_limits,
        magnetic_limits=magnetic_limits,
        shortest=shortest,
        max_temperature=max_temperature,
        stop=not no_stop,
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with (
        Progress(*columns, console=console, transient=True) as bar,
        notes(console, *_TALKING),
    ):
        task = bar.add_task("starting LAMMPS", total=steps)

        def show(step: int, total: int, thermo: dict[str, float]) -> None:
            shown = f"{thermo['temperature_K']:.0f} K"
            if (deviation := thermo.get("force_deviation_eV_per_A")) is not None:
                shown += f", models differ by {deviation:.2f} eV/Å"
            bar.update(task, completed=step, total=total, description=shown)

        result = run_md(
            structure,
            model,
            out=output,
            moments=moments,
            order=order,
            settings=settings,
            supercell=supercell,
            predict=predict,
            watch=watch,
            ranks=ranks,
            dry_run=dry_run,
            progress=show,
        )
    _print_result(result)
    if result.state == "stopped" and result.departure is not None:
        print(
            f"spin-dp: stopped at step {result.departure.step} of {steps}, where the "
            "run left what the model knows; what was computed is kept",
            file=sys.stderr,
        )
        raise typer.Exit(LEFT)


def _print_result(result: MDResult) -> None:
    from rich.console import Console
    from rich.table import Table

    if result.state == "prepared":
        print(f"input written; run it with: cd {result.folder} && lmp -in in.lammps")
        return
    table = Table(title=f"{result.n_atoms} atoms, {result.n_frames} frames")
    table.add_column("quantity")
    table.add_column("value", justify="right")
    for name, value, unit in (
        ("temperature, second half", result.temperature, "K"),
        ("energy drift", result.energy_drift, "meV/atom/ps"),
        ("speed", result.ns_per_day, "ns/day"),
    ):
        if value is not None:
            table.add_row(name, f"{value:.4g} {unit}")
    Console().print(table)
    print(f"trajectory: {result.trajectory}")
    print(f"energies:   {result.thermo}")
    print(f"input deck: {result.deck}")
    if result.deviation_file.exists():
        print(f"deviations: {result.deviation_file}")
    if result.departure is not None:
        print(f"departure:  {result.departure_file}")
