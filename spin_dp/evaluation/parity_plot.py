# SPDX-License-Identifier: LGPL-3.0-or-later
"""Predicted against DFT energies, coloured by moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from spin_dp.drawing import GREY, MOMENT_SCALE, add_moment_scale, plain, save_png

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from spin_dp.evaluation import Scores

_MARKERS = {"Mn": "o", "Co": "s", "Ni": "^"}
_MIXED = "D"


def plot_parity(
    path: Path,
    training: pd.DataFrame,
    held_out: pd.DataFrame,
    scores: Mapping[str, Scores],
    *,
    titles: Mapping[str, str] | None = None,
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
    titles
        What models are called in the picture, by name; their names if None.

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
        axis.axline((0, 0), slope=1, color=GREY, linewidth=1.0, zorder=0)
        axis.set_title(
            _headline((titles or {}).get(name, name), score),
            fontsize=11,
            loc="left",
            linespacing=1.6,
        )
        axis.set_xlabel("DFT energy above lowest of its composition (eV/atom)")
        plain(axis)
    axes[0].set_ylabel("predicted energy on the same scale (eV/atom)")
    axes[-1].legend(
        handles=_metal_handles([*training["metal"], *held_out["metal"]]),
        loc="lower right",
        fontsize=10,
        frameon=True,
        framealpha=1.0,
    )
    add_moment_scale(figure, list(axes))
    return save_png(figure, path)


def _scatter_energies(
    axis: Axes,
    frames: pd.DataFrame,
    model: str,
    lowest: pd.Series,
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
            **MOMENT_SCALE,
            marker=str(marker),
            s=size,
            alpha=alpha,
            linewidths=0.6 if alpha == 1.0 else 0.0,
            edgecolors="white",
            zorder=3 if alpha == 1.0 else 2,
        )


def _headline(title: str, score: Scores) -> str:
    return (
        f"{title.upper()}\n"
        f"energy RMSE {score.energy:.0f} meV/atom · spin-gap RMSE {score.gap:.0f} "
        f"meV/cell\n{100.0 * score.order:.0f} % of {score.ordered_pairs} pairs of spin "
        f"states in the right order"
    )


def _lowest_per_atom(*tables: pd.DataFrame) -> pd.Series:
    """Return the lowest DFT energy of each formula, eV/atom."""
    frames = pd.concat(tables)
    return (frames["energy"] / frames["natoms"]).groupby(frames["formula"]).min()


def _marker(metal: str) -> str:
    return _MARKERS.get(metal, _MIXED)


def _metal_handles(metals: Sequence[str]) -> list[Line2D]:
    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=_marker(metal),
            color=GREY,
            markersize=7,
            label=metal,
        )
        for metal in sorted(set(metals))
    ]
