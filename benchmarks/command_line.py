# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the command lines of benchmarks share."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TimeElapsedColumn,
)

from spin_dp.errors import ConfigError, SpinDPError
from spin_dp.threads import default_to_one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from typer import Typer


@contextlib.contextmanager
def named_bars(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that shows how many steps something of a name has done."""
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)
            if done >= total:
                bars.remove_task(tasks.pop(name))
                bars.console.print(f"{name}: done", highlight=False)

        yield report


def split_names(text: str) -> list[str]:
    """Return names separated by commas; ConfigError if there are none."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise ConfigError("expected names or numbers separated by commas, got none.")
    return found


def run_app(app: Typer, console: Console) -> None:
    """Run a command line; errors on purpose are one line and status 1."""
    default_to_one_thread()
    try:
        app()
    except SpinDPError as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False)
        raise SystemExit(1) from None
