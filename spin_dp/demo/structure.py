# SPDX-License-Identifier: LGPL-3.0-or-later
"""The cell of the demonstration's MD: layered LiNiO2 with labelled Ni."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.systems.system import find_systems, open_system
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LATTICE_A, LATTICE_C = 2.878, 14.19
"""Hexagonal cell of layered LiNiO2, R-3m, Å: Ni on 3a, Li on 3b, O on 6c."""

OXYGEN_Z = 0.258
"""Height of oxygen; gives Ni-O bonds of 1.98 Å and Li-O bonds of 2.11 Å."""


def layered_linio2(repeats: tuple[int, int, int]) -> Atoms:
    """Return a supercell of layered LiNiO2 with right angles.

    Parameters
    ----------
    repeats
        Copies along the vectors of the 24-atom cell a, √3 a, c.

    Returns
    -------
    ase.Atoms
        Periodic, without moments.
    """
    from ase import Atoms

    heights = [("Ni", 0.0), ("Li", 0.5), ("O", OXYGEN_Z), ("O", 1.0 - OXYGEN_Z)]
    # Rhombohedral centring along the hexagonal axes, as steps of (x / a, y / √3 a, z).
    layers = [(0.0, 0.0, 0.0), (0.5, 1.0 / 6.0, 1.0 / 3.0), (0.0, 1.0 / 3.0, 2.0 / 3.0)]
    fractional = [
        ((x + half) % 1.0, (y + half) % 1.0, (z + height) % 1.0)
        for _, height in heights
        for x, y, z in layers
        for half in (0.0, 0.5)
    ]
    symbols = [symbol for symbol, _ in heights for _ in range(2 * len(layers))]
    cell = [LATTICE_A, 3.0**0.5 * LATTICE_A, LATTICE_C]
    unit = Atoms(symbols, scaled_positions=fractional, cell=cell, pbc=True)
    return unit.repeat(repeats)


def striped_moments(atoms: Atoms, element: str, moment: float) -> Floats:
    """Return moments that alternate from row to row within every layer.

    Rows run along x and lie √3/2 a apart: the order of the antiferromagnetic
    reference frames of two metal atoms.

    Parameters
    ----------
    atoms
        What :func:`layered_linio2` gives.
    element
        The magnetic element; all others get zero.
    moment
        Length of a moment, μB.

    Returns
    -------
    ndarray
        Collinear moments, (natoms,), μB; they sum to zero.
    """
    symbols = atoms.get_chemical_symbols()
    chosen = np.array([symbol == element for symbol in symbols])
    spacing = 0.5 * 3.0**0.5 * LATTICE_A
    signs = np.zeros(len(atoms))
    for height in np.unique(atoms.positions[chosen, 2].round(3)):
        layer = chosen & (np.abs(atoms.positions[:, 2] - height) < 0.1)
        y = atoms.positions[layer, 1]
        row = np.rint((y - y.min()) / spacing).astype(int)
        signs[layer] = np.where(row % 2 == 0, 1.0, -1.0)
    return signs * moment


def label_of(systems: Path, element: str, label: int) -> float:
    """Return the mean length of an element's moments in one spin state.

    Parameters
    ----------
    systems
        Folder with deepmd systems at any depth.
    element
        The element.
    label
        The state: its moment rounded to an integer, as in the spin-state key.

    Returns
    -------
    float
        Mean over sites and frames, μB.

    Raises
    ------
    DataError
        If no site is in this state.
    """
    in_state: list[Floats] = []
    for folder in find_systems(systems):
        system = open_system(folder)
        sites = [i for i, symbol in enumerate(system.symbols) if symbol == element]
        lengths = np.linalg.norm(system.label("spin")[:, sites], axis=-1).ravel()
        in_state.append(lengths[np.rint(lengths) == label])
    lengths = np.concatenate(in_state) if in_state else np.zeros(0)
    if lengths.size == 0:
        raise DataError(
            f"{systems}: expected {element} atoms with moments near {label} μB, found "
            "none. Collect frames that have them."
        )
    return float(lengths.mean())
