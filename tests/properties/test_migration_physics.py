# SPDX-License-Identifier: LGPL-3.0-or-later
"""Barriers on surfaces that are known, and networks whose walks have a formula."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units

from spin_dp.errors import ConfigError
from spin_dp.properties.migration import (
    BandSettings,
    Surface,
    attempt_frequency,
    given_ends,
    hop_rate,
    migration_barrier,
    modes_of,
)
from spin_dp.properties.migration.band import Path
from spin_dp.properties.migration.crossing import find_crossings
from spin_dp.properties.migration.percolation import (
    Edge,
    percolation,
    site_energies,
    vacancy_diffusivity,
)
from spin_dp.properties.migration.surface import rounded_lowest
from spin_dp.properties.subject import Subject
from tests.properties.analytic_surfaces import DoubleWell, MuellerBrown, TwoStates

FINE = BandSettings(images=7, max_force=0.02, spring=0.3)


def ends_of(make, first, last, moments=(0.0, 0.0), symbol="H"):
    start, end = (
        Subject.of_calculator(Atoms(symbol, [place]), make, [moment], name="analytic")
        for place, moment in zip((first, last), moments, strict=True)
    )
    return given_ends(start, end)


def test_the_saddle_of_mueller_and_brown() -> None:
    """Minima -146.700 and -108.167, the higher saddle -40.665 at (-0.822, 0.624)."""
    ends = ends_of(MuellerBrown, (-0.5, 1.4, 0.1), (0.6, 0.1, -0.1))
    found = migration_barrier(ends, FINE)
    assert found.converged
    assert found.unstable_modes == 1
    assert found.barrier == pytest.approx(1.46700 - 0.40665, abs=1e-4)
    assert found.back == pytest.approx(1.08167 - 0.40665, abs=1e-4)
    assert found.reaction_energy == pytest.approx(found.barrier - found.back)
    top = found.images[found.top]
    np.testing.assert_allclose(top.positions[0, :2], [-0.822, 0.624], atol=5e-3)
    # The climbing image is at rest, other images only beside the path.
    assert np.abs(top.get_forces()).max() < 0.02
    slopes = found.path["slope"].to_numpy()
    assert (slopes[1 : found.top] > 0.0).all()
    np.testing.assert_allclose(
        found.images[0].positions[0, :2], [-0.558, 1.442], atol=2e-3
    )


def test_the_highest_image_without_climbing_is_lower() -> None:
    ends = ends_of(DoubleWell, (-1.4, 0.1, 0.0), (1.45, 0.0, 0.1))
    coarse = BandSettings(images=4, climb=False, max_force=0.01)
    found = migration_barrier(ends, coarse)
    assert 0.7 * DoubleWell.height < found.barrier < 0.98 * DoubleWell.height
    climbing = BandSettings(images=4, max_force=0.01)
    assert migration_barrier(ends, climbing).barrier == pytest.approx(
        DoubleWell.height, abs=1e-4
    )


def test_vineyards_prefactor_of_a_double_well() -> None:
    """The two modes beside the path cancel: what is left is that of the well."""
    ends = ends_of(DoubleWell, (-1.4, 0.1, 0.0), (1.45, 0.0, 0.1))
    found = migration_barrier(ends, FINE)
    surface = Surface.of([ends.initial])
    prefactor, low, high = attempt_frequency(found, surface)
    mass = Atoms("H").get_masses()[0]
    curvature = 8.0 * DoubleWell.height / DoubleWell.half**2
    expected = np.sqrt(curvature / mass) * units.second / (2.0 * np.pi)
    assert prefactor == pytest.approx(expected, rel=2e-3)
    assert low.unstable == 0
    assert high.unstable == 1
    assert high.frequencies[0] == pytest.approx(
        -low.frequencies[0] / np.sqrt(2.0), rel=0.01
    )
    rate = hop_rate(found.barrier, 300.0, prefactor)
    exponent = np.exp(-DoubleWell.height / (8.617333262e-5 * 300.0))
    assert rate == pytest.approx(expected * exponent, rel=5e-3)
    with pytest.raises(ConfigError, match="0 and 0 unstable"):
        attempt_frequency(found.__class__(**{**vars(found), "top": 0}), surface)


@pytest.mark.parametrize("images", [2, 5])
def test_an_electron_that_follows_crosses_where_marcus_says(images: int) -> None:
    ends = ends_of(TwoStates, (0.1, 0.1, 0.0), (1.9, 0.0, 0.1), (3.8, 3.1), "Mn")
    fine = BandSettings(images=images, max_force=0.02, spring=0.3, rounding=0.01)
    found = migration_barrier(ends, fine, electron="following")
    assert found.converged
    assert len(found.states) == 2
    assert found.spin_state != found.final_spin_state
    assert found.crossing_energy == pytest.approx(TwoStates.crossing(), abs=3e-3)
    assert found.barrier == pytest.approx(TwoStates.crossing(), abs=3e-3)
    assert found.reaction_energy == pytest.approx(TwoStates.step, abs=1e-3)
    where = TwoStates.crossing() ** 0.5 / (0.5 * TwoStates.stiffness) ** 0.5
    assert found.crossing == pytest.approx(where / TwoStates.way, abs=0.02)
    # An electron that stays has no other end to go to: the ion comes back.
    staying = ends_of(TwoStates, (0.1, 0.1, 0.0), (1.9, 0.0, 0.1), (3.8, 3.8), "Mn")
    with pytest.raises(ConfigError, match="both ends relax to the same structure"):
        migration_barrier(staying, fine)


def test_rounded_kinks_have_the_forces_of_their_energies() -> None:
    start = Subject.of_calculator(
        Atoms("Mn", [(0, 0, 0)]), TwoStates, [3.8], name="two"
    )
    other = Subject.of_calculator(
        Atoms("Mn", [(0, 0, 0)]), TwoStates, [3.1], name="two"
    )
    surface = Surface.of([start, other])
    x = np.linspace(0.8, 1.5, 141)
    positions = np.zeros((141, 1, 3))
    positions[:, 0, 0] = x
    for rounding in (0.05, 0.3):
        energies, forces = rounded_lowest(*surface.evaluate(positions), rounding)
        lowest = surface.evaluate(positions)[0].min(axis=1)
        assert (energies < lowest).all()
        assert (lowest - energies).max() == pytest.approx(rounding, rel=0.05)
        slope = np.gradient(energies, x)[20:-20]
        np.testing.assert_allclose(-forces[20:-20, 0, 0], slope, atol=0.005)
    energies, forces = rounded_lowest(*surface.evaluate(positions), 0.0)
    np.testing.assert_array_equal(energies, surface.evaluate(positions)[0].min(axis=1))
    modes = modes_of(surface.part([0]), start.atoms, [0])
    assert modes.unstable == 0
    np.testing.assert_allclose(modes.frequencies, modes.frequencies[0], rtol=1e-6)


def test_a_crossing_is_found_beside_the_line_between_images() -> None:
    """Of parabolas in two directions the lowest crossing lies on the line of minima."""
    first, second = (
        Subject.of_calculator(Atoms("Mn", [(0, 0, 0)]), TwoStates, [m], name="two")
        for m in (3.8, 3.1)
    )
    surface = Surface.of([first, second])
    bent = np.array([[[0.0, 0.0, 0.0]], [[0.8, 0.6, 0.2]], [[1.6, 0.5, 0.0]]])
    bent = np.concatenate([bent, [[[2.0, 0.0, 0.0]]]])
    energies, forces = surface.evaluate(bent)
    lengths = np.array([0.0, 1.0, 2.0, 3.0])
    path = Path(bent, energies, forces, lengths, 0.0, True, True, 1)
    fine = BandSettings(max_force=0.002)
    (crossing,) = find_crossings(surface, path, fine)
    assert crossing.is_lowest
    assert crossing.after == 1
    size = 0.5 * TwoStates.stiffness * TwoStates.way**2
    x = (size + TwoStates.step) / (TwoStates.stiffness * TwoStates.way)
    np.testing.assert_allclose(crossing.positions[0], [x, 0.0, 0.0], atol=3e-3)
    assert crossing.height == pytest.approx(TwoStates.crossing(), abs=1e-4)
    assert crossing.is_top
    assert 0.0 < crossing.share < 1.0


# One cell of a square net whose rows are joined by high steps.
FLAT = [Edge(0, 0, (1, 0, 0), 0.2, 0.2), Edge(0, 0, (0, 1, 0), 0.5, 0.5)]


def test_a_network_percolates_where_its_rings_leave_the_cell() -> None:
    cell = np.diag([3.0, 3.0, 5.0])
    found = percolation(cell, FLAT)
    assert found.dimensions == (0.2, 0.5, np.inf)
    assert found.along == (0.2, 0.5, np.inf)
    # Skewed cell vectors: a row along a + b has components along both.
    skewed = percolation(cell, [Edge(0, 0, (1, 1, 0), 0.3, 0.3)])
    assert skewed.dimensions == (0.3, np.inf, np.inf)
    assert skewed.along == (0.3, 0.3, np.inf)
    # A ring that closes in its own cell leads nowhere.
    ring = [Edge(0, 1, (0, 0, 0), 0.1, 0.1), Edge(1, 0, (0, 0, 0), 0.1, 0.1)]
    assert percolation(cell, ring).dimensions == (np.inf,) * 3
    way_out = [*ring, Edge(1, 2, (0, 0, 0), 0.4, 0.4), Edge(2, 0, (0, 0, 1), 0.3, 0.3)]
    assert percolation(cell, way_out).dimensions[0] == 0.4
    assert percolation(cell, way_out).along == (np.inf, np.inf, 0.4)


def test_a_supercell_percolates_as_its_cell_does() -> None:
    double = []
    for k in (0, 1):
        double.append(Edge(k, 1 - k, (k, 0, 0), 0.2, 0.2))
        double.append(Edge(k, k, (0, 1, 0), 0.5, 0.5))
    cell = np.diag([6.0, 3.0, 5.0])
    assert percolation(cell, double) == percolation(np.diag([3.0, 3.0, 5.0]), FLAT)


def test_heights_count_from_the_lowest_site() -> None:
    """Two steps up of 0.5 and 0.4 eV lead 0.7 eV high."""
    chain = [
        Edge(0, 1, (0, 0, 0), 0.5, 0.2),
        Edge(1, 2, (0, 0, 0), 0.4, 0.3),
        Edge(2, 0, (1, 0, 0), 0.1, 0.5),
    ]
    energies = site_energies(3, chain)
    np.testing.assert_allclose(energies, [0.0, 0.3, 0.4], atol=1e-12)
    found = percolation(np.eye(3), chain, energies)
    assert found.dimensions[0] == pytest.approx(0.7)


def test_a_walker_on_a_chain_of_unequal_steps() -> None:
    """D = a² k1 k2 / 2 (k1 + k2) of two kinds of steps in turn, a the period."""
    cell = np.diag([5.0, 4.0, 4.0])
    positions = np.array([[0.0, 0.0, 0.0], [1.7, 0.3, 0.0]])
    edges = [Edge(0, 1, (0, 0, 0), 0.0, 0.0), Edge(1, 0, (1, 0, 0), 0.0, 0.0)]
    slow, fast = 2.0e9, 7.0e10
    found = vacancy_diffusivity(
        positions, cell, edges, [(slow, slow), (fast, fast)], np.full(2, 0.5)
    )
    expected = np.zeros((3, 3))
    expected[0, 0] = 0.5 * (5.0e-10) ** 2 * slow * fast / (slow + fast)
    np.testing.assert_allclose(found, expected, atol=1e-6 * expected[0, 0])


def test_a_walker_on_a_triangular_net() -> None:
    """D = 3/2 k a² in the plane of six equal steps, nothing across."""
    cell = np.array([[2.8, 0.0, 0.0], [-1.4, 2.8 * 0.75**0.5, 0.0], [0.0, 0.0, 14.0]])
    edges = [Edge(0, 0, way, 0.0, 0.0) for way in ((1, 0, 0), (0, 1, 0), (1, 1, 0))]
    found = vacancy_diffusivity(
        np.zeros((1, 3)), cell, edges, [(1e9, 1e9)] * 3, np.ones(1)
    )
    np.testing.assert_allclose(
        found, np.diag([1.0, 1.0, 0.0]) * 1.5e9 * (2.8e-10) ** 2, atol=1e-15
    )


def test_what_makes_no_sense_is_refused() -> None:
    for changes, says in (
        ({"images": 0}, "at least 1"),
        ({"max_force": 0.0}, "positive forces"),
        ({"rounding": -1.0}, "rounding"),
    ):
        with pytest.raises(ConfigError, match=says):
            BandSettings(**changes)
    with pytest.raises(ConfigError, match="positive temperature"):
        hop_rate(0.5, 0.0)
