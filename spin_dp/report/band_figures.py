# SPDX-License-Identifier: LGPL-3.0-or-later
"""The figures of the band diagnosis: parity and residuals, coloured by spin state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from spin_dp.drawing import (
    COLOURS,
    INK,
    MARKERS,
    MOMENT_COLOURS,
    OTHER,
    OTHER_MARKER,
    is_dense,
    other_states,
    shortened,
    styled,
    to_svg,
)
from spin_dp.report.figures import Picture

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from spin_dp.report.statistics.diagnosis import Diagnosis, Finding
    from spin_dp.report.statistics.residuals import Floats

_WIDTH = 10.0
_MOST_FINDINGS = 6
_BINS = 30


def draw_overview(frames: pd.DataFrame, diagnosis: Diagnosis, name: str) -> Picture:
    """Draw the parity plot and the residuals of all frames, coloured by moment.

    Parameters
    ----------
    frames
        Kept frames.
    diagnosis
        Of their residuals.
    name
        Name of the figure.

    Returns
    -------
    Picture
        Two panels.
    """
    residuals = diagnosis.residuals.values
    above = frames["above"].to_numpy(dtype=float)
    moments = frames["mean_moment"].fillna(0.0).to_numpy(dtype=float)
    classes = np.minimum(np.rint(moments), len(MOMENT_COLOURS) - 1).astype(int)
    present = sorted(set(classes.tolist()))
    with styled():
        figure = Figure(figsize=(_WIDTH, 4.4), layout="constrained")
        parity, histogram = figure.subplots(1, 2)
        order = np.random.default_rng(0).permutation(len(frames))  # none on top
        parity.scatter(
            above[order],
            (above + residuals)[order],
            c=[MOMENT_COLOURS[i] for i in classes[order]],
            s=18,
            alpha=0.75,
            linewidths=0.0,
            rasterized=is_dense(len(frames)),
        )
        parity.axline((0.0, 0.0), slope=1.0, color=INK, linewidth=1.0)
        parity.set_xlabel("DFT energy above the lowest frame (meV/atom)")
        parity.set_ylabel("predicted on the same scale (meV/atom)")
        _stack(
            histogram,
            [residuals[classes == i] for i in present],
            [MOMENT_COLOURS[i] for i in present],
        )
        handles = [_handle(MOMENT_COLOURS[i], "o", _moment_name(i)) for i in present]
        histogram.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            title="mean |moment|\nof the metals",
        )
        return Picture(to_svg(figure, name, "Parity plot and residuals of all frames"))


def draw_findings(frames: pd.DataFrame, diagnosis: Diagnosis, name: str) -> Picture:
    """Draw the residuals of single formulas and levels, coloured by spin state.

    Parameters
    ----------
    frames
        Kept frames.
    diagnosis
        Of their residuals.
    name
        Name of the figure.

    Returns
    -------
    Picture
        Two panels for each formula and level.
    """
    tested = [f for f in diagnosis.findings if f.outcome != "few"]
    ranked = sorted(tested, key=lambda f: (-len(f.bands.distances), -len(f.rows)))
    shown = ranked[:_MOST_FINDINGS]
    if not shown:
        return Picture("")
    with styled():
        figure = Figure(figsize=(_WIDTH, 3.3 * len(shown)), layout="constrained")
        axes = figure.subplots(len(shown), 2, squeeze=False)
        for row, finding in zip(axes, shown, strict=True):
            _draw_finding(row[0], row[1], frames.loc[finding.rows], finding, diagnosis)
        svg = to_svg(figure, name, "Residuals by formula, coloured by spin state")
    return Picture(svg, len(tested) - len(shown))


def _draw_finding(
    scatter: Axes,
    histogram: Axes,
    rows: pd.DataFrame,
    finding: Finding,
    diagnosis: Diagnosis,
) -> None:
    residuals = diagnosis.residuals.values[finding.rows.to_numpy()]
    above = rows["above"].to_numpy(dtype=float)
    is_fit = diagnosis.residuals.reads_moments is None
    x = rows["volume"].to_numpy(dtype=float) if is_fit else above
    y = above if is_fit else above + residuals
    groups = _groups(finding, above)
    for label, colour, marker, mask in groups:
        scatter.scatter(
            x[mask],
            y[mask],
            s=26,
            color=colour,
            marker=marker,
            alpha=0.8 if colour != OTHER else 0.4,
            zorder=3 if colour != OTHER else 2,
            linewidths=0.0,
            label=label,
            rasterized=is_dense(len(rows)),
        )
    scatter.set_ylabel(
        "DFT above lowest (meV/atom)" if is_fit else "predicted (meV/atom)"
    )
    scatter.set_xlabel(
        "volume (Å³/atom)" if is_fit else "DFT energy above the lowest frame (meV/atom)"
    )
    if not is_fit:
        scatter.axline((0.0, 0.0), slope=1.0, color=INK, linewidth=1.0)
    scatter.set_title(f"{finding.formula}, {len(rows)} frames")
    _stack(
        histogram,
        [residuals[mask] for _, _, _, mask in groups],
        [colour for _, colour, _, _ in groups],
    )
    for centre in finding.bands.centres:
        if finding.bands.distances:
            histogram.axvline(centre, color=INK, linestyle=(0, (4, 3)), linewidth=1.2)
    handles = [_handle(colour, marker, label) for label, colour, marker, _ in groups]
    histogram.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _groups(
    finding: Finding, above: Floats
) -> list[tuple[str, str, str, np.ndarray[tuple[int], np.dtype[np.bool_]]]]:
    """Return label, colour, marker and frames of each state, lowest energy first."""
    labels = finding.labels.to_numpy()
    counts = finding.labels.value_counts()
    named = [str(label) for label in counts.index[: len(COLOURS)]]
    named.sort(key=lambda label: float(above[labels == label].mean()))
    groups = [
        (f"{shortened(name, 26)} ({counts[name]})", colour, marker, labels == name)
        for name, colour, marker in zip(named, COLOURS, MARKERS, strict=False)
    ]
    rest = ~np.isin(labels, named)
    if rest.any():
        name = other_states([str(label) for label in counts.index[len(COLOURS) :]])
        text = f"{shortened(name, 26)} ({rest.sum()})"
        groups.append((text, OTHER, OTHER_MARKER, rest))
    return groups


def _stack(axis: Axes, groups: list[Floats], colours: list[str]) -> None:
    everything = np.concatenate(groups)
    low, high = float(everything.min()), float(everything.max())
    pad = 0.02 * (high - low) + 1.0e-3
    edges = np.linspace(low - pad, high + pad, _BINS + 1)
    axis.hist(groups, bins=edges.tolist(), stacked=True, color=colours)
    axis.set_xlabel("predicted less DFT (meV/atom)")
    axis.set_ylabel("frames")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))


def _handle(colour: str, marker: str, label: str) -> Line2D:
    return Line2D(
        [], [], linestyle="none", marker=marker, color=colour, markersize=7, label=label
    )


def _moment_name(number: int) -> str:
    more = " and more" if number == len(MOMENT_COLOURS) - 1 else ""
    return f"{number} μB{more}"
