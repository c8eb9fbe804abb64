# SPDX-License-Identifier: LGPL-3.0-or-later
"""Exchange constants and classical spins against what is known exactly."""

from __future__ import annotations

from itertools import product
from math import cosh, exp, log, sinh, sqrt, tanh

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.special import ellipk

from spin_dp.errors import ConfigError, DataError
from spin_dp.magnetism.bonds import Bonds, find_bonds
from spin_dp.magnetism.fit import fit_bonds
from spin_dp.magnetism.lattice import SpinLattice, mean_field
from spin_dp.magnetism.monte_carlo import MonteCarloSettings, sample
from spin_dp.magnetism.transition import find_transition
from spin_dp.units import BOLTZMANN_EV_PER_K

J = 0.01  # eV
KELVIN = J / BOLTZMANN_EV_PER_K  # of one J


def square_lattice(n: int) -> SpinLattice:
    """Return an n x n lattice of nearest neighbours, periodic."""
    matrix = np.zeros((n * n, n * n))
    for i, j in product(range(n), repeat=2):
        for other in (((i + 1) % n) * n + j, i * n + (j + 1) % n):
            matrix[i * n + j, other] += J
            matrix[other, i * n + j] += J
    return SpinLattice(csr_matrix(matrix))


def cubic(a: float = 3.0, **constants: float) -> Bonds:
    """Return one site in a simple cubic cell; constants of shells in meV."""
    cutoff = 1.1 * a * (sqrt(2.0) if "second" in constants else 1.0)
    bonds = find_bonds(a * np.eye(3), np.zeros((1, 3)), ["Ni"], cutoff)
    return with_constants(bonds, list(constants.values()))


def with_constants(bonds: Bonds, constants: list[float]) -> Bonds:
    from dataclasses import replace

    shells = [
        replace(shell, exchange=value)
        for shell, value in zip(bonds.shells, constants, strict=True)
    ]
    return replace(bonds, shells=shells)


def test_ising_spins_have_the_energy_of_all_configurations() -> None:
    """All 2^16 of a 4 x 4 lattice: energy, specific heat, order."""
    lattice = square_lattice(4)
    spins = np.array(list(product([-1.0, 1.0], repeat=16))).T[:, :, None]
    energies, order = lattice.energies(spins), np.abs(spins[:, :, 0].mean(axis=0))
    kelvin = [1.5 * KELVIN, 2.3 * KELVIN, 4.0 * KELVIN]
    settings = MonteCarloSettings(spins="ising", sweeps=20000, equilibration=500)
    table = sample(lattice, kelvin, np.ones(16), settings)
    for row, temperature in zip(table.to_dict("records"), kelvin, strict=True):
        beta = 1.0 / (BOLTZMANN_EV_PER_K * temperature)
        weights = np.exp(-beta * (energies - energies.min()))
        weights /= weights.sum()
        mean = (weights * energies).sum()
        heat = beta**2 * ((weights * energies**2).sum() - mean**2) / 16
        for name, exact in (
            ("energy", 1e3 * mean / 16),
            ("specific_heat", heat),
            ("order", (weights * order).sum()),
        ):
            assert abs(row[name] - exact) < 4.5 * row[f"{name}_error"] + 1e-9
            assert row[f"{name}_error"] < 0.05 * abs(exact)


def test_large_ising_lattices_have_the_energy_of_onsager() -> None:
    """L. Onsager, Phys. Rev. 65, 117 (1944), away from the critical temperature."""
    lattice = square_lattice(24)
    kelvin = [1.8 * KELVIN, 3.0 * KELVIN]
    settings = MonteCarloSettings(spins="ising", sweeps=2000, equilibration=300)
    table = sample(lattice, kelvin, np.ones(24 * 24), settings)
    for row, temperature in zip(table.to_dict("records"), kelvin, strict=True):
        k = KELVIN / temperature
        modulus = 2.0 * sinh(2 * k) / cosh(2 * k) ** 2
        bracket = 1.0 + 2.0 / np.pi * (2 * tanh(2 * k) ** 2 - 1) * ellipk(modulus**2)
        exact = -1e3 * J / tanh(2 * k) * bracket
        assert row["energy"] == pytest.approx(exact, rel=0.01)


