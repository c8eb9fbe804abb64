# SPDX-License-Identifier: LGPL-3.0-or-later
"""Files of fitted constants and of the transition: tables, JSON, a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from spin_dp.drawing import COLOURS, plain, save_png
from spin_dp.files import replacing, write_text

if TYPE_CHECKING:
    from spin_dp.magnetism.fit import ExchangeFit
    from spin_dp.magnetism.transition import Transition

FILES = ("exchange.csv", "patterns.csv", "exchange.json", "exchange.png")
"""What :func:`write_exchange` leaves; ``transition.csv`` where there is one."""

_DIGITS = 6


def write_exchange(
    folder: str | Path, fit: ExchangeFit, transition: Transition | None = None
) -> None:
    """Write all that a fit and its transition say into a folder, made if need be.

    ``exchange.csv`` has a row for each shell, ``patterns.csv`` one for each pattern
    (energies in meV per magnetic site), ``transition.csv`` one for each size and
    temperature.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    patterns = pd.DataFrame(
        {
            "energy": 1e3 * fit.energies,
            "fitted": 1e3 * fit.fitted,
            "left_out": 1e3 * fit.left_out,
            "collinear": fit.is_collinear,
            "outlier": np.isin(np.arange(len(fit.energies)), fit.outliers),
        }
    )
    tables = {"exchange.csv": fit.table, "patterns.csv": patterns}
    if transition is not None:
        tables["transition.csv"] = transition.curves
    for name, table in tables.items():
        with replacing(folder / name) as part:
            table.round(_DIGITS).to_csv(part, index=False)
    write_text(
        folder / "exchange.json", json.dumps(_record(fit, transition), indent=1) + "\n"
    )
    draw_exchange(folder / "exchange.png", fit, transition)


def _record(fit: ExchangeFit, transition: Transition | None) -> dict[str, Any]:
    record: dict[str, Any] = {
        "hamiltonian": "E0 - sum_{i<j} J_ij e_i.e_j - sum_{i<j} B_ij (e_i.e_j)^2",
        "units": "meV of unit vectors, Å, K",
        "moment_muB": round(fit.moment, _DIGITS),
        "shells": json.loads(fit.table.round(_DIGITS).to_json(orient="records")),
        "patterns": len(fit.energies),
        "outliers": fit.outliers.tolist(),
        "error_meV_per_site": round(fit.error, _DIGITS),
        "cross_validation_error_meV_per_site": round(
            fit.cross_validation_error, _DIGITS
        ),
        "range_meV_per_site": round(fit.range, _DIGITS),
    }
    if transition is not None:
        field = transition.mean_field
        values = {
            "temperature_K": transition.temperature,
            "error_K": transition.error,
            "quantum_K": transition.quantum,
            "specific_heat_peak_K": transition.peak,
            "mean_field_K": field.temperature,
        }
        record["transition"] = {
            name: round(value, 3) if np.isfinite(value) else None
            for name, value in values.items()
        }
        record["transition"]["wave_vector"] = list(field.wave_vector)
    return record


def draw_exchange(
    path: Path, fit: ExchangeFit, transition: Transition | None = None
) -> None:
    """Draw constants against distance, the fit, and curves of the transition."""
    columns = 2 if transition is None else 4
    figure = Figure(figsize=(4.0 * columns, 3.6), layout="constrained")
    axes = figure.subplots(1, columns)
    names = list(dict.fromkeys("-".join(shell.kinds) for shell in fit.shells))
    for colour, name in zip(np.resize(COLOURS, len(names)), names, strict=True):
        here = [k for k, s in enumerate(fit.shells) if "-".join(s.kinds) == name]
        errors = [
            fit.shells[k].error if fit.spread is None else float(fit.spread[k])
            for k in here
        ]
        axes[0].errorbar(
            [fit.shells[k].distance for k in here],
            [fit.shells[k].exchange for k in here],
            errors,
            fmt="o",
            color=str(colour),
            label=name,
            capsize=3,
        )
    axes[0].axhline(0.0, color="#888888", linewidth=0.8)
    axes[0].set_xlabel("distance, Å")
    axes[0].set_title("J, meV (> 0 ferromagnetic)")
    axes[0].legend(fontsize=8)
    energies, left_out = 1e3 * fit.energies, 1e3 * fit.left_out
    axes[1].plot(left_out, energies, "o", markersize=4, color=COLOURS[0])
    ends = [min(energies.min(), left_out.min()), max(energies.max(), left_out.max())]
    axes[1].plot(ends, ends, color="#888888", linewidth=0.8)
    axes[1].set_xlabel("fit without the pattern, meV per site")
    axes[1].set_title("energy of the model, meV per site")
    if transition is not None:
        for axis, quantity, title in (
            (axes[2], "order", "order parameter"),
            (axes[3], "specific_heat", "specific heat, k per site"),
        ):
            groups = transition.curves.groupby("size")
            for colour, (size, table) in zip(
                np.resize(COLOURS, len(groups)), groups, strict=True
            ):
                axis.errorbar(
                    table["temperature"],
                    table[quantity],
                    table[f"{quantity}_error"],
                    color=str(colour),
                    label=f"{size} spins",
                )
            if np.isfinite(transition.temperature):
                axis.axvline(transition.temperature, color="#888888", linewidth=0.8)
            axis.set_xlabel("temperature, K")
            axis.set_title(title)
        axes[2].legend(fontsize=8)
    for axis in axes:
        plain(axis)
    save_png(figure, path)
