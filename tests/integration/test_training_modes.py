# SPDX-License-Identifier: LGPL-3.0-or-later
"""Training as people do it with ``dp --pt``: restart, fine-tune, bias, ranks, data."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spin_dp.data_tools import Rules, collect, merge_systems
from spin_dp.training.program import environment

ROOT = Path(__file__).resolve().parents[2]
TYPE_MAP = ["Li", "Mn", "Ni", "O"]
METALS = ["Mn", "Ni"]
CORE = "model.Default.atomic_model.descriptor.core."


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return LiMnO2 and LiNiO2 in a few spin states, in the types Li, Mn, Ni, O."""
    out = tmp_path_factory.mktemp("modes") / "data"
    names = ("LiMnO2_4.extxyz", "LiNiO2_4.extxyz")
    sources = [ROOT / "examples" / "gpaw" / name for name in names]
    collect(sources, out, type_map=TYPE_MAP, rules=Rules(stationary_moments=True))
    return out / "training"


@pytest.fixture(scope="module")
def trained(dp, tiny_input, data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model of LiMnO2 alone that knows no Ni."""
    folder = tmp_path_factory.mktemp("pretrained")
    systems = shutil.copytree(data / "LiMnO2", folder / "systems")
    for file in systems.rglob("type_map.raw"):
        file.write_text("Li\nMn\nO\n")
    for file in systems.rglob("type.raw"):
        file.write_text(file.read_text().replace("3", "2"))
    tiny_input(folder, systems, 4, type_map=["Li", "Mn", "O"], use_spin=["Mn"])
    dp(folder, "train", "input.json")
    return folder


def weights(checkpoint: Path) -> dict[str, Any]:
    import torch

    return dict(torch.load(checkpoint, weights_only=True)["model"])


def set_learning_rate(input_json: Path, rate: float) -> None:
    content = json.loads(input_json.read_text())
    content["learning_rate"] = {"type": "exp", "start_lr": rate, "stop_lr": rate}
    input_json.write_text(json.dumps(content))


def curve(folder: Path) -> np.ndarray:
    return np.genfromtxt(folder / "lcurve.out", ndmin=2)


def predict(checkpoint: Path, system: Path) -> list[np.ndarray]:
    """Return energy, force, virial and magnetic force in the system's order."""
    from deepmd.infer import DeepPot

    model = DeepPot(str(checkpoint))
    names = (system / "type_map.raw").read_text().split()
    symbols = [names[int(n)] for n in (system / "type.raw").read_text().split()]
    frames = {file.stem: np.load(file) for file in (system / "set.000").glob("*.npy")}
    types = [model.get_type_map().index(symbol) for symbol in symbols]
    result = model.eval(frames["coord"], frames["box"], types, spin=frames["spin"])
    return list(result[:4])


def smallest_system(data: Path, formula: str, state: str) -> Path:
    return next(
        p.parent
        for p in sorted(data.rglob("type.raw"))
        if formula in p.parts and state in p.parent.name
    )


# ---- frames in memory -----------------------------------------------------------


def test_frames_in_memory_train_the_same(dp, tiny_input, data, tmp_path):
    """Frames are read once, before the first step; the training is bit for bit that
    of frames read from their files, and the frozen model knows nothing of it."""
    system = smallest_system(data, "LiMnO2", "Mn3+HS")
    folders = tmp_path / "memory", tmp_path / "files"
    for folder in folders:
        kept = {"modifier": {"type": "frames_in_memory"}}
        extra = kept if folder.name == "memory" else {}
        tiny_input(folder, system, 6, **extra)
        dp(folder, "train", "input.json")
        dp(folder, "freeze", "-o", "frozen.pth")
    memory, files = folders
    np.testing.assert_array_equal(curve(memory)[:, :-1], curve(files)[:, :-1])
    assert len(np.unique(curve(memory)[:, 1])) > 1
    kept, read = (weights(folder / "model.ckpt-6.pt") for folder in folders)
    for key, value in read.items():
        if key != "_extra_state":
            np.testing.assert_array_equal(kept[key], value, err_msg=key)
    with zipfile.ZipFile(memory / "frozen.pth") as archive:
        stored = [name for name in archive.namelist() if "modifier" in name]
        assert all(archive.read(name) == b"" for name in stored)


def test_frames_in_memory_are_not_read_again(data, tmp_path):
    from deepmd.pt.utils.dataset import DeepmdDataSetForLoader

    from spin_dp.model.memory import FramesInMemory

    system = smallest_system(data, "LiMnO2", "Mn3+HS")
    coord = np.load(system / "set.000" / "coord.npy")
    own = shutil.copytree(system, tmp_path / "system")
    frames = DeepmdDataSetForLoader(str(own), TYPE_MAP, FramesInMemory())
    frames.preload_and_modify_all_data_torch()
    shutil.rmtree(own)
    for number, expected in enumerate(coord):
        np.testing.assert_array_equal(frames[number]["coord"].flatten(), expected)


# ---- restart --------------------------------------------------------------------


def test_restart_equals_an_undisturbed_run(dp, tiny_input, data, tmp_path):
    """Weights, optimiser and step count go on where they were.

    deepmd-kit runs the step of the checkpoint once more, so the broken run is one
    step ahead; with one learning rate that is all. All frames are in each batch
    because it does not store where it was in the data.
    """
    system = smallest_system(data, "LiMnO2", "Mn3+HS")
    n_frames = len(np.load(system / "set.000" / "energy.npy"))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    training = {
        "training_data": {"systems": str(system), "batch_size": n_frames},
        "save_freq": 1,
    }
    for folder, steps in ((whole, 7), (broken, 6)):
        path = tiny_input(folder, system, steps, training=training)
        set_learning_rate(path, 1e-3)
    dp(whole, "train", "input.json")
    shutil.copy(whole / "model.ckpt-4.pt", broken)
    dp(broken, "train", "input.json", "--restart", "model.ckpt-4.pt")
    assert curve(broken)[:, 0].tolist() == [4, 5, 6]
    errors = curve(broken)[:, 1:-1]
    np.testing.assert_allclose(errors, curve(whole)[-3:, 1:-1], rtol=1e-6)
    again, once = (
        weights(broken / "model.ckpt-6.pt"),
        weights(whole / "model.ckpt-7.pt"),
    )
    name = CORE + "tebd"
    assert (once[name] - weights(whole / "model.ckpt-4.pt")[name]).abs().max() > 1e-4
    for key, value in once.items():
        if key != "_extra_state":
            np.testing.assert_allclose(again[key], value, atol=1e-10, err_msg=key)


# ---- fine-tuning ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_map", "use_spin"),
    [
        (["Li", "Mn", "O"], ["Mn"]),
        (["O", "Ni", "Mn", "Fe", "Li"], ["Ni", "Mn", "Fe"]),
    ],
)
def test_fine_tuning_starts_from_the_pretrained_model(
    dp, tiny_input, trained, tmp_path, type_map, use_spin
):
    """The energy bias is fitted anew, so the forces are compared."""
    path = tiny_input(
        tmp_path,
        trained / "systems",
        1,
        type_map=type_map,
        use_spin=use_spin,
        descriptor={"seed": 5},
    )
    set_learning_rate(path, 1e-12)
    dp(tmp_path, "train", "input.json", "--finetune", str(trained / "model.ckpt-4.pt"))
    system = smallest_system(trained / "systems", "systems", "Mn3+HS")
    before = predict(trained / "model.ckpt-4.pt", system)
    after = predict(tmp_path / "model.ckpt-1.pt", system)
    for old, new in zip(before[1:], after[1:], strict=True):
        assert np.abs(old).max() > 1e-3
        np.testing.assert_allclose(new, old, atol=1e-8)


