# SPDX-License-Identifier: LGPL-3.0-or-later
"""Collecting: sources, arguments and output folders that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spin_dp.data_tools import ReadOptions, Rules, collect
from spin_dp.errors import ConfigError, DataError
from spin_dp.files import check_replaceable
from tests.unit.collected import (
    folder_state,
    names_in,
    text_frame,
    write,
)


def test_missing_and_unreadable_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing here: no such file or folder"):
        collect([tmp_path / "nothing here"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: nothing to read in this folder"):
        collect([tmp_path / "empty"], tmp_path / "out")
    (tmp_path / "dangling.xyz").symlink_to(tmp_path / "gone.xyz")
    with pytest.raises(DataError, match=r"dangling\.xyz: no such file or folder"):
        collect([tmp_path / "dangling.xyz"], tmp_path / "out")
    for name in ("vasprun.xml", "OUTCAR"):
        (tmp_path / name).touch()
        with pytest.raises(DataError, match=name):
            collect([tmp_path / name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_broken_link_among_sources_is_one_quarantined_row(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    write(runs / "a.xyz", text_frame())
    for name in ("b.xyz", "OUTCAR"):
        (runs / name).symlink_to(runs / "gone")
    report = collect([runs], tmp_path / "out")
    assert (report.n_kept, report.n_quarantined) == (1, 2)
    assert all("No such file" in reason for reason in report.reasons)


def test_nothing_usable_gives_the_most_frequent_reason(tmp_path: Path) -> None:
    bad = text_frame().replace("magmoms:R:1", "others:R:1")
    source = write(tmp_path / "a.xyz", text_frame(energy=np.nan), bad, bad)
    with pytest.raises(DataError, match=r"a\.xyz: no per-atom magmoms .*2 of 3 frames"):
        collect([source], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.xyz"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nmc111-lisv-k0.6-truncated", "unfinished ionic step"),
        ("coni-no-lorbit", "rerun VASP with LORBIT=11"),
        ("nb16c8o8-ispin1-relax", r"ISPIN=2 and LORBIT=11 \(49 of 49 frames"),
        ("fe-monomer-collapsed", "absurd energy"),
    ],
)
def test_unusable_outcar_is_one_clear_error(
    vasp_data: Path, tmp_path: Path, name: str, reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        collect([vasp_data / name / "OUTCAR.gz"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"type_map": ["Ni", "Q"]}, "unknown element 'Q'"),
        ({"type_map": ["Ni", "O", "Ni"]}, "names an element twice"),
        ({"rules": Rules(validation=1.0)}, "at least 0 and below 1"),
        ({"rules": Rules(max_force=0.0)}, "force must be positive, got 0"),
    ],
)
def test_wrong_arguments_are_refused_before_reading(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    with pytest.raises(ConfigError, match=message):
        collect([source], tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_element_outside_the_type_map_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    with pytest.raises(ConfigError, match=r"unknown element .*'O'; known: Ni"):
        collect([source], tmp_path / "out", type_map=["Ni"])
    assert names_in(tmp_path / "out") == [".frames"]  # what was read is kept
    report = collect([source], tmp_path / "out", type_map=["Ni", "O"])
    assert report.n_read_now == 0


def test_output_with_foreign_files_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    out = tmp_path / "out"
    out.mkdir()
    collect([source], out)  # an empty folder is fine
    (out / "model.pth").touch()
    with pytest.raises(ConfigError, match=r"holds model\.pth besides"):
        collect([source], out)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"no earlier result of collect \(notes"):
        collect([source], foreign)
    with pytest.raises(ConfigError, match="is a file"):
        collect([source], source)
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match="is a link to nothing"):
        collect([source], tmp_path / "dangling")
    with pytest.raises(ConfigError, match=r"cannot be written .*; give another folder"):
        collect([source], "/proc/out")
    assert {path.name for path in foreign.iterdir()} == {"notes.txt"}


def test_folders_that_cannot_be_replaced_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    with pytest.raises(ConfigError, match="/: is a mount point"):
        check_replaceable(Path("/"))
    (tmp_path / "here" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "deeper")
    for out in (".", ".."):
        with pytest.raises(ConfigError, match=r"\.: holds the current folder"):
            collect([source], out)
    assert collect([source], "out").n_kept == 1


def test_output_folder_is_no_source(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    out = tmp_path / "out"
    collect([source], out)
    with pytest.raises(ConfigError, match="lies in the output folder"):
        collect([out], out)
    again = collect([tmp_path], out)  # a search of all folders passes it over
    assert (again.n_sources, again.n_kept) == (1, 1)


def test_other_arguments_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    out = tmp_path / "out"
    collect([source], out)
    before = folder_state(out)
    for arguments, message in (
        ({"rules": Rules(seed=7)}, r"another seed \(0, now 7\)"),
        (
            {"rules": Rules(labels="nominal")},
            r"another labels \('dft', now 'nominal'\)",
        ),
        ({"options": ReadOptions(level="SCAN")}, r"another level \(None, now 'SCAN'\)"),
        ({"type_map": ["Ni", "O"]}, "another type_map"),
    ):
        with pytest.raises(ConfigError, match=message):
            collect([source], out, **arguments)
    assert folder_state(out) == before
    (out / "collect.json").write_text("{}")
    with pytest.raises(
        ConfigError, match=r"collect\.json: not a record of how the folder"
    ):
        collect([source], out)
