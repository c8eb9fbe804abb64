# SPDX-License-Identifier: LGPL-3.0-or-later
"""The crystals, from measured cells, with the spin state of each metal as a label."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.crystals import (
    LAYERED,
    built,
    layered_oxide,
    spinel_crystal,
    unit_cell,
)
from spin_dp.errors import unknown
from spin_dp.structures import SPIN_STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms

SIZES = {"small": (2, 1, 1), "full": (4, 2, 1)}
"""Copies of the 24-atom layered cell: 48 or 192 atoms."""


def build(name: str, size: str = "full") -> Atoms:
    """Return a labelled supercell.

    Parameters
    ----------
    name
        One of :data:`STRUCTURES`.
    size
        ``full``, about 200 atoms, or ``small``, about 50.

    Returns
    -------
    ase.Atoms
        Periodic; the array ``spin_states`` labels the metals.

    Raises
    ------
    ConfigError
        If there is no such structure or size.
    """
    if name not in STRUCTURES:
        raise unknown("structure", name, STRUCTURES)
    if size not in SIZES:
        raise unknown("size", size, SIZES)
    return STRUCTURES[name](size)


def compressed(atoms: Atoms, share: float) -> Atoms:
    """Return a structure whose volume is smaller by a share of it."""
    small = atoms.copy()
    small.set_cell(atoms.cell.array * (1.0 - share) ** (1.0 / 3.0), scale_atoms=True)
    return small


def _layered(size: str, *, formula: str) -> Atoms:
    return layered_oxide(formula, SIZES[size])


def _monoclinic_limno2(size: str) -> Atoms:
    """Layered LiMnO2, C2/m."""
    repeats = {"small": (1, 3, 2), "full": (2, 4, 3)}[size]
    atoms = unit_cell("LiMnO2", primitive=False).repeat(repeats)
    # Rows along b; the centred one between two others is down.
    row = np.rint(2.0 * repeats[0] * atoms.get_scaled_positions()[:, 0]).astype(int)
    return _labelled(
        atoms,
        [
            ("-Mn3+HS" if row[i] % 2 else "Mn3+HS") if symbol == "Mn" else ""
            for i, symbol in enumerate(atoms.symbols)
        ],
    )


def _nmc111(size: str) -> Atoms:
    """LiNi1/3Co1/3Mn1/3O2: √3 x √3 order within the layers.

    N. Yabuuchi, T. Ohzuku, J. Power Sources 119, 171 (2003); bonds as in LiNiO2.
    """
    a, c = 2.862, 14.227
    repeats = {"small": (3, 1, 1), "full": (3, 3, 1)}[size]
    atoms = layered_oxide("LiNiO2", repeats)
    lattice = LAYERED["LiNiO2"]
    ratios = np.array([a / lattice.a, a / lattice.a, c / lattice.c])
    atoms.set_cell(atoms.cell.array * ratios, scale_atoms=True)
    states = {"Ni": "-Ni2+", "Co": "Co3+LS", "Mn": "Mn4+"}
    symbols = np.array(atoms.get_chemical_symbols())
    for metal in np.flatnonzero(symbols == "Ni"):
        # In units of the hexagonal vectors a1 and a2: neighbours differ by 1 mod 3.
        y = atoms.positions[metal, 1] / (0.5 * 3.0**0.5 * a)
        layer = round(atoms.positions[metal, 2] / (c / 3.0))
        second = y - (layer % 3 == 1) / 3.0 - 2.0 * (layer % 3 == 2) / 3.0
        first = atoms.positions[metal, 0] / a - 0.5 * y - 0.5 * (layer % 3 == 1)
        first += (layer % 3 == 1) / 6.0 + (layer % 3 == 2) / 3.0
        atoms.symbols[metal] = list(states)[round(first - second) % 3]
    return _labelled(atoms, [states.get(symbol, "") for symbol in atoms.symbols])


def _spinel(size: str) -> Atoms:
    """LiNi0.5Mn1.5O4 with Ni and Mn in order, P4_332; Ni against Mn.

    Cell: M. Kunduraci, G. G. Amatucci, J. Electrochem. Soc. 153, A1345 (2006);
    sites of ideal octahedra with u = 0.2630, order as in LiFe5O8.
    """
    unit = built(spinel_crystal(8.17, 0.2630), primitive=False)
    place = np.rint(4.0 * unit.get_scaled_positions()).astype(int) % 4
    # One of the four metals of each tetrahedron is Ni: a face-centred cubic lattice of
    # tetrahedra takes its corners by turns.
    for i in np.flatnonzero(np.array(unit.get_chemical_symbols()) == "Mn"):
        if tuple(place[i].tolist()) in _NICKEL_PLACES:
            unit.symbols[i] = "Ni"
    atoms = unit if size == "small" else unit.repeat((2, 2, 1))
    states = {"Ni": "-Ni2+", "Mn": "Mn4+"}
    return _labelled(atoms, [states.get(symbol, "") for symbol in atoms.symbols])


_NICKEL_PLACES = {(2, 2, 2), (0, 3, 1), (3, 1, 0), (1, 0, 3)}
"""Of the sites 16d, in quarters of the cell: no two of them share a tetrahedron."""


def _antisite(size: str) -> Atoms:
    """LiNiO2 with one of 24 Ni and a Li of the next layer exchanged."""
    atoms = layered_oxide("LiNiO2", SIZES[size])
    symbols = np.array(atoms.get_chemical_symbols())
    nickel, lithium = np.flatnonzero(symbols == "Ni"), np.flatnonzero(symbols == "Li")
    for number in range(max(1, len(nickel) // 24)):
        metal = nickel[number * len(nickel) // 2]
        distances = atoms.get_distances(metal, lithium, mic=True)
        partner = lithium[int(np.argmin(distances))]
        for array in (atoms.numbers, atoms.arrays[SPIN_STATES]):
            array[[metal, partner]] = array[[partner, metal]]
    return atoms


def _labelled(atoms: Atoms, states: Sequence[str]) -> Atoms:
    atoms.set_array(SPIN_STATES, np.array(states))
    return atoms


STRUCTURES: Mapping[str, Callable[[str], Atoms]] = {
    "LiCoO2": partial(_layered, formula="LiCoO2"),
    "Li0.5CoO2": partial(_layered, formula="Li0.5CoO2"),
    "LiNiO2": partial(_layered, formula="LiNiO2"),
    "Li0.5NiO2": partial(_layered, formula="Li0.5NiO2"),
    "LiMnO2": _monoclinic_limno2,
    "Li0.5MnO2": partial(_layered, formula="Li0.5MnO2"),
    "NMC111": _nmc111,
    "spinel": _spinel,
    "anti-site": _antisite,
}
"""The crystals by name."""