def test_fine_tuning_on_a_new_element(dp, tiny_input, data, trained, tmp_path):
    """Nickel takes its moment scale from the new data, manganese keeps its own."""
    tiny_input(tmp_path, data, 2, type_map=["O", "Ni", "Mn", "Li"], use_spin=METALS)
    dp(tmp_path, "train", "input.json", "--finetune", str(trained / "model.ckpt-4.pt"))
    assert np.isfinite(curve(tmp_path)[:, 1:4]).all()
    gain = weights(tmp_path / "model.ckpt-2.pt")[CORE + "moment_gain"]
    old = weights(trained / "model.ckpt-4.pt")[CORE + "moment_gain"]
    assert gain[0] == gain[3] == 0.0
    assert gain[2] == old[1]
    moments = [
        np.linalg.norm(np.load(p).reshape(-1, 4, 3), axis=2)[:, 1]
        for p in (data / "LiNiO2").rglob("spin.npy")
    ]
    sizes = np.concatenate(moments)
    # The host samples a few batches of each system, not all frames.
    assert 1 / gain[1] == pytest.approx(
        np.sqrt(np.mean(sizes[sizes > 0] ** 2)), rel=0.3
    )
    dp(tmp_path, "freeze", "-o", "model.pth")
    system = smallest_system(data, "LiNiO2", "Ni3+LS")
    for frozen, checkpoint in zip(
        predict(tmp_path / "model.pth", system),
        predict(tmp_path / "model.ckpt-2.pt", system),
        strict=True,
    ):
        np.testing.assert_allclose(frozen, checkpoint, atol=1e-10)