def test_an_open_chain_of_vectors_has_the_energy_of_fisher() -> None:
    """M. E. Fisher, Am. J. Phys. 32, 343 (1964): -J (coth K - 1/K) for each bond."""
    n = 12
    matrix = np.diag(np.full(n - 1, J), 1)
    lattice = SpinLattice(csr_matrix(matrix + matrix.T))
    kelvin = [0.2 * KELVIN, 0.7 * KELVIN, 3.0 * KELVIN]
    settings = MonteCarloSettings(sweeps=12000, equilibration=500)
    table = sample(lattice, kelvin, np.ones(n), settings)
    for row, temperature in zip(table.to_dict("records"), kelvin, strict=True):
        k = KELVIN / temperature
        exact = -1e3 * J * (1.0 / tanh(k) - 1.0 / k) * (n - 1) / n
        heat = (1.0 - (k / sinh(k)) ** 2) * (n - 1) / n
        assert abs(row["energy"] - exact) < 4.5 * row["energy_error"]
        assert row["energy_error"] < 0.02 * abs(exact)
        assert row["specific_heat"] == pytest.approx(heat, rel=0.08)


def test_free_vectors_have_no_energy_and_the_susceptibility_of_curie() -> None:
    lattice = SpinLattice(csr_matrix((50, 50)))
    table = sample(
        lattice, [300.0], np.ones(50), MonteCarloSettings(sweeps=8000, equilibration=0)
    )
    row = table.iloc[0]
    assert row["energy"] == 0.0
    curie = 1e-3 / (3.0 * BOLTZMANN_EV_PER_K * 300.0)
    assert abs(row["uniform"] - curie) < 4.5 * row["uniform_error"]
    assert row["binder"] == pytest.approx(4.0 / 9.0, abs=0.02)


@pytest.mark.parametrize("turns", [0, 3])
def test_overrelaxation_changes_no_average(turns) -> None:
    lattice = square_lattice(4)
    settings = MonteCarloSettings(sweeps=6000, overrelaxation=turns, seed=7)
    table = sample(lattice, [0.6 * KELVIN], np.ones(16), settings)
    plain = MonteCarloSettings(sweeps=6000, overrelaxation=1, seed=3)
    other = sample(lattice, [0.6 * KELVIN], np.ones(16), plain)
    error = np.hypot(table["energy_error"], other["energy_error"])
    assert (np.abs(table["energy"] - other["energy"]) < 4.5 * error).all()


@pytest.mark.parametrize("noncollinear", [False, True])
def test_constants_are_found_again(noncollinear) -> None:
    """Energies of known constants, two elements, a supercell of 16 sites."""
    rng = np.random.default_rng(2)
    cell = np.diag([3.0, 3.2, 3.4]) * [[2], [2], [4]]
    positions = np.array(
        [(3.0 * i, 3.2 * j, 3.4 * k) for i in (0, 1) for j in (0, 1) for k in range(4)]
    )
    kinds = ["Mn", "Ni"] * 8
    bonds = find_bonds(cell, positions, kinds, 3.6, tolerance=0.05)
    assert [(s.kinds, round(s.distance, 6)) for s in bonds.shells] == [
        (("Mn", "Mn"), 3.0),
        (("Ni", "Ni"), 3.0),
        (("Mn", "Mn"), 3.2),
        (("Ni", "Ni"), 3.2),
        (("Mn", "Ni"), 3.4),
    ]
    values = [4.0, -2.5, 1.5, 0.7, -0.3]
    signs = rng.choice([-1.0, 1.0], (60, 16))
    directions = np.zeros((60, 16, 3))
    directions[:, :, 2] = signs
    if noncollinear:
        directions = rng.normal(size=(60, 16, 3))
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    energies = -3.0 - 1e-3 * bonds.sums(directions) @ values
    noise = rng.normal(size=60) * 1e-4
    exact = fit_bonds(bonds, directions, energies)
    assert [s.exchange for s in exact.shells] == pytest.approx(values, abs=1e-9)
    assert exact.constant == pytest.approx(-3.0)
    assert exact.cross_validation_error < 1e-9
    noisy = fit_bonds(bonds, directions, energies + noise)
    for shell, value in zip(noisy.shells, values, strict=True):
        assert abs(shell.exchange - value) < 4.5 * shell.error
        assert 0.0 < shell.error < 0.1
    assert noisy.error < noisy.cross_validation_error
    assert not len(exact.outliers)
    energies[7] += 0.05
    assert 7 in fit_bonds(bonds, directions, energies).outliers


