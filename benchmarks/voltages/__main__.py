# SPDX-License-Identifier: LGPL-3.0-or-later
"""Errors of voltages and of anti-sites at the geometries of the frames.

``python -m benchmarks.voltages examples/gpaw -o voltages``

Nothing in the frames is relaxed, so that voltages of relaxed phases are not in them.
What can be compared is the voltage between two frames of one metal and different
contents, x₁ < x₂, each in DFT's lowest state at its geometry: the potential gives both
energies at DFT's geometries. The error of one pair is -(e₂ - e₁)/(x₂ - x₁), with e the
errors per formula unit; over all pairs of two contents its mean is that of a voltage
curve, and its deviation what single geometries add, which relaxed phases do not have.
CHGNet, where it is installed, is given its own energy of lithium metal, since its
energies are those of another program. Crystals of one composition, with anti-sites and
without, or spinel and layers, are compared in the same way: the error of their
difference is the mean error of the one less that of the other.

``--blind`` takes models without moments: the spin-blind twin, trained on the same
frames, or one of the lowest frames only.
"""

from __future__ import annotations

import argparse
import warnings
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from ase import Atoms

from benchmarks.universal.compare import PEERS
from examples.base_model.frames import collect_unseen, origins
from spin_dp import SpinDP
from spin_dp.demo.summary import markdown_table
from spin_dp.evaluation import read_system
from spin_dp.files import write_text
from spin_dp.inference.engines import Geometries
from spin_dp.inference.potential import Potential
from spin_dp.pretrained import resolve_all
from spin_dp.properties.energies import CalculatorEnergies
from spin_dp.properties.voltage import metal_energy, metal_energy_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase.calculators.calculator import Calculator

METALS = ("Mn", "Co", "Ni")
HELD_OUT = "validation"
LAYERED = 2.0
"""Oxygen a metal."""
LAYERS = "layers"


def lowest_frames(
    sources: Sequence[Path], data: Path, max_force: float
) -> tuple[pd.DataFrame, list[Atoms]]:
    """Return DFT's lowest frame of each geometry with MO2: a row, and atoms.

    Frames with a force above ``max_force`` (eV/Å), close contacts, are left out.
    """
    collect_unseen(sources, data)
    rows, frames = [], []
    for row in origins(data).to_dict("records"):
        system, k = read_system(data, str(row["system"])), int(row["index"])
        symbols = list(system.symbols)
        metals = [metal for metal in METALS if metal in symbols]
        largest = float(np.linalg.norm(system.forces[k], axis=1).max())
        number = sum(symbols.count(metal) for metal in metals)
        if largest > max_force or symbols.count("O") != LAYERED * number:
            continue
        atoms = Atoms(symbols, system.positions[k], cell=system.cells[k], pbc=True)
        assert system.initial_moments is not None
        atoms.set_array("labels", system.initial_moments[k])
        frames.append(atoms)
        rows.append(
            {
                "metal": "-".join(metals),
                "crystal": str(row["family"]).partition(" ")[2] or LAYERS,
                "x": symbols.count("Li") / number,
                "units": number,
                "geometry": f"{row['formula']}/{row['geometry']}",
                "split": row["split"],
                "energy": float(system.energies[k]),
            }
        )
    table = pd.DataFrame(rows)
    kept = table.groupby("geometry")["energy"].idxmin().sort_values()
    return table.loc[kept].reset_index(drop=True), [frames[int(k)] for k in kept]


def errors(
    model: str,
    table: pd.DataFrame,
    frames: Sequence[Atoms],
    blind: Sequence[Path] = (),
) -> dict[str, np.ndarray]:
    """Return errors of energies, eV per formula unit, x times that of lithium off.

    Parameters
    ----------
    model, blind
        A spin model, and models without moments.
    table, frames
        Of :func:`lowest_frames`.
    """
    opened = SpinDP(resolve_all(model)[0])
    reference = metal_energy("Li", opened)
    labels = [atoms.arrays["labels"] for atoms in frames]
    found = {
        model: [
            float(opened.predict(atoms, one[None]).energy[0])
            for atoms, one in zip(frames, labels, strict=True)
        ]
    }
    metals = {model: reference}
    for path in blind:
        twin, name = Potential(path), path.resolve().parent.name
        found[name] = [
            float(
                twin.predict(
                    atoms.get_chemical_symbols(),
                    Geometries(atoms.positions[None], atoms.cell.array[None]),
                    None,
                ).energies[0]
            )
            for atoms in frames
        ]
        metals[name] = reference
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their own
        for name, (module, make) in PEERS.items():
            if find_spec(module) is None:
                continue
            found[name], metals[name] = _of_calculator(make(), name, frames)
    dft, units, x = (table[name].to_numpy(float) for name in ("energy", "units", "x"))
    return {
        name: (np.array(energies) - dft) / units - x * (metals[name] - reference)
        for name, energies in found.items()
    }


