# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp demo``: the whole way once, on the frames in ``examples/gpaw``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from spin_dp.cli.display import stage_bars


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Output folder.")
    ] = Path("demo"),
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with the reference frames.")
    ] = Path("examples/gpaw"),
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="Training steps.", show_default=False),
    ] = None,
    md_steps: Annotated[
        int | None, typer.Option(metavar="N", help="MD steps.", show_default=False)
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over instead of going on.")
    ] = False,
) -> None:
    """Go from DFT frames to models, MD and spin-state energies; resumes."""
    import logging

    from rich.console import Console
    from rich.markdown import Markdown

    from spin_dp.demo.pipeline import DemoSettings, run_demo

    logging.getLogger("deepmd").setLevel(logging.ERROR)  # hints cut the bars
    settings = DemoSettings()
    if steps is not None:
        settings = replace(settings, training=replace(settings.training, steps=steps))
    if md_steps is not None:
        settings = replace(settings, md_steps=md_steps)
    with stage_bars() as bars:
        summary = run_demo(data, output, settings=settings, fresh=fresh, reporter=bars)
    headline = summary.read_text().partition("\n![")[0]
    Console().print(Markdown(headline))
    print(f"\nEverything is in {output}; read {summary} first.")
