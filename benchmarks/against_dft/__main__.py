# SPDX-License-Identifier: LGPL-3.0-or-later
"""``python -m benchmarks.against_dft volumes|gamma|barriers -o DIR``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer
from rich.console import Console

from benchmarks.against_dft import barriers as of_barriers
from benchmarks.against_dft import gamma as of_gamma
from benchmarks.against_dft import volumes as of_volumes
from benchmarks.command_line import run_app
from spin_dp import SpinDP
from spin_dp.deployment.cache import fast_models
from spin_dp.dft import EngineCalculator, open_engine
from spin_dp.files import replacing, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ase.calculators.calculator import Calculator

app = typer.Typer(add_completion=False, no_args_is_help=True)

Out = Annotated[Path, typer.Option("-o", "--output", help="Goes on there.")]
Model = Annotated[str, typer.Option("-m", "--model", help="A model or its name.")]
GpawPython = Annotated[
    str, typer.Option(help="Python that has GPAW; this one if left out.")
]


@app.command()
def volumes(out: Out, model: Model = "lixmo2", gpaw_python: GpawPython = "") -> None:
    """V0 and B0 of three crystals in two or three spin states each."""
    found = of_volumes.curves(_opened(model), _gpaw(out, gpaw_python))
    rows = (pd.DataFrame([row]) for row in found)
    _follow(rows, out / "volumes.csv", of_volumes.markdown)


@app.command()
def gamma(out: Out, model: Model = "lixmo2", gpaw_python: GpawPython = "") -> None:
    """Vibrations at Γ."""
    found = of_gamma.vibrations(_opened(model), _gpaw(out, gpaw_python))
    _follow(found, out / "gamma.csv", of_gamma.markdown)


@app.command()
def barriers(out: Out, model: Model = "lixmo2", gpaw_python: GpawPython = "") -> None:
    """Hops of lithium, one and two vacancies, the hole staying and following."""
    found = of_barriers.paths(_opened(model), _gpaw(out, gpaw_python))
    _follow(found, out / "barriers.csv", of_barriers.markdown)


def _follow(
    found: Iterable[pd.DataFrame], path: Path, markdown: Callable[[pd.DataFrame], str]
) -> None:
    """Print and keep tables as they come."""
    tables = []
    for table in found:
        tables.append(table)
        joined = pd.concat(tables, ignore_index=True)
        _write(joined, path)
        write_text(path.with_suffix(".md"), markdown(joined) + "\n")
        typer.echo(markdown(table))


def _opened(model: str) -> SpinDP:
    return SpinDP(fast_models(model))


def _gpaw(out: Path, python: str) -> Callable[[], Calculator]:
    engine = open_engine({"engine": "gpaw", "python": python})
    engine.check()
    return lambda: EngineCalculator(engine, out / "dft")


def _write(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        table.to_csv(part, index=False)


if __name__ == "__main__":
    run_app(app, Console(stderr=True))
