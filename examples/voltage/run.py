# SPDX-License-Identifier: LGPL-3.0-or-later
"""Voltages of layered oxides, and spinel beside layers, by ``lixmo2``.

``python examples/voltage/run.py`` in a folder of yours; minutes on one quiet
core. README.md says what comes out, beside DFT and experiment.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from spin_dp import SpinDP
from spin_dp.crystals import layered_oxide, unit_cell
from spin_dp.deployment.cache import fast_models
from spin_dp.properties import Subject
from spin_dp.properties.voltage import VoltageSettings, compare_crystals, voltage
from spin_dp.structures import SPIN_STATES

if TYPE_CHECKING:
    from ase import Atoms

LABELS = {"LiCoO2": "Co=3+LS", "LiNiO2": "Ni=3+LS"}
MANGANESE = "Mn=3+HS,4+"


def layers(formula: str) -> Atoms:
    """Return six formula units of a layered oxide; its labels are looked for."""
    atoms = layered_oxide(formula, (1, 1, 1))
    del atoms.arrays[SPIN_STATES]
    return atoms


def show(what: str, done: float, total: float) -> None:
    """Print how far it is."""
    print(f"{what}: {done / total:.0%}")


def main(out: Path) -> None:
    """Ask, print and draw."""
    out.mkdir(parents=True, exist_ok=True)
    model = SpinDP(fast_models("lixmo2"))
    for formula, labels in LABELS.items():
        subject = Subject.of_model(layers(formula), model, labels, name="lixmo2")
        settings = VoltageSettings(shares=(1.0, 2 / 3, 0.5, 1 / 3, 0.0), arrangements=6)
        found = voltage(subject, settings, show)
        print(found.table()[["quantity", "value", "spread", "unit"]].to_string())
        print(found.steps.round(3).to_string())
        found.plot().figure.savefig(out / f"{formula}.png")
        (out / f"{formula}.json").write_text(found.to_json())
    crystals = {"spinel": unit_cell("LiMn2O4"), "layers": layers("Li0.5MnO2")}
    table, _ = compare_crystals(crystals, model, VoltageSettings(states=MANGANESE))
    print(table.round(3).to_string())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("voltages"))
    main(parser.parse_args().output)
