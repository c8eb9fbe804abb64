# SPDX-License-Identifier: LGPL-3.0-or-later
"""Command line: ``python -m benchmarks.stability run MODEL -o OUT``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from benchmarks.command_line import named_bars, run_app, split_names
from benchmarks.stability.results import TABLE, run_grid
from benchmarks.stability.runs import CONDITIONS
from benchmarks.stability.structures import STRUCTURES
from spin_dp.demo.watched import fast_form
from spin_dp.errors import ConfigError, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Does MD of lithium transition-metal oxides hold with a model.",
)
console = Console(stderr=True)

Models = Annotated[list[Path], typer.Argument(help="Model files.")]
Out = Annotated[Path, typer.Option("-o", "--output", help="Output folder.")]
Length = Annotated[float, typer.Option("--ps", min=0.01, help="Length of a run, ps.")]
Names = Annotated[str, typer.Option(help="Names, separated by commas.")]
_STRUCTURES, _CONDITIONS = ",".join(STRUCTURES), ",".join(CONDITIONS)


@app.command()
def run(
    models: Models,
    out: Out,
    ps: Length = 5.0,
    structures: Names = _STRUCTURES,
    conditions: Names = _CONDITIONS,
    size: Annotated[str, typer.Option(help="full or small cells.")] = "full",
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time.")] = 2,
    seed: Annotated[int, typer.Option(min=1, help="Of the velocities.")] = 1,
) -> None:
    """Run all crystals under all conditions; goes on after an interruption."""
    crystals = _known(structures, STRUCTURES, "structure")
    kinds = _known(conditions, CONDITIONS, "condition")
    if len({path.stem for path in models}) < len(models):
        raise ConfigError("models: expected files of different names.")
    (out / "models").mkdir(parents=True, exist_ok=True)
    files = [fast_form(path, out / "models") for path in models]
    with named_bars(console) as report:
        run_grid(
            files,
            out,
            crystals=crystals,
            conditions=kinds,
            size=size,
            ps=ps,
            seed=seed,
            jobs=jobs,
            progress=report,
        )
    console.print(f"wrote {out / TABLE}", markup=False, highlight=False)


def _known(text: str, known: Iterable[str], kind: str) -> list[str]:
    names = split_names(text)
    for name in names:
        if name not in known:
            raise unknown(kind, name, known)
    return names


@app.callback()
def _main() -> None:
    """Keep ``run`` a command of its own."""


if __name__ == "__main__":
    run_app(app, console)
