# SPDX-License-Identifier: LGPL-3.0-or-later
"""Inputs that dp accepts, and runs that are followed, resumed and explained.

``dp`` is played by a small script here: it writes what dp writes. The real one is
run by the integration tests.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from spin_dp import training
from spin_dp.errors import BackendError, ConfigError, DataError
from spin_dp.training import program, run
from spin_dp.training.dp_input import TrainingSettings, write_input

if TYPE_CHECKING:
    from pathlib import Path

TYPE_MAP = ["Li", "O", "Mn"]

FAKE_DP = """
import json, sys, zipfile
command, *rest = sys.argv[1:]
if command == "freeze":
    open(rest[rest.index("-o") + 1], "w").write(rest[rest.index("-c") + 1])
    sys.exit()
model, *rest = rest
total = json.load(open(rest[0]))["training"]["numb_steps"]
first = 0
if "--restart" in rest:
    first = int(rest[rest.index("--restart") + 1].split("-")[1].split(".")[0])
print("began at", first, flush=True)
if "--finetune" in rest:
    print("from", rest[rest.index("--finetune") + 1], flush=True)
with open("lcurve.out", "a" if first else "w") as curve:
    curve.write("#  step  rmse_val  rmse_e_val  lr\\n")
    curve.write("# If there is no available reference data\\n")
    for step in range(first + 1, total + 1):
        curve.write(f"{step} {2.0 / step} {1.0 / step} 1e-3\\n")
        with zipfile.ZipFile(f"model.ckpt-{step}.pt", "w") as archive:
            archive.writestr("data", "x")
        if "crash" in open(rest[0]).read() and step == 3 and not first:
            print("INFO fine so far")
            print("RuntimeError: no more memory")
            sys.exit(1)
