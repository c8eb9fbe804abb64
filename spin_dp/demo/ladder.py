# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energy levels of the spin states of one geometry, DFT beside a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from spin_dp.demo.plots import (
    MODEL_TITLES,
    MOMENT_COLOURS,
    add_moment_scale,
    save,
    style,
)
from spin_dp.evaluation import SAME_SOLUTION_EV

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes


_LABEL_SHARE = 0.075
"""Height of a label as a share of the range of energies."""


@dataclass(frozen=True, slots=True)
class Level:
    """One spin state of a geometry.

    Attributes
    ----------
    key
        Its spin-state key.
    moment
        Mean length of the metals' moments, μB.
    reference, predicted
        Energies above that of the geometry's lowest DFT state, eV per cell.
    """

    key: str
    moment: float
    reference: float
    predicted: float


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


def levels(frames: pd.DataFrame, geometry: str, model: str) -> list[Level]:
    """Return the levels of one geometry, lowest first, repeated solutions once.

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
    list of Level
        Both scales are zero at the lowest DFT state.
    """
    found: list[Level] = []
    rows = frames[frames["geometry"] == geometry].sort_values("energy")
    lowest = rows.iloc[0]
    for _, row in rows.iterrows():
        level = Level(
            key=str(row["key"]).partition("#")[0],  # without the tag of the ordering
            moment=float(row["moment"]),
            reference=float(row["energy"] - lowest["energy"]),
            predicted=float(row[f"energy_{model}"] - lowest[f"energy_{model}"]),
        )
        if not any(_is_same(level, other) for other in found):
            found.append(level)
    return found


def plot_spin_states(path: Path, frames: pd.DataFrame, models: tuple[str, ...]) -> Path:
    """Draw the levels of held-out geometries: DFT in the middle of two models.

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
    return save(figure, path)


def _draw_ladder(
    axis: Axes, frames: pd.DataFrame, geometry: str, models: tuple[str, ...]
) -> None:
    width = 0.62
    places = dict(zip(models, (1, -1), strict=False))
    labels = {0: "DFT"} | {x: _short(name) for name, x in places.items()}
    shown = levels(frames, geometry, models[0])
    heights = _spread([level.reference for level in shown], _LABEL_SHARE)
    for level, height in zip(shown, heights, strict=True):
        colour = _colour(level.moment)
        _bar(axis, 0, level.reference, width, colour)
        axis.annotate(
            level.key,
            (0.0, height),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color="#333333",
        )
    for model, x in places.items():
        for level in levels(frames, geometry, model):
            colour = _colour(level.moment)
            _bar(axis, x, level.predicted, width, colour)
            axis.plot(
                [0.5 * width * x, (1 - 0.5 * width) * x],
                [level.reference, level.predicted],
                color=colour,
                linewidth=0.9,
                linestyle=":",
            )
    axis.set_xticks(sorted(labels), [labels[x] for x in sorted(labels)])
    axis.set_xlim(min(labels) - 0.45, max(labels) + 0.45)
    axis.margins(y=0.12)
    style(axis)
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


def _is_same(a: Level, b: Level) -> bool:
    return a.key == b.key and abs(a.reference - b.reference) <= SAME_SOLUTION_EV


def _colour(moment: float) -> str:
    return MOMENT_COLOURS[int(np.clip(round(moment), 0, len(MOMENT_COLOURS) - 1))]


def _short(model: str) -> str:
    return MODEL_TITLES.get(model, model).replace(" twin", "")


def _subscripts(formula: str) -> str:
    return formula.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
