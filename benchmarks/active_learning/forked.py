# SPDX-License-Identifier: LGPL-3.0-or-later
"""Many short trainings by dp without importing PyTorch and deepmd-kit for each.

What is imported and frozen takes twenty seconds of ``spin_dp.training.train``, as long
as a student's training itself. A process that has imported them already is forked
instead, once for each training.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from typing import TYPE_CHECKING

from spin_dp.errors import BackendError
from spin_dp.training.program import tail

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MODEL, _LOG = "model.pth", "train.log"
_PRELOADED = ["deepmd.pt.entrypoints.main", "spin_dp.plugin"]


def train_forked(inputs: Sequence[Path], *, jobs: int) -> list[Path]:
    """Train and freeze models of ``input.json`` files; leave finished ones alone.

    Parameters
    ----------
    inputs
        Inputs of dp, each in a folder of its own.
    jobs
        Trainings at a time.

    Returns
    -------
    list of Path
        The frozen models.

    Raises
    ------
    BackendError
        If dp fails; the message ends with the last lines of its log.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    todo = [path.parent for path in inputs if not (path.parent / _MODEL).is_file()]
    for start in range(0, len(todo), jobs):
        running = {
            folder: context.Process(target=_train, args=(folder,))
            for folder in todo[start : start + jobs]
        }
        for process in running.values():
            process.start()
        for folder, process in running.items():
            process.join()
            if process.exitcode != 0:
                text = (folder / _LOG).read_text(errors="replace")
                raise BackendError(
                    f"dp train in {folder} stopped with exit status "
                    f"{process.exitcode}. The last lines of {_LOG}:\n{tail(text)}"
                )
    return [path.parent / _MODEL for path in inputs]


def _train(folder: Path) -> None:
    from deepmd.main import main

    multiprocessing.set_start_method("fork", force=True)  # as in a process of its own
    os.chdir(folder)
    with open(_LOG, "w", encoding="utf-8") as log:  # noqa: PTH123
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        for arguments in (
            ["--pt", "train", "input.json"],
            ["--pt", "freeze", "-c", "model.ckpt.pt", "-o", f"part.{_MODEL}"],
        ):
            with contextlib.suppress(SystemExit):
                main(arguments)
    os.replace(f"part.{_MODEL}", _MODEL)  # noqa: PTH105
