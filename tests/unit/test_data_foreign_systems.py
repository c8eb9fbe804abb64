# SPDX-License-Identifier: LGPL-3.0-or-later
"""Systems that other programs wrote: read by us, merged, and read by deepmd-kit."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import dpdata
import numpy as np
import pytest
from dpdata.plugins.deepmd import register_spin

from spin_dp.data_tools import (
    Frame,
    Rejected,
    find_sources,
    merge_systems,
    read_source,
    write_system,
)
from spin_dp.data_tools.systems.system import find_systems, open_system
from spin_dp.data_tools.systems.writing import SystemWriter
from spin_dp.errors import ConfigError, DataError
from spin_dp.training.dp_input import TrainingSettings
from spin_dp.training.folder import make_training_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ELEMENTS = ["Li", "Ni", "O"]
N_FRAMES = 7


def made_up(types: list[int], seed: int, n_frames: int = N_FRAMES) -> dict[str, Any]:
    """Return frames in dpdata's own form, atoms half an ångström or more apart."""
    rng = np.random.default_rng(seed)
    shape = (n_frames, len(types), 3)
    grid = 2.0 * np.stack(np.unravel_index(np.arange(len(types)), (2, 2, 2)), axis=-1)
    return {
        "atom_names": ELEMENTS,
        "atom_numbs": [types.count(kind) for kind in range(len(ELEMENTS))],
        "atom_types": np.array(types),
        "orig": np.zeros(3),
        "cells": np.tile(4.0 * np.eye(3), (n_frames, 1, 1)),
        "coords": grid + rng.uniform(-0.4, 0.4, size=shape),
        "energies": rng.normal(size=n_frames),
        "forces": rng.normal(size=shape),
        "virials": rng.normal(size=(n_frames, 3, 3)),
        "spins": rng.normal(size=shape),
    }


@pytest.fixture(scope="module")
def oxides() -> list[dpdata.LabeledSystem]:
    register_spin()
    atoms = ([0, 1, 2, 2], [1, 2, 2])
    return [
        dpdata.LabeledSystem(data=made_up(types, seed))
        for seed, types in enumerate(atoms)
    ]


@pytest.fixture
def many_sets(tmp_path: Path, oxides: list[dpdata.LabeledSystem]) -> Path:
    """Return two systems in three sets each, of two or three frames."""
    for number, system in enumerate(oxides):
        folder = tmp_path / "foreign" / str(number)
        system.to("deepmd/npy", str(folder), set_size=3)
        assert len(list(folder.glob("set.*"))) == 3
    return tmp_path / "foreign"


@pytest.fixture
def mixed(tmp_path: Path, oxides: list[dpdata.LabeledSystem]) -> Path:
    """Return dpdata's mixed-type system of both: padded to four atoms, three sets."""
    folder = tmp_path / "mixed"
    both = dpdata.MultiSystems(*oxides)
    both.to("deepmd/npy/mixed", str(folder), atom_numb_pad=4, set_size=5)
    (system,) = find_systems(folder)
    assert len(list(system.glob("set.*/real_atom_types.npy"))) == 3
    return folder


def frames_of(oxides: list[dpdata.LabeledSystem]) -> dict[float, list[Any]]:
    """Return types, positions, moments, forces by energy as they were made up."""
    names = ("coords", "spins", "forces")
    return {
        float(system["energies"][i]): [
            system["atom_types"],
            *(system[name][i] for name in names),
        ]
        for system in oxides
        for i in range(N_FRAMES)
    }


def assert_frames(root: Path, oxides: list[dpdata.LabeledSystem]) -> None:
    """Compare all frames below a folder with those made up."""
    wanted, n_seen = frames_of(oxides), 0
    for folder in find_systems(root):
        system = open_system(folder)
        for part in system.sets:
            arrays = [part.label(name) for name in ("coord", "spin", "force")]
            energies, all_types = part.label("energy"), system.frame_types(part)
            for index, (energy, types) in enumerate(
                zip(energies, all_types, strict=True)
            ):
                expected = wanted[float(energy)]
                np.testing.assert_array_equal(types[types >= 0], expected[0])
                for array, values in zip(arrays, expected[1:], strict=True):
                    np.testing.assert_array_equal(array[index][types >= 0], values)
                n_seen += 1
    assert n_seen == len(wanted)


