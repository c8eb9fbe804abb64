# SPDX-License-Identifier: LGPL-3.0-or-later
"""The pictures of the demonstration, drawn without matplotlib's global state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from spin_dp.evaluation import MEV_PER_EV
from spin_dp.files import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

    from spin_dp.evaluation import Scores

DPI = 150

# Okabe and Ito's palette, which colour-blind readers can tell apart.
MOMENT_COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00")
"""Colours of 0, 1, 2, 3, 4 μB."""

MODEL_COLOURS = {"spin_aware": "#D55E00", "spin_blind": "#0072B2"}
MODEL_TITLES = {"spin_aware": "spin-aware", "spin_blind": "spin-blind twin"}

_MARKERS = {"Mn": "o", "Co": "s", "Ni": "^"}
_MIXED = "D"
_GREY = "#555555"
_CMAP = ListedColormap(list(MOMENT_COLOURS), name="moments")
_NORM = BoundaryNorm(np.arange(-0.5, 5.0), len(MOMENT_COLOURS))


def plot_parity(
    path: Path,
    training: pd.DataFrame,
    held_out: pd.DataFrame,
    scores: Mapping[str, Scores],
) -> Path:
    """Draw predicted against DFT energies of each model, side by side.

    Energies are per atom and relative to the lowest DFT energy of the same
    composition. A spin-blind model gives one energy to all spin states of a
    geometry, so its points fall into bands off the diagonal, one for each state.

    Parameters
    ----------
    path
        The PNG to write.
    training, held_out
        Rows of :func:`spin_dp.evaluation.evaluate`; training is drawn pale.
    scores
        Scores on the held-out frames by model name; one panel each.

    Returns
    -------
    Path
        The file written.
    """
    figure = Figure(figsize=(11.0, 5.4), layout="constrained")
    axes = figure.subplots(1, len(scores), sharex=True, sharey=True, squeeze=False)[0]
    lowest = _lowest_per_atom(training, held_out)
    for axis, (name, score) in zip(axes, scores.items(), strict=True):
        for frames, alpha, size in ((training, 0.22, 22), (held_out, 1.0, 48)):
            _scatter_energies(axis, frames, name, lowest, alpha, size)
        axis.axline((0, 0), slope=1, color=_GREY, linewidth=1.0, zorder=0)
        axis.set_title(_headline(name, score), fontsize=11, loc="left", linespacing=1.6)
        axis.set_xlabel("DFT energy above lowest of its composition (eV/atom)")
        style(axis)
    axes[0].set_ylabel("predicted energy on the same scale (eV/atom)")
    axes[-1].legend(
        handles=_metal_handles([*training["metal"], *held_out["metal"]]),
        loc="lower right",
        fontsize=10,
        frameon=True,
        framealpha=1.0,
    )
    add_moment_scale(figure, list(axes))
    return save(figure, path)


def plot_learning_curves(path: Path, curves: Mapping[str, pd.DataFrame]) -> Path:
    """Draw the errors on held-out batches over the training steps.

    Parameters
    ----------
    path
        The PNG to write.
    curves
        Table of :func:`spin_dp.training.read_learning_curve` by model name.

    Returns
    -------
    Path
        The file written.
    """
    panels = [
        ("energy", ("rmse_e_val",), "energy RMSE (meV/atom)"),
        ("force", ("rmse_fr_val", "rmse_f_val"), "force RMSE (meV/Å)"),
        ("magnetic force", ("rmse_fm_val",), "magnetic-force RMSE (meV/μB)"),
    ]
    figure = Figure(figsize=(12.0, 4.2), layout="constrained")
    for axis, (title, columns, label) in zip(
        figure.subplots(1, len(panels)), panels, strict=True
    ):
        for name, curve in curves.items():
            column = next((c for c in columns if c in curve), None)
            if column is None:
                continue
            _draw_curve(axis, curve["step"], curve[column], name)
        axis.set_yscale("log")
        axis.set_title(title, fontsize=12, loc="left")
        axis.set_xlabel("training step")
        axis.set_ylabel(label)
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter("{x:g}")
        if axis.lines:
            axis.legend(fontsize=10, frameon=False)
        style(axis)
    return save(figure, path)


def plot_md(
    path: Path, thermo: pd.DataFrame, *, temperature: float, atoms: int
) -> Path:
    """Draw temperature and energies of an MD run.

    Parameters
    ----------
    path
        The PNG to write.
    thermo
        The ``thermo.csv`` of :func:`spin_dp.md.run_md`.
    temperature
        What the thermostat was set to, K.
    atoms
        Number of atoms.

    Returns
    -------
    Path
        The file written.
    """
    figure = Figure(figsize=(9.0, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    time = thermo["time_ps"]
    upper.plot(time, thermo["temperature_K"], color=MOMENT_COLOURS[4], linewidth=1.2)
    upper.axhline(temperature, color=_GREY, linestyle="--", linewidth=1.0)
    upper.annotate(
        f"dashed: thermostat, {temperature:g} K",
        (1.0, 0.0),
        xycoords="axes fraction",
        xytext=(-6, 6),
        textcoords="offset points",
        ha="right",
        color=_GREY,
    )
    upper.set_ylabel("temperature (K)")
    upper.set_ylim(bottom=0.0)
    start = float(thermo["potential_energy_eV"].iloc[0])
    for column, label, colour in (
        ("potential_energy_eV", "potential", MOMENT_COLOURS[0]),
        ("total_energy_eV", "potential + kinetic", MOMENT_COLOURS[2]),
    ):
        energy = (thermo[column] - start) * MEV_PER_EV / atoms
        lower.plot(time, energy, color=colour, linewidth=1.2, label=label)
    lower.set_ylabel("energy above start (meV/atom)")
    lower.set_xlabel("time (ps)")
    lower.legend(
        frameon=False,
        fontsize=10,
        ncols=2,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        borderpad=0.0,
    )
    for axis in (upper, lower):
        axis.margins(x=0.0)
        style(axis)
    return save(figure, path)


def _scatter_energies(
    axis: Axes,
    frames: pd.DataFrame,
    model: str,
    lowest: Mapping[str, float],
    alpha: float,
    size: float,
) -> None:
    floor = frames["formula"].map(lowest)
    x = frames["energy"] / frames["natoms"] - floor
    y = frames[f"energy_{model}"] / frames["natoms"] - floor
    for marker, group in frames.groupby(frames["metal"].map(_marker)):
        axis.scatter(
            x.loc[group.index],
            y.loc[group.index],
            c=group["moment"],
            cmap=_CMAP,
            norm=_NORM,
            marker=str(marker),
            s=size,
            alpha=alpha,
            linewidths=0.6 if alpha == 1.0 else 0.0,
            edgecolors="white",
            zorder=3 if alpha == 1.0 else 2,
        )


def _draw_curve(axis: Axes, steps: pd.Series, values: pd.Series, name: str) -> None:
    scaled = values * MEV_PER_EV
    colour = MODEL_COLOURS.get(name, _GREY)
    # Single batches jump; the running median shows where they go.
    smooth = scaled.rolling(9, center=True, min_periods=1).median()
    axis.plot(steps, scaled, color=colour, alpha=0.25, linewidth=0.8)
    axis.plot(
        steps, smooth, color=colour, linewidth=2.0, label=MODEL_TITLES.get(name, name)
    )


def _headline(model: str, score: Scores) -> str:
    return (
        f"{MODEL_TITLES.get(model, model).upper()}\n"
        f"energy RMSE {score.energy:.0f} meV/atom · spin-gap RMSE {score.gap:.0f} "
        f"meV/cell\n{100.0 * score.order:.0f} % of {score.ordered_pairs} pairs of spin "
        f"states in the right order"
    )


def _lowest_per_atom(*tables: pd.DataFrame) -> dict[str, float]:
    lowest: dict[str, float] = {}
    for frames in tables:
        per_atom = frames["energy"] / frames["natoms"]
        for formula, value in per_atom.groupby(frames["formula"]).min().items():
            lowest[str(formula)] = min(float(value), lowest.get(str(formula), np.inf))
    return lowest


def _marker(metal: str) -> str:
    return _MARKERS.get(metal, _MIXED)


def _metal_handles(metals: Sequence[str]) -> list[Line2D]:
    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=_marker(metal),
            color=_GREY,
            markersize=7,
            label=metal,
        )
        for metal in sorted(set(metals))
    ]


def add_moment_scale(figure: Figure, axes: list[Axes]) -> None:
    """Draw the colours of the moments beside the axes."""
    colours = ScalarMappable(norm=_NORM, cmap=_CMAP)
    bar = figure.colorbar(colours, ax=axes, pad=0.015, aspect=30)
    bar.set_ticks(list(range(len(MOMENT_COLOURS))))
    bar.ax.tick_params(which="both", length=0)
    bar.set_label("spin state: mean |moment| of the metal atoms (μB)")


def style(axis: Axes) -> None:
    """Give an axis the look all pictures share."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(visible=True, color="#e6e6e6", linewidth=0.8)
    axis.set_axisbelow(True)


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, complete or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png")
    return path
