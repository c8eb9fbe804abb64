# SPDX-License-Identifier: LGPL-3.0-or-later
"""How far the spread of models tells their error, and what makes intervals of it.

A row is one number that a model predicted, its error, and the spread of the models
there. The interval of a row is factor times spread; the factor of a share p is the
quantile p of error / spread over held-out rows: split conformal prediction, which needs
no shape of the errors (H. Papadopoulos et al., Neural Networks 24, 842 (2011); for
ensembles of potentials Y. Hu et al., Mach. Learn.: Sci. Technol. 3, 045028 (2022)). One
factor for each quantity and share, as hundreds of frames do not bear more; 68 and 95 %
have one each, as error / spread of a few models has longer tails than a normal one.

Rows of one geometry are not independent, so its coverage is that of factors found
without it.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from spin_dp.errors import DataError, ShapeError
from spin_dp.evaluation.metrics import MEV_PER_EV, rms
from spin_dp.inference.calibration import (
    DEFAULT_LIMITS,
    LEVELS,
    Calibration,
    nominal_factor,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MIN_GEOMETRIES = 5
"""Fewer geometries give no factors."""

LIMIT_SHARE = 0.95
"""Share of the held-out frames whose largest deviation lies below the limit."""

UNITS = {
    "energy": "meV/atom",
    "gap": "meV/cell",
    "force": "meV/Å",
    "magnetic_force": "eV/μB",
}
"""Units of deviations and errors in tables of each quantity."""

_NOTHING = 1e-6  # eV, eV/Å, eV/μB: smaller is rounding, as forces zero by symmetry
_BINS = 8


def ratios(deviation: Floats, error: Floats) -> Floats:
    """Return error / spread, 0 where both vanish, (n,).

    Parameters
    ----------
    deviation, error
        Spread of the models and size of the error, (n,), in one unit.

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
    found: Floats = np.where(size < _NOTHING, 0.0, size / np.maximum(deviation, 1e-12))
    return found


def factor(deviation: Floats, error: Floats, share: float) -> float:
    """Return what the spread is multiplied with to hold a share of the errors.

    Parameters
    ----------
    deviation, error
        As for :func:`ratios`, at least one.
    share
        0..1.
    """
    ordered = np.sort(ratios(deviation, error))
    return float(ordered[_place(len(ordered), share)])


def coverage(
    deviation: Floats,
    error: Floats,
    geometry: Sequence[str] | NDArray[np.str_],
    share: float,
) -> float:
    """Return the share of errors in intervals whose factor is of other geometries.

    Parameters
    ----------
    deviation, error
        As for :func:`ratios`.
    geometry
        Which geometry each row is of, (n,); at least two.
    share
        That the intervals shall hold, 0..1.
    """
    found = ratios(deviation, error)
    group = np.unique(np.asarray(geometry), return_inverse=True)[1]
    order = np.argsort(found, kind="stable")
    ordered = found[order]
    # Of the sorted rows without those of one geometry the k-th is wanted. The places of
    # its rows, each less the number of its rows before, say how many lie below.
    places = np.argsort(group[order], kind="stable")
    counts = np.bincount(group)
    inside = 0
    start = 0
    for count in counts:
        own = places[start : start + count]
        start += count
        k = _place(len(found) - count, share)
        below = int(np.searchsorted(own - np.arange(count), k, side="right"))
        inside += int((ordered[own] <= ordered[k + below]).sum())
    return inside / len(found)


def _place(n: int, share: float) -> int:
    """Return the place of the conformal quantile among n sorted ratios."""
    return min(n, ceil((n + 1) * share)) - 1


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
    return Calibration(
        probes=sorted(probes),
        factors={
            name: {share: factor(*_columns(rows), share) for share in LEVELS}
            for name, rows in known.items()
        },
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
        (rows["deviation"] > _NOTHING).any()
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
        for share in LEVELS:
            ending = f"{100 * share:.0f}"
            row |= dict.fromkeys((f"coverage_{ending}", f"factor_{ending}"), np.nan)
            found = ratios(deviation, error)
            before = found <= nominal_factor(name, share, n_models)
            row[f"coverage_{ending}_before"] = before.mean() if len(found) else np.nan
            if calibration is not None and name in calibration.factors:
                used = calibration.factors[name][share]
                row[f"factor_{ending}"] = used
                row[f"coverage_{ending}"] = (found <= used).mean()
            elif calibration is None and _is_enough(sample):
                row[f"factor_{ending}"] = factor(deviation, error, share)
                row[f"coverage_{ending}"] = coverage(
                    deviation, error, sample["geometry"].to_numpy(), share
                )
        rows.append(row)
    return pd.DataFrame(rows)[list(TABLE_COLUMNS)]


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
