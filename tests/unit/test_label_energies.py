# SPDX-License-Identifier: LGPL-3.0-or-later
"""The energy of states by name: how it is learnt, and that all doors give it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from spin_dp import SpinDP, SpinDPCalculator, rank_states
from spin_dp.cli.app import main
from spin_dp.errors import ConfigError, OutsideTrainingData
from spin_dp.evaluation import predict
from spin_dp.evaluation.systems import LabelledSystem
from spin_dp.model.loss import SpinLoss
from spin_dp.model_file import read_model_info
from tests.conftest import STATES_INFO, build_model

NAMED = "Mn=3+HS Ni=3+LS"
PREFACTORS = {
    f"{when}_pref_{name}": 1.0
    for when in ("start", "limit")
    for name in ("e", "fr", "fm", "m")
}


@pytest.fixture(scope="module")
def learnt(label_model) -> SpinDP:
    return SpinDP(label_model)


@pytest.fixture
def oxide(cell):
    """Return MnNiLi2O4: neutral with Mn3+ and Ni3+, or with Mn4+ and Ni2+."""
    cell.symbols[[4, 6]] = "Li"
    return cell


@pytest.fixture
def means(cell) -> np.ndarray:
    """Return the mean moments of Mn3+HS and Ni3+LS, up, none on oxygen; (n, 3)."""
    moments = np.zeros((len(cell), 3))
    sizes = {"Mn": 3.7, "Ni": 1.2, "O": 0.0}
    moments[:, 2] = [sizes[symbol] for symbol in cell.symbols]
    return moments


def test_states_by_name_have_the_energy_of_their_mean_moments(learnt, cell, means):
    found = learnt.evaluate(cell, NAMED)
    expected = learnt.potential.predict(
        cell.get_chemical_symbols(), learnt.geometry(cell), means[None]
    )
    assert found.energy == expected.energies[0]
    np.testing.assert_allclose(found.forces, expected.forces[0], atol=1e-14)
    np.testing.assert_array_equal(found.moments, means)


def test_moments_by_number_have_their_own_energy(learnt, cell, means):
    by_name = learnt.evaluate(cell, NAMED).energy
    moments = learnt.moments(cell, NAMED)
    assert np.abs(moments - means).max() > 0.01
    assert abs(learnt.evaluate(cell, moments).energy - by_name) > 1e-6
    # One number among names: the others are predicted, as before.
    mixed = {"Mn": 3.6, "Ni": "3+LS"}
    labels = learnt.labels(cell, mixed)
    assert not labels.is_named
    expected = learnt.moments_of(cell, labels)
    np.testing.assert_array_equal(learnt.evaluate(cell, mixed).moments, expected)


def test_a_model_that_learnt_none_reads_predicted_moments(predicting, cell):
    found = predicting.evaluate(cell, NAMED)
    np.testing.assert_array_equal(found.moments, predicting.moments(cell, NAMED))


def test_the_calculator_holds_states_while_atoms_move(learnt, cell):
    cell.calc = SpinDPCalculator(learnt, moments=NAMED)
    forces = cell.get_forces()
    step = np.random.default_rng(1).normal(size=forces.shape)
    step *= 1e-4 / np.linalg.norm(step)
    slopes, moments = [], []
    start = cell.positions.copy()
    for sign in (1, -1):
        cell.positions = start + sign * step
        slopes.append(cell.get_potential_energy())
        moments.append(cell.get_magnetic_moments())
    assert slopes[0] - slopes[1] == pytest.approx(
        -2.0 * (forces * step).sum(), abs=1e-9
    )
    # Moments follow the positions.
    assert np.abs(moments[0] - moments[1]).max() > 1e-9
    cell.positions = start
    np.testing.assert_allclose(
        cell.get_magnetic_moments(), learnt.moments(cell, NAMED)[:, 2], atol=1e-12
    )


def test_states_are_ranked_by_their_own_energies(learnt, oxide):
    cell = oxide
    table = rank_states(cell, learnt)
    assert len(table) > 3
    assert table["max_magnetic_force"].isna().all()
    for row in table.head(3).itertuples():
        energy = learnt.evaluate(cell, row.labels).energy
        assert row.energy == pytest.approx(energy, abs=1e-9)
        moments = learnt.moments(cell, row.labels)
        np.testing.assert_allclose(np.array(row.moments), moments, atol=1e-9)
    held = rank_states(cell, learnt, converge=False)
    assert held["max_magnetic_force"].notna().all()


def test_an_ensemble_gives_the_same(label_model, tmp_path, oxide):
    cell, other = oxide, tmp_path / "other.pth"
    script: Any = torch.jit.script
    model = build_model(
        {
            "moment_net": {"neuron": [8], "seed": 4},
            "spin": {"use_spin": ["Mn", "Co", "Ni", "O"]},
            "info": STATES_INFO | {"label_share": 0.5},
            "fitting_net": {"type": "ener", "neuron": [16, 16], "seed": 9},
        }
    )
    torch.jit.save(script(model), other)
    both = SpinDP([label_model, other])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutsideTrainingData)
        found = both.uncertainty(cell, NAMED)
        table = rank_states(cell, both, states={"Mn": ["3+HS"], "Ni": ["3+LS"]})
    alone = [SpinDP(path).evaluate(cell, NAMED).energy for path in (label_model, other)]
    np.testing.assert_allclose(found.energies, alone, atol=1e-10)
    up = table[table["order"] == "FM"]
    assert up["energy"].tolist() == pytest.approx([alone[0]], abs=1e-10)


def test_a_test_reads_labels_if_asked_to(learnt, predicting, cell, means):
    system = LabelledSystem(
        name="one",
        symbols=cell.get_chemical_symbols(),
        positions=cell.positions[None],
        cells=cell.cell.array[None],
        energies=np.zeros(1),
        forces=np.zeros((1, len(cell), 3)),
        moments=0.9 * means[None],
        initial_moments=means[None],
    )
    named = predict(learnt.potential, system, labels=True)
    assert named.energies[0] == learnt.evaluate(cell, NAMED).energy
    assert named.magnetic_forces is None
    assert predict(learnt.potential, system).energies[0] != named.energies[0]
    with pytest.raises(ConfigError, match="learnt no labels"):
        predict(predicting.potential, system, labels=True)


def test_the_command_tests_states_by_name(
    label_model, predicting_model, collected, tmp_path, capsys
):
    table = tmp_path / "table.csv"
    words = ["test", "-m", str(label_model), str(collected), "-o", str(table)]
    assert main([*words, "--by-name"]) == 0
    named = pd.read_csv(table)
    assert main(words) == 0
    moments = pd.read_csv(table)
    column = "energy_meV_per_atom"
    assert (named[column] != moments[column]).sum() > 2
    words[2] = str(predicting_model)
    assert main([*words, "--by-name"]) == 1
    assert "learnt no labels" in capsys.readouterr().err


def test_the_model_says_that_it_learnt_labels(label_model, predicting_model):
    assert read_model_info(label_model).reads_labels
    assert read_model_info(label_model).label_share == 0.5
    assert not read_model_info(predicting_model).reads_labels


class Recorder(torch.nn.Module):
    """Notes what the loss lets a model read, and passes it on."""

    def __init__(self, model):
        super().__init__()
        self.model, self.read = model, []
        self.moment_net = model.moment_net

    def forward(self, **inputs):
        self.read.append(inputs["spin"].detach().numpy().copy())
        return self.model(**inputs)


def training_step(share, *, training=True, seed=1):
    """Return what the model read, the loss, and what it is without labels."""
    section = {
        "moment_net": {"neuron": [8], "seed": 3},
        "spin": {"use_spin": ["Mn", "Co", "Ni", "O"]},
    }
    model = Recorder(build_model(section))
    model.train(training)
    rng = np.random.default_rng(2)
    n = 6
    box = torch.eye(3, dtype=torch.float64).reshape(1, 9) * 7.0
    coord = torch.as_tensor(rng.uniform(0, 7, (1, n, 3)))
    spin = torch.as_tensor(rng.normal(size=(1, n, 3)))
    guess = torch.as_tensor(rng.normal(size=(1, n, 3)))
    inputs = {
        "coord": coord,
        "atype": torch.tensor([[1, 1, 3, 4, 4, 4]]),
        "spin": spin,
        "box": box,
    }
    label = {
        "energy": torch.zeros((1, 1), dtype=torch.float64),
        "force": torch.zeros((1, n, 3), dtype=torch.float64),
        "force_mag": torch.zeros((1, n, 3), dtype=torch.float64),
        "initial_spin": guess,
        "find_energy": 1.0,
        "find_force": 1.0,
        "find_force_mag": 1.0,
        "find_initial_spin": 1.0,
    }
    loss = SpinLoss(1.0, **PREFACTORS, label_share=share)
    torch.manual_seed(seed)
    _, value, shown = loss(inputs, model, label, n, 1.0)
    return model.read[0], value, shown, spin.numpy(), guess.numpy()


def test_in_a_share_of_the_steps_labels_are_read():
    read, loss, shown, spin, guess = training_step(1.0)
    np.testing.assert_array_equal(read, guess)
    assert np.isnan(float(shown["rmse_fm"]))  # those of DFT's moments, not of labels
    other, plain, with_moments, _, _ = training_step(0.0)
    np.testing.assert_array_equal(other, spin)
    assert np.isfinite(float(with_moments["rmse_fm"]))
    # Moments are predicted from labels, and compared with DFT, in either case.
    assert shown["rmse_m"].item() == pytest.approx(with_moments["rmse_m"].item())
    assert loss.requires_grad
    assert loss.item() != plain.item()
    seen = [
        np.array_equal(training_step(0.5, seed=seed)[0], guess) for seed in range(24)
    ]
    assert 4 < sum(seen) < 20


def test_a_test_during_training_reads_moments():
    read, _, _, spin, _ = training_step(1.0, training=False)
    np.testing.assert_array_equal(read, spin)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ConfigError, match="label_share from 0 to 1"):
        SpinLoss(1.0, label_share=share)
