# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is done with one request, in whatever process it comes to."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from spin_dp.dft.outcome import Outcome, Status
from spin_dp.dft.run_folder import (
    claimed,
    read_record,
    record_of,
    running_record,
    write_record,
)
from spin_dp.errors import SpinDPError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from spin_dp.dft.engine import Engine
    from spin_dp.dft.request import Request

NOT_BEGUN = "not begun: the budget of runs or hours is spent"


@dataclass(frozen=True)
class Job:
    """What is equal for all runs of a call; travels to the workers.

    Attributes
    ----------
    engine, threads
        What runs them, and the threads of each run.
    root
        Holds a folder for each run.
    deadline
        After which no run is begun, s as :func:`time.time` counts.
    levels
        Engine and level of theory by elements, as records compare them.
    """

    engine: Engine
    root: Path
    threads: int
    deadline: float
    levels: Mapping[frozenset[str], str]

    @classmethod
    def of(
        cls,
        requests: Iterable[Request],
        engine: Engine,
        root: Path,
        threads: int,
        deadline: float,
    ) -> Job:
        """Return the job of these requests, with their levels found once."""
        levels = {}
        for elements in {frozenset(request.symbols) for request in requests}:
            level = engine.level(sorted(elements))
            levels[elements] = engine.name if level is None else level.id
        return cls(engine, root, threads, deadline, levels)

    def level(self, request: Request) -> str:
        """Return the level of a request."""
        return self.levels[frozenset(request.symbols)]


def known_outcome(job: Job, request: Request, retries: int) -> Outcome | None:
    """Return the outcome of a request that need not be looked at any more."""
    folder = job.root / request.name
    record = read_record(folder, request, job.level(request))
    if record is None or record.running:
        return None
    outcome = record.outcome(request.name, folder)
    spent = outcome.status is Status.FAILED and outcome.failures > retries
    return outcome if outcome.is_final or (spent and job.engine.runs) else None


def run_one(job: Job, request: Request) -> Outcome:
    """Run one request in this process, unless it is finished or run elsewhere.

    Raises
    ------
    OSError
        If nothing can be written.
    """
    engine, folder = job.engine, job.root / request.name
    if time.time() > job.deadline:
        return not_yet(request, folder, NOT_BEGUN)
    folder.mkdir(parents=True, exist_ok=True)
    level = job.level(request)
    with claimed(folder) as claim:
        record = read_record(folder, request, level)
        if claim is None:
            place = record.running if record else "a moment ago"
            return not_yet(request, folder, f"is run by another session ({place})")
        failures = 0 if record is None else record.failures
        if record is not None:
            earlier = record.outcome(request.name, folder)
            # Finished by another session, or by a program whose session was killed.
            outcome = earlier if earlier.is_final else engine.read(request, folder)
            if outcome.is_final:
                outcome = replace(outcome, failures=failures)
                write_record(folder, record_of(outcome, request, level))
                return outcome
        write_record(folder, running_record(request, level, failures))
        outcome = _run(job, request, folder, claim)
        failed = outcome.status is Status.FAILED
        outcome = replace(outcome, failures=failures + failed)
        write_record(folder, record_of(outcome, request, level))
        return outcome


def _run(job: Job, request: Request, folder: Path, claim: tuple[int, ...]) -> Outcome:
    started = time.monotonic()
    try:
        job.engine.prepare(request, folder)
        job.engine.run(request, folder, threads=job.threads, keep=claim)
        outcome = job.engine.read(request, folder)
    except SpinDPError as error:
        outcome = not_yet(request, folder, str(error))
    if outcome.status is Status.WAITING:
        reason = outcome.reason or "the program ended without a result"
        outcome = replace(outcome, status=Status.FAILED, reason=reason)
    return replace(outcome, seconds=round(time.monotonic() - started, 2))


def hand_over(job: Job, request: Request) -> Outcome:
    """Write the input of a run that the user runs; read what has appeared."""
    folder = job.root / request.name
    folder.mkdir(parents=True, exist_ok=True)
    level = job.level(request)
    with claimed(folder) as claim:
        if claim is None:
            return not_yet(request, folder, "is looked at by another session")
        record = read_record(folder, request, level)
        if record is None:  # once: the user may have changed it since
            job.engine.prepare(request, folder)
        outcome = job.engine.read(request, folder)
        if record is None or record.outcome(request.name, folder) != outcome:
            write_record(folder, record_of(outcome, request, level))
        return outcome


def not_yet(request: Request, folder: Path, reason: str) -> Outcome:
    """Return the outcome of a request that waits for some reason."""
    return Outcome(
        name=request.name, status=Status.WAITING, folder=folder, reason=reason
    )
