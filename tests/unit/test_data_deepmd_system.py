# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reading deepmd-kit systems that dpdata or numpy wrote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import dpdata
import numpy as np
import pytest
from dpdata.plugins.deepmd import register_spin

from spin_dp.data_tools import Frame, Level, Rejected, find_sources, read_source
from spin_dp.data_tools.readers import deepmd_system as reasons
from spin_dp.data_tools.readers.deepmd_system import read_deepmd_system
from spin_dp.data_tools.readers.source import ReadOptions
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

N_FRAMES = 5


def labelled(elements: list[str], types: list[int], seed: int) -> dpdata.LabeledSystem:
    """Return made-up frames in dpdata's own form."""
    register_spin()
    rng = np.random.default_rng(seed)
    natoms = len(types)
    return dpdata.LabeledSystem(
        data={
            "atom_names": elements,
            "atom_numbs": [types.count(kind) for kind in range(len(elements))],
            "atom_types": np.array(types),
            "orig": np.zeros(3),
            "cells": np.tile(4.0 * np.eye(3), (N_FRAMES, 1, 1)),
            "coords": rng.normal(size=(N_FRAMES, natoms, 3)),
            "energies": rng.normal(size=N_FRAMES),
            "forces": rng.normal(size=(N_FRAMES, natoms, 3)),
            "virials": rng.normal(size=(N_FRAMES, 3, 3)),
            "spins": rng.normal(size=(N_FRAMES, natoms, 3)),
            "force_mags": rng.normal(size=(N_FRAMES, natoms, 3)),
        }
    )


@pytest.fixture
def oxide() -> dpdata.LabeledSystem:
    return labelled(["Ni", "O"], [0, 1, 1], seed=1)


@pytest.fixture
def folder(tmp_path: Path, oxide: dpdata.LabeledSystem) -> Path:
    oxide.to("deepmd/npy", str(tmp_path / "system"))
    return tmp_path / "system"


def only_frames(path: Path) -> list[Frame]:
    items = list(read_deepmd_system(path))
    frames = [item for item in items if isinstance(item, Frame)]
    assert len(frames) == len(items)
    return frames


def test_system_of_several_float32_sets(
    tmp_path: Path, oxide: dpdata.LabeledSystem
) -> None:
    path = tmp_path / "system"
    oxide.to("deepmd/npy", str(path), set_size=2, prec=np.float32)
    assert len(list(path.glob("set.*"))) == 3
    (source,) = find_sources([tmp_path])
    assert (source.reader, source.path) == ("deepmd", path)
    assert path / "set.002" / "spin.npy" in source.files
    frames = list(read_source(source))
    assert [frame.step for frame in frames] == [1, 2, 3, 4, 5]
    for index, frame in enumerate(frames):
        assert isinstance(frame, Frame)
        assert frame.symbols == ("Ni", "O", "O")
        assert frame.energy == pytest.approx(oxide["energies"][index], rel=1e-6)
        for name, array in (
            ("positions", "coords"),
            ("forces", "forces"),
            ("moments", "spins"),
            ("magnetic_forces", "force_mags"),
            ("virial", "virials"),
            ("cell", "cells"),
        ):
            read = getattr(frame, name)
            assert read.dtype == np.float64
            np.testing.assert_allclose(read, oxide[array][index], rtol=1e-6)
        assert frame.constrained is True  # magnetic forces act
        assert frame.level.label == "unspecified"


def test_mixed_type_system(tmp_path: Path, oxide: dpdata.LabeledSystem) -> None:
    """Two compositions in one folder, the smaller one padded with virtual atoms."""
    other = labelled(["Co", "Ni", "O"], [0, 1, 2, 2], seed=2)
    both = dpdata.MultiSystems(oxide, other)
    both.to("deepmd/npy/mixed", str(tmp_path / "mixed"), atom_numb_pad=4)
    (source,) = find_sources([tmp_path / "mixed"])
    frames = [frame for frame in read_source(source) if isinstance(frame, Frame)]
    expected = {
        float(system["energies"][index]): (system, index)
        for system in (oxide, other)
        for index in range(N_FRAMES)
    }
    assert len(frames) == len(expected)
    for frame in frames:
        system, index = expected[frame.energy]
        names = [system["atom_names"][kind] for kind in system["atom_types"]]
        assert list(frame.symbols) == names
        np.testing.assert_array_equal(frame.moments, system["spins"][index])
        np.testing.assert_array_equal(frame.positions, system["coords"][index])


