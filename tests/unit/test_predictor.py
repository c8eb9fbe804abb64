# SPDX-License-Identifier: LGPL-3.0-or-later
"""SpinDP, the ASE calculator and the ranking of spin states."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pymatgen.core import Lattice, Structure

from spin_dp import SpinDP, SpinDPCalculator, rank_states
from spin_dp.errors import ConfigError, DataError, ShapeError
from spin_dp.states import order_name


@pytest.fixture(scope="module")
def potential(frozen_model):
    return SpinDP(frozen_model)


@pytest.fixture
def cell() -> Atoms:
    atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.symbols[:2] = "MnO"
    return atoms


MOMENTS = np.array([3.0, 0.0, 1.2, 0.0, -1.2, 0.0, 1.2, 0.0])


def test_one_pattern(potential, cell):
    found = potential.evaluate(cell, MOMENTS)
    assert np.shape(found.energy) == ()
    assert found.forces.shape == (8, 3)
    assert found.magnetic_forces.shape == (8, 3)
    assert found.virial.shape == (3, 3)
    np.testing.assert_allclose(found.atomic_energies.sum(), found.energy, rtol=1e-12)
    vectors = np.zeros((8, 3))
    vectors[:, 2] = MOMENTS
    assert potential.evaluate(cell, vectors).energy == found.energy
    cell.set_initial_magnetic_moments(MOMENTS)
    assert potential.evaluate(cell).energy == found.energy


def test_many_patterns_are_each_one_pattern(potential, cell):
    patterns = np.random.default_rng(0).normal(0, 2, (300, 8))
    found = potential.evaluate(cell, patterns)
    assert found.energy.shape == (300,)
    assert found.magnetic_forces.shape == (300, 8, 3)
    for number in (0, 127, 128, 299):
        one = potential.evaluate(cell, patterns[number])
        np.testing.assert_allclose(found.energy[number], one.energy, rtol=1e-13)
        np.testing.assert_allclose(found.forces[number], one.forces, atol=1e-12)


def test_same_as_deepmd_kit(potential, frozen_model, cell):
    """The stock interface gives the same numbers for the same file."""
    from deepmd.infer import DeepPot

    stock = DeepPot(str(frozen_model))
    types = [stock.get_type_map().index(s) for s in cell.get_chemical_symbols()]
    spin = np.zeros((1, 8, 3))
    spin[0, :, 2] = MOMENTS
    energy, force, virial, force_mag, _ = stock.eval(
        cell.positions.reshape(1, -1), cell.cell.array.reshape(1, -1), types, spin=spin
    )
    found = potential.evaluate(cell, MOMENTS)
    np.testing.assert_allclose(energy.item(), found.energy, rtol=1e-14)
    np.testing.assert_allclose(force[0], found.forces, atol=1e-13)
    np.testing.assert_allclose(force_mag[0], found.magnetic_forces, atol=1e-13)
    np.testing.assert_allclose(virial.reshape(3, 3), found.virial, atol=1e-12)


def test_pymatgen_structure(potential, cell):
    structure = Structure(
        Lattice(cell.cell.array),
        cell.get_chemical_symbols(),
        cell.positions,
        coords_are_cartesian=True,
        site_properties={"magmom": list(MOMENTS)},
    )
    expected = potential.evaluate(cell, MOMENTS).energy
    np.testing.assert_allclose(potential.evaluate(structure).energy, expected)


def test_left_handed_cell_is_the_same_crystal(potential, cell):
    mirrored = cell.copy()
    mirrored.set_cell(cell.cell.array[[1, 0, 2]], scale_atoms=False)
    assert np.linalg.det(mirrored.cell.array) < 0
    a, b = potential.evaluate(cell, MOMENTS), potential.evaluate(mirrored, MOMENTS)
    np.testing.assert_allclose(b.energy, a.energy, rtol=1e-13)
    np.testing.assert_allclose(b.virial, a.virial, atol=1e-10)


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        (MOMENTS[:7], r"expected .*8.*got .*7"),
        (np.full(8, np.nan), "NaN|not a number|finite"),
        (np.zeros((2, 7)), r"got \(2, 7\)"),
        (None, "got none"),
    ],
)
def test_moments_that_do_not_fit(potential, cell, moments, message):
    with pytest.raises(DataError, match=message):
        potential.evaluate(cell, moments)


def test_three_atoms_three_numbers_is_not_guessed(potential):
    atoms = Atoms("MnO2", [[0, 0, 0], [1.9, 0, 0], [-1.9, 0, 0]])
    with pytest.raises(ShapeError, match="could be"):
        potential.evaluate(atoms, np.zeros((3, 3)))
    assert potential.evaluate(atoms, np.zeros((1, 3, 3))).energy.shape == (1,)


def test_unknown_element(potential):
    with pytest.raises(ConfigError, match="'Fe'"):
        potential.evaluate(bulk("Fe"), [2.2])


def test_partly_periodic_cell(potential, cell):
    cell.pbc = (True, True, False)
    with pytest.raises(ConfigError, match="pbc"):
        potential.evaluate(cell, MOMENTS)


def test_model_file_that_is_none(tmp_path):
    with pytest.raises(DataError, match="no such model file"):
        SpinDP(tmp_path / "absent.pth")
    wrong = tmp_path / "wrong.pth"
    wrong.write_text("not a model")
    with pytest.raises(DataError, match="expected a frozen Deep Potential"):
        SpinDP(wrong)


def test_calculator_returns_what_the_model_says(potential, cell):
    cell.set_initial_magnetic_moments(MOMENTS)
    cell.calc = SpinDPCalculator(potential)
    found = potential.evaluate(cell, MOMENTS)
    assert cell.get_potential_energy() == found.energy
    np.testing.assert_array_equal(cell.get_forces(), found.forces)
    np.testing.assert_array_equal(cell.get_magnetic_moments(), MOMENTS)
    assert cell.get_magnetic_moment() == MOMENTS.sum()
    np.testing.assert_array_equal(
        cell.calc.results["magnetic_forces"], found.magnetic_forces
    )


def test_calculator_notices_new_moments(potential, cell):
    cell.set_initial_magnetic_moments(MOMENTS)
    cell.calc = SpinDPCalculator(potential)
    before = cell.get_potential_energy()
    cell.set_initial_magnetic_moments(np.abs(MOMENTS))
    assert cell.get_potential_energy() != before


def test_calculator_stress_is_the_strain_derivative(potential, cell):
    """ASE's own finite differences, over the calculator alone."""
    from ase.calculators.fd import calculate_numerical_stress

    cell.set_initial_magnetic_moments(MOMENTS)
    cell.calc = SpinDPCalculator(potential)
    numerical = calculate_numerical_stress(cell, eps=1e-4)
    np.testing.assert_allclose(cell.get_stress(), numerical, atol=1e-7)


