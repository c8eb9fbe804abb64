# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp learn``: models choose the frames that DFT labels, and learn from them."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer

from spin_dp.cli.display import stage_bars

WAITS = 3
"""Exit status of a campaign that waits for DFT results."""


def learn(
    campaign: Annotated[
        Path,
        typer.Argument(
            metavar="CAMPAIGN.toml",
            help="Campaign file: frames at hand, what to explore, DFT engine, budget; "
            "see docs/learning.md, or begin with --new.",
            show_default=False,
        ),
    ],
    new: Annotated[
        bool,
        typer.Option(
            "--new", help="Write a campaign file to be filled in, and do nothing else."
        ),
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Explore and run DFT on the workers of this Dask scheduler, which "
            "must see the same files; instead of that in the file.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Runs of MD or DFT at a time; instead of that in the file.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Learn actively: explore by labelled MD, run DFT where models differ, train.

    An ensemble explores crystals, spin states, temperatures and pressures; frames that
    its models disagree about go to DFT; what DFT ended in is learnt; and again, until
    the budget is spent or the models agree. Whatever stops it, the same command goes
    on. Every generation has a page, report.html.
    """
    import logging

    from rich.console import Console

    from spin_dp.campaign.loop import End
    from spin_dp.campaign.loop import learn as run
    from spin_dp.campaign.settings import write_template

    if new:
        write_template(campaign)
        print(f"{campaign} is written; fill it in, then: spin-dp learn {campaign}")
        return
    logging.getLogger("deepmd").setLevel(logging.ERROR)  # hints cut the bars
    with stage_bars() as bars:
        result = run(campaign, scheduler=scheduler, workers=workers, reporter=bars)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(f"{result.note}.")
    console.print(
        f"{result.generations} generations, {result.dft_runs} DFT runs, "
        f"{result.hours:.2f} hours; models: {result.folder / 'models'}"
    )
    console.print(f"what was learnt: {result.page}")
    if result.end is End.WAITING:
        raise typer.Exit(WAITS)
