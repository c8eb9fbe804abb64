# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the HTML pages have in common: their look, and tables as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import jinja2
import numpy as np

from spin_dp.report.verdicts import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

MOST_ROWS = 40
"""Rows of a table that are shown."""

Columns: TypeAlias = "Mapping[str, tuple[str, Callable[[Any], str] | None]]"
"""Heading and form of each column that is shown; None: words."""


def digits(count: int, factor: float = 1.0, unit: str = "") -> Callable[[Any], str]:
    """Return what writes a number, a dash where there is none."""
    return lambda value: (
        f"{factor * value:.{count}f}{unit}" if np.isfinite(value) else NOTHING
    )


COUNT, PERCENT = digits(0), digits(0, 100.0, " %")


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes
    ----------
    header
        Names of the columns.
    rows
        Cells.
    words
        Numbers of the columns that hold words; others stand to the right.
    hidden
        How many rows are not shown.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int]
    hidden: int


def as_text(table: pd.DataFrame, columns: Columns) -> Table:
    """Return the first rows of a table as text, those of the columns that it has."""
    columns = {name: column for name, column in columns.items() if name in table}
    if "level" in table and "key" in table:
        # The level stands where it differs from that of the row above.
        repeated = table["level"] == table["level"].shift()
        table = table.assign(level=table["level"].mask(repeated, "″"))
    top = table.head(MOST_ROWS)
    cells = [top[name].map(form or str) for name, (_, form) in columns.items()]
    return Table(
        header=[heading for heading, _ in columns.values()],
        rows=list(zip(*cells, strict=True)),
        words=[i for i, (_, form) in enumerate(columns.values()) if form is None],
        hidden=max(0, len(table) - MOST_ROWS),
    )


def render(package: str, template: str, **values: object) -> str:
    """Return a page: HTML without links, scripts or anything outside it.

    Parameters
    ----------
    package
        Where the template is; it may extend ``base.html.j2`` and import the macros of
        ``parts.html.j2``.
    template
        Its name.
    **values
        What it shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.PackageLoader(package, "."),
                jinja2.PackageLoader("spin_dp.report", "."),
            ]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(**values)
