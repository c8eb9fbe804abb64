# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where work is done: in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any

from spin_dp.errors import ConfigError
from spin_dp.threads import process_environment


def process_pool(workers: int, threads: int | None = None) -> ProcessPoolExecutor:
    """Return a pool of processes that end with this one, even when it is killed.

    Parameters
    ----------
    workers
        Number of processes.
    threads
        Threads of each; None: as the environment says.
    """
    context = get_context("spawn")  # forks of a process with threads may hang
    return ProcessPoolExecutor(workers, context, _start_worker, (threads,))


def _start_worker(threads: int | None) -> None:
    if threads is not None:  # before anything imports torch
        os.environ.update(process_environment(threads))
    _end_with_parent()


def _end_with_parent() -> None:
    """End this process when its parent is killed; it would wait for work for ever."""
    parent = parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def dask_client(address: str) -> Any:  # noqa: ANN401 - distributed is optional
    """Return a client of the Dask scheduler at an address.

    Parameters
    ----------
    address
        Such as ``tcp://host:8786``.

    Returns
    -------
    distributed.Client
        A context manager.

    Raises
    ------
    ConfigError
        If the package distributed is absent or no scheduler answers.
    """
    try:
        import distributed
    except ImportError as error:
        raise ConfigError(
            "a Dask cluster needs the package distributed: "
            "pip install 'spin-dp[cluster]'"
        ) from error
    try:
        return distributed.Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{address}: no Dask scheduler answers there; expected an address such as "
            "tcp://host:8786"
        ) from error
