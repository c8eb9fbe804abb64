# SPDX-License-Identifier: LGPL-3.0-or-later
"""Ideal crystals of cathodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ase.spacegroup import crystal

if TYPE_CHECKING:
    from ase import Atoms


def layered(metal: str = "Co", *, primitive: bool = False) -> Atoms:
    """Return O3 LiMO2 with the cell of LiCoO2: 12 atoms, or 4."""
    atoms: Atoms = crystal(
        ["Li", metal, "O"],
        [(0, 0, 0.5), (0, 0, 0), (0, 0, 0.2604)],
        spacegroup=166,
        cellpar=[2.816, 2.816, 14.05, 90, 90, 120],
        primitive_cell=primitive,
    )
    return atoms


def spinel() -> Atoms:
    """Return LiMn2O4 with 56 atoms."""
    atoms: Atoms = crystal(
        ["Li", "Mn", "O"],
        [(1 / 8,) * 3, (1 / 2,) * 3, (0.2632,) * 3],
        spacegroup=227,
        setting=2,
        cellpar=[8.24] * 3 + [90] * 3,
    )
    return atoms
