# SPDX-License-Identifier: LGPL-3.0-or-later
"""What several verbs show: a progress bar, tables of spin states and of errors."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import partial
from math import isnan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    import pandas as pd
    from rich.console import Console
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
    """Show what some loggers say, from level info on, above a progress bar.

    Parameters
    ----------
    console
        Where the bar is.
    *loggers
        Their names.
    """
    handler = _Notes(console)
    found = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in found]
    for logger in found:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(found, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


class _Notes(logging.Handler):
    """Prints messages with the name of the program before them."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        text = f"spin-dp: {record.getMessage()}"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


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

    table = Table(
        title=title,
        caption="RMS errors: meV/atom, meV/Å, energy difference of two states of a "
        "geometry in\nmeV per cell; share of such pairs in the right order; predicted "
        "moments of\nmetals in μB",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("spin state", no_wrap=True)
    has_moments = bool(rows["moment_muB"].notna().any())
    names = ["frames", "energy", "force", "gap", "order, %"]
    for name in [*names, "moment"] if has_moments else names:
        table.add_column(name, justify="right", no_wrap=True)
    for formula, part in rows[rows["key"] != "all"].groupby("formula", sort=False):
        table.add_section()
        table.add_row(f"[bold]{escape(str(formula))}[/bold]")
        for row in part.to_dict(orient="records"):
            table.add_row("  " + escape(str(row["key"])), *_errors(row, has_moments))
    table.add_section()
    for row in rows[rows["key"] == "all"].to_dict(orient="records"):
        table.add_row("all", *_errors(row, has_moments))
    return table


def _errors(row: Mapping[Hashable, Any], has_moments: bool) -> list[str]:
    cells = [
        str(row["frames"]),
        _number(row["energy_meV_per_atom"], 1),
        _number(row["force_meV_per_A"], 0),
        _number(row["gap_meV"], 0),
        _number(100.0 * row["order"], 0),
    ]
    return [*cells, _number(row["moment_muB"], 3)] if has_moments else cells


def _number(value: float, digits: int) -> str:
    return "" if isnan(value) else f"{value:.{digits}f}"
