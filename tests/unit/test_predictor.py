# SPDX-License-Identifier: LGPL-3.0-or-later
"""SpinDP and the ASE calculator: one rule for labels, one energy through all doors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from pymatgen.core import Lattice, Structure

from spin_dp import SpinDP, SpinDPCalculator
from spin_dp.errors import ConfigError, DataError, OutsideTrainingData, ShapeError

MOMENTS = np.array([3.0, 0.0, 1.2, 0.0, -1.2, 0.0, 1.2, 0.0])
NAMED = "Mn=3+HS Ni=3+LS"


def test_one_pattern(potential, cell):
    found = potential.evaluate(cell, MOMENTS)
    assert np.shape(found.energy) == ()
    assert found.forces.shape == (8, 3)
    assert found.magnetic_forces.shape == (8, 3)
    assert found.virial.shape == (3, 3)
    np.testing.assert_allclose(found.atomic_energies.sum(), found.energy, rtol=1e-12)
    vectors = np.zeros((8, 3))
    vectors[:, 2] = MOMENTS
    np.testing.assert_array_equal(found.moments, vectors)
    assert potential.evaluate(cell, vectors).energy == found.energy
    cell.set_initial_magnetic_moments(MOMENTS)
    assert potential.evaluate(cell).energy == found.energy


def test_many_patterns_are_each_one_pattern(potential, cell):
    patterns = np.random.default_rng(0).normal(0, 2, (300, 8))
    patterns[:, [1, 3, 5, 7]] = 0.0  # oxygen, whose moments are not read
    found = potential.evaluate_many(cell, patterns)
    assert found.energy.shape == (300,)
    assert found.magnetic_forces.shape == (300, 8, 3)
    for number in (0, 127, 128, 299):
        one = potential.evaluate(cell, patterns[number])
        np.testing.assert_allclose(found.energy[number], one.energy, rtol=1e-13)
        np.testing.assert_allclose(found.forces[number], one.forces, atol=1e-12)
    alone = potential.energies(cell, found.moments)
    np.testing.assert_allclose(alone, found.energy, rtol=1e-13)


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
        (np.full(8, np.nan), "finite numbers, got"),
        (np.zeros((2, 7)), r"got \(2, 7\)"),
        (np.zeros((2, 8)), r"got \(2, 8\); evaluate_many takes many"),
        (np.zeros((2, 8, 3)), r"got \(2, 8, 3\); evaluate_many takes many"),
    ],
)
def test_moments_that_do_not_fit(potential, cell, moments, message):
    with pytest.raises(DataError, match=message):
        potential.evaluate(cell, moments)


def test_what_is_returned_is_taken_back(predicting):
    """Also for three atoms, whose vectors could be three patterns."""
    atoms = Atoms("MnO2", [[0, 0, 0], [1.9, 0, 0], [-1.9, 0, 0]])
    first = predicting.evaluate(atoms, [3.7, 0, 0])
    assert first.moments.shape == (3, 3)
    assert first.moments[1:, 2].all()
    again = predicting.evaluate(atoms, first.moments)
    assert again.energy == first.energy
    three = predicting.evaluate_many(atoms, np.diag([3.7, 0, 0]))
    assert three.energy.shape == (3,)
    assert three.energy[0] == pytest.approx(first.energy, rel=1e-12)


@pytest.mark.parametrize("shape", [(8,), (2, 7), (8, 3, 1), (0, 8)])
def test_patterns_that_do_not_fit(potential, cell, shape):
    with pytest.raises(ShapeError, match=r"expected \(k, 8\) or \(k, 8, 3\)"):
        potential.evaluate_many(cell, np.zeros(shape))


def test_unknown_element(potential):
    with pytest.raises(ConfigError, match="'Fe'"):
        potential.evaluate(bulk("Fe"), np.array([0.0]))


def test_a_slab_is_one_with_vacuum_around_it(potential, cell):
    tall = cell.copy()
    tall.center(vacuum=12.0, axis=2)
    slab = tall.copy()
    slab.pbc = (True, True, False)
    a, b = potential.evaluate(tall, MOMENTS), potential.evaluate(slab, MOMENTS)
    np.testing.assert_allclose(b.energy, a.energy, rtol=1e-13)
    np.testing.assert_allclose(b.forces, a.forces, atol=1e-12)
    assert abs(b.energy - potential.evaluate(cell, MOMENTS).energy) > 1e-3


# ---- which moments count ------------------------------------------------------------


def with_calculated(atoms: Atoms, moments: np.ndarray) -> Atoms:
    """Return atoms as they are read from a file with results."""
    done = atoms.copy()
    done.calc = SinglePointCalculator(done, energy=0.0, magmoms=moments)
    return done


def moments_of(model, atoms, *given):
    return model.moments(atoms, *given)[:, 2].tolist()


def test_calculated_moments_count_before_initial_ones(potential, cell):
    cell.set_initial_magnetic_moments(np.abs(MOMENTS))
    done = with_calculated(cell, MOMENTS)
    assert moments_of(potential, done) == MOMENTS.tolist()


@pytest.mark.parametrize("change", ["moments", "positions"])
def test_calculated_moments_do_not_count_when_the_atoms_have_changed(
    potential, cell, change
):
    cell.set_initial_magnetic_moments(np.abs(MOMENTS))
    done = with_calculated(cell, MOMENTS)
    if change == "moments":
        done.set_initial_magnetic_moments(-np.abs(MOMENTS))
    else:
        done.positions[0] += 0.1
    expected = done.get_initial_magnetic_moments().tolist()
    assert moments_of(potential, done) == expected


def test_what_is_passed_counts_before_all_else(potential, cell):
    done = with_calculated(cell, MOMENTS)
    done.set_array("spin_states", np.array(["Mn3+LS", *["none", "Ni2+"] * 3, "none"]))
    labelled = moments_of(potential, done)
    assert labelled[0] == pytest.approx(1.8)  # nominal: 0.9 μB an electron
    assert labelled[2] == pytest.approx(1.7)
    assert moments_of(potential, done, -MOMENTS) == (-MOMENTS).tolist()


def test_no_label_is_an_error_that_names_the_states(predicting, cell):
    with pytest.raises(ConfigError, match="has no labels") as caught:
        predicting.evaluate(cell)
    for name in ("Mn3+HS (3.70 μB)", "Mn4+ (3.10 μB)", "Ni2+ (1.70 μB)"):
        assert name in str(caught.value)
    moved = with_calculated(cell, MOMENTS)
    moved.positions[0] += 0.1
    with pytest.raises(ConfigError, match="nor calculated ones that belong to these"):
        predicting.evaluate(moved)


def test_a_metal_without_a_label_is_an_error(predicting, cell):
    with pytest.raises(
        ConfigError, match=r"Ni has no label; the model knows Ni: Ni2\+"
    ):
        predicting.evaluate(cell, "Mn=3+HS")


def test_moments_that_the_model_does_not_read(potential, cell):
    moments = MOMENTS.copy()
    moments[1] = 0.1
    with pytest.raises(ConfigError, match="O carries a moment, but the model reads"):
        potential.evaluate(cell, moments)
    # In a DFT file they are no labels.
    assert moments_of(potential, with_calculated(cell, moments)) == MOMENTS.tolist()


def test_numbers_stay_and_what_is_not_labelled_is_predicted(predicting, cell):
    is_oxygen = cell.numbers == 8
    moments = predicting.moments(cell, MOMENTS)
    predicted = predicting.predict_moments(cell, MOMENTS)
    np.testing.assert_array_equal(moments[~is_oxygen, 2], MOMENTS[~is_oxygen])
    np.testing.assert_array_equal(moments[is_oxygen], predicted[is_oxygen])
    assert moments[is_oxygen, 2].all()


def test_sites_that_are_labelled_by_name_are_predicted(predicting, potential, cell):
    guess = np.where(cell.numbers == 25, 3.7, np.where(cell.numbers == 28, 1.2, 0.0))
    np.testing.assert_allclose(
        predicting.moments(cell, NAMED), predicting.predict_moments(cell, guess)
    )
    # A model without moment net takes the mean moments of the states.
    bare = potential.moments(cell, "Mn=3+HS Ni=3+LS")[:, 2]
    np.testing.assert_allclose(bare, np.where(guess > 3, 3.75, guess))


@pytest.mark.parametrize(
    "given",
    [
        "Mn=3+HS Ni=3+LS 4=-3+LS",
        {"Mn": "3+HS", "Ni": "3+LS", 4: "-3+LS"},
        ["Mn3+HS", "", "Ni3+LS", "", "-Ni3+LS", "", "Ni3+LS", ""],
        "Mn3+HS[1up]Ni3+LS[2up,1dn]",
    ],
)
def test_one_state_in_many_ways(predicting, cell, given):
    """The key can be arranged in one way: rocksalt's sites are all neighbours."""
    energy = predicting.evaluate(cell, NAMED + " 4=-3+LS").energy
    perfect = isinstance(given, str) and "[" in given
    if perfect:  # another nickel may be the one that is down
        others = [
            predicting.evaluate(cell, f"{NAMED} {i}=-3+LS").energy for i in (2, 6)
        ]
        found = predicting.evaluate(cell, given).energy
        assert min(abs(found - e) for e in (energy, *others)) < 1e-12
    else:
        assert predicting.evaluate(cell, given).energy == energy


