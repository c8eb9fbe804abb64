# SPDX-License-Identifier: LGPL-3.0-or-later
"""Trainings in folders of their own, some at a time, each continued where it stopped.

:mod:`spin_dp.training` drives ``dp --pt`` and freezes; rivals need other back ends, and
one that fails must not stop the others. The environment is the same.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from spin_dp.errors import BackendError, SpinDPError
from spin_dp.training.output import newest_checkpoint, read_learning_curve, step_of
from spin_dp.training.program import environment, tail

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Progress = Callable[[str, int, int], None]
"""Called with the name of a training, steps done and all steps."""

LOG, _STARTED_FROM = "train.log", "input.started.json"
_OUTPUTS = ("model*", "checkpoint", "lcurve.out", LOG, "frames.csv")
_MEAN = re.compile(r"average training time: ([\d.]+) s/batch")


class Training:
    """One ``dp train`` and its folder, which holds ``input.json`` and names it."""

    def __init__(self, folder: Path, backend: str) -> None:
        self.folder, self.backend, self.name = folder, backend, folder.name
        content = json.loads((folder / "input.json").read_text())
        self.total = int(content["training"]["numb_steps"])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, or go on from the newest checkpoint; nothing if it is done."""
        present, started = self.folder / "input.json", self.folder / _STARTED_FROM
        if not (started.is_file() and started.read_bytes() == present.read_bytes()):
            for file in (f for name in _OUTPUTS for f in self.folder.glob(name)):
                file.unlink()
            shutil.copyfile(present, started)
        if self._steps_saved() >= self.total:
            return
        newest = newest_checkpoint(self.folder)
        train = ["train", "input.json"]
        restart = ["--restart", newest.name] if newest is not None else []
        with (self.folder / LOG).open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deepmd", self.backend, *train, *restart],
                cwd=self.folder,
                env=environment(1),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def is_running(self) -> bool:
        """Return whether it still runs; BackendError if it failed."""
        code = self._process.poll() if self._process is not None else 0
        if code or (code is not None and self._steps_saved() < self.total):
            raise BackendError(
                f"{self.folder}: dp train ended with status {code} before step "
                f"{self.total}. Last lines of {LOG}:\n{tail(self._log())}"
            )
        return code is None

    def stop(self) -> None:
        """End the process if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def step(self) -> int:
        """Return the step last reported."""
        curve = read_learning_curve(self.folder / "lcurve.out")
        return int(curve["step"].iloc[-1]) if len(curve) else self._steps_saved()

    def checkpoint(self) -> Path:
        """Return the newest checkpoint."""
        found = newest_checkpoint(self.folder)
        if found is None:
            raise BackendError(f"{self.folder}: no checkpoint; see {LOG}.")
        return found

    def seconds_per_step(self) -> float:
        """Return dp's own mean time of a step, s; NaN if it never said."""
        found = _MEAN.findall(self._log())
        return float(found[-1]) if found else float("nan")

    def _log(self) -> str:
        path = self.folder / LOG
        return path.read_text(errors="replace") if path.is_file() else ""

    def _steps_saved(self) -> int:
        newest = newest_checkpoint(self.folder)
        return step_of(newest) if newest is not None else 0


def run_all(
    trainings: Sequence[Training],
    *,
    jobs: int,
    progress: Progress,
    on_done: Callable[[Training], None] = lambda _: None,
) -> dict[str, str]:
    """Train all, so many at a time; return the message of each that failed.

    ``on_done`` gets each that is done, also those that were done before.
    """
    waiting, running, failed = list(trainings), list[Training](), dict[str, str]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(waiting.pop(0))
                running[-1].start()
            for training in list(running):
                try:
                    if training.is_running():
                        done = min(training.step(), training.total - 1)
                        progress(training.name, done, training.total)
                        continue
                    progress(training.name, training.total, training.total)
                    on_done(training)
                except SpinDPError as error:
                    failed[training.name] = str(error)
                running.remove(training)
            if running:
                time.sleep(0.5)
    finally:
        for training in running:
            training.stop()
    return failed
