# SPDX-License-Identifier: LGPL-3.0-or-later
"""Crystals of cathodes from measured lattices: unit cells, and labelled supercells."""

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
class Crystal:
    """A crystal of one space group.

    Attributes
    ----------
    space_group
        Its number in the International Tables.
    cell
        a, b, c in Å and the angles in degrees.
    sites
        Element and fractional coordinates of each orbit.
    setting
        Of the space group.
    """

    space_group: int
    cell: tuple[float, float, float, float, float, float]
    sites: tuple[tuple[str, tuple[float, float, float]], ...]
    setting: int = 1


def layered_crystal(metal: str, a: float, c: float, oxygen_z: float) -> Crystal:
    """Return the O3 stacking, R-3m: M on 3a, Li on 3b, O on 6c."""
    sites = ((metal, 0.0), ("Li", 0.5), ("O", oxygen_z))
    return Crystal(
        166,
        (a, a, c, 90.0, 90.0, 120.0),
        tuple((element, (0.0, 0.0, z)) for element, z in sites),
    )


def spinel_crystal(a: float, u: float) -> Crystal:
    """Return LiMn2O4, Fd-3m, origin at the centre: Li on 8a, Mn on 16d, O on 32e."""
    sites = (("Li", 0.125), ("Mn", 0.5), ("O", u))
    return Crystal(
        227,
        (a, a, a, 90.0, 90.0, 90.0),
        tuple((element, (x, x, x)) for element, x in sites),
        setting=2,
    )


CRYSTALS: Mapping[str, Crystal] = {
    # J. Akimoto, Y. Gotoh, Y. Oosawa, J. Solid State Chem. 141, 298 (1998)
    "LiCoO2": layered_crystal("Co", 2.8161, 14.0536, 0.2605),
    # H. Arai et al., Solid State Ionics 80, 261 (1995)
    "LiNiO2": layered_crystal("Ni", 2.878, 14.19, 0.2583),
    # A. R. Armstrong, P. G. Bruce, Nature 381, 499 (1996)
    "LiMnO2": Crystal(
        12,
        (5.4387, 2.80857, 5.3878, 90.0, 116.006, 90.0),
        (
            ("Mn", (0.0, 0.0, 0.0)),
            ("Li", (0.0, 0.5, 0.5)),
            ("O", (0.2723, 0.0, 0.7710)),
        ),
    ),
    # W. I. F. David et al., J. Solid State Chem. 67, 316 (1987)
    "LiMn2O4": spinel_crystal(8.245, 0.2632),
}
"""Full crystals by formula, from measured cells."""


def unit_cell(formula: str, *, primitive: bool = True) -> Atoms:
    """Return a cell of a measured crystal, without labels.

    Parameters
    ----------
    formula
        A name of :data:`CRYSTALS`.
    primitive
        Whether the smallest cell is wanted, or the conventional one.

    Returns
    -------
    ase.Atoms
        Periodic.

    Raises
    ------
    ConfigError
        If there is no such crystal.
    """
    if formula not in CRYSTALS:
        raise unknown("crystal", formula, CRYSTALS)
    return built(CRYSTALS[formula], primitive=primitive)


def built(crystal: Crystal, *, primitive: bool = True) -> Atoms:
    """Return a cell of any crystal, as :func:`unit_cell` does of those with a name."""
    from ase import Atoms
    from ase.spacegroup import crystal as ase_crystal

    found = ase_crystal(
        [element for element, _ in crystal.sites],
        basis=[place for _, place in crystal.sites],
        spacegroup=crystal.space_group,
        setting=crystal.setting,
        cellpar=list(crystal.cell),
        primitive_cell=primitive,
    )
    # Without the arrays and the long info that ASE's function adds.
    return Atoms(
        found.get_chemical_symbols(),
        positions=found.positions,
        cell=found.cell,
        pbc=True,
    )


@dataclass(frozen=True)
class LayeredOxide:
    """A layered oxide LixMO2 in the O3 stacking, with a spin state for each row.

    Attributes
    ----------
    crystal
        With all lithium, of :func:`layered_crystal`.
    lithium
        x, 1 or 0.5; of the half, every second row of each layer is empty.
    states
        Spin states of the metals, row by row, ``-`` before it for down. Rows run along
        the first cell vector, as in the reference frames of two metal atoms.
    """

    crystal: Crystal
    lithium: float
    states: tuple[str, ...]

    @property
    def metal(self) -> str:
        """Chemical symbol of M."""
        return self.crystal.sites[0][0]

    @property
    def a(self) -> float:
        """Distance of neighbouring metals, Å."""
        return self.crystal.cell[0]

    @property
    def c(self) -> float:
        """Height of three layers, Å."""
        return self.crystal.cell[2]


LAYERED: Mapping[str, LayeredOxide] = {
    "LiCoO2": LayeredOxide(CRYSTALS["LiCoO2"], 1.0, ("Co3+LS",)),
    # J. N. Reimers, J. R. Dahn, J. Electrochem. Soc. 139, 2091 (1992), mean of the
    # monoclinic cell
    "Li0.5CoO2": LayeredOxide(
        layered_crystal("Co", 2.81, 14.42, 0.263),
        0.5,
        ("Co3+LS", "Co4+LS", "Co3+LS", "-Co4+LS"),
    ),
    "LiNiO2": LayeredOxide(CRYSTALS["LiNiO2"], 1.0, ("Ni3+LS", "-Ni3+LS")),
    # T. Ohzuku, A. Ueda, M. Nagayama, J. Electrochem. Soc. 140, 1862 (1993), mean of
    # the monoclinic cell
    "Li0.5NiO2": LayeredOxide(
        layered_crystal("Ni", 2.83, 14.40, 0.261),
        0.5,
        ("Ni3+LS", "Ni4+LS", "-Ni3+LS", "Ni4+LS"),
    ),
    # Not made in this form, it turns into spinel: volume of spinel LiMn2O4
    # (a = 8.247 Å), layers as far apart as in the nickel oxide.
    "Li0.5MnO2": LayeredOxide(
        layered_crystal("Mn", 2.904, 14.40, 0.261),
        0.5,
        ("Mn3+HS", "Mn4+", "-Mn3+HS", "-Mn4+"),
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

    metal, lithium, oxygen = (
        (element, place[2]) for element, place in oxide.crystal.sites
    )
    heights = [metal, lithium, oxygen, ("O", 1.0 - oxygen[1])]
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
