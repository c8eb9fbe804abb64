# SPDX-License-Identifier: LGPL-3.0-or-later
"""The figures of a campaign's pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from spin_dp.drawing import COLOURS, OTHER, outside_legend, shortened, styled, to_svg
from spin_dp.evaluation.tables import ALL
from spin_dp.report.figures import Picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from spin_dp.campaign.record import GenerationFolder

_WIDTH = 10.0
_MOST_RUNS = len(COLOURS)
_MEASURES = {"energy": "meV/atom", "force": "meV/Å", "gap": "meV/cell"}


def draw_errors(errors: pd.DataFrame) -> Picture:
    """Draw errors of each composition, before and after."""
    rows = errors[errors["formula"] != ALL] if len(errors) else errors
    if not len(rows):
        return Picture("")
    height = 1.2 + 0.28 * len(rows)
    places = np.arange(len(rows))[::-1]
    with styled():
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.subplots(1, len(_MEASURES), sharey=True)
        for axis, (name, unit) in zip(axes, _MEASURES.items(), strict=True):
            if f"{name}_before" in rows:
                axis.plot(
                    rows[f"{name}_before"],
                    places,
                    "o",
                    color=OTHER,
                    markerfacecolor="none",
                    label="before",
                )
            axis.plot(rows[f"{name}_after"], places, "o", color=COLOURS[0], label="now")
            axis.set_xlabel(f"{name}, {unit}")
            axis.set_xlim(left=0.0)
        axes[0].set_yticks(places, [shortened(str(f), 24) for f in rows["formula"]])
        outside_legend(axes[-1])
        return Picture(to_svg(figure, "errors", "Errors by composition"))


def draw_runs(place: GenerationFolder) -> Picture:
    """Draw the force deviation of the most doubtful runs against time."""
    deviations = place.read("deviations")
    if not len(deviations):
        return Picture("")
    largest = deviations.groupby("run")["force_deviation"].max()
    names = list(largest.sort_values(ascending=False).index)
    with styled():
        figure = Figure(figsize=(_WIDTH, 4.0), layout="constrained")
        axis = figure.subplots()
        for name, colour in zip(names, COLOURS, strict=False):
            rows = deviations[deviations["run"] == name]
            label = shortened(str(name), 40)
            axis.plot(
                rows["time_ps"], rows["force_deviation"], color=colour, label=label
            )
        _draw_band(axis, place.read("band"))
        axis.set_yscale("log")
        axis.set_xlabel("time, ps")
        axis.set_ylabel("largest force deviation, eV/Å")
        outside_legend(axis)
        svg = to_svg(figure, "runs", "Force deviation of MD runs against time")
    return Picture(svg, max(0, len(names) - _MOST_RUNS))


def _draw_band(axis: Axes, band: pd.DataFrame) -> None:
    if len(band):
        low, high = float(band["low"].iloc[0]), float(band["high"].iloc[0])
        axis.axhspan(low, high, color=COLOURS[1], alpha=0.15, linewidth=0.0)


def draw_learnt(learnt: pd.DataFrame) -> Picture:
    """Draw the true force error of new frames against what the models disagreed by."""
    if not len(learnt) or "force_deviation" not in learnt:
        return Picture("")
    rows = learnt.dropna(subset=["force_deviation", "force_error"])
    if not len(rows):
        return Picture("")
    with styled():
        figure = Figure(figsize=(6.0, 4.0), layout="constrained")
        axis = figure.subplots()
        axis.plot(rows["force_deviation"], rows["force_error"], "o", color=COLOURS[0])
        axis.set_xlabel("largest force deviation when it was chosen, eV/Å")
        axis.set_ylabel("force error against DFT, rms, meV/Å")
        axis.set_xlim(left=0.0)
        axis.set_ylim(bottom=0.0)
        svg = to_svg(figure, "learnt", "True force errors against deviations")
    return Picture(svg)


def draw_generations(
    places: Sequence[GenerationFolder], table: pd.DataFrame
) -> Picture:
    """Draw errors on held-out geometries and the doubtful share by generation."""
    with styled():
        figure = Figure(figsize=(_WIDTH, 3.2), layout="constrained")
        axes = figure.subplots(1, len(_MEASURES) + 1)
        for axis, (name, unit) in zip(axes, _MEASURES.items(), strict=False):
            for place in places:
                errors = place.read("errors")
                total = errors[errors["formula"] == ALL] if len(errors) else errors
                if len(total) and f"{name}_before" in total:
                    pair = [total[f"{name}_{w}"].iloc[0] for w in ("before", "after")]
                    steps = [place.number - 1, place.number]
                    axis.plot(steps, pair, "o-", color=COLOURS[0], markersize=4.0)
            axis.set_ylabel(f"{name}, {unit}")
            axis.set_ylim(bottom=0.0)
        last = axes[-1]
        last.plot(
            table["generation"], 100.0 * table["doubtful"], "o-", color=COLOURS[1]
        )
        last.set_ylabel("doubtful frames, %")
        last.set_ylim(bottom=0.0)
        for axis in axes:
            axis.set_xlabel("generation")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        return Picture(to_svg(figure, "generations", "Errors by generation"))