def test_stray_moments_of_a_file_do_not_count_beside_labels(predicting, cell):
    expected = predicting.evaluate(cell, NAMED).energy
    stray = np.where(cell.numbers == 8, 0.25, -1.0)
    assert predicting.evaluate(with_calculated(cell, stray), NAMED).energy == expected


def test_one_energy_through_all_doors(predicting, cell, tmp_path):
    """Evaluation, many patterns, calculator, file: the same labels, the same energy."""
    from ase.io import read, write

    cell.set_initial_magnetic_moments(MOMENTS)
    expected = predicting.evaluate(cell, MOMENTS)
    vectors = expected.moments
    write(tmp_path / "a.extxyz", cell)
    structure = Structure(
        Lattice(cell.cell.array),
        cell.get_chemical_symbols(),
        cell.positions,
        coords_are_cartesian=True,
        site_properties={"magmom": list(MOMENTS)},
    )
    cell.calc = SpinDPCalculator(predicting)
    energies = [
        cell.get_potential_energy(),
        predicting.evaluate(cell).energy,  # the calculator's moments
        predicting.evaluate(cell, vectors).energy,
        predicting.evaluate_many(cell, [MOMENTS, -MOMENTS]).energy[0],
        predicting.evaluate_many(cell, vectors[None]).energy[0],
        predicting.evaluate(structure).energy,
    ]
    np.testing.assert_allclose(energies, float(expected.energy), rtol=1e-10)
    of_file = predicting.evaluate(read(tmp_path / "a.extxyz")).energy
    # Positions have eight digits there.
    assert of_file == pytest.approx(float(expected.energy), abs=1e-6)


