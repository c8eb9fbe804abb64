# SPDX-License-Identifier: LGPL-3.0-or-later
"""Crystals have their space groups; labels of MD cells go from row to row."""

from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase.formula import Formula

from spin_dp.crystals import CRYSTALS, LAYERED, by_rows, layered_oxide, unit_cell
from spin_dp.errors import ConfigError
from spin_dp.spin_states.nominal import find_nominal_state

# spglib 2.8 announces another way to tell errors with every call.
pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING")

ALL = sorted(LAYERED)
FULL = [name for name in ALL if LAYERED[name].lithium == 1.0]


def distances(formula: str, a: str, b: str) -> np.ndarray:
    atoms = layered_oxide(formula, (2, 2, 1))
    symbols = np.array(atoms.get_chemical_symbols())
    table = atoms.get_all_distances(mic=True) + 99.0 * np.eye(len(atoms))
    return np.asarray(np.sort(table[np.ix_(symbols == a, symbols == b)], axis=1))


def test_cells() -> None:
    atoms = layered_oxide("LiNiO2", (2, 2, 1))
    assert atoms.get_chemical_formula(mode="hill") == "Li24Ni24O48"
    assert atoms.pbc.all()
    half = layered_oxide("Li0.5MnO2", (4, 2, 1))
    assert half.get_chemical_formula(mode="hill") == "Li24Mn48O96"


@pytest.mark.parametrize("primitive", [True, False])
@pytest.mark.parametrize("formula", sorted(CRYSTALS))
def test_unit_cells_have_formula_space_group_and_nothing_else(
    formula: str, primitive: bool
) -> None:
    atoms = unit_cell(formula, primitive=primitive)
    assert atoms.get_chemical_formula("hill", empirical=True) == Formula(
        formula
    ).format("hill")
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.get_symmetry_dataset(cell, symprec=1e-3)
    assert found.number == CRYSTALS[formula].space_group
    smallest = len(spglib.find_primitive(cell, symprec=1e-3)[2])
    assert (len(atoms) == smallest) == primitive
    assert set(atoms.arrays) == {"numbers", "positions"}
    assert not atoms.info


def test_a_layered_oxide_is_the_crystal_in_another_cell() -> None:
    whole, cell = layered_oxide("LiNiO2", (2, 2, 1)), unit_cell("LiNiO2")
    assert whole.get_volume() / len(whole) == pytest.approx(
        cell.get_volume() / len(cell)
    )
    bonds = [
        np.sort(a.get_all_distances(mic=True)[symbols == "Ni"][:, symbols == "O"])[0]
        for a in (whole, cell.repeat((3, 3, 3)))
        for symbols in [np.array(a.get_chemical_symbols())]
    ]
    assert bonds[0][:6] == pytest.approx(bonds[1][:6])


@pytest.mark.parametrize("formula", FULL)
def test_space_group(formula: str) -> None:
    atoms = layered_oxide(formula, (1, 1, 1))
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    assert spglib.get_spacegroup(cell, symprec=1e-3) == "R-3m (166)"


@pytest.mark.parametrize("formula", ALL)
def test_metals_and_lithium_sit_in_octahedra(formula: str) -> None:
    metal = LAYERED[formula].metal
    bonds = {"Co": (1.87, 1.95), "Ni": (1.90, 2.0), "Mn": (1.92, 2.0)}[metal]
    nearest = distances(formula, metal, "O")
    assert bonds[0] < nearest[:, :6].min() <= nearest[:, :6].max() < bonds[1]
    assert nearest[:, 6].min() > 3.0
    lithium = distances(formula, "Li", "O")
    assert ((lithium[:, :6] > 2.0) & (lithium[:, :6] < 2.2)).all()
    assert lithium[:, 6].min() > 3.0


def test_bonds_of_the_nickel_oxide() -> None:
    # A. Hirano et al.: six Ni-O bonds of 1.98 Å, six Li-O bonds of 2.11 Å.
    assert distances("LiNiO2", "Ni", "O")[:, :6] == pytest.approx(1.98, abs=0.01)
    assert distances("LiNiO2", "Li", "O")[:, :6] == pytest.approx(2.11, abs=0.01)


@pytest.mark.parametrize("formula", ALL)
def test_labelled_cells_are_neutral(formula: str) -> None:
    atoms = layered_oxide(formula, (4, 2, 1))
    charge = 0
    for symbol, name in zip(
        atoms.get_chemical_symbols(), atoms.arrays["spin_states"], strict=True
    ):
        assert (name == "") == (symbol in ("Li", "O"))
        state = find_nominal_state(str(name).removeprefix("-")) if name else None
        assert state is not None or not name
        charge += {"Li": 1, "O": -2}.get(symbol, 0) + (state.oxidation if state else 0)
    assert charge == 0


def test_rows_alternate_within_layers() -> None:
    atoms = layered_oxide("LiNiO2", (3, 2, 1))
    moments = np.array(by_rows(atoms, "Ni", (1.2, -1.2), other=0.0))
    symbols = np.array(atoms.get_chemical_symbols())
    assert not moments[symbols != "Ni"].any()
    nickel = moments[symbols == "Ni"]
    assert np.abs(nickel) == pytest.approx(1.2)
    assert nickel.sum() == pytest.approx(0.0)
    table = atoms.get_all_distances(mic=True)[np.ix_(symbols == "Ni", symbols == "Ni")]
    neighbours = np.isclose(table, LAYERED["LiNiO2"].a, atol=1e-3)
    same = np.sign(nickel)[:, None] == np.sign(nickel)[None, :]
    # Of six neighbours in the layer two are in the own row.
    assert (neighbours.sum(axis=1) == 6).all()
    assert ((neighbours & same).sum(axis=1) == 2).all()


def test_half_of_the_lithium_is_left_in_rows() -> None:
    atoms = layered_oxide("Li0.5CoO2", (4, 2, 1))
    symbols = np.array(atoms.get_chemical_symbols())
    table = atoms.get_all_distances(mic=True)[np.ix_(symbols == "Li", symbols == "Li")]
    neighbours = np.isclose(table, LAYERED["Li0.5CoO2"].a, atol=1e-3)
    assert (neighbours.sum(axis=1) == 2).all()


def test_unknown_crystal() -> None:
    with pytest.raises(ConfigError, match="LiCoO2"):
        unit_cell("LiCoO")


def test_unknown_oxides_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"layered oxide.*LiNiO2"):
        layered_oxide("LiNiO", (1, 1, 1))
