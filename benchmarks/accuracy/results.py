# SPDX-License-Identifier: LGPL-3.0-or-later
"""From evaluated frames to ``results.csv`` and ``table.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.accuracy.evaluate import NAME
from benchmarks.accuracy.models import MODELS
from spin_dp.evaluation import score

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

ALL, FREE, HELD, STATE = "all", "unconstrained", "held", "state: "
"""Subsets of the held-out frames; the last is followed by formula and key."""

SUBSETS = {
    ALL: "All held-out frames",
    FREE: "Frames whose moments were free",
    HELD: "Frames whose total moment was held",
}
BUDGETS = {"steps": "equal steps", "time": "equal training time"}

QUANTITIES = {
    "energy": ("energy meV/atom", 1.0, 1),
    "energy_mae": ("energy MAE meV/atom", 1.0, 1),
    "force": ("force meV/Å", 1.0, 0),
    "gap": ("spin gap meV/cell", 1.0, 0),
    "order": ("order %", 100.0, 1),
    "magnetic_force": ("spurious -dE/dm eV/μB", 1.0, 3),
    "moment": ("predicted moment μB", 1.0, 3),
    "score": ("score", 1.0, 1),
}
"""Column of ``results.csv``: heading in the table, factor, decimals."""


def scores(frames: pd.DataFrame) -> dict[str, float]:
    """Return all measures of one model on a set of frames."""
    found = score(frames, NAME)
    wrong = (frames[f"energy_{NAME}"] - frames["energy"]) / frames["natoms"]
    free = frames[~frames["held"]]
    slopes = free[f"magnetic_{NAME}"].to_numpy(dtype=float)
    atoms = free["metals"].to_numpy(dtype=float)
    mean = np.average(slopes**2, weights=atoms) if atoms.sum() else np.nan
    return {
        "frames": found.frames,
        "pairs": found.pairs,
        "ordered_pairs": found.ordered_pairs,
        "energy": found.energy,
        "energy_mae": 1e3 * float(wrong.abs().mean()),
        "force": found.force,
        "gap": found.gap,
        "order": found.order,
        "magnetic_force": float(np.sqrt(mean)),
        "moment": found.moment,
        "score": float(np.cbrt(found.energy * found.force * found.gap)),
    }


def subsets(frames: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the subsets of held-out frames that are reported, with their names."""
    yield ALL, frames
    yield FREE, frames[~frames["held"]]
    yield HELD, frames[frames["held"]]
    for (formula, key), group in frames.groupby(["formula", "key"]):
        yield f"{STATE}{formula} {key}", group


def result_rows(
    frames: pd.DataFrame, about: Mapping[str, object]
) -> list[dict[str, object]]:
    """Return the rows of ``results.csv`` of one training, columns ``about`` first."""
    return [
        {**about, "subset": name, **scores(group)}
        for name, group in subsets(frames)
        if len(group)
    ]


def render_table(
    results: pd.DataFrame, speeds: pd.DataFrame, untuned: Sequence[str]
) -> str:
    """Return ``table.md``: mean and spread over the seeds."""
    seeds = ", ".join(str(seed) for seed in sorted(results["seed"].unique()))
    blocks = [
        "# Accuracy on held-out geometries\n\n"
        f"Mean ± standard deviation over the splits and seeds {seeds}. Score: "
        "geometric mean of energy, force and gap error; bold: best of a column."
    ]
    if untuned:
        blocks.append(f"Not tuned: {', '.join(untuned)}.")
    for budget, budget_title in BUDGETS.items():
        of_budget = results[results["budget"] == budget]
        for subset, title in SUBSETS.items():
            rows = of_budget[of_budget["subset"] == subset]
            if len(rows):
                blocks.append(f"## {title}, {budget_title}\n\n{_summary(rows)}")
    if len(speeds):
        blocks.append(f"## LAMMPS, one process\n\n{_speeds(speeds)}")
    by_state = results[results["subset"].str.startswith(STATE)]
    for budget, title in BUDGETS.items():
        rows = by_state[by_state["budget"] == budget]
        if len(rows):
            blocks.append(
                f"## Energy error by spin state, {title}, meV/atom\n\n{_states(rows)}"
            )
    return "\n\n".join(blocks) + "\n"


def _summary(rows: pd.DataFrame) -> str:
    groups = {str(name): group for name, group in rows.groupby("model")}
    best = {
        name: _best(name, [group[name].mean() for group in groups.values()])
        for name in QUANTITIES
    }
    headings = [heading for heading, _, _ in QUANTITIES.values()]
    lines = [["model", "parameters", "steps", "s/step", *headings]]
    for name in [n for n in MODELS if n in groups]:
        group = groups[name]
        cells = [
            MODELS[name].title,
            f"{group['parameters'].median():.0f}",
            f"{group['steps'].median():.0f}",
            f"{group['seconds_per_step'].mean():.3f}",
        ]
        for quantity, (_, factor, decimals) in QUANTITIES.items():
            cell = _mean_and_spread(group[quantity] * factor, decimals)
            is_best = np.isclose(group[quantity].mean(), best[quantity])
            cells.append(f"**{cell}**" if is_best and len(groups) > 1 else cell)
        lines.append(cells)
    return markdown(lines)


def _best(quantity: str, means: Sequence[float]) -> float:
    finite = [mean for mean in means if np.isfinite(mean)]
    return (max if quantity == "order" else min)(finite, default=float("nan"))


def _mean_and_spread(values: pd.Series[float], decimals: int) -> str:
    known = values.dropna()
    if known.empty:
        return "-"
    spread = f" ± {known.std():.{decimals}f}" if len(known) > 1 else ""
    return f"{known.mean():.{decimals}f}{spread}"


def _speeds(speeds: pd.DataFrame) -> str:
    lines = [["model", "file", "atoms", "s/step"]]
    for row in speeds.to_dict("records"):
        title = MODELS[row["model"]].title
        seconds = f"{row['seconds_per_step']:.4f}"
        lines.append([title, row["file"], str(row["atoms"]), seconds])
    return markdown(lines)


def _states(rows: pd.DataFrame) -> str:
    means = rows.pivot_table(index="subset", columns="model", values="energy")
    names = [name for name in MODELS if name in means]
    frames = rows.drop_duplicates(["subset", "seed"]).groupby("subset")["frames"].sum()
    lines = [["state", "frames", *(MODELS[name].title for name in names)]]
    for subset in means.index:
        cells = [f"{means.loc[subset, name]:.1f}" for name in names]
        count = str(frames.loc[subset])
        lines.append([str(subset).removeprefix(STATE), count, *cells])
    return markdown(lines)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first line is the heading."""
    rule = ["---"] * len(lines[0])
    rows = [lines[0], rule, *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
