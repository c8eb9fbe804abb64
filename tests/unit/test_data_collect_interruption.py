# SPDX-License-Identifier: LGPL-3.0-or-later
"""Collecting that is interrupted or disturbed, and folders that are replaced."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from spin_dp.data_tools import CollectReport, ReadOptions, Rules, collect
from spin_dp.data_tools.collection.output_folder import carry_store, locked
from spin_dp.data_tools.systems.writing import FrameWriter
from spin_dp.errors import ConfigError
from spin_dp.files import replaced_folder
from tests.unit.collected import (
    NICKEL,
    column,
    folder_state,
    names_in,
    text_frame,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("n_flushes", [0, 1])
def test_interrupted_writing_leaves_everything_as_it_was(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    n_flushes: int,
) -> None:
    source = write(tmp_path / "a.xyz", text_frame(), text_frame(spin=0.0))
    out, new = tmp_path / "out", tmp_path / "new"
    collect([source], out)
    before = folder_state(out)
    flush, calls = FrameWriter.flush, []

    def fail(writer: FrameWriter) -> None:
        calls.append(writer)
        if len(calls) > n_flushes:
            raise error
        flush(writer)

    with monkeypatch.context() as patch:
        patch.setattr(FrameWriter, "flush", fail)
        for folder in (out, new):
            calls.clear()
            with pytest.raises(error):
                collect([source], folder)
    assert folder_state(out) == before
    assert names_in(new) == [".frames"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.xyz", "out", "new"}
    assert collect([source], new).n_read_now == 0
    assert folder_state(new) == before


def test_interrupted_reading_keeps_what_was_read(tmp_path: Path) -> None:
    sources = [
        write(tmp_path / f"{i}.xyz", text_frame(cell=4.0 + i / 10)) for i in range(4)
    ]
    out = tmp_path / "out"

    def stop(path: Path, number: int, count: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(sources, out, progress=stop)
    assert names_in(out) == [".frames"]
    report = collect(sources, out)
    assert (report.n_read_now, report.n_kept) == (2, 4)
    collect(sources, tmp_path / "fresh")
    assert folder_state(out) == folder_state(tmp_path / "fresh")


def test_frames_of_an_interrupted_run_with_other_sources_are_left_out(
    tmp_path: Path,
) -> None:
    wrong, right, later = (
        write(tmp_path / f"{name}.xyz", text_frame(cell=cell))
        for name, cell in (("wrong", 4.0), ("right", 4.5), ("later", 5.0))
    )
    out = tmp_path / "out"

    def stop(path: Path, number: int, count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect([wrong], out, options=ReadOptions(level="SCAN"), progress=stop)
    collect([right], out)
    assert column(out, "source") == [str(right)]
    with pytest.raises(KeyboardInterrupt):
        collect([wrong], out, progress=stop)
    collect([later], out)
    assert column(out, "source") == [str(later), str(right)]
    assert len(list((out / ".frames").glob("*.npz"))) == 2


def test_damaged_shard_is_read_again(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    out = tmp_path / "out"
    collect([source], out)
    before = folder_state(out)
    (shard,) = (out / ".frames").glob("*.npz")
    shard.write_bytes(b"")  # what a power failure may leave
    assert collect([source], out).n_read_now == 1
    assert folder_state(out) == before


def test_result_left_aside_by_a_kill_is_put_back(tmp_path: Path) -> None:
    """Where folders cannot be exchanged, a kill may strike between two renames."""
    source = write(tmp_path / "a.xyz", text_frame())
    out = tmp_path / "out"
    collect([source], out)
    before = folder_state(out)
    shutil.copytree(out, tmp_path / ".out.part")
    out.rename(tmp_path / ".out.old")
    assert collect([source], out).n_read_now == 0
    assert folder_state(out) == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.xyz", "out"}


def test_folders_are_replaced_where_they_cannot_be_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spin_dp.files._exchange", lambda *folders: False)
    source = write(tmp_path / "a.xyz", text_frame())
    out = tmp_path / "out"
    collect([source], out)
    write(source, text_frame(), text_frame(cell=4.2))
    assert collect([source], out).n_kept == 2
    assert {path.name for path in tmp_path.iterdir()} == {"a.xyz", "out"}


def test_one_collection_at_a_time(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    out = tmp_path / "out"
    collect([source], out)
    message = "out: another process collects into this folder; wait for it or give"
    with locked(out):
        with pytest.raises(ConfigError, match=message):
            collect([source], out)
        with replaced_folder(out) as fresh:
            (fresh / "manifest.csv").touch()
            (fresh / "collect.json").write_text('{"arguments": {}}')
            carry_store([], out, fresh)
        with pytest.raises(ConfigError, match=message), locked(out):
            pass  # also while the replaced folder is being removed
    with locked(out):
        pass


def test_output_may_be_a_link(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    link, real = tmp_path / "link", tmp_path / "disk" / "real"
    real.mkdir(parents=True)
    link.symlink_to(real)
    reports: list[CollectReport] = [collect([source], link) for _ in range(2)]
    assert [report.n_read_now for report in reports] == [1, 0]
    assert link.is_symlink()
    assert (real / "manifest.csv").exists()
    assert reports[0].manifest == link / "manifest.csv"
    assert {path.name for path in tmp_path.iterdir()} == {"a.xyz", "link", "disk"}
    assert names_in(tmp_path / "disk") == ["real"]


def test_rebuild_takes_other_rules_and_reads_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    collect([NICKEL], out, rules=Rules(validation=0.3, seed=3))
    with pytest.raises(ConfigError, match=r"another seed .*give --rebuild"):
        collect([NICKEL], out, rules=Rules(validation=0.3, seed=4))
    report = collect([NICKEL], out, rules=Rules(validation=0.3, seed=4), rebuild=True)
    assert report.n_read_now == 0
    fresh = collect([NICKEL], tmp_path / "new", rules=Rules(validation=0.3, seed=4))
    assert pd.read_csv(report.manifest).equals(pd.read_csv(fresh.manifest))
    collect([NICKEL], out, rules=Rules(validation=0.3, seed=4))  # its rules are kept
