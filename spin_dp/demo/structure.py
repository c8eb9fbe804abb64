# SPDX-License-Identifier: LGPL-3.0-or-later
"""Layered cells for MD, with the spin state of each metal as a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from spin_dp.errors import unknown
from spin_dp.structures import SPIN_STATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms

_Label = TypeVar("_Label")


@dataclass(frozen=True)
class LayeredOxide:
    """A layered oxide LixMO2, O3 stacking, R-3m: M on 3a, Li on 3b, O on 6c.

    Attributes
    ----------
    metal
        Chemical symbol of M.
    a, c
        Hexagonal cell vectors, Å.
    oxygen_z
        Height of oxygen, in units of c.
    lithium
        x, 1 or 0.5; of the half, every second row of each layer is empty.
    states
        Spin states of the metals, row by row, ``-`` before it for down. Rows run along
        the first cell vector, as in the reference frames of two metal atoms.
    """

    metal: str
    a: float
    c: float
    oxygen_z: float
    lithium: float
    states: tuple[str, ...]


LAYERED: Mapping[str, LayeredOxide] = {
    # H. J. Orman, P. J. Wiseman, Acta Cryst. C 40, 12 (1984)
    "LiCoO2": LayeredOxide("Co", 2.8166, 14.052, 0.2605, 1.0, ("Co3+LS",)),
    # J. N. Reimers, J. R. Dahn, J. Electrochem. Soc. 139, 2091 (1992), mean of the
    # monoclinic cell
    "Li0.5CoO2": LayeredOxide(
        "Co", 2.81, 14.42, 0.263, 0.5, ("Co3+LS", "Co4+LS", "Co3+LS", "-Co4+LS")
    ),
    # A. Hirano et al., Solid State Ionics 78, 123 (1995)
    "LiNiO2": LayeredOxide("Ni", 2.878, 14.19, 0.258, 1.0, ("Ni3+LS", "-Ni3+LS")),
    # T. Ohzuku, A. Ueda, M. Nagayama, J. Electrochem. Soc. 140, 1862 (1993), mean of
    # the monoclinic cell
    "Li0.5NiO2": LayeredOxide(
        "Ni", 2.83, 14.40, 0.261, 0.5, ("Ni3+LS", "Ni4+LS", "-Ni3+LS", "Ni4+LS")
    ),
    # Not made in this form, it turns into spinel: volume of spinel LiMn2O4
    # (a = 8.247 Å), layers as far apart as in the nickel oxide.
    "Li0.5MnO2": LayeredOxide(
        "Mn", 2.904, 14.40, 0.261, 0.5, ("Mn3+HS", "Mn4+", "-Mn3+HS", "-Mn4+")
    ),
}
"""Layered oxides by formula, from measured cells."""


def layered_oxide(formula: str, repeats: tuple[int, int, int]) -> Atoms:
    """Return a supercell of a layered oxide with right angles.

    Parameters
    ----------
    formula
        A name of :data:`LAYERED`.
    repeats
        Copies along the vectors of the cell a, √3 a, c of six formula units.

    Returns
    -------
    ase.Atoms
        Periodic; the array ``spin_states`` labels the metals.

    Raises
    ------
    ConfigError
        If there is no such oxide.
    """
    if formula not in LAYERED:
        raise unknown("layered oxide", formula, LAYERED)
    oxide = LAYERED[formula]
    atoms = _filled(oxide, repeats)
    if oxide.lithium < 1.0:
        is_empty = np.array(by_rows(atoms, "Li", (False, True), other=False))
        atoms = atoms[~is_empty]
    names = by_rows(atoms, oxide.metal, oxide.states, other="")
    atoms.set_array(SPIN_STATES, np.array(names))
    return atoms


def _filled(oxide: LayeredOxide, repeats: tuple[int, int, int]) -> Atoms:
    from ase import Atoms

    z = oxide.oxygen_z
    heights = [(oxide.metal, 0.0), ("Li", 0.5), ("O", z), ("O", 1.0 - z)]
    # Rhombohedral centring along the hexagonal axes, as steps of (x / a, y / √3 a, z).
    layers = [(0.0, 0.0, 0.0), (0.5, 1.0 / 6.0, 1.0 / 3.0), (0.0, 1.0 / 3.0, 2.0 / 3.0)]
    fractional = [
        ((x + half) % 1.0, (y + half) % 1.0, (z + height) % 1.0)
        for _, height in heights
        for x, y, z in layers
        for half in (0.0, 0.5)
    ]
    symbols = [symbol for symbol, _ in heights for _ in range(2 * len(layers))]
    cell = [oxide.a, 3.0**0.5 * oxide.a, oxide.c]
    unit = Atoms(symbols, scaled_positions=fractional, cell=cell, pbc=True)
    return unit.repeat(repeats)


def by_rows(
    atoms: Atoms, element: str, pattern: Sequence[_Label], *, other: _Label
) -> list[_Label]:
    """Return a label for each atom that goes on from row to row within every layer.

    Parameters
    ----------
    atoms
        Layers normal to z, rows along x, at equal distances.
    element
        The element that is labelled.
    pattern
        Labels of rows one after the other, repeated.
    other
        Label of all other elements.

    Returns
    -------
    list
        One label an atom.
    """
    chosen = np.array(atoms.get_chemical_symbols()) == element
    labels = [other] * len(atoms)
    for height in np.unique(atoms.positions[chosen, 2].round(3)):
        layer = np.flatnonzero(chosen & (np.abs(atoms.positions[:, 2] - height) < 0.1))
        # Heights of rows within 0.1 Å are those of one row.
        _, rows = np.unique(atoms.positions[layer, 1].round(1), return_inverse=True)
        for atom, row in zip(layer, rows, strict=True):
            labels[atom] = pattern[row % len(pattern)]
    return labels