def test_biquadratic_constants_are_found_again_and_need_directions() -> None:
    rng = np.random.default_rng(3)
    bonds = find_bonds(
        np.diag([6.0, 6.0, 6.0]),
        np.array(list(product([0.0, 3.0], repeat=3))),
        ["Mn"] * 8,
        3.1,
    )
    directions = rng.normal(size=(40, 8, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    energies = (
        1.0
        - 1e-3 * 5.0 * bonds.sums(directions)[:, 0]
        - 1e-3 * 0.8 * bonds.sums(directions, power=2)[:, 0]
    )
    fit = fit_bonds(bonds, directions, energies, biquadratic=True)
    assert fit.shells[0].exchange == pytest.approx(5.0)
    assert fit.shells[0].biquadratic == pytest.approx(0.8)
    assert not fit.is_collinear.any()
    without = fit_bonds(bonds, directions, energies)
    assert without.cross_validation_error > 100 * fit.cross_validation_error
    directions[:, :, :2] = 0.0
    directions[:, :, 2] = rng.choice([-1.0, 1.0], (40, 8))
    with pytest.raises(ConfigError, match="use noncollinear"):
        fit_bonds(bonds, directions, energies, biquadratic=True)


def test_shells_that_a_cell_cannot_tell_apart_are_refused() -> None:
    one = cubic(first=1.0)
    with pytest.raises(ConfigError, match="sees its own images"):
        fit_bonds(one, np.tile([[[0.0, 0.0, 1.0]]], (9, 1, 1)), np.zeros(9))
    with pytest.raises(DataError, match="2 patterns for 2 constants"):
        fit_bonds(one, np.tile([[[0.0, 0.0, 1.0]]], (2, 1, 1)), np.zeros(2))
    with pytest.raises(ConfigError, match="no two magnetic sites"):
        find_bonds(10.0 * np.eye(3), np.zeros((1, 3)), ["Ni"], 3.0)


def test_neighbours_of_shells_are_counted() -> None:
    """Face-centred cubic: 12 and 6."""
    cell = 2.0 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0.0]])
    bonds = find_bonds(cell, np.zeros((1, 3)), ["Ni"], 4.1)
    assert [s.neighbours for s in bonds.shells] == [12, 6]
    assert [s.distance for s in bonds.shells] == pytest.approx([2.0 * sqrt(2), 4.0])
    # Rock salt: Ni has 6 Mn, 12 Ni.
    two = find_bonds(cell, np.array([[0, 0, 0], [2.0, 2.0, 2.0]]), ["Ni", "Mn"], 2.9)
    found = {shell.kinds: shell.neighbours for shell in two.shells}
    assert found == {("Mn", "Ni"): 6, ("Mn", "Mn"): 12, ("Ni", "Ni"): 12}


