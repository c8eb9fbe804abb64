# SPDX-License-Identifier: LGPL-3.0-or-later
"""Mixed-type systems hold the same frames with the same labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from spin_dp.errors import DataError
from spin_dp.mixed_systems import mix_systems

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, types: list[int], energies: list[float], **more: bool) -> None:
    (folder / "set.000").mkdir(parents=True)
    (folder / "type.raw").write_text("".join(f"{t}\n" for t in types))
    (folder / "type_map.raw").write_text("Li\nO\nMn\n")
    size = (len(energies), 3 * len(types))
    np.save(folder / "set.000" / "energy.npy", np.array(energies))
    np.save(folder / "set.000" / "coord.npy", np.full(size, energies[0]))
    for name in more:
        np.save(folder / "set.000" / f"{name}.npy", np.zeros(size))


def load(system: Path, name: str) -> np.ndarray:
    return np.asarray(np.load(system / "set.000" / f"{name}.npy"))


def test_frames_of_one_size_come_together(tmp_path: Path) -> None:
    write(tmp_path / "in" / "MnO2" / "HS", [1, 1, 2], [-1.0, -2.0])
    write(tmp_path / "in" / "Li2O" / "x", [0, 0, 1], [-3.0])
    write(tmp_path / "in" / "LiMnO2" / "HS", [0, 1, 1, 2], [-4.0])
    three, four = mix_systems(tmp_path / "in", tmp_path / "out")
    assert [three.name, four.name] == ["3", "4"]
    assert load(three, "energy").tolist() == [-3.0, -1.0, -2.0]
    types = load(three, "real_atom_types")
    assert types.tolist() == [[0, 0, 1], [1, 1, 2], [1, 1, 2]]
    assert (three / "type.raw").read_text().split() == ["0", "0", "0"]
    assert (four / "type_map.raw").read_text().split() == ["Li", "O", "Mn"]


def test_labels_stay_with_the_frames_that_have_them(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a-free", [1, 1, 2], [-1.0], force_mag=True)
    write(tmp_path / "in" / "b-held", [1, 1, 2], [-2.0])
    systems = mix_systems(tmp_path / "in", tmp_path / "out")
    assert [system.name for system in systems] == ["3", "3-1"]
    has = {
        load(system, "energy")[0]: (system / "set.000" / "force_mag.npy").exists()
        for system in systems
    }
    assert has == {-1.0: True, -2.0: False}


def test_an_earlier_result_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a", [1, 1, 2], [-1.0])
    (tmp_path / "out" / "99").mkdir(parents=True)
    mix_systems(tmp_path / "in", tmp_path / "out")
    assert [item.name for item in (tmp_path / "out").iterdir()] == ["3"]


def test_type_maps_must_agree(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a", [1, 1, 2], [-1.0])
    write(tmp_path / "in" / "b", [1, 1, 2], [-1.0])
    (tmp_path / "in" / "b" / "type_map.raw").write_text("O\nLi\nMn\n")
    with pytest.raises(DataError, match=r"type map Li O Mn of .*, got O Li Mn"):
        mix_systems(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_to_mix_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected deepmd systems"):
        mix_systems(tmp_path, tmp_path / "out")
