# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the active-learning benchmark counts and measures."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk

from benchmarks.active_learning.students import deviations, errors, largest_spread
from benchmarks.active_learning.table import labels_needed, learning_curves
from benchmarks.active_learning.teacher import label
from spin_dp import SpinDP

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms


def test_labels_needed_are_read_off_between_rounds():
    curve = pd.Series([10.0, 6.0, 4.0, 4.5], index=[40, 60, 80, 100])
    assert labels_needed(curve, 12.0) == 40
    assert labels_needed(curve, 8.0) == 50
    assert labels_needed(curve, 4.5) == 75
    assert isnan(labels_needed(curve, 3.9))


def test_every_strategy_begins_with_the_common_start():
    rows = [("start", seed, 40, 10.0 + seed) for seed in (0, 1)]
    rows += [("random", 0, 60, 6.0), ("random", 1, 60, 7.0), ("both", 1, 60, 4.0)]
    results = pd.DataFrame(rows, columns=["strategy", "seed", "labels", "force_rmse"])
    curves = learning_curves(results, "force_rmse")
    assert curves["random"].tolist() == [10.5, 6.5]
    assert curves["both"].tolist() == [11.0, 4.0]  # of the seeds it was run with


@pytest.fixture(scope="module")
def frames() -> list[Atoms]:
    found = []
    for seed in range(3):
        atoms: Atoms = bulk("NiO", "rocksalt", a=4.2).repeat((2, 1, 1))
        atoms.rattle(0.05, seed=seed)
        moments = [1.7 if symbol == "Ni" else 0.0 for symbol in atoms.symbols]
        atoms.set_initial_magnetic_moments(moments)
        found.append(atoms)
    return found


def test_the_teacher_makes_no_error_and_doubts_nothing(
    predicting_model: Path, frames: list[Atoms]
):
    labelled = label(predicting_model, frames)
    (row,) = errors([predicting_model], labelled)
    assert row == pytest.approx(dict.fromkeys(row, 0.0), abs=1.0e-6)
    for spread in deviations([predicting_model, predicting_model], frames):
        assert spread == pytest.approx(np.zeros(3), abs=1.0e-12)


def test_labels_are_those_of_the_teacher(predicting_model: Path, frames: list[Atoms]):
    model = SpinDP(predicting_model)
    answer = label(predicting_model, frames)[0]
    moments = model.predict_moments(frames[0], answer.get_initial_magnetic_moments())
    expected = model.evaluate(frames[0], moments)
    assert answer.get_potential_energy() == pytest.approx(float(expected.energy))
    stress = answer.get_stress(voigt=False) * answer.get_volume()
    assert -stress == pytest.approx(expected.virial, abs=1.0e-9)


def test_deviation_of_two_models_is_half_their_difference():
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(2, 5, 4, 3))
    apart = np.linalg.norm(one - other, axis=-1).max(axis=-1)
    assert largest_spread([one, other]) == pytest.approx(apart / 2.0)
    third = (one + other) / 2.0  # the mean of both: it shrinks by the square root
    assert largest_spread([one, other, third]) == pytest.approx(apart / np.sqrt(6.0))
