# SPDX-License-Identifier: LGPL-3.0-or-later
"""Work on requests goes on where it was stopped, and nothing is computed twice."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from spin_dp.data_tools.level import Level, named_level
from spin_dp.data_tools.readers.ase_files import read_extxyz
from spin_dp.dft import Engine, Outcome, Progress, Request, Status, run_requests
from spin_dp.errors import BackendError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from spin_dp.data_tools import Frame, Rejected


@dataclass(frozen=True, kw_only=True)
class Springs(Engine):
    """Atoms on springs, an engine of four lines; it can be told to fail."""

    log: Path
    fails: int = 0
    number: int = 0
    level_name: str = "springs"

    name: ClassVar[str] = "springs"

    def level(self, elements: Iterable[str]) -> Level:
        return named_level(self.level_name)

    def check(self) -> None:
        pass

    def prepare(self, request: Request, folder: Path) -> None:
        (folder / "input").write_text(request.name)

    def run(
        self, request: Request, folder: Path, *, threads: int, keep: Sequence[int] = ()
    ) -> None:
        with self.log.open("a") as stream:
            stream.write(f"{request.name}\n")
        if self.number:
            raise OSError(self.number, os.strerror(self.number), str(folder / "x"))
        if self.log.read_text().split().count(request.name) <= self.fails:
            raise BackendError("a spring broke")
        atoms = request.atoms.copy()
        results = {
            "energy": -1.0,
            "free_energy": -1.0,
            "forces": -atoms.positions,
            "magmoms": request.moments,
        }
        atoms.info = {"settings": self.level_name}
        atoms.calc = SinglePointCalculator(atoms, **results)
        write(folder / "frame.extxyz", atoms)

    def frame(self, request: Request, folder: Path) -> Frame | Rejected | None:
        path = folder / "frame.extxyz"
        return next(read_extxyz(path)) if path.exists() else None


@pytest.fixture
def requests() -> list[Request]:
    atoms = bulk("NiO", "rocksalt", a=4.2)
    return [Request(f"run-{m}", atoms, np.array([m, 0.0])) for m in range(5)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def run(
    requests: list[Request], engine: Engine, folder: Path, **settings: object
) -> list[Outcome]:
    with ThreadPoolExecutor(2) as pool:
        return run_requests(requests, engine, folder, executor=pool, **settings)  # type: ignore[arg-type]


def test_nothing_is_computed_twice(
    requests: list[Request], log: Path, tmp_path: Path
) -> None:
    engine = Springs(log=log)
    first = run(requests[:3], engine, tmp_path / "runs")
    second = run(requests[::-1], engine, tmp_path / "runs")
    assert [o.name for o in second] == [r.name for r in requests[::-1]]
    assert second[:1:-1] == first
    assert sorted(log.read_text().split()) == [r.name for r in requests]
    assert {o.status for o in second} == {Status.CONVERGED}
    assert second[0].moments == (4.0, 0.0)


def test_interrupted_run_is_run_again_and_a_finished_one_is_read(
    requests: list[Request], log: Path, tmp_path: Path
) -> None:
    """A kill leaves a record of a running run, with or without its result."""
    engine = Springs(log=log)
    run(requests[:2], engine, tmp_path / "runs")
    for request in requests[:2]:
        path = tmp_path / "runs" / request.name / "state.json"
        record = json.loads(path.read_text())
        record |= {"running": "elsewhere, process 1", "status": "waiting"}
        path.write_text(json.dumps(record))
    (tmp_path / "runs" / "run-0" / "frame.extxyz").unlink()
    found = run(requests[:2], engine, tmp_path / "runs")
    assert {o.status for o in found} == {Status.CONVERGED}
    assert sorted(log.read_text().split()) == ["run-0", "run-0", "run-1"]


def test_failed_runs_are_tried_again_so_often(
    requests: list[Request], log: Path, tmp_path: Path
) -> None:
    found = run(requests[:1], Springs(log=log, fails=2), tmp_path / "a", retries=2)
    assert (found[0].status, found[0].failures) == (Status.CONVERGED, 2)
    log.unlink()
    engine = Springs(log=log, fails=9)
    for _ in range(2):  # over all calls
        found = run(requests[:1], engine, tmp_path / "b", retries=2)
        assert (found[0].status, found[0].failures) == (Status.FAILED, 3)
        assert found[0].reason == "a spring broke"
    assert len(log.read_text().split()) == 3
    run(requests[:1], engine, tmp_path / "b", retries=3)
    assert len(log.read_text().split()) == 4


def test_folder_that_another_session_has_is_left_alone(
    requests: list[Request], log: Path, tmp_path: Path
) -> None:
    engine = Springs(log=log)
    folder = tmp_path / "runs" / "run-1"
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        found = run(requests[:3], engine, tmp_path / "runs")
    assert [o.status == Status.CONVERGED for o in found] == [True, False, True]
    assert found[1].status is Status.WAITING
    assert found[1].reason.startswith("is run by another session")
    assert run(requests[:3], engine, tmp_path / "runs")[1].status is Status.CONVERGED


def test_budget_of_runs_and_hours(
    requests: list[Request], log: Path, tmp_path: Path
) -> None:
    engine = Springs(log=log)
    found = run(requests, engine, tmp_path / "runs", max_runs=2)
    assert [o.status for o in found] == [Status.CONVERGED] * 2 + [Status.WAITING] * 3
    assert found[2].reason == "not begun: the budget of runs or hours is spent"
    found = run(requests, engine, tmp_path / "runs", max_hours=0.0)
    assert [o.status for o in found] == [Status.CONVERGED] * 2 + [Status.WAITING] * 3
    assert sorted(log.read_text().split()) == ["run-0", "run-1"]
    found = run(requests, engine, tmp_path / "runs", max_hours=1.0)
    assert {o.status for o in found} == {Status.CONVERGED}


def test_progress_counts_up_to_the_total(
    requests: list[Request], log: Path, tmp_path: Path
) -> None:
    seen: list[Progress] = []
    run(requests, Springs(log=log), tmp_path / "runs", progress=seen.append)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert (seen[0].done, seen[0].left, seen[0].total) == (0, None, 5)
    assert seen[0].running == 2
    assert (seen[-1].done, seen[-1].running, seen[-1].left) == (5, 0, 0.0)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_one_sentence_and_the_call_goes_on(
    requests: list[Request], log: Path, tmp_path: Path, number: int
) -> None:
    run(requests[:2], Springs(log=log), tmp_path / "runs")
    with pytest.raises(BackendError, match=r"cannot be written .*; make room") as error:
        run(requests, Springs(log=log, number=number), tmp_path / "runs")
    assert "\n" not in str(error.value)
    found = run(requests, Springs(log=log), tmp_path / "runs")
    assert {(o.status, o.failures) for o in found} == {(Status.CONVERGED, 0)}


def test_folder_of_another_run_is_refused(
    requests: list[Request], log: Path, tmp_path: Path
) -> None:
    engine = Springs(log=log)
    run(requests[:1], engine, tmp_path)
    before = (tmp_path / "run-0" / "state.json").read_bytes()
    other = Request("run-0", requests[0].atoms, np.array([9.0, 0.0]))
    with pytest.raises(ConfigError, match="holds another run of that name"):
        run([other], engine, tmp_path)
    with pytest.raises(ConfigError, match=r"was run by springs-.*, now .* soft-"):
        run(requests[:1], Springs(log=log, level_name="soft"), tmp_path)
    assert (tmp_path / "run-0" / "state.json").read_bytes() == before
    (tmp_path / "run-0" / "state.json").write_text("{")
    with pytest.raises(ConfigError, match="not the record of a DFT run"):
        run(requests[:1], engine, tmp_path)


def test_wrong_arguments_are_refused(
    requests: list[Request], log: Path, tmp_path: Path
) -> None:
    engine = Springs(log=log)
    with pytest.raises(ConfigError, match="two requests have the name run-0"):
        run_requests([requests[0], requests[0]], engine, tmp_path)
    with pytest.raises(ConfigError, match="at least one worker"):
        run_requests(requests, engine, tmp_path, workers=0)
    assert list(tmp_path.iterdir()) == []
