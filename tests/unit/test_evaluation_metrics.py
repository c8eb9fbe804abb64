# SPDX-License-Identifier: LGPL-3.0-or-later
"""The measures by which models are judged, on numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spin_dp.errors import ShapeError
from spin_dp.evaluation import metrics

GEOMETRY = ["a", "a", "a", "b", "b", "c"]
STATE = ["HS", "LS", "HS", "HS", "AFM", "HS"]
ENERGY = np.array([0.000, 0.500, 0.004, 1.000, 1.010, 7.0])


def test_each_component_counts_once() -> None:
    small = metrics.frame_rmse(np.ones((1, 2, 3)), np.zeros((1, 2, 3)))
    large = metrics.frame_rmse(np.zeros((1, 6, 3)), np.full((1, 6, 3), 3.0))
    together = metrics.rms(np.concatenate([small, large]), np.array([2, 6]))
    # 6 components of 1 and 18 of 3.
    assert together == pytest.approx(math.sqrt((6 + 18 * 9) / 24))


def test_flat_arrays_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(nf, n, 3\), got \(2, 9\)"):
        metrics.frame_rmse(np.zeros((2, 9)), np.zeros((2, 9)))


def test_pairs_are_two_solutions_of_one_geometry() -> None:
    pairs = metrics.state_pairs(GEOMETRY, STATE, ENERGY)
    # 0 and 2 are one solution found twice; 5 is alone.
    assert pairs.tolist() == [[0, 1], [1, 2], [3, 4]]


def test_same_state_with_other_energy_is_another_solution() -> None:
    energy = ENERGY.copy()
    energy[2] = 0.006
    assert [0, 2] in metrics.state_pairs(GEOMETRY, STATE, energy).tolist()


def test_gap_ignores_what_all_states_of_a_geometry_share() -> None:
    pairs = metrics.state_pairs(GEOMETRY, STATE, ENERGY)
    offsets = {"a": 3.0, "b": -2.0, "c": 0.1}
    shifted = ENERGY + np.array([offsets[name] for name in GEOMETRY])
    assert metrics.gap_rmse(shifted, ENERGY, pairs) == pytest.approx(0.0, abs=1e-9)


def test_gap_of_a_blind_model_is_the_spread_of_dft() -> None:
    pairs = metrics.state_pairs(GEOMETRY, STATE, ENERGY)
    expected = 1000.0 * math.sqrt((0.500**2 + 0.496**2 + 0.010**2) / 3)
    assert metrics.gap_rmse(np.zeros(6), ENERGY, pairs) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("predicted", "share"),
    [
        (ENERGY, 1.0),
        (-ENERGY, 0.0),
        (np.zeros(6), 0.0),
        (np.array([0.0, 0.3, 0.4, 0.0, 0.0, 0.0]), 0.5),
    ],
    ids=["right", "reversed", "blind", "half"],
)
def test_order_counts_pairs_above_the_threshold(
    predicted: np.ndarray, share: float
) -> None:
    pairs = metrics.state_pairs(GEOMETRY, STATE, ENERGY)
    # The pair (3, 4) is 10 meV apart and has no order.
    assert metrics.ordering_accuracy(predicted, ENERGY, pairs) == (share, 2)


def test_rounding_does_not_order_a_blind_model() -> None:
    pairs = metrics.state_pairs(GEOMETRY, STATE, ENERGY)
    rounding = 1e-12 * ENERGY
    assert metrics.ordering_accuracy(rounding, ENERGY, pairs)[0] == 0.0


def test_nothing_to_measure_is_nan() -> None:
    none = np.zeros((0, 2), dtype=np.int64)
    assert math.isnan(metrics.gap_rmse(ENERGY, ENERGY, none))
    assert math.isnan(metrics.ordering_accuracy(ENERGY, ENERGY, none)[0])
    assert math.isnan(metrics.rms(np.zeros(0)))
    assert math.isnan(metrics.rms(np.zeros(0), np.zeros(0)))


def test_lengths_must_agree() -> None:
    with pytest.raises(ShapeError, match="state: expected 6 frames as in geometry"):
        metrics.state_pairs(GEOMETRY, STATE[:3], ENERGY)