# ---- what the model cannot know -----------------------------------------------------


def test_positions_that_are_no_numbers(potential, cell):
    cell.positions[3, 1] = np.nan
    message = r"positions: expected finite numbers, got .* at atom 3"
    with pytest.raises(DataError, match=message):
        potential.evaluate(cell, MOMENTS)
    with pytest.raises(DataError, match=message):
        potential.evaluate_many(cell, [MOMENTS])


def test_a_cell_without_volume(potential, cell):
    cell.cell[2] = 0.0
    with pytest.raises(DataError, match="cell: expected vectors with a volume"):
        potential.evaluate(cell, MOMENTS)


def test_overlapping_and_close_atoms(predicting_model):
    """The model's data show 1.5 Å at least."""
    model = SpinDP(predicting_model)
    close = Atoms("Ni2", [[0, 0, 0], [0, 0, 1.3]])
    with pytest.warns(OutsideTrainingData, match=r"1\.30 Å apart; .* 1\.50 Å at least"):
        model.evaluate(close, [1.2, 1.2])
    with warnings.catch_warnings():  # said once
        warnings.simplefilter("error")
        model.evaluate(close, [1.2, -1.2])
    close.positions[1, 2] = 0.7
    with pytest.raises(DataError, match=r"atoms 0 \(Ni\) and 1 \(Ni\) are 0\.70 Å"):
        model.evaluate(close, [1.2, 1.2])


