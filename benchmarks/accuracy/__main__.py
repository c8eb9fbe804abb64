# SPDX-License-Identifier: LGPL-3.0-or-later
"""Command line: ``python -m benchmarks.accuracy run -o OUT``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TimeElapsedColumn,
)

from benchmarks.accuracy import benchmark
from benchmarks.accuracy.models import DEFAULT, find_models
from benchmarks.accuracy.plot import plot_accuracy
from benchmarks.accuracy.tune import CHOICES, tune
from spin_dp.errors import ConfigError, DataError, SpinDPError
from spin_dp.threads import default_to_one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.accuracy.dp import Progress as Report

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
    with _progress() as report:
        failed = benchmark.run_benchmark(
            source,
            out,
            find_models(_names(models)),
            seeds=[_whole(seed) for seed in _names(seeds)],
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
    with _progress() as report:
        chosen = find_models(_names(models))
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
    """Run the command line; errors on purpose are one line and status 1."""
    default_to_one_thread()
    try:
        app()
    except SpinDPError as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False)
        raise SystemExit(1) from None


@contextlib.contextmanager
def _progress() -> Iterator[Report]:
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)
            if done >= total:
                bars.remove_task(tasks.pop(name))
                bars.console.print(f"{name}: done", highlight=False)

        yield report


def _names(text: str) -> list[str]:
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise ConfigError("expected names or numbers separated by commas, got none.")
    return found


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
