# SPDX-License-Identifier: LGPL-3.0-or-later
"""Properties of three cathodes in two spin states each, beside measurements.

``python examples/properties/run.py -o properties``
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ase import Atoms
from ase.spacegroup import crystal

from spin_dp import SpinDP
from spin_dp.deployment import fast_models
from spin_dp.properties import (
    ElasticitySettings,
    EquationOfStateSettings,
    PhononSettings,
    RelaxationSettings,
    Subject,
    collect_properties,
    find_property,
    write_page,
)
from spin_dp.threads import default_to_one_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

STATES = {
    "LiNiO2": ("Ni=3+LS", "Ni=3+HS"),
    "LiMnO2": ("Mn=3+HS", "Mn=3+LS"),
    "LiCoO2": ("Co=3+LS", "Co=3+IS"),
}
"""The ground state first."""

# Measured cells are means over octahedra that Jahn and Teller stretch; without being
# rattled they would stay at that symmetry.
SETTINGS: dict[str, Any] = {
    "relaxation": RelaxationSettings(rattle=0.03),
    "eos": EquationOfStateSettings(rattle=0.03, max_strain=0.02, points=7),
    "elasticity": ElasticitySettings(rattle=0.03),
    "phonons": PhononSettings(rattle=0.03),
}

MEASURED: dict[str, dict[str, float]] = {
    # Lattices of the conventional cells; volumes are those of these lattices.
    # H. Arai et al., Solid State Ionics 80, 261 (1995); Raman: R. Baddour-Hadjean and
    # J.-P. Pereira-Ramos, Chem. Rev. 110, 1278 (2010).
    "LiNiO2": {"a": 2.878, "c": 14.19, "volume": 33.93, "highest_1/cm": 545.0},
    # A. R. Armstrong and P. G. Bruce, Nature 381, 499 (1996).
    "LiMnO2": {
        "a": 5.4387,
        "b": 2.80857,
        "c": 5.3878,
        "beta": 116.006,
        "volume": 36.98,
    },
    # J. Akimoto, Y. Gotoh and Y. Oosawa, J. Solid State Chem. 141, 298 (1998); X. Wang
    # et al., Phys. Rev. B 72, 224102 (2005); M. Inaba et al., J. Raman Spectrosc. 28,
    # 613 (1997).
    "LiCoO2": {
        "a": 2.8161,
        "c": 14.0536,
        "volume": 32.17,
        "B0": 149.0,
        "highest_1/cm": 596.0,
    },
}
"""At room temperature: Å, Å³ per formula unit, GPa, 1/cm (A1g in Raman spectra)."""


def build(name: str) -> Atoms:
    """Return the measured primitive cell."""
    if name == "LiMnO2":
        found = crystal(
            ["Mn", "Li", "O"],
            basis=[(0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.2723, 0.0, 0.7710)],
            spacegroup=12,
            cellpar=[5.4387, 2.80857, 5.3878, 90.0, 116.006, 90.0],
            primitive_cell=True,
        )
    else:
        metal = name[2:4]
        a, c, z = {"Ni": (2.878, 14.19, 0.2583), "Co": (2.8161, 14.0536, 0.2605)}[metal]
        found = crystal(
            [metal, "Li", "O"],
            basis=[(0.0, 0.0, 0.0), (0.0, 0.0, 0.5), (0.0, 0.0, z)],
            spacegroup=166,
            cellpar=[a, a, c, 90.0, 90.0, 120.0],
            primitive_cell=True,
        )
    return Atoms(
        found.get_chemical_symbols(), positions=found.positions, cell=found.cell, pbc=1
    )


def summary(name: str, results: dict[str, Sequence[Any]]) -> pd.DataFrame:
    """Return a row for each state of a crystal, and one of what was measured."""
    rows = []
    for k, relaxed in enumerate(results["relaxation"]):
        eos, elastic, phonon = (
            results[kind][k] for kind in ("eos", "elasticity", "phonons")
        )
        highest = float(phonon.gamma["wavenumber"].max())
        rows.append(
            {
                "crystal": name,
                "state": relaxed.spin_state.partition("#")[0],
                "ΔE_meV": 1000.0 * (relaxed.energy - results["relaxation"][0].energy),
                **{key: getattr(relaxed, key) for key in ("a", "b", "c", "beta")},
                "volume": relaxed.volume,
                "±": (relaxed.spread or {}).get("volume", np.nan),
                "B0": eos.b0,
                "K": elastic.bulk_modulus,
                "G": elastic.shear_modulus,
                "stable": elastic.stable and phonon.stable,
                "lowest_THz": phonon.lowest_frequency,
                "highest_1/cm": highest,
            }
        )
    rows.append({"crystal": name, "state": "measured", **MEASURED[name]})
    return pd.DataFrame(rows)


def main(
    out: Path,
    model: str | list[Path] = "lixmo2",
    names: Sequence[str] = tuple(STATES),
    settings: dict[str, Any] = SETTINGS,
) -> pd.DataFrame:
    """Calculate all; return the table."""
    opened = SpinDP(fast_models(model) if isinstance(model, str) else model)
    tables = []
    for name in names:
        print(name, flush=True)
        atoms = build(name)
        subjects = [
            Subject.of_model(atoms, opened, labels, name="lixmo2")
            for labels in STATES[name]
        ]
        folder = out / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        found = collect_properties(
            [find_property(kind) for kind in settings],
            subjects,
            folder,
            settings=settings,
        )
        write_page(folder, name, found.failures)
        for kind, who, why in found.failures:
            print(f"no {kind} of {who}: {why}")
        if not found.failures:
            tables.append(summary(name, dict(found.results)))
    table = pd.concat(tables, ignore_index=True)
    table.round(3).to_csv(out / "summary.csv", index=False)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("properties"))
    parser.add_argument("-m", "--model", default="lixmo2")
    given = parser.parse_args()
    default_to_one_thread()
    result = main(given.output, given.model)
    print(result.round(2).to_string(index=False, na_rep=""))