def _of_calculator(
    calculator: Calculator, name: str, frames: Sequence[Atoms]
) -> tuple[list[float], float]:
    """Return energies of frames, and of an atom of lithium metal, eV."""
    metal = metal_energy_by(CalculatorEnergies(lambda: calculator, name), "Li")
    energies = []
    for atoms in frames:
        atoms.calc = calculator
        energies.append(float(atoms.get_potential_energy()))
    return energies, metal


def steps(table: pd.DataFrame, error: np.ndarray) -> pd.DataFrame:
    """Return a row for each metal and pair of contents."""
    rows = []
    table = table.assign(error=error)
    is_used = (table["crystal"] == LAYERS) & table["metal"].isin(METALS)
    for metal, ours in table[is_used].groupby("metal"):
        groups = {
            float(x): ours.loc[ours["x"] == x, "error"].to_numpy(float)
            for x in ours["x"].unique()
        }
        for low, high in combinations(sorted(groups), 2):
            pairs = -(groups[high][None, :] - groups[low][:, None]) / (high - low)
            rows.append(
                {
                    "metal": metal,
                    "x": f"{low:g} to {high:g}",
                    "geometries": f"{len(groups[low])}, {len(groups[high])}",
                    "mean": float(pairs.mean()),
                    "deviation": float(pairs.std()),
                    "absolute": float(np.abs(pairs).mean()),
                }
            )
    return pd.DataFrame(rows)


def crystals(table: pd.DataFrame, error: np.ndarray) -> pd.DataFrame:
    """Return the error of the energy of each crystal above layers of its composition.

    Returns
    -------
    pandas.DataFrame
        ``metal``, ``x``, ``crystal``, ``geometries`` (of it, of layers), ``mean``
        (meV per formula unit), ``deviation`` of pairs.
    """
    rows = []
    table = table.assign(error=1000.0 * error)
    for (metal, x), ours in table.groupby(["metal", "x"]):
        layers = ours.loc[ours["crystal"] == LAYERS, "error"].to_numpy(float)
        others = ours[ours["crystal"] != LAYERS]
        for crystal, of_crystal in others.groupby("crystal"):
            if not len(layers):
                continue
            one = of_crystal["error"].to_numpy(float)
            pairs = one[:, None] - layers[None, :]
            rows.append(
                {
                    "metal": metal,
                    "x": x,
                    "crystal": crystal,
                    "geometries": f"{len(one)}, {len(layers)}",
                    "mean": float(pairs.mean()),
                    "deviation": float(pairs.std()),
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    """Compare and print; tables go into the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("frames", type=Path, nargs="+")
    parser.add_argument("-m", "--model", default="lixmo2")
    parser.add_argument("-o", "--output", type=Path, default=Path("voltages"))
    parser.add_argument(
        "--blind",
        type=Path,
        nargs="*",
        default=[],
        help="models without moments, named by their folders",
    )
    parser.add_argument("--max-force", type=float, default=5.0, help="eV/Å")
    asked = parser.parse_args()
    out = asked.output
    out.mkdir(parents=True, exist_ok=True)
    table, frames = lowest_frames(asked.frames, out / "data", asked.max_force)
    found = errors(asked.model, table, frames, asked.blind)
    volts, differences = {}, {}
    for split in ("all", HELD_OUT):
        used = (table["split"] == split).to_numpy() | (split == "all")
        for name, error in found.items():
            column = f"{name}, {'all' if split == 'all' else 'held out'}"
            volts[column] = steps(table[used], error[used])
            differences[column] = crystals(table[used], error[used])
            file = f"{split}-{name.split()[0]}.csv"
            volts[column].to_csv(out / file, index=False)
            differences[column].to_csv(out / f"crystals-{file}", index=False)
    for name, tables, keys, digits in (
        ("steps", volts, ["metal", "x"], 2),
        ("crystals", differences, ["metal", "x", "crystal"], 0),
    ):
        text = side_by_side(tables, keys, digits)
        write_text(out / f"{name}.md", text + "\n")
        print(f"{text}\n")


def side_by_side(
    tables: Mapping[str, pd.DataFrame], keys: Sequence[str], digits: int
) -> str:
    """Return means of several tables with their deviations, as markdown.

    Parameters
    ----------
    tables
        Of :func:`steps` or :func:`crystals`, by the name of the column; the first has
        all rows and their numbers of geometries.
    keys
        Columns that say what a row is.
    digits
        After the point.
    """
    first = next(iter(tables.values()))
    heads = first[[*keys, "geometries"]].astype(str)
    rows = heads.to_numpy().tolist()
    for table in tables.values():
        known = table.set_index(list(keys))
        wanted = first[list(keys)].itertuples(index=False, name=None)
        for row, key in zip(rows, wanted, strict=True):
            if key in known.index:
                mean, deviation = known.loc[key, ["mean", "deviation"]]
                row.append(f"{mean:.{digits}f} ({deviation:.{digits}f})")
            else:
                row.append("-")
    header = [*keys, "geometries", *tables]
    return markdown_table(header, rows, left=len(keys) + 1)


if __name__ == "__main__":
    main()
