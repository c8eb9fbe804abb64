# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a diagnosis means, in words and in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.report.statistics.bands import FEWEST

if TYPE_CHECKING:
    from spin_dp.report.statistics.diagnosis import Diagnosis, Finding, Outcome
    from spin_dp.report.statistics.effects import Effect

NOTHING = "–"
"""Stands where there is no number."""

_NUMBERS = {2: "two", 3: "three", 4: "four"}


def describe_bands(finding: Finding) -> str:
    """Return bands in words, e.g. ``two bands, 310 meV/atom apart``."""
    distances = finding.bands.distances
    if not distances:
        return "no second band"
    apart = " and ".join(f"{distance:.0f}" for distance in distances)
    return f"{_NUMBERS[len(distances) + 1]} bands, {apart} meV/atom apart"


def percent(effect: Effect | None) -> str:
    """Return the share that an effect explains, e.g. ``96 %``; a dash for none."""
    if effect is None or not np.isfinite(effect.share):
        return NOTHING
    return f"{100.0 * effect.share:.0f} %"


def verdict(finding: Finding, reads_moments: bool | None) -> str:
    """Return what a finding means and what to do.

    Parameters
    ----------
    finding
        The finding.
    reads_moments
        Whether the model behind it knows the moments.

    Returns
    -------
    str
        Part of a sentence, without formula and stop.
    """
    bands = describe_bands(finding)
    share = _explained(finding)
    advice = "train with moments"
    if reads_moments:
        advice = (
            "the model reads moments but confuses these states; add frames of the rare "
            "ones or train longer"
        )
    look = "nothing else in the manifest does; compare frames of both bands by hand"
    if finding.other is not None:
        name, part = finding.other
        look = f"look at {name}, which explains {100.0 * part:.0f} %"
    several = bool(finding.bands.distances)
    texts: dict[Outcome, str] = {
        "few": f"too few frames to tell ({len(finding.rows)})",
        "spin": f"{bands}; {share}: {advice}",
        "geometry": (
            f"{bands}, made by the geometries, which this fit does not know; {share}: "
            f"{advice}"
        ),
        "other": f"{bands}, NOT explained by spin state ({share}): {look}",
        "overlap": f"bands overlap, but {share}: {advice}",
        "none": f"no second band; {share}",
        "one state": f"{bands}, all of one spin state: {look}"
        if several
        else "no second band; there is only one spin state",
    }
    return texts[finding.outcome]


def summarise(diagnosis: Diagnosis) -> str:
    """Return the verdict over all formulas and levels, one or two sentences."""
    name = diagnosis.residuals.name
    tested = [f for f in diagnosis.findings if f.outcome != "few"]
    if not tested:
        return (
            f"{name}: no formula has {FEWEST} frames of one level, too few for a test."
        )
    of_spin = diagnosis.count("spin", "geometry")
    overlapping = diagnosis.count("overlap")
    banded = sum(bool(f.bands.distances) for f in tested)
    formulas = _formulas(len(tested))
    if banded:
        more = f", overlapping ones in {overlapping} more" if overlapping else ""
        text = f"bands in {banded} of {formulas}{more}"
    elif overlapping:
        text = f"overlapping bands in {overlapping} of {formulas}"
    else:
        text = f"no second band in {formulas}"
    text = f"{name}: {text}; {_explained(diagnosis)}."
    if of_spin or overlapping:
        text += (
            " The model reads moments but still confuses states."
            if diagnosis.residuals.reads_moments
            else " Train with moments."
        )
    if other := banded - of_spin:
        text += (
            f" Bands NOT explained by spin state in {_formulas(other)}: see the table."
        )
    return text


def _explained(by: Finding | Diagnosis) -> str:
    text = f"spin state explains {percent(by.by_state)} of the residual variance"
    if percent(by.within) != NOTHING:
        text += f", {percent(by.within)} within equal geometries"
    return text


def _formulas(count: int) -> str:
    return "1 formula" if count == 1 else f"{count} formulas"


def finding_table(diagnosis: Diagnosis) -> pd.DataFrame:
    """Return the findings as a table.

    Returns
    -------
    pandas.DataFrame
        ``formula``, ``level``, ``frames``, ``states``, ``rmse`` and ``floor``
        (meV/atom), ``bands``, ``apart`` (meV/atom), ``by_state`` (share), ``p``,
        ``within`` (share) and ``verdict``.
    """
    nan = float("nan")
    return pd.DataFrame(
        {
            "formula": f.formula,
            "level": f.level,
            "frames": len(f.rows),
            "states": f.states,
            "rmse": f.rmse,
            "floor": f.floor,
            "bands": len(f.bands.centres),
            "apart": ", ".join(f"{d:.0f}" for d in f.bands.distances),
            "by_state": nan if f.by_state is None else f.by_state.share,
            "p": nan if f.by_state is None else f.by_state.p_value,
            "within": nan if f.within is None else f.within.share,
            "verdict": verdict(f, diagnosis.residuals.reads_moments),
        }
        for f in diagnosis.findings
    )


def band_members(finding: Finding, most: int = 2) -> list[str]:
    """Return for each band how many frames it has and of which states most are."""
    texts = []
    for number, centre in enumerate(finding.bands.centres):
        labels = finding.labels[finding.bands.members == number]
        counts = labels.value_counts().head(most)
        names = ", ".join(f"{name} ({count})" for name, count in counts.items())
        more = labels.nunique() - len(counts)
        tail = f" and {more} more states" if more > 0 else ""
        texts.append(f"{centre:+.0f} meV/atom: {len(labels)} frames, {names}{tail}")
    return texts
