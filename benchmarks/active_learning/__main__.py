# SPDX-License-Identifier: LGPL-3.0-or-later
"""Command line: ``python -m benchmarks.active_learning -o OUT``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.active_learning.learn import Benchmark
from benchmarks.active_learning.plan import STRATEGIES, Plan
from benchmarks.active_learning.table import write_summary
from spin_dp.errors import ConfigError, SpinDPError, unknown
from spin_dp.stages import Reporter
from spin_dp.threads import default_to_one_thread

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
console = Console(stderr=True)


class _Printer(Reporter):
    """Prints a line for each stage."""

    def begin(self, title: str, number: int, total: int) -> None:
        console.print(f"{number}/{total} {title}", highlight=False)


def run(
    out: Annotated[Path, typer.Option("-o", "--output", help="Output folder.")],
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0,1,2",
    strategies: Annotated[str, typer.Option(help="Names, in order.")] = ",".join(
        STRATEGIES
    ),
    teacher: Annotated[
        Path | None,
        typer.Option(help="A model to learn from, instead of training one."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at a time.")] = 2,
) -> None:
    """Train and test; the same command goes on after an interruption."""
    names = [name.strip() for name in strategies.split(",")]
    for name in names:
        if name not in STRATEGIES:
            raise unknown("strategy", name, STRATEGIES)
    if not all(seed.isdigit() for seed in seeds.split(",")):
        raise ConfigError(f"--seeds: expected whole numbers, got {seeds!r}.")
    benchmark = Benchmark(EXAMPLES, out, Plan(), jobs=jobs, teacher=teacher)
    benchmark.prepare(_Printer())
    benchmark.run([int(seed) for seed in seeds.split(",")], names)
    console.print(f"wrote {write_summary(out)}", markup=False, highlight=False)


def main() -> None:
    """Run the command line; errors on purpose are one line and status 1."""
    default_to_one_thread()
    try:
        typer.run(run)
    except SpinDPError as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
