# SPDX-License-Identifier: LGPL-3.0-or-later
"""Stages run once, again when something before them changed, and go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from spin_dp.errors import ConfigError
from spin_dp.stages import STATE, Reporter, Stage, prepare_folder, run_stages

if TYPE_CHECKING:
    from pathlib import Path


class Recorder(Reporter):
    def __init__(self) -> None:
        self.resumed: list[bool] = []

    def end(self, *, resumed: bool, seconds: float) -> None:
        assert seconds >= 0.0
        self.resumed.append(resumed)


class Work:
    """Two stages that count how often they run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[str] = []
        self.fail = False

    def stages(self, first: int = 1, second: int = 1) -> list[Stage]:
        return [self._stage("one", first), self._stage("two", second)]

    def _stage(self, name: str, setting: int) -> Stage:
        product = self.folder / name / "product"

        def run(reporter: Reporter) -> None:
            self.calls.append(name)
            product.parent.mkdir(exist_ok=True)
            if self.fail and name == "two":
                (product.parent / "half").touch()
                raise RuntimeError("interrupted")
            product.touch()

        return Stage(
            name=name,
            title=name,
            run=run,
            products=[product],
            settings={"setting": setting},
            clears=[product.parent],
        )


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)


def test_finished_stages_are_not_repeated(work: Work) -> None:
    recorder = Recorder()
    run_stages(work.folder, work.stages(), recorder)
    run_stages(work.folder, work.stages(), recorder)
    assert work.calls == ["one", "two"]
    assert recorder.resumed == [False, False, True, True]


def test_a_lost_product_is_made_again(work: Work) -> None:
    run_stages(work.folder, work.stages(), Reporter())
    (work.folder / "two" / "product").unlink()
    run_stages(work.folder, work.stages(), Reporter())
    assert work.calls == ["one", "two", "two"]


def test_new_settings_repeat_a_stage_and_all_behind_it(work: Work) -> None:
    run_stages(work.folder, work.stages(), Reporter())
    run_stages(work.folder, work.stages(second=2), Reporter())
    assert work.calls == ["one", "two", "two"]
    run_stages(work.folder, work.stages(first=2, second=2), Reporter())
    assert work.calls == ["one", "two", "two", "one", "two"]


def test_an_interrupted_stage_keeps_what_it_has(work: Work) -> None:
    work.fail = True
    with pytest.raises(RuntimeError, match="interrupted"):
        run_stages(work.folder, work.stages(), Reporter())
    assert json.loads((work.folder / STATE).read_text())["two"]["done"] is False
    work.fail = False
    run_stages(work.folder, work.stages(), Reporter())
    assert work.calls == ["one", "two", "two"]
    assert (work.folder / "two" / "half").exists()


def test_other_settings_clear_what_an_interrupted_stage_left(work: Work) -> None:
    work.fail = True
    with pytest.raises(RuntimeError, match="interrupted"):
        run_stages(work.folder, work.stages(), Reporter())
    work.fail = False
    run_stages(work.folder, work.stages(second=2), Reporter())
    assert not (work.folder / "two" / "half").exists()


def test_a_kill_while_old_products_are_removed_leaves_none_of_them(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old settings come back: half of what they had made is no result."""
    run_stages(work.folder, work.stages(), Reporter())

    def killed(_paths: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("spin_dp.stages._clear", killed)
        with pytest.raises(KeyboardInterrupt):
            run_stages(work.folder, work.stages(first=2), Reporter())
    run_stages(work.folder, work.stages(), Reporter())
    assert work.calls == ["one", "two", "one"]


KILLED = """
import os, signal, sys
from pathlib import Path
from spin_dp.stages import Reporter, Stage, run_stages

folder = Path(sys.argv[1])

def one(reporter):
    with (folder / "calls").open("a") as file:
        file.write("one ")
    (folder / "one").touch()

def two(reporter):
    with (folder / "calls").open("a") as file:
        file.write("two ")
    if not (folder / "half").exists():
        (folder / "half").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "two").touch()

stages = [
    Stage(name=run.__name__, title="", run=run, products=[folder / run.__name__])
    for run in (one, two)
]
run_stages(folder, stages, Reporter())
"""


def test_a_killed_process_goes_on_where_it_was(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert subprocess.run(command, check=False).returncode == 0
    assert (tmp_path / "calls").read_text() == "one two two "


@pytest.mark.parametrize("content", ["{", '{"one": {"digest": "x"}}'])
def test_a_broken_record_says_what_to_do(work: Work, content: str) -> None:
    (work.folder / STATE).write_text(content)
    with pytest.raises(ConfigError, match=r"state\.json.*remove it to run them all"):
        run_stages(work.folder, work.stages(), Reporter())


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    for fresh in (False, True):
        with pytest.raises(ConfigError, match=r"holds other things \(thesis\.tex\)"):
            prepare_folder(tmp_path, fresh=fresh)
    with pytest.raises(ConfigError, match=r"thesis\.tex: is a file; give a folder"):
        prepare_folder(tmp_path / "thesis.tex")


def test_a_fresh_start_removes_an_earlier_run(work: Work) -> None:
    run_stages(work.folder, work.stages(), Reporter())
    prepare_folder(work.folder)
    assert (work.folder / STATE).exists()
    (work.folder / f".{STATE}.1.part").touch()
    prepare_folder(work.folder, fresh=True)
    assert list(work.folder.iterdir()) == []


def test_what_a_kill_left_of_the_first_record_is_no_other_thing(tmp_path: Path) -> None:
    (tmp_path / f".{STATE}.1.part").touch()
    prepare_folder(tmp_path)
