# SPDX-License-Identifier: LGPL-3.0-or-later
"""A run from start to end, with visits on the way: watched, or with other moments.

A visitor sees the run every so many steps. The watch stops it where it leaves the known
region; others may change moments (:meth:`LammpsSession.set_moments`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from ase.io.extxyz import write_extxyz

from spin_dp.files import replacing
from spin_dp.lammps_interface.job import DEPARTURE_FILE, MDJob, MDResult
from spin_dp.lammps_interface.process import UnstableRunError
from spin_dp.lammps_interface.session import LammpsSession, Progress
from spin_dp.lammps_interface.trajectory import Snapshot
from spin_dp.lammps_interface.watch import Departure, Watch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ase import Atoms

log = logging.getLogger(__name__)

Locate: TypeAlias = Callable[[Snapshot], int | None]
"""Returns the atom whose magnetic forces differ most between the models, if it can."""

_LIMITS, _DEPARTURE = "limits", "departure"  # in the notes of a session


class Visitor(Protocol):
    """Who comes between segments of a run.

    Attributes
    ----------
    every
        Steps between visits: it comes where the step is a multiple of them.
    """

    every: int

    def visit(self, session: LammpsSession) -> bool:
        """Look at a run where it stands, and change it; return whether it is over."""


def run_job(
    job: MDJob,
    folder: Path,
    *,
    ranks: int = 1,
    dry_run: bool = False,
    progress: Progress | None = None,
    watch: Watch | None = None,
    locate: Locate | None = None,
    visitors: Sequence[Visitor] = (),
) -> MDResult:
    """Run a job in a folder; go on with an interrupted run, leave a finished one.

    Parameters
    ----------
    job
        What is run.
    folder
        New or empty folder, or the folder of the same job.
    ranks
        Number of MPI processes.
    dry_run
        Write the input and stop.
    progress
        Called with step, number of steps and thermo values.
    watch
        Limits of the known region, looked at every ``watch_every`` steps. A run that
        has left it is over, but goes on from there with other limits or without
        stopping.
    locate
        For the atom of a magnetic deviation, which LAMMPS does not tell.
    visitors
        Who comes on the way, after the watch. What they decide is in the restart files,
        so that nobody comes to the same step twice.

    Returns
    -------
    MDResult
        Averages, where the files are, and where the run left the region.

    Raises
    ------
    ConfigError
        If the folder holds something else.
    BackendError
        If LAMMPS is not found or fails.
    """
    session = LammpsSession(job, folder, ranks=ranks, progress=progress)
    if not session.is_finished and dry_run:
        return MDResult(state="prepared", folder=folder, n_atoms=len(job.symbols))
    if watch is None:
        if session.is_finished:
            log.info("%s: already finished", folder)
        else:
            with session:
                _go(session, visitors)
        return session.result
    departure = _known_departure(session, watch)
    if session.is_finished or (departure is not None and watch.stop):
        log.info("%s: already %s", folder, "ended" if departure else "finished")
    else:
        watched = _Watched(session, folder, watch, locate, departure)
        departure = watched.run(visitors)
    result = replace(session.result, departure=departure)
    if departure is not None and watch.stop:
        log.warning(
            "%s. Train with frames like those of %s (spin-dp learn), or go on with "
            "--no-stop, in Python Watch(stop=False)",
            departure.sentence,
            result.departure_file,
        )
        return replace(result, state="stopped")
    return result


def _go(session: LammpsSession, visitors: Sequence[Visitor]) -> None:
    """Run to the end, or to where a visitor says that it is over."""
    while session.remaining:
        step = session.state.step
        waits = [visitor.every - step % visitor.every for visitor in visitors]
        session.run(min(waits, default=session.remaining))
        here = [v for v in visitors if session.state.step % v.every == 0]
        if any([visitor.visit(session) for visitor in here]):  # noqa: C419 (all look)
            return


def _known_departure(session: LammpsSession, watch: Watch) -> Departure | None:
    """Return where the run left the region before; forget it with other limits."""
    found = session.notes.get(_DEPARTURE)
    if found is None:
        return None
    if session.notes.get(_LIMITS) == watch.limits or session.is_finished:
        return Departure(**found)
    del session.notes[_DEPARTURE], session.notes[_LIMITS]
    return None


class _Watched:
    """A run under the eyes of a watch."""

    def __init__(
        self,
        session: LammpsSession,
        folder: Path,
        watch: Watch,
        locate: Locate | None,
        known: Departure | None,
    ) -> None:
        self._session, self._folder, self._watch = session, folder, watch
        self._locate, self._departure = locate, known
        self.every = session.job.settings.watch_every
        self._last: Snapshot | None = None
        self._trusted: Snapshot | None = None

    def run(self, others: Sequence[Visitor]) -> Departure | None:
        """Run to the end, or to where the run leaves the region."""
        session = self._session
        try:
            with session:
                if not self.visit(session):
                    _go(session, [self, *others])
        except UnstableRunError:
            if not self._watch.stop or self._last is None:
                raise
            self._departure = Departure(
                step=self._last.step, time_fs=self._last.time_fs, quantity="atoms"
            )
            self._note()
            session.keep_notes()
            self._write_frames(self._last)
        return self._departure

    def visit(self, session: LammpsSession) -> bool:
        """Look at where the run stands; return whether it is to be stopped."""
        state = self._last = session.state
        if self._departure is not None:  # said before, and told to go on
            return False
        deviation = state.deviation
        found = self._watch.departure(state, self._session.job.settings, deviation)
        if found is None:
            if deviation is None or self._watch.zone(deviation) == "trusted":
                self._trusted = state
            return False
        if found.quantity == "magnetic force deviation" and self._locate is not None:
            atom = self._locate(state)
            if atom is not None:
                found = replace(found, atom=atom, symbol=state.symbols[atom])
        self._departure = found
        self._note()
        self._write_frames(state)
        if not self._watch.stop:
            log.warning("%s; it goes on unwatched", found.sentence)
            return False
        if found.quantity == "numbers":  # nothing to go on from
            self._session.keep_notes()
        else:
            self._session.save()
        return True

    def _note(self) -> None:
        assert self._departure is not None
        self._session.notes[_DEPARTURE] = asdict(self._departure)
        self._session.notes[_LIMITS] = self._watch.limits

    def _write_frames(self, left: Snapshot) -> None:
        """Write the last trusted frame and that where the run left the region."""
        wanted = [self._trusted, None if left is self._trusted else left]
        frames = [_with_deviation(one) for one in wanted if one is not None]
        kept = [atoms for atoms in frames if np.isfinite(atoms.positions).all()]
        path = self._folder / DEPARTURE_FILE
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as out:
            write_extxyz(out, kept)


def _with_deviation(state: Snapshot) -> Atoms:
    atoms = state.atoms()
    row = state.deviation
    if row is not None:
        atoms.info["force_deviation"] = row.force
        atoms.info["magnetic_force_deviation"] = row.magnetic_force
    return atoms
