# SPDX-License-Identifier: LGPL-3.0-or-later
"""Shipped models: names, files, record and card, and where a name may stand."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
import pytest
from ase import Atoms

from examples.base_model.build import BaseModelSettings, Build, write_record
from examples.base_model.card import render
from examples.base_model.frames import collect_unseen, origins
from spin_dp import SpinDP, SpinDPCalculator, pretrained
from spin_dp.cli.app import main
from spin_dp.deployment import cache, fast_models
from spin_dp.errors import BackendError, ConfigError, DataError, OutsideTrainingData

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
NAME = "lixmo2"
MOST_BYTES = 4_000_000
NEAR_THE_LIMIT = "ignore::spin_dp.errors.OutsideTrainingData"
"""Of one held-out frame in twenty the ensemble warns."""


@pytest.fixture
def toy(
    predicting_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> pretrained.ShippedModel:
    """Return a shipped ensemble of two models with random weights."""
    folder = tmp_path / "shipped" / "toy"
    folder.mkdir(parents=True)
    for number in (1, 2):
        shutil.copy(predicting_model, folder / f"toy-{number}.pth")
    (folder / pretrained.RECORD).write_text("{}")
    monkeypatch.setattr(pretrained, "_FOLDER", folder.parent)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return pretrained.find_model("toy")


# ---- names ----------------------------------------------------------------------


def test_a_name_stands_for_its_ensemble() -> None:
    assert NAME in pretrained.names()
    files = pretrained.resolve(NAME)
    count = len(pretrained.find_model(NAME).record["made"]["seeds"])
    assert count > 1
    assert [file.name for file in files] == [
        f"{NAME}-{n + 1}.pth" for n in range(count)
    ]
    assert len({file.read_bytes() for file in files}) == count
    assert pretrained.resolve_all([Path(NAME), "a.pth"]) == [*files, Path("a.pth")]


def test_a_file_of_that_name_is_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir()  # the output folder of a run, say
    assert len(pretrained.resolve(NAME)) > 1
    (tmp_path / NAME).rmdir()
    (tmp_path / NAME).touch()
    assert pretrained.resolve(NAME) == (Path(NAME),)
    assert not pretrained.is_shipped(NAME)


@pytest.mark.parametrize(
    ("word", "hint"),
    [("lixmo", "did you mean 'lixmo2'"), ("model", "shipped: lixmo2")],
)
def test_unknown_words(word: str, hint: str) -> None:
    with pytest.raises(DataError, match=rf"{word}: no such file, .*; {hint}"):
        pretrained.resolve(word)
    with pytest.raises(ConfigError, match="unknown shipped model"):
        pretrained.find_model(word)


@pytest.mark.parametrize("path", ["model.pth", "run/model", "run/lixmo2"])
def test_paths_are_left_to_who_opens_them(path: str) -> None:
    assert pretrained.resolve(path) == (Path(path),)
    with pytest.raises(DataError, match="no such model file; write one with"):
        SpinDP(path)


def test_names_need_no_torch() -> None:
    code = (
        "import sys; from spin_dp.pretrained import find_model; "
        f"find_model('{NAME}').states; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


# ---- what ships -----------------------------------------------------------------


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return dict(pretrained.find_model(NAME).record)


def test_the_card_is_that_of_the_record(record: dict[str, Any]) -> None:
    assert pretrained.card(NAME) == render(record)


def test_the_record_is_that_of_the_files(record: dict[str, Any]) -> None:
    files = pretrained.resolve(NAME)
    for file, entry in zip(files, record["models"], strict=True):
        assert entry["file"] == file.name
        assert entry["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    data = record["data"]
    text = "\n".join(
        f"{digest}  {name}" for name, digest in sorted(data["files"].items())
    )
    assert data["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    for count in ("frames", "held_out_frames", "geometries"):
        assert data[count] == sum(family[count] for family in data["families"])
    assert len(data["held_out"]) == data["held_out_geometries"]
    assert not set(data["held_out"]) & set(data["trained"])
    assert len(data["held_out"]) + len(data["trained"]) == data["geometries"]
    held_out = data["held_out_frames"]
    for table in ("kind", "family", "state"):
        assert held_out == sum(row["frames"] for row in record["errors"][table])
    assert {row["frames"] for row in record["models"]} == {held_out}


def test_numbers_of_the_card(record: dict[str, Any]) -> None:
    """Read off the page, so that a slip of units in the rendering shows."""
    card = pretrained.card(NAME)
    found = re.search(r"geometries: ([\d.]+) meV/atom, (\d+) meV/Å, (\d+) meV", card)
    assert found
    errors = record["errors"]["all"]
    for text, key in zip(found.groups(), ("energy", "force", "gap"), strict=True):
        assert float(text) == pytest.approx(errors[key], abs=0.5)
    for state in record["states"]:
        assert f"| {state['name']} | {state['moment']:.2f} |" in card
    assert "CC-BY-4.0" in card
    assert record["data"]["sha256"] in card


def test_sizes_and_no_path_of_the_machine() -> None:
    files = pretrained.resolve(NAME)
    assert sum(file.stat().st_size for file in files) < MOST_BYTES
    source = str(ROOT).encode()
    assert not [file for file in files if source in file.read_bytes()]
    assert not [file for file in files if b"debug_pkl" in file.read_bytes()]


@pytest.mark.filterwarnings(NEAR_THE_LIMIT)
def test_the_first_model_answers(record: dict[str, Any]) -> None:
    model = SpinDP(NAME)
    assert model.info.path == pretrained.resolve(NAME)[0]
    assert model.states.records() == record["states"]
    assert model.spin_elements == record["spin_elements"]
    frame = ase.io.read(ROOT / "examples" / "gpaw" / "LiMnO2_8.extxyz", 0)
    high, low = (
        model.evaluate(frame, f"Mn=3+{spin}", order="FM").energy
        for spin in ("HS", "LS")
    )
    assert high < low  # Hund's rule; DFT has 0.3 eV between them
    energy = model.evaluate(frame).energy  # in the state that DFT found
    reference = frame.calc.results["free_energy"]
    assert energy == pytest.approx(reference, abs=0.1 * len(frame))
    atoms = frame.copy()
    atoms.calc = SpinDPCalculator(NAME, moments="Mn=3+HS", order="FM")
    assert atoms.get_potential_energy() == pytest.approx(float(high), abs=1e-8)


@pytest.mark.filterwarnings(NEAR_THE_LIMIT)
def test_the_ensemble_is_calibrated() -> None:
    """The factors that ship are those of the models that ship."""
    atoms = ase.io.read(ROOT / "examples" / "gpaw" / "LiMnO2_8.extxyz", 0)
    found = SpinDP(NAME).uncertainty(atoms, "Mn=3+HS", order="FM")
    assert found.calibration is not None, found.why
    assert found.energy_spread > 0.0


def test_telling_models_apart_warns_of_nothing() -> None:
    """It asks for a cluster that is no structure; what is said once is still to say."""
    model = SpinDP(NAME)
    assert model.info.fewest
    assert model.ensemble is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        energies = model.ensemble.probe_energies()
    assert np.ptp(energies) > 0.001
    pair = Atoms("NiO", [[0.0, 0.0, 0.0], [0.0, 0.0, 1.9]])
    with pytest.warns(OutsideTrainingData, match="neighbours within"):
        model.evaluate(pair, "Ni=2+")


# ---- forms kept on the machine --------------------------------------------------


def test_a_fast_form_is_made_once(
    toy: pretrained.ShippedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where several ask at the same time."""
    made: list[Path] = []

    def compile_slowly(model: Path, target: Path) -> Path:
        made.append(model)
        target.write_text("compiled")
        return target

    monkeypatch.setattr(cache, "compile_model", compile_slowly)
    monkeypatch.setattr(cache, "cores", lambda: 1)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(fast_models, [["toy"]] * 4))
    assert sorted(made) == list(toy.files)
    assert all(answer == answers[0] for answer in answers)
    assert [file.suffix for file in answers[0]] == [".pt2", ".pt2"]
    toy.files[0].write_bytes(toy.files[0].read_bytes() + b" ")  # another model
    assert fast_models(["toy"])[0] != answers[0][0]
    assert fast_models(["toy"])[1] == answers[0][1]
    assert fast_models(["toy"], 1) == fast_models(["toy"])[:1]
    assert fast_models(["a.pth"]) == [Path("a.pth")]


