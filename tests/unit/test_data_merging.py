# SPDX-License-Identifier: LGPL-3.0-or-later
"""Merged systems hold the same frames with the same labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from spin_dp.cli import main
from spin_dp.data_tools import Rules, collect, merge_systems
from spin_dp.data_tools.systems.system import find_systems, open_system
from spin_dp.errors import ConfigError, DataError
from spin_dp.training.dp_input import data_info

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
    """Return each frame as (energy, types, coord, spin, whether it has force_mag).

    Places for no atom (type -1) are left out; nothing may stand there.
    """
    found = []
    for file in root.rglob("type.raw"):
        arrays = {a.stem: np.load(a) for a in file.parent.glob("set.000/*.npy")}
        fixed = np.loadtxt(file, dtype=int)
        for i, energy in enumerate(arrays["energy"]):
            types = arrays.get("real_atom_types", {i: fixed})[i]
            real = types >= 0
            vectors = []
            for name in ("coord", "spin", "force"):
                values = arrays[name][i].reshape(-1, 3)
                assert name == "coord" or not values[~real].any()
                vectors.append(tuple(values[real].ravel()))
            has_label = "force_mag" in arrays
            found.append((float(energy), tuple(types[real]), *vectors, has_label))
    return sorted(found)


def test_no_frame_is_lost_or_changed(data: Path, tmp_path: Path) -> None:
    merged = merge_systems(data, tmp_path / "mixed")
    assert frames(tmp_path / "mixed") == frames(data)
    n_systems = len(list(data.rglob("type.raw")))
    # With and without a label for the magnetic force.
    assert [path.name for path in merged] == ["4-atoms-0", "4-atoms-1"]
    assert n_systems == 10


def test_sizes_stay_apart_where_nothing_is_filled_up(
    data: Path, tmp_path: Path
) -> None:
    merged = merge_systems(data, tmp_path / "mixed", fill=False)
    assert frames(tmp_path / "mixed") == frames(data)
    assert {path.name[:7] for path in merged} == {"3-atoms", "4-atoms"}
    for folder in merged:
        assert (np.load(folder / "set.000/real_atom_types.npy") >= 0).all()


def test_places_for_no_atom_lie_in_voids(data: Path, tmp_path: Path) -> None:
    """deepmd-kit's neighbour statistics refuse atoms that overlap."""
    for folder in merge_systems(data, tmp_path / "mixed"):
        arrays = {a.stem: np.load(a) for a in folder.glob("set.000/*.npy")}
        for types, coord, box in zip(
            arrays["real_atom_types"], arrays["coord"], arrays["box"], strict=True
        ):
            everything = Atoms(
                f"H{len(types)}", coord.reshape(-1, 3), cell=box.reshape(3, 3), pbc=True
            )
            distances = neighbor_list("d", everything, 3.0)
            assert distances.min() > 1.2  # of atoms alone 1.67 Å
            if (types >= 0).all():
                assert distances.min() > 1.6


def test_a_batch_crosses_spin_states_and_compositions(
    data: Path, tmp_path: Path
) -> None:
    compositions = [
        len(np.unique(np.load(folder / "set.000/real_atom_types.npy"), axis=0))
        for folder in merge_systems(data, tmp_path / "mixed")
    ]
    assert max(compositions) == 3  # CoO2 among them, a place of each frame empty


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


def test_merged_systems_do_not_merge_again(data: Path, tmp_path: Path) -> None:
    merge_systems(data, tmp_path / "once")
    with pytest.raises(DataError, match="is merged already"):
        merge_systems(tmp_path / "once", tmp_path / "twice")
    assert not (tmp_path / "twice").exists()


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
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_merged_systems_say_what_they_are_made_of(data: Path, tmp_path: Path) -> None:
    for folder in merge_systems(data, tmp_path / "mixed"):
        note = json.loads((folder / "spin_dp.json").read_text())
        assert note["labels"] == "dft"
        assert len(note["levels"]) == 1
    mixed, plain = (
        data_info([open_system(folder) for folder in find_systems(root)], 5.0)
        for root in (tmp_path / "mixed", data)
    )
    assert mixed == plain
    assert plain["states"]


def test_a_data_set_keeps_its_split(tmp_path: Path) -> None:
    sources = [EXAMPLES / "LiMnO2_4.extxyz", EXAMPLES / "LiCoO2_4.extxyz"]
    collect(sources, tmp_path / "data", rules=Rules(validation=0.3))
    merged = merge_systems(tmp_path / "data", tmp_path / "mixed")
    for split in ("training", "validation"):
        systems = [path for path in merged if path.parent.name == split]
        before = (tmp_path / "data" / split).rglob("energy.npy")
        energies = np.concatenate([np.load(file) for file in before])
        after = [np.load(path / "set.000" / "energy.npy") for path in systems]
        np.testing.assert_array_equal(np.sort(np.concatenate(after)), np.sort(energies))


def test_levels_that_conflict_are_merged_apart(vasp_data: Path, tmp_path: Path) -> None:
    """NMC111 with Li and with Li_sv potentials; spinel and its host go together."""
    names = ("nmc111-li-nupdown81-k1.0", "nmc111-lisv-k0.6", "limn8o16-ep0")
    sources = [vasp_data / name / "OUTCAR.gz" for name in (*names, "mn8o16-host")]
    report = collect(sources, tmp_path / "data")
    assert len(set(report.level_groups.values())) == 3
    merged = merge_systems(tmp_path / "data" / "training", tmp_path / "mixed")
    assert sorted(path.name.partition("-")[0] for path in merged) == (
        ["108", "108", "25"]
    )
    assert len({path.parent for path in merged}) == 3
    notes = [json.loads((path / "spin_dp.json").read_text()) for path in merged]
    # Cells of other elements have levels of their own, but may go together.
    assert sorted(len(note["levels"]) for note in notes) == [1, 1, 2]


def test_nominal_and_dft_moments_do_not_merge(tmp_path: Path) -> None:
    source = [EXAMPLES / "LiMnO2_4.extxyz"]
    collect(source, tmp_path / "both" / "a")
    collect(source, tmp_path / "both" / "b", rules=Rules(labels="nominal"))
    with pytest.raises(DataError, match="with the same --labels"):
        merge_systems(tmp_path / "both", tmp_path / "mixed")
