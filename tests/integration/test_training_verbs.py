# SPDX-License-Identifier: LGPL-3.0-or-later
"""From collected frames to a tested model: init, train and test on real dp."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spin_dp.cli import main
from spin_dp.data_tools import Rules, collect
from spin_dp.model_file import read_model_info
from spin_dp.training.output import checkpoints

ROOT = Path(__file__).resolve().parents[2]
ERRORS = ["energy_meV_per_atom", "force_meV_per_A", "gap_meV", "order"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("verbs") / "data"
    names = ("LiMnO2_4.extxyz", "LiNiO2_4.extxyz")
    collect(
        [ROOT / "examples" / "gpaw" / name for name in names],
        out,
        type_map=["Li", "Mn", "Co", "Ni", "O"],
        rules=Rules(stationary_moments=True, validation=0.3),
    )
    return out


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model that init and train made."""
    folder = tmp_path_factory.mktemp("run") / "run"
    assert main(["init", str(folder), "--data", str(data), "--steps", "20"]) == 0
    assert main(["train", str(folder)]) == 0
    return folder


def test_init_leaves_what_dp_needs(data, tmp_path, capsys):
    folder = tmp_path / "new"
    assert main(["init", str(folder), "--data", str(data), "--steps", "20"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["input.json", "systems"]
    content = json.loads((folder / "input.json").read_text())
    assert content["model"]["spin"]["use_spin"] == ["Mn", "Ni", "O"]
    training = content["training"]
    assert training["numb_steps"] == 20
    # Systems of many states, so that a batch mixes them.
    manifest = pd.read_csv(data / "manifest.csv").query("split == 'training'")
    systems = training["training_data"]["systems"]
    frames = [len(np.load(folder / s / "set.000" / "energy.npy")) for s in systems]
    assert sum(frames) == len(manifest)
    assert training["training_data"]["sys_probs"] == [n / sum(frames) for n in frames]
    assert 2 * len(systems) <= manifest["key"].nunique()
    assert "validation" in training["validation_data"]["systems"][0]
    text = capsys.readouterr().out
    assert f"spin-dp train {folder}" in text
    assert "without a training frame: Co" in text


def test_training_measures_checkpoints_by_spin_state(data, trained):
    """The last row is what the frozen model has on the validation frames."""
    from spin_dp.evaluation.model_test import run_test

    curve = pd.read_csv(trained / "lcurve_states.csv", keep_default_na=False)
    steps = sorted(set(curve["step"]))
    assert steps[-1] == 20
    assert len(steps) > 1
    manifest = pd.read_csv(data / "manifest.csv").query("split == 'validation'")
    last = curve[curve["step"] == 20]
    assert set(last["key"]) == {"all", *manifest["key"]}
    assert last.query("key == 'all'")["frames"].item() == len(manifest)
    found = run_test(trained / "model.pth", data)
    assert found.split == "validation"
    measured = last[ERRORS].replace("", np.nan).astype(float).to_numpy()
    np.testing.assert_allclose(measured, found.table[ERRORS].to_numpy(), rtol=1e-4)
    assert (trained / "lcurve.png").read_bytes().startswith(b"\x89PNG")
    assert not (trained / ".checkpoints").exists()


def test_errors_are_those_of_the_predictions(data, trained):
    """Energy and force RMSE over all validation frames, from DeepPot directly."""
    from deepmd.infer import DeepPot

    from spin_dp.evaluation.model_test import run_test

    model = DeepPot(str(trained / "model.pth"))
    energies, forces = [], []
    for file in (data / "validation").rglob("type.raw"):
        types = np.loadtxt(file, dtype=int)
        label = {f.stem: np.load(f) for f in (file.parent / "set.000").glob("*.npy")}
        energy, force, *_ = model.eval(
            label["coord"], label["box"], types, spin=label["spin"]
        )
        energies.append((energy.ravel() - label["energy"]) / len(types))
        forces.append(force.ravel() - label["force"].ravel())
    total = run_test(trained / "model.pth", data).table.iloc[0]
    for errors, name in ((energies, ERRORS[0]), (forces, ERRORS[1])):
        rms = 1000 * np.sqrt(np.mean(np.concatenate(errors) ** 2))
        assert total[name] == pytest.approx(rms, rel=1e-6)


def test_the_same_command_leaves_a_finished_training_alone(trained, capsys):
    before = (trained / "model.pth").stat().st_mtime_ns
    rows = (trained / "lcurve_states.csv").read_text()
    assert main(["train", str(trained / "input.json")]) == 0
    assert (trained / "model.pth").stat().st_mtime_ns == before
    assert (trained / "lcurve_states.csv").read_text() == rows
    assert "step 20" in capsys.readouterr().out


def test_verb_test_on_collected_and_on_plain_systems(data, trained, tmp_path, capsys):
    """Mixed-type systems without a manifest: the same totals, no spin states."""
    table, plot = tmp_path / "table.csv", tmp_path / "parity.png"
    model = str(trained / "model.pth")
    arguments = ["-o", str(table), "--plot", str(plot)]
    assert main(["test", "-m", model, str(data), *arguments]) == 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    plain = tmp_path / "plain.csv"
    systems = str(trained / "systems" / "validation")
    assert main(["test", "-m", model, systems, "-o", str(plain)]) == 0
    assert "spin states unknown" in capsys.readouterr().out
    known, unknown = pd.read_csv(table), pd.read_csv(plain)
    assert known["pairs"][0] > 0
    assert unknown["pairs"].tolist() == [0] * 3
    columns = ["frames", *ERRORS[:2]]
    np.testing.assert_allclose(unknown.loc[0, columns], known.loc[0, columns])
    assert set(unknown["formula"]) == {"all", "LiMnO2", "LiNiO2"}


def test_a_spin_blind_twin_orders_nothing(data, tmp_path):
    folder, table = tmp_path / "twin", tmp_path / "table.csv"
    blind = ["--blind", "--steps", "2"]
    assert main(["init", str(folder), "--data", str(data), *blind]) == 0
    assert main(["train", str(folder)]) == 0
    newest = checkpoints(folder)[2]
    assert main(["test", "-m", str(newest), str(data), "-o", str(table)]) == 0
    total = pd.read_csv(table).iloc[0]
    assert total["order"] == 0.0
    # The error of its gaps is the root mean square of the DFT gaps.
    manifest = pd.read_csv(data / "manifest.csv").query("split == 'validation'")
    gaps = [
        a - b
        for _, group in manifest.groupby("geometry")
        for i, (a, k) in enumerate(zip(group["energy"], group["key"], strict=True))
        for b, m in list(zip(group["energy"], group["key"], strict=True))[:i]
        if k != m or abs(a - b) > 0.001
    ]
    assert total["pairs"] == len(gaps)
    rms = 1000 * np.sqrt(np.mean(np.square(gaps)))
    assert total["gap_meV"] == pytest.approx(rms, rel=1e-4)


def test_fine_tuning_by_the_verbs(data, trained, tmp_path):
    folder, source = tmp_path / "tuned", checkpoints(trained)[20]
    like = ["--like", str(source), "--steps", "2", "--size", "large"]
    assert main(["init", str(folder), "--data", str(data), *like]) == 0
    assert main(["train", str(folder), "--finetune", str(source)]) == 0
    assert "--finetune" not in (folder / "input.json").read_text()
    assert "Resuming from" in (folder / "train.log").read_text()
    made, old = (
        json.loads((path / "input.json").read_text())["model"]
        for path in (folder, trained)
    )
    assert made["descriptor"]["neuron"] == old["descriptor"]["neuron"]
    assert made["fitting_net"]["neuron"] == old["fitting_net"]["neuron"]
    assert read_model_info(folder / "model.pth").spin_elements == ["Mn", "Ni", "O"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["init", "{new}", "--data", "{new}"], "expected deepmd systems"),
        (["init", "{run}", "--data", "{data}"], "input.json exists; give --force"),
        (
            ["init", "{new}", "--data", "{data}", "--magnetic", "Mn,Fe"],
            "unknown element in --magnetic 'Fe'; known: Co, Li",
        ),
        (
            ["init", "{new}", "--data", "{data}", "--min-moment", "9"],
            "no element has a moment above 9 μB",
        ),
        (
            ["init", "{new}", "--data", "{data}", "--batch-size", "many"],
            "batch size: expected a number of frames",
        ),
        (
            ["init", "{new}", "--data", "{data}", "--level", "PBE"],
            "unknown level of theory",
        ),
        (
            ["init", "{new}", "--data", "{data}", "--like", "{run}/input.json"],
            "expected a checkpoint of dp --pt train",
        ),
        (
            ["init", "{new}", "--data", "{data}", "--blind", "--like", "{ckpt}"],
            "a spin-aware model, asked for a spin-blind one",
        ),
        (["train", "{new}"], "no such input; write one with spin-dp init"),
        (["train", "{run}", "--finetune", "{ckpt}"], "go on .*--continue.*--fresh"),
        (["train", "{run}", "--data", "{new}"], "found no manifest.csv"),
        (["test", "-m", "{run}/none.pth", "{data}"], "no such model file"),
        (["test", "-m", "{ckpt}", "{new}"], "expected deepmd systems"),
    ],
)
def test_what_is_wrong_is_said(trained, data, tmp_path, capsys, arguments, message):
    places = {
        "{new}": str(tmp_path / "new"),
        "{run}": str(trained),
        "{data}": str(data),
        "{ckpt}": str(trained / "model.ckpt-20.pt"),
    }
    for name, place in places.items():
        arguments = [word.replace(name, place) for word in arguments]
    assert main(arguments) == 1
    text = capsys.readouterr().err
    assert len(text.splitlines()) == 1
    assert re.search(message, text), text
    assert not (tmp_path / "new" / "input.json").exists()
