# SPDX-License-Identifier: LGPL-3.0-or-later
"""The page: tables as text, figures as SVG, put into one template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.report import band_figures, figures, html
from spin_dp.report.html import COUNT, MOST_ROWS, PERCENT, as_text, digits
from spin_dp.report.statistics.counts import QUANTITIES, states_per_geometry
from spin_dp.report.verdicts import NOTHING, band_members, finding_table, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from spin_dp.report.build import Report
    from spin_dp.report.dataset import Dataset
    from spin_dp.report.figures import Picture
    from spin_dp.report.html import Columns, Table
    from spin_dp.report.statistics.diagnosis import Diagnosis

_MOST_LEVELS = 50
_PACKAGES = ("spin-dp", "deepmd-kit", "numpy", "matplotlib")

_STATE: Columns = {
    "formula": ("formula", None),
    "level": ("level", None),
    "key": ("spin state", None),
}
_SITE_STATES: Columns = {
    "element": ("element", None),
    "site_level": ("level", None),
    "state": ("state", None),
    "sites": ("sites", COUNT),
    "mean": ("mean |m|, μB", digits(2)),
    "std": ("spread, μB", digits(2)),
    "lowest": ("least, μB", digits(2)),
    "highest": ("largest, μB", digits(2)),
}
_KEYS: Columns = {
    **_STATE,
    "training": ("training", COUNT),
    "validation": ("validation", COUNT),
    "lowest": ("lowest, meV/atom", COUNT),
    "highest": ("highest, meV/atom", COUNT),
}
_GAPS: Columns = {
    **_STATE,
    "geometries": ("geometries", COUNT),
    "lowest": ("lowest in", COUNT),
    "least": ("least gap, meV/cell", COUNT),
    "median": ("median", COUNT),
    "largest": ("largest", COUNT),
    "median_per_metal": ("median, meV/metal", COUNT),
}
_FINDINGS: Columns = {
    "formula": ("formula", None),
    "level": ("level", None),
    "frames": ("frames", COUNT),
    "states": ("states", COUNT),
    "rmse": ("RMSE, meV/atom", digits(1)),
    "floor": ("floor without moments", digits(1)),
    "bands": ("bands (meV/atom apart)", str),
    "by_state": ("explained by state", PERCENT),
    "p": ("p", digits(3)),
    "within": ("within geometries", PERCENT),
    "verdict": ("verdict", None),
}
_ERRORS: Columns = {
    **_STATE,
    "frames": ("frames", COUNT),
    "energy": ("energy, meV/atom", digits(1)),
    "force": ("force, meV/Å", COUNT),
    "virial": ("virial, meV/atom", COUNT),
    "gap": ("gap, meV/cell", COUNT),
    "order": ("right order", PERCENT),
    "magnetic_force": ("magnetic force, eV/μB", digits(3)),
    "moment": ("moment, μB", digits(3)),
}
_COVERAGE: Columns = {
    **_STATE,
    "frames": ("frames", COUNT),
    **{name: (f"{words}, {unit}", str) for name, (words, unit) in QUANTITIES.items()},
}
_QUARANTINE: Columns = {
    "reason": ("reason", None),
    "frames": ("frames", COUNT),
    "examples": ("examples", None),
}


@dataclass(frozen=True)
class Part:
    """One prediction in the diagnosis: verdict, figures and tables."""

    title: str
    about: str
    verdict: str
    overview: Picture
    findings: Picture
    table: Table
    errors: Table | None
    bands: Sequence[tuple[str, Sequence[str]]]


def render_page(report: Report, data: Dataset, gaps: pd.DataFrame) -> str:
    """Return the page.

    Parameters
    ----------
    report
        Tables and verdicts.
    data
        The data set.
    gaps
        Table of :func:`spin_dp.report.statistics.gaps.state_gaps`.

    Returns
    -------
    str
        HTML without links, scripts or anything outside the page.
    """
    frames = data.frames
    return html.render(
        "spin_dp.report",
        "page.html.j2",
        folder=data.folder.absolute().name,
        report=report,
        levels=sorted(frames["level"].unique()),
        moments=figures.draw_moments(data),
        states=as_text(data.states, _SITE_STATES),
        key_picture=figures.draw_keys(report.keys),
        keys=as_text(report.keys, _KEYS),
        gap_picture=figures.draw_gaps(gaps) if len(gaps) else None,
        gaps=as_text(report.gaps, _GAPS),
        parts=[
            _part(number, frames, diagnosis)
            for number, diagnosis in enumerate(report.diagnoses)
        ],
        coverage_picture=figures.draw_coverage(frames, states_per_geometry(frames)),
        coverage=as_text(_with_ranges(report.coverage), _COVERAGE),
        quarantine=as_text(report.quarantine, _QUARANTINE),
        record=_record(data),
        level_texts=_levels(data),
        versions=_versions(data),
    )


def _part(number: int, frames: pd.DataFrame, diagnosis: Diagnosis) -> Part:
    residuals = diagnosis.residuals
    about = {
        None: (
            "One energy per element (or per formula), fitted to these frames: what "
            "composition alone cannot say. It knows no positions, so geometries "
            "scatter too."
        ),
        False: "This model does not read moments.",
        True: "This model reads moments.",
    }[residuals.reads_moments]
    with_bands = [f for f in diagnosis.findings if f.bands.distances]
    findings = finding_table(diagnosis)
    apart = findings["apart"].map(lambda words: f" ({words})" if words else "")
    findings["bands"] = findings["bands"].astype(str) + apart
    errors = residuals.errors.dropna(axis="columns", how="all")
    return Part(
        title=residuals.name,
        about=f"{about} RMSE {residuals.rmse:.1f} meV/atom.",
        verdict=summarise(diagnosis),
        overview=band_figures.draw_overview(frames, diagnosis, f"overview{number}"),
        findings=band_figures.draw_findings(frames, diagnosis, f"findings{number}"),
        table=as_text(findings, _FINDINGS),
        errors=as_text(errors, _ERRORS) if len(errors) else None,
        bands=[(f.formula, band_members(f)) for f in with_bands[:MOST_ROWS]],
    )


def _with_ranges(coverage: pd.DataFrame) -> pd.DataFrame:
    return coverage.assign(
        **{
            name: [
                _range(low, high)
                for low, high in zip(
                    coverage[f"{name}_min"], coverage[f"{name}_max"], strict=True
                )
            ]
            for name in QUANTITIES
        }
    )


def _range(low: float, high: float) -> str:
    if not np.isfinite(low):
        return NOTHING
    return " to ".join(dict.fromkeys((f"{low:.3g}", f"{high:.3g}")))


def _record(data: Dataset) -> str:
    record = dict(data.record)
    files = record.get("files")
    if isinstance(files, list) and len(files) > MOST_ROWS:
        more = f"... and {len(files) - MOST_ROWS} more"
        record["files"] = [*files[:MOST_ROWS], more]
    return json.dumps(record, indent=2, ensure_ascii=False)


def _levels(data: Dataset) -> list[tuple[str, str]]:
    return [
        (name, json.dumps(text, indent=2, ensure_ascii=False))
        for name, text in list(data.levels.items())[:_MOST_LEVELS]
    ]


def _versions(data: Dataset) -> str:
    words = []
    for name in _PACKAGES:
        try:
            words.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    collected = data.record.get("spin_dp")
    if collected is not None:
        words.insert(0, f"collected with spin-dp {collected}")
    return ", ".join(words)
