# SPDX-License-Identifier: LGPL-3.0-or-later
"""The look of figures, and their way into files and, as inline SVG, into a page."""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.ticker import LogLocator, NullLocator

from spin_dp.files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart, without its black
# and its yellow (the page is read on white and on black), then a violet and a brown.
COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"),
    *("#7570B3", "#A6761D"),
)
"""Colours of the states of one panel; more states are drawn as others."""

MARKERS = ("o", "s", "^", "D", "v", "P", "*", "<")
OTHER = "#8c8c8c"
OTHER_MARKER = "X"

MOMENT_COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7")
"""Colours of moments of 0, 1, 2, 3, 4, 5 μB and more."""

MOMENT_SCALE: Any = {
    "cmap": ListedColormap(list(MOMENT_COLOURS), name="moments"),
    "norm": BoundaryNorm(np.arange(-0.5, len(MOMENT_COLOURS)), len(MOMENT_COLOURS)),
}
"""Colours of moments as ``scatter`` takes them."""

GREY = "#555555"
SPLIT_COLOURS = {"training": "#0072B2", "validation": "#E69F00"}

# Stand-ins that become the text and grid colours of the page.
_INK, _GRID = "#010203", "#d0d1d2"
_DENSE = 1500
_DPI = 150
_SMOOTHED = 9  # batches
_ZOOM = 1.35
_STYLE: Any = {  # keys are literals in matplotlib's types
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11.0,
    "axes.labelsize": 11.0,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "legend.fontsize": 10.0,
    "legend.frameon": False,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.titlecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
INK = _INK
"""Colour of lines that follow the text colour of the page."""

_HEAD = re.compile(r"^.*?(?=<svg)", re.DOTALL)
# Names of parts repeat from figure to figure; ids that are referred to are hashes.
_NAMES = re.compile(r' id="[A-Za-z]+[A-Za-z0-9]*_\d+"')
_SIZE = re.compile(r'(<svg[^>]*?) width="[\d.]+pt" height="[\d.]+pt"', re.DOTALL)


@contextmanager
def styled() -> Iterator[None]:
    """Make and save figures in this block in the style of the page."""
    with mpl.rc_context(_STYLE):
        yield


def to_svg(figure: Figure, name: str, description: str) -> str:
    """Return a figure as an SVG element for a page.

    Parameters
    ----------
    figure
        The figure.
    name
        Name of the figure, unique in the page; keeps the ids of figures apart.
    description
        What it shows, for readers who cannot see it.

    Returns
    -------
    str
        ``<svg ...>``; text takes the colour of the page.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", dpi=110, metadata={"Date": None})
    svg = _HEAD.sub("", buffer.getvalue(), count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace(_INK, "currentColor").replace(_GRID, "var(--grid)")
    svg = _NAMES.sub("", svg)
    width = round(_ZOOM * 72.0 * figure.get_figwidth())
    label = f'\\1 role="img" aria-label="{description}" style="width:{width}px"'
    return _SIZE.sub(label, svg, count=1)


def other_states(labels: Sequence[str]) -> str:
    """Return what the states without a colour of their own are called."""
    return labels[0] if len(labels) == 1 else f"{len(labels)} other states"


def shortened(text: str, most: int) -> str:
    """Return a text of so many characters at the most."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def is_dense(count: int) -> bool:
    """Return whether so many points are better drawn as an image."""
    return count > _DENSE


def outside_legend(axis: Axes, title: str | None = None) -> None:
    """Put the legend right of an axis."""
    axis.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.0), title=title, borderaxespad=0.0
    )


def plain(axis: Axes) -> None:
    """Give an axis of a picture (not of a page) its look."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(visible=True, color="#e6e6e6", linewidth=0.8)
    axis.set_axisbelow(True)


def over_steps(axis: Axes) -> None:
    """Make an axis one of errors over the steps of a training."""
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_xlabel("training step")
    plain(axis)


def draw_batches(
    axis: Axes, steps: pd.Series, errors: pd.Series, colour: str, label: str
) -> None:
    """Draw errors of batches, and their running median: single batches jump."""
    axis.plot(steps, errors, color=colour, alpha=0.25, linewidth=0.8)
    median = errors.rolling(_SMOOTHED, center=True, min_periods=1).median()
    axis.plot(steps, median, color=colour, linewidth=1.9, label=label)


def add_moment_scale(figure: Figure, axes: Sequence[Axes]) -> None:
    """Draw the colours of the moments beside the axes."""
    bar = figure.colorbar(
        ScalarMappable(**MOMENT_SCALE), ax=list(axes), pad=0.015, aspect=30
    )
    bar.set_ticks(list(range(len(MOMENT_COLOURS))))
    bar.ax.tick_params(which="both", length=0)
    bar.set_label("spin state: mean |moment| of the metal atoms (μB)")


def save_png(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, complete or not at all; return the path."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=_DPI, format="png")
    return path
