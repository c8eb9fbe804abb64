# SPDX-License-Identifier: LGPL-3.0-or-later
"""The page: tables as text, figures as SVG, put into one template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import jinja2
import numpy as np

from spin_dp.report import band_figures, figures
from spin_dp.report.summary import QUANTITIES, states_per_geometry
from spin_dp.report.verdicts import NOTHING, band_members, finding_table, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from spin_dp.report.build import Report
    from spin_dp.report.dataset import Dataset
    from spin_dp.report.diagnosis import Diagnosis

_MOST_ROWS = 40
_MOST_LEVELS = 50
_STATE_COLUMNS = {
    "element": "element",
    "site_level": "level",
    "state": "state",
    "sites": "sites",
    "mean": "mean |m|, μB",
    "std": "spread, μB",
    "lowest": "least, μB",
    "highest": "largest, μB",
}
_PACKAGES = ("spin-dp", "deepmd-kit", "numpy", "matplotlib")


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
    words: frozenset[int] = frozenset()
    hidden: int = 0


@dataclass(frozen=True)
class Picture:
    """A figure and how many of its parts are not shown."""

    svg: str
    hidden: int = 0


@dataclass(frozen=True)
class Part:
    """One prediction in the diagnosis: verdict, figures and table."""

    title: str
    about: str
    verdict: str
    overview: Picture
    findings: Picture
    table: Table
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
        Table of :func:`spin_dp.report.gaps.state_gaps`.

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
        moments=_picture(figures.draw_moments(data)),
        states=_state_table(data.states),
        key_picture=_picture(figures.draw_keys(report.keys)),
        keys=_key_table(report.keys),
        gap_picture=_picture(figures.draw_gaps(gaps)) if len(gaps) else None,
        gaps=_gap_table(report.gaps),
        parts=[
            _part(number, frames, diagnosis)
            for number, diagnosis in enumerate(report.diagnoses)
        ],
        coverage_picture=_picture(
            (figures.draw_coverage(frames, states_per_geometry(frames)), 0)
        ),
        coverage=_coverage_table(report.coverage),
        quarantine=_table(
            report.quarantine, ("reason", "frames", "examples"), words={0, 2}
        ),
        record=_record(data),
        level_texts=_levels(data),
        versions=_versions(data),
    )


def _picture(drawn: tuple[str, int]) -> Picture:
    return Picture(*drawn)


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
    return Part(
        title=residuals.name,
        about=f"{about} RMSE {residuals.rmse:.1f} meV/atom.",
        verdict=summarise(diagnosis),
        overview=_picture(
            (band_figures.draw_overview(frames, diagnosis, f"overview{number}"), 0)
        ),
        findings=_picture(
            band_figures.draw_findings(frames, diagnosis, f"findings{number}")
        ),
        table=_finding_table(finding_table(diagnosis)),
        bands=[(f.formula, band_members(f)) for f in with_bands[:_MOST_ROWS]],
    )


def _table(
    table: pd.DataFrame,
    header: Sequence[str],
    *,
    words: set[int],
    digits: int = 0,
) -> Table:
    """Return the first rows of a table as text, numbers rounded."""
    rows = [
        [_cell(value, digits) for value in row]
        for row in table.head(_MOST_ROWS).itertuples(index=False, name=None)
    ]
    return Table(header, rows, frozenset(words), max(0, len(table) - _MOST_ROWS))


def _cell(value: object, digits: int = 0) -> str:
    if isinstance(value, float):
        return f"{value:.{digits}f}" if np.isfinite(value) else NOTHING
    return str(value)


def _key_table(keys: pd.DataFrame) -> Table:
    columns = ["formula", "level", "key", "training", "validation", "lowest", "highest"]
    header = (
        *("formula", "level", "spin state", "training", "validation"),
        *("lowest, meV/atom", "highest, meV/atom"),
    )
    return _table(_one_level(keys[columns]), header, words={0, 1, 2})


def _gap_table(gaps: pd.DataFrame) -> Table:
    header = (
        *("formula", "level", "spin state", "geometries", "lowest in"),
        *("least gap, meV/cell", "median", "largest", "median, meV/metal"),
    )
    return _table(_one_level(gaps), header, words={0, 1, 2})


def _one_level(table: pd.DataFrame) -> pd.DataFrame:
    """Leave the level empty where it repeats that of the row above."""
    level = table["level"]
    return table.assign(level=level.where(level != level.shift(), "″"))


def _state_table(states: pd.DataFrame) -> Table:
    states = states.assign(sites=states["sites"].map("{:.0f}".format))
    return _table(
        states[list(_STATE_COLUMNS)],
        tuple(_STATE_COLUMNS.values()),
        words={0, 1, 2},
        digits=2,
    )


def _finding_table(table: pd.DataFrame) -> Table:
    rows = []
    for row in table.head(_MOST_ROWS).to_dict("records"):
        apart = f" ({row['apart']})" if row["apart"] else ""
        names = [str(row[name]) for name in ("formula", "level", "frames", "states")]
        sizes = [f"{row['rmse']:.1f}", f"{row['floor']:.1f}", f"{row['bands']}{apart}"]
        shares = [
            _share(row["by_state"]),
            _probability(row["p"]),
            _share(row["within"]),
        ]
        rows.append([*names, *sizes, *shares, str(row["verdict"])])
    header = (
        *("formula", "level", "frames", "states", "RMSE, meV/atom"),
        *("floor without moments", "bands (meV/atom apart)", "explained by state"),
        *("p", "within geometries", "verdict"),
    )
    hidden = max(0, len(table) - _MOST_ROWS)
    return Table(header, rows, frozenset({0, 1, 10}), hidden)


def _share(value: float) -> str:
    return f"{100.0 * value:.0f} %" if np.isfinite(value) else NOTHING


def _probability(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else NOTHING


def _coverage_table(coverage: pd.DataFrame) -> Table:
    rows = []
    for row in coverage.head(_MOST_ROWS).to_dict("records"):
        ranges = [
            _range(float(row[f"{name}_min"]), float(row[f"{name}_max"]))
            for name in QUANTITIES
        ]
        names = [str(row[name]) for name in ("formula", "level", "key", "frames")]
        rows.append([*names, *ranges])
    header = [
        *("formula", "level", "spin state", "frames"),
        *(f"{name}, {unit}" for name, unit in QUANTITIES.values()),
    ]
    hidden = max(0, len(coverage) - _MOST_ROWS)
    return Table(header, rows, frozenset({0, 1, 2}), hidden)


def _range(low: float, high: float) -> str:
    if not np.isfinite(low):
        return NOTHING
    return f"{low:.3g} to {high:.3g}" if f"{low:.3g}" != f"{high:.3g}" else f"{low:.3g}"


def _record(data: Dataset) -> str:
    record = dict(data.record)
    files = record.get("files")
    if isinstance(files, list) and len(files) > _MOST_ROWS:
        more = f"... and {len(files) - _MOST_ROWS} more"
        record["files"] = [*files[:_MOST_ROWS], more]
    return json.dumps(record, indent=2, ensure_ascii=False)


def _levels(data: Dataset) -> list[tuple[str, str]]:
    found = [
        (name, json.dumps(text, indent=2, ensure_ascii=False))
        for name, text in data.levels.items()
    ]
    return found[:_MOST_LEVELS]


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
