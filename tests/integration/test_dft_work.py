# SPDX-License-Identifier: LGPL-3.0-or-later
"""DFT work with real processes that are killed, on this machine and on Dask."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pymatgen.core import SETTINGS

from spin_dp.data_tools import Frame, find_sources, read_source
from spin_dp.dft import Outcome, Request, Status, run_requests
from spin_dp.dft.teacher import Teacher
from spin_dp.dft.vasp import Vasp
from spin_dp.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
_POTCAR = """  {title}
   1.0000000000000
 parameters from PSCTR are:
   VRHFIN ={name}: made up for this test
   LEXCH  = PE
   TITEL  = PAW_PBE {name} 01Jan2000
   POMASS =   10.000; ZVAL   =   1.000    mass and valenz
   ENMAX  =  269.864; ENMIN  =  202.398 eV
   END of PSCTR-controll parameters
 local part
   0.10000000E+01 0.20000000E+01 0.30000000E+01
   End of Dataset
"""


def displaced(count: int) -> list[Request]:
    """Return requests for displaced nickel oxide."""
    found = []
    for number in range(count):
        atoms: Atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True)
        atoms.rattle(0.05, seed=number)
        moments = np.where(atoms.numbers == 28, 1.7, 0.0)
        found.append(Request(f"run-{number:03d}", atoms, moments))
    return found


def session(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start this file as a program that works in ``folder``."""
    code = f"from {__name__} import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def main() -> None:
    """Run requests as the arguments say; print the reasons of what is not there."""
    folder, kind, value, count = sys.argv[1:5]
    if kind == "teacher":
        found = run_requests(
            displaced(int(count)), Teacher(model=value), folder, workers=2
        )
    else:
        outcar, command = value.split("|")
        found = run_requests([_answered(Path(outcar))], Vasp(command=command), folder)
    sys.stdout.write(
        "\n".join(f"{outcome.status} {outcome.reason}" for outcome in found)
    )


def wait_until(true: Callable[[], bool], seconds: float = 150.0) -> None:
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < seconds
        time.sleep(0.02)


def finished(folder: Path) -> dict[str, int]:
    """Return when each finished run's record was written."""
    return {
        path.parent.name: path.stat().st_mtime_ns
        for path in folder.glob("*/state.json")
        if '"status": "converged"' in path.read_text()
    }


@pytest.mark.slow
def test_killed_session_goes_on_where_it_was(
    predicting_model: Path, tmp_path: Path
) -> None:
    count = 12
    arguments = ("teacher", str(predicting_model), str(count))
    with session(tmp_path, *arguments) as first:
        wait_until(lambda: len(finished(tmp_path)) >= 3)
        first.kill()
    assert first.returncode == -signal.SIGKILL
    before = finished(tmp_path)
    assert len(before) < count
    with session(tmp_path, *arguments) as second:
        said, errors = second.communicate(timeout=200)
    assert second.returncode == 0, errors
    assert said.split() == ["converged"] * count
    after = finished(tmp_path)
    assert {name: after[name] for name in before} == before


