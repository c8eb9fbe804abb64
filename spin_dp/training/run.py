# SPDX-License-Identifier: LGPL-3.0-or-later
"""Train and freeze models by stock ``dp --pt``, with progress and resume.

Everything dp reads and writes stays in the folder of ``input.json``, so that a run
can be repeated or continued there by hand.
"""

from __future__ import annotations

import json
import logging
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from spin_dp.errors import BackendError, ConfigError
from spin_dp.files import write_text
from spin_dp.training import program
from spin_dp.training.dp_input import REMARKS
from spin_dp.training.output import (
    CURVE,
    checkpoint_files,
    curve_rows,
    newest_checkpoint,
    step_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int, dict[str, float]], None]
"""Called with the run's name, steps done, all steps and the newest errors."""

INPUT = "input.json"
MODEL = "model.pth"

_POLL_SECONDS = 0.3
_STARTED_FROM = "input.started.json"
_LOG = "train.log"


def train(
    input_json: Path,
    *,
    finetune: Path | None = None,
    resume: bool = True,
    accept_changes: bool = False,
    threads: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Train one model and freeze it; see :func:`train_together`.

    Parameters
    ----------
    input_json
        Input of dp.
    finetune
        Checkpoint to start from, with its energy bias fitted to the new data; None:
        the one that the input names (``spin-dp init --like``), if it does.
    resume, accept_changes, threads, progress
        As in :func:`train_together`; the run's name is that of the folder.

    Returns
    -------
    Path
        The frozen model.

    Raises
    ------
    ConfigError, BackendError
        As :func:`train_together`.
    """
    name = input_json.resolve().parent.name
    return train_together(
        {name: input_json},
        finetune=finetune,
        resume=resume,
        accept_changes=accept_changes,
        threads=threads,
        progress=progress,
    )[name]


def train_together(
    inputs: Mapping[str, Path],
    *,
    finetune: Path | None = None,
    resume: bool = True,
    accept_changes: bool = False,
    threads: int = 1,
    at_once: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Train several models at the same time, each by its own ``dp``, and freeze them.

    Parameters
    ----------
    inputs
        Input of dp for each run's name, each in a folder of its own.
    finetune
        Checkpoint that all of them start from; None: what each input names, if it
        does.
    resume
        Continue an interrupted training of exactly this input from its newest
        checkpoint, and leave a finished one alone. Otherwise start over: checkpoints,
        learning curve and log of the earlier training are removed, all other files
        stay.
    accept_changes
        Continue also where the checkpoints were started from another input.
    threads
        Threads of each process.
    at_once
        Trainings that run at the same time; all of them if None.
    progress
        Called a few times a second.

    Returns
    -------
    dict
        The frozen model ``model.pth`` of each run, beside its input.

    Raises
    ------
    ConfigError
        If a folder has checkpoints of another input and it is not said what to do, or
        starting over would remove the checkpoint to start from.
    BackendError
        If dp fails; the message ends with the last lines of its log. The other runs
        are stopped then, and can be resumed.
    """
    if at_once is not None and at_once < 1:
        raise ConfigError(f"at_once must be at least 1; got {at_once}.")
    runs = {name: _Run(path, threads, finetune) for name, path in inputs.items()}
    for run in runs.values():
        run.check(resume=resume, accept_changes=accept_changes)
    waiting = list(runs.values())
    started: list[_Run] = []
    try:
        while True:
            running = [run for run in started if run.poll()]
            while waiting and (at_once is None or len(running) < at_once):
                run = waiting.pop(0)
                run.start(resume=resume)
                started.append(run)
                running += [run] if run.poll() else []
            if progress is not None:
                for name, run in runs.items():
                    step, errors = run.newest()
                    progress(name, step, run.total, errors)
            if not running and not waiting:
                break
            time.sleep(_POLL_SECONDS)
    finally:
        for run in runs.values():
            run.stop()
    return {
        name: freeze(run.checkpoint(), run.folder / MODEL, threads=threads)
        for name, run in runs.items()
    }


def freeze(checkpoint: Path, output: Path, *, threads: int = 1) -> Path:
    """Freeze a checkpoint with ``dp --pt freeze``, if that was not done yet.

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
    program.run_dp("freeze", "-c", str(checkpoint), "-o", str(part), threads=threads)
    part.replace(output)
    return output


class _Run:
    """One ``dp --pt train`` process and its folder."""

    def __init__(
        self, input_json: Path, threads: int, finetune: Path | None = None
    ) -> None:
        self.input = input_json.resolve()
        self.folder = self.input.parent
        self.threads = threads
        content = json.loads(self.input.read_text())
        remembered = content.get(REMARKS, {}).get("parent")
        # What the input itself names is part of its text, the folder may move.
        self._named = "" if finetune is None else f"// from {finetune.resolve()}\n"
        if finetune is None and remembered is not None:
            finetune = self.folder / remembered["file"]
        self.finetune = None if finetune is None else finetune.resolve()
        self.total = int(content["training"]["numb_steps"])
        self.process: subprocess.Popen[bytes] | None = None
        self.begun_at = 0
        self.known_rows = 0
        self.finished = False

    def check(self, *, resume: bool, accept_changes: bool) -> None:
        """Refuse to remove or to go on from checkpoints where that was not meant."""
        newest = newest_checkpoint(self.folder)
        if newest is None or not resume:
            self._require_parent()
        if not resume:
            self._check_source()
        elif newest is not None and not accept_changes and not self._is_known():
            source = f" and {self.finetune}" if self._named else ""
            raise ConfigError(
                f"{self.folder}: {newest.name} was not started from this "
                f"{self.input.name}{source}; go on from it with the new input "
                "(--continue, accept_changes=True), or remove it and start over "
                "(--fresh, resume=False)."
            )

    def _require_parent(self) -> None:
        """Refuse a folder without the checkpoint that its input names."""
        if self.finetune is None or self._named or self.finetune.is_file():
            return
        raise ConfigError(
            f"{self.finetune}: no such checkpoint, from which {self.input.name} says "
            "that the training starts; write the folder again with "
            "`spin-dp init --like MODEL --force`."
        )

    def _check_source(self) -> None:
        if self.finetune in self._earlier():
            raise ConfigError(
                f"{self.finetune}: starting over removes this checkpoint, from which "
                "the training is to start; copy it to another folder."
            )

    def start(self, *, resume: bool) -> None:
        if not resume or newest_checkpoint(self.folder) is None:
            for file in self._earlier():
                file.unlink(missing_ok=True)
        write_text(self.folder / _STARTED_FROM, self._origin())
        newest = newest_checkpoint(self.folder)
        if newest is not None:
            self.begun_at = step_of(newest)
            if self.begun_at >= self.total:
                self.finished = True
                return
            log.info("%s: resuming at step %d", self.folder.name, self.begun_at)
        self.known_rows = len(curve_rows(self.folder / CURVE)[1])
        if newest is not None:
            origin = ["--restart", newest.name]
        elif self.finetune is not None:
            origin = ["--finetune", str(self.finetune)]
        else:
            origin = []
        command = program.train_command(MODEL, self.input.name, *origin)
        with (self.folder / _LOG).open("ab") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=program.environment(self.threads),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def _is_known(self) -> bool:
        """Return whether what is in the folder was started from just this input."""
        started = self.folder / _STARTED_FROM
        return started.is_file() and started.read_text() == self._origin()

    def _origin(self) -> str:
        return self.input.read_text() + self._named

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
                f"lines of {_LOG}:\n{program.tail(text)}"
            )
        self.finished = True
        return False

    def newest(self) -> tuple[int, dict[str, float]]:
        """Return the step reached and the errors last written."""
        if self.process is None and not self.finished:  # waits for its turn
            return 0, {}
        names, rows = curve_rows(self.folder / CURVE)
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
        newest = newest_checkpoint(self.folder)
        if newest is None:
            raise BackendError(
                f"dp train in {self.folder} ended without a checkpoint; see {_LOG}."
            )
        return newest

    def _earlier(self) -> list[Path]:
        """Return what an earlier training here consists of, its model apart."""
        names = ("model.ckpt.pt", "checkpoint", CURVE, _LOG)
        saved = checkpoint_files(self.folder).values()
        return [*saved, *(self.folder / name for name in names)]
