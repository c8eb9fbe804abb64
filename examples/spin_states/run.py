# SPDX-License-Identifier: LGPL-3.0-or-later
"""Spin states of five cathodes: the lowest ones, single changes, exchange and order.

``python examples/spin_states/run.py -o spin_states``
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp import SpinDP, rank_states
from spin_dp.crystals import built, layered_crystal, unit_cell
from spin_dp.demo.summary import markdown_table
from spin_dp.deployment.cache import fast_models
from spin_dp.files import write_text
from spin_dp.magnetism import (
    MonteCarloSettings,
    find_transition,
    fit_exchange,
    write_exchange,
)
from spin_dp.search import draw_ladder, site_excitations
from spin_dp.threads import default_to_one_thread

if TYPE_CHECKING:
    from ase import Atoms

# State of the metals that exchange constants and single changes are asked of.
CRYSTALS = {
    "LiMnO2": "Mn=3+HS",
    "LiNiO2": "Ni=3+LS",
    "LiCoO2": "Co=3+LS",
    "LiNi0.5Mn0.5O2": "Ni=2+ Mn=4+",
    "MnO2": "Mn=4+",
}


_DIGITS = {"next": 0, "flip": 0, "spin": 0, "transfer": 0, "J1": 1}  # in the table

PARENTS = {
    # Z. Lu et al., Chem. Mater. 15, 3214 (2003); rows of Ni and Mn
    "LiNi0.5Mn0.5O2": layered_crystal("Ni", 2.892, 14.301, 0.2577),
    # Layers of it without lithium and with the bonds of Mn4+
    "MnO2": layered_crystal("Mn", 2.86, 14.2, 0.2672),
}


def build(name: str) -> Atoms:
    """Return a cell with two or four metals, from measured lattices."""
    if name == "LiMnO2":
        return unit_cell(name, primitive=False)
    cell = built(PARENTS[name]) if name in PARENTS else unit_cell(name)
    atoms = cell.repeat((2, 1, 1))
    if name == "MnO2":
        del atoms[[i for i, symbol in enumerate(atoms.symbols) if symbol == "Li"]]
    if name == "LiNi0.5Mn0.5O2":
        metals = [i for i, symbol in enumerate(atoms.symbols) if symbol == "Ni"]
        atoms.symbols[metals[1]] = "Mn"
    return atoms


def main(
    out: Path, model: str | list[Path] = "lixmo2", *, sweeps: int = 1500
) -> pd.DataFrame:
    """Ask all; return a row for each crystal."""
    out.mkdir(parents=True, exist_ok=True)
    opened = SpinDP(fast_models(model) if isinstance(model, str) else model)
    rows = []
    for name, labels in CRYSTALS.items():
        print(name, flush=True)
        atoms = build(name)
        table = rank_states(atoms.repeat((1, 2, 1)), opened)
        table.drop(columns="moments").to_csv(out / f"{name}-states.csv", index=False)
        draw_ladder(table, out / f"{name}-states.png")
        changes = site_excitations(atoms.repeat((2, 4, 2)), opened, labels)
        changes.to_csv(out / f"{name}-excitations.csv", index=False)
        row = {
            "crystal": name,
            "lowest": str(table["state"].iloc[0]).partition("#")[0],
            "next_meV": float(table["above_lowest"].iloc[1]),
            "next_spread_meV": float(table["above_lowest_spread"].iloc[1]),
            "assignments": table.attrs["assignments"],
            "distinct": table.attrs["distinct"],
        }
        for kind in ("flip", "spin", "transfer"):
            here = changes[changes["kind"] == kind].nsmallest(1, "energy")
            for column, unit in (("energy", "meV"), ("energy_spread", "spread_meV")):
                row[f"{kind}_{unit}"] = float(here[column].sum(min_count=1))
        if "LS" not in labels or "Ni" in labels:  # low-spin Co3+ has no moment
            fit = fit_exchange(atoms, opened, labels)
            ordering = find_transition(
                fit.bonds,
                settings=MonteCarloSettings(sweeps=sweeps, equilibration=sweeps // 4),
                spin=fit.spin,
            )
            write_exchange(out / f"{name}-exchange", fit, ordering)
            row["J1_meV"] = fit.shells[0].exchange
            row["J1_spread_meV"] = np.nan if fit.spread is None else fit.spread[0]
            row["orders_K"] = ordering.temperature
        rows.append(row)
    summary = pd.DataFrame(rows)
    summary.round(3).to_csv(out / "summary.csv", index=False)
    write_text(out / "summary.md", markdown(summary) + "\n")
    return summary


def markdown(summary: pd.DataFrame) -> str:
    """Return the table of :func:`main` as text."""
    header = [
        *("crystal", "lowest", "next", "flip", "spin", "transfer"),
        *("J of the nearest, meV", "orders at, K"),
    ]
    rows = []
    for row in summary.to_dict("records"):
        numbers = [
            _told(row[f"{name}_meV"], row[f"{name}_spread_meV"], digits)
            for name, digits in _DIGITS.items()
        ]
        has_moments = not np.isnan(row["J1_meV"])
        orders = f"{row['orders_K']:.0f}" if row["orders_K"] > 0.0 else "none"
        rows.append(
            [row["crystal"], row["lowest"], *numbers, orders if has_moments else "-"]
        )
    return markdown_table(header, rows, left=2)


def _told(value: float, spread: float, digits: int) -> str:
    if np.isnan(value):
        return "-"
    known = "" if np.isnan(spread) else f" ± {spread:.{digits}f}"
    return f"{value:.{digits}f}{known}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("spin_states"))
    parser.add_argument("-m", "--model", default="lixmo2")
    parser.add_argument("--sweeps", type=int, default=1500)
    given = parser.parse_args()
    default_to_one_thread()
    result = main(given.output, given.model, sweeps=given.sweeps)
    print(result.round(2).to_string(index=False))
