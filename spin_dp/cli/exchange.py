# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp exchange``: exchange constants, and the temperature at which they order."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from spin_dp.cli import question_options as options  # noqa: TC001 (typer reads it)

if TYPE_CHECKING:
    from spin_dp.magnetism import ExchangeFit, Transition


def exchange(
    structure: options.Structure,
    model: options.Model,
    output: options.OutputFolder = Path("exchange"),
    moments: options.UnsignedLabels = None,
    cutoff: options.ShellCutoff = 6.0,
    supercell: options.FitSupercell = None,
    patterns: options.Patterns = None,
    noncollinear: options.Noncollinear = False,
    biquadratic: options.Biquadratic = False,
    seed: options.FitSeed = 1,
    ordering: options.Ordering = True,
    sizes: options.LatticeSizes = "4,6,8",
    sweeps: options.SpinSweeps = 1500,
    temperatures: options.SpinTemperatures = None,
) -> None:
    r"""Fit exchange constants of a structure, and find where they order.

    H = E0 - sum J e_i.e_j over pairs, unit vectors: J > 0 is ferromagnetic. Positions
    and the states of the sites stay. Examples:

    spin-dp exchange LiNiO2.cif -m lixmo2 --labels Ni=3+LS

    spin-dp exchange NiO.cif -m model.pt2 --labels Ni=2+ --cutoff 4.5 --biquadratic \
        --no-ordering
    """
    from rich.console import Console

    from spin_dp.cli.display import notes, progress_bar
    from spin_dp.cli.words import numbers
    from spin_dp.structures import read_structure

    asked = numbers("--sizes", sizes, least=2)
    ends = None
    if temperatures is not None:
        ends = numbers("--temperatures", temperatures, least=2)
        if len(ends) > 2:
            raise typer.BadParameter("--temperatures: expected the first and the last")
    with (
        progress_bar("loading the model") as show,
        notes(Console(stderr=True), "spin_dp.magnetism"),
    ):
        import numpy as np

        from spin_dp.inference.predictor import SpinDP
        from spin_dp.magnetism import (
            MonteCarloSettings,
            find_transition,
            fit_exchange,
            write_exchange,
        )

        fit = fit_exchange(
            read_structure(structure),
            SpinDP(model),
            moments,
            cutoff=cutoff,
            supercell=supercell,
            patterns=patterns,
            noncollinear=noncollinear,
            biquadratic=biquadratic,
            seed=seed,
            progress=lambda done, number: show(
                description="energies of patterns", completed=done, total=number
            ),
        )
        transition = None
        if ordering and not biquadratic:
            transition = find_transition(
                fit.bonds,
                sizes=[round(size) for size in asked],
                temperatures=None
                if ends is None
                else np.linspace(ends[0], ends[1], 24).tolist(),
                settings=MonteCarloSettings(
                    sweeps=sweeps, equilibration=max(1, sweeps // 4), seed=seed
                ),
                spin=fit.spin,
                progress=lambda done, number: show(
                    description="Monte Carlo", completed=done, total=number
                ),
            )
        write_exchange(output, fit, transition)
    _print(fit, transition)
    print(f"tables and picture: {output}")


def _print(fit: ExchangeFit, transition: Transition | None) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    shown = Table(
        title="exchange constants, meV (> 0 is ferromagnetic)",
        box=SIMPLE_HEAD,
        caption="±: standard error of the fit"
        + ("; models: their standard deviation" if fit.spread is not None else ""),
    )
    has_square = fit.shells[0].biquadratic is not None
    shown.add_column("pair")
    for name in (
        *("distance, Å", "neighbours", "J"),
        *(["B"] if has_square else []),
        *(["models"] if fit.spread is not None else []),
    ):
        shown.add_column(name, justify="right", no_wrap=True)
    for k, shell in enumerate(fit.shells):
        shown.add_row(
            "-".join(shell.kinds),
            f"{shell.distance:.3f}",
            f"{shell.neighbours:g}",
            f"{shell.exchange:.3f} ± {shell.error:.3f}",
            *(
                [f"{shell.biquadratic:.3f} ± {shell.biquadratic_error:.3f}"]
                if has_square
                else []
            ),
            *([f"{fit.spread[k]:.3f}"] if fit.spread is not None else []),
        )
    Console().print(shown)
    print(
        f"energies of {len(fit.energies)} patterns vary by {fit.range:.2f} meV a site; "
        f"the fit misses them by {fit.error:.2f}, those that it has not seen by "
        f"{fit.cross_validation_error:.2f}"
    )
    if len(fit.outliers):
        numbers = ", ".join(map(str, fit.outliers))
        print(f"outliers: patterns {numbers} (patterns.csv)")
    if fit.cross_validation_error > 0.5 * fit.range:
        print("that is much: these constants do not describe the energies")
    if transition is None:
        return
    field = transition.mean_field
    wave = ", ".join(f"{q:.3g}" for q in field.wave_vector)
    print(
        f"order: ({wave}) of the reciprocal vectors; in a mean field below "
        f"{field.temperature:.0f} K"
    )
    if isfinite(transition.temperature):
        print(
            f"orders at {transition.temperature:.0f} ± {transition.error:.0f} K"
            + (
                f"; times (S+1)/S with S = {transition.spin:g}: "
                f"{transition.quantum:.0f} K"
                if transition.spin
                else ""
            )
        )
    else:
        print(
            "no ordering found: cumulants of the sizes do not cross, or cross where "
            "nothing is ordered. Look elsewhere (--temperatures), longer (--sweeps), "
            "in larger cells (--sizes); layers that do not couple within --cutoff "
            "have none"
        )
    print(f"specific heat peaks at {transition.peak:.0f} K")
