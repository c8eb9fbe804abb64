# SPDX-License-Identifier: LGPL-3.0-or-later
"""What several verbs show: a progress bar, tables of spin states and of errors."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from functools import partial
from math import isnan
from typing import TYPE_CHECKING, Any, NamedTuple

from spin_dp.errors import OutsideTrainingData
from spin_dp.stages import Reporter

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    import pandas as pd
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.table import Table


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[..., None]]:
    """Show a progress bar where standard error is a terminal.

    Parameters
    ----------
    description
        What is done at first.

    Yields
    ------
    callable
        Takes ``description``, ``completed`` and ``total`` as keywords.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(
        console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        yield partial(bar.update, bar.add_task(description, total=None))


@contextmanager
def notes(console: Console, *loggers: str) -> Iterator[None]:
    """Show what some loggers say, and warnings, above a progress bar.

    Parameters
    ----------
    console
        Where the bar is.
    *loggers
        Their names.
    """
    handler = _Notes(console)
    known = [logging.getLogger(name) for name in loggers]
    thresholds = [logger.level for logger in known]
    for logger in known:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)

    def show(message: Warning | str, *_: object, **__: object) -> None:
        handler.print(f"warning: {message}")

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", OutsideTrainingData)
            warnings.showwarning = show
            yield
    finally:
        for logger, threshold in zip(known, thresholds, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(threshold)


class _Notes(logging.Handler):
    """Prints messages with the name of the program before them."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self.print(record.getMessage())

    def print(self, text: str) -> None:
        """Print a line of text as it is."""
        self._console.print(
            f"spin-dp: {text}", markup=False, highlight=False, soft_wrap=True
        )


@contextmanager
def stage_bars() -> Iterator[Reporter]:
    """Show stages and their parts as progress bars on standard error.

    Yields
    ------
    Reporter
        For :func:`spin_dp.stages.run_stages`.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    ) as bars:
        yield _StageBars(bars)


class _StageBars(Reporter):
    """Moves the bar of all stages and one for each part of the running one."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._stages = bars.add_task("all stages", total=None, note="")
        self._parts: dict[str, TaskID] = {}
        self._title = ""

    def begin(self, title: str, number: int, total: int) -> None:
        self._title = title
        self._bars.update(self._stages, completed=number - 1, total=total, note=title)

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        if label not in self._parts:
            self._parts[label] = self._bars.add_task(f"  {label}", note="")
        self._bars.update(self._parts[label], completed=done, total=total, note=note)

    def end(self, *, resumed: bool, seconds: float) -> None:
        word = "already done, took" if resumed else "done in"
        self._bars.console.print(f"[green]✓[/] {self._title}: {word} {seconds:.0f} s")
        for task in self._parts.values():
            self._bars.remove_task(task)
        self._parts.clear()
        self._bars.advance(self._stages)


def state_table(
    rows: pd.DataFrame, *, title: str, caption: str, with_level: bool
) -> Table:
    """Return the frames of each spin state as a table for the terminal.

    Parameters
    ----------
    rows
        Rows of :func:`spin_dp.data_tools.collection.manifest.key_table`.
    title, caption
        Texts above and below.
    with_level
        Whether to show the level of theory.

    Returns
    -------
    rich.table.Table
        One row for each formula (and level) and spin-state key.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, caption=caption)
    for column in ("formula", *(["level"] if with_level else []), "spin state"):
        table.add_column(column, overflow="fold")
    for column in ("train", "valid", "meV/atom"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows.itertuples(index=False):
        energies = {f"{row.lowest:.0f}", f"{row.highest:.0f}"}
        table.add_row(
            str(row.formula),
            *([str(row.level)] if with_level else []),
            escape(str(row.key)),
            str(row.training),
            str(row.validation),
            " to ".join(sorted(energies, key=float)),
        )
    return table


def score_table(rows: pd.DataFrame, *, title: str) -> Table:
    """Return the errors of a model by spin state as a table for the terminal.

    Parameters
    ----------
    rows
        Rows of one step of :func:`spin_dp.evaluation.validation.read_states_curve`.
    title
        Text above.

    Returns
    -------
    rich.table.Table
        One row for each formula and spin-state key, all frames together at the end.
    """
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    shown = [
        column
        for column in _SCORE_COLUMNS
        if column.name not in _SOMETIMES or rows[column.name].notna().any()
    ]
    table = Table(
        title=title,
        caption=f"RMS errors: {', '.join(c.about for c in shown if c.about)}",
        box=SIMPLE_HEAD,
        padding=0,  # so that long names of states fit
    )
    table.add_column("spin state", overflow="fold")  # the one that gives way
    table.add_column("frames", justify="right", no_wrap=True)
    for column in shown:
        table.add_column(column.heading, justify="right", no_wrap=True)

    def add_row(title: str, row: Mapping[Hashable, Any]) -> None:
        errors = [_number(c.factor * row[c.name], c.digits) for c in shown]
        table.add_row(title, str(row["frames"]), *errors)

    for formula, part in rows[rows["key"] != "all"].groupby("formula", sort=False):
        table.add_section()
        table.add_row(f"[bold]{escape(str(formula))}[/bold]")
        for row in part.to_dict(orient="records"):
            add_row("  " + escape(str(row["key"])), row)
    table.add_section()
    for row in rows[rows["key"] == "all"].to_dict(orient="records"):
        add_row("all", row)
    return table


class _ScoreColumn(NamedTuple):
    """A column of the table of errors: heading, unit in words, factor and digits."""

    name: str
    heading: str
    about: str
    digits: int
    factor: float = 1.0


_SCORE_COLUMNS = (
    _ScoreColumn("energy_meV_per_atom", "energy", "energy in meV/atom", 1),
    _ScoreColumn("force_meV_per_A", "force", "force in meV/Å", 0),
    _ScoreColumn("virial_meV_per_atom", "virial", "virial in meV/atom", 0),
    _ScoreColumn(
        "gap_meV",
        "gap",
        "energy difference of two states of a geometry in meV per cell",
        0,
    ),
    _ScoreColumn(
        "order", "order %", "share of such pairs in the right order", 0, 100.0
    ),
    _ScoreColumn(
        "magnetic_force_eV_per_muB", "-dE/dm", "magnetic force of metals in eV/μB", 3
    ),
    _ScoreColumn("moment_muB", "moment", "predicted moment of metals in μB", 3),
)
_SOMETIMES = ("virial_meV_per_atom", "magnetic_force_eV_per_muB", "moment_muB")
"""Shown where the frames have such a label and the model such a prediction."""


def _number(value: float, digits: int) -> str:
    return "" if isnan(value) else f"{value:.{digits}f}"
