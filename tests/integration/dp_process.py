# SPDX-License-Identifier: LGPL-3.0-or-later
"""``dp --pt`` in processes that need not import deepmd-kit: a server forks them.

The import takes eight seconds, most trainings of the tests take two.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import traceback
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from multiprocessing.context import ForkServerContext
    from pathlib import Path

_TIMEOUT_S = 200.0


@cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["deepmd.pt.entrypoints.main", __name__])
    return context


def dp_process(
    folder: Path, arguments: Sequence[str], variables: Mapping[str, str], log: Path
) -> int:
    """Run ``dp`` with arguments in a folder; return its exit status.

    Parameters
    ----------
    folder
        Where it runs.
    arguments
        What follows ``dp``.
    variables
        Its environment.
    log
        Gets what it prints.
    """
    process = _server().Process(
        target=_run, args=(str(folder), list(arguments), dict(variables), str(log))
    )
    process.start()
    process.join(_TIMEOUT_S)
    if process.is_alive():
        process.kill()
        process.join()
        raise TimeoutError(f"dp {' '.join(arguments)}: {log.read_text()[-2000:]}")
    assert process.exitcode is not None
    return process.exitcode


def _run(
    folder: str, arguments: list[str], variables: dict[str, str], log: str
) -> None:
    from deepmd.main import main

    # The child of a fork server would ask it for its loaders, too.
    multiprocessing.set_start_method("fork", force=True)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    for handler in logging.getLogger().handlers:  # they write where the server did
        logging.getLogger().removeHandler(handler)
    status = 0
    try:
        main(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
