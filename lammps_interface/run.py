# SPDX-License-Identifier: LGPL-3.0-or-later
"""Start LAMMPS, follow it line by line, and say clearly why it failed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

from spin_dp.errors import BackendError
from spin_dp.lammps_interface.program import INSTALL_HINT, lammps_environment
from spin_dp.lammps_interface.thermo import ThermoParser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from spin_dp.lammps_interface.thermo import ThermoRow

SCREEN_FILE = "screen.txt"

_GRACE_S = 10.0  # time for MPI to stop its processes before they are killed


def run_lammps(
    command: Sequence[str], folder: Path, *, on_row: Callable[[ThermoRow], None]
) -> None:
    """Run LAMMPS in a folder and hand over each thermo row as it appears.

    Any exception, also from ``on_row`` or the keyboard, stops LAMMPS first.

    Parameters
    ----------
    command
        Program and arguments.
    folder
        Working folder; the screen output is kept there in ``screen.txt``.
    on_row
        Called with each thermo row.

    Raises
    ------
    BackendError
        If LAMMPS cannot be started or fails; with its own error line.
    """
    parser = ThermoParser()
    errors: list[str] = []
    screen_path = folder / SCREEN_FILE
    with screen_path.open("w", encoding="utf-8") as screen:
        process = _start(command, folder)
        try:
            assert process.stdout is not None  # it is a pipe
            for line in process.stdout:
                screen.write(line)
                if _is_error(line):
                    errors.append(line.strip())
                row = parser.feed(line)
                if row is not None:
                    on_row(row)
            status = process.wait()
        finally:
            _stop(process)
    if status:
        raise _failure(status, errors, screen_path)


def _start(command: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=lammps_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # one group to stop: lmp starts a second process
        )
    except OSError as error:
        raise BackendError(f"{command[0]} could not be started: {error}") from error


def _stop(process: subprocess.Popen[str]) -> None:
    if process.stdout is not None:
        process.stdout.close()
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_GRACE_S)
            return


def _is_error(line: str) -> bool:
    return line.startswith("ERROR") or "cannot open shared object file" in line


def _failure(status: int, errors: list[str], screen: Path) -> BackendError:
    if not errors:
        return BackendError(
            f"LAMMPS stopped with status {status} and no error line (killed, or out "
            f"of memory?); the last lines of {screen} may say more"
        )
    first = errors[0]
    message = f"LAMMPS failed: {first}. Full output: {screen}"
    if "deepspin" in first and "nrecognized" in first:
        message = (
            f"this LAMMPS has no pair style deepspin ({first}). Install the one that "
            f"deepmd-kit comes with: {INSTALL_HINT}. Full output: {screen}"
        )
    elif "shared object" in first:
        message = f"LAMMPS misses a library ({first}). Install it: {INSTALL_HINT}"
    return BackendError(message)
