# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where the holes are, in a model's lowest state and in DFT's.

``python -m benchmarks.charge_order examples/gpaw -m lixmo2 -o charge_order``

In each geometry of one metal that has lost some lithium DFT's lowest frame says which
site has the larger moment; the model is asked for its lowest neutral state. Sites are
compared in pairs whose DFT moments differ by more than a fifth of a Bohr magneton.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
import pandas as pd

from spin_dp import SpinDP, rank_states
from spin_dp.demo.summary import markdown_table
from spin_dp.deployment.cache import fast_models
from spin_dp.errors import ConfigError
from spin_dp.files import write_text
from spin_dp.neighbours import find_pairs

if TYPE_CHECKING:
    from ase import Atoms

METALS = ("Mn", "Co", "Ni")
SHELL = 3.3  # Å, to lithium
DIFFERENT_MUB = 0.2


def lowest_frames(folder: Path) -> dict[str, Atoms]:
    """Return DFT's lowest frame of each geometry with one metal and some lithium."""
    found: dict[str, list[Atoms]] = defaultdict(list)
    for path in sorted(folder.glob("*.extxyz")):
        if path.stem == "unconverged":
            continue
        for atoms in ase.io.read(path, index=":"):
            symbols = atoms.get_chemical_symbols()
            metals = [metal for metal in METALS if metal in symbols]
            if len(metals) == 1 and 0 < symbols.count("Li") < symbols.count(metals[0]):
                found[str(atoms.info["geometry_id"])].append(atoms)
    return {
        name: min(frames, key=lambda one: float(one.get_potential_energy()))
        for name, frames in found.items()
    }


def lithium_near(atoms: Atoms, sites: list[int]) -> np.ndarray:
    """Return the number of lithium ions around each site, images counted."""
    pairs = find_pairs(atoms.cell.array, atoms.positions, SHELL)
    is_lithium = np.array([symbol == "Li" for symbol in atoms.symbols])
    counts = np.bincount(pairs.first[is_lithium[pairs.second]], minlength=len(atoms))
    return np.asarray(counts[sites])


def compare(name: str, atoms: Atoms, model: SpinDP) -> dict[str, Any] | None:
    """Return a row of one geometry; None where no two sites differ."""
    sites = [i for i, symbol in enumerate(atoms.symbols) if symbol in METALS]
    dft = np.abs(np.asarray(atoms.get_magnetic_moments()))[sites]
    pairs = [
        (a, b)
        for a, b in combinations(range(len(sites)), 2)
        if abs(dft[a] - dft[b]) > DIFFERENT_MUB
    ]
    if not pairs:
        return None
    try:
        table = rank_states(atoms, model, keep=1)
    except ConfigError:
        return None
    moments = np.linalg.norm(table["moments"].iloc[0], axis=1)[sites]
    lithium = lithium_near(atoms, sites)
    same = [
        np.sign(dft[a] - dft[b]) == np.sign(moments[a] - moments[b]) for a, b in pairs
    ]
    # Of pairs with different surroundings: has the larger moment less lithium?
    uneven = [(a, b) for a, b in pairs if lithium[a] != lithium[b]]
    less = [
        [
            bool((values[a] - values[b]) * (lithium[a] - lithium[b]) < 0.0)
            for a, b in uneven
        ]
        for values in (dft, moments)
    ]
    return {
        "geometry": name,
        "formula": atoms.get_chemical_formula(),
        "lithium": " ".join(map(str, lithium)),
        "dft": " ".join(f"{m:.2f}" for m in dft),
        "model": " ".join(f"{m:.2f}" for m in moments),
        "state": str(table["state"].iloc[0]).partition("#")[0],
        "pairs": len(pairs),
        "same": int(sum(same)),
        "uneven": len(uneven),
        "dft_less_lithium": int(sum(less[0])),
        "model_less_lithium": int(sum(less[1])),
    }


def main(folder: Path, model: str, out: Path) -> pd.DataFrame:
    """Compare all geometries, write the table, print sums by metal."""
    first = SpinDP(fast_models(model, 1)[0])
    rows = [
        row
        for name, atoms in lowest_frames(folder).items()
        if (row := compare(name, atoms, first)) is not None
    ]
    table = pd.DataFrame(rows)
    out.mkdir(parents=True, exist_ok=True)
    table.to_csv(out / "charge_order.csv", index=False)
    metal = table["formula"].str.extract("(Mn|Co|Ni)")[0].rename("metal")
    numbers = ["pairs", "same", "uneven", "dft_less_lithium", "model_less_lithium"]
    sums = table.groupby(metal)[numbers].sum().loc[list(METALS)]
    header = [
        *("metal", "pairs of sites", "in DFT's order", "pairs with unequal lithium"),
        *("larger moment has less lithium: DFT", f"`{model}`"),
    ]
    cells = [
        [name, *map(str, sums.loc[name].to_list())] for name in sums.index.to_list()
    ]
    text = markdown_table(header, cells)
    write_text(out / "metals.md", text + "\n")
    print(text)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("frames", type=Path)
    parser.add_argument("-m", "--model", default="lixmo2")
    parser.add_argument("-o", "--output", type=Path, default=Path("charge_order"))
    given = parser.parse_args()
    main(given.frames, given.model, given.output)
