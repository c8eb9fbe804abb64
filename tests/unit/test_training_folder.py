# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is found in systems, and the input that is made of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from spin_dp.data_tools.level import Level
from spin_dp.errors import ConfigError, DataError
from spin_dp.training.data import look_through
from spin_dp.training.dp_input import REMARKS, TrainingSettings
from spin_dp.training.folder import (
    MOST_STEPS,
    SIZES,
    batches_a_pass,
    make_training_folder,
)

if TYPE_CHECKING:
    from pathlib import Path

TYPES = ["Li", "Mn", "Fe", "O"]
LITTLE = TrainingSettings(steps=10)


def write_system(
    folder: Path,
    symbols: list[str],
    moments: list[list[float]],
    *,
    level: Level | None = None,
    labels: str = "dft",
) -> Path:
    """Write a system; ``moments`` has one row of moments along z for each frame."""
    data = folder / "set.000"
    data.mkdir(parents=True)
    (folder / "type_map.raw").write_text("\n".join(TYPES))
    types = [str(TYPES.index(symbol)) for symbol in symbols]
    (folder / "type.raw").write_text("\n".join(types))
    n_frames, n_atoms = np.shape(moments)
    spin = np.zeros((n_frames, n_atoms, 3))
    spin[:, :, 2] = moments
    np.save(data / "spin.npy", spin.reshape(n_frames, -1))
    for name in ("coord", "force"):
        np.save(data / f"{name}.npy", np.zeros((n_frames, 3 * n_atoms)))
    np.save(data / "box.npy", np.tile(8.0 * np.eye(3).ravel(), (n_frames, 1)))
    np.save(data / "energy.npy", np.zeros(n_frames))
    level = level or Level("PBE", {"settings": "PBE"})
    note = {
        "level": level.id,
        "level_label": level.label,
        "level_description": dict(level.description),
        "labels": labels,
        "states": [{"name": "Mn3+HS", "moment": 3.8, "sites": 4}],
        "constrained": False,
    }
    (folder / "spin_dp.json").write_text(json.dumps(note))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    write_system(
        root / "training" / "HS", ["Mn", "O"], [[-3.8, 0.4], [3.7, 0.0], [3.6, 0.0]]
    )
    write_system(root / "training" / "LS", ["Fe", "O", "O"], [[0.2, 0.0, 0.0]])
    write_system(root / "validation" / "HS", ["Mn", "O"], [[3.8, 0.0]])
    return root


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def test_elements_moments_and_frames_are_found(data: Path) -> None:
    found = look_through(data)
    assert found.type_map == ("Li", "Mn", "Fe", "O")
    assert found.atoms() == {"Mn": 3, "O": 5, "Fe": 1}
    assert found.largest_moments() == pytest.approx({"Mn": 3.8, "O": 0.4, "Fe": 0.2})
    assert found.magnetic_elements(0.5) == ["Mn"]
    assert found.magnetic_elements(0.1) == ["Mn", "Fe", "O"]
    assert (found.frames("training"), found.frames("validation")) == (4, 1)


def test_merged_and_padded_systems_are_read(data: Path, tmp_path: Path) -> None:
    made = make_training_folder(data, tmp_path / "run", settings=LITTLE)
    again = look_through(tmp_path / "run" / "systems")
    assert again.is_merged
    assert again.atoms() == made.data.atoms()
    assert again.largest_moments() == pytest.approx(made.data.largest_moments())
    assert again.frames("validation") == 1


