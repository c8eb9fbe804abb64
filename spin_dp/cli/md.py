# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp md``: molecular dynamics with spin labels in LAMMPS."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from spin_dp.cli import md_options as options

if TYPE_CHECKING:
    from ase import Atoms

    from spin_dp.lammps_interface import MDResult
    from spin_dp.lammps_interface.settings import CellChange, Ensemble, Relax

_TALKING = ("spin_dp.dynamics", "spin_dp.deployment", "spin_dp.lammps_interface")

LEFT = 3
"""Exit status of a run that was stopped where it left the known region."""


def md(
    structure: options.Structure,
    model: options.Model,
    output: options.Output = Path("md"),
    moments: options.Moments = None,
    order: options.Order = None,
    balance: options.Balance = None,
    ensemble: options.Ensemble = "nvt",
    temperature: options.Temperature = 300.0,
    final_temperature: options.FinalTemperature = None,
    steps: options.Steps = 1000,
    timestep: options.Timestep = 1.0,
    pressure: options.Pressure = None,
    cell_change: options.CellChange = "tri",
    supercell: options.Supercell = (1, 1, 1),
    vacancies: options.Vacancies = None,
    spread: options.Spread = False,
    relax: options.Relax = "no",
    relax_force: options.RelaxForce = 0.01,
    strain: options.Strain = None,
    ranks: options.Ranks = 1,
    thermo_every: options.ThermoEvery = 10,
    dump_every: options.DumpEvery = 100,
    restart_every: options.RestartEvery = 1000,
    seed: options.Seed = 1,
    predict: options.Predict = True,
    labels_move: options.HowLabelsMove = None,
    relaxed_every: options.RelaxedEvery = 10,
    mc_every: options.McEvery = 20,
    mc_trials: options.McTrials = None,
    mc_moves: options.McMoves = "exchange,flip,spin,transfer",
    mc_reach: options.McReach = 3.5,
    mc_states: options.McStates = None,
    mc_temperature: options.McTemperature = None,
    watch_every: options.WatchEvery = 10,
    force_limits: options.ForceLimits = (0.5, 1.5),
    magnetic_limits: options.MagneticLimits = None,
    shortest: options.Shortest = None,
    max_temperature: options.MaxTemperature = None,
    no_stop: options.NoStop = False,
    dry_run: options.DryRun = False,
) -> None:
    r"""Run molecular dynamics of atoms with spin labels.

    A run that leaves what the model knows is stopped there, with exit status 3; what
    was computed is kept. Examples:

    spin-dp md LiNiO2.cif -m model.pt2 --moments Ni=3+LS -o md --supercell 4 4 2

    spin-dp md cell.extxyz -m a.pth -m b.pth -m c.pth -o md --temperature 600

    spin-dp md LiNiO2.cif -m lixmo2 --labels Ni=3+LS --supercell 4 4 1 \
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
    from spin_dp.cli.words import element_states, pairs
    from spin_dp.dynamics import MDSettings, MomentRelaxation, MonteCarlo, Watch, run_md
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
        strain=None if strain is None else pairs("--strain", strain, float),
        thermo_every=thermo_every,
        dump_every=dump_every,
        restart_every=restart_every,
        watch_every=watch_every,
        seed=seed,
    )
    start: Path | Atoms = structure
    if vacancies is not None:
        missing = pairs("--vacancies", vacancies, float)
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
    if labels_move is options.LabelsMove.monte_carlo:
        moves = MonteCarlo(
            every=mc_every,
            trials=mc_trials,
            moves=MoveSettings.parse(mc_moves, reach=mc_reach),
            states=None
            if mc_states is None
            else dict(
                element_states("--mc-states", word) for word in mc_states.split()
            ),
            temperature=mc_temperature,
            seed=seed,
        )
    elif labels_move is options.LabelsMove.relaxed:
        moves = MomentRelaxation(every=relaxed_every)
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
            balance=None if balance is None else pairs("--balance", balance, str),
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


def _print_relaxations(result: MDResult) -> None:
    """Say how well moments were relaxed, and for how many a state did not hold."""
    import pandas as pd

    from spin_dp.dynamics.relaxed_moments import MOMENT_FILE

    path = result.folder / MOMENT_FILE
    if not path.exists():
        return
    table = pd.read_csv(path).iloc[1:]
    if len(table):
        print(
            f"moments: relaxed {len(table)} times, largest magnetic force left "
            f"{table['residual_eV_per_muB'].max():.3f} eV/μB, at the edge of their "
            f"state at most {table['at_edge'].max():.0f}"
        )
    print(f"moments:    {path}")


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
    _print_relaxations(result)
    if result.deviation_file.exists():
        print(f"deviations: {result.deviation_file}")
    if result.departure is not None:
        print(f"departure:  {result.departure_file}")
