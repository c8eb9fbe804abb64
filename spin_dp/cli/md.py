# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp md``: molecular dynamics with spin labels in LAMMPS."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import typer

from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms

    from spin_dp.lammps_interface import MDResult
    from spin_dp.lammps_interface.settings import CellChange, Ensemble, Relax

T = TypeVar("T")

_TALKING = ("spin_dp.dynamics", "spin_dp.deployment", "spin_dp.lammps_interface")
_LABELS, _ENSEMBLE, _OUTPUT, _RUN = "Labels", "Ensemble", "Output", "Run"
_START = "Start"
_WATCH = "Watch: where the model no longer knows"
_MOVES = "Labels that move"


class LabelsMove(StrEnum):
    """What becomes of labels."""

    held = "held"
    adiabatic = "adiabatic"
    monte_carlo = "monte-carlo"


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
    balance: Annotated[
        str | None,
        typer.Option(
            metavar="STATES",
            help="State that sites change to, as many as make the supercell neutral, "
            "drawn with --seed: 'Ni=4+LS'.",
            rich_help_panel=_LABELS,
            show_default=False,
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
    final_temperature: Annotated[
        float | None,
        typer.Option(
            metavar="K",
            help="Of the thermostat at the end, towards which it goes evenly.",
            rich_help_panel=_ENSEMBLE,
            show_default=False,
        ),
    ] = None,
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
            metavar="BAR",
            help="Of npt and of --relax cell; 0 if left out.",
            rich_help_panel=_ENSEMBLE,
        ),
    ] = None,
    cell_change: Annotated[
        str,
        typer.Option(
            help="What npt and --relax cell change: iso, aniso or tri.",
            rich_help_panel=_ENSEMBLE,
        ),
    ] = "tri",
    supercell: Annotated[
        tuple[int, int, int],
        typer.Option(help="Repetitions of the cell.", rich_help_panel=_START),
    ] = (1, 1, 1),
    vacancies: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Atoms taken out of the supercell, 'Li=0.5' (a share) or 'Li=6,O=1'; "
            "labels by atom are then those of what is left.",
            rich_help_panel=_START,
            show_default=False,
        ),
    ] = None,
    spread: Annotated[
        bool,
        typer.Option(
            "--spread",
            help="Take out atoms that are far from each other, not any ones.",
            rich_help_panel=_START,
        ),
    ] = False,
    relax: Annotated[
        str,
        typer.Option(
            help="What is relaxed before the first step: no, atoms, or cell, which is "
            "both. With --steps 0 nothing else is done.",
            rich_help_panel=_START,
        ),
    ] = "no",
    relax_force: Annotated[
        float,
        typer.Option(
            metavar="EV/Å",
            help="Largest component of a force where a relaxation ends.",
            rich_help_panel=_START,
        ),
    ] = 0.01,
    strain: Annotated[
        str | None,
        typer.Option(
            metavar="STRAIN",
            help="Strain of the cell at the end of the run, reached evenly, as "
            "'zz=0.02' or 'xx=0.01,xy=-0.01'; nve and nvt.",
            rich_help_panel=_RUN,
            show_default=False,
        ),
    ] = None,
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
        typer.Option(help="Seed of all random numbers.", rich_help_panel=_START),
    ] = 1,
    predict: Annotated[
        bool,
        typer.Option(
            help="Let the model predict the moments of sites that are labelled by name "
            "or not at all, in the structure to start from.",
            rich_help_panel=_LABELS,
        ),
    ] = True,
    labels_move: Annotated[
        LabelsMove | None,
        typer.Option(
            help="held: moments as they are at the start. adiabatic: states by name, "
            "whose moments follow the positions. monte-carlo: such states, moved "
            "between segments of the run. If left out, adiabatic where all sites are "
            "labelled by name and the model learnt states, else held.",
            rich_help_panel=_LABELS,
            show_default=False,
        ),
    ] = None,
    mc_every: Annotated[
        int,
        typer.Option(metavar="N", help="Steps between visits.", rich_help_panel=_MOVES),
    ] = 20,
    mc_trials: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Moves tried in a visit; one for each site if left out.",
            rich_help_panel=_MOVES,
            show_default=False,
        ),
    ] = None,
    mc_moves: Annotated[
        str,
        typer.Option(
            metavar="KINDS",
            help="exchange (states of two sites of an element), flip, spin (another "
            "state of the same charge), transfer (an electron goes to another site), "
            "rotate; with shares, 'exchange=2,flip'.",
            rich_help_panel=_MOVES,
        ),
    ] = "exchange,flip,spin,transfer",
    mc_reach: Annotated[
        float,
        typer.Option(
            metavar="Å",
            help="Exchanges and transfers are between sites not farther apart.",
            rich_help_panel=_MOVES,
        ),
    ] = 3.5,
    mc_states: Annotated[
        str | None,
        typer.Option(
            metavar="STATES",
            help="States that sites may be in, 'Ni=3+LS,4+LS Mn=4+'; all whose charge "
            "is known if left out.",
            rich_help_panel=_MOVES,
            show_default=False,
        ),
    ] = None,
    mc_temperature: Annotated[
        float | None,
        typer.Option(
            metavar="K",
            help="Of the moves; that of the run if left out.",
            rich_help_panel=_MOVES,
            show_default=False,
        ),
    ] = None,
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
            help="Shortest distance of two atoms; 0.8 of that of their elements in the "
            "model's training data, at least 1 Å, if left out.",
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
    r"""Run molecular dynamics of atoms with spin labels.

    A run that leaves what the model knows is stopped there, with exit status 3; what
    was computed is kept. Examples:

    spin-dp md LiNiO2.cif -m model.pt2 --moments Ni=3+LS -o md --supercell 4 4 2

    spin-dp md cell.extxyz -m a.pth -m b.pth -m c.pth -o md --temperature 600

    spin-dp md LiNiO2.cif -m lixmo2 --labels Ni=3+LS --supercell 4 4 1 \\
        --vacancies Li=0.5 --balance Ni=4+LS --labels-move monte-carlo
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
    from spin_dp.dynamics import MDSettings, MonteCarlo, Watch, run_md
    from spin_dp.sampling import MoveSettings
    from spin_dp.structures import read_structure, repeated
    from spin_dp.vacancies import with_vacancies

    settings = MDSettings(
        ensemble=cast("Ensemble", ensemble),
        temperature=temperature,
        final_temperature=final_temperature,
        steps=steps,
        timestep=timestep,
        pressure=pressure,
        cell_change=cast("CellChange", cell_change),
        relax=cast("Relax", relax),
        relax_force=relax_force,
        strain=None if strain is None else _pairs("--strain", strain, float),
        thermo_every=thermo_every,
        dump_every=dump_every,
        restart_every=restart_every,
        watch_every=watch_every,
        seed=seed,
    )
    start: Path | Atoms = structure
    if vacancies is not None:
        missing = _pairs("--vacancies", vacancies, float)
        large = repeated(read_structure(structure), supercell)
        start = with_vacancies(large, missing, spread=spread, seed=seed)
        supercell = (1, 1, 1)
    watch = Watch(
        force_limits=force_limits,
        magnetic_limits=magnetic_limits,
        shortest=shortest,
        max_temperature=max_temperature,
        stop=not no_stop,
    )
    moves: Any = None if labels_move is None else labels_move.value
    if labels_move is LabelsMove.monte_carlo:
        moves = MonteCarlo(
            every=mc_every,
            trials=mc_trials,
            moves=MoveSettings.parse(mc_moves, reach=mc_reach),
            states=None if mc_states is None else _states(mc_states),
            temperature=mc_temperature,
            seed=seed,
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
            start,
            model,
            out=output,
            moments=moments,
            order=order,
            balance=None if balance is None else _pairs("--balance", balance, str),
            settings=settings,
            supercell=supercell,
            predict=predict,
            labels_move=moves,
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


def _states(text: str) -> dict[str, list[str]]:
    """Return ``{"Ni": ["3+LS", "4+LS"]}`` of ``Ni=3+LS,4+LS``."""
    found: dict[str, list[str]] = {}
    for word in text.split():
        element, equals, names = word.partition("=")
        if not (element and equals and names):
            raise ConfigError(
                f"--mc-states: expected ELEMENT=STATE,STATE ..., got {word!r}."
            )
        found[element] = names.split(",")
    return found


def _pairs(option: str, text: str, kind: Callable[[str], T]) -> dict[str, T]:
    """Return ``{"zz": 0.02}`` of ``zz=0.02``; words are divided by commas or blanks."""
    found: dict[str, T] = {}
    for word in text.replace(",", " ").split():
        name, equals, value = word.partition("=")
        try:
            if not (name and equals and value):
                raise ValueError
            found[name] = kind(value)
        except ValueError as error:
            what = "STATE" if kind is str else "NUMBER"
            raise ConfigError(
                f"{option}: expected NAME={what},NAME={what}, got {word!r}."
            ) from error
    return found


def _print_moves(result: MDResult) -> None:
    """Say how often moves were accepted, and where the sites are in the end."""
    import pandas as pd

    from spin_dp.dynamics.monte_carlo import LABEL_FILE

    path = result.folder / LABEL_FILE
    if not path.exists():
        return
    table = pd.read_csv(path)
    first, last = table.iloc[0], table.iloc[-1]
    for name in table.columns:
        if (kind := name.removesuffix(" tried")) != name and last[name]:
            share = last[f"{kind} accepted"] / last[name]
            print(f"{kind}: {share:.1%} of {last[name]:.0f} accepted")
    states = list(table.columns)[list(table.columns).index("gained_eV") + 1 :]
    shown = [
        f"{name} {first[name]:.0f} -> {last[name]:.0f}"
        for name in states
        if not name.endswith((" tried", " accepted")) and (first[name] or last[name])
    ]
    print(f"states: {', '.join(shown)}")
    print(f"labels:     {path}")


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
    if (relaxed := result.relaxation) is not None:
        table.add_row("relaxation", f"{relaxed.energy_change:.4f} eV")
        table.add_row("largest force after it", f"{relaxed.largest_force:.2g} eV/Å")
    Console().print(table)
    print(f"trajectory: {result.trajectory}")
    print(f"energies:   {result.thermo}")
    print(f"input deck: {result.deck}")
    _print_moves(result)
    if result.deviation_file.exists():
        print(f"deviations: {result.deviation_file}")
    if result.departure is not None:
        print(f"departure:  {result.departure_file}")
