# SPDX-License-Identifier: LGPL-3.0-or-later
"""Running stock ``dp --pt`` in processes of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from spin_dp.errors import BackendError
from spin_dp.threads import process_environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TRAIN_AND_FREEZE = """
import os, sys
from deepmd.main import main
model, part, *arguments = sys.argv[1:]
main(["--pt", "train", *arguments])
main(["--pt", "freeze", "-c", ".", "-o", part])
os.replace(part, model)
"""

LOG_TAIL = 12
"""Lines of dp's log that an error shows."""


def dp_command(backend: str = "--pt") -> list[str]:
    """Return the command of ``dp`` of this environment, with a back end's flag."""
    return [sys.executable, "-m", "deepmd", backend]


def train_command(model: str, *arguments: str) -> list[str]:
    """Return the command of ``dp --pt train`` and then ``dp --pt freeze``.

    One process does both: the import of deepmd-kit takes longer than freezing.

    Parameters
    ----------
    model
        The ``.pth`` to write in the folder of the training, once it is over.
    *arguments
        What follows ``dp --pt train``.
    """
    part = model.removesuffix(".pth") + ".part.pth"
    return [sys.executable, "-c", _TRAIN_AND_FREEZE, model, part, *arguments]


def run_dp(
    *arguments: str,
    threads: int,
    backend: str = "--pt",
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run ``dp`` to its end.

    Parameters
    ----------
    *arguments
        What follows ``dp --pt``.
    threads
        Threads of the process.
    backend
        The flag of the back end.
    folder
        Where it runs; None: here.
    variables
        Further variables of its environment.

    Returns
    -------
    str
        All that it printed.

    Raises
    ------
    BackendError
        If it fails; the message ends with its last lines.
    """
    done = subprocess.run(
        [*dp_command(backend), *arguments],
        cwd=folder,
        env={**environment(threads), **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BackendError(
            f"dp {arguments[0]} stopped with exit status {done.returncode}. Its last "
            f"lines:\n{tail(done.stdout)}"
        )
    return done.stdout


def environment(threads: int) -> dict[str, str]:
    """Return the variables in which dp is quickest on small systems.

    Parameters
    ----------
    threads
        Threads of the process.
    """
    # dp starts its loader processes anew for every pass over a system; with many small
    # systems that takes longer than the training itself.
    return {**process_environment(threads), "NUM_WORKERS": "0"}


def tail(text: str) -> str:
    """Return the last lines of a log, as an error shows them."""
    return "\n".join(text.rstrip().splitlines()[-LOG_TAIL:])