def test_moments_without_force_are_free(folder: Path) -> None:
    path = folder / "set.000" / "force_mag.npy"
    np.save(path, np.zeros_like(np.load(path)))
    assert {frame.constrained for frame in only_frames(folder)} == {False}
    path.unlink()
    frame = only_frames(folder)[0]
    assert (frame.constrained, frame.magnetic_forces) == (None, None)


@pytest.mark.parametrize(
    ("labels", "constrained", "note"),
    [("dft", False, ""), ("nominal", None, reasons.NOMINAL)],
)
def test_record_gives_level_and_kind_of_moments(
    folder: Path, labels: str, constrained: bool | None, note: str
) -> None:
    level = Level("VASP PBE+U", {"program": "VASP", "encut_ev": 520.0, "hubbard": None})
    record = {
        "level": level.id,
        "level_description": dict(level.description),
        "labels": labels,
        "constrained": constrained,
    }
    (folder / "spin_dp.json").write_text(json.dumps(record))
    (folder / "set.000" / "force_mag.npy").unlink()
    for frame in only_frames(folder):
        assert frame.level.id == level.id
        assert (frame.constrained, frame.note) == (constrained, note)


def test_user_names_the_level(folder: Path) -> None:
    frame = next(iter(read_deepmd_system(folder, ReadOptions(level="PBE"))))
    assert isinstance(frame, Frame)
    assert frame.level.label == "PBE"


def test_system_without_spins_is_zero_only_on_request(folder: Path) -> None:
    (folder / "set.000" / "spin.npy").unlink()
    items = list(read_deepmd_system(folder))
    assert len(items) == N_FRAMES
    assert all(isinstance(i, Rejected) and i.reason == reasons.NO_SPIN for i in items)
    for frame in read_deepmd_system(folder, ReadOptions(missing_moments="zero")):
        assert isinstance(frame, Frame)
        np.testing.assert_array_equal(frame.moments, np.zeros((3, 3)))
        assert frame.note == reasons.ZERO_MOMENTS


def test_frame_with_nan_is_rejected_alone(folder: Path) -> None:
    forces = np.load(folder / "set.000" / "force.npy")
    forces[2, 4] = np.nan
    np.save(folder / "set.000" / "force.npy", forces)
    items = list(read_deepmd_system(folder))
    assert [isinstance(item, Frame) for item in items] == [
        True,
        True,
        False,
        True,
        True,
    ]


def save(name: str, array: Any) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / "set.000" / f"{name}.npy", array)


def write(name: str, text: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_text(text)

    return spoil


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (write("nopbc", "\n"), "no periodic cell"),
        (remove("type_map.raw"), "system: no type_map.raw beside type.raw; write the"),
        (remove("set.000/energy.npy"), "no energy.npy in set.000"),
        (remove("set.000/force.npy"), "no force.npy in set.000"),
        (write("type_map.raw", "Ni\nXx\n"), "names 'Xx', which is no element"),
        (write("type.raw", "0\n1\n2\n"), "outside type_map.raw"),
        (write("type.raw", "0\n1\none\n"), "else than type numbers"),
        (write("type.raw", "0\n1\n"), r"shape \(5, 9\), expected \(5, 6\)"),
        (write("set.000/box.npy", "text"), "set.000/box.npy cannot be read"),
        (save("spin", np.zeros((4, 9))), r"spin.npy has shape \(4, 9\), expected"),
        (save("force_mag", np.zeros((5, 3))), r"force_mag.npy has shape \(5, 3\)"),
        (save("energy", np.zeros((5, 2))), "energy.npy has shape"),
        (save("coord", np.array(1.0)), "coord.npy has shape"),
        (save("real_atom_types", np.zeros((5, 2), int)), "real_atom_types.npy has"),
        (save("real_atom_types", np.full((5, 3), 7)), "outside type_map.raw"),
        (write("spin_dp.json", "{}"), "spin_dp.json is not a note"),
        (
            write(
                "spin_dp.json",
                '{"level": "a-1", "level_description": {}, "labels": "dft", '
                '"constrained": null}',
            ),
            "names the level a-1, but its description makes",
        ),
    ],
)
def test_broken_systems_say_what_is_wrong(
    folder: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(folder)
    with pytest.raises(DataError, match=message):
        list(read_deepmd_system(folder))


def test_folder_without_sets_is_no_system(tmp_path: Path) -> None:
    (tmp_path / "type.raw").write_text("0\n")
    with pytest.raises(DataError, match="nothing to read in this folder"):
        find_sources([tmp_path])
    (tmp_path / "set.000").mkdir()
    (tmp_path / "type_map.raw").write_text("Ni\n")
    (only,) = read_source(find_sources([tmp_path])[0])
    assert isinstance(only, Rejected)
    assert only.reason == "no coord.npy in set.000"
