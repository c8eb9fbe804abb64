# SPDX-License-Identifier: LGPL-3.0-or-later
"""``python -m benchmarks.enumeration``: counts of orderings beside enumlib's.

``enum.x`` and ``makestr.x`` have to be on the PATH, see the README.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ase.build import bulk
from ase.spacegroup import crystal
from rich.console import Console
from typer import Typer

from benchmarks.command_line import run_app
from benchmarks.enumeration import enumlib, supercells

if TYPE_CHECKING:
    from ase import Atoms

app = Typer(add_completion=False)

UP_DOWN, WITH_STATE = (0, 1), (0, 1, 2)
REVERSED = (1, 0)


def crystals() -> dict[str, tuple[Atoms, str, int, int]]:
    """Return primitive cell, element, and largest sizes: of counts, of pymatgen."""
    layered = crystal(
        ["Ni", "Li", "O"],
        basis=[(0, 0, 0), (0, 0, 0.5), (0, 0, 0.2585)],
        spacegroup=166,
        cellpar=[2.88, 2.88, 14.2, 90, 90, 120],
        primitive_cell=True,
    )
    stretched = crystal(
        ["Mn", "Li", "O"],
        basis=[(0, 0, 0), (0, 0.5, 0.5), (0.2723, 0, 0.7710)],
        spacegroup=12,
        cellpar=[5.4387, 2.80857, 5.3878, 90, 116.006, 90],
        primitive_cell=True,
    )
    rutile = crystal(
        ["Mn", "O"],
        basis=[(0, 0, 0), (0.3046, 0.3046, 0)],
        spacegroup=136,
        cellpar=[4.4, 4.4, 2.87, 90, 90, 90],
    )
    spinel = crystal(
        ["Li", "Mn", "O"],
        basis=[(1 / 8,) * 3, (1 / 2,) * 3, (0.2632,) * 3],
        spacegroup=227,
        setting=2,
        cellpar=[8.24, 8.24, 8.24, 90, 90, 90],
        primitive_cell=True,
    )
    return {
        "fcc Ni": (bulk("Ni", "fcc", a=3.52), "Ni", 6, 0),
        "bcc Fe": (bulk("Fe", "bcc", a=2.87), "Fe", 6, 0),
        "rocksalt NiO": (bulk("NiO", "rocksalt", a=4.17), "Ni", 4, 4),
        "LiNiO2, R-3m": (layered, "Ni", 4, 4),
        "LiMnO2, C2/m": (stretched, "Mn", 4, 2),
        "MnO2, rutile": (rutile, "Mn", 3, 2),
        "LiMn2O4, spinel": (spinel, "Mn", 2, 1),
    }


@app.command()
def main() -> None:
    """Print numbers of distinct orderings by size of their own cell."""
    enumlib.require_enumlib()
    print("| crystal | labels of a site | ours, by size 1, 2, ... | enumlib |")
    print("|---|---|---:|---:|")
    for name, (atoms, element, largest, _) in crystals().items():
        sizes = range(1, largest + 1)
        cases: list[tuple[str, tuple[int, ...], tuple[int, ...] | None]] = [
            ("up, down", UP_DOWN, None),
            ("and a third state", WITH_STATE, None),
        ]
        if len(atoms) == 1:
            cases.insert(0, ("up, down; reversal is the same", UP_DOWN, REVERSED))
        for what, codes, reversal in cases:
            ours = [
                supercells.count_derivatives(atoms, element, n, codes, reversal)
                for n in sizes
            ]
            theirs = enumlib.count_derivatives(
                atoms, element, sizes, len(codes), exchange=reversal is not None
            )
            print(f"| {name} | {what} | {_list(ours)} | {_list(theirs)} |", flush=True)
    print("\n| crystal | cells up to | ours, no total moment | pymatgen |")
    print("|---|---:|---:|---:|")
    for name, (atoms, element, _, largest) in crystals().items():
        if not largest:
            continue
        number = sum(
            supercells.count_derivatives(
                atoms, element, n, UP_DOWN, REVERSED, balanced=True
            )
            for n in range(1, largest + 1)
        )
        found = enumlib.pymatgen_orderings(atoms, element, largest)
        print(f"| {name} | {largest} | {number} | {len(found)} |", flush=True)


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


if __name__ == "__main__":
    run_app(app, Console(stderr=True))
