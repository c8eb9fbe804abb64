# SPDX-License-Identifier: LGPL-3.0-or-later
"""True errors against the spread of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from spin_dp.drawing import COLOURS, GREY, is_dense, plain, save_png
from spin_dp.evaluation.calibration import UNITS, in_unit, rank_correlation
from spin_dp.inference.calibration import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes

    from spin_dp.inference.calibration import Calibration

_POINTS, _BINS = COLOURS[0], COLOURS[3]
_STYLES = ("-", "--")


def plot_reliability(
    path: Path,
    samples: Mapping[str, pd.DataFrame],
    reliability: pd.DataFrame,
    calibration: Calibration,
) -> Path:
    """Draw errors against deviations, a panel for each quantity.

    Parameters
    ----------
    path
        The PNG to write.
    samples
        Rows by quantity, see
        :class:`spin_dp.evaluation.ensemble_test.EnsembleTest`.
    reliability
        Of :func:`spin_dp.evaluation.calibration.reliability_table`.
    calibration
        Its intervals are the lines.

    Returns
    -------
    Path
        The file written.
    """
    shown = {name: rows for name, rows in samples.items() if len(rows)}
    figure = Figure(figsize=(4.4 * len(shown), 4.4), layout="constrained")
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for axis, (name, rows) in zip(axes, shown.items(), strict=True):
        _draw(axis, name, rows, reliability[reliability["quantity"] == name])
        if name in calibration.factors:
            _draw_intervals(axis, name, calibration)
        axis.set_xlabel(f"deviation of the models ({UNITS[name]})")
        plain(axis)
    axes[0].set_ylabel("true error, in the same unit")
    axes[0].legend(fontsize=8, frameon=False, loc="upper left")
    return save_png(figure, path)


def _draw(axis: Axes, name: str, rows: pd.DataFrame, bins: pd.DataFrame) -> None:
    scale = in_unit(name, 1.0)
    deviation = scale * rows["deviation"].to_numpy(dtype=float)
    error = scale * rows["error"].to_numpy(dtype=float)
    seen = (deviation > 0.0) & (error > 0.0)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.scatter(
        deviation[seen],
        error[seen],
        s=6,
        color=_POINTS,
        alpha=0.15 if is_dense(int(seen.sum())) else 0.35,
        linewidths=0.0,
        rasterized=True,
    )
    axis.plot(
        bins["deviation"], bins["error"], "o", color=_BINS, label="rms error of a bin"
    )
    if seen.any():  # a few tiny errors must not squeeze the rest
        low, high = np.quantile(deviation[seen], [0.005, 1.0])
        axis.set_xlim(0.7 * low, 1.4 * high)
        low, high = np.quantile(error[seen], [0.01, 1.0])
        axis.set_ylim(0.7 * low, 1.6 * high)
    correlation = rank_correlation(deviation, error)
    axis.set_title(
        f"{name.replace('_', ' ')} · rank correlation {correlation:.2f}",
        fontsize=10,
        loc="left",
    )


def _draw_intervals(axis: Axes, name: str, calibration: Calibration) -> None:
    low, high = axis.get_xlim()
    deviation = np.geomspace(low, high, 60)
    for share, style in zip(LEVELS, _STYLES, strict=True):
        error = calibration.interval(name, deviation / in_unit(name, 1.0), share)
        axis.plot(
            deviation,
            in_unit(name, 1.0) * error,
            style,
            color=GREY,
            linewidth=1.2,
            label=f"{100 * share:.0f} % interval",
        )
    axis.set_xlim(low, high)
