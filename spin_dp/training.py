# SPDX-License-Identifier: LGPL-3.0-or-later
"""Train and freeze models by stock ``dp --pt``, with progress and resume.

Everything dp reads and writes stays in the folder of ``input.json``, so that a run
can be repeated or continued there by hand.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

from spin_dp.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int, dict[str, float]], None]
"""Called with the run's name, steps done, all steps and the newest errors."""

LOG_TAIL = 12
"""Lines of dp's log that an error shows."""

_POLL_SECONDS = 0.3
_STARTED_FROM = "input.started.json"
_LOG = "train.log"


def train(
    input_json: Path,
    *,
    resume: bool = True,
    threads: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Train one model and freeze it; see :func:`train_together`.

    Parameters
    ----------
    input_json
        Input of dp.
    resume, threads, progress
        As in :func:`train_together`; the run's name is that of the folder.

    Returns
    -------
    Path
        The frozen model.
    """
    name = input_json.resolve().parent.name
    runs = {name: input_json}
    return train_together(runs, resume=resume, threads=threads, progress=progress)[name]


def train_together(
    inputs: Mapping[str, Path],
    *,
    resume: bool = True,
    threads: int = 1,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Train several models at the same time, each by its own ``dp``, and freeze them.

    Parameters
    ----------
    inputs
        Input of dp for each run's name, each in a folder of its own.
    resume
        Continue an interrupted training of exactly this input from its newest
        checkpoint, and leave a finished one alone. Otherwise start over.
    threads
        Threads of each process.
    progress
        Called a few times a second.

    Returns
    -------
    dict
        The frozen model ``model.pth`` of each run, beside its input.

    Raises
    ------
    BackendError
        If dp fails; the message ends with the last lines of its log. The other runs
        are stopped then, and can be resumed.
    """
    runs = {name: _Run(path, threads) for name, path in inputs.items()}
    try:
        for run in runs.values():
            run.start(resume=resume)
        while True:
            running = [run.poll() for run in runs.values()]
            if progress is not None:
                for name, run in runs.items():
                    step, errors = run.newest()
                    progress(name, step, run.total, errors)
            if not any(running):
                break
            time.sleep(_POLL_SECONDS)
    finally:
        for run in runs.values():
            run.stop()
    return {
        name: freeze(run.checkpoint(), run.folder / "model.pth", threads=threads)
        for name, run in runs.items()
    }


def freeze(checkpoint: Path, output: Path, *, threads: int = 1) -> Path:
    """Freeze a checkpoint with ``dp --pt freeze``.

    Parameters
    ----------
    checkpoint
        A ``model.ckpt-*.pt``.
    output
        The ``.pth`` to write; left alone where it is newer than the checkpoint.
    threads
        Threads of the process.

    Returns
    -------
    Path
        The frozen model.
    """
    if output.is_file() and output.stat().st_mtime >= checkpoint.stat().st_mtime:
        return output
    part = output.with_name(f"{output.stem}.part.pth")
    _dp("freeze", "-c", str(checkpoint), "-o", str(part), threads=threads)
    part.replace(output)
    return output


def read_learning_curve(path: Path) -> pd.DataFrame:
    """Read dp's ``lcurve.out``, also while it is written and after a restart.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    pandas.DataFrame
        Columns as in the file's header, sorted by ``step``; of steps run twice the
        later values. Empty with no columns where the file has no header yet.
    """
    names, rows = _curve_rows(path)
    newest = {int(row[0]): row for row in rows}
    table = pd.DataFrame([newest[step] for step in sorted(newest)], columns=names)
    return table.astype({"step": int}) if names else table


class _Run:
    """One ``dp --pt train`` process and its folder."""

    def __init__(self, input_json: Path, threads: int) -> None:
        self.input = input_json.resolve()
        self.folder = self.input.parent
        self.threads = threads
        content = json.loads(self.input.read_text())
        self.total = int(content["training"]["numb_steps"])
        self.process: subprocess.Popen[bytes] | None = None
        self.begun_at = 0
        self.known_rows = 0
        self.finished = False

    def start(self, *, resume: bool) -> None:
        started = self.folder / _STARTED_FROM
        same = started.is_file() and started.read_bytes() == self.input.read_bytes()
        if not (resume and same):
            self._clear()
            shutil.copyfile(self.input, started)
        newest = _newest_checkpoint(self.folder)
        if newest is not None:
            self.begun_at = _step_of(newest)
            if self.begun_at >= self.total:
                self.finished = True
                return
            log.info("%s: resuming at step %d", self.folder.name, self.begun_at)
        self.known_rows = len(_curve_rows(self.folder / "lcurve.out")[1])
        restart = ["--restart", newest.name] if newest is not None else []
        command = [*_dp_command(), "train", self.input.name, *restart]
        with (self.folder / _LOG).open("ab") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=_environment(self.threads),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def poll(self) -> bool:
        """Return whether it still runs; raise if it failed."""
        if self.process is None or self.finished:
            return False
        code = self.process.poll()
        if code is None:
            return True
        if code != 0:
            text = (self.folder / _LOG).read_text(errors="replace")
            raise BackendError(
                f"dp train in {self.folder} stopped with exit status {code}. The last "
                f"lines of {_LOG}:\n{_tail(text)}"
            )
        self.finished = True
        return False

    def newest(self) -> tuple[int, dict[str, float]]:
        """Return the step reached and the errors last written."""
        names, rows = _curve_rows(self.folder / "lcurve.out")
        step = self.total if self.finished else self.begun_at
        # Rows from before a restart may be ahead of the checkpoint.
        fresh = rows if self.finished else rows[self.known_rows :]
        if not fresh:
            return step, {}
        errors = dict(zip(names[1:], fresh[-1][1:], strict=True))
        return max(step, int(fresh[-1][0])), errors

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def checkpoint(self) -> Path:
        found = _newest_checkpoint(self.folder)
        if found is None:
            raise BackendError(
                f"dp train in {self.folder} ended without a checkpoint; see {_LOG}."
            )
        return found

    def _clear(self) -> None:
        names = ("model*.pt", "model*.pth", "checkpoint", "lcurve.out", _LOG)
        for pattern in names:
            for file in self.folder.glob(pattern):
                file.unlink()


def _dp(*arguments: str, threads: int) -> str:
    done = subprocess.run(
        [*_dp_command(), *arguments],
        env=_environment(threads),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BackendError(
            f"dp {arguments[0]} stopped with exit status {done.returncode}. Its last "
            f"lines:\n{_tail(done.stdout)}"
        )
    return done.stdout


def _dp_command() -> list[str]:
    return [sys.executable, "-m", "deepmd", "--pt"]


def _environment(threads: int) -> dict[str, str]:
    count = str(threads)
    return {
        **os.environ,
        "OMP_NUM_THREADS": count,
        "DP_INTRA_OP_PARALLELISM_THREADS": count,
        "DP_INTER_OP_PARALLELISM_THREADS": count,
        # dp starts its loader processes anew for every pass over a system; with many
        # small systems that takes longer than the training itself.
        "NUM_WORKERS": "0",
        # glibc hands large blocks back to the system at once; tensors of some MB then
        # cost page faults in every step, a fifth of the time.
        "MALLOC_MMAP_THRESHOLD_": "1000000000",
        "MALLOC_TRIM_THRESHOLD_": "2000000000",
    }


def _newest_checkpoint(folder: Path) -> Path | None:
    found = [
        file for file in folder.glob("model.ckpt-*.pt") if zipfile.is_zipfile(file)
    ]
    return max(found, key=_step_of, default=None)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.stem.rpartition("-")[2])


def _curve_rows(path: Path) -> tuple[list[str], list[list[float]]]:
    names: list[str] = []
    rows: list[list[float]] = []
    if path.is_file():
        for line in path.read_text().splitlines(keepends=True):
            fields = line.split()
            if fields[:2] == ["#", "step"]:
                names = fields[1:]
            elif names and fields[:1] != ["#"] and line.endswith("\n"):
                # A line without its end is still being written.
                rows.append([float(field) for field in fields])
    return names, rows


def _tail(text: str) -> str:
    return "\n".join(text.rstrip().splitlines()[-LOG_TAIL:])
