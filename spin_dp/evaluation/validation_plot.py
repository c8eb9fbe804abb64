# SPDX-License-Identifier: LGPL-3.0-or-later
"""The picture of a training: learning curves, and energy errors by spin state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from spin_dp.drawing import (
    COLOURS,
    OTHER,
    SPLIT_COLOURS,
    draw_batches,
    outside_legend,
    over_steps,
    save_png,
)
from spin_dp.evaluation import MEV_PER_EV
from spin_dp.evaluation.tables import ALL

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

_ALL_FRAMES = "#009E73"
_PANELS = (
    ("energy RMSE (meV/atom)", ("rmse_e",), "energy_meV_per_atom"),
    ("force RMSE (meV/Å)", ("rmse_fr", "rmse_f"), "force_meV_per_A"),
)


def plot_curves(path: Path, curve: pd.DataFrame, states: pd.DataFrame) -> Path:
    """Draw training and validation errors over the steps.

    Parameters
    ----------
    path
        The PNG to write.
    curve
        Table of :func:`spin_dp.training.read_learning_curve`.
    states
        Table of :func:`spin_dp.evaluation.validation.read_states_curve`; without rows
        there is no panel of spin states.

    Returns
    -------
    Path
        The file written.
    """
    n_panels = len(_PANELS) + (0 if states.empty else 1)
    figure = Figure(
        figsize=(4.6 * n_panels + 2.0 * (n_panels > len(_PANELS)), 4.2),
        layout="constrained",
    )
    axes = figure.subplots(1, n_panels)
    for axis, (label, columns, quantity) in zip(axes, _PANELS, strict=False):
        _draw_batches(axis, curve, columns)
        whole = states[states["key"] == ALL]
        if not whole.empty:
            axis.plot(
                whole["step"],
                whole[quantity],
                "o-",
                color=_ALL_FRAMES,
                markersize=4,
                label="validation, all frames",
            )
        axis.set_ylabel(label)
    if not states.empty:
        _draw_states(axes[-1], states)
    for number, axis in enumerate(axes):
        over_steps(axis)
        if number == len(_PANELS):
            outside_legend(axis)
        elif axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8, frameon=False)
    return save_png(figure, path)


def _draw_batches(axis: Axes, curve: pd.DataFrame, columns: tuple[str, ...]) -> None:
    for split, ending in (("training", "trn"), ("validation", "val")):
        name = next((f"{c}_{ending}" for c in columns if f"{c}_{ending}" in curve), "")
        if not name:
            continue
        errors, colour = MEV_PER_EV * curve[name], SPLIT_COLOURS[split]
        draw_batches(axis, curve["step"], errors, colour, f"{split}, batches")


def _draw_states(axis: Axes, states: pd.DataFrame) -> None:
    rows = states[states["key"] != ALL]
    groups = list(rows.groupby(["formula", "key"]))
    groups.sort(key=lambda item: -int(item[1]["frames"].iloc[-1]))
    for number, ((formula, key), group) in enumerate(groups):
        named = number < len(COLOURS)
        axis.plot(
            group["step"],
            group["energy_meV_per_atom"],
            "o-",
            color=COLOURS[number] if named else OTHER,
            linewidth=1.4 if named else 0.6,
            markersize=3,
            zorder=3 if named else 2,
            label=f"{formula} {key}" if named else None,
        )
    if len(groups) > len(COLOURS):
        axis.plot([], [], color=OTHER, label=f"{len(groups) - len(COLOURS)} others")
    axis.set_ylabel("energy RMSE by spin state (meV/atom)")
