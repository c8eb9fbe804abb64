# SPDX-License-Identifier: LGPL-3.0-or-later
"""Two cathodes with labels held, adiabatic and moved by Monte Carlo, side by side.

``python examples/moving_labels/run.py -o moving_labels``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from spin_dp.drawing import COLOURS, plain, save_png
from spin_dp.dynamics import MDSettings, MonteCarlo, run_md
from spin_dp.dynamics.analysis import analyse
from spin_dp.dynamics.analysis_page import write_page
from spin_dp.threads import default_to_one_thread

HERE = Path(__file__).resolve().parent

# Crystals, and the states that Monte Carlo may put their sites in.
CRYSTALS = {
    "Li05NiO2": {"Ni": ["3+LS", "4+LS"]},
    "LNMO": {"Mn": ["3+HS", "4+"], "Ni": ["2+", "3+LS", "4+LS"]},
}
MODES = ("held", "adiabatic", "monte-carlo")


def main(
    out: Path, model: str | Path = "lixmo2", *, steps: int = 5000, kelvin: float = 600.0
) -> pd.DataFrame:
    """Run all, analyse all; return the states of all runs."""
    tables = []
    for crystal, states in CRYSTALS.items():
        frames = {}
        for mode in MODES:
            folder = out / f"{crystal}-{mode}"
            print(f"{folder}: {steps} steps", flush=True)
            moved = MonteCarlo(every=20, states=states)
            run_md(
                HERE / f"{crystal}.extxyz",
                model,
                out=folder,
                settings=MDSettings(
                    temperature=kelvin, steps=steps, dump_every=max(10, steps // 100)
                ),
                labels_move=moved if mode == "monte-carlo" else mode,
            )
            # The first fifth is on the way to equilibrium.
            found = analyse(folder, skip_ps=0.2e-3 * steps)
            found.write(folder / "analysis")
            write_page(found, folder / "analysis", folder.name)
            frames[mode] = found.frames
            tables.append(found.states.assign(crystal=crystal, mode=mode))
        draw(out / f"{crystal}.png", frames)
    table = pd.concat(tables, ignore_index=True)
    first = ["crystal", "mode", "state"]
    table = table[[*first, *(name for name in table if name not in first)]]
    table.round(4).to_csv(out / "states.csv", index=False)
    return table


def draw(path: Path, runs: dict[str, pd.DataFrame]) -> None:
    """Draw what differs between the modes, against time."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    columns = {
        "energy": "potential energy, eV",
        "order": "cosine of neighbouring moments",
        "changed": "sites in another state than at first",
    }
    for axis, (name, title) in zip(axes, columns.items(), strict=True):
        for colour, (mode, frames) in zip(COLOURS, runs.items(), strict=False):
            axis.plot(frames["time_ps"], frames[name], color=colour, label=mode)
        axis.set_xlabel("time, ps")
        axis.set_title(title)
        axis.ticklabel_format(useOffset=False)
        plain(axis)
    axes[0].legend()
    save_png(figure, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("moving_labels"))
    parser.add_argument("-m", "--model", default="lixmo2")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--kelvin", type=float, default=600.0)
    given = parser.parse_args()
    default_to_one_thread()
    shown = main(given.output, given.model, steps=given.steps, kelvin=given.kelvin)
    print(shown.to_string(index=False, float_format="{:.3f}".format))
