# SPDX-License-Identifier: LGPL-3.0-or-later
"""The page: tables as text, figures as SVG, put into one template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeAlias

import jinja2
import numpy as np

from spin_dp.report import band_figures, figures
from spin_dp.report.statistics.counts import QUANTITIES, states_per_geometry
from spin_dp.report.verdicts import NOTHING, band_members, finding_table, summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from spin_dp.report.build import Report
    from spin_dp.report.dataset import Dataset
    from spin_dp.report.figures import Picture
    from spin_dp.report.statistics.diagnosis import Diagnosis

_MOST_ROWS = 40
_MOST_LEVELS = 50
_PACKAGES = ("spin-dp", "deepmd-kit", "numpy", "matplotlib")


def _digits(count: int, factor: float = 1.0, unit: str = "") -> Callable[[Any], str]:
    """Return what writes a number, a dash where there is none."""
    return lambda value: (
        f"{factor * value:.{count}f}{unit}" if np.isfinite(value) else NOTHING
    )


_COUNT, _PERCENT = _digits(0), _digits(0, 100.0, " %")
_Columns: TypeAlias = "Mapping[str, tuple[str, Callable[[Any], str] | None]]"
"""Heading and form of each column that is shown; None: words."""

_STATE: _Columns = {
    "formula": ("formula", None),
    "level": ("level", None),
    "key": ("spin state", None),
}
_SITE_STATES: _Columns = {
    "element": ("element", None),
    "site_level": ("level", None),
    "state": ("state", None),
    "sites": ("sites", _COUNT),
    "mean": ("mean |m|, μB", _digits(2)),
    "std": ("spread, μB", _digits(2)),
    "lowest": ("least, μB", _digits(2)),
    "highest": ("largest, μB", _digits(2)),
}
_KEYS: _Columns = {
    **_STATE,
    "training": ("training", _COUNT),
    "validation": ("validation", _COUNT),
    "lowest": ("lowest, meV/atom", _COUNT),
    "highest": ("highest, meV/atom", _COUNT),
}
_GAPS: _Columns = {
    **_STATE,
    "geometries": ("geometries", _COUNT),
    "lowest": ("lowest in", _COUNT),
    "least": ("least gap, meV/cell", _COUNT),
    "median": ("median", _COUNT),
    "largest": ("largest", _COUNT),
    "median_per_metal": ("median, meV/metal", _COUNT),
}
_FINDINGS: _Columns = {
    "formula": ("formula", None),
    "level": ("level", None),
    "frames": ("frames", _COUNT),
    "states": ("states", _COUNT),
    "rmse": ("RMSE, meV/atom", _digits(1)),
    "floor": ("floor without moments", _digits(1)),
    "bands": ("bands (meV/atom apart)", str),
    "by_state": ("explained by state", _PERCENT),
    "p": ("p", _digits(3)),
    "within": ("within geometries", _PERCENT),
    "verdict": ("verdict", None),
}
_ERRORS: _Columns = {
    **_STATE,
    "frames": ("frames", _COUNT),
    "energy": ("energy, meV/atom", _digits(1)),
    "force": ("force, meV/Å", _COUNT),
    "virial": ("virial, meV/atom", _COUNT),
    "gap": ("gap, meV/cell", _COUNT),
    "order": ("right order", _PERCENT),
    "magnetic_force": ("magnetic force, eV/μB", _digits(3)),
    "moment": ("moment, μB", _digits(3)),
}
_COVERAGE: _Columns = {
    **_STATE,
    "frames": ("frames", _COUNT),
    **{name: (f"{words}, {unit}", str) for name, (words, unit) in QUANTITIES.items()},
}
_QUARANTINE: _Columns = {
    "reason": ("reason", None),
    "frames": ("frames", _COUNT),
    "examples": ("examples", None),
}


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes
    ----------
    header
        Names of the columns.
    rows
        Cells.
    words
        Numbers of the columns that hold words; others stand to the right.
    hidden
        How many rows are not shown.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int]
    hidden: int


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
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spin_dp.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    frames = data.frames
    return environment.get_template("page.html.j2").render(
        folder=data.folder.absolute().name,
        report=report,
        levels=sorted(frames["level"].unique()),
        moments=figures.draw_moments(data),
        states=_table(data.states, _SITE_STATES),
        key_picture=figures.draw_keys(report.keys),
        keys=_table(report.keys, _KEYS),
        gap_picture=figures.draw_gaps(gaps) if len(gaps) else None,
        gaps=_table(report.gaps, _GAPS),
        parts=[
            _part(number, frames, diagnosis)
            for number, diagnosis in enumerate(report.diagnoses)
        ],
        coverage_picture=figures.draw_coverage(frames, states_per_geometry(frames)),
        coverage=_table(_with_ranges(report.coverage), _COVERAGE),
        quarantine=_table(report.quarantine, _QUARANTINE),
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
        table=_table(findings, _FINDINGS),
        errors=_table(errors, _ERRORS) if len(errors) else None,
        bands=[(f.formula, band_members(f)) for f in with_bands[:_MOST_ROWS]],
    )


def _table(table: pd.DataFrame, columns: _Columns) -> Table:
    """Return the first rows of a table as text, those of the columns that it has."""
    columns = {name: column for name, column in columns.items() if name in table}
    if "level" in table and "key" in table:
        # The level stands where it differs from that of the row above.
        repeated = table["level"] == table["level"].shift()
        table = table.assign(level=table["level"].mask(repeated, "″"))
    top = table.head(_MOST_ROWS)
    cells = [top[name].map(form or str) for name, (_, form) in columns.items()]
    return Table(
        header=[heading for heading, _ in columns.values()],
        rows=list(zip(*cells, strict=True)),
        words=[i for i, (_, form) in enumerate(columns.values()) if form is None],
        hidden=max(0, len(table) - _MOST_ROWS),
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
    if isinstance(files, list) and len(files) > _MOST_ROWS:
        more = f"... and {len(files) - _MOST_ROWS} more"
        record["files"] = [*files[:_MOST_ROWS], more]
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