def test_ranking_finds_the_lowest_of_all_patterns(potential, cell):
    levels = {"Mn": [3.7, 1.9], "Ni": [1.3, 0.0]}
    table = rank_states(cell, potential, ["Mn", "Ni"], levels=levels)
    sites = [i for i, s in enumerate(cell.get_chemical_symbols()) if s in levels]
    rng = np.random.default_rng(3)
    for _ in range(50):
        pattern = np.zeros(8)
        for site in sites:
            size = rng.choice(levels[cell.get_chemical_symbols()[site]])
            pattern[site] = size * rng.choice([-1, 1])
        energy = potential.evaluate(cell, pattern).energy
        assert energy >= table["energy"].iloc[0] - 1e-9
        assert np.min(np.abs(table["energy"] - energy)) < 1e-6
    # (2 x 2) x 3³ signed choices, one of each pair under reversal.
    assert table["degeneracy"].sum() == 4 * 27 / 2
    assert list(table["rank"]) == list(range(1, len(table) + 1))
    assert table["above_lowest"].iloc[0] == 0.0
    assert table["energy"].is_monotonic_increasing


def test_moments_that_the_model_does_not_read_do_not_double_the_states(potential, cell):
    """DFT leaves small moments on oxygen; reversal still makes the same state."""
    levels = {"Mn": [3.7], "Ni": [1.3]}
    plain = rank_states(cell, potential, levels=levels)
    is_oxygen = cell.numbers == 8
    cell.set_initial_magnetic_moments(np.where(is_oxygen, 0.07, 0.0))
    again = rank_states(cell, potential, levels=levels)
    assert again["degeneracy"].sum() == plain["degeneracy"].sum() == 2**4 / 2
    np.testing.assert_allclose(again["energy"], plain["energy"], rtol=1e-13)


def test_ranking_per_formula_unit_is_extensive(potential, cell):
    levels = {"Mn": [3.7]}
    small = rank_states(cell, potential, ["Mn"], levels=levels)
    cell2 = cell.repeat((2, 1, 1))
    large = rank_states(cell2, potential, ["Mn"], levels=levels)
    ferro = large[large["order"] == "FM"].iloc[0]
    np.testing.assert_allclose(
        ferro["energy_per_fu"], small["energy_per_fu"].iloc[0], rtol=1e-12
    )