open(model, "w").write(f"model.ckpt-{total}.pt")
"""


def write_system(folder: Path, frames: int) -> None:
    (folder / "set.000").mkdir(parents=True)
    (folder / "type.raw").write_text("0\n1\n1\n2\n")
    (folder / "type_map.raw").write_text("\n".join(TYPE_MAP))
    np.save(folder / "set.000" / "coord.npy", np.zeros((frames, 12)))
    np.save(
        folder / "set.000" / "box.npy", np.tile(8.0 * np.eye(3).ravel(), (frames, 1))
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_system(tmp_path / "data" / "training" / "LiMnO2" / "HS", 3)
    write_system(tmp_path / "data" / "training" / "LiMnO2" / "LS", 1)
    write_system(tmp_path / "data" / "validation" / "LiMnO2" / "HS", 2)
    return tmp_path / "data"


@pytest.fixture
def fake_dp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "dp.py"
    script.write_text(FAKE_DP)
    command = [sys.executable, str(script)]
    monkeypatch.setattr(program, "dp_command", lambda *_: command)
    monkeypatch.setattr(
        program, "train_command", lambda *words: [*command, "train", *words]
    )
    monkeypatch.setattr(run, "_POLL_SECONDS", 0.01)


def make_input(
    folder: Path, data: Path, spin: list[str], steps: int = 5, **settings: Any
) -> Path:
    return write_input(
        folder / "input.json",
        type_map=TYPE_MAP,
        training=data / "training",
        validation=data / "validation",
        spin_elements=spin,
        settings=TrainingSettings(steps=steps, **settings),
    )


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def test_systems_weigh_by_their_frames(tmp_path: Path, data: Path) -> None:
    path = make_input(tmp_path / "run", data, ["Mn"])
    section = read(path)["training"]["training_data"]
    assert section["sys_probs"] == [0.75, 0.25]
    found = [(path.parent / name).resolve() for name in section["systems"]]
    assert found == [data / "training/LiMnO2/HS", data / "training/LiMnO2/LS"]


@pytest.mark.parametrize("spin", [["Mn"], []])
def test_small_data_stay_in_memory(tmp_path: Path, data: Path, spin: list[str]) -> None:
    """Training and validation frames count, six here."""
    for most in (6, 5):
        path = make_input(tmp_path, data, spin, in_memory=most)
        expected = {"type": "frames_in_memory"} if most == 6 else None
        assert read(path)["model"].get("modifier") == expected


def test_moments_are_predicted_where_there_is_a_guess(
    tmp_path: Path, data: Path
) -> None:
    """All systems must have one: the loss reads none for some of them."""
    folders = [file.parent for file in (data / "training").rglob("coord.npy")]
    for number, folder in enumerate(folders):
        before = read(make_input(tmp_path / str(number), data, ["Mn"]))
        assert "moment_net" not in before["model"]
        assert before["loss"]["type"] == "ener_spin"
        coord = np.load(folder / "coord.npy")
        np.save(folder / "initial_spin.npy", np.zeros_like(coord))
    aware = read(make_input(tmp_path / "a", data, ["Mn"]))
    assert aware["model"]["moment_net"] == {"neuron": [32], "seed": 1}
    assert aware["loss"]["type"] == "spin_dp"
    assert aware["loss"]["start_pref_m"] == 1.0
    blind = read(make_input(tmp_path / "b", data, []))
    assert "moment_net" not in blind["model"]
    assert blind["loss"]["type"] == "ener"


def test_twins_differ_in_the_spin_only(tmp_path: Path, data: Path) -> None:
    aware = read(make_input(tmp_path / "a", data, ["Mn"]))
    blind = read(make_input(tmp_path / "b", data, []))
    assert aware["training"] == blind["training"]
    assert aware["learning_rate"] == blind["learning_rate"]
    assert aware["model"]["fitting_net"] == blind["model"]["fitting_net"]
    mine, twin = aware["model"]["descriptor"], blind["model"]["descriptor"]
    only_spin = {"pair_neuron", "spin_neuron", "spin_axis_neuron"}
    only_spin |= {"quad_neuron", "quad_axis_neuron"}
    assert set(mine) - set(twin) == only_spin
    assert set(twin) - set(mine) == {"attn_layer", "tebd_input_mode"}
    assert {k: v for k, v in mine.items() if k != "type" and k in twin} == {
        k: v for k, v in twin.items() if k != "type" and k in mine
    }
    for name in ("e", "v"):
        prefactors = f"start_pref_{name}", f"limit_pref_{name}"
        assert [aware["loss"][p] for p in prefactors] == [
            blind["loss"][p] for p in prefactors
        ]
    assert aware["loss"]["start_pref_fr"] == blind["loss"]["start_pref_f"]


def test_a_folder_without_systems_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    with pytest.raises(DataError, match=r"training: expected deepmd systems"):
        make_input(tmp_path / "run", tmp_path, [])
    assert not (tmp_path / "run" / "input.json").exists()


def test_spin_elements_must_be_known(tmp_path: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match="Fe are not in the type map"):
        make_input(tmp_path / "run", data, ["Fe"])


@pytest.mark.usefixtures("fake_dp")
def test_training_reports_and_freezes(tmp_path: Path, data: Path) -> None:
    seen: list[tuple[str, int, int, dict[str, float]]] = []
    path = make_input(tmp_path / "run", data, ["Mn"])
    model = training.train(path, progress=lambda *what: seen.append(what))
    assert model == tmp_path / "run" / "model.pth"
    assert model.read_text().endswith("model.ckpt-5.pt")
    name, step, total, errors = seen[-1]
    assert (name, step, total) == ("run", 5, 5)
    assert errors["rmse_e_val"] == pytest.approx(0.2)


@pytest.mark.usefixtures("fake_dp")
def test_a_finished_run_is_left_alone(tmp_path: Path, data: Path) -> None:
    path = make_input(tmp_path / "run", data, ["Mn"])
    training.train(path)
    training.train(path)
    assert (path.parent / "train.log").read_text().count("began") == 1
    training.train(path, resume=False)
    assert (path.parent / "train.log").read_text() == "began at 0\n"


@pytest.mark.usefixtures("fake_dp")
def test_a_model_that_is_missing_is_frozen_anew(tmp_path: Path, data: Path) -> None:
    path = make_input(tmp_path / "run", data, ["Mn"])
    model = training.train(path)
    for spoil in (model.unlink, lambda: os.utime(model, (0, 0))):
        spoil()
        assert training.train(path) == model
        assert model.read_text() == str(path.parent / "model.ckpt-5.pt")
    assert (path.parent / "train.log").read_text().count("began") == 1


@pytest.mark.usefixtures("fake_dp")
def test_an_interrupted_run_goes_on(tmp_path: Path, data: Path) -> None:
    path = make_input(tmp_path / "run", data, ["Mn"])
    path.write_text(path.read_text().replace('"seed"', '"comment": "crash", "seed"', 1))
    with pytest.raises(BackendError, match=r"status 1[\s\S]*no more memory"):
        training.train(path)
    (path.parent / "model.ckpt-4.pt").write_bytes(b"PK half a checkpoint")
    training.train(path)
    log = (path.parent / "train.log").read_text()
    assert [line for line in log.splitlines() if "began" in line] == [
        "began at 0",
        "began at 3",
    ]
    curve = training.read_learning_curve(path.parent / "lcurve.out")
    assert curve["step"].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("fake_dp")
def test_another_input_starts_over_only_on_request(tmp_path: Path, data: Path) -> None:
    """Then checkpoints go, and nothing else that lies there."""
    folder = tmp_path / "run"
    path = make_input(folder, data, ["Mn"], steps=5)
    training.train(path)
    others = ("model-compressed.pth", "model.pt2", "model_old.pt", "model.ckpt-best.pt")
    for name in others:
        (folder / name).write_text(name)
    make_input(folder, data, ["Mn"], steps=4)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    message = r"run: model\.ckpt-5\.pt was not started from this input\.json; .*--fresh"
    for call in (training.train, lambda p: training.train_together({"a": p})):
        with pytest.raises(ConfigError, match=message):
            call(path)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    model = training.train(path, resume=False)
    assert model.read_text().endswith("model.ckpt-4.pt")
    assert (folder / "train.log").read_text() == "began at 0\n"
    assert not (folder / "model.ckpt-5.pt").exists()
    assert all((folder / name).read_text() == name for name in others)


@pytest.mark.usefixtures("fake_dp")
def test_one_refused_input_starts_none(tmp_path: Path, data: Path) -> None:
    first, second = (make_input(tmp_path / n, data, ["Mn"]) for n in ("a", "b"))
    training.train(second)
    make_input(tmp_path / "b", data, ["Mn"], steps=7)
    with pytest.raises(ConfigError, match="b: model"):
        training.train_together({"first": first, "second": second})
    assert not (tmp_path / "a" / "train.log").exists()


@pytest.mark.usefixtures("fake_dp")
def test_going_on_with_another_input_is_asked_for(tmp_path: Path, data: Path) -> None:
    path = make_input(tmp_path / "run", data, ["Mn"], steps=5)
    training.train(path)
    make_input(tmp_path / "run", data, ["Mn"], steps=7)
    training.train(path, accept_changes=True)
    training.train(path)  # now it is the input of these checkpoints
    began = (path.parent / "train.log").read_text().splitlines()
    assert began == ["began at 0", "began at 5"]


@pytest.mark.usefixtures("fake_dp")
def test_starting_over_keeps_the_checkpoint_to_start_from(
    tmp_path: Path, data: Path
) -> None:
    path = make_input(tmp_path / "run", data, ["Mn"])
    training.train(path)
    source = path.parent / "model.ckpt-5.pt"
    with pytest.raises(ConfigError, match="copy it to another folder"):
        training.train(path, finetune=source, resume=False)
    assert source.exists()


@pytest.mark.usefixtures("fake_dp")
def test_fine_tuning_starts_once(tmp_path: Path, data: Path) -> None:
    """From the given model at first, from the own checkpoint after a stop."""
    path = make_input(tmp_path / "run", data, ["Mn"])
    path.write_text(path.read_text().replace('"seed"', '"comment": "crash", "seed"', 1))
    source = tmp_path / "old.pt"
    with pytest.raises(BackendError):
        training.train(path, finetune=source)
    with pytest.raises(ConfigError, match="not started from this"):
        training.train(path)
    training.train(path, finetune=source)
    log = (path.parent / "train.log").read_text().splitlines()
    assert [line for line in log if line.startswith(("began", "from"))] == [
        "began at 0",
        f"from {source}",
        "began at 3",
    ]


@pytest.mark.usefixtures("fake_dp")
def test_twins_train_together(tmp_path: Path, data: Path) -> None:
    inputs = {
        "aware": make_input(tmp_path / "a", data, ["Mn"]),
        "blind": make_input(tmp_path / "b", data, []),
    }
    models = training.train_together(inputs)
    assert {name: path.parent.name for name, path in models.items()} == {
        "aware": "a",
        "blind": "b",
    }
    assert all(path.is_file() for path in models.values())


def test_learning_curve_of_a_running_training(tmp_path: Path) -> None:
    path = tmp_path / "lcurve.out"
    assert training.read_learning_curve(path).empty
    header = "#  step      rmse_val    rmse_trn   lr      \n"
    note = "# If there is no available reference data, rmse_*_{val,trn} prints nan\n"
    rows = "      1      2.0    1.0    1e-3\n    100      nan    0.5    5e-4\n"
    # A restart at step 50 prints the header again and repeats step 100.
    again = "    100      0.7    0.4    5e-4\n    200      0.6"
    path.write_text(header + note + rows + header + again)
    curve = training.read_learning_curve(path)
    assert curve["step"].tolist() == [1, 100]
    assert curve["rmse_val"].tolist() == [2.0, 0.7]