def read_by_dp(folders: list[Path]) -> int:
    """Return the number of frames that deepmd-kit's own reader finds."""
    from deepmd.utils.data import DataRequirementItem
    from deepmd.utils.data_system import DeepmdDataSystem

    systems = DeepmdDataSystem([str(f) for f in folders], 1, 1, 4.0, type_map=ELEMENTS)
    systems.add_data_requirements(
        [
            DataRequirementItem("energy", 1, atomic=False, must=True),
            DataRequirementItem("force", 3, atomic=True, must=True),
            DataRequirementItem("spin", 3, atomic=True, must=True),
        ]
    )
    n_frames = 0
    for system in systems.data_systems:
        for index in range(system.nframes):
            frame = system.get_item_torch(index)
            assert np.isfinite(frame["coord"]).all()
            n_frames += 1
    return n_frames


def test_all_sets_are_opened(many_sets: Path) -> None:
    system = open_system(many_sets / "0")
    assert [part.n_frames for part in system.sets] == [3, 3, 1]
    assert system.n_frames == N_FRAMES
    assert system.symbols == ("Li", "Ni", "O", "O")
    joined = system.label("spin")
    assert joined.shape == (N_FRAMES, 4, 3)
    np.testing.assert_array_equal(joined[3:6], system.sets[1].label("spin"))


def test_all_sets_are_merged(
    many_sets: Path, oxides: list[dpdata.LabeledSystem], tmp_path: Path
) -> None:
    folders = merge_systems(many_sets, tmp_path / "out")
    assert [path.name for path in folders] == ["4-atoms-0"]
    assert_frames(tmp_path / "out", oxides)
    assert read_by_dp(folders) == 2 * N_FRAMES


def test_init_trains_on_all_sets(
    many_sets: Path, oxides: list[dpdata.LabeledSystem], tmp_path: Path
) -> None:
    for merge in (True, False):
        folder = tmp_path / f"run-{merge}"
        made = make_training_folder(
            many_sets,
            folder,
            settings=TrainingSettings(steps=1),
            batch_size="1",
            merge=merge,
        )
        assert made.data.frames("training") == 2 * N_FRAMES
        assert made.settings.steps == 20 * 2 * N_FRAMES
        section = json.loads(made.input_json.read_text())["training"]["training_data"]
        systems = [(folder / name).resolve() for name in section["systems"]]
        assert len(systems) == (1 if merge else 2)
        assert read_by_dp(systems) == 2 * N_FRAMES
        if merge:
            assert_frames(folder / "systems", oxides)


def test_mixed_types_of_others_are_merged_with_the_rest(
    mixed: Path, many_sets: Path, oxides: list[dpdata.LabeledSystem], tmp_path: Path
) -> None:
    """Places without an atom go to voids: dpdata leaves them all at the origin."""
    shutil.rmtree(many_sets / "0")
    folders = merge_systems(mixed, tmp_path / "out")
    assert_frames(tmp_path / "out", oxides)
    assert read_by_dp(folders) == 2 * N_FRAMES
    (part,) = open_system(folders[0]).sets
    empty = open_system(folders[0]).frame_types(part) < 0
    assert empty.sum() == N_FRAMES
    coord = part.label("coord")
    offsets = coord[:, :, None] - coord[:, None]
    offsets -= 4.0 * np.round(offsets / 4.0)
    distances = np.linalg.norm(offsets, axis=-1) + 9.0 * np.eye(4)
    assert distances.min() > 0.8
    shutil.move(many_sets / "1", mixed / "plain")
    both = merge_systems(mixed, tmp_path / "both")
    assert [open_system(path).n_frames for path in both] == [3 * N_FRAMES]


def test_labels_of_places_without_an_atom_are_zero(mixed: Path, tmp_path: Path) -> None:
    (system,) = find_systems(mixed)
    for part in open_system(system).sets:
        force = part.label("force") + 9.0
        np.save(part.folder / "force.npy", force.reshape(len(force), -1))
    (folder,) = merge_systems(mixed, tmp_path / "out")
    merged = open_system(folder)
    is_empty = merged.frame_types(merged.sets[0]) < 0
    assert is_empty.any()
    assert (merged.label("force")[is_empty] == 0.0).all()
    assert (merged.label("force")[~is_empty] > 3.0).all()


def test_sets_with_other_labels_stay_apart(many_sets: Path, tmp_path: Path) -> None:
    (many_sets / "0" / "set.001" / "virial.npy").unlink()
    systems = [open_system(path) for path in merge_systems(many_sets, tmp_path / "out")]
    assert {("virial" in s.labels, s.n_frames) for s in systems} == {
        (False, 3),
        (True, 2 * N_FRAMES - 3),
    }


