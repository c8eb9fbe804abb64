# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reading sources into the store: in this process, in several, or on a Dask cluster."""

from __future__ import annotations

from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from spin_dp.data_tools.collection.frame_store import FrameStore
from spin_dp.data_tools.readers.registry import read_source
from spin_dp.errors import BackendError, ConfigError
from spin_dp.executors import dask_client, process_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from spin_dp.data_tools.readers.source import ReadOptions, Source

    Progress = Callable[[Path, int, int], None]

_WORTH_A_PROCESS = 8
"""Sources that take about as long to read as a process takes to start."""


def read_into(
    store: FrameStore,
    sources: Sequence[Source],
    options: ReadOptions,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> int:
    """Read the sources that the store does not hold as they are now.

    Each source is in the store as soon as it has been read; whatever stops the rest,
    it need not be read again.

    Parameters
    ----------
    store
        The store.
    sources
        All sources.
    options
        How they are to be read.
    workers
        Number of processes.
    scheduler
        Address of a Dask scheduler whose workers see the same files; None for
        processes of this machine.
    progress
        Called with path, number read and number to read after each source.

    Returns
    -------
    int
        Number of sources that were read.

    Raises
    ------
    ConfigError
        If the number of workers is below one, or there is no such scheduler.
    BackendError
        If a reading process died.
    """
    if workers < 1:
        raise ConfigError(f"at least one worker must read, got {workers}")
    waiting = [source for source in sources if not store.has(source, options)]
    if scheduler is not None:
        done = _on_cluster(store.folder, waiting, options, scheduler)
    elif (count := min(workers, len(waiting) // _WORTH_A_PROCESS)) > 1:
        done = _in_processes(store.folder, waiting, options, count)
    else:
        done = (read_one(store.folder, source, options) for source in waiting)
    for number, path in enumerate(done, start=1):
        if progress is not None:
            progress(path, number, len(waiting))
    return len(waiting)


def read_one(folder: Path, source: Source, options: ReadOptions) -> Path:
    """Read one source into the store at ``folder`` and return its path."""
    FrameStore(folder).write(source, options, read_source(source, options))
    return source.path


def _in_processes(
    folder: Path, sources: Sequence[Source], options: ReadOptions, workers: int
) -> Iterator[Path]:
    with process_pool(workers) as pool:
        futures = [pool.submit(read_one, folder, s, options) for s in sources]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise BackendError(
                "a process that read sources was killed, perhaps for want of memory; "
                "collect again with fewer --workers, what was read is kept"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _on_cluster(
    folder: Path, sources: Sequence[Source], options: ReadOptions, address: str
) -> Iterator[Path]:
    client = dask_client(address)
    import distributed

    with client:
        futures = [
            client.submit(read_one, folder.resolve(), source, options, pure=False)
            for source in sources
        ]
        for future in distributed.as_completed(futures):
            yield future.result()
