# SPDX-License-Identifier: LGPL-3.0-or-later
"""Tables of an ensemble for the terminal: errors of its models, spread and error."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


def member_table(errors: pd.DataFrame) -> Table:
    """Return the errors of each model and of their mean on all frames.

    Parameters
    ----------
    errors
        See :class:`spin_dp.evaluation.ensemble_test.EnsembleTest`.
    """
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title="models of the ensemble, all frames",
        caption="RMS errors: energy in meV/atom, force in meV/Å, gap in meV per cell",
        box=SIMPLE_HEAD,
    )
    table.add_column("model", overflow="fold")
    for heading in ("energy", "force", "gap", "order %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in errors.to_dict(orient="records"):
        table.add_row(
            escape(str(row["model"])),
            _number(row["energy"], 1),
            _number(row["force"], 0),
            _number(row["gap"], 0),
            _number(100.0 * row["order"], 0),
        )
    return table


def spread_table(rows: pd.DataFrame, *, is_tested: bool) -> Table:
    """Return how well the spread of an ensemble tells its error.

    Parameters
    ----------
    rows
        Of :func:`spin_dp.evaluation.calibration.calibration_table`.
    is_tested
        Whether the factors are given ones, found on other frames.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    origin = (
        "in the given calibration"
        if is_tested
        else "found on the other geometries of these frames"
    )
    table = Table(
        title="spread of the models against their error",
        caption="RMS spread and error of one model; rank: Spearman's correlation of "
        "the two. 68 %, 95 %: share of errors in such intervals, as wide as normal "
        f"errors would make them → with factors {origin}; ×: the factors",
        box=SIMPLE_HEAD,
        padding=(0, 2, 0, 0),
    )
    table.add_column("", overflow="fold")  # the one that gives way
    for heading in ("spread", "error", "rank", "68 %", "95 %", "×"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows.to_dict(orient="records"):
        digits = 2 if row["unit"].startswith("eV") else 1
        table.add_row(
            f"{row['quantity'].replace('_', ' ')}, {row['unit']}",
            _number(row["deviation"], digits),
            _number(row["error"], digits),
            _number(row["spearman"], 2),
            _pair(row["coverage_68_before"], row["coverage_68"]),
            _pair(row["coverage_95_before"], row["coverage_95"]),
            f"{_number(row['factor_68'], 1)}, {_number(row['factor_95'], 1)}",
        )
    return table


def _pair(before: float, after: float) -> str:
    return f"{_number(100.0 * before, 0)} → {_number(100.0 * after, 0)}"


def _number(value: float, digits: int) -> str:
    return "-" if isnan(value) else f"{value:.{digits}f}"