def test_other_precision_is_merged(
    oxides: list[dpdata.LabeledSystem], tmp_path: Path
) -> None:
    oxides[0].to("deepmd/npy", str(tmp_path / "f" / "0"), prec=np.float32)
    (folder,) = merge_systems(tmp_path / "f", tmp_path / "out")
    merged = open_system(folder).label("coord")
    assert merged.dtype == np.float64
    np.testing.assert_allclose(merged, oxides[0]["coords"], atol=1e-6)


def test_raw_systems_say_how_to_read_them(
    oxides: list[dpdata.LabeledSystem], tmp_path: Path
) -> None:
    folder = tmp_path / "raw" / "a"
    oxides[0].to("deepmd/raw", str(folder))
    with pytest.raises(DataError, match=r"a: no folder set\.\* .* deepmd/raw:FOLDER"):
        merge_systems(tmp_path / "raw", tmp_path / "out")
    (rejected,) = read_source(find_sources([tmp_path / "raw"])[0])
    assert isinstance(rejected, Rejected)
    assert rejected.reason.startswith("no folder set.* beside coord.raw; collect the")
    (source,) = find_sources([f"deepmd/raw:{folder}"])
    frames = list(read_source(source))
    assert all(isinstance(frame, Frame) for frame in frames)
    assert len(frames) == N_FRAMES


def rewrite(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / name
        np.save(path, change(np.load(path)))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            rewrite("set.001/force.npy", lambda force: force[:2]),
            r"0: set\.001/force\.npy has shape \(2, 12\), expected \(3, 12\) for 3",
        ),
        (
            lambda folder: (folder / "set.002" / "box.npy").unlink(),
            r"0: no box\.npy in set\.002",
        ),
        (
            lambda folder: (folder / "nopbc").touch(),
            r"0: no periodic cell \(nopbc\); put the atoms into a cell",
        ),
        (
            lambda folder: np.save(
                folder / "set.001" / "real_atom_types.npy", np.zeros((3, 4), int)
            ),
            r"real_atom_types\.npy in some sets only \(set\.000 and set\.001 differ\)",
        ),
        (
            lambda folder: np.save(folder / "set.000" / "fparam.npy", np.ones(3)),
            r"set\.000/fparam\.npy: a label that merge does not know",
        ),
        (lambda folder: (folder / "type_map.raw").unlink(), r"no type_map\.raw"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(
    many_sets: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(many_sets / "0")
    with pytest.raises(DataError, match=message):
        merge_systems(many_sets, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_merge_leaves_the_older_result(
    many_sets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    out = tmp_path / "out"
    merge_systems(many_sets / "0", out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    append, names = SystemWriter.append, []

    def fail(writer: SystemWriter, name: str, rows: Any) -> None:
        names.append(name)
        if len(names) > 3:
            raise error
        append(writer, name, rows)

    monkeypatch.setattr(SystemWriter, "append", fail)
    with pytest.raises(error):
        merge_systems(many_sets, out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["foreign", "out"]


def test_a_merge_that_was_killed_is_put_right(many_sets: Path, tmp_path: Path) -> None:
    """A kill leaves a hidden part, or the older result aside."""
    out = tmp_path / "data" / "out"
    (before,) = merge_systems(many_sets, out)
    shutil.copytree(out, out.with_name(".out.part"))
    assert find_systems(tmp_path / "data") == [before]
    out.rename(out.with_name(".out.old"))
    assert merge_systems(many_sets, out) == [before]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_mixed_types_of_others_are_not_replaced(many_sets: Path, mixed: Path) -> None:
    with pytest.raises(ConfigError, match="holds other things than merged systems"):
        merge_systems(many_sets, mixed)
    assert find_systems(mixed)


def test_a_file_is_not_replaced(many_sets: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    with pytest.raises(ConfigError, match="notes: is a file; give a new folder"):
        merge_systems(many_sets, tmp_path / "notes")


def test_dp_reads_what_is_written(
    many_sets: Path, oxides: list[dpdata.LabeledSystem], tmp_path: Path
) -> None:
    (source,) = find_sources([many_sets / "0"])
    frames = [item for item in read_source(source) if isinstance(item, Frame)]
    write_system(tmp_path / "s", frames, ELEMENTS)
    assert read_by_dp([tmp_path / "s"]) == N_FRAMES
    again = dpdata.LabeledSystem(str(tmp_path / "s"), "deepmd/npy")
    for name in ("coords", "cells", "energies", "forces", "virials", "spins"):
        np.testing.assert_array_equal(again[name], oxides[0][name])
