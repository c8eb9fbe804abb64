# SPDX-License-Identifier: LGPL-3.0-or-later
"""The pictures of the demonstration, drawn without matplotlib's global state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from spin_dp.drawing import (
    GREY,
    MOMENT_COLOURS,
    draw_batches,
    over_steps,
    plain,
    save_png,
)
from spin_dp.evaluation import MEV_PER_EV

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

MODEL_COLOURS = {"spin_aware": "#D55E00", "spin_blind": "#0072B2"}
MODEL_TITLES = {"spin_aware": "spin-aware", "spin_blind": "spin-blind twin"}


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
            colour = MODEL_COLOURS.get(name, GREY)
            title_of_model = MODEL_TITLES.get(name, name)
            draw_batches(
                axis, curve["step"], MEV_PER_EV * curve[column], colour, title_of_model
            )
        axis.set_title(title, fontsize=12, loc="left")
        axis.set_ylabel(label)
        over_steps(axis)
        if axis.lines:
            axis.legend(fontsize=10, frameon=False)
    return save_png(figure, path)


def plot_md(
    path: Path,
    thermos: Mapping[str, pd.DataFrame],
    *,
    temperature: float,
    atoms: Mapping[str, int],
) -> Path:
    """Draw temperature and energies of MD runs side by side.

    Parameters
    ----------
    path
        The PNG to write.
    thermos
        The ``thermo.csv`` of each run by its name.
    temperature
        What the thermostats were set to, K.
    atoms
        Number of atoms of each run.

    Returns
    -------
    Path
        The file written.
    """
    figure = Figure(figsize=(5.5 * len(thermos), 5.6), layout="constrained")
    axes = figure.subplots(2, len(thermos), sharex=True, sharey="row", squeeze=False)
    for (upper, lower), (name, thermo) in zip(axes.T, thermos.items(), strict=True):
        time = thermo["time_ps"]
        upper.plot(
            time, thermo["temperature_K"], color=MOMENT_COLOURS[4], linewidth=1.2
        )
        upper.axhline(temperature, color=GREY, linestyle="--", linewidth=1.0)
        upper.set_title(f"{name}, {atoms[name]} atoms", fontsize=12, loc="left")
        start = float(thermo["potential_energy_eV"].iloc[0])
        for column, label, colour in (
            ("potential_energy_eV", "potential", MOMENT_COLOURS[0]),
            ("total_energy_eV", "potential + kinetic", MOMENT_COLOURS[2]),
        ):
            energy = (thermo[column] - start) * MEV_PER_EV / atoms[name]
            lower.plot(time, energy, color=colour, linewidth=1.2, label=label)
        lower.set_xlabel("time (ps)")
        for axis in (upper, lower):
            axis.margins(x=0.0)
            plain(axis)
    first_upper, first_lower = axes[:, 0]
    first_upper.set_ylabel("temperature (K)")
    first_upper.set_ylim(bottom=0.0)
    first_upper.annotate(
        f"dashed: thermostat, {temperature:g} K",
        (1.0, 0.0),
        xycoords="axes fraction",
        xytext=(-6, 6),
        textcoords="offset points",
        ha="right",
        color=GREY,
    )
    first_lower.set_ylabel("energy above start (meV/atom)")
    first_lower.legend(
        frameon=False,
        fontsize=10,
        ncols=2,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        borderpad=0.0,
    )
    return save_png(figure, path)
