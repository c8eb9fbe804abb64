# SPDX-License-Identifier: LGPL-3.0-or-later
"""How far the spread of models tells their error, and what makes intervals of it.

A row is one number that a model predicted, its error, and the spread of the models
there. Half the width of its interval is a factor times
:func:`spin_dp.inference.calibration.width` of the spread; the factor of a share p is
the quantile p of error / width over held-out rows: split conformal prediction, which
needs no shape of the errors (H. Papadopoulos et al., Neural Networks 24, 842 (2011);
for potentials Y. Hu et al., Mach. Learn.: Sci. Technol. 3, 045028 (2022)). One factor
for each quantity and share: hundreds of frames do not bear more.

Rows of one geometry are not independent, so the coverage of each is that of factors
found without it.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from spin_dp.errors import DataError, ShapeError
from spin_dp.evaluation.metrics import MEV_PER_EV, rms
from spin_dp.inference.calibration import (
    DEFAULT_LIMITS,
    LEVELS,
    NOTHING,
    Calibration,
    nominal_factor,
    width,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MIN_GEOMETRIES = 5
"""Fewer geometries give no factors."""

FOLDS = 64
"""Most parts into which geometries are divided to leave each out in turn."""

LIMIT_SHARE = 0.95
"""Share of the held-out frames whose largest deviation lies below the limit."""

UNITS = {
    "energy": "meV/atom",
    "gap": "meV/cell",
    "force": "meV/Å",
    "magnetic_force": "eV/μB",
}
"""Units of deviations and errors in tables of each quantity."""

_BINS = 8


def ratios(deviation: Floats, error: Floats, typical: float, n_models: int) -> Floats:
    """Return error / width, 0 where both vanish, (n,).

    Parameters
    ----------
    deviation, error
        Spread of the models and size of the error, (n,), in one unit.
    typical, n_models
        As for :func:`spin_dp.inference.calibration.width`.

    Raises
    ------
    ShapeError
        If they differ in shape.
    """
    if deviation.shape != error.shape:
        raise ShapeError(
            f"calibration: expected as many errors as deviations, {deviation.shape}, "
            f"got {error.shape}."
        )
    size = np.abs(error)
    widths = np.maximum(width(deviation, typical, n_models), 1e-12)
    found: Floats = np.where(size < NOTHING, 0.0, size / widths)
    return found


def fit(
    deviation: Floats, error: Floats, n_models: int
) -> tuple[float, dict[float, float]]:
    """Return the typical spread, and the factor for each of :data:`LEVELS`.

    Parameters
    ----------
    deviation, error
        As for :func:`ratios`, at least one.
    n_models
        Number of models.
    """
    typical = rms(deviation)
    ordered = np.sort(ratios(deviation, error, typical, n_models))
    n = len(ordered)
    # The conformal quantile; where there are too few rows for one, the largest ratio.
    places = {share: min(n, ceil((n + 1) * share)) - 1 for share in LEVELS}
    return typical, {share: float(ordered[place]) for share, place in places.items()}


def coverage(
    deviation: Floats,
    error: Floats,
    geometry: Sequence[str] | NDArray[Any],
    n_models: int,
) -> dict[float, float]:
    """Return the share of errors in intervals that are fitted to other geometries.

    Parameters
    ----------
    deviation, error, n_models
        As for :func:`fit`.
    geometry
        Which geometry each row is of, (n,), at least two. Each is left out in turn;
        of more than :data:`FOLDS` some at a time.

    Returns
    -------
    dict
        For each of :data:`LEVELS` what its intervals hold, 0..1.
    """
    fold = np.unique(np.asarray(geometry), return_inverse=True)[1] % FOLDS
    inside = dict.fromkeys(LEVELS, 0)
    for number in np.unique(fold):
        own = fold == number
        typical, factors = fit(deviation[~own], error[~own], n_models)
        found = ratios(deviation[own], error[own], typical, n_models)
        for share, factor in factors.items():
            inside[share] += int((found <= factor).sum())
    return {share: count / len(error) for share, count in inside.items()}


def calibrate(
    samples: Mapping[str, pd.DataFrame],
    probes: Sequence[float],
    *,
    frames: int,
) -> Calibration:
    """Return the factors that samples give.

    Parameters
    ----------
    samples
        By quantity the columns ``geometry``, ``frame``, ``deviation`` and ``error`` (eV
        and the like), see :mod:`spin_dp.evaluation.ensemble_test`.
    probes
        Probe energies of the models, eV.
    frames
        Number of frames.

    Raises
    ------
    DataError
        If there are too few geometries.
    """
    geometries = int(samples["energy"]["geometry"].nunique())
    if geometries < MIN_GEOMETRIES:
        raise DataError(
            f"calibration: expected frames of {MIN_GEOMETRIES} held-out geometries or "
            f"more, got {geometries}; collect more with --validation."
        )
    known = {name: rows for name, rows in samples.items() if _is_enough(rows)}
    fitted = {name: fit(*_columns(rows), len(probes)) for name, rows in known.items()}
    return Calibration(
        probes=sorted(probes),
        typical={name: typical for name, (typical, _) in fitted.items()},
        factors={name: factors for name, (_, factors) in fitted.items()},
        limits={
            name: _limit(known[name]) if name in known else default
            for name, default in DEFAULT_LIMITS.items()
        },
        frames=frames,
        geometries=geometries,
    )


def _limit(rows: pd.DataFrame) -> float:
    """Return the deviation that the worst atom of most frames stays below."""
    worst = rows.groupby("frame")["deviation"].max()
    return float(worst.quantile(LIMIT_SHARE))


def _is_enough(rows: pd.DataFrame) -> bool:
    return rows["geometry"].nunique() >= MIN_GEOMETRIES and bool(
        (rows["deviation"] > NOTHING).any()
    )


def _columns(rows: pd.DataFrame) -> tuple[Floats, Floats]:
    return (
        rows["deviation"].to_numpy(dtype=float),
        rows["error"].to_numpy(dtype=float),
    )


def calibration_table(
    samples: Mapping[str, pd.DataFrame],
    n_models: int,
    calibration: Calibration | None = None,
) -> pd.DataFrame:
    """Return how well spreads tell errors, one row for each quantity.

    Parameters
    ----------
    samples
        As for :func:`calibrate`.
    n_models
        Number of models.
    calibration
        Factors that were found on other frames; None: those of the other geometries
        of these frames, in turn.

    Returns
    -------
    pandas.DataFrame
        ``quantity``, ``unit``, ``rows``, ``geometries``, ``spearman`` (rank correlation
        of deviation and error), root mean squares ``deviation`` and ``error`` (in the
        unit), and for each share ``coverage_68_before`` (of normal errors as wide as
        the spread), ``coverage_68``, ``factor_68``. NaN where too little is known.
    """
    rows = []
    for name, sample in samples.items():
        deviation, error = _columns(sample)
        row: dict[str, object] = {
            "quantity": name,
            "unit": UNITS[name],
            "rows": len(sample),
            "geometries": sample["geometry"].nunique(),
            "spearman": rank_correlation(deviation, error),
            "deviation": in_unit(name, rms(deviation)),
            "error": in_unit(name, rms(error)),
        }
        known = _fitted(sample, n_models, name, calibration)
        for share in LEVELS:
            ending = f"{100 * share:.0f}"
            before = np.abs(error) <= (
                nominal_factor(name, share, n_models) * deviation + NOTHING
            )
            row[f"coverage_{ending}_before"] = before.mean() if len(error) else np.nan
            for column, values in known.items():
                row[f"{column}_{ending}"] = values[share]
        rows.append(row)
    return pd.DataFrame(rows)[list(TABLE_COLUMNS)]


def _fitted(
    sample: pd.DataFrame, n_models: int, name: str, calibration: Calibration | None
) -> dict[str, dict[float, float]]:
    """Return ``coverage`` and ``factor`` by share, see :func:`calibration_table`."""
    nothing = dict.fromkeys(LEVELS, float("nan"))
    deviation, error = _columns(sample)
    if calibration is None:
        if not _is_enough(sample):
            return {"coverage": nothing, "factor": nothing}
        geometry = sample["geometry"].to_numpy()
        return {
            "coverage": coverage(deviation, error, geometry, n_models),
            "factor": fit(deviation, error, n_models)[1],
        }
    if name not in calibration.factors or not len(sample):
        return {"coverage": nothing, "factor": nothing}
    found = ratios(deviation, error, calibration.typical[name], n_models)
    factors = dict(calibration.factors[name])
    return {
        "coverage": {
            share: float((found <= factor).mean()) for share, factor in factors.items()
        },
        "factor": factors,
    }


TABLE_COLUMNS = (
    *("quantity", "unit", "rows", "geometries", "spearman", "deviation", "error"),
    *("coverage_68_before", "coverage_68", "coverage_95_before", "coverage_95"),
    *("factor_68", "factor_95"),
)
"""Columns of :func:`calibration_table`."""


def rank_correlation(deviation: Floats, error: Floats) -> float:
    """Return Spearman's rank correlation; NaN where one of them is constant."""
    if len(error) < 3 or np.ptp(deviation) == 0.0 or np.ptp(error) == 0.0:
        return float("nan")
    return float(spearmanr(deviation, np.abs(error)).statistic)


def reliability_table(samples: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return errors by deviation: bins with equal numbers of rows.

    Parameters
    ----------
    samples
        As for :func:`calibrate`.

    Returns
    -------
    pandas.DataFrame
        ``quantity``, ``unit``, ``rows``, root mean squares ``deviation`` and ``error``
        of the rows (in the unit).
    """
    rows = []
    for name, sample in samples.items():
        deviation, error = _columns(sample)
        order = np.argsort(deviation, kind="stable")
        for part in np.array_split(order, min(_BINS, max(1, len(order) // 4))):
            if not len(part):
                continue
            rows.append(
                {
                    "quantity": name,
                    "unit": UNITS[name],
                    "rows": len(part),
                    "deviation": in_unit(name, rms(deviation[part])),
                    "error": in_unit(name, rms(error[part])),
                }
            )
    return pd.DataFrame(
        rows, columns=["quantity", "unit", "rows", "deviation", "error"]
    )


def in_unit(quantity: str, value: float) -> float:
    """Return a value in the unit of the tables, :data:`UNITS`."""
    return value if UNITS[quantity].startswith("eV") else MEV_PER_EV * value
