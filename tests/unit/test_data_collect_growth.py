# SPDX-License-Identifier: LGPL-3.0-or-later
"""Collecting into a data set that grows."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.data_tools import Rules, collect
from tests.unit.collected import (
    GPAW,
    column,
    folder_state,
    kept,
    rows,
    text_frame,
    write,
)

if TYPE_CHECKING:
    import pytest


def content(out: Path) -> dict[tuple[str, int], tuple[Any, ...]]:
    """Return what is known of each frame, whatever its number, name and side are."""
    found = {}
    own = ("geometry", "split", "system", "index")
    for row in rows(out):
        arrays: dict[str, bytes] = {}
        if row["status"] == "kept":
            data = out / row["system"] / "set.000"
            arrays = {
                path.stem: np.load(path)[row["index"]].tobytes()
                for path in data.glob("*.npy")
            }
        rest = {name: value for name, value in row.items() if name not in own}
        system = row["system"].partition("/")[2]
        found[row["source"], row["step"]] = (rest, system, arrays)
    return found


def sides(out: Path) -> dict[tuple[str, int], tuple[str, str]]:
    return {
        (row["source"], row["step"]): (row["geometry"], row["split"])
        for row in rows(out)
    }


def test_grown_folder_gives_the_result_of_a_fresh_collection(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    reports = []
    for part in (["LiCoO2_4", "LiMnO2_4"], ["NiO2_3", "unconverged"], ["CoO2_3"]):
        for name in part:
            shutil.copy(GPAW / f"{name}.extxyz", runs)
        reports.append(collect([runs], tmp_path / "grown"))
    assert [report.n_read_now for report in reports] == [2, 2, 1]
    assert [report.n_sources for report in reports] == [2, 4, 5]
    fresh = collect([runs], tmp_path / "fresh")
    assert fresh.n_read_now == 5
    assert folder_state(tmp_path / "grown") == folder_state(tmp_path / "fresh")
    assert reports[-1].table.equals(fresh.table)
    again = collect([runs], tmp_path / "grown")
    assert again.n_read_now == 0
    assert folder_state(tmp_path / "grown") == folder_state(tmp_path / "fresh")


def frames_in(path: Path) -> list[str]:
    lines = path.read_text().splitlines(keepends=True)
    found = []
    while lines:
        count = 2 + int(lines[0])
        found.append("".join(lines[:count]))
        lines = lines[count:]
    return found


def test_frames_keep_geometry_and_side_in_a_growing_data_set(tmp_path: Path) -> None:
    """New frames come before, between and behind the old ones, in old and new files."""
    frames = frames_in(GPAW / "LiMnO2_4.extxyz") + frames_in(GPAW / "LiCoO2_4.extxyz")
    order = np.random.default_rng(2).permutation(len(frames))
    runs, out = tmp_path / "runs", tmp_path / "out"
    runs.mkdir()
    rules = Rules(validation=0.3, seed=1)
    known: dict[tuple[str, int], tuple[str, str]] = {}
    for stage, name in enumerate(["m", "z", "a", "m"]):
        part = [frames[i] for i in order[stage * 11 : (stage + 1) * 11]]
        path = runs / f"{name}.xyz"
        path.write_text((path.read_text() if path.exists() else "") + "".join(part))
        report = collect([runs], out, rules=rules)
        assert report.n_read_now == 1
        now = sides(out)
        assert now.keys() > known.keys()
        assert all(now[frame] == side for frame, side in known.items() if side[1])
        known = now
        held_out = [row for row in kept(rows(out)) if row["split"] == "validation"]
        geometries = {row["geometry"]: row["split"] for row in kept(rows(out))}
        for row in kept(rows(out)):
            assert geometries[row["geometry"]] == row["split"]
    assert 0 < len(held_out) < report.n_kept / 2
    fresh = collect([runs], tmp_path / "fresh", rules=rules)
    assert fresh.n_kept == report.n_kept
    grown, whole = content(out), content(fresh.out)
    for frame, (row, *rest) in whole.items():
        if row["status"] == "kept" == grown[frame][0]["status"]:
            assert grown[frame] == (row, *rest)
    statuses = [
        Counter(c[0]["status"] for c in found.values()) for found in (grown, whole)
    ]
    assert statuses[0] == statuses[1]


def test_copy_found_later_does_not_take_the_place_of_a_frame(tmp_path: Path) -> None:
    names = [f"n{i}.xyz" for i in range(6)]
    for index, name in enumerate(names):
        write(tmp_path / name, text_frame(cell=4.0 + index / 10))
    rules, out = Rules(validation=0.5), tmp_path / "out"
    collect([tmp_path / name for name in names], out, rules=rules)
    before = sides(out)
    assert {split for _, split in before.values()} == {"training", "validation"}
    copies = [
        write(tmp_path / f"a{name}", (tmp_path / name).read_text()) for name in names
    ]
    report = collect(copies, out, rules=rules)
    assert (report.n_kept, report.n_quarantined) == (6, 6)
    after = sides(out)
    assert {frame: after[frame] for frame in before} == before


def test_vanished_files_stay_until_they_are_pruned(tmp_path: Path) -> None:
    runs, out = tmp_path / "runs", tmp_path / "out"
    runs.mkdir()
    for index in range(3):
        write(runs / f"{index}.xyz", text_frame(cell=4.0 + index / 10))
    collect([runs], out)
    before = folder_state(out)
    (runs / "1.xyz").unlink()
    report = collect([runs], out)
    assert (report.n_sources, report.n_kept, report.n_read_now) == (3, 3, 0)
    assert folder_state(out) == before
    pruned = collect([runs], out, prune=True)
    assert (pruned.n_sources, pruned.n_kept, pruned.n_read_now) == (2, 2, 0)
    assert [Path(source).name for source in column(out, "source")] == ["0.xyz", "2.xyz"]
    assert len(list((out / ".frames").glob("*.npz"))) == 2
    collect([runs], tmp_path / "fresh")
    fresh, now = (content(folder) for folder in (tmp_path / "fresh", out))
    assert fresh == now


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame(), text_frame(cell=4.2))
    other = write(tmp_path / "b.xyz", text_frame(cell=4.4))
    out = tmp_path / "out"
    collect([source, other], out)
    write(source, text_frame(spin=0.0))
    report = collect([source, other], out)
    assert (report.n_read_now, report.n_kept) == (1, 2)
    assert column(out, "key") == ["Ni2+LS[1]", "Ni2+[1up]"]


def test_sources_may_be_added_later_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files of one name, each given by its name in its own folder."""
    out = tmp_path / "out"
    for index, name in enumerate(("first", "second")):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "a.xyz", text_frame(cell=4.0 + index))
        monkeypatch.chdir(tmp_path / name)
        report = collect(["a.xyz"], out)
        assert (report.n_read_now, report.n_sources) == (1, index + 1)
    assert column(out, "source") == [
        str(tmp_path / name / "a.xyz") for name in ("first", "second")
    ]
    assert len(set(column(out, "geometry"))) == 2
    assert collect([tmp_path / "first"], out).n_read_now == 0


def test_partner_that_comes_later_leaves_no_second_source(
    vasp_data: Path, tmp_path: Path
) -> None:
    """A vasprun.xml alone has no moments; with its OUTCAR it is one run with it."""
    runs, out = tmp_path / "runs", tmp_path / "out"
    runs.mkdir()
    shutil.copy(vasp_data / "fe4-static" / "vasprun.xml.gz", runs)
    write(runs / "a.xyz", text_frame())
    assert collect([runs], out).n_quarantined == 1
    shutil.copy(vasp_data / "fe4-static" / "OUTCAR.gz", runs)
    report = collect([runs], out)
    assert (report.n_sources, report.n_kept, report.n_quarantined) == (2, 2, 0)
