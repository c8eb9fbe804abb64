# SPDX-License-Identifier: LGPL-3.0-or-later
"""Fingerprints follow their formula, choices cover, the smaller folder is whole."""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from spin_dp.data_tools import Frame, write_system
from spin_dp.data_tools.collection.manifest import COLUMNS, SITE_COLUMNS
from spin_dp.data_tools.level import named_level
from spin_dp.data_tools.selection.choice import (
    farthest_points,
    nearest_distances,
    random_choice,
    share_out,
    shares,
)
from spin_dp.data_tools.selection.features import frame_fingerprint
from spin_dp.data_tools.selection.select import select_frames
from spin_dp.demo.origins import RATTLED
from spin_dp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

GPAW = Path(__file__).resolve().parents[2] / "examples" / "gpaw"
TYPE_MAP = ("Li", "Mn", "Co", "Ni", "O")
N_FRAMES = 221  # examples/gpaw/README.md
C = math.pi / 6.0


def read_images() -> Iterator[tuple[str, int, Atoms]]:
    for file in (GPAW / f"{name}.extxyz" for name in RATTLED):
        for step, atoms in enumerate(ase.io.read(file, index=":"), start=1):
            yield str(file), step, atoms


@pytest.fixture(scope="module")
def images() -> list[Atoms]:
    return [atoms for _, _, atoms in read_images()]


def moments_of(atoms: Atoms) -> np.ndarray:
    return np.outer(atoms.get_magnetic_moments(), [0.0, 0.0, 1.0])


def print_of(atoms: Atoms, moments: np.ndarray | None = None) -> np.ndarray:
    return frame_fingerprint(
        atoms.get_chemical_symbols(),
        atoms.positions,
        atoms.cell.array,
        moments_of(atoms) if moments is None else moments,
    )


def documented_fingerprint(atoms: Atoms, moments: np.ndarray) -> list[float]:
    """Evaluate the formulas of the module's docstring with loops and ASE."""
    symbols = atoms.get_chemical_symbols()
    elements = [e for e in TYPE_MAP if e in symbols]
    pairs = list(zip(*neighbor_list("ijd", atoms, 6.0), strict=True))
    blocks: list[float] = []

    def g(x: float) -> float:
        return math.exp(-(x**2) / 2)

    for a, first in enumerate(elements):
        for second in elements[a:]:
            norm = math.sqrt(symbols.count(first) * symbols.count(second))
            members = [
                (d, math.asinh(moments[i] @ moments[j]), (1 + math.cos(d * C)) / 2)
                for i, j, d in pairs
                if (symbols[i], symbols[j]) == (first, second)
            ]
            for k in range(16):
                r, w = 1 + k / 3, 1 / 3
                blocks.append(sum(s * g((d - r) / w) for d, _, s in members) / norm)
            if {first, second} <= {"Mn", "Co", "Ni"}:
                blocks += [
                    sum(s * g(x - k) for _, x, s in members) / norm / 4
                    for k in range(-5, 6)
                ]
    for element in elements:
        sizes = [
            float(np.linalg.norm(m))
            for m, symbol in zip(moments, symbols, strict=True)
            if symbol == element
        ]
        for k in range(17):
            shares = [g((m - k / 2) / 0.5) + g((m + k / 2) / 0.5) for m in sizes]
            blocks.append(sum(shares) / len(sizes))
    return [*blocks, atoms.get_volume() / len(atoms)]


@pytest.mark.parametrize("name", ["NiO2_3", "LiNi05Mn05O2"])
def test_fingerprint_is_what_the_docstring_says(name: str) -> None:
    atoms = ase.io.read(GPAW / f"{name}.extxyz", index=1)
    moments = np.random.default_rng(0).normal(scale=2.0, size=(len(atoms), 3))
    np.testing.assert_allclose(
        print_of(atoms, moments), documented_fingerprint(atoms, moments), atol=1e-9
    )


def test_fingerprint_does_not_see_what_does_not_matter() -> None:
    atoms = ase.io.read(GPAW / "LiNi05Mn05O2.extxyz", index=0)
    rng = np.random.default_rng(1)
    moments = rng.normal(size=(len(atoms), 3))
    expected = print_of(atoms, moments)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotated = atoms.copy()
    rotated.set_cell(atoms.cell.array @ rotation.T)
    rotated.positions = atoms.positions @ rotation.T
    moved = atoms.copy()
    moved.positions += [0.3, -7.0, 11.0]
    order = rng.permutation(len(atoms))
    repeated = atoms.repeat((2, 1, 1))
    for other, other_moments in (
        (rotated, moments),
        (atoms, moments @ rotation.T),
        (atoms, -moments),
        (moved, moments),
        (atoms[order], moments[order]),
        (repeated, np.tile(moments, (2, 1))),
    ):
        np.testing.assert_allclose(print_of(other, other_moments), expected, atol=1e-9)


