# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energies of the spin states of one geometry as a ladder, DFT beside models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from spin_dp.data_tools.collection.solutions import SAME_SOLUTION_EV
from spin_dp.demo.plots import MODEL_TITLES
from spin_dp.drawing import MOMENT_COLOURS, add_moment_scale, plain, save_png

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes


_LABEL_SHARE = 0.075
"""Height of a label as a share of the range of energies."""


def choose_geometries(frames: pd.DataFrame, number: int) -> list[str]:
    """Return geometries to show: of each composition the one with most states.

    Parameters
    ----------
    frames
        Rows of :func:`spin_dp.evaluation.evaluate`.
    number
        How many at most; those with most states are taken.

    Returns
    -------
    list of str
        Names of geometries with two states or more, by composition.
    """
    counts = frames.groupby(["formula", "geometry"])["key"].nunique()
    counts = counts[counts > 1].sort_values(ascending=False, kind="stable")
    best = counts.reset_index().drop_duplicates("formula").head(number)
    return [str(name) for name in best.sort_values("formula")["geometry"]]


def rungs(frames: pd.DataFrame, geometry: str, model: str) -> pd.DataFrame:
    """Return the states of one geometry, lowest first, repeated solutions once.

    Parameters
    ----------
    frames
        Rows of :func:`spin_dp.evaluation.evaluate`.
    geometry
        Name of the geometry.
    model
        Name of the model.

    Returns
    -------
    pandas.DataFrame
        ``key`` (without the tag of the ordering), ``moment`` (mean length over metals,
        μB), ``reference`` and ``predicted`` (eV per cell above the lowest DFT state).
    """
    rows = frames[frames["geometry"] == geometry].sort_values("energy")
    rows = rows.assign(key=rows["key"].str.partition("#")[0])
    is_repeated = rows.groupby("key")["energy"].diff() <= SAME_SOLUTION_EV
    return pd.DataFrame(
        {
            "key": rows["key"],
            "moment": rows["moment"],
            "reference": rows["energy"] - rows["energy"].iloc[0],
            "predicted": rows[f"energy_{model}"] - rows[f"energy_{model}"].iloc[0],
        }
    )[~is_repeated]


def plot_spin_states(path: Path, frames: pd.DataFrame, models: tuple[str, ...]) -> Path:
    """Draw the states of held-out geometries: DFT in the middle of two models.

    Parameters
    ----------
    path
        The PNG to write.
    frames
        Rows of :func:`spin_dp.evaluation.evaluate` on held-out frames.
    models
        One or two model names; the first stands right of DFT, the second left.

    Returns
    -------
    Path
        The file written.
    """
    geometries = choose_geometries(frames, 8)
    rows = 1 if len(geometries) <= 4 else 2
    columns = max(1, -(-len(geometries) // rows))
    figure = Figure(figsize=(3.3 * columns, 3.9 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis, geometry in zip(axes.flat, geometries, strict=False):
        formula = frames.loc[frames["geometry"] == geometry, "formula"].iloc[0]
        _draw_ladder(axis, frames, geometry, models)
        axis.set_title(_subscripts(str(formula)), fontsize=12, loc="left")
    for axis in axes.flat[len(geometries) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("energy above lowest DFT state\n(eV per cell)")
    add_moment_scale(figure, list(axes.flat))
    figure.suptitle(
        "Spin states of geometries that no model was trained on", x=0.01, ha="left"
    )
    return save_png(figure, path)


def _draw_ladder(
    axis: Axes, frames: pd.DataFrame, geometry: str, models: tuple[str, ...]
) -> None:
    width = 0.62
    places = dict(zip(models, (1, -1), strict=False))
    labels = {0: "DFT"} | {x: _short(name) for name, x in places.items()}
    of_dft = rungs(frames, geometry, models[0]).to_dict("records")
    heights = _spread([rung["reference"] for rung in of_dft], _LABEL_SHARE)
    for rung, height in zip(of_dft, heights, strict=True):
        _bar(axis, 0, rung["reference"], width, _colour(rung["moment"]))
        axis.annotate(
            rung["key"],
            (0.0, height),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color="#333333",
        )
    for model, x in places.items():
        for rung in rungs(frames, geometry, model).to_dict("records"):
            colour = _colour(rung["moment"])
            _bar(axis, x, rung["predicted"], width, colour)
            axis.plot(
                [0.5 * width * x, (1 - 0.5 * width) * x],
                [rung["reference"], rung["predicted"]],
                color=colour,
                linewidth=0.9,
                linestyle=":",
            )
    axis.set_xticks(sorted(labels), [labels[x] for x in sorted(labels)])
    axis.set_xlim(min(labels) - 0.45, max(labels) + 0.45)
    axis.margins(y=0.12)
    plain(axis)
    axis.grid(visible=False, axis="x")
    axis.tick_params(axis="x", length=0)


def _bar(axis: Axes, x: float, energy: float, width: float, colour: str) -> None:
    axis.plot(
        [x - 0.5 * width, x + 0.5 * width],
        [energy, energy],
        color=colour,
        linewidth=2.6,
        solid_capstyle="butt",
    )


def _spread(energies: list[float], share: float) -> list[float]:
    """Return label heights: a share of the range apart, above bars that are close."""
    gap = share * max(max(energies) - min(energies), 1e-3)
    feet = list(energies)
    for i in range(len(energies) - 2, -1, -1):
        if energies[i + 1] - energies[i] < gap:
            feet[i] = feet[i + 1]
    heights: list[float] = []
    for foot in feet:
        heights.append(max(foot, heights[-1] + gap) if heights else foot)
    return heights


def _colour(moment: float) -> str:
    return MOMENT_COLOURS[int(np.clip(round(moment), 0, len(MOMENT_COLOURS) - 1))]


def _short(model: str) -> str:
    return MODEL_TITLES.get(model, model).replace(" twin", "")


def _subscripts(formula: str) -> str:
    return formula.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