def test_moments_far_from_the_training_data(predicting_model, cell):
    model = SpinDP(predicting_model)
    with pytest.warns(OutsideTrainingData, match=r"2\.40 μB at atom 2 \(Ni\)"):
        model.evaluate(cell, np.where(MOMENTS == 1.2, 2.4, MOMENTS))
    with pytest.raises(DataError, match=r"4\.50 μB at atom 2 .* show 1\.80 μB at most"):
        model.evaluate(cell, np.where(MOMENTS == 1.2, 4.5, MOMENTS))


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


def test_calculator_labels(predicting, cell):
    """Given to the calculator, or read off the atoms; other labels are noticed."""
    calculator = SpinDPCalculator(predicting, moments=NAMED, order="FM")
    cell.calc = calculator
    expected = predicting.evaluate(cell, NAMED).energy
    assert cell.get_potential_energy() == pytest.approx(expected, rel=1e-12)
    states = np.array(["Mn3+HS", *["none", "Ni3+LS"] * 3, "none"])
    other = cell.copy()
    other.set_array("spin_states", states)
    other.calc = SpinDPCalculator(predicting)
    assert other.get_potential_energy() == pytest.approx(expected, rel=1e-12)
    other.arrays["spin_states"] = np.array(["-Mn3+HS", *states[1:]])
    flipped = predicting.evaluate(cell, NAMED + " 0=-3+HS").energy
    assert other.get_potential_energy() == pytest.approx(flipped, rel=1e-12)


def test_calculator_holds_predicted_moments_while_atoms_move(predicting, cell):
    """Or else forces were not the derivatives of its energies."""
    from ase.calculators.fd import calculate_numerical_forces

    cell.calc = SpinDPCalculator(predicting, moments=NAMED)
    forces = cell.get_forces()
    held = cell.get_magnetic_moments()
    numerical = calculate_numerical_forces(cell, eps=1e-4, iatoms=[0, 1])
    np.testing.assert_allclose(forces[:2], numerical, atol=1e-6)
    cell.rattle(0.05, seed=7)
    np.testing.assert_array_equal(cell.get_magnetic_moments(), held)
    cell.calc.reset()
    assert not np.allclose(cell.get_magnetic_moments(), held, atol=1e-6)


def test_calculator_stress_is_the_strain_derivative(potential, cell):
    """ASE's own finite differences, over the calculator alone."""
    from ase.calculators.fd import calculate_numerical_stress

    cell.set_initial_magnetic_moments(MOMENTS)
    cell.calc = SpinDPCalculator(potential)
    numerical = calculate_numerical_stress(cell, eps=1e-4)
    np.testing.assert_allclose(cell.get_stress(), numerical, atol=1e-7)


def test_predicted_moments(predicting, potential, cell):
    model = predicting
    assert model.info.predicts_moments
    moments = model.predict_moments(cell, MOMENTS)
    assert moments.shape == (8, 3)
    assert not moments[:, :2].any()
    oxygen = np.array(cell.get_chemical_symbols()) == "O"
    assert moments[oxygen, 2].all()  # induced by the metals
    guesses = np.zeros((2, 8, 3))
    guesses[:, :, 2] = MOMENTS, -MOMENTS
    many = model.predict_moments(cell, guesses)
    np.testing.assert_allclose(many, [moments, -moments], atol=1e-12)
    with pytest.raises(ConfigError, match="predicts no moments; train with a moment_"):
        potential.predict_moments(cell, MOMENTS)
