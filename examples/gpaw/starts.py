# SPDX-License-Identifier: LGPL-3.0-or-later
"""Geometries that wait for DFT: disturbed, with what they begin from, in one file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.io.extxyz import write_extxyz

from spin_dp.files import replacing
from spin_dp.spin_states.elements import carries_spin_state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def strained(atoms: Atoms, noise: np.ndarray) -> Atoms:
    """Return a copy, cell and atoms, strained by the symmetric part of (3, 3)."""
    moved = atoms.copy()
    cell = atoms.cell.array @ (np.eye(3) + 0.5 * (noise + noise.T))
    moved.set_cell(cell, scale_atoms=True)
    return moved


def disturbed(
    atoms: Atoms, rng: np.random.Generator, *, strain: float, displaced: float
) -> Atoms:
    """Return a copy that is strained and displaced at random.

    Parameters
    ----------
    atoms
        What is copied, initial moments included.
    rng
        Draws the numbers.
    strain, displaced
        Standard deviations of each component, the second in Å.
    """
    moved = strained(atoms, rng.normal(0.0, strain, (3, 3)))
    moved.positions += rng.normal(0.0, displaced, atoms.positions.shape)
    return moved


class Starts:
    """Geometries, numbered by system.

    Parameters
    ----------
    kpts
        Sizes of the k-mesh of all that say none themselves.

    Attributes
    ----------
    geometries
        What was added.
    """

    def __init__(self, kpts: tuple[int, int, int]) -> None:
        self._kpts = kpts
        self.geometries: list[Atoms] = []

    def add(
        self,
        atoms: Atoms,
        system: str,
        moments: Sequence[float] | None = None,
        /,
        *,
        number: int | None = None,
        kpts: tuple[int, int, int] | None = None,
        **info: object,
    ) -> None:
        """Add one.

        Parameters
        ----------
        atoms
            Its geometry.
        system
            Name of the file that its frames go to.
        moments
            Of its metals at the start, μB; its initial ones if left out.
        number
            In the system; the next one if left out.
        kpts
            Sizes of its k-mesh.
        **info
            What else its frames shall say.
        """
        if number is None:
            number = sum(one.info["system"] == system for one in self.geometries)
        if moments is None:
            is_metal = [carries_spin_state(symbol) for symbol in atoms.symbols]
            moments = atoms.get_initial_magnetic_moments()[is_metal]
        start = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        start.info = {
            "system": system,
            "geometry_id": f"{system}-{number:03d}",
            "temperature": 0,
            **info,
            "kpts": json.dumps(list(kpts or self._kpts)),
            "starts": json.dumps([[round(float(one), 2) for one in moments]]),
        }
        self.geometries.append(start)

    def write(self, path: Path) -> None:
        """Write all as extended XYZ."""
        with replacing(path) as part, part.open("w", encoding="utf-8") as out:
            write_extxyz(out, self.geometries)
        print(f"{len(self.geometries)} geometries")
