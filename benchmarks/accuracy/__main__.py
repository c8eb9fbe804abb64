# SPDX-License-Identifier: LGPL-3.0-or-later
"""Command line: ``python -m benchmarks.accuracy run -o OUT``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console

from benchmarks.accuracy import benchmark
from benchmarks.accuracy.models import DEFAULT, find_models
from benchmarks.accuracy.plot import plot_accuracy
from benchmarks.accuracy.tune import CHOICES, tune
from benchmarks.command_line import named_bars, run_app, split_names
from spin_dp.errors import ConfigError, DataError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "gpaw"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Which potential is most accurate on frames of mixed spin states.",
)
console = Console(stderr=True)

Out = Annotated[Path, typer.Option("-o", "--output", help="Output folder.")]
Source = Annotated[Path, typer.Option("--data", help="Folder with the frames.")]
Names = Annotated[str, typer.Option("--models", help="Names, separated by commas.")]
Jobs = Annotated[int, typer.Option(min=1, help="Trainings at the same time.")]
_ALL = ",".join(DEFAULT)


@app.command()
def run(
    out: Out,
    source: Source = EXAMPLES,
    models: Names = _ALL,
    seeds: Annotated[str, typer.Option(help="Splits and seeds.")] = "0,1,2",
    steps: Annotated[int, typer.Option(min=1)] = 3000,
    jobs: Jobs = 2,
) -> None:
    """Train and test all models; the same command goes on after an interruption."""
    with named_bars(console) as report:
        failed = benchmark.run_benchmark(
            source,
            out,
            find_models(split_names(models)),
            seeds=[_whole(seed) for seed in split_names(seeds)],
            steps=steps,
            jobs=jobs,
            progress=report,
        )
    _finish(failed, out / benchmark.TABLE)


@app.command("tune")
def tune_models(
    out: Out,
    source: Source = EXAMPLES,
    models: Names = _ALL,
    steps: Annotated[int, typer.Option(min=1)] = 1000,
    jobs: Jobs = 2,
) -> None:
    """Try loss weights and learning rates inside the training part of split 0."""
    with named_bars(console) as report:
        chosen = find_models(split_names(models))
        data = benchmark.inner_split(source, out)
        failed = tune(chosen, data, out, steps=steps, jobs=jobs, progress=report)
    _finish(failed, out / CHOICES)


@app.command()
def table(out: Out) -> None:
    """Write results.csv, table.md and accuracy.png anew of what is finished."""
    benchmark.write_tables(out)
    _finish({}, out / benchmark.TABLE)


@app.command()
def plot(out: Out) -> None:
    """Draw accuracy.png anew from results.csv."""
    path = out / benchmark.RESULTS
    if not path.is_file():
        raise DataError(f"{path}: no such table; make it with `table -o {out}`.")
    _finish({}, plot_accuracy(out / benchmark.PICTURE, pd.read_csv(path)))


def main() -> None:
    """Run the command line."""
    run_app(app, console)


def _whole(text: str) -> int:
    if not text.isdigit():
        raise ConfigError(f"--seeds: expected whole numbers, got {text!r}.")
    return int(text)


def _finish(failed: dict[str, str], path: Path) -> None:
    console.print(f"wrote {path}", markup=False, highlight=False)
    for name, message in failed.items():
        console.print(f"{name} failed: {message}", style="red", markup=False)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
