# SPDX-License-Identifier: LGPL-3.0-or-later
"""The picture of the benchmark: errors by model, a point for each seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.accuracy.models import MODELS
from benchmarks.accuracy.results import ALL, BUDGETS, QUANTITIES
from spin_dp.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

PANELS = ("energy", "force", "gap", "order")
COLOURS = {"steps": "#0072B2", "time": "#D55E00"}
_SHIFT = {"steps": -0.14, "time": 0.14}


def plot_accuracy(path: Path, results: pd.DataFrame) -> Path:
    """Draw the errors on all held-out frames."""
    rows = results[results["subset"] == ALL]
    names = [name for name in MODELS if name in set(rows["model"])]
    figure = Figure(figsize=(14.0, 1.6 + 0.5 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(PANELS), sharey=True)
    for axis, quantity in zip(axes, PANELS, strict=True):
        heading, factor, _ = QUANTITIES[quantity]
        for row, name in enumerate(names):
            for budget, shift in _SHIFT.items():
                chosen = rows[(rows["model"] == name) & (rows["budget"] == budget)]
                values = chosen[quantity].dropna() * factor
                if values.empty:
                    continue
                colour = COLOURS[budget]
                height = row + shift
                axis.plot(values, [height] * len(values), "o", color=colour, alpha=0.35)
                axis.plot(values.mean(), height, "|", color=colour, ms=14, mew=2.5)
        axis.set_xlim(left=0.0)
        axis.set_xlabel(heading)
        axis.grid(axis="x", color="#dddddd", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), [MODELS[name].title for name in names])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    handles = [
        Line2D([], [], color=COLOURS[budget], marker="o", linestyle="", label=title)
        for budget, title in BUDGETS.items()
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, frameon=False)
    figure.suptitle("Held-out geometries; bar: mean of the seeds", x=0.01, ha="left")
    with replacing(path) as part:
        figure.savefig(part, dpi=150, format="png")
    return path
