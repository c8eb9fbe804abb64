# SPDX-License-Identifier: LGPL-3.0-or-later
"""``python -m benchmarks.speed results.json``: table and plot of the MD steps."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer

from benchmarks.speed.peers import BASELINE
from benchmarks.speed.plot import plot_steps
from benchmarks.speed.table import read_steps, render_steps
from spin_dp.files import write_text


def write(
    results: Annotated[Path, typer.Argument(help="JSON file of pytest-benchmark.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder.")],
) -> None:
    """Write md_step.csv, md_step.md and md_step.png."""
    content = json.loads(results.read_text())
    steps = read_steps(content)
    output.mkdir(exist_ok=True)
    write_text(output / "md_step.csv", steps.to_csv(index=False))
    cpu = content["machine_info"]["cpu"].get("brand_raw", "unknown processor")
    write_text(output / "md_step.md", render_steps(steps, BASELINE, cpu))
    plot_steps(output / "md_step.png", steps)
    print(f"{len(steps)} times: {output / 'md_step.md'}, {output / 'md_step.png'}")


if __name__ == "__main__":
    typer.run(write)