@pytest.mark.parametrize("error", [ConfigError, BackendError])
def test_without_a_compiler_models_are_compressed(
    toy: pretrained.ShippedModel,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    tried: list[Path] = []

    def fail(model: Path, _: Path) -> Path:
        tried.append(model)
        raise error("no such thing\nat all")

    monkeypatch.setattr(cache, "compile_model", fail)
    monkeypatch.setattr(cache, "cores", lambda: 1)
    files = fast_models(["toy"])
    assert files == fast_models(["toy"])
    assert all(file.name.endswith(".compressed.pth") for file in files)
    # A missing compiler may be installed meanwhile; one that fails costs a minute.
    assert len(tried) == (4 if error is ConfigError else 2)
    assert len(list((tmp_path / "cache").glob("*.failed"))) == 2 * (
        error is BackendError
    )
    atoms = ase.io.read(ROOT / "examples" / "gpaw" / "LiMnO2_4.extxyz")
    energies = [
        SpinDP(file).evaluate(atoms, "Mn=3+HS").energy for file in (files[0], "toy")
    ]
    np.testing.assert_allclose(energies[0], energies[1], rtol=1e-5)


def test_where_there_are_cores_other_processes_help(
    toy: pretrained.ShippedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second model is made while this process is at the first one."""
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    monkeypatch.setattr(cache, "cores", lambda: 2)
    folder = tmp_path / "cache"

    def wait(model: Path, target: Path) -> Path:
        if model == toy.files[0]:
            deadline = time.monotonic() + 100.0
            while not list(folder.glob(f"{toy.files[1].stem}-*.pth")):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            target.write_text("compiled")
            return target
        raise ConfigError("no compiler here, either")

    def refuse(model: Path, _: Path) -> Path:
        raise AssertionError(model)

    monkeypatch.setattr(cache, "compile_model", wait)
    monkeypatch.setattr(cache, "compress", refuse)
    first, second = fast_models(["toy"])
    assert first.suffix == ".pt2"
    assert second.name.endswith(".compressed.pth")
    assert SpinDP(second).type_map == SpinDP(toy.files[1]).type_map


@pytest.mark.parametrize("place", ["off", "file/below"])
def test_without_a_cache_models_run_as_they_ship(
    toy: pretrained.ShippedModel,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(cache.VARIABLE, place)
    caplog.set_level("INFO")
    assert fast_models(["toy"]) == list(toy.files)
    assert "run as they ship, some twenty times slower" in caplog.text
    assert not (tmp_path / "cache").exists()


def test_places_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "spin-dp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / ".cache" / "spin-dp"


# ---- on the command line --------------------------------------------------------


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert NAME in text
    assert "Mn3+HS" in text
    assert f"card: {pretrained.find_model(NAME).card}" in text.replace("\n", "")
    assert main(["models", NAME]) == 0
    assert "Where it must not be used" in capsys.readouterr().out
    assert main(["models", "lixmo"]) == 1
    assert "did you mean 'lixmo2'" in capsys.readouterr().err


def test_verbs_take_the_name(
    toy: pretrained.ShippedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    frames = str(ROOT / "examples" / "gpaw" / "LiMnO2_4.extxyz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert main(["states", frames, "-m", "toy", "--states", "Mn=3+HS,3+LS"]) == 0
    assert main(["compress", "toy"]) == 0
    assert (tmp_path / "toy-1.compressed.pth").is_file()  # not into the package
    assert len(list(toy.files[0].parent.iterdir())) == 3
    md = ["md", frames, "-m", "toy", "--labels", "Mn=3+HS", "--dry-run"]
    assert main(md) == 0
    deck = (tmp_path / "md" / "in.lammps").read_text()
    assert all(str(file) in deck for file in toy.files)
    capsys.readouterr()
    assert main(["states", frames, "-m", "tooy"]) == 1
    assert "tooy: no such file, and no model of that name" in capsys.readouterr().err


def test_fine_tuning_starts_from_the_name(
    toy: pretrained.ShippedModel,
    collected: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    run_quickly: Callable[[Path], None],
) -> None:
    """The folder remembers its parent, wherever it is moved, and starts as good."""
    folder = tmp_path / "tuned"
    arguments = ["init", str(folder), "--data", str(collected), "--steps", "1"]
    assert main([*arguments, "--like", "toy"]) == 0
    assert "the training starts from toy" in capsys.readouterr().out
    moved = folder.rename(tmp_path / "moved")
    run_quickly(moved)
    assert main(["train", str(moved)]) == 0
    atoms = ase.io.read(ROOT / "examples" / "gpaw" / "LiMnO2_4.extxyz")
    old, new = (
        model.evaluate(atoms, moments).forces
        for model in (SpinDP("toy"), SpinDP(moved / "model.pth"))
        for moments in ["Mn=3.7"]
    )
    assert np.abs(old).max() > 1e-3
    np.testing.assert_allclose(new, old, atol=1e-6)
    assert main(["train", str(moved)]) == 0  # done already


@pytest.fixture
def run_quickly() -> Callable[[Path], None]:
    """Return what makes the learning rate of an input so small that nothing moves."""

    def change(folder: Path) -> None:
        path = folder / "input.json"
        content = json.loads(path.read_text())
        content["learning_rate"] |= {"start_lr": 1e-12, "stop_lr": 1e-13}
        path.write_text(json.dumps(content))

    return change


def test_a_lost_parent_is_said(
    toy: pretrained.ShippedModel,
    collected: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "tuned"
    like = ["--data", str(collected), "--like", str(toy.files[1])]
    assert main(["init", str(folder), *like]) == 0
    (folder / "parent.pt").unlink()
    capsys.readouterr()
    assert main(["train", str(folder)]) == 1
    text = capsys.readouterr().err
    assert "parent.pt: no such checkpoint, from which input.json says" in text
    compressed = tmp_path / "small.pth"
    assert main(["compress", str(toy.files[0]), "-o", str(compressed)]) == 0
    capsys.readouterr()
    like[-1] = str(compressed)
    assert main(["init", str(tmp_path / "other"), *like]) == 1
    assert "compressed, which cannot be trained on" in capsys.readouterr().err
    assert not (tmp_path / "other" / "input.json").exists()


def test_what_the_shipped_model_has_not_seen_is_held_out(
    record: dict[str, Any], tmp_path: Path
) -> None:
    """Frames that came after the training, too."""
    source = tmp_path / "gpaw"
    source.mkdir()
    names = ("LiCoO2_4", "layersCoO2")
    for name in names:
        shutil.copy(ROOT / "examples" / "gpaw" / f"{name}.extxyz", source)
    trained = set(record["data"]["trained"])
    collect_unseen([source], tmp_path / "data")
    table = origins(tmp_path / "data")
    expected = {
        name: "training" if name in trained else "validation" for name in table["name"]
    }
    assert dict(zip(table["name"], table["split"], strict=True)) == expected
    assert set(table["split"]) == {"training", "validation"}


def test_what_was_held_out_stays_so(record: dict[str, Any], tmp_path: Path) -> None:
    source = ROOT / "examples" / "gpaw"
    target = tmp_path / "lixmo2"
    build = Build([source], tmp_path / "work", target, BaseModelSettings())
    assert build.held_out_before() == []
    target.mkdir()
    write_record(target, record)
    assert build.held_out_before() == record["data"]["held_out"]
