# SPDX-License-Identifier: LGPL-3.0-or-later
"""Figures of a run, and the page that shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from spin_dp.drawing import COLOURS, GREY, plain, save_png, shortened, styled, to_svg
from spin_dp.files import write_text
from spin_dp.report import html
from spin_dp.report.html import COUNT, Columns, digits

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

    from spin_dp.dynamics.analysis import Analysis

PAGE_FILE, PLOT_FILE = "analysis.html", "analysis.png"

_STATES: Columns = {
    "state": ("state", None),
    "sites": ("sites", digits(1)),
    "bond": ("bond to six ligands, Å", digits(3)),
    "distortion": ("distortion Δ", digits(4)),
    "stretch": ("two longest / four shortest", digits(3)),
    "moment": ("moment, μB", digits(2)),
    "moment_spread": ("its spread", digits(2)),
    "mobile": ("alkali atoms within 3.3 Å", digits(2)),
}
_FRAMES: Columns = {
    "time_ps": ("time, ps", digits(2)),
    "temperature": ("T, K", COUNT),
    "energy": ("energy, eV", digits(3)),
    "volume": ("volume, Å³ an atom", digits(3)),
    "layer_spacing": ("layer to layer, Å", digits(3)),
    "slab": ("slab, Å", digits(3)),
    "moment": ("moment, μB", digits(2)),
    "order": ("cosine of neighbours", digits(2)),
    "changed": ("sites in another state", COUNT),
    "charge": ("sum of oxidation states of metals, e", COUNT),
    "alkali": ("alkali ions a metal", digits(3)),
    "ligand_charge": ("charge left for a ligand, e", digits(3)),
    "ligand_moment": ("mean moment of ligands, μB", digits(3)),
    "ligand_moment_max": ("largest, μB", digits(3)),
}


def write_page(found: Analysis, folder: Path, run: str) -> Path:
    """Write page and picture into a folder; return the page.

    Parameters
    ----------
    found
        Tables of a run.
    folder
        Made if need be.
    run
        What the page is called after.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_png(draw(found), folder / PLOT_FILE)
    with styled():
        svg = to_svg(draw(found), "run", "states, order, volume and distances of a run")
    last, first = found.frames.iloc[-1], found.frames.iloc[0]
    text = html.render(
        "spin_dp.dynamics",
        "analysis.html.j2",
        run=run,
        svg=svg,
        summary=[
            ("frames", str(len(found.frames))),
            ("time", f"{first['time_ps']:g} to {last['time_ps']:g} ps"),
            ("temperature", f"{found.frames['temperature'].mean():.0f} K"),
            ("volume", f"{found.frames['volume'].mean():.3f} Å³ an atom"),
            ("sites in another state at the end", f"{last['changed']:.0f}"),
        ],
        states=html.as_text(found.states, _STATES),
        frames=html.as_text(found.frames.dropna(axis="columns", how="all"), _FRAMES),
    )
    path = folder / PAGE_FILE
    write_text(path, text)
    return path


def draw(found: Analysis) -> Figure:
    """Draw populations, order and volume against time, and distances by state."""
    figure = Figure(figsize=(10.0, 7.0), layout="constrained")
    axes = figure.subplots(2, 2)
    time = found.frames["time_ps"]
    counts = [name for name in found.frames if str(name).startswith("n ")]
    for number, name in enumerate(counts):
        axes[0, 0].plot(
            time,
            found.frames[name],
            color=COLOURS[number % len(COLOURS)],
            label=shortened(str(name).removeprefix("n "), 16),
        )
    changed = found.frames["changed"]
    if changed.any():
        axes[0, 0].plot(
            time, changed, ":", color=GREY, label="in another than at first"
        )
    axes[0, 0].set_ylabel("sites in each state")
    axes[0, 0].legend(fontsize="small", ncols=2)
    axes[0, 1].plot(time, found.frames["order"], color=COLOURS[0])
    axes[0, 1].set_ylabel("cosine of neighbouring moments")
    axes[0, 1].set_ylim(-1.05, 1.05)
    axes[1, 0].plot(time, found.frames["volume"], color=COLOURS[2])
    axes[1, 0].ticklabel_format(useOffset=False)
    axes[1, 0].set_ylabel("volume, Å³ an atom")
    for axis in (axes[0, 0], axes[0, 1], axes[1, 0]):
        axis.set_xlabel("time, ps")
    _draw_distances(axes[1, 1], found.rdf)
    for axis in axes.flat:
        plain(axis)
    return figure


def _draw_distances(axis: Axes, rdf: pd.DataFrame) -> None:
    names = [name for name in rdf if str(name).endswith("-O")]
    for number, name in enumerate(names):
        axis.plot(
            rdf["r"],
            rdf[name],
            color=COLOURS[number % len(COLOURS)],
            label=shortened(str(name), 16),
        )
    axis.set_xlim(1.5, 4.5)
    axis.set_xlabel("distance to ligands, Å")
    axis.set_ylabel("g(r)")
    axis.legend(fontsize="small")
