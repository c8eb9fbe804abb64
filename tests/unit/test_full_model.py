# SPDX-License-Identifier: LGPL-3.0-or-later
"""Moments at a temperature on the energy of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk

from spin_dp import SpinDP
from spin_dp.errors import ConfigError
from spin_dp.magnetism import sample_model

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms


@pytest.fixture(scope="module")
def model(label_model: Path) -> SpinDP:
    return SpinDP(label_model)


@pytest.fixture
def oxide() -> Atoms:
    atoms: Atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def test_two_moments_have_the_mean_energy_of_all_angles(model, oxide) -> None:
    """One moment fixed by symmetry: a quadrature over the angle between the two."""
    del oxide[[i for i in range(8) if oxide.symbols[i] == "Ni"][2:]]
    oxide.symbols[[i for i in range(len(oxide)) if oxide.symbols[i] == "Ni"]] = "Ni"
    nickel = [i for i, symbol in enumerate(oxide.symbols) if symbol == "Ni"]
    kelvin = 300.0
    cosines, weights = np.polynomial.legendre.leggauss(40)
    (state,) = (s for s in model.states.states if s.name == "Ni2+")
    patterns = np.zeros((40, len(oxide), 3))
    patterns[:, nickel[0], 2] = state.moment
    patterns[:, nickel[1], 2] = state.moment * cosines
    patterns[:, nickel[1], 0] = state.moment * np.sqrt(1.0 - cosines**2)
    energies = model.predict(oxide, patterns).energy
    beta = 1.0 / (8.617333262e-5 * kelvin)
    boltzmann = weights * np.exp(-beta * (energies - energies.min()))
    exact = 1e3 * (boltzmann @ energies) / boltzmann.sum() / 2
    table = sample_model(
        oxide, model, [kelvin], "Ni=2+", sweeps=1500, equilibration=50, turn=1.5
    )
    row = table.iloc[0]
    assert abs(row["energy"] - exact) < 4.5 * row["energy_error"]
    assert row["energy_error"] < 0.3 * 1e3 * np.std(energies)
    assert 0.0 < row["accepted"] <= 1.0


def test_cold_moments_keep_their_order_and_hot_ones_do_not(model, oxide) -> None:
    seen: list[tuple[int, int]] = []
    table = sample_model(
        oxide,
        model,
        [1.0e6, 0.01],
        "Ni=2+",
        order="AFM-001",
        sweeps=60,
        equilibration=20,
        progress=lambda *a: seen.append(a),
    )
    cold, hot = table.to_dict("records")
    assert cold["temperature"] < hot["temperature"]
    assert hot["order"] < 0.75
    assert hot["accepted"] > 0.95
    assert cold["energy"] < hot["energy"]
    assert seen[-1] == (160, 160)
    again = sample_model(
        oxide,
        model,
        [1.0e6, 0.01],
        "Ni=2+",
        order="AFM-001",
        sweeps=60,
        equilibration=20,
    )
    np.testing.assert_array_equal(again["energy"], table["energy"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"temperatures": [0.0]}, "positive"),
        ({"sweeps": 3}, "as many sweeps as blocks"),
        ({"moments": "Ni=1.7"}, "names of spin"),
    ],
)
def test_what_cannot_be_is_refused(model, oxide, changes, says) -> None:
    given = {"temperatures": [300.0], "moments": "Ni=2+", "sweeps": 10, **changes}
    with pytest.raises(ConfigError, match=says):
        sample_model(oxide, model, **given)


def test_a_model_of_moments_is_refused(predicting_model, oxide) -> None:
    with pytest.raises(ConfigError, match="has no energy of states"):
        sample_model(oxide, SpinDP(predicting_model), [300.0], "Ni=2+")
