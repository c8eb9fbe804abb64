# SPDX-License-Identifier: LGPL-3.0-or-later
"""The moment net, trained by stock ``dp --pt`` with the loss ``spin_dp``."""

from __future__ import annotations

import json
from pathlib import Path

import ase
import numpy as np
import pytest
import torch

from spin_dp import SpinDP
from spin_dp.data_tools import collect
from spin_dp.data_tools.systems.system import open_system

FRAMES = Path(__file__).resolve().parents[2] / "examples" / "gpaw" / "CoO2_3.extxyz"
READS = ["Co", "O"]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return high-spin CoO2: half a μB on each oxygen, none of it in the guess."""
    out = tmp_path_factory.mktemp("moments") / "data"
    collect([FRAMES], out, type_map=["Li", "Mn", "Co", "Ni", "O"])
    return next(p.parent for p in out.rglob("type.raw") if "Co4+HS" in str(p.parent))


def write_input(tiny_input, folder, system, steps, *, pref_m=1.0, **model) -> Path:
    n_frames = len(np.load(system / "set.000" / "energy.npy"))
    data = {"systems": str(system), "batch_size": n_frames}
    path: Path = tiny_input(
        folder,
        system,
        steps,
        use_spin=READS,
        training={"training_data": data, "save_freq": steps},
        **model,
    )
    content = json.loads(path.read_text())
    content["loss"] |= {"type": "spin_dp"}
    content["loss"] |= {"start_pref_m": pref_m, "limit_pref_m": pref_m}
    content["learning_rate"] = {"type": "exp", "start_lr": 1e-2, "stop_lr": 1e-3}
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def trained(dp, tiny_input, system, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    write_input(tiny_input, folder, system, 120, moment_net={"neuron": [8], "seed": 1})
    dp(folder, "train", "input.json")
    dp(folder, "freeze", "-o", "model.pth")
    return folder


def test_the_error_is_shown_and_falls(trained):
    with (trained / "lcurve.out").open() as curve:
        names = curve.readline().split()[1:]
    rows = np.genfromtxt(trained / "lcurve.out", names=names)
    error = rows["rmse_m_trn"] if "rmse_m_trn" in names else rows["rmse_m"]
    assert error[-1] < 0.5 * error[0]


def test_predicted_moments_are_nearer_to_dft_than_the_guess(trained, system):
    stored = open_system(system)
    model = SpinDP(trained / "model.pth")
    guess, predicted, wanted = [], [], []
    for index in range(stored.n_frames):
        atoms = ase.Atoms(
            stored.symbols,
            positions=stored.label("coord")[index],
            cell=stored.label("box")[index],
            pbc=True,
        )
        guess.append(stored.label("initial_spin")[index])
        predicted.append(model.predict_moments(atoms, guess[-1][None])[0])
        wanted.append(stored.label("spin")[index])
    oxygen = np.array(stored.symbols) == "O"
    error = np.abs(np.array(predicted) - wanted)
    before = np.abs(np.array(guess) - wanted)
    assert error[:, oxygen].mean() < 0.5 * before[:, oxygen].mean()
    assert error.mean() < before.mean()


def test_moments_do_not_change_what_energies_are_trained_to(
    dp, tiny_input, system, tmp_path, trained
):
    """Their gradients end at the moment net; Adam keeps parameters apart."""
    finals = []
    for name, weight in (("without", 0.0), ("with", 5.0)):
        folder = tmp_path / name
        net = {"neuron": [8], "seed": 1}
        write_input(tiny_input, folder, system, 4, pref_m=weight, moment_net=net)
        dp(folder, "train", "input.json")
        loaded = torch.load(folder / "model.ckpt-4.pt", weights_only=True)["model"]
        finals.append(loaded)
    plain, both = finals
    for key, value in plain.items():
        if key == "_extra_state":
            continue
        if "moment_net" in key:
            assert not torch.equal(value, both[key]), key
        else:
            torch.testing.assert_close(value, both[key], rtol=1e-9, atol=1e-12)


def test_a_loss_of_moments_needs_a_moment_net(dp, tiny_input, system, tmp_path):
    write_input(tiny_input, tmp_path, system, 2)
    printed = dp(tmp_path, "train", "input.json", expect=1)
    assert 'add "moment_net": {} to the model section' in printed
