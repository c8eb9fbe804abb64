# SPDX-License-Identifier: LGPL-3.0-or-later
"""Why a parity plot splits into bands: because of spin states, or of something else.

The question users ask is deepmd-kit's issue 5191. Residuals are looked at within one
formula and level of theory, so that neither composition nor method makes a band.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from spin_dp.report.statistics.bands import FEWEST, find_bands
from spin_dp.report.statistics.effects import effect, pooled
from spin_dp.report.statistics.gaps import blind_floor

if TYPE_CHECKING:
    from spin_dp.report.statistics.bands import Bands
    from spin_dp.report.statistics.effects import Effect
    from spin_dp.report.statistics.residuals import Floats, Residuals

Outcome = Literal["spin", "geometry", "other", "overlap", "none", "one state", "few"]

EXPLAINED = 0.5
"""Share of the variance from which bands count as explained."""

SMALLEST_MEV_PER_ATOM = 2.0
"""Bands and shifts below this do not matter, meV/atom."""

_CHANCE = 0.05
_NOTABLE = 0.25
_FRAMES_PER_KEY = 4
_MOST_KEYS = 20
_BINS = 4
_OTHERS = {
    "source": "the source file",
    "constrained": "whether moments were held",
    "energy_kind": "the kind of energy",
    "naming": "how surely the state was named",
    "charge": "the nominal charge of the cell",
    "volume": "the volume",
    "max_force": "the largest force",
    "shortest": "the shortest metal-anion distance",
    "total_moment": "the total moment",
    "geometry": "the geometry",
}


@dataclass(frozen=True, eq=False)
class Finding:
    """What the residuals of one formula and level show.

    Attributes
    ----------
    formula, level
        The group of frames.
    rows
        Their rows in the table of frames, (n,).
    labels
        Spin state of each: its key, or where keys are too many for the frames, how
        many sites are in which state, (n,).
    rmse
        Of the residuals about their mean, meV/atom.
    floor
        Least RMSE of a model without moments on these frames, meV/atom.
    bands
        The bands of the residuals.
    by_state, within
        What the spin state explains of all residuals, and of those within equal
        geometries; None where there is nothing to compare.
    other
        What else in the manifest explains most, with its share; None if not asked.
    outcome
        ``spin``: bands explained by the spin state. ``geometry``: bands made by the
        geometries, which a composition fit does not know. ``other``: bands explained
        by neither. ``overlap``: no second band, but a shift between the states.
        ``none``: neither. ``one state``, ``few``: one spin state, too few frames.
    """

    formula: str
    level: str
    rows: pd.Index
    labels: pd.Series
    rmse: float
    floor: float
    bands: Bands
    by_state: Effect | None
    within: Effect | None
    other: tuple[str, float] | None
    outcome: Outcome

    @property
    def states(self) -> int:
        """Number of spin states."""
        return int(self.labels.nunique())


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What the residuals of one prediction show.

    Attributes
    ----------
    residuals
        The residuals.
    findings
        One per formula and level, those with most frames first.
    by_state, within
        Pooled over all of them, differences between them left out.
    """

    residuals: Residuals
    findings: tuple[Finding, ...]
    by_state: Effect | None
    within: Effect | None

    def count(self, *outcomes: Outcome) -> int:
        """Return how many findings have one of the outcomes."""
        return sum(finding.outcome in outcomes for finding in self.findings)


def diagnose(
    frames: pd.DataFrame, residuals: Residuals, rng: np.random.Generator
) -> Diagnosis:
    """Test the residuals of each formula and level for bands and for their cause.

    Parameters
    ----------
    frames
        Kept frames of :func:`spin_dp.report.dataset.read_dataset`.
    residuals
        Of the same frames.
    rng
        For the permutation tests.

    Returns
    -------
    Diagnosis
        Findings and what they have in common.
    """
    groups = frames.groupby(["formula", "level"], sort=True)
    findings = [_finding(rows, residuals, rng) for _, rows in groups]
    findings.sort(key=lambda finding: -len(finding.rows))
    return Diagnosis(
        residuals,
        tuple(findings),
        pooled([f.by_state for f in findings if f.by_state is not None]),
        pooled([f.within for f in findings if f.within is not None]),
    )


