# SPDX-License-Identifier: LGPL-3.0-or-later
"""Write MO2 layers at growing distances, to be run by DFT.

``python -m examples.gpaw.layer_starts OUT.extxyz``. Without lithium nothing but
dispersion holds layers together, which PBE does not have, and a model that has seen
them at one distance only pulls them apart by as much as its error says. Oxygen stacks
as in O1 or O3; cells are strained and displaced at random, and begin in their lowest
spin state (:mod:`examples.gpaw.starts`).
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
from ase import Atoms

from examples.gpaw.starts import Starts, strained

METALS = {"Co": (2.84, 0.95, 1.0), "Mn": (2.90, 0.95, 3.0), "Ni": (2.83, 0.94, 0.0)}
"""Lattice constant and height of oxygen over the metal, Å; start of its moment, μB."""
SHIFTS = {"O1": (0.0, 0.0), "O3": (1.0 / 3.0, 2.0 / 3.0)}
"""From layer to layer, fractional."""
DISTANCES = (4.3, 4.6, 5.0, 5.5, 6.2, 7.2)
"""From metal to metal, Å."""
STRAIN, DISPLACED = 0.01, 0.03
"""Standard deviations of each component in the layer, and in Å."""
KPTS = (4, 4, 2)


def layers(metal: str, stacking: str, distance: float) -> Atoms:
    """Return the cell of one layer, not displaced.

    Parameters
    ----------
    metal, stacking
        Keys of :data:`METALS` and :data:`SHIFTS`.
    distance
        Between layers, Å.
    """
    edge, height, _ = METALS[metal]
    plane = edge * np.array([[1.0, 0.0, 0.0], [-0.5, np.sqrt(0.75), 0.0]])
    up = np.array([0.0, 0.0, 1.0])
    first, second = SHIFTS[stacking]
    cell = [*plane, first * plane[0] + second * plane[1] + distance * up]
    hollow = (plane[0] + 2.0 * plane[1]) / 3.0
    positions = [np.zeros(3), hollow + height * up, -hollow - height * up]
    return Atoms(f"{metal}O2", positions, cell=cell, pbc=True)


def main() -> None:
    """Write them all."""
    rng = np.random.default_rng(7)
    found = Starts(KPTS)
    for metal, stacking, distance in product(METALS, SHIFTS, DISTANCES):
        in_plane = np.zeros((3, 3))
        in_plane[:2, :2] = rng.normal(0.0, STRAIN, (2, 2))
        atoms = strained(layers(metal, stacking, distance), in_plane)
        atoms.positions += rng.normal(0.0, DISPLACED, (3, 3))
        atoms.wrap()
        found.add(
            atoms,
            f"layers{metal}O2",
            [METALS[metal][2]],
            sampler=f"{stacking} layers {distance:g} Å apart",
        )
    found.write(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
