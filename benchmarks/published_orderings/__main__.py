# SPDX-License-Identifier: LGPL-3.0-or-later
"""``python -m benchmarks.published_orderings LiMnPO4.json -o DIR``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.console import Console

from benchmarks.command_line import run_app
from benchmarks.published_orderings.answers import (
    CUTOFF,
    by_constants,
    by_model,
    leave_two_out,
    pair_row,
)
from benchmarks.published_orderings.orderings import read_orderings
from spin_dp.files import replacing

app = typer.Typer(add_completion=False)

CUTOFFS = (4.2, 5.0, 5.7, CUTOFF)


@app.command()
def main(
    path: Annotated[Path, typer.Argument(help="The file of orderings.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Output folder.")],
    element: Annotated[str, typer.Option(help="With moments.")] = "Mn",
    steps: Annotated[int, typer.Option(help="Of each training; 0: none.")] = 300,
) -> None:
    """Leave two orderings out, and ask constants and trained models for them."""
    found = read_orderings(path, element)
    out.mkdir(parents=True, exist_ok=True)
    every = leave_two_out(found, CUTOFFS)
    typer.echo(every.round(2).to_string(index=False))
    rows = []
    # Each once, far from each other in energy and near.
    order = np.argsort(found.energies)
    half = len(order) // 2
    for low, high in zip(order[:half], order[half:], strict=False):
        pair = (int(low), int(high))
        asked = {f"{c:g} Å": by_constants(found, pair, c) for c in CUTOFFS[1:]}
        if steps:
            asked["model"] = by_model(found, pair, out, steps)
        for name, energies in asked.items():
            if energies is not None:
                placed = pair_row(found, pair, energies)
                rows.append({"left_out": f"{low}, {high}", "by": name, **placed})
        table = pd.DataFrame(rows)
        with replacing(out / "left_out.csv") as part:
            table.to_csv(part, index=False)
    typer.echo(table.round(2).to_string(index=False))


if __name__ == "__main__":
    run_app(app, Console(stderr=True))