def test_fingerprint_is_smooth_where_a_pair_leaves_the_cutoff() -> None:
    def pair(distance: float) -> np.ndarray:
        atoms = Atoms("NiMn", [[0, 0, 0], [distance, 0, 0]], cell=[30.0] * 3, pbc=True)
        return print_of(atoms, np.eye(3)[:2] * 2.0)

    inside, at, outside = (pair(6.0 + d) for d in (-1e-3, 0.0, 1e-3))
    assert np.abs(inside - at).max() < 1e-6  # (π d / 2 r_c)² of a pair
    np.testing.assert_array_equal(at, outside)
    assert np.abs(pair(3.0) - pair(3.1)).max() > 0.01


def test_states_of_one_geometry_lie_apart(images: list[Atoms]) -> None:
    """FM and AFM Mn, and high-spin and low-spin Co, at one geometry each."""
    for name, first, second in (
        ("LiMnO2_8-001", "Mn+4,Mn+4;M+8.0", "Mn+4,Mn-4;M+0.0"),
        ("LiCoO2_4-002", "Co0;M+0.0", "Co+3;M+4.0"),
    ):
        members = [a for a in images if a.info["geometry_id"] == name]
        a = next(a for a in members if a.info["final_state"] == first)
        b = next(a for a in members if a.info["final_state"] == second)
        assert np.linalg.norm(print_of(a) - print_of(b)) > 0.5


def test_shares_by_largest_remainder() -> None:
    """The example of the article on the method, Wikipedia (Hare quota, ten seats)."""
    votes = [47000, 16000, 15800, 12000, 6100, 3100]
    assert share_out(votes, 10, votes, [0] * 6).tolist() == [5, 2, 1, 1, 1, 0]


def test_equal_shares_fill_small_states_and_share_the_rest() -> None:
    have = [1, 50, 3, 50, 50]
    assert share_out(have, 64, [1] * 5, [0] * 5).tolist() == [1, 20, 3, 20, 20]
    assert share_out(have, 3, [1] * 5, [0] * 5).tolist() == [0, 1, 0, 1, 1]
    assert share_out(have, 154, [1] * 5, [0] * 5).tolist() == have


def test_minimum_per_state_is_met() -> None:
    compositions = np.array([0] * 90 + [1] * 10)
    states = np.array([0] * 88 + [1] * 2 + [2] * 5 + [3] * 5)
    per_state, per_composition = shares("farthest", compositions, states, 12, 3)
    assert per_state.tolist() == [3, 2, 3, 3]  # the second state has only two
    assert per_composition.tolist() == [6, 6]
    _, without = shares("farthest", compositions, states, 10, 0)
    assert without.tolist() == [9, 1]
    for seed in range(5):
        chosen = random_choice(states, 12, 3, seed)
        assert len(set(chosen)) == 12
        assert (np.bincount(states[chosen]) >= [3, 2, 3, 3]).all()
    with pytest.raises(ConfigError, match="are 11 frames, more than the 10"):
        random_choice(states, 10, 3, 0)


@pytest.mark.parametrize("seed", range(5))
def test_farthest_points_are_within_twice_the_best_cover(seed: int) -> None:
    """The bound of Gonzalez (1985), with the best choice found by trying all."""
    points = np.random.default_rng(seed).normal(size=(12, 2))
    found = farthest_points(points, 4, [0])
    assert found[0] == 0
    assert len(set(found)) == 4
    best = min(
        nearest_distances(points, choice).max() for choice in combinations(range(12), 4)
    )
    assert nearest_distances(points, found).max() <= 2.0 * best