def _finding(
    rows: pd.DataFrame, residuals: Residuals, rng: np.random.Generator
) -> Finding:
    values = residuals.values[rows.index.to_numpy()]
    labels = spin_labels(rows)
    bands = find_bands(values, SMALLEST_MEV_PER_ATOM)
    enough = len(rows) >= FEWEST
    several = enough and labels.nunique() > 1
    by_state = effect(values, labels, rng=rng) if several else None
    within = _within_geometries(rows, values, labels, rng)
    knows_positions = residuals.reads_moments is not None
    outcome = _outcome(bands, by_state, within, knows_positions) if enough else "few"
    is_open = len(bands.centres) > 1 and outcome in ("geometry", "other", "one state")
    return Finding(
        formula=str(rows["formula"].iloc[0]),
        level=str(rows["level"].iloc[0]),
        rows=rows.index,
        labels=labels,
        rmse=float(values.std()),
        floor=blind_floor(rows),
        bands=bands,
        by_state=by_state,
        within=within,
        other=_other_cause(rows, values, rng) if is_open else None,
        outcome=outcome,
    )


def spin_labels(rows: pd.DataFrame) -> pd.Series:
    """Return the spin state by which frames are told apart.

    Parameters
    ----------
    rows
        Frames of one formula.

    Returns
    -------
    pandas.Series
        The spin-state key; in large cells, where keys are more than anyone can read or
        nearly every frame has its own, how many sites are in which state, whatever
        their signs.
    """
    most = min(_MOST_KEYS, max(2, len(rows) // _FRAMES_PER_KEY))
    many = rows["key"].nunique() > most
    return rows["states"] if many and len(rows) >= FEWEST else rows["key"]


def _outcome(
    bands: Bands,
    by_state: Effect | None,
    within: Effect | None,
    knows_positions: bool,
) -> Outcome:
    if by_state is None:
        return "one state"
    share, shift = _sure(by_state)
    share_within, shift_within = _sure(within)
    if len(bands.centres) > 1:
        if share >= EXPLAINED:
            return "spin"
        is_geometry = share_within >= EXPLAINED and not knows_positions
        return "geometry" if is_geometry else "other"
    is_shifted = share >= _NOTABLE and shift >= SMALLEST_MEV_PER_ATOM
    is_shifted_within = (
        share_within >= EXPLAINED and shift_within >= SMALLEST_MEV_PER_ATOM
    )
    return "overlap" if is_shifted or is_shifted_within else "none"


def _sure(effect: Effect | None) -> tuple[float, float]:
    """Return share and size (meV/atom rms) of an effect; zero if it may be chance."""
    if effect is None or not effect.share > 0.0 or effect.p_value > _CHANCE:
        return 0.0, 0.0
    return effect.share, float(np.sqrt(effect.share * effect.total / effect.n))


def _within_geometries(
    rows: pd.DataFrame, values: Floats, labels: pd.Series, rng: np.random.Generator
) -> Effect | None:
    """Return the effect of the state among frames that differ in nothing else."""
    states = labels.groupby(rows["geometry"]).transform("nunique")
    shared = (states > 1).to_numpy()
    if not shared.any():
        return None
    return effect(
        values[shared],
        labels[shared].to_numpy(),
        rows["geometry"][shared].to_numpy(),
        rng=rng,
    )


def _other_cause(
    rows: pd.DataFrame, values: Floats, rng: np.random.Generator
) -> tuple[str, float] | None:
    """Return what explains the residuals best, where the spin state does not."""
    shares: dict[str, float] = {}
    for column, name in _OTHERS.items():
        labels = _coarse(rows[column])
        if 1 < labels.nunique() <= len(rows) // 2:
            of_column = effect(values, labels, rng=rng)
            if of_column.share >= _NOTABLE and of_column.p_value <= _CHANCE:
                shares[name] = of_column.share
    return max(shares.items(), key=lambda item: item[1], default=None)


def _coarse(column: pd.Series) -> pd.Series:
    """Return numbers as quarters of the frames, words as they are."""
    if not pd.api.types.is_numeric_dtype(column) or column.nunique() <= _BINS:
        return column.astype(str)
    return pd.qcut(
        column.rank(method="average"), _BINS, labels=False, duplicates="drop"
    )
