# SPDX-License-Identifier: LGPL-3.0-or-later
"""Outcomes as a table, as markdown and as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.stability.runs import CONDITIONS, Run, read_outcome, run_all
from spin_dp.demo.summary import frame_table, machine
from spin_dp.drawing import plain, save_png
from spin_dp.files import replacing, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

RESULTS, TABLE, PICTURE = "results.csv", "table.md", "stability.png"
LEGEND = (
    "Shortest M-O / Li-O / O-O contact, Å; metals that were out of their octahedron at "
    "most and at the end, if any; NVE: drift of the total energy, meV/atom/ps."
)
_CONTACT = "shortest "
_FAMILIES = {
    "M-O": ("Mn-O", "Co-O", "Ni-O"),
    "Li-O": ("Li-O",),
    "O-O": ("O-O",),
}
_COLOURS = {"M-O": "#0072B2", "Li-O": "#009E73", "O-O": "#D55E00"}
_TITLES = {"nvt": "NVT", "nve": "NVE"}


def run_grid(
    models: Sequence[Path],
    out: Path,
    *,
    crystals: Sequence[str],
    conditions: Sequence[str],
    size: str,
    ps: float,
    jobs: int,
    progress: Callable[[str, int, int], None],
    seed: int = 1,
) -> pd.DataFrame:
    """Run crystals under conditions with each model, and write what comes of them.

    Parameters
    ----------
    models
        Model files of different names, in their fast form.
    out, jobs, progress
        As for :func:`benchmarks.stability.runs.run_all`.
    crystals, conditions
        By name.
    size, ps, seed
        As of a :class:`benchmarks.stability.runs.Run`.

    Returns
    -------
    pandas.DataFrame
        Of :func:`tabulate`.
    """
    runs = [
        Run(model, crystal, size, CONDITIONS[condition], ps, seed)
        for model in models
        for condition in conditions
        for crystal in crystals
    ]
    run_all(
        runs,
        out,
        jobs=jobs,
        progress=progress,
        on_done=lambda: write_results(runs, out),
    )
    write_results(runs, out)
    return tabulate(runs, out)


def tabulate(runs: Sequence[Run], out: Path) -> pd.DataFrame:
    """Return one row for each finished run.

    Parameters
    ----------
    runs
        In the order of the table.
    out
        Output folder.

    Returns
    -------
    pandas.DataFrame
        ``model``, ``structure``, ``condition``, ``wanted_ps``, the fields of
        :class:`spin_dp.demo.watched.Outcome`, and ``shortest A-B`` (Å) for each pair
        of elements.
    """
    rows: list[dict[str, object]] = []
    for run in runs:
        outcome = read_outcome(run, out)
        if outcome is None:
            continue
        record = outcome.record()
        contacts = record.pop("shortest")
        rows.append(
            {
                "model": run.model.stem,
                "structure": run.structure,
                "condition": run.condition.name,
                "wanted_ps": run.ps,
                **record,
                **{f"{_CONTACT}{name}": contacts[name] for name in sorted(contacts)},
            }
        )
    return pd.DataFrame(rows)


def write_results(runs: Sequence[Run], out: Path) -> Path:
    """Write ``results.csv``, ``table.md`` and ``stability.png`` of what is finished."""
    table = tabulate(runs, out)
    if table.empty:
        return out / TABLE
    with replacing(out / RESULTS) as part:
        table.round(4).to_csv(part, index=False)
    write_text(out / TABLE, render(table))
    draw(out / PICTURE, table)
    return out / TABLE


def render(table: pd.DataFrame) -> str:
    """Return the markdown: for each model a table of crystals and conditions."""
    parts = []
    for model, rows in table.groupby("model", sort=False):
        held = int(rows["broken_ps"].isna().sum())
        parts.append(
            f"`{model}`: {held} of {len(rows)} runs hold. {LEGEND}\n\n"
            + frame_table(by_condition(rows))
        )
    return "\n\n".join([*parts, machine()]) + "\n"


def by_condition(rows: pd.DataFrame) -> pd.DataFrame:
    """Return crystals against conditions, as text, of the runs of one model."""
    cells = rows.assign(cell=[_cell(row) for _, row in rows.iterrows()])
    wide = cells.pivot_table(
        index="structure", columns="condition", values="cell", aggfunc="first"
    )
    names = [name for name in CONDITIONS if name in wide.columns]
    wide = wide.reindex(index=rows["structure"].unique(), columns=names)
    lengths = rows.groupby("condition")["wanted_ps"].max()
    titles = {name: f"{_title(name)}, {lengths[name]:g} ps" for name in names}
    return wide.fillna("-").rename(columns=titles).reset_index()


def _cell(row: pd.Series) -> str:
    if pd.notna(row["broken_ps"]):
        return f"**{row['broken_ps']:.2f} ps: {row['broken_by']}**"
    contacts = (_shortest(row, family) for family in _FAMILIES)
    text = " / ".join("-" if d is None else f"{d:.2f}" for d in contacts)
    if row["lost_most"]:
        text += f", lost {row['lost_most']}, {row['lost_end']}"
    if pd.notna(row["drift"]):
        text += f", {row['drift']:+.3f}"
    return text


def _shortest(row: pd.Series, family: str) -> float | None:
    names = [f"{_CONTACT}{pair}" for pair in _FAMILIES[family]]
    found = [row[n] for n in names if n in row.index and pd.notna(row[n])]
    return float(min(found)) if found else None


def _title(condition: str) -> str:
    found = CONDITIONS[condition]
    title = f"{_TITLES[found.ensemble]} {found.temperature:g} K"
    return title + f", volume -{100 * found.squeezed:g} %" * bool(found.squeezed)


def draw(path: Path, table: pd.DataFrame) -> Path:
    """Draw the shortest contacts of each crystal and condition; crosses: fell apart."""
    names = list(table["structure"].unique())
    conditions = [name for name in CONDITIONS if name in set(table["condition"])]
    models = list(table["model"].unique())
    size = (max(6.0, 2.2 * len(conditions)), 0.9 + 0.45 * len(names) * len(models))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(
        len(models), len(conditions), sharex=True, sharey=True, squeeze=False
    )
    for line, model in zip(axes, models, strict=True):
        for axis, condition in zip(line, conditions, strict=True):
            is_here = (table["model"] == model) & (table["condition"] == condition)
            for _, row in table[is_here].iterrows():
                height = names.index(row["structure"])
                for family, colour in _COLOURS.items():
                    shortest = _shortest(row, family)
                    if shortest is not None:
                        mark = "o" if pd.isna(row["broken_ps"]) else "x"
                        axis.plot(shortest, height, mark, color=colour, markersize=5)
            axis.axvline(1.3, color="#999999", linewidth=0.8, linestyle=":")
            axis.set_title(_title(condition), fontsize=9, loc="left")
            plain(axis)
        line[0].set_yticks(range(len(names)), names)
        line[0].set_ylabel(model)
        line[0].set_ylim(len(names) - 0.5, -0.5)
    for axis in axes[-1]:
        axis.set_xlabel("shortest contact (Å)")
    for family, colour in _COLOURS.items():
        axes[0, 0].plot([], [], "o", color=colour, label=family)
    axes[0, 0].plot([], [], "x", color="#999999", label="fell apart")
    figure.legend(fontsize=9, frameon=False, ncols=4, loc="outside lower center")
    return save_png(figure, path)