def test_the_folder_is_ready(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    made = make_training_folder(data, folder, settings=LITTLE)
    content = read(made.input_json)
    assert sorted(path.name for path in folder.iterdir()) == ["input.json", "systems"]
    assert content["model"]["spin"]["use_spin"] == ["Mn", "Fe", "O"]
    for part in ("training_data", "validation_data"):
        for system in content["training"][part]["systems"]:
            assert (folder / system / "type.raw").is_file()
    assert REMARKS not in content  # no manifest, so the spin states are unknown
    info = content["model"]["info"]
    assert [(s["name"], s["moment"]) for s in info["states"]] == [("Mn3+HS", 3.8)]
    assert info["largest"] == {"Mn": 3.8, "Fe": 0.2, "O": 0.4}


def test_without_merging_the_systems_stay_where_they_are(
    data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    make_training_folder(data, folder, settings=LITTLE, merge=False)
    section = read(folder / "input.json")["training"]["training_data"]
    found = [(folder / name).resolve() for name in section["systems"]]
    assert found == [data / "training" / "HS", data / "training" / "LS"]
    assert section["sys_probs"] == [0.75, 0.25]
    assert [path.name for path in folder.iterdir()] == ["input.json"]


def test_merged_systems_are_not_merged_again(data: Path, tmp_path: Path) -> None:
    from spin_dp.data_tools import merge_systems

    merged = merge_systems(data, tmp_path / "merged")
    made = make_training_folder(tmp_path / "merged", tmp_path / "run", settings=LITTLE)
    assert set(made.systems) < set(merged)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["input.json"]


def test_the_twin_has_no_moments(data: Path, tmp_path: Path) -> None:
    made = make_training_folder(data, tmp_path / "run", settings=LITTLE, blind=True)
    content = read(made.input_json)
    assert made.spin_elements == []
    assert "spin" not in content["model"]
    assert content["loss"]["type"] == "ener"


def test_the_repulsion_is_there_unless_left_out(data: Path, tmp_path: Path) -> None:
    sections = []
    for name, on, blind in (("a", True, False), ("b", False, False), ("c", True, True)):
        settings = replace(LITTLE, repulsion=on)
        made = make_training_folder(
            data, tmp_path / name, settings=settings, blind=blind
        )
        sections.append(read(made.input_json)["model"].get("repulsion"))
    assert sections == [{}, None, None]


def test_the_repulsion_reaches_up_to_the_data(data: Path, tmp_path: Path) -> None:
    """O-O, which is not bonded there, and no other pair."""
    oxygens = [0.0, 0.0, 2.0, 1.773, 0.0, 2.0]
    coord = data / "training" / "LS" / "set.000" / "coord.npy"
    np.save(coord, [[0.0, 0.0, 0.0, *oxygens]])
    made = make_training_folder(data, tmp_path / "run", settings=LITTLE)
    section = read(made.input_json)["model"]["repulsion"]
    assert section == {"radii": {"O-O": [0.98, 1.77]}}


@pytest.mark.parametrize("section", [None, {"inner": 0.4, "outer": 0.8, "radii": {}}])
def test_like_keeps_the_repulsion_of_the_parent(
    data: Path, tmp_path: Path, section: dict[str, Any] | None
) -> None:
    import torch

    params: dict[str, Any] = {"type": "spin_dp", "descriptor": {}, "fitting_net": {}}
    params |= {"type_map": ["Mn", "O"], "spin": {"use_spin": ["Mn"]}}
    if section is not None:
        params["repulsion"] = section
    torch.save({"_extra_state": {"model_params": params}}, tmp_path / "parent.pt")
    made = make_training_folder(
        data, tmp_path / "run", settings=LITTLE, like=tmp_path / "parent.pt"
    )
    assert read(made.input_json)["model"].get("repulsion") == section


def test_given_elements_are_taken(data: Path, tmp_path: Path) -> None:
    made = make_training_folder(
        data, tmp_path / "run", settings=LITTLE, magnetic=["Fe", "Mn"]
    )
    assert made.spin_elements == ["Mn", "Fe"]


def test_an_older_input_is_kept(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "run" / "input.json"
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(ConfigError, match="give --force"):
        make_training_folder(data, path.parent)
    assert path.read_text() == "mine"
    make_training_folder(data, path.parent, steps=7, force=True)
    assert read(path)["training"]["numb_steps"] == 7


def test_systems_without_moments(data: Path, tmp_path: Path) -> None:
    (data / "training" / "LS" / "set.000" / "spin.npy").unlink()
    with pytest.raises(ConfigError, match=r"LS: no spin\.npy.*--blind"):
        make_training_folder(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_settings(size: str) -> None:
    settings = replace(TrainingSettings(), **SIZES[size])
    assert settings.axis_neuron <= settings.neuron[-1]
    assert settings.spin_axis_neuron <= settings.spin_neuron[-1]
    assert settings.stop_lr < settings.start_lr


# ---- levels of theory -----------------------------------------------------------


@pytest.fixture
def two_levels(data: Path) -> Path:
    for split, frames in (("training", 2), ("validation", 1)):
        write_system(
            data / split / "SCAN",
            ["Mn", "O"],
            [[3.9, 0.0]] * frames,
            level=Level("SCAN", {"settings": "SCAN"}),
        )
    return data


def test_levels_are_not_mixed(two_levels: Path, tmp_path: Path) -> None:
    pattern = r"2 groups of levels .*PBE.*\(5 frames\).*SCAN.*\(3 frames\).*--level"
    with pytest.raises(ConfigError, match=pattern):
        make_training_folder(two_levels, tmp_path / "run")
    with pytest.raises(ConfigError, match="unknown level of theory"):
        make_training_folder(two_levels, tmp_path / "run", level="B3LYP")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("merge", [True, False])
def test_one_level_is_taken(two_levels: Path, tmp_path: Path, merge: bool) -> None:
    (tmp_path / "data" / "manifest.csv").write_text("")
    scan = Level("SCAN", {"settings": "SCAN"}).id
    folder = tmp_path / "run"
    made = make_training_folder(
        two_levels, folder, settings=LITTLE, level=scan, merge=merge
    )
    assert made.data.frames("training") == 2
    content = read(made.input_json)
    assert content[REMARKS] == {"data": "../data", "levels": [scan]}
    for part, frames in (("training_data", 2), ("validation_data", 1)):
        (system,) = content["training"][part]["systems"]
        energy = np.load(folder / system / "set.000" / "energy.npy")
        assert len(energy) == frames
    merged = sorted((folder / "systems").rglob("type.raw")) if merge else []
    assert len(merged) == (2 if merge else 0)


def test_merged_systems_of_several_levels(two_levels: Path, tmp_path: Path) -> None:
    from spin_dp.data_tools import merge_systems

    merge_systems(two_levels, tmp_path / "merged")
    with pytest.raises(ConfigError, match="2 groups of levels"):
        look_through(tmp_path / "merged")
    scan = Level("SCAN", {"settings": "SCAN"}).id
    assert look_through(tmp_path / "merged", scan).frames("training") == 2


def test_nominal_moments_are_not_mixed_with_others(data: Path) -> None:
    write_system(data / "training" / "N", ["Mn"], [[4.0]], labels="nominal")
    with pytest.raises(DataError, match="same --labels"):
        look_through(data)


def test_type_maps_must_agree(data: Path) -> None:
    (data / "training" / "LS" / "type_map.raw").write_text("Fe\nO\nMn\nLi\n")
    with pytest.raises(DataError, match="same --type-map"):
        look_through(data)


def test_broken_system(data: Path) -> None:
    (data / "training" / "LS" / "set.000" / "coord.npy").write_bytes(b"none")
    with pytest.raises(DataError, match=r"LS: set.000/coord.npy cannot be read"):
        look_through(data)


# ---- batches and steps ----------------------------------------------------------


def test_batches_of_a_pass(data: Path) -> None:
    found = look_through(data)  # 3 frames of 2 atoms and 1 frame of 3
    assert batches_a_pass(found, "1") == 4
    assert batches_a_pass(found, "auto:1") == 4
    assert batches_a_pass(found, "auto:5") == pytest.approx(3 / 3 + 1 / 2)
    assert batches_a_pass(found, "auto:1000") == 1.0
    with pytest.raises(ConfigError, match="auto:N"):
        batches_a_pass(found, "auto")


@pytest.mark.parametrize(
    ("frames", "steps"), [(2, 50), (3, 60), (123, 2500), (60_000, MOST_STEPS)]
)
def test_steps_grow_with_the_data(tmp_path: Path, frames: int, steps: int) -> None:
    write_system(tmp_path / "data" / "a", ["Mn"], [[3.0]] * frames)
    made = make_training_folder(
        tmp_path / "data",
        tmp_path / "run",
        settings=TrainingSettings(steps=50),
        batch_size="1",
    )
    assert made.settings.steps == steps
    assert made.passes == pytest.approx(steps / frames)


def test_a_batch_has_several_frames_of_large_cells(tmp_path: Path) -> None:
    write_system(tmp_path / "data" / "a", ["Mn"] * 50, [[3.0] * 50] * 8)
    made = make_training_folder(tmp_path / "data", tmp_path / "run", settings=LITTLE)
    assert made.settings.batch_size == "auto:200"
