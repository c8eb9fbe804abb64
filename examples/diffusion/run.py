# SPDX-License-Identifier: LGPL-3.0-or-later
"""Lithium in half-empty LiCoO2 at several temperatures, and its activation energy.

``python examples/diffusion/run.py`` in a folder of yours: four runs of labelled MD with
``lixmo2``, then what ``spin-dp diffusion`` shows. A few minutes on one quiet core with
the default length, which is for looking, not for numbers: see README.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from spin_dp.crystals import layered_oxide
from spin_dp.dynamics import MDSettings, MonteCarlo, run_md
from spin_dp.errors import SpinDPError
from spin_dp.properties.diffusion import fit_arrhenius, measure_diffusion
from spin_dp.vacancies import with_vacancies

TEMPERATURES = (800, 1000, 1200, 1400)
MODES = {
    "adiabatic": "adiabatic",
    "monte-carlo": MonteCarlo(states={"Co": ["3+LS", "4+LS"]}),
}


def main(out: Path, picoseconds: float, mode: str) -> None:
    """Run, measure and fit."""
    full = layered_oxide("LiCoO2", (2, 2, 1))
    half = with_vacancies(full, {"Li": 0.5}, seed=3)
    found = []
    for kelvin in TEMPERATURES:
        folder = out / mode / str(kelvin)
        run_md(
            half,
            "lixmo2",
            out=folder,
            balance={"Co": "4+LS"},
            labels_move=MODES[mode],
            settings=MDSettings(
                temperature=kelvin, steps=round(1000 * picoseconds), dump_every=50
            ),
        )
        try:
            found.append(measure_diffusion(folder))
        except SpinDPError as error:  # too cold for so short a run
            print(error)
            continue
        print(found[-1].table()[["quantity", "value", "low", "high", "unit"]])
    fit = fit_arrhenius(found)
    print(fit.label)
    fit.plot().figure.savefig(out / f"{mode}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("lithium-diffusion"))
    parser.add_argument("--ps", type=float, default=10.0)
    parser.add_argument("--labels-move", choices=MODES, default="adiabatic")
    asked = parser.parse_args()
    main(asked.output, asked.ps, asked.labels_move)