def test_fine_tuning_with_other_sizes_is_refused(dp, tiny_input, trained, tmp_path):
    types = {"type_map": ["O", "Mn", "Li", "Ni"], "use_spin": METALS}
    source = str(trained / "model.ckpt-4.pt")
    tiny_input(tmp_path, trained / "systems", 1, descriptor={"tebd_dim": 5}, **types)
    text = dp(tmp_path, "train", "input.json", "--finetune", source, expect=1)
    assert "--use-pretrain-script" in text
    dp(tmp_path, "train", "input.json", "--finetune", source, "--use-pretrain-script")
    assert weights(tmp_path / "model.ckpt-1.pt")[CORE + "tebd"].shape == (4, 8)


def test_an_element_cannot_lose_its_moments(dp, tiny_input, trained, tmp_path):
    types = {"type_map": ["O", "Mn", "Li", "Ni"], "use_spin": ["Ni"]}
    source = str(trained / "model.ckpt-4.pt")
    tiny_input(tmp_path, trained / "systems", 1, **types)
    text = dp(tmp_path, "train", "input.json", "--finetune", source, expect=1)
    assert re.search(r"moments of Mn, Ni, the input asks for those of Ni\. ", text)


def test_changed_type_map_is_the_same_function(make_model):
    import torch

    model, changed = make_model(), make_model()
    changed.change_type_map(["Fe", "O", "Ni", "Mn", "Li"])
    assert changed.get_type_map() == ["Fe", "O", "Ni", "Mn", "Li"]
    assert changed.get_use_spin() == [False, False, True, True, False]
    generator = torch.Generator().manual_seed(3)
    coord = 3 * torch.rand(1, 6, 3, dtype=torch.float64, generator=generator)
    spin = torch.randn(1, 6, 3, dtype=torch.float64, generator=generator)
    symbols = ["Li", "Mn", "Ni", "O", "O", "O"]
    results = []
    for one in (model, changed):
        types = [one.get_type_map().index(symbol) for symbol in symbols]
        scripted = torch.jit.script(one)
        results.append(scripted(coord, torch.tensor([types]), spin, None))
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-12, atol=1e-12)


def test_all_that_counts_types_is_changed():
    """A tensor whose shape follows the number of types must be reordered with them."""
    from spin_dp.model.descriptor import _PER_TYPE, DescrptSpinSeA

    shapes = []
    for names in (["Li", "Mn", "O"], ["Li", "Mn", "Fe", "Co", "Ni", "O", "Ti"]):
        made = DescrptSpinSeA(
            use_spin=[True] * len(names), type_map=names, rcut=4.0, sel=30
        )
        shapes.append({name: v.shape for name, v in made.core.state_dict().items()})
    counting = {name for name, shape in shapes[0].items() if shapes[1][name] != shape}
    assert counting == set(_PER_TYPE)


