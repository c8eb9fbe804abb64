# SPDX-License-Identifier: LGPL-3.0-or-later
"""Merged systems hold the same frames with the same labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spin_dp.cli import main
from spin_dp.data_tools import Rules, collect, merge_systems
from spin_dp.errors import ConfigError, DataError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "gpaw"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("merge") / "data"
    names = ("LiMnO2_4", "LiCoO2_4", "CoO2_3")
    collect(
        [EXAMPLES / f"{n}.extxyz" for n in names],
        out,
        rules=Rules(stationary_moments=True),
    )
    return out / "training"


def frames(root: Path) -> list[tuple[object, ...]]:
    """Return each frame as (energy, types, coord, spin, whether it has force_mag)."""
    found = []
    for file in root.rglob("type.raw"):
        arrays = {a.stem: np.load(a) for a in file.parent.glob("set.000/*.npy")}
        fixed = np.loadtxt(file, dtype=int)
        for i, energy in enumerate(arrays["energy"]):
            types = arrays.get("real_atom_types", {i: fixed})[i]
            found.append(
                (
                    float(energy),
                    tuple(types),
                    tuple(arrays["coord"][i]),
                    tuple(arrays["spin"][i]),
                    "force_mag" in arrays,
                )
            )
    return sorted(found)


def test_no_frame_is_lost_or_changed(data: Path, tmp_path: Path) -> None:
    merged = merge_systems(data, tmp_path / "mixed")
    assert frames(tmp_path / "mixed") == frames(data)
    n_systems = len(list(data.rglob("type.raw")))
    # 3 and 4 atoms, with and without a label for the magnetic force.
    assert len(merged) == 4 < n_systems


def test_a_batch_crosses_spin_states_and_compositions(
    data: Path, tmp_path: Path
) -> None:
    compositions = [
        len(np.unique(np.load(folder / "set.000/real_atom_types.npy"), axis=0))
        for folder in merge_systems(data, tmp_path / "mixed")
    ]
    assert max(compositions) == 2


def test_merging_again_replaces_the_older_result(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "mixed"
    assert merge_systems(data, out) == merge_systems(data, out)
    assert [p.name for p in tmp_path.iterdir()] == ["mixed"]


def test_strange_folders_are_left_alone(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none"):
        merge_systems(tmp_path, tmp_path / "mixed")
    (tmp_path / "notes").mkdir()
    with pytest.raises(ConfigError, match="holds other things"):
        merge_systems(data, tmp_path)
    assert (tmp_path / "notes").is_dir()


def test_different_type_maps_do_not_merge(data: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    collect([EXAMPLES / "CoO2_3.extxyz"], both / "a")
    collect([EXAMPLES / "MnO2_3.extxyz"], both / "b")
    with pytest.raises(DataError, match="--type-map"):
        merge_systems(both, tmp_path / "mixed")


def test_the_verb(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", str(data), "-o", str(tmp_path / "mixed")]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 4
