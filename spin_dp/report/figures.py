# SPDX-License-Identifier: LGPL-3.0-or-later
"""The figures of the report but those of the band diagnosis."""

from __future__ import annotations

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
    styled,
    to_svg,
)
from spin_dp.report.summary import QUANTITIES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from spin_dp.report.dataset import Dataset

_WIDTH = 10.0
_MOST_PANELS = 8
_MOST_ROWS = 24
_BIN_MUB = 0.1


def moment_panels(data: Dataset) -> list[tuple[str, str, pd.DataFrame]]:
    """Return element, site level and sites of the moment histograms, most first."""
    groups = data.sites.groupby(["element", "site_level"], sort=True)
    panels = [(str(element), str(level), rows) for (element, level), rows in groups]
    return sorted(panels, key=lambda panel: -len(panel[2]))


def draw_moments(data: Dataset) -> tuple[str, int]:
    """Draw how long the moments of each element are, coloured by state.

    Returns
    -------
    tuple
        The SVG, and how many panels are not shown.
    """
    panels = moment_panels(data)
    shown = panels[:_MOST_PANELS]
    if not shown:
        return "", 0
    with styled():
        figure = Figure(figsize=(_WIDTH, 2.7 * len(shown)), layout="constrained")
        axes = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
        for axis, (element, level, sites) in zip(axes, shown, strict=True):
            _draw_histogram(axis, sites)
            _draw_boundaries(axis, data.states, element, level)
            axis.set_title(f"{element}: {len(sites)} sites, {level}")
            axis.set_ylabel("sites")
        axes[-1].set_xlabel("length of the moment (μB)")
        return to_svg(figure, "moments", "Histograms of moments"), len(panels) - len(
            shown
        )


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
    """Draw where the states of an element and site level part."""
    own = states[(states["element"] == element) & (states["site_level"] == level)]
    right = axis.get_xlim()[1]
    for limit in _limits(own):
        if 0.0 < limit < right:
            axis.axvline(limit, color=INK, linestyle=(0, (4, 3)), linewidth=1.0)


def _limits(states: pd.DataFrame) -> list[float]:
    """Return where states part: half way between their ranges."""
    ranges = states.sort_values("mean")
    pairs = zip(ranges["highest"].iloc[:-1], ranges["lowest"].iloc[1:], strict=True)
    return [0.5 * (end + start) for end, start in pairs if end < start]


def draw_keys(keys: pd.DataFrame) -> tuple[str, int]:
    """Draw the number of frames of the most frequent states.

    Parameters
    ----------
    keys
        Table of :func:`spin_dp.data_tools.collection.manifest.key_table`.

    Returns
    -------
    tuple
        The SVG, and how many states are not shown.
    """
    top = keys.sort_values("frames", ascending=False, kind="stable").head(_MOST_ROWS)
    top = top.sort_values(["formula", "level", "lowest"], kind="stable")
    names = _row_names(top)
    places = np.arange(len(top))[::-1]
    with styled():
        figure = Figure(figsize=(_WIDTH, 0.9 + 0.29 * len(top)), layout="constrained")
        axis = figure.subplots()
        left = np.zeros(len(top))
        for split, colour in SPLIT_COLOURS.items():
            counts = top[split].to_numpy(dtype=float)
            if counts.any():
                axis.barh(
                    places, counts, left=left, color=colour, label=split, height=0.7
                )
            left += counts
        axis.set_yticks(places, names)
        axis.set_xlabel("frames")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(visible=False, axis="y")
        axis.margins(y=0.01)
        outside_legend(axis)
        return to_svg(figure, "keys", "Frames per spin state"), len(keys) - len(top)


def _row_names(table: pd.DataFrame) -> list[str]:
    several = table["level"].nunique() > 1
    return [
        _short(f"{row.formula}  {row.key}" + (f"  {row.level}" if several else ""))
        for row in table.itertuples(index=False)
    ]


def _short(text: str, most: int = 62) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def draw_gaps(gaps: pd.DataFrame) -> tuple[str, int]:
    """Draw the gap of each geometry, one row per state.

    Parameters
    ----------
    gaps
        Table of :func:`spin_dp.report.gaps.state_gaps`.

    Returns
    -------
    tuple
        The SVG, and how many states are not shown.
    """
    names = ["formula", "level", "key"]
    rows = gaps.groupby(names, sort=True).agg(
        count=("gap_per_metal", "size"), median=("gap_per_metal", "median")
    )
    rows = rows.reset_index()
    top = rows.sort_values("count", ascending=False, kind="stable").head(_MOST_ROWS)
    top = top.sort_values(["formula", "level", "median"], kind="stable")
    with styled():
        figure = Figure(figsize=(_WIDTH, 1.0 + 0.29 * len(top)), layout="constrained")
        axis = figure.subplots()
        formulas = list(dict.fromkeys(top["formula"]))
        total = 0
        for place, row in zip(range(len(top))[::-1], top.itertuples(), strict=True):
            mask = (gaps[names] == [row.formula, row.level, row.key]).all(axis=1)
            values = gaps.loc[mask, "gap_per_metal"].to_numpy(dtype=float)
            total += len(values)
            colour = COLOURS[formulas.index(row.formula) % 2]
            axis.scatter(
                values,
                place + 0.0 * values,
                s=26,
                color=colour,
                alpha=0.65,
                linewidths=0.0,
                rasterized=is_dense(len(values)),
                clip_on=False,
            )
            axis.vlines(
                np.median(values), place - 0.38, place + 0.38, color=INK, linewidth=1.6
            )
        axis.set_yticks(np.arange(len(top))[::-1], _row_names(top))
        axis.set_ylim(-0.7, len(top) - 0.3)
        axis.set_xlim(left=0.0)
        axis.set_xlabel(
            "energy above the lowest state of the same geometry (meV per metal)"
        )
        return to_svg(figure, "gaps", "Energy gaps between spin states"), len(
            rows
        ) - len(top)


def draw_coverage(frames: pd.DataFrame, per_geometry: pd.Series) -> str:
    """Draw the ranges of training and validation, and the states per geometry.

    Parameters
    ----------
    frames
        Kept frames.
    per_geometry
        Of :func:`spin_dp.report.summary.states_per_geometry`.

    Returns
    -------
    str
        The SVG.
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
        return to_svg(figure, "coverage", "Ranges of training and validation frames")


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
