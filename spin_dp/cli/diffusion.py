# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp diffusion``: how ions diffuse in runs, and the activation energy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spin_dp.cli.display import progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spin_dp.properties.diffusion import Arrhenius, Diffusion

_READING = "Reading"


def diffusion(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Output folders of spin-dp md, or trajectories in extended XYZ.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Output folder.")
    ] = Path("diffusion"),
    element: Annotated[
        str | None,
        typer.Option(metavar="EL", help="That diffuses; the alkali metal if left out."),
    ] = None,
    charge: Annotated[
        float | None,
        typer.Option(metavar="E", help="Of an ion, e; its usual one if left out."),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="K", help="Of one run; that of the velocities if left out."
        ),
    ] = None,
    skip: Annotated[
        float,
        typer.Option(
            metavar="PS",
            min=0.0,
            help="Left out at the start, ps.",
            rich_help_panel=_READING,
        ),
    ] = 1.0,
    hop: Annotated[
        float | None,
        typer.Option(
            metavar="A",
            help="Length of a hop, Å; from the distances of cations if left out.",
            rich_help_panel=_READING,
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="PS",
            help="Between frames of trajectories that do not say their time, ps.",
            rich_help_panel=_READING,
        ),
    ] = None,
) -> None:
    """Measure diffusivity, conductivity and Haven ratio of ions in runs.

    Several runs at different temperatures give the activation energy. It says whether a
    run is long enough. Needs pip install 'spin-dp[properties]'. Example:

    spin-dp diffusion md-800 md-1000 md-1200
    """
    from rich.console import Console

    from spin_dp.cli.display import notes
    from spin_dp.errors import ConfigError, SpinDPError
    from spin_dp.properties.diffusion import fit_arrhenius, measure_diffusion

    if temperature is not None and len(runs) > 1:
        raise ConfigError("--temperature is for one run; several say their own.")
    found, failures = [], []
    console = Console(stderr=True)
    with progress_bar("reading") as update, notes(console, "spin_dp.properties"):
        for run in runs:
            update(description=f"reading {run.name}", completed=0)
            try:
                found.append(
                    measure_diffusion(
                        run,
                        element,
                        skip_ps=skip,
                        temperature=temperature,
                        charge=charge,
                        hop=hop,
                        interval_ps=interval,
                        progress=lambda number: update(completed=number),
                    )
                )
            except SpinDPError as error:
                if len(runs) == 1:
                    raise
                failures.append(error)
        for failure in failures:
            console.print(f"spin-dp: left out: {failure}", markup=False, soft_wrap=True)
        if not found:
            raise failures[0]
        _print(found)
        fit = fit_arrhenius(found) if len(found) > 1 else None
    _write(output, found, fit)
    if fit is not None:
        _print_fit(fit)
    print(f"tables and pictures: {output}")


def _print(found: Sequence[Diffusion]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    shown = Table(
        title=f"diffusion of {found[0].element}",
        box=SIMPLE_HEAD,
        caption="D* in 1e-6 cm²/s, σ in mS/cm; 95 % in brackets",
    )
    heads = ("T, K", "ps", "jumps", "D*", "σ", "Haven", "")
    for head in heads:
        shown.add_column(head, justify="right" if head else "left")
    for one in found:
        shown.add_row(
            f"{one.temperature:.0f}",
            f"{one.duration:.4g}",
            f"{one.jumps:.0f}",
            *(
                _with_bounds(getattr(one, name), *one.intervals[name])
                for name in ("diffusivity", "conductivity", "haven_ratio")
            ),
            one.regime,
        )
    Console().print(shown)


def _with_bounds(value: float, low: float, high: float) -> str:
    return f"{value:.2g} ({low:.2g}-{high:.2g})"


def _print_fit(fit: Arrhenius) -> None:
    low, high = fit.intervals["activation_energy"]
    print(
        f"activation energy: {fit.activation_energy:.3f} eV "
        f"({low:.3f} to {high:.3f}, 95 %)"
    )
    low, high = (1e-12 * one for one in fit.intervals["extrapolated"])
    print(f"at 300 K: {1e-12 * fit.extrapolated:.1e} cm²/s ({low:.1e} to {high:.1e})")


def _write(folder: Path, found: Sequence[Diffusion], fit: Arrhenius | None) -> None:
    import pandas as pd
    from matplotlib.figure import Figure

    from spin_dp.drawing import save_png
    from spin_dp.files import replacing, write_text

    folder.mkdir(parents=True, exist_ok=True)
    tables = [one.table().assign(run=one.run) for one in found]
    with replacing(folder / "diffusion.csv") as part:
        pd.concat(tables).to_csv(part, index=False)
    displacements = [one.msd.assign(run=one.run) for one in found]
    with replacing(folder / "displacements.csv") as part:
        pd.concat(displacements).to_csv(part, index=False)
    content = ",\n".join(one.to_json().strip() for one in found)
    write_text(folder / "diffusion.json", f"[\n{content}\n]\n")
    figure = Figure(figsize=(6.4, 4.2 * len(found)), layout="constrained")
    for axes, one in zip(
        figure.subplots(len(found), squeeze=False), found, strict=True
    ):
        one.plot(axes[0])
    save_png(figure, folder / "diffusion.png")
    if fit is None:
        return
    with replacing(folder / "arrhenius.csv") as part:
        fit.table().to_csv(part, index=False)
    write_text(folder / "arrhenius.json", fit.to_json())
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    fit.plot(figure.subplots())
    save_png(figure, folder / "arrhenius.png")
