# SPDX-License-Identifier: LGPL-3.0-or-later
"""Phonons against finite differences, symmetry, and other choices of the cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.build import make_supercell

from spin_dp.errors import ConfigError
from spin_dp.properties import (
    PhononSettings,
    QuasiHarmonicSettings,
    Subject,
    phonons,
    quasi_harmonic,
)

SMALL = PhononSettings(min_length=5.0, mesh=15.0, temperatures=(0.0, 400.0, 50.0))
_THZ = 15.633302  # of the root of eV/(Å² u)


@pytest.fixture(scope="module")
def found(ferromagnet, antiferromagnet):
    return {one: phonons(one, SMALL) for one in (ferromagnet, antiferromagnet)}


def hessian_frequencies(subject: Subject) -> np.ndarray:
    """Return frequencies at Γ by central differences in the cell itself, THz."""
    atoms = subject.calculated()
    step, n = 0.01, len(atoms)
    hessian = np.zeros((3 * n, 3 * n))
    start = atoms.positions.copy()
    for k in range(3 * n):
        forces = []
        for sign in (1.0, -1.0):
            atoms.positions = start
            atoms.positions[k // 3, k % 3] += sign * step
            forces.append(atoms.get_forces().ravel())
        hessian[k] = (forces[1] - forces[0]) / (2.0 * step)
    masses = np.repeat(atoms.get_masses(), 3)
    dynamical = 0.5 * (hessian + hessian.T) / np.sqrt(np.outer(masses, masses))
    squares = np.linalg.eigvalsh(dynamical)
    return np.sort(np.sign(squares) * np.sqrt(np.abs(squares))) * _THZ


@pytest.mark.parametrize("order", ["ferromagnet", "antiferromagnet"])
def test_gamma_is_the_hessian_of_the_cell(order, found, request) -> None:
    subject = request.getfixturevalue(order)
    result = found[subject]
    expected = hessian_frequencies(subject.carrying(result.structure))
    frequencies = result.gamma["frequency"].to_numpy()
    assert frequencies[3:] == pytest.approx(expected[3:], abs=0.03)


def test_acoustic_modes_are_zero_at_gamma(found) -> None:
    for result in found.values():
        assert result.acoustic_error < 0.02
        assert np.abs(result.gamma["frequency"][:3]).max() < 1e-3
        assert result.stable
        assert result.imaginary_share == 0.0


def test_degeneracies_are_those_of_the_magnetic_crystal(
    found, ferromagnet, antiferromagnet
) -> None:
    def alike(subject, count: int) -> int:
        optical = found[subject].gamma["frequency"].to_numpy()[3:]
        return sum(
            np.ptp(optical[k : k + count]) < 0.02
            for k in range(len(optical) - count + 1)
        )

    # Fm-3m folded along [111]: T1u of Γ, and at L longitudinal and transverse of
    # each ion; alternating planes split T1u in two.
    # Singlets may come near by chance, so only what has to be alike is counted.
    assert alike(ferromagnet, 3) >= 1
    assert alike(ferromagnet, 2) >= 4
    assert alike(antiferromagnet, 3) == 0
    assert alike(antiferromagnet, 2) == 3


def test_bands_and_states_are_those_of_all_modes(found, antiferromagnet) -> None:
    result = found[antiferromagnet]
    branches = [name for name in result.bands if str(name).isdecimal()]
    assert len(branches) == 12
    width = np.diff(result.dos["frequency"])[0]
    assert result.dos["dos"].sum() * width == pytest.approx(12.0, rel=0.02)
    first = result.bands.iloc[0]
    gamma = result.gamma["frequency"].to_numpy()
    at_first = np.sort(first[branches].to_numpy(dtype=float))
    assert at_first == pytest.approx(gamma, abs=1e-3)


def test_heat_goes_to_dulong_and_petit_and_entropy_is_its_integral(
    model, layered
) -> None:
    subject = Subject.of_model(layered, model, "Ni=3+LS")
    result = phonons(subject, replace(SMALL, temperatures=(0.0, 3000.0, 10.0)))
    thermal = result.thermal
    # The highest modes still lack a few percent, and Γ's acoustic ones are left out.
    assert thermal["heat_capacity"].iloc[-1] == pytest.approx(12 * 8.314, rel=0.03)
    assert thermal["heat_capacity"].iloc[0] == 0.0
    slope = np.gradient(thermal["free_energy"], thermal["temperature"])
    entropy = -slope[5:-5] * 96.485  # J/K/mol of meV/K
    expected = thermal["entropy"].to_numpy()[5:-5]
    assert entropy == pytest.approx(expected, rel=0.005, abs=0.1)
    assert result.zero_point_energy == pytest.approx(thermal["free_energy"][0])


def test_order_of_atoms_and_choice_of_cell_do_not_count(
    model, nickel_oxide, found, antiferromagnet
) -> None:
    shuffled = nickel_oxide[[3, 1, 0, 2]]
    other_cell = make_supercell(nickel_oxide, [[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    expected = found[antiferromagnet]
    for atoms in (shuffled, other_cell):
        subject = Subject.of_model(atoms, model, "Ni=2+", order="AFM")
        assert subject.spin_state == antiferromagnet.spin_state
        result = phonons(subject, SMALL)
        assert result.gamma["frequency"].to_numpy() == pytest.approx(
            expected.gamma["frequency"].to_numpy(), abs=0.02
        )
        assert result.entropy == pytest.approx(expected.entropy, rel=0.02)


def test_quasi_harmonic_expands_as_grueneisen_says(antiferromagnet) -> None:
    settings = QuasiHarmonicSettings(
        strains=(-0.005, 0.0, 0.005, 0.01, 0.015),
        min_length=5.0,
        mesh=15.0,
        temperatures=(0.0, 500.0, 10.0),
    )
    found = quasi_harmonic(antiferromagnet, settings)
    rows = found.temperatures
    assert (np.diff(rows["gibbs"]) <= 0.0).all()
    assert found.volume > found.zero_volume
    slope = np.gradient(np.log(rows["volume"]), rows["temperature"])[30]
    assert found.expansion == pytest.approx(1e6 * slope, rel=0.05)
    # alpha = gamma Cv / (V B), by definition of gamma.
    heat = found.heat_capacity / 6.02214e23 / (1.0 + 3e2 * 1e-6 * found.expansion
                                                * found.gruneisen)  # fmt: skip
    volume, modulus = found.volume * 1e-30, found.bulk_modulus * 1e9
    assert found.gruneisen * heat / volume / modulus == pytest.approx(
        1e-6 * found.expansion, rel=0.05
    )


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="first, last and step"):
        PhononSettings(temperatures=(300.0, 100.0, 10.0))
    with pytest.raises(ConfigError, match="positive min_length"):
        PhononSettings(displacement=0.0)
    with pytest.raises(ConfigError, match="5 or more"):
        QuasiHarmonicSettings(strains=(0.0, 0.01))
