# SPDX-License-Identifier: LGPL-3.0-or-later
"""Elastic constants and equations of state obey the crystal and each other."""

from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase.build import bulk
from pymatgen.core.elasticity import ElasticTensor

from spin_dp.errors import ConfigError
from spin_dp.properties import (
    ElasticitySettings,
    EquationOfStateSettings,
    elasticity,
    equation_of_state,
    relax,
)
from spin_dp.properties.equation_of_state import _fitted, birch_murnaghan

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


def test_fit_finds_the_constants_of_a_curve() -> None:
    volumes = np.linspace(30.0, 40.0, 9)
    energies = birch_murnaghan(volumes, -21.5, 110.0, 4.7, 35.2)
    found = _fitted(
        volumes, energies, formula="", spin_state="", label_mode="", model=""
    )
    assert found.e0 == pytest.approx(-21.5, abs=1e-6)
    assert found.b0 == pytest.approx(110.0, abs=1e-3)
    assert found.b1 == pytest.approx(4.7, abs=1e-3)
    assert found.v0 == pytest.approx(35.2, abs=1e-5)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="strains: expected two or more"):
        ElasticitySettings(strains=(0.01,))
    with pytest.raises(ConfigError, match="shears"):
        ElasticitySettings(shears=(0.0, 0.01))
    with pytest.raises(ConfigError, match="at least 5 points"):
        EquationOfStateSettings(points=4)
