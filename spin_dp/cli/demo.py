# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp demo``: the whole way once, on the frames in ``examples/gpaw``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import TaskID


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
    with _Bars() as bars:
        summary = run_demo(data, output, settings=settings, fresh=fresh, reporter=bars)
    headline = summary.read_text().partition("\n![")[0]
    Console().print(Markdown(headline))
    print(f"\nEverything is in {output}; read {summary} first.")


class _Bars:
    """Draws stages and their parts as progress bars on stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._stages: TaskID | None = None
        self._parts: dict[str, TaskID] = {}
        self._title = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, title: str, number: int, total: int) -> None:
        """Show the stage that starts."""
        if self._stages is None:
            self._stages = self._progress.add_task("all stages", total=total, note="")
        self._title = title
        self._progress.update(self._stages, completed=number - 1, note=title)

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Move the bar of a part, made when it is first heard of."""
        if label not in self._parts:
            self._parts[label] = self._progress.add_task(
                f"  {label}", total=total, note=""
            )
        self._progress.update(
            self._parts[label], completed=done, total=total, note=note
        )

    def end(self, *, resumed: bool, seconds: float) -> None:
        """Write the finished stage above the bars."""
        word = "already done, took" if resumed else "done in"
        self._progress.console.print(
            f"[green]✓[/] {self._title}: {word} {seconds:.0f} s"
        )
        for task in self._parts.values():
            self._progress.remove_task(task)
        self._parts.clear()
        if self._stages is not None:
            self._progress.advance(self._stages)
