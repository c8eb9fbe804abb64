# SPDX-License-Identifier: LGPL-3.0-or-later
"""What came out: errors by number of labels, labels needed for the same error."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.active_learning.learn import RESULTS
from benchmarks.active_learning.plan import STRATEGIES
from spin_dp.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

SUMMARY = "summary.md"
QUANTITIES = {
    "energy_rmse": "E, meV/atom",
    "force_rmse": "F, meV/Å",
    "magnetic_rmse": "magnetic force, meV/μB",
}


def learning_curves(results: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Return mean errors by labels (rows) and strategy (columns).

    Of the students of an ensemble, then of the seeds; every strategy begins with the
    students of the common start.
    """
    by_seed = results.groupby(["strategy", "seed", "labels"])[quantity].mean()
    parts = {}
    for strategy in STRATEGIES:
        if strategy not in by_seed:
            continue
        rows = by_seed[strategy]
        seeds = rows.index.get_level_values("seed").unique()
        begin = by_seed["start"].loc[seeds]
        parts[strategy] = pd.concat([begin, rows]).groupby("labels").mean()
    return pd.DataFrame(parts)


def labels_needed(curve: pd.Series, error: float) -> float:
    """Return at how many labels a curve first falls to an error; nan if never.

    Between two rounds the error is interpolated linearly.
    """
    labels, errors = curve.index.to_numpy(dtype=float), curve.to_numpy(dtype=float)
    for k in range(len(errors)):
        if errors[k] <= error:
            if k == 0:
                return float(labels[0])
            share = (errors[k - 1] - error) / (errors[k - 1] - errors[k])
            return float(labels[k - 1] + share * (labels[k] - labels[k - 1]))
    return nan


def write_summary(out: Path) -> Path:
    """Write ``summary.md`` from ``results.csv``; return its path."""
    results = pd.read_csv(out / RESULTS)
    text = []
    for quantity, title in QUANTITIES.items():
        curves = learning_curves(results, quantity)
        header = ["labels", *curves.columns]
        rows = [
            [f"{labels:g}", *(f"{value:.1f}" for value in values)]
            for labels, values in zip(curves.index, curves.to_numpy(), strict=True)
        ]
        if "random" in curves:
            final = float(curves["random"].dropna().iloc[-1])
            needed = [labels_needed(curves[name].dropna(), final) for name in curves]
            rows.append(
                [
                    "labels for random's last error",
                    *("not reached" if np.isnan(n) else f"{n:.0f}" for n in needed),
                ]
            )
        text += [f"{title}", "", _row(header), _row(["---"] * len(header))]
        text += [*map(_row, rows), ""]
    path = out / SUMMARY
    write_text(path, "\n".join(text))
    return path


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