def test_the_energy_of_a_repeated_lattice_is_that_of_the_bonds() -> None:
    rng = np.random.default_rng(4)
    cell = np.array([[4.0, 0.3, 0.0], [0.0, 3.0, 0.2], [0.5, 0.0, 5.0]])
    bonds = find_bonds(cell, np.array([[0, 0, 0], [1.9, 1.4, 2.6]]), ["Ni", "Mn"], 4.3)
    bonds = with_constants(bonds, rng.normal(size=len(bonds.shells)).tolist())
    values = np.array([shell.exchange for shell in bonds.shells])
    # One direction for each site of the cell, in all cells.
    directions = rng.normal(size=(3, 2, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    lattice = SpinLattice.of(bonds, (3, 4, 3))
    spins = np.tile(directions.transpose(1, 0, 2), (36, 1, 1))
    expected = -36e-3 * bonds.sums(directions) @ values
    np.testing.assert_allclose(lattice.energies(spins), expected, atol=1e-12)
    for group in lattice.colours:
        assert lattice.couplings[group][:, group].nnz == 0
    members = np.concatenate(lattice.colours)
    assert sorted(members.tolist()) == list(range(72))


@pytest.mark.parametrize(
    ("constants", "wave_vector", "total"),
    [
        ({"first": 5.0}, (0.0, 0.0, 0.0), 6 * 5.0),
        ({"first": -5.0}, (0.5, 0.5, 0.5), 6 * 5.0),
        # Planes that alternate along one axis: 2 J1 - ... of simple cubic.
        ({"first": -1.0, "second": -3.0}, (0.0, 0.5, 0.5), None),
    ],
)
def test_the_mean_field_finds_the_order(constants, wave_vector, total) -> None:
    field = mean_field(cubic(**constants))
    assert sorted(field.wave_vector) == sorted(wave_vector)
    if total is not None:
        expected = 1e-3 * total / 3.0 / BOLTZMANN_EV_PER_K
        assert field.temperature == pytest.approx(expected)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_simple_cubic_lattice_orders_where_it_is_known_to(sign) -> None:
    """k T = 1.443 J for classical vectors: K. Chen, A. M. Ferrenberg and D. P. Landau,
    Phys. Rev. B 48, 3249 (1993); the sign of J does not count."""
    known = 1.443 * 5e-3 / BOLTZMANN_EV_PER_K
    found = find_transition(
        cubic(first=5.0 * sign),
        sizes=(4, 6, 8),
        temperatures=(np.linspace(0.85, 1.15, 9) * known).tolist(),
        settings=MonteCarloSettings(sweeps=1500, equilibration=300),
        spin=1.0,
    )
    assert found.temperature == pytest.approx(known, rel=0.03)
    assert 0.0 < found.error < 0.03 * known
    assert found.quantum == pytest.approx(2.0 * found.temperature)
    assert found.mean_field.temperature == pytest.approx(2.0 / 1.443 * known, rel=1e-6)
    assert set(found.curves["size"]) == {64, 216, 512}
    cold = found.curves[found.curves["temperature"] < 0.9 * known]
    hot = found.curves[found.curves["temperature"] > 1.1 * known]
    assert cold["order"].min() > 0.4 > hot[hot["size"] == 512]["order"].max()


def test_noise_above_the_transition_is_no_crossing() -> None:
    kelvin = 1.443 * 5e-3 / BOLTZMANN_EV_PER_K
    found = find_transition(
        cubic(first=5.0),
        sizes=(3, 4),
        temperatures=(np.linspace(2.0, 4.0, 12) * kelvin).tolist(),
        settings=MonteCarloSettings(sweeps=300, equilibration=50),
    )
    assert np.isnan(found.temperature)
    assert np.isnan(found.error)
    assert np.isnan(found.quantum)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"spins": "xy"}, "xy"),
        ({"sweeps": 5}, "at least as many as blocks"),
        ({"blocks": 0}, "at least 1"),
        ({"equilibration": -1}, "at least 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, says) -> None:
    with pytest.raises(ConfigError, match=says):
        MonteCarloSettings(**settings)


def test_one_size_has_no_crossing() -> None:
    with pytest.raises(ConfigError, match="two or more"):
        find_transition(cubic(first=5.0), sizes=(6,))
    with pytest.raises(ConfigError, match="positive"):
        sample(square_lattice(2), [0.0], np.ones(4))


def test_the_order_of_onsager_is_that_of_two_dimensions() -> None:
    """A check of the check: the critical temperature of the formula above."""
    critical = 2.0 / log(1.0 + sqrt(2.0))
    k = 1.0 / critical
    assert 2.0 * sinh(2 * k) / cosh(2 * k) ** 2 == pytest.approx(1.0)
    assert exp(-2 * k) == pytest.approx(sqrt(2.0) - 1.0)
