# SPDX-License-Identifier: LGPL-3.0-or-later
"""Elastic constants and equations of state obey the crystal and each other."""

from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase.build import bulk
from pymatgen.core.elasticity import ElasticTensor

from spin_dp import SpinDP, SpinDPCalculator
from spin_dp.errors import BackendError, ConfigError
from spin_dp.properties import (
    ElasticitySettings,
    EquationOfStateSettings,
    Subject,
    elasticity,
    equation_of_state,
    relax,
)

FAST = ElasticitySettings(strains=(-0.005, 0.005), shears=(-0.01, 0.01))


@pytest.fixture(scope="module")
def constants(ferromagnet, antiferromagnet):
    return {one: elasticity(one, FAST) for one in (ferromagnet, antiferromagnet)}


def in_cell_axes(result) -> ElasticTensor:
    tensor = ElasticTensor.from_voigt(result.tensor)
    return tensor.rotate(result.rotation.T, tol=1e-2)


def rotations(atoms, *, magnetic: bool) -> list[np.ndarray]:
    """Return the point group as Cartesian matrices, moments counting or not."""
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    if magnetic:
        moments = atoms.get_initial_magnetic_moments()
        found = spglib.get_magnetic_symmetry((*cell, moments), symprec=1e-4)
        assert found is not None
        matrices = found["rotations"]
    else:
        matrices = spglib.get_symmetry(cell, symprec=1e-4)["rotations"]
    columns = atoms.cell.array.T
    return [columns @ matrix @ np.linalg.inv(columns) for matrix in matrices]


def breach(tensor: ElasticTensor, matrices: list[np.ndarray]) -> float:
    """Return the largest change of a component by a rotation of the group, GPa."""
    changed = [tensor.rotate(matrix, tol=1e-2) for matrix in matrices]
    return max(float(np.abs(one.voigt - tensor.voigt).max()) for one in changed)


def test_tensor_has_the_symmetry_of_positions_and_moments(
    constants, ferromagnet, antiferromagnet
) -> None:
    # Rotations of the doubled cell are those that keep its lattice only.
    cubic = rotations(bulk("NiO", "rocksalt", a=4.2), magnetic=False)
    assert len(cubic) == 48
    for one in (ferromagnet, antiferromagnet):
        tensor = in_cell_axes(constants[one])
        assert breach(tensor, rotations(one.atoms, magnetic=True)) < 0.5
    assert breach(in_cell_axes(constants[ferromagnet]), cubic) < 1.0
    # Alternating planes make one axis of four another than the others.
    assert breach(in_cell_axes(constants[antiferromagnet]), cubic) > 5.0


def test_constants_are_those_of_a_stable_cubic_crystal(constants, ferromagnet) -> None:
    found = constants[ferromagnet]
    assert found.stable
    assert found.c11 == pytest.approx(found.c33, abs=1.0)
    assert found.c44 == pytest.approx(found.c66, abs=1.0)
    bulk_modulus = (found.c11 + 2.0 * found.c12) / 3.0
    assert found.bulk_modulus == pytest.approx(bulk_modulus, abs=1.0)
    # Born's conditions of a cubic crystal.
    assert found.c11 > abs(found.c12)
    assert found.c44 > 0.0
    ratio = (3 * found.bulk_modulus - 2 * found.shear_modulus) / (
        6 * found.bulk_modulus + 2 * found.shear_modulus
    )
    assert found.poisson_ratio == pytest.approx(ratio)


@pytest.mark.parametrize("order", ["ferromagnet", "antiferromagnet"])
def test_bulk_modulus_is_that_of_the_equation_of_state(
    order, constants, request
) -> None:
    subject = request.getfixturevalue(order)
    settings = EquationOfStateSettings(max_strain=0.01, points=7)
    found = equation_of_state(subject, settings)
    # Cells may change their shape: what they do together is Reuss's average.
    expected = constants[subject].reuss_bulk_modulus
    assert found.b0 == pytest.approx(expected, rel=0.03)
    assert found.fit_error < 0.1
    assert found.v0 == pytest.approx(relax(subject).volume, rel=2e-3)


def test_another_model_at_the_same_volumes(ferromagnet, model_files) -> None:
    """The model itself finds its curve again; another one only its energies."""
    settings = EquationOfStateSettings(max_strain=0.03, points=7)
    found = equation_of_state(ferromagnet, settings)
    again = found.at_same_geometries(ferromagnet)
    for name in ("v0", "b0", "e0"):
        assert getattr(again, name) == pytest.approx(getattr(found, name), rel=1e-5)
    assert again.geometries == "lixmo2"
    second = SpinDP(model_files[1])
    other = found.at_same_geometries(
        Subject.of_model(ferromagnet.atoms, second, "Ni=2+", name="second")
    )
    assert other.model == "second"
    np.testing.assert_array_equal(other.points["volume"], found.points["volume"])
    energies = [second.evaluate(a, "Ni=2+").energy / 2 for a in found.structures]
    np.testing.assert_allclose(other.points["energy"], energies, atol=1e-6)
    assert other.remarks() == []


class _Flips(SpinDPCalculator):
    """DFT that loses the moments of cells above a volume, and fails below another."""

    def __init__(self, model, fails: float, flips: float) -> None:
        super().__init__(model, carried="states")
        self.fails, self.flips = fails, flips

    def calculate(self, atoms=None, *args, **kwargs) -> None:
        super().calculate(atoms, *args, **kwargs)
        volume = atoms.get_volume() / 2
        if volume > self.flips:
            self.results["magmoms"] = np.zeros(len(atoms))
        if volume < self.fails:
            raise BackendError("not converged")


def test_volumes_that_leave_the_state_do_not_count(ferromagnet, model) -> None:
    settings = EquationOfStateSettings(max_strain=0.01, points=7)
    found = equation_of_state(ferromagnet, settings)
    volumes = found.points["volume"]
    flips = 0.5 * (volumes[5] + volumes[6])

    def dft(fails: float) -> Subject:
        return Subject.of_calculator(
            ferromagnet.atoms,
            lambda: _Flips(model.first, fails, flips),
            "Ni=2+",
            name="DFT",
            states=model.states,
        )

    less = found.at_same_geometries(dft(fails=0.0))
    assert len(less.points) == len(less.structures) == 6
    assert [text.partition(":")[0] for text in less.remarks()] == [
        f"{volumes[6]:.2f} Å³/f.u. left out"
    ]
    fails = 0.5 * (volumes[1] + volumes[2])
    with pytest.raises(ConfigError, match=r"4 of 7 volumes are left and 5 are needed"):
        found.at_same_geometries(dft(fails))


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="strains: expected two or more"):
        ElasticitySettings(strains=(0.01,))
    with pytest.raises(ConfigError, match="shears"):
        ElasticitySettings(shears=(0.0, 0.01))
    with pytest.raises(ConfigError, match="at least 5 points"):
        EquationOfStateSettings(points=4)
