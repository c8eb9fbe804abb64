# SPDX-License-Identifier: LGPL-3.0-or-later
"""A LAMMPS that takes its commands one by one, and says clearly why it failed.

It is the stock program, on any number of MPI processes: without an input file it reads
commands from a pipe, and it stays up between them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Self

from spin_dp.errors import BackendError
from spin_dp.lammps_interface.program import INSTALL_HINT, LAUNCHER, lammps_command
from spin_dp.lammps_interface.thermo import ThermoParser
from spin_dp.threads import process_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from spin_dp.lammps_interface.thermo import ThermoRow

log = logging.getLogger(__name__)

SCREEN_FILE = "screen.txt"

# What LAMMPS says where forces have torn a system apart.
_UNSTABLE = (
    *("Lost atoms", "Non-numeric", "simulation unstable", "Out of range atoms"),
    *("Too many neighbor bins", "Simulation box"),
)
_READY = "spin-dp: ready"
_START_S, _STARTS = 60.0, 3
_GRACE_S = 10.0  # time for MPI to stop its processes before they are killed


class UnstableRunError(BackendError):
    """LAMMPS has stopped because the atoms fly apart."""


class LammpsProcess:
    """A running LAMMPS. As a context manager it is stopped at the end, come what may.

    Parameters
    ----------
    folder
        Working folder; the screen output is kept there in ``screen.txt``.
    ranks
        Number of MPI processes.

    Attributes
    ----------
    thermo
        What was read from the screen so far.

    Raises
    ------
    ConfigError
        If the number of processes is not positive.
    BackendError
        If LAMMPS is not found or cannot be started.
    """

    def __init__(self, folder: Path, *, ranks: int = 1) -> None:
        command = lammps_command(ranks=ranks)
        self.thermo = ThermoParser()
        self._n_executed = 0
        self._errors: list[str] = []
        self._folder = folder
        self._screen_path = folder / SCREEN_FILE
        # A launcher of a cluster may wait for processors as long as it takes.
        wait = ranks > 1 and LAUNCHER not in os.environ
        for attempt in range(_STARTS if wait else 1):
            self._screen = self._screen_path.open("w", encoding="utf-8")
            self._process = self._started(command)
            if not wait or self._has_begun():
                return
            log.warning(
                "LAMMPS on %d processes does not answer (attempt %d of %d)",
                ranks,
                attempt + 1,
                _STARTS,
            )
        raise BackendError(
            f"{command[0]}: LAMMPS on {ranks} processes did not answer within "
            f"{_START_S:g} s, {_STARTS} times. Try `{command[0]} -n {ranks} hostname`; "
            "one process needs no launcher."
        )

    def _started(self, command: Sequence[str]) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                command,
                cwd=self._folder,
                env=process_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # one group to stop: lmp has a child
            )
        except OSError as error:
            self._screen.close()
            raise BackendError(f"{command[0]} could not be started: {error}") from error

    def _has_begun(self) -> bool:
        """Return False, with LAMMPS stopped, where it hangs before its first command.

        MPI launchers now and then do.
        """
        is_late = threading.Event()

        def give_up() -> None:
            is_late.set()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

        timer = threading.Timer(_START_S, give_up)
        timer.start()
        try:
            self._is_answered(f'print "{_READY}"\n', _READY, None)
        except BaseException:
            self._kill()
            raise
        finally:
            timer.cancel()
        if is_late.is_set():
            self._kill()
        return not is_late.is_set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def execute(
        self, commands: str, *, on_row: Callable[[ThermoRow], None] | None = None
    ) -> None:
        """Have commands executed, and wait until they are.

        Any exception, also from ``on_row`` or the keyboard, stops LAMMPS first.

        Parameters
        ----------
        commands
            Lines of an input deck.
        on_row
            Called with each thermo row as it appears.

        Raises
        ------
        BackendError
            If LAMMPS fails, with its own error line; if it is not running any more.
        """
        self._n_executed += 1
        mark = f"spin-dp: done {self._n_executed}"
        try:
            if not self._is_answered(f'{commands}\nprint "{mark}"\n', mark, on_row):
                raise self._failure()
        except BaseException:
            self._kill()
            raise

    def stop(self) -> None:
        """End LAMMPS, which has nothing to do any more."""
        if self._screen.closed:
            return
        try:  # at the end of its input it ends by itself
            rest, _ = self._process.communicate(timeout=_GRACE_S)
            self._screen.write(rest)
        except subprocess.TimeoutExpired:
            self._kill()
        self._screen.close()

    def _kill(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=_GRACE_S)
        for pipe in (self._process.stdin, self._process.stdout):
            # What was meant for a process that is gone cannot be written any more.
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        self._screen.close()

    def _is_answered(
        self, text: str, mark: str, on_row: Callable[[ThermoRow], None] | None
    ) -> bool:
        """Return whether all commands were executed; False where LAMMPS has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._screen.closed:
            raise BackendError("LAMMPS is not running any more: start it anew")
        with contextlib.suppress(BrokenPipeError):  # it has ended; its output says why
            self._process.stdin.write(text)
            self._process.stdin.flush()
        for line in self._process.stdout:
            if line.rstrip() == mark:
                self._screen.flush()
                return True
            self._screen.write(line)
            if _is_error(line):
                self._errors.append(line.strip())
            row = self.thermo.feed(line)
            if row is not None and on_row is not None:
                on_row(row)
        return False

    def _failure(self) -> BackendError:
        status = self._process.wait()
        if not self._errors:
            return BackendError(
                f"LAMMPS stopped with status {status} and no error line (killed, or "
                f"out of memory?); the last lines of {self._screen_path} may say more"
            )
        first = self._errors[0]
        message = f"LAMMPS failed: {first}. Full output: {self._screen_path}"
        if any(words in first for words in _UNSTABLE):
            return UnstableRunError(message)
        if "deepspin" in first and "nrecognized" in first:
            message = (
                f"this LAMMPS has no pair style deepspin ({first}). Install the one "
                f"that deepmd-kit comes with: {INSTALL_HINT}. Full output: "
                f"{self._screen_path}"
            )
        elif "shared object" in first:
            message = f"LAMMPS misses a library ({first}). Install it: {INSTALL_HINT}"
        return BackendError(message)


def _is_error(line: str) -> bool:
    return line.startswith("ERROR") or "cannot open shared object file" in line
