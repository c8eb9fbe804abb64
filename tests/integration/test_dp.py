# SPDX-License-Identifier: LGPL-3.0-or-later
"""Stock ``dp --pt`` on real frames: train, restart, freeze, test and compress."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spin_dp.data_tools import Rules, collect
from spin_dp.data_tools.systems.system import find_systems, open_system
from spin_dp.model_file import read_model_info
from spin_dp.training.dp_input import data_info

ROOT = Path(__file__).resolve().parents[2]
TYPE_MAP = ["Li", "Mn", "Co", "Ni", "O"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dp") / "data"
    source = ROOT / "examples" / "gpaw" / "LiMnO2_4.extxyz"
    collect([source], out, type_map=TYPE_MAP, rules=Rules(stationary_moments=True))
    return out


@pytest.fixture(scope="module")
def trained(
    dp, tiny_input, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("train")
    systems = data / "training"
    info = data_info([open_system(system) for system in find_systems(systems)], 4.0)
    tiny_input(folder, systems, 4, info=info)
    dp(folder, "train", "input.json")
    dp(folder, "freeze", "-o", "model.pth")
    return folder


def test_model_remembers_the_moments_it_was_trained_on(data, trained):
    info = read_model_info(trained / "model.pth")
    assert info.moment_labels == "dft"
    table = pd.read_csv(data / "states.csv").set_index("state")["mean"]
    moments = {state.name: state.moment for state in info.catalogue.states}
    assert moments == pytest.approx(dict(table), abs=1e-4)
    assert set(moments) == {"Mn3+HS", "Mn3+LS", "Mn3+NM"}
    for state in info.catalogue.states:
        assert state.lowest <= state.moment <= state.highest
        assert state.sites > 0
    highest = max(state.highest for state in info.catalogue.states)
    assert info.catalogue.largest["Mn"] == pytest.approx(highest, abs=1e-3)
    assert 0.0 < info.catalogue.largest["O"] < 1.0
    assert 1.2 < info.min_distance < 2.2


def test_training_fills_in_the_neighbours(trained):
    used = json.loads((trained / "out.json").read_text())
    assert 20 < used["model"]["descriptor"]["sel"] < 200
    curve = np.genfromtxt(trained / "lcurve.out")
    assert np.isfinite(curve[:, [1, 2, 4]]).all()


def test_training_sets_the_input_scales(trained):
    import torch

    state = torch.load(trained / "model.ckpt-4.pt", weights_only=True)["model"]
    prefix = "model.Default.atomic_model.descriptor.core."
    gain = state[prefix + "moment_gain"]
    # No Co and no Ni in the data: their scales stay 1. Li and O carry no spin.
    assert gain[0] == gain[4] == 0.0
    assert gain[2] == gain[3] == 1.0
    assert 1 / 4.0 < gain[1] < 1 / 2.0
    assert state[prefix + "n_neighbours"] > 10.0


def test_restart_goes_on(dp, tiny_input, data, trained):
    tiny_input(trained, data / "training", 6)
    dp(trained, "train", "input.json", "--restart", "model.ckpt-4.pt")
    steps = [
        int(line.split()[0])
        for line in (trained / "lcurve.out").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert steps[-1] == 6
    assert (trained / "model.ckpt-6.pt").is_file()


def test_init_model_starts_from_the_weights(dp, tiny_input, data, trained, tmp_path):
    import torch

    tiny_input(tmp_path, data / "training", 1)
    content = json.loads((tmp_path / "input.json").read_text())
    content["learning_rate"] |= {"start_lr": 1e-12, "stop_lr": 1e-13}
    (tmp_path / "input.json").write_text(json.dumps(content))
    dp(
        tmp_path,
        "train",
        "input.json",
        "--init-model",
        str(trained / "model.ckpt-4.pt"),
    )
    before = torch.load(trained / "model.ckpt-4.pt", weights_only=True)["model"]
    after = torch.load(tmp_path / "model.ckpt-1.pt", weights_only=True)["model"]
    name = "model.Default.atomic_model.descriptor.core.tebd"
    torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-10)


def test_frozen_is_the_checkpoint(trained):
    """And both are what DeepPot gives with the collected moments."""
    from deepmd.infer import DeepPot

    system = next(trained.parent.glob("dp*/data/training/*/*/*"))
    data = {f.stem: np.load(f) for f in (system / "set.000").glob("*.npy")}
    types = np.loadtxt(system / "type.raw", dtype=int)
    n = len(data["energy"])
    results = [
        DeepPot(str(trained / name)).eval(
            data["coord"], data["box"], types, spin=data["spin"].reshape(n, -1, 3)
        )
        for name in ("model.pth", "model.ckpt-4.pt")
    ]
    for frozen, checkpoint in zip(*results, strict=True):
        np.testing.assert_allclose(frozen, checkpoint, rtol=1e-12, atol=1e-12)


def test_dp_test_reports_all_errors(dp, trained, data, tmp_path):
    text = dp(
        trained, "test", "-m", "model.pth", "-s", str(data), "-n", "0", "-d", "errors"
    )
    for name in ("Energy RMSE/Natoms", "Force .*RMSE", "Virial RMSE"):
        assert re.search(name, text), name
    systems = list(data.rglob("type.raw"))
    per_frame = list(trained.glob("errors*.e.out*"))
    assert systems
    assert per_frame


def test_compress_changes_nothing_that_matters(dp, trained, data):
    from spin_dp import SpinDP

    dp(trained, "compress", "-i", "model.pth", "-o", "compressed.pth")
    import ase.io

    atoms = ase.io.read(ROOT / "examples" / "gpaw" / "LiMnO2_4.extxyz", "0")
    a = SpinDP(trained / "model.pth").evaluate(atoms)
    b = SpinDP(trained / "compressed.pth").evaluate(atoms)
    np.testing.assert_allclose(b.forces, a.forces, atol=1e-6)
    np.testing.assert_allclose(b.energy, a.energy, atol=1e-6)


def test_plugin_in_a_fresh_interpreter():
    code = (
        "from deepmd.pt.model.descriptor import BaseDescriptor as D;"
        "from deepmd.pt.model.model import BaseModel as M;"
        "print(D.get_class_by_type('spin_se_e2_a').__name__,"
        " M.get_class_by_type('spin_dp').__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["DescrptSpinSeA", "SpinEnergyModel"]


def test_import_is_light():
    code = (
        "import sys, spin_dp, spin_dp.data_tools, spin_dp.lammps_interface;"
        "assert not {'torch', 'deepmd', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"spin": {"use_spin": ["Fe"]}}, "unknown element in spin.use_spin 'Fe'"),
        ({"spin": {"use_spin": [True]}}, "expected 5 flags"),
        ({"descriptor": {"type": "se_e2_a", "sel": [10]}}, "takes descriptor"),
        ({"spin": {"use_spin": []}}, "needs the magnetic elements"),
    ],
)
def test_wrong_model_sections(tiny_input, tmp_path, model, message):
    from spin_dp.errors import ConfigError
    from spin_dp.model.energy import SpinEnergyModel

    content = json.loads(tiny_input(tmp_path, "data", 1).read_text())
    section = content["model"] | model
    section["descriptor"].setdefault("sel", 30)
    if section["descriptor"]["sel"] == "auto":
        section["descriptor"]["sel"] = 30
    with pytest.raises(ConfigError, match=message):
        SpinEnergyModel.get_model(section)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"rcut_smth": 5.0}, "rcut_smth must lie in"),
        ({"precision": "float8"}, "precision must be"),
        ({"axis_neuron": 99}, "axis_neuron must lie in 1..8"),
        ({"neuron": []}, "neuron must be a list"),
        ({"neurons": [4]}, "did you mean 'neuron'"),
        ({"sel": "auto"}, "neighbour"),
    ],
)
def test_wrong_descriptor_settings(setting, message):
    from spin_dp.errors import ConfigError
    from spin_dp.model.descriptor import config_from_params

    plain = {"rcut": 4.0, "neuron": [4, 8], "axis_neuron": 4, "sel": 30}
    with pytest.raises(ConfigError, match=message):
        config_from_params({**plain, **setting})


def test_descriptor_outside_its_model():
    from spin_dp.errors import ConfigError
    from spin_dp.model.descriptor import DescrptSpinSeA

    with pytest.raises(ConfigError, match="'spin_dp'"):
        DescrptSpinSeA(rcut=4.0, sel=30)


def test_serialized_model_is_the_model(make_model):
    import torch

    from spin_dp.model.energy import SpinEnergyModel

    built = make_model()
    again = SpinEnergyModel.deserialize(built.serialize()).eval()
    coord = torch.rand(1, 4, 3, dtype=torch.float64) * 3
    inputs = (coord, torch.tensor([[0, 1, 3, 4]]), torch.ones_like(coord), None)
    torch.testing.assert_close(again(*inputs)["energy"], built(*inputs)["energy"])
