# SPDX-License-Identifier: LGPL-3.0-or-later
"""Running many requests: in processes of this machine or on a Dask cluster.

Each request has a folder of its own with its state, written at once or not at all, and
a claim on it. So whatever ends a session, the same call goes on: what is finished is
read, the rest is run, and sessions side by side share the work.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spin_dp.dft.outcome import Outcome, Status
from spin_dp.dft.worker import (
    NOT_BEGUN,
    Job,
    hand_over,
    known_outcome,
    not_yet,
    run_one,
)
from spin_dp.errors import BackendError, ConfigError
from spin_dp.executors import dask_client, process_pool

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from spin_dp.dft.engine import Engine
    from spin_dp.dft.request import Request

_REPORT_S = 5.0
_GOES_ON = "what is finished is kept, and the same call goes on"


@dataclass(frozen=True)
class Progress:
    """How the work goes on.

    Attributes
    ----------
    done, total
        Requests that have ended (for now: failed ones may be run again), and all.
    running
        Requests in work.
    seconds
        Since the call.
    left
        Seconds that the rest will take at the pace so far; None before the first.
    """

    done: int
    total: int
    running: int
    seconds: float
    left: float | None


def run_requests(
    requests: Sequence[Request],
    engine: Engine,
    folder: str | os.PathLike[str],
    *,
    workers: int = 1,
    threads: int = 1,
    scheduler: str | None = None,
    executor: Executor | None = None,
    retries: int = 1,
    max_runs: int | None = None,
    max_hours: float | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[Outcome]:
    """Run requests that have not been run yet, and say what became of all.

    Parameters
    ----------
    requests
        With different names.
    engine
        What runs them. One that does not run (VASP without a command) writes folders
        and reads what has appeared in them.
    folder
        Gets a folder for each request, which ``spin-dp collect`` reads.
    workers, threads
        Processes of this machine, and threads of each run.
    scheduler
        Address of a Dask scheduler whose workers see the same folder.
    executor
        Another executor, which is left open.
    retries
        How often a request that failed is run again, over all calls.
    max_runs, max_hours
        Budget of this call: no run is begun after so many, or so long. Those begun
        are brought to their end.
    progress
        Called now and then.

    Returns
    -------
    list of Outcome
        In the order of the requests.

    Raises
    ------
    ConfigError
        If an argument is wrong, or a folder holds another run.
    BackendError
        If the engine is not installed, a worker was lost, or nothing can be written;
        the same call goes on then.
    """
    _check(requests, workers, threads, retries)
    root = Path(folder).resolve()
    deadline = math.inf if max_hours is None else time.time() + 3600.0 * max_hours
    shared = Job.of(requests, engine, root, threads, deadline)
    try:
        known = {r.name: known_outcome(shared, r, retries) for r in requests}
        waiting = [r for r in requests if known[r.name] is None]
        if not engine.runs:
            found = {r.name: hand_over(shared, r) for r in waiting}
        elif waiting:
            opened = _executor(executor, scheduler, min(workers, len(waiting)), threads)
            with opened as (pool, slots):
                _check_engine(engine, pool if scheduler else None)
                found = _Round(shared, pool, slots, retries, max_runs, progress).run(
                    waiting, len(requests)
                )
        else:
            found = {}
    except OSError as error:
        raise BackendError(
            f"{error.filename or root}: cannot be written ({error.strerror}); make "
            f"room, {_GOES_ON}"
        ) from error
    return [known[r.name] or found[r.name] for r in requests]


def _check(
    requests: Sequence[Request], workers: int, threads: int, retries: int
) -> None:
    if min(workers, threads) < 1 or retries < 0:
        raise ConfigError(
            "expected at least one worker, one thread and no negative number of "
            f"retries, got {workers}, {threads}, {retries}"
        )
    seen: set[str] = set()
    for request in requests:
        if request.name in seen:
            raise ConfigError(f"two requests have the name {request.name}")
        seen.add(request.name)


def _check_engine(engine: Engine, cluster: Executor | None) -> None:
    """Ask whether the engine is installed, there where it will run."""
    if cluster is None:
        engine.check()
    else:
        with _lost_workers("looked for the engine"):
            cluster.submit(engine.check).result()


@contextlib.contextmanager
def _executor(
    given: Executor | None, scheduler: str | None, workers: int, threads: int
) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """Yield an executor and a function that says how much it runs at once."""
    if given is not None:
        yield given, lambda: int(getattr(given, "_max_workers", 1))
        return
    if scheduler is not None:
        with dask_client(scheduler) as client:
            executor = client.get_executor(pure=False)
            yield executor, lambda: sum(client.nthreads().values())
        return
    pool = process_pool(workers, threads)
    try:
        yield pool, lambda: workers
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _lost_workers(doing: str) -> Iterator[None]:
    """Turn the errors of executors whose workers are gone into one sentence."""
    try:
        yield
    except (BrokenProcessPool, CancelledError) as error:
        raise _lost(doing) from error
    except Exception as error:
        if type(error).__name__ not in {"KilledWorker", "FutureCancelledError"}:
            raise
        raise _lost(doing) from error


def _lost(doing: str) -> BackendError:
    return BackendError(
        f"a worker was lost while it {doing}, perhaps for want of memory; {_GOES_ON} "
        "(with fewer workers if memory is short)"
    )


@dataclass
class _Round:
    """One call's work on requests that are not finished."""

    job: Job
    pool: Executor
    slots: Callable[[], int]
    retries: int
    max_runs: int | None
    progress: Callable[[Progress], None] | None

    def run(self, waiting: Sequence[Request], total: int) -> dict[str, Outcome]:
        started = time.monotonic()
        finished = total - len(waiting)
        queue = deque(waiting)
        running: dict[Future[Outcome], Request] = {}
        found: dict[str, Outcome] = {}
        n_begun, n_ended = 0, 0
        try:
            while True:
                while queue and (self.max_runs is None or n_begun < self.max_runs):
                    request = queue.popleft()
                    running[self._submit(request)] = request
                    n_begun += 1
                self._report(finished + len(found), total, running, started, n_ended)
                if not running:
                    break
                ended, _ = wait(running, _REPORT_S, FIRST_COMPLETED)
                for future in ended:
                    request = running.pop(future)
                    with _lost_workers(f"ran {request.name}"):
                        outcome = future.result()
                    if outcome.status is Status.WAITING:
                        n_begun -= 1
                    else:
                        n_ended += 1
                    if self._again(outcome):
                        queue.append(request)
                    else:
                        found[request.name] = outcome
        finally:
            for future in running:
                future.cancel()
        for request in queue:
            folder = self.job.root / request.name
            found[request.name] = not_yet(request, folder, NOT_BEGUN)
        return found

    def _submit(self, request: Request) -> Future[Outcome]:
        with _lost_workers(f"was to run {request.name}"):
            return self.pool.submit(run_one, self.job, request)

    def _again(self, outcome: Outcome) -> bool:
        return outcome.status is Status.FAILED and outcome.failures <= self.retries

    def _report(
        self,
        done: int,
        total: int,
        running: dict[Future[Outcome], Request],
        started: float,
        n_ended: int,
    ) -> None:
        if self.progress is None:
            return
        seconds = time.monotonic() - started
        left = seconds / n_ended * (total - done) if n_ended else None
        n_running = min(len(running), self.slots())
        self.progress(Progress(done, total, n_running, seconds, left))
