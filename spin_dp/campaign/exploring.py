# SPDX-License-Identifier: LGPL-3.0-or-later
"""All MD runs of a generation, side by side, and the tables of what they found."""

from __future__ import annotations

from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spin_dp.campaign.exploration import Exploration, ExplorationRun, explore
from spin_dp.dynamics import Watch
from spin_dp.errors import BackendError, DataError
from spin_dp.executors import dask_client, process_pool
from spin_dp.units import BAR_PER_GPA, PS_PER_FS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from spin_dp.campaign.candidate import Candidate
    from spin_dp.campaign.settings import CampaignSettings, Work

RUN_COLUMNS = (
    *("run", "temperature", "pressure", "ps", "ps_planned", "looks", "doubtful"),
    *("force_deviation", "magnetic_deviation", "departed", "end"),
)
DEVIATION_COLUMNS = ("run", "time_ps", "force_deviation", "magnetic_deviation")


@dataclass(frozen=True, eq=False)
class Explored:
    """A run and what it found.

    Attributes
    ----------
    run
        What was explored.
    found
        Frames and deviations; None where the run could not begin.
    reason
        Why it could not.
    """

    run: ExplorationRun
    found: Exploration | None
    reason: str = ""

    @property
    def candidates(self) -> list[Candidate]:
        """Frames that may be worth a DFT calculation."""
        return [] if self.found is None else self.found.candidates


def explore_all(
    runs: Sequence[ExplorationRun],
    models: Sequence[Path],
    folder: Path,
    settings: CampaignSettings,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Explored]:
    """Run MD with all models, and go on with what was interrupted.

    Parameters
    ----------
    runs
        What is explored.
    models
        The ensemble; the first moves the atoms.
    folder
        Gets a folder for each run.
    settings
        Limits of deviations, and where runs go.
    progress
        Called with runs done and their number.

    Returns
    -------
    list of Explored
        In the order of the runs.

    Raises
    ------
    ConfigError, BackendError
        If runs and models do not go together, or LAMMPS fails.
    """
    watch = Watch(
        force_limits=settings.choice.force,
        magnetic_limits=settings.choice.magnetic_force,
        shortest=settings.exploration.shortest,
    )
    jobs = [(run, list(models), folder / run.name, watch) for run in runs]
    if progress is not None:
        progress(0, len(jobs))
    found: dict[int, Explored] = {}
    with _executor(settings.work) as pool:
        if pool is None:
            for number, job in enumerate(jobs):
                found[number] = _explored(*job)
                if progress is not None:
                    progress(len(found), len(jobs))
        else:
            futures = {pool.submit(_explored, *job): k for k, job in enumerate(jobs)}
            for future in as_completed(futures):
                found[futures[future]] = future.result()
                if progress is not None:
                    progress(len(found), len(jobs))
    return [found[number] for number in range(len(jobs))]


def _explored(
    run: ExplorationRun, models: list[Path], folder: Path, watch: Watch
) -> Explored:
    try:
        return Explored(run, explore(run, models, folder, watch=watch))
    except DataError as error:  # far from what the models know at its start
        return Explored(run, None, str(error))


@contextmanager
def _executor(work: Work) -> Iterator[Executor | None]:
    """Give what runs things side by side; None: one after the other, here."""
    try:
        if work.scheduler is not None:
            with dask_client(work.scheduler) as client:
                yield client.get_executor()
        elif work.workers > 1:
            with process_pool(work.workers, threads=1) as pool:
                yield pool
        else:
            yield None
    except RuntimeError as error:  # BrokenProcessPool, and Dask's KilledWorker
        raise BackendError(
            f"a worker was lost while it explored ({error}); the same command goes on."
        ) from error


def run_table(explored: Sequence[Explored]) -> pd.DataFrame:
    """Return how each run went.

    Parameters
    ----------
    explored
        The runs.

    Returns
    -------
    pandas.DataFrame
        ``run``, ``temperature`` (K), ``pressure`` (GPa), ``ps`` done and
        ``ps_planned``, ``looks`` at the deviation and the share of ``doubtful`` ones,
        largest ``force_deviation`` (eV/Å) and ``magnetic_deviation`` (eV/μB), whether
        it ``departed`` from the known region, ``end`` in words.
    """
    rows = [_run_row(one) for one in explored]
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS))


def _run_row(one: Explored) -> dict[str, Any]:
    run = one.run
    ps = PS_PER_FS * run.timestep
    row: dict[str, Any] = {
        "run": run.name,
        "temperature": run.temperature,
        "pressure": np.nan if run.pressure is None else run.pressure / BAR_PER_GPA,
        "ps_planned": run.steps * ps,
    }
    if one.found is None:
        # Not a frame was seen, and it would have been doubtful.
        nothing = {"ps": 0.0, "looks": 1, "doubtful": 1.0, "departed": True}
        return row | nothing | {"end": one.reason}
    seen = one.found.deviation
    departure = one.found.departure
    doubtful = sum(c.reason != "last trusted" for c in one.found.candidates)
    return row | {
        "ps": one.found.steps * ps,
        "looks": max(len(seen), doubtful),
        "doubtful": doubtful / max(len(seen), doubtful, 1),
        "force_deviation": seen["force_eV_per_A"].max(),
        "magnetic_deviation": seen["magnetic_force_eV_per_muB"].max(),
        "departed": departure is not None,
        "end": "to its end" if departure is None else departure.reason,
    }


def deviation_table(explored: Sequence[Explored]) -> pd.DataFrame:
    """Return the largest deviations of each run against time.

    Parameters
    ----------
    explored
        The runs.

    Returns
    -------
    pandas.DataFrame
        ``run``, ``time_ps``, ``force_deviation`` (eV/Å), ``magnetic_deviation``
        (eV/μB).
    """
    tables = []
    for one in explored:
        if one.found is not None:
            seen = one.found.deviation.rename(
                columns={
                    "force_eV_per_A": "force_deviation",
                    "magnetic_force_eV_per_muB": "magnetic_deviation",
                }
            )
            tables.append(seen.assign(run=one.run.name)[list(DEVIATION_COLUMNS)])
    if not tables:
        return pd.DataFrame(columns=list(DEVIATION_COLUMNS))
    return pd.concat(tables, ignore_index=True)