@pytest.fixture
def potcars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pymatgen find POTCARs, here and in processes started from here."""
    for name in ("Li_sv", "Mn_pv", "Ni_pv", "O"):
        folder = tmp_path / "psp" / "POT_GGA_PAW_PBE" / name
        folder.mkdir(parents=True)
        text = _POTCAR.format(title=f"PAW_PBE {name}", name=name)
        (folder / "POTCAR").write_text(text)
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "psp"))
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(tmp_path / "psp"))


def _answered(outcar: Path) -> Request:
    frame = next(read_source(find_sources([outcar])[0]))
    assert isinstance(frame, Frame)
    atoms = Atoms(frame.symbols, frame.positions, cell=frame.cell, pbc=True)
    return Request("spinel", atoms, np.where(atoms.numbers == 25, 5.0, 0.6))


def test_program_that_outlives_its_session_keeps_its_claim(
    vasp_data: Path, potcars: None, tmp_path: Path
) -> None:
    """Its result is read when it is there, and it is never started twice."""
    outcar = vasp_data / "limn8o16-im0" / "OUTCAR.relax1.gz"
    go, log, runs = tmp_path / "go", tmp_path / "log", tmp_path / "runs"
    command = (
        f"echo started >> '{log}'; while ! [ -e '{go}' ]; do sleep 0.1; done; "
        f"gunzip -c '{outcar}' > part; mv part OUTCAR"
    )
    with session(runs, "vasp", f"{outcar}|{command}", "1") as first:
        wait_until(log.exists)
        first.kill()
    request, engine = _answered(outcar), Vasp(command=command)
    (found,) = run_requests([request], engine, runs)
    assert found.status is Status.WAITING
    assert found.reason.startswith("is run by another session (")
    go.touch()
    results: list[Outcome] = []

    def answered() -> bool:
        results[:] = run_requests([request], engine, runs)
        return results[0].status is not Status.WAITING

    wait_until(answered)
    assert results[0].status is Status.CONVERGED
    assert log.read_text() == "started\n"


def test_lost_process_is_one_sentence_and_the_call_goes_on(
    potcars: None, tmp_path: Path
) -> None:
    requests = displaced(2)
    killing = Vasp(command="kill -9 $PPID")
    with pytest.raises(BackendError, match="a worker was lost while it ran") as error:
        run_requests(requests, killing, tmp_path / "runs")
    assert "\n" not in str(error.value)
    assert "the same call goes on" in str(error.value)
    found = run_requests(requests, Vasp(command="exit 3"), tmp_path / "runs", retries=0)
    assert {(o.status, o.failures) for o in found} == {(Status.FAILED, 1)}


def test_disk_without_room_is_one_sentence(
    predicting_model: Path, tmp_path: Path
) -> None:
    """The limit on the size of files stands for the disk; it holds for all programs."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600)); "
        f"from {__name__} import main; main()"
    )
    arguments = [str(tmp_path), "teacher", str(predicting_model), "1"]
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 1
    assert "cannot be written (File too large); make room" in done.stderr
    assert not list(tmp_path.glob("*/frame.extxyz"))
    found = run_requests(displaced(1), Teacher(model=str(predicting_model)), tmp_path)
    assert {o.status for o in found} == {Status.CONVERGED}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Yield the address of a Dask scheduler that gives up a task with its worker."""
    import dask
    import distributed

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as running,
    ):
        yield running.scheduler_address


def test_cluster_gives_the_result_of_processes(
    cluster: str, predicting_model: Path, tmp_path: Path
) -> None:
    requests, engine = displaced(3), Teacher(model=str(predicting_model), flipped=0.5)
    here = run_requests(requests, engine, tmp_path / "here")
    there = run_requests(requests, engine, tmp_path / "there", scheduler=cluster)
    assert [(o.energy, o.moments) for o in here] == [
        (o.energy, o.moments) for o in there
    ]
    assert {o.folder.parent for o in there} == {tmp_path / "there"}


def test_lost_dask_worker_is_one_sentence_and_the_call_goes_on(
    cluster: str,
    predicting_model: Path,
    potcars: None,
    tmp_path: Path,
) -> None:
    requests = displaced(1)
    folder = tmp_path / "runs" / requests[0].name
    folder.mkdir(parents=True)
    (folder / "POTCAR").touch()  # its workers were started before there were any
    killing = _Unchecked(command="kill -9 $PPID")
    with pytest.raises(BackendError, match="a worker was lost while it ran run-000"):
        run_requests(requests, killing, tmp_path / "runs", scheduler=cluster)
    engine = _Unchecked(command="exit 3")
    (found,) = run_requests(
        requests, engine, tmp_path / "runs", scheduler=cluster, retries=0
    )
    assert (found.status, found.failures) == (Status.FAILED, 1)


class _Unchecked(Vasp):
    def check(self) -> None:
        """Ask for no POTCARs."""