def test_a_compressed_model_keeps_its_type_map(make_model):
    from spin_dp.errors import ConfigError

    model = make_model()
    model.enable_compression()
    with pytest.raises(ConfigError, match="fine-tune the original"):
        model.change_type_map(["O", "Li"])


# ---- energy bias ----------------------------------------------------------------


def test_change_bias_fits_the_composition(dp, trained, data, tmp_path):
    """What is left of the energy error has no part that counts atoms."""
    source = str(trained / "model.ckpt-4.pt")
    dp(tmp_path, "change-bias", source, "-s", str(trained / "systems"), "-o", "new.pt")
    errors: dict[str, list[np.ndarray]] = {"old": [], "new": []}
    for system in sorted(p.parent for p in (trained / "systems").rglob("type.raw")):
        label = np.load(system / "set.000" / "energy.npy")
        for name, file in (("old", source), ("new", tmp_path / "new.pt")):
            errors[name].append(predict(Path(file), system)[0].ravel() - label)
    mean = {name: np.concatenate(parts).mean() for name, parts in errors.items()}
    assert abs(mean["old"]) > 1e-2
    assert abs(mean["new"]) < 1e-6


def test_change_bias_to_given_values(dp, trained, tmp_path):
    source = str(trained / "model.ckpt-4.pt")
    dp(tmp_path, "change-bias", source, "-b", "-1", "-2", "-3", "-o", "new.pt")
    before, after = weights(Path(source)), weights(tmp_path / "new.pt")
    name = "model.Default.atomic_model.out_bias"
    assert after[name].ravel().tolist() == [-1.0, -2.0, -3.0]
    system = smallest_system(trained / "systems", "systems", "Mn3+HS")
    shift = (after[name] - before[name]).ravel() @ after[name].new_tensor([1, 1, 2])
    old, new = (predict(path, system) for path in (Path(source), tmp_path / "new.pt"))
    np.testing.assert_allclose(new[0], old[0] + float(shift), atol=1e-10)
    np.testing.assert_allclose(new[1], old[1], atol=1e-12)


# ---- data -----------------------------------------------------------------------


def test_mixed_type_systems_are_the_same_frames(dp, tiny_input, data, tmp_path):
    """A model trained on merged systems has one error on them and on the others."""
    merged = merge_systems(data, tmp_path / "merged")
    tiny_input(tmp_path, tmp_path / "merged", 3, type_map=TYPE_MAP, use_spin=METALS)
    dp(tmp_path, "train", "input.json")
    assert np.isfinite(curve(tmp_path)[:, [1, 2, 4]]).all()
    gain = weights(tmp_path / "model.ckpt-3.pt")[CORE + "moment_gain"]
    assert [g > 0 for g in gain] == [False, True, True, False]
    assert gain[1] != gain[2]
    errors = []
    for systems in (data, tmp_path / "merged"):
        text = dp(
            tmp_path, "test", "-m", "model.ckpt-3.pt", "-s", str(systems), "-n", "0"
        )
        found = re.findall(r"(Energy RMSE/Natoms|Force atom RMSE) *: (\S+)", text)
        errors.append([float(value) for _, value in found[-2:]])
    assert len(merged) < len(list(data.rglob("type.raw")))
    np.testing.assert_allclose(errors[1], errors[0], rtol=1e-5)


