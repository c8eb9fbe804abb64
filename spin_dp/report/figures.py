# SPDX-License-Identifier: LGPL-3.0-or-later
"""The figures of the report but those of the band diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from spin_dp.drawing import (
    COLOURS,
    INK,
    OTHER,
    SPLIT_COLOURS,
    is_dense,
    other_states,
    outside_legend,
    shortened,
    styled,
    to_svg,
)
from spin_dp.report.statistics.counts import QUANTITIES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from spin_dp.report.dataset import Dataset

_WIDTH = 10.0
_MOST_PANELS = 8
_MOST_ROWS = 24
_BIN_MUB = 0.1


@dataclass(frozen=True)
class Picture:
    """A figure as SVG, and how many of its parts are not shown."""

    svg: str
    hidden: int = 0


def draw_moments(data: Dataset) -> Picture:
    """Draw how long the moments of each element are, coloured by state."""
    groups = data.sites.groupby(["element", "site_level"], sort=True)
    panels = [(str(element), str(level), rows) for (element, level), rows in groups]
    panels.sort(key=lambda panel: -len(panel[2]))
    shown = panels[:_MOST_PANELS]
    if not shown:
        return Picture("")
    with styled():
        figure = Figure(figsize=(_WIDTH, 2.7 * len(shown)), layout="constrained")
        axes = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
        for axis, (element, level, sites) in zip(axes, shown, strict=True):
            _draw_histogram(axis, sites)
            _draw_boundaries(axis, data.states, element, level)
            axis.set_title(f"{element}: {len(sites)} sites, {level}")
            axis.set_ylabel("sites")
        axes[-1].set_xlabel("length of the moment (μB)")
        svg = to_svg(figure, "moments", "Histograms of moments")
    return Picture(svg, len(panels) - len(shown))


def _draw_histogram(axis: Axes, sites: pd.DataFrame) -> None:
    top = max(float(sites["length"].max()), 1.0)
    edges = np.arange(0.0, top + 2 * _BIN_MUB, _BIN_MUB)
    counts = sites["state"].value_counts()
    named = list(counts.index[: len(COLOURS)])
    means = sites.groupby("state")["length"].mean()
    named.sort(key=lambda label: float(means[label]))
    groups = [(label, sites.loc[sites["state"] == label, "length"]) for label in named]
    colours = list(COLOURS[: len(groups)])
    rest = sites.loc[~sites["state"].isin(named), "length"]
    if len(rest):
        groups.append((other_states(list(counts.index[len(COLOURS) :])), rest))
        colours.append(OTHER)
    axis.hist(
        [values.to_numpy() for _, values in groups],
        bins=edges.tolist(),
        stacked=True,
        color=colours,
        label=[f"{label} ({len(values)})" for label, values in groups],
    )
    axis.set_xlim(0.0, edges[-1])
    axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    outside_legend(axis)


def _draw_boundaries(
    axis: Axes, states: pd.DataFrame, element: str, level: str
) -> None:
    """Draw where states part: half way between their ranges."""
    of_panel = (states["element"] == element) & (states["site_level"] == level)
    ranges = states[of_panel].sort_values("mean")
    right = axis.get_xlim()[1]
    for end, start in zip(ranges["highest"], ranges["lowest"].iloc[1:], strict=False):
        limit = 0.5 * (end + start)
        if end < start and 0.0 < limit < right:
            axis.axvline(limit, color=INK, linestyle=(0, (4, 3)), linewidth=1.0)


def draw_keys(keys: pd.DataFrame) -> Picture:
    """Draw the number of frames of the most frequent states.

    Parameters
    ----------
    keys
        Table of :func:`spin_dp.data_tools.collection.manifest.key_table`.

    Returns
    -------
    Picture
        One row per state.
    """
    top = _top_rows(keys, by="frames", then="lowest")
    with styled():
        figure, axis = _rows_figure(top)
        left = np.zeros(len(top))
        for split, colour in SPLIT_COLOURS.items():
            counts = top[split].to_numpy(dtype=float)
            if counts.any():
                axis.barh(
                    top["place"],
                    counts,
                    left=left,
                    color=colour,
                    label=split,
                    height=0.7,
                )
            left += counts
        axis.set_xlabel("frames")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(visible=False, axis="y")
        axis.margins(y=0.01)
        outside_legend(axis)
        svg = to_svg(figure, "keys", "Frames per spin state")
    return Picture(svg, len(keys) - len(top))


def draw_gaps(gaps: pd.DataFrame) -> Picture:
    """Draw the gap of each geometry.

    Parameters
    ----------
    gaps
        Table of :func:`spin_dp.report.statistics.gaps.state_gaps`.

    Returns
    -------
    Picture
        One row per state.
    """
    names = ["formula", "level", "key"]
    rows = gaps.groupby(names, as_index=False)["gap_per_metal"].agg(["size", "median"])
    top = _top_rows(rows, by="size", then="median")
    points = gaps.merge(top[[*names, "place"]], on=names)
    formulas = list(dict.fromkeys(top["formula"]))
    colours = [COLOURS[formulas.index(name) % 2] for name in points["formula"]]
    with styled():
        figure, axis = _rows_figure(top)
        axis.scatter(
            points["gap_per_metal"],
            points["place"],
            s=26,
            color=colours,
            alpha=0.65,
            linewidths=0.0,
            rasterized=is_dense(len(points)),
            clip_on=False,
        )
        axis.vlines(
            top["median"],
            top["place"] - 0.38,
            top["place"] + 0.38,
            color=INK,
            linewidth=1.6,
        )
        axis.set_ylim(-0.7, len(top) - 0.3)
        axis.set_xlim(left=0.0)
        axis.set_xlabel(
            "energy above the lowest state of the same geometry (meV per metal)"
        )
        svg = to_svg(figure, "gaps", "Energy gaps between spin states")
    return Picture(svg, len(rows) - len(top))


def _top_rows(table: pd.DataFrame, *, by: str, then: str) -> pd.DataFrame:
    """Return the rows with most ``by``, with their ``place`` from below."""
    top = table.sort_values(by, ascending=False, kind="stable").head(_MOST_ROWS)
    top = top.sort_values(["formula", "level", then], kind="stable")
    return top.assign(place=np.arange(len(top))[::-1])


def _rows_figure(rows: pd.DataFrame) -> tuple[Figure, Axes]:
    """Return a figure with a named line for each formula, level and key."""
    figure = Figure(figsize=(_WIDTH, 1.0 + 0.29 * len(rows)), layout="constrained")
    axis = figure.subplots()
    names = rows["formula"] + "  " + rows["key"]
    if rows["level"].nunique() > 1:
        names += "  " + rows["level"]
    axis.set_yticks(rows["place"], [shortened(name, 62) for name in names])
    return figure, axis


def draw_coverage(frames: pd.DataFrame, per_geometry: pd.Series) -> Picture:
    """Draw the ranges of training and validation, and the states per geometry.

    Parameters
    ----------
    frames
        Kept frames.
    per_geometry
        Of :func:`spin_dp.report.statistics.counts.states_per_geometry`.

    Returns
    -------
    Picture
        One panel per quantity.
    """
    with styled():
        figure = Figure(figsize=(_WIDTH, 5.6), layout="constrained")
        axes = figure.subplots(2, 3).ravel()
        for axis, (column, (name, unit)) in zip(axes, QUANTITIES.items(), strict=False):
            _draw_split(axis, frames, column)
            axis.set_xlabel(
                f"{name} ({unit})" if len(name) < 22 else f"{name}\n({unit})"
            )
        axes[0].set_ylabel("frames")
        axes[3].set_ylabel("frames")
        axes[4].bar(per_geometry.index, per_geometry.to_numpy(), color=COLOURS[2])
        axes[4].set_xlabel("states of one geometry")
        axes[4].set_ylabel("geometries")
        axes[4].xaxis.set_major_locator(MaxNLocator(integer=True))
        handles, labels = axes[0].get_legend_handles_labels()
        axes[5].legend(handles, labels, loc="center left")
        axes[5].set_axis_off()
        svg = to_svg(figure, "coverage", "Ranges of training and validation frames")
    return Picture(svg)


def _draw_split(axis: Axes, frames: pd.DataFrame, column: str) -> None:
    values = frames[column].dropna()
    if values.empty:
        axis.text(0.5, 0.5, "none", ha="center", transform=axis.transAxes)
        return
    edges = np.histogram_bin_edges(values, bins=24)
    groups = [
        (split, frames.loc[frames["split"] == split, column].dropna().to_numpy())
        for split in SPLIT_COLOURS
    ]
    axis.hist(
        [values for _, values in groups],
        bins=edges.tolist(),
        stacked=True,
        color=list(SPLIT_COLOURS.values()),
        label=[f"{split} ({len(values)})" for split, values in groups],
    )
    axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
