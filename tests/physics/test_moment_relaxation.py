# SPDX-License-Identifier: LGPL-3.0-or-later
"""Moments relaxed to zero magnetic force within their valleys, random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk
from scipy.spatial.transform import Rotation

from spin_dp import SpinDP
from spin_dp.inference.moment_relaxation import Valleys, relax_moments
from spin_dp.spin_states.catalogue import Catalogue, SpinState

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from spin_dp.inference.moment_relaxation import RelaxedMoments

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def model(predicting_model: Path) -> SpinDP:
    return SpinDP(predicting_model)


@pytest.fixture(scope="module")
def oxide() -> Atoms:
    """Return displaced rocksalt MnNi3O4."""
    atoms: Atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True)
    atoms.symbols[0] = "Mn"
    atoms.rattle(0.08, seed=2)
    return atoms


@pytest.fixture(scope="module")
def patterns(oxide: Atoms) -> np.ndarray:
    """Return three collinear patterns, (3, n, 3), without moments of oxygen."""
    rng = np.random.default_rng(5)
    moments = np.zeros((3, len(oxide), 3))
    metals = [i for i, symbol in enumerate(oxide.symbols) if symbol != "O"]
    moments[:, metals, 2] = rng.uniform(0.6, 1.5, (3, 4)) * rng.choice([-1, 1], (3, 4))
    return moments


def relax(
    model: SpinDP, atoms: Atoms, moments: np.ndarray, width: float = 0.8
) -> RelaxedMoments:
    lengths = np.linalg.norm(moments, axis=-1)
    lowest = np.where(lengths > 0, lengths.min(axis=0) - width, -0.3).min(axis=0)
    valleys = Valleys(
        lowest, lengths.max(axis=0) + np.where(lengths[0] > 0, width, 0.3)
    )
    return relax_moments(
        model.potential,
        atoms.get_chemical_symbols(),
        model.geometry(atoms),
        moments,
        valleys,
        tolerance=TOLERANCE,
        max_evaluations=300,
    )


def energies(model: SpinDP, atoms: Atoms, moments: np.ndarray) -> np.ndarray:
    found: np.ndarray = model.predict(atoms, moments).energy
    return found


@pytest.mark.parametrize("width", [0.2, 0.5, 0.8])
def test_no_moment_can_lower_the_energy_further(model, oxide, patterns, width) -> None:
    """By finite differences: within a valley flat, at an edge uphill."""
    relaxed = relax(model, oxide, patterns[:1], width)
    assert relaxed.residuals[0] < TOLERANCE
    assert relaxed.changes[0] < -1e-3
    lengths = np.linalg.norm(patterns[0], axis=-1)
    low = np.where(lengths > 0, lengths - width, -0.3)
    high = np.where(lengths > 0, lengths + width, 0.3)
    signs = np.where(patterns[0, :, 2] < 0, -1.0, 1.0)
    step, edges = 1e-3, 0
    for atom, sign in enumerate(signs):
        value = relaxed.moments[0, atom, 2] * sign
        assert low[atom] - 1e-9 <= value <= high[atom] + 1e-9
        tried = np.repeat(relaxed.moments, 2, axis=0)
        tried[:, atom, 2] += sign * np.array([-step, step])
        below, above = energies(model, oxide, tried) - relaxed.energies[0]
        if relaxed.at_edge[0, atom]:
            edges += 1
            at_top = value > 0.5 * (low[atom] + high[atom])
            assert (below if at_top else above) > 0.0
            assert (above if at_top else below) < 0.0
        else:
            assert abs(above - below) / (2.0 * step) < 2.0 * TOLERANCE
    assert edges == relaxed.at_edge.sum()


def test_the_smallest_valleys_are_edges_and_the_energy_is_told(
    model, oxide, patterns
) -> None:
    relaxed = relax(model, oxide, patterns, width=0.01)
    assert relaxed.at_edge.any()
    np.testing.assert_allclose(
        relaxed.energies, energies(model, oxide, relaxed.moments), atol=1e-9
    )
    before = energies(model, oxide, patterns)
    np.testing.assert_allclose(relaxed.changes, relaxed.energies - before, atol=1e-9)


def test_frames_together_are_frames_one_by_one(model, oxide, patterns) -> None:
    lengths = np.linalg.norm(patterns, axis=-1)
    valleys = Valleys(
        np.where(lengths[0] > 0, 0.3, -0.3), np.where(lengths[0] > 0, 1.8, 0.3)
    )

    def relaxed(moments: np.ndarray) -> RelaxedMoments:
        return relax_moments(
            model.potential,
            oxide.get_chemical_symbols(),
            model.geometry(oxide),
            moments,
            valleys,
            tolerance=TOLERANCE,
            max_evaluations=300,
        )

    together = relaxed(patterns)
    for k, one in enumerate(patterns):
        alone = relaxed(one[None])
        assert together.energies[k] == pytest.approx(alone.energies[0], abs=1e-5)
        np.testing.assert_allclose(together.moments[k], alone.moments[0], atol=0.01)


def test_turned_moments_relax_alike(model, oxide, patterns) -> None:
    turn = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()
    plain = relax(model, oxide, patterns[:1])
    turned = relax(model, oxide, patterns[:1] @ turn.T)
    np.testing.assert_allclose(turned.energies, plain.energies, atol=1e-6)
    np.testing.assert_allclose(turned.moments, plain.moments @ turn.T, atol=1e-2)


def test_noncollinear_moments_keep_their_directions(model, oxide, patterns) -> None:
    rng = np.random.default_rng(7)
    axes = rng.normal(size=(len(oxide), 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    moments = np.linalg.norm(patterns[:1], axis=-1)[..., None] * axes
    relaxed = relax(model, oxide, moments)
    is_metal = np.array([symbol != "O" for symbol in oxide.symbols])
    assert (relaxed.moments[0, ~is_metal] == 0.0).all()  # no axis to go along
    crossed = np.cross(relaxed.moments[0, is_metal], axes[is_metal])
    np.testing.assert_allclose(crossed, 0.0, atol=1e-12)
    assert np.abs(relaxed.moments - moments).max() > 0.01
    assert relaxed.changes[0] < 0.0


def test_moments_without_a_valley_stay(model, oxide, patterns) -> None:
    lengths = np.linalg.norm(patterns[0], axis=-1)
    relaxed = relax_moments(
        model.potential,
        oxide.get_chemical_symbols(),
        model.geometry(oxide),
        patterns[:1],
        Valleys(lengths, lengths),
    )
    np.testing.assert_array_equal(relaxed.moments, patterns[:1])
    assert relaxed.residuals[0] == relaxed.changes[0] == 0.0
    assert not relaxed.at_edge.any()


def test_few_evaluations_leave_a_residual(model, oxide, patterns) -> None:
    lengths = np.linalg.norm(patterns[0], axis=-1)
    relaxed = relax_moments(
        model.potential,
        oxide.get_chemical_symbols(),
        model.geometry(oxide),
        patterns[:1],
        Valleys(lengths - 2.0, lengths + 2.0),
        tolerance=1e-8,
        max_evaluations=2,
    )
    assert relaxed.residuals[0] > 1e-8
    assert relaxed.changes[0] <= 0.0


CATALOGUE = Catalogue(
    [
        SpinState("Ni3+LS", 0.9, lowest=0.7, highest=1.1, sites=20),
        SpinState("Co3+LS", 0.0, lowest=0.0, highest=0.1, sites=20),
    ],
    {"Ni": 1.1, "Co": 0.1, "O": 0.3},
)


def test_valleys_are_those_of_the_states() -> None:
    symbols = ["Ni", "Ni", "Co", "O", "Li", "Fe"]
    moments = np.zeros((6, 3))
    moments[:, 2] = [0.9, -1.6, 0.0, 0.1, 0.0, 4.0]
    valleys = Valleys.of(
        symbols, moments, CATALOGUE, read_elements=["Ni", "Co", "O", "Fe"]
    )
    # The range of a state is that of its sites, half of it more, and 0.1 μB. A start
    # always lies within, and what has no direction may point either way.
    expected = [
        (0.4, 1.4),
        (0.4, 1.6),
        (-0.25, 0.25),
        (-0.6, 0.6),
        (0.0, 0.0),
        (3.5, 4.5),
    ]
    found = list(zip(valleys.lowest, valleys.highest, strict=True))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_states_that_are_named_have_their_own_valley() -> None:
    two = Catalogue(
        [*CATALOGUE.states, SpinState("Ni2+", 1.7, lowest=1.6, highest=1.8, sites=9)]
    )
    moments = np.array([[0.0, 0.0, 1.35]])
    nearest = Valleys.of(["Ni"], moments, two, read_elements=["Ni"])
    assert nearest.highest[0] == pytest.approx(2.0)
    named = Valleys.of(
        ["Ni"], moments, two, states=[two.states[0]], read_elements=["Ni"]
    )
    assert named.highest[0] == pytest.approx(1.4)
