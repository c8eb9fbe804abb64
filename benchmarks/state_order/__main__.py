# SPDX-License-Identifier: LGPL-3.0-or-later
"""``python -m benchmarks.state_order FRAMES... -m lixmo2 -o DIR``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.command_line import run_app
from benchmarks.state_order.pairs import answers, find_pairs, markdown
from examples.base_model.frames import collect_unseen, predicted_frames
from spin_dp.deployment.cache import fast_models
from spin_dp.files import replacing, write_text

app = typer.Typer(add_completion=False)


@app.command()
def main(
    frames: Annotated[list[Path], typer.Argument(help="Folders with frames.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Output folder.")],
    model: Annotated[
        list[str],
        typer.Option("-m", "--model", help="A shipped model, or files: one ensemble."),
    ] = ["lixmo2"],  # noqa: B006 (typer's way to give a list)
    by_moments: Annotated[
        bool,
        typer.Option("--by-moments", help="With the moments of DFT, not by name."),
    ] = False,
) -> None:
    """Compare gaps between the states of each held-out geometry with DFT."""
    files = [path for name in model for path in fast_models(name)]
    models = {f"model_{k + 1}": path for k, path in enumerate(files)}
    data = out / "data"
    collect_unseen(frames, data)
    found = predicted_frames(data, models, labels=not by_moments)
    pairs = find_pairs(found, list(models))
    for name, rows in (("free", pairs[pairs["free"]]), ("all", pairs)):
        table = answers(rows, list(models))
        with replacing(out / f"{name}.csv") as part:
            table.to_csv(part, index=False)
        text = markdown(table)
        write_text(out / f"{name}.md", text + "\n")
        typer.echo(f"{TITLES[name]}\n\n{text}\n")
    with replacing(out / "pairs.csv") as part:
        pairs.to_csv(part, index=False)


TITLES = {
    "free": "Free states only:",
    "all": "All, with held moments and solutions without any moment:",
}


if __name__ == "__main__":
    run_app(app, Console(stderr=True))
