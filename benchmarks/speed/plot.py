# SPDX-License-Identifier: LGPL-3.0-or-later
"""Time per atom and step against the number of atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spin_dp.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def plot_steps(path: Path, steps: pd.DataFrame) -> None:
    """Write the plot: one line for each model and form, two ranks dashed."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.0, 4.5), layout="constrained")
    titles = list(steps["title"].unique())
    colours = dict(
        zip(titles, plt.color_sequences["tab10"][: len(titles)], strict=True)
    )
    markers = {"frozen": "x", "compressed": "s", "compressed-float32": "o"}
    groups: Any = steps.sort_values("atoms").groupby(["title", "file", "ranks"])
    for (title, file, ranks), part in groups:
        axes.plot(
            part["atoms"],
            part["us_per_atom"],
            color=colours[title],
            marker=markers.get(file, "D"),
            linestyle="-" if ranks == 1 else ":",
            label=f"{title}, {file}" if ranks == 1 else None,
        )
    unit = "core" if set(steps["device"]) == {"CPU"} else "GPU"
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="atoms",
        ylabel="μs per atom and step",
        title=f"MD step of NiO in LAMMPS, one {unit} (dotted: two ranks)",
    )
    axes.grid(which="major", alpha=0.3)
    axes.legend(fontsize="x-small", ncols=2)
    with replacing(path) as part_file:
        figure.savefig(part_file, format="png", dpi=150)
    plt.close(figure)
