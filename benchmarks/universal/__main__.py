# SPDX-License-Identifier: LGPL-3.0-or-later
"""``python -m benchmarks.universal FRAMES -o DIR``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.command_line import run_app
from benchmarks.universal.compare import (
    errors,
    held_out_frames,
    markdown,
    predictions,
    require_peers,
    step_times,
)
from spin_dp.crystals import layered_oxide
from spin_dp.files import replacing, write_text

app = typer.Typer(add_completion=False)


@app.command()
def main(
    frames: Annotated[list[Path], typer.Argument(help="Folders with frames.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Output folder.")],
    model: Annotated[str, typer.Option("-m", "--model", help="Ours.")] = "lixmo2",
) -> None:
    """Print errors on held-out frames of MD and the time of a step; write tables."""
    require_peers()
    atoms, labels, known = held_out_frames(frames, out / "data")
    table = errors(atoms, known, predictions(model, atoms, labels))
    crystal = layered_oxide("LiNiO2", (4, 2, 1))
    seconds = step_times(model, crystal)
    table["ms a step"] = 1000.0 * table["potential"].map(seconds)
    with replacing(out / "results.csv") as part:
        table.to_csv(part, index=False)
    text = markdown(table)
    write_text(out / "results.md", text + "\n")
    typer.echo(f"a step: {len(crystal)} atoms of LiNiO2\n\n{text}")


if __name__ == "__main__":
    run_app(app, Console(stderr=True))
