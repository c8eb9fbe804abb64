# SPDX-License-Identifier: LGPL-3.0-or-later
"""From the results of pytest-benchmark to a table of ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_steps(content: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row for each timed MD step; DataError if there is none.

    Columns: ``model``, ``title``, ``file``, ``device``, ``atoms``, ``ranks``,
    ``seconds`` (median time of a step) and ``us_per_atom`` (μs per atom and step).
    """
    names = ("model", "title", "file", "device")
    rows = [
        {
            **{key: bench["extra_info"][key] for key in names},
            **{key: int(bench["extra_info"][key]) for key in ("atoms", "ranks")},
            "seconds": bench["stats"]["median"],
        }
        for bench in content["benchmarks"]
        if "ranks" in bench["extra_info"]
    ]
    if not rows:
        raise DataError("no MD step was timed; run benchmarks/test_md_step.py.")
    steps = pd.DataFrame(rows)
    steps["us_per_atom"] = 1e6 * steps["seconds"] / steps["atoms"]
    return steps


def render_steps(steps: pd.DataFrame, baseline: tuple[str, str], machine: str) -> str:
    """Return the times as Markdown, with ratios to the baseline of the same run."""
    devices = " and ".join(sorted(steps["device"].unique()))
    lines = [
        f"MD steps of rocksalt NiO in stock LAMMPS, {devices} ({machine}), one thread "
        "a rank.",
        "",
        "| atoms | ranks | model | file | ms/step | μs/atom/step | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    groups: Any = steps.groupby(["atoms", "ranks"])
    for (atoms, ranks), part in groups:
        found = part[(part["model"] == baseline[0]) & (part["file"] == baseline[1])]
        unit = found["seconds"].iloc[0] if len(found) else float("nan")
        lines += [
            f"| {atoms} | {ranks} | {row.title} | {row.file} | "
            f"{1e3 * row.seconds:.4g} | {row.us_per_atom:.3g} | "
            f"{row.seconds / unit:.3g} |"
            for row in part.sort_values("seconds").itertuples(index=False)
        ]
    return "\n".join(lines) + "\n"