def test_equal_patterns_are_counted_as_one(potential):
    """Four equivalent sites: one flipped of four is the same state whichever it is."""
    perfect = bulk("NiO", "rocksalt", a=4.17, cubic=True)
    table = rank_states(perfect, potential, ["Ni"], levels={"Ni": [1.5]})
    assert list(table["degeneracy"].sort_values()) == [1, 3, 4]
    assert sorted(table["order"]) == ["AFM", "FM", "FiM"]


def test_ranking_of_a_large_cell_is_bounded(potential, cell):
    table = rank_states(cell.repeat((2, 2, 1)), potential, max_patterns=40)
    assert 2 < table["degeneracy"].sum() <= 40
    assert "FM" in set(table["order"])


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        (["Fe"], "unknown element"),
        (["O"], "reads no moments of O"),
        (["M"], "did you mean|known"),
    ],
)
def test_ranking_of_elements_that_carry_no_spin(potential, cell, elements, message):
    with pytest.raises(ConfigError, match=message):
        rank_states(cell, potential, elements)


@pytest.mark.parametrize(
    ("moments", "name"),
    [
        ([1, 1], "FM"),
        ([1, -1], "AFM"),
        ([2, -1], "FiM"),
        ([0, 0], "NM"),
        ([0, 2], "single"),
    ],
)
def test_order_names(moments, name):
    assert order_name(np.array(moments, float)) == name


def test_predicted_moments(predicting_model, potential, cell):
    model = SpinDP(predicting_model)
    assert model.info.predicts_moments
    moments = model.predict_moments(cell, MOMENTS)
    assert moments.shape == (8, 3)
    assert not moments[:, :2].any()
    oxygen = np.array(cell.get_chemical_symbols()) == "O"
    assert moments[oxygen, 2].all()  # induced by the metals
    many = model.predict_moments(cell, [MOMENTS, -MOMENTS])
    np.testing.assert_allclose(many, [moments, -moments], atol=1e-12)
    with pytest.raises(ConfigError, match="predicts no moments; train with a moment_"):
        potential.predict_moments(cell, MOMENTS)


def test_only_elements_without_any_moment_are_completed(predicting_model, cell):
    model = SpinDP(predicting_model)
    symbols = np.array(cell.get_chemical_symbols())
    predicted = model.predict_moments(cell, MOMENTS)[:, 2]
    filled = model.complete_moments(cell, MOMENTS)[:, 2]
    np.testing.assert_array_equal(filled[symbols != "O"], MOMENTS[symbols != "O"])
    np.testing.assert_array_equal(filled[symbols == "O"], predicted[symbols == "O"])
    labelled = MOMENTS.copy()
    labelled[np.flatnonzero(symbols == "O")[0]] = 0.1
    np.testing.assert_array_equal(
        model.complete_moments(cell, labelled)[:, 2], labelled
    )
    none = model.complete_moments(cell, np.zeros((2, 8)))
    assert not none.any()


def test_labels_stay_where_nothing_is_predicted(potential, cell):
    np.testing.assert_array_equal(
        potential.complete_moments(cell, MOMENTS)[:, 2], MOMENTS
    )


def test_states_are_ranked_at_the_moments_they_converge_to(predicting_model, cell):
    model = SpinDP(predicting_model)
    table = rank_states(cell, model, ["Ni"], levels={"Ni": [1.6]})
    for row in table.to_dict("records"):
        reached = model.predict_moments(cell, row["pattern"])
        np.testing.assert_allclose(row["converged"], reached[:, 2], atol=1e-12)
        energy = model.evaluate(cell, reached).energy
        assert row["energy"] == pytest.approx(energy, rel=1e-12)
        assert row["total_moment"] == pytest.approx(reached[:, 2].sum())
    held = rank_states(cell, model, ["Ni"], levels={"Ni": [1.6]}, converge=False)
    for row in held.to_dict("records"):
        np.testing.assert_array_equal(row["converged"], row["pattern"])
    assert not np.allclose(held["energy"], table["energy"])


def test_oxygen_has_no_states_of_its_own(predicting_model, cell):
    """It is read by the model, but no usual moments of it are known."""
    table = rank_states(cell, SpinDP(predicting_model), max_patterns=40)
    oxygen = np.array(cell.get_chemical_symbols()) == "O"
    assert not any(pattern[oxygen].any() for pattern in table["pattern"])
