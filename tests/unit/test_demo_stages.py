# SPDX-License-Identifier: LGPL-3.0-or-later
"""Stages run once, again when something before them changed, and go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spin_dp.demo.stages import STATE, Reporter, Silent, Stage, read_state, run_stages
from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


class Recorder(Silent):
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
    run_stages(work.folder, work.stages(), Silent())
    (work.folder / "two" / "product").unlink()
    run_stages(work.folder, work.stages(), Silent())
    assert work.calls == ["one", "two", "two"]


def test_new_settings_repeat_a_stage_and_all_behind_it(work: Work) -> None:
    run_stages(work.folder, work.stages(), Silent())
    run_stages(work.folder, work.stages(second=2), Silent())
    assert work.calls == ["one", "two", "two"]
    run_stages(work.folder, work.stages(first=2, second=2), Silent())
    assert work.calls == ["one", "two", "two", "one", "two"]


def test_an_interrupted_stage_keeps_what_it_has(work: Work) -> None:
    work.fail = True
    with pytest.raises(RuntimeError, match="interrupted"):
        run_stages(work.folder, work.stages(), Silent())
    assert read_state(work.folder)["two"]["done"] is False
    work.fail = False
    run_stages(work.folder, work.stages(), Silent())
    assert work.calls == ["one", "two", "two"]
    assert (work.folder / "two" / "half").exists()


def test_other_settings_clear_what_an_interrupted_stage_left(work: Work) -> None:
    work.fail = True
    with pytest.raises(RuntimeError, match="interrupted"):
        run_stages(work.folder, work.stages(), Silent())
    work.fail = False
    run_stages(work.folder, work.stages(second=2), Silent())
    assert not (work.folder / "two" / "half").exists()


def test_a_broken_record_says_what_to_do(work: Work) -> None:
    (work.folder / STATE).write_text("{")
    with pytest.raises(ConfigError, match=r"state\.json.*--fresh"):
        run_stages(work.folder, work.stages(), Silent())