def write_lithium_oxide(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    (folder / "set.000").mkdir(parents=True)
    (folder / "type_map.raw").write_text("\n".join(TYPE_MAP))
    (folder / "type.raw").write_text("0\n0\n3\n")
    places = np.array([[0.0, 0, 0], [2, 0, 0], [0, 2, 0]])
    labels = {
        "coord": places.ravel() + 0.1 * rng.normal(size=(4, 9)),
        "box": np.tile(4 * np.eye(3).ravel(), (4, 1)),
        "energy": rng.normal(size=4) - 10,
        "force": rng.normal(size=(4, 9)),
        "spin": np.zeros((4, 9)),
        "force_mag": np.zeros((4, 9)),
        "virial": np.zeros((4, 9)),
    }
    for name, values in labels.items():
        np.save(folder / "set.000" / f"{name}.npy", values)
    return folder


@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_no_magnetic_atom(dp, tiny_input, tmp_path, loss):
    """A mean over no magnetic atom is neither NaN in training nor fatal in a test."""
    system = write_lithium_oxide(tmp_path / "Li2O")
    path = tiny_input(tmp_path, system, 3, type_map=TYPE_MAP, use_spin=METALS)
    content = json.loads(path.read_text())
    content["loss"]["loss_func"] = loss
    path.write_text(json.dumps(content))
    dp(tmp_path, "train", "input.json")
    assert np.isfinite(curve(tmp_path)).all()
    for key, value in weights(tmp_path / "model.ckpt-3.pt").items():
        if key != "_extra_state":
            assert value.isfinite().all(), key
    text = dp(tmp_path, "test", "-m", "model.ckpt-3.pt", "-s", str(system), "-n", "0")
    assert re.search(r"Force spin RMSE *: 0\.0", text)


def test_all_moments_zero(dp, tiny_input, data, tmp_path):
    system = shutil.copytree(smallest_system(data, "LiMnO2", "NM"), tmp_path / "zero")
    spin = np.load(system / "set.000" / "spin.npy")
    np.save(system / "set.000" / "spin.npy", np.zeros_like(spin))
    tiny_input(tmp_path, system, 3, type_map=TYPE_MAP, use_spin=METALS)
    dp(tmp_path, "train", "input.json")
    assert np.isfinite(curve(tmp_path)[:, [1, 2, 4]]).all()
    stored = weights(tmp_path / "model.ckpt-3.pt")
    assert stored[CORE + "moment_gain"].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert all(v.isfinite().all() for k, v in stored.items() if k != "_extra_state")


def test_magnetic_atoms_are_counted_alone_where_there_are_any(make_model):
    import torch

    model = make_model()
    coord = 2 * torch.rand(2, 3, 3, dtype=torch.float64)
    inputs = (torch.ones_like(coord), None)
    some = model(coord, torch.tensor([[0, 1, 4], [0, 0, 4]]), *inputs)["mask_mag"]
    assert some[..., 0].tolist() == [[False, True, False], [False, False, False]]
    none = model(coord, torch.tensor([[0, 0, 4], [0, 4, -1]]), *inputs)
    assert none["mask_mag"][..., 0].tolist() == [[True] * 3, [True, True, False]]
    assert (none["force_mag"] == 0.0).all()


# ---- several processes ----------------------------------------------------------

# Stock `torchrun --no-python dp --pt train` asks for one GPU a process. This is the
# same program with the processes on CPU cores: gloo for NCCL, no device to set.
ON_CPU = """
import torch, torch.distributed as dist
from deepmd.pt.entrypoints.main import main
from deepmd.pt.train import training

start, wrap, run = dist.init_process_group, training.DDP, training.Trainer.run
dist.init_process_group = lambda backend: start(backend="gloo")
torch.cuda.set_device = lambda device: None
training.DDP = lambda module, **_: wrap(module, find_unused_parameters=True)

def run_and_save(trainer):
    run(trainer)
    torch.save(trainer.wrapper.module.state_dict(), f"rank{trainer.rank}.pt")

training.Trainer.run = run_and_save
main(["--pt", "train", "input.json"])
"""


@pytest.mark.slow
def test_two_ranks_stay_in_step(tiny_input, data, tmp_path):
    import torch

    system = smallest_system(data, "LiMnO2", "Mn3+HS")
    training = {
        "training_data": {"systems": str(system), "batch_size": 4},
        "save_freq": 1000,
    }
    path = tiny_input(
        tmp_path, system, 30, type_map=TYPE_MAP, use_spin=METALS, training=training
    )
    set_learning_rate(path, 1e-2)
    (tmp_path / "on_cpu.py").write_text(ON_CPU)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc_per_node=2", "on_cpu.py"),
        ],
        cwd=tmp_path,
        env=environment(threads=1),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    first, second = (
        torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)
    )
    for key, value in first.items():
        if key != "_extra_state":
            assert torch.equal(value, second[key]), key
    errors = curve(tmp_path)[:, 1]
    assert errors[-5:].mean() < 0.9 * errors[:5].mean()
