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

from spin_dp import SpinDP
from spin_dp.crystals import CRYSTALS, unit_cell
from spin_dp.demo.summary import markdown_table
from spin_dp.deployment import fast_models
from spin_dp.files import write_text
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

_TILTED = 0.05  # °

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
    # Raman: R. Baddour-Hadjean and J.-P. Pereira-Ramos, Chem. Rev. 110, 1278 (2010).
    "LiNiO2": {"highest_1/cm": 545.0},
    "LiMnO2": {},
    # X. Wang et al., Phys. Rev. B 72, 224102 (2005); M. Inaba et al., J. Raman
    # Spectrosc. 28, 613 (1997).
    "LiCoO2": {"B0": 149.0, "highest_1/cm": 596.0},
}
"""At room temperature, beside the lattices: GPa, 1/cm (A1g in Raman spectra)."""


def measured(name: str) -> dict[str, float]:
    """Return what was measured: conventional cell (Å, degrees), Å³ a formula unit."""
    a, b, c, _, beta, gamma = CRYSTALS[name].cell
    angles = {"b": b, "beta": beta} if gamma == 90.0 else {}
    atoms = unit_cell(name)
    volume = atoms.get_volume() / (len(atoms) / 4)  # formula units of four atoms
    return {"a": a, "c": c, "volume": volume, **angles, **MEASURED[name]}


def summary(name: str, results: dict[str, Sequence[Any]]) -> pd.DataFrame:
    """Return a row for each state of a crystal, and one of what was measured.

    What could not be calculated of a state is left out of its row.
    """
    rows = []
    for relaxed in results["relaxation"]:
        own = {
            kind: next((r for r in found if r.spin_state == relaxed.spin_state), None)
            for kind, found in results.items()
        }
        elastic, phonon = own["elasticity"], own["phonons"]
        rows.append(
            {
                "crystal": name,
                "state": relaxed.spin_state.partition("#")[0],
                "ΔE_meV": 1000.0 * (relaxed.energy - results["relaxation"][0].energy),
                **{key: getattr(relaxed, key) for key in ("a", "b", "c", "beta")},
                "volume": relaxed.volume,
                "±": (relaxed.spread or {}).get("volume", np.nan),
                "B0": getattr(own["eos"], "b0", np.nan),
                "K": getattr(elastic, "bulk_modulus", np.nan),
                "G": getattr(elastic, "shear_modulus", np.nan),
                "stable": all(one.stable for one in (elastic, phonon) if one),
                "lowest_THz": getattr(phonon, "lowest_frequency", np.nan),
                "highest_1/cm": phonon.gamma["wavenumber"].max() if phonon else np.nan,
            }
        )
    rows.append({"crystal": name, "state": "measured", **measured(name)})
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """Return the table of :func:`main` as text."""
    header = [
        *("crystal, state", "ΔE, meV/f.u.", "a, b, c, Å; β, °", "V, Å³/f.u."),
        *("B₀", "K", "G, GPa", "highest mode at Γ, 1/cm"),
    ]
    rows = []
    for row in table.to_dict("records"):
        known = {k: v for k, v in row.items() if isinstance(v, str) or np.isfinite(v)}

        def told(name: str, digits: int = 0, known: dict[str, Any] = known) -> str:
            return f"{known[name]:.{digits}f}" if name in known else ""

        lengths = [told(name, 3) for name in ("a", "b", "c") if name in known]
        is_tilted = abs(known.get("beta", 90.0) - 90.0) > _TILTED
        spread = f" ± {told('±', 2)}" if "±" in known else ""
        rows.append(
            [
                f"{row['crystal']}, {row['state']}",
                told("ΔE_meV"),
                ", ".join(lengths) + (f"; {told('beta', 1)}" if is_tilted else ""),
                told("volume", 2) + spread,
                *(told(name) for name in ("B0", "K", "G", "highest_1/cm")),
            ]
        )
    return markdown_table(header, rows)


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
        atoms = unit_cell(name)
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
        if found.results["relaxation"]:
            tables.append(summary(name, dict(found.results)))
    table = pd.concat(tables, ignore_index=True)
    table.round(3).to_csv(out / "summary.csv", index=False)
    write_text(out / "summary.md", markdown(table) + "\n")
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("properties"))
    parser.add_argument("-m", "--model", default="lixmo2")
    given = parser.parse_args()
    default_to_one_thread()
    result = main(given.output, given.model)
    print(result.round(2).to_string(index=False, na_rep=""))
