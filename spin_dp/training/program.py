# SPDX-License-Identifier: LGPL-3.0-or-later
"""Running stock ``dp --pt`` in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from spin_dp.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOG_TAIL = 12
"""Lines of dp's log that an error shows."""


def dp_command(backend: str = "--pt") -> list[str]:
    """Return the command of ``dp`` of this environment, with a back end's flag."""
    return [sys.executable, "-m", "deepmd", backend]


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


def tail(text: str) -> str:
    """Return the last lines of a log, as an error shows them."""
    return "\n".join(text.rstrip().splitlines()[-LOG_TAIL:])