def test_equal_points_are_chosen_once() -> None:
    points = np.zeros((5, 3))
    assert sorted(farthest_points(points, 5, [2])) == [0, 1, 2, 3, 4]
    assert np.isinf(nearest_distances(points, [])).all()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as collect writes it, states named by the total moment."""
    root = tmp_path_factory.mktemp("select") / "data"
    rows: list[dict[str, object]] = []
    members: dict[str, list[Frame]] = {}
    for source, step, atoms in read_images():
        frame = Frame(
            source=source,
            step=step,
            symbols=tuple(atoms.get_chemical_symbols()),
            cell=atoms.cell.array,
            positions=atoms.positions,
            energy=atoms.get_potential_energy(),
            forces=atoms.get_forces(),
            moments=moments_of(atoms),
            virial=-atoms.get_volume() * atoms.get_stress(voigt=False),
            level=named_level("made"),
        )
        key = f"M[{abs(round(atoms.info['total_magmom']))}]"
        split = "validation" if step % 6 == 0 else "training"
        system = f"{split}/{frame.formula}/made/{key}"
        row = {"source": source, "step": step, "formula": frame.formula, "key": key}
        row |= {"level": "made", "status": "kept", "reason": "", "system": system}
        row |= {"natoms": frame.natoms, "energy": frame.energy}
        row |= {"index": len(members.setdefault(system, [])), "split": split}
        members[system].append(frame)
        rows.append(row)
    rows.insert(5, {**rows[0], "status": "quarantined", "system": "", "index": -1})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.to_csv(root.parent / "manifest.csv", index=False)
    for number, (system, frames) in enumerate(members.items()):
        write_system(root / system, frames, TYPE_MAP, stationary=number % 2 == 0)
        (root / system / "spin_dp.json").write_text(json.dumps({"system": system}))
    (root.parent / "manifest.csv").rename(root / "manifest.csv")
    sites = pd.DataFrame([row for row in rows if row["system"]])
    sites = sites[["system", "index", "source", "step"]].assign(moment=1.5)
    sites = sites.reindex(columns=[*SITE_COLUMNS, "source", "step"])
    sites.to_csv(root / "sites.csv.gz", index=False)
    for name in (
        *("collect.json", "levels.json", "states.csv"),
        *("report.html", ".hidden"),
    ):
        (root / name).write_text(name)
    return root


def kept(folder: Path) -> pd.DataFrame:
    manifest = pd.read_csv(folder / "manifest.csv", keep_default_na=False)
    return manifest[manifest["status"] == "kept"]


@pytest.fixture(scope="module")
def smaller(data: Path) -> Path:
    out = data.parent / "smaller"
    report = select_frames(data, out, 60)
    assert report.n_chosen == 60
    return out


def test_chosen_frames_keep_every_label(data: Path, smaller: Path) -> None:
    before = kept(data).set_index(["source", "step"])
    after = kept(smaller)
    assert (after["split"] == "training").sum() == 60
    for _, row in after.iterrows():
        old = before.loc[(row["source"], row["step"])]
        assert row["system"] == old["system"]
        files = {p.name for p in (data / old["system"] / "set.000").iterdir()}
        assert files == {
            p.name for p in (smaller / row["system"] / "set.000").iterdir()
        }
        for name in files:
            np.testing.assert_array_equal(
                np.load(smaller / row["system"] / "set.000" / name)[row["index"]],
                np.load(data / old["system"] / "set.000" / name)[old["index"]],
            )
    for system, rows in after.groupby("system"):
        folder = smaller / str(system)
        assert len(np.load(folder / "set.000/energy.npy")) == len(rows)
        assert json.loads((folder / "spin_dp.json").read_text()) == {"system": system}
    written = {p.parent for p in (smaller / "training").rglob("type.raw")}
    assert written == {
        smaller / s for s in after.loc[after["split"] == "training", "system"]
    }


def test_everything_else_of_the_folder_is_there(data: Path, smaller: Path) -> None:
    for path in (data / "validation").rglob("*"):
        other = smaller / path.relative_to(data)
        assert path.is_dir() or other.read_bytes() == path.read_bytes()
    assert {path.name for path in smaller.iterdir()} == {
        *("collect.json", "levels.json", "manifest.csv", "selection.json"),
        *("sites.csv.gz", "states.csv", "training", "validation"),
    }
    before = pd.read_csv(data / "manifest.csv", keep_default_na=False)
    after = pd.read_csv(smaller / "manifest.csv", keep_default_na=False)
    same = ["source", "step", "formula", "key", "level", "split"]
    pd.testing.assert_frame_equal(before[same], after[same])
    unselected = after[after["status"] == "unselected"]
    assert set(unselected["system"]) == {""}
    assert set(unselected["index"]) == {-1}
    assert set(unselected["split"]) == {"training"}
    assert (after["status"] == "quarantined").sum() == 1
    with gzip.open(smaller / "sites.csv.gz") as stream:
        sites = pd.read_csv(stream)
    place = ["source", "step"]
    expected = kept(smaller).sort_values(place)[["system", "index", *place]]
    found = sites.sort_values(place)[list(expected)]
    assert found.to_numpy().tolist() == expected.to_numpy().tolist()


def test_states_get_equal_numbers_or_all_they_have(data: Path, smaller: Path) -> None:
    table = json.loads((smaller / "selection.json").read_text())["states"]
    training = kept(data)[kept(data)["split"] == "training"]
    have = Counter(
        zip(*(training[c] for c in ("formula", "level", "key")), strict=True)
    )
    got = {(s["formula"], s["level"], s["key"]): s["frames_after"] for s in table}
    assert sum(got.values()) == 60
    most = max(got.values())
    for state, number in have.items():
        assert got[state] in {number, most, most - 1}
    for state in table:
        assert (
            state["frames_before"]
            == have[state["formula"], state["level"], state["key"]]
        )


def test_statistics_are_those_of_the_frames(data: Path, smaller: Path) -> None:
    record = json.loads((smaller / "selection.json").read_text())
    for folder, when in ((data, "before"), (smaller, "after")):
        forces, volumes = [], []
        for system in (folder / "training").rglob("type.raw"):
            arrays = system.parent / "set.000"
            force = np.load(arrays / "force.npy")
            vectors = force.reshape(len(force), -1, 3)
            forces += np.linalg.norm(vectors, axis=2).max(axis=1).tolist()
            boxes = np.load(arrays / "box.npy").reshape(-1, 3, 3)
            volumes += (np.abs(np.linalg.det(boxes)) / vectors.shape[1]).tolist()
        assert record[when]["frames"] == len(forces)
        assert record[when]["force"] == pytest.approx([min(forces), max(forces)])
        assert record[when]["volume"] == pytest.approx([min(volumes), max(volumes)])
    energies = {
        (atoms.symbols.formula.format("hill"), source, step): (
            atoms.get_potential_energy() / len(atoms)
        )
        for source, step, atoms in read_images()
        if step % 6
    }
    lowest: dict[str, float] = {}
    for (formula, _, _), energy in energies.items():
        lowest[formula] = min(energy, lowest.get(formula, 0.0))
    above = [energy - lowest[name] for (name, _, _), energy in energies.items()]
    assert record["before"]["energy"] == pytest.approx([0.0, 1000.0 * max(above)])


def test_farthest_covers_better_than_random(data: Path, tmp_path: Path) -> None:
    def largest(method: str, seed: int = 0) -> float:
        out = tmp_path / f"{method}-{seed}"
        report = select_frames(
            data, out, 0.4, method=method, seed=seed, per_state_minimum=1
        )
        assert report.n_uncovered == 0
        assert report.mean_distance < report.largest_distance
        return report.largest_distance

    at_random = [largest("random", seed) for seed in range(3)]
    assert len(set(at_random)) > 1
    assert largest("farthest") < 0.8 * np.mean(at_random)
    assert largest("stratified") < np.mean(at_random)


def test_choice_of_all_frames_leaves_none_out(data: Path, tmp_path: Path) -> None:
    n_training = int((kept(data)["split"] == "training").sum())
    report = select_frames(data, tmp_path / "all", n_training, method="farthest")
    assert math.isnan(report.largest_distance)
    record = json.loads((tmp_path / "all/selection.json").read_text())
    assert record["left_out"]["largest_distance"] is None
    assert record["before"] == record["after"]
    pd.testing.assert_frame_equal(kept(tmp_path / "all"), kept(data))


def test_same_call_gives_the_same_choice_and_may_be_repeated(
    data: Path, smaller: Path
) -> None:
    before = (smaller / "manifest.csv").read_text()
    select_frames(data, smaller, 60)
    assert (smaller / "manifest.csv").read_text() == before
    with pytest.raises(ConfigError, match=r"another number \(60, now 61\)"):
        select_frames(data, smaller, 61)
    again = select_frames(smaller, smaller.parent / "again", 30)  # a choice of a choice
    assert again.n_available == 60
    statuses = pd.read_csv(again.manifest)["status"].value_counts()
    assert statuses["unselected"] == N_FRAMES - statuses["kept"]


@pytest.mark.parametrize(
    ("number", "options", "message"),
    [
        (10**6, {}, r"1000000 frames cannot be chosen: .*data has \d+ training frames"),
        (0, {}, "at least one frame must be chosen, got 0"),
        (1.5, {}, "between 0 and 1, got 1.5"),
        (0.0, {}, "between 0 and 1, got 0.0"),
        (float("nan"), {}, "between 0 and 1, got nan"),
        (9, {"method": "fartest"}, "unknown method .*did you mean 'farthest'"),
        (9, {"seed": -1}, "seed must be 0 or more, got -1"),
        (9, {"per_state_minimum": -1}, "minimum per state must be 0 or more"),
        (9, {"per_state_minimum": 1}, "more than the 9 to be chosen"),
    ],
)
def test_impossible_arguments_are_refused(
    data: Path,
    tmp_path: Path,
    number: float,
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        select_frames(data, tmp_path / "out", number, **options)
    assert not list(tmp_path.iterdir())


def test_output_folder_with_other_things_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lies in the data folder"):
        select_frames(data, data / "training" / "new", 9)
    with pytest.raises(ConfigError, match="lies in the data folder"):
        select_frames(data, data, 9)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").touch()
    with pytest.raises(ConfigError, match=r"no earlier result of select \(notes.txt"):
        select_frames(data, tmp_path / "other", 9)
    with pytest.raises(ConfigError, match="is a file"):
        select_frames(data, tmp_path / "other/notes.txt", 9)
    select_frames(data, tmp_path / "out", 9)
    (tmp_path / "out/notes.txt").touch()
    with pytest.raises(ConfigError, match=r"holds notes.txt besides"):
        select_frames(data, tmp_path / "out", 9)
    assert (tmp_path / "out/notes.txt").exists()


def small_data(folder: Path) -> Path:
    atoms = ase.io.read(GPAW / "NiO2_3.extxyz", index=0)
    frame = Frame(
        source="a",
        step=1,
        symbols=tuple(atoms.get_chemical_symbols()),
        cell=atoms.cell.array,
        positions=atoms.positions,
        energy=-1.0,
        forces=atoms.get_forces(),
        moments=moments_of(atoms),
        virial=None,
        level=named_level("made"),
    )
    write_system(folder / "training/s", [frame, frame], TYPE_MAP)
    row = {"source": "a", "step": 1, "natoms": 3, "energy": -1.0, "formula": "NiO2"}
    row |= {"level": "made", "key": "k", "status": "kept", "split": "training"}
    place = ["split", "system", "index"]
    table = pd.DataFrame(
        [row | {"system": "training/s", "index": i} for i in range(2)],
        columns=[*(name for name in COLUMNS if name not in place), *place],
    )
    table.to_csv(folder / "manifest.csv", index=False)
    for name in ("collect.json", "levels.json", "states.csv", "sites.csv.gz"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("manifest.csv", "s,1\n", "s,2\n", "frames 0 to 1 of .* 2 rows up to 2"),
        ("manifest.csv", "s,1\n", "s,0\n", "frames 0 to 1 of .* 2 rows up to 0"),
        (
            "manifest.csv",
            "training/s,",
            "training/t,",
            "t: not a deepmd system",
        ),
        ("manifest.csv", "s,1\n", "s,one\n", "expected whole numbers as index"),
        ("manifest.csv", ",key", ",keys", "found no key; collect the data again"),
        ("manifest.csv", ",-1.0,", ",low,", "expected numbers as energy"),
        ("manifest.csv", ",-1.0,", ",,", "energy of a kept frame of a is not a finite"),
        ("manifest.csv", ",kept,", ",unselected,", "none of the 2 frames was kept"),
        ("manifest.csv", ",training,", ",validation,", "expected training frames"),
        ("training/s/type.raw", "4", "7", "outside type_map.raw, which names"),
    ],
)
def test_damaged_data_are_refused(
    tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    data = small_data(tmp_path / "data")
    text = (data / file).read_text()
    assert old in text
    (data / file).write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        select_frames(data, tmp_path / "out", 1)


def test_incomplete_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"expected a folder written by spin-dp collect"
    ):
        select_frames(tmp_path, tmp_path / "out", 1)
    data = small_data(tmp_path / "data")
    labels = data / "training/s/set.000"
    force = np.load(labels / "force.npy")
    np.save(labels / "force.npy", force[:1])
    with pytest.raises(DataError, match=r"force.npy has shape \(1, 9\), expected \(2"):
        select_frames(data, tmp_path / "out", 1)
    (labels / "force.npy").unlink()
    with pytest.raises(DataError, match=r"no force.npy in set.000"):
        select_frames(data, tmp_path / "out", 1)
