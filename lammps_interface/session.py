# SPDX-License-Identifier: LGPL-3.0-or-later
"""A run in segments: LAMMPS stays up between them, and moments may change there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from spin_dp.errors import ConfigError
from spin_dp.lammps_interface.cell import lammps_frame
from spin_dp.lammps_interface.deck import RESTART_FILES, render_setup
from spin_dp.lammps_interface.deviation import DeviationFile
from spin_dp.lammps_interface.job import (
    MDJob,
    MDResult,
    collect_output,
    job_workspace,
    vectors,
    write_input,
)
from spin_dp.lammps_interface.process import LammpsProcess
from spin_dp.lammps_interface.settings import positive_integer
from spin_dp.lammps_interface.trajectory import (
    Snapshot,
    read_binary_dump,
    snapshot,
)
from spin_dp.lammps_interface.workspace import Record

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import ArrayLike

    from spin_dp.lammps_interface.cell import Array
    from spin_dp.lammps_interface.deck import Deck
    from spin_dp.lammps_interface.deviation import Deviation
    from spin_dp.lammps_interface.thermo import ThermoRow
    from spin_dp.lammps_interface.workspace import Status

log = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[int, int, "ThermoRow"], None]
"""Called as ``progress(step, steps, thermo)`` while a run goes on; with several models
``thermo`` has the last known ``force_deviation_eV_per_A``, too."""

_STATE_FILE = "state.bin"
_STATE_COLUMNS = "id xu yu zu vx vy vz fx fy fz c_moment[*]"
_COLUMN_FILES = ("vectors.x", "vectors.y", "vectors.z")


class LammpsSession:
    """A molecular-dynamics run whose caller takes over between segments.

    As a context manager: LAMMPS starts on entering, once, and goes on from where an
    interrupted session of the same job in the same folder has its last restart point.
    There is such a point at least every ``restart_every`` steps, where :meth:`run`
    begins a segment (or within one that is longer than that), and one at the end of the
    ``with`` block unless an exception leaves it. It has positions, velocities, moments
    and ``notes`` as they are there: what the caller decided before that segment.

    Parameters
    ----------
    job
        What is run; ``settings.steps`` is the length of all segments together.
    folder
        New or empty folder, or that of the same job. It gets the files of
        :func:`spin_dp.lammps_interface.run_job`, with the trajectory at the end of the
        ``with`` block.
    ranks
        Number of MPI processes.
    progress
        Called with step, number of steps and thermo values.

    Attributes
    ----------
    state
        Snapshot after the last :meth:`run` or :meth:`evaluate`, at first of where the
        session starts.
    notes
        For the caller: what should be found again after an interruption (counters, the
        state of random numbers), JSON types.

    Raises
    ------
    ConfigError
        If the folder holds something else.
    """

    state: Snapshot
    _step: int  # ahead of the state's while a long segment runs
    _moments: Array  # in LAMMPS; the state has those of its energy
    _places: Array  # likewise
    _has_forces: bool  # LAMMPS has, of its present positions and moments
    _saved_step: int
    _is_unsaved: bool

    def __init__(
        self,
        job: MDJob,
        folder: Path,
        *,
        ranks: int = 1,
        progress: Progress | None = None,
    ) -> None:
        self.job = job
        self._ranks = ranks
        self._progress = progress
        self._workspace = job_workspace(job, folder)
        record = self._workspace.open()
        if record is None or record.status != "finished":
            folder.mkdir(parents=True, exist_ok=True)
            if record is None:
                self._workspace.write(Record())
            write_input(job, folder)
        self._record = record or Record()
        self.notes: dict[str, Any] = self._record.notes
        self._frame = lammps_frame(job.cell)
        self._process: LammpsProcess | None = None
        self._result: MDResult | None = None

    @property
    def is_finished(self) -> bool:
        """Whether all steps of the job were done when the last point was made."""
        return self._record.status == "finished"

    @property
    def remaining(self) -> int:
        """Steps of the job that are left."""
        return self.job.settings.steps - self.state.step

    @property
    def result(self) -> MDResult:
        """What the run left behind so far."""
        if self._result is None:
            status = self._record.status
            self._result = collect_output(self.job, self._workspace, status)
        return self._result

    def __enter__(self) -> Self:
        deck = self._next_deck()
        if not self.is_finished:
            self._write(replace(self._record, status="started"))
        self._result = None
        self._last_row: ThermoRow = {"step": -1.0}
        self._deviation: Deviation | None = None
        self._deviation_file = DeviationFile(self._workspace.folder / deck.deviation)
        self._process = LammpsProcess(self._workspace.folder, ranks=self._ranks)
        try:
            self._execute(render_setup(deck))
            self._execute(f"run 0{self.job.settings.span} post no")
            self._read_state()
        except BaseException:
            self._leave(is_clean=False)
            raise
        self._saved_step = self.state.step
        # A relaxation alone has no segment that would end it.
        self._is_unsaved = self.remaining == 0 and not self.is_finished
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        is_clean = False
        try:
            if kind is None and self._is_unsaved:
                self._save()
            is_clean = kind is None
        finally:
            self._leave(is_clean=is_clean)

    def run(self, steps: int) -> Snapshot:
        """Run a segment.

        Parameters
        ----------
        steps
            Number of time steps; fewer are done where the job ends before.

        Returns
        -------
        Snapshot
            Where the segment ends.

        Raises
        ------
        ConfigError
            If there is nothing left to run; if the session is closed.
        BackendError
            If LAMMPS fails; with its own error line.
        """
        self._require_open()
        wanted = positive_integer("steps", steps)
        total = self.job.settings.steps
        if self.remaining == 0:
            raise ConfigError(
                f"{self._workspace.folder}: all {total} steps are done. A longer run "
                "takes settings with more steps and another folder."
            )
        every = self.job.settings.restart_every
        end = min(self._step + wanted, total)
        while self._step < end:
            # Rather before a segment than within it, if it is not a long one.
            if self._saved_step < self._step and self._saved_step + every < end:
                self._save()
            count = min(end, self._saved_step + every) - self._step
            # Forces that are still right need no set-up: the segments of a run without
            # changes are the uninterrupted run.
            span = self.job.settings.span
            self._execute(f"run {count}{span}{' pre no' * self._has_forces} post no")
            self._has_forces = True
            self._step += count
            self._is_unsaved = True
        self._read_state()
        if self._step == total:
            self._save()
        return self.state

    def set_moments(self, moments: ArrayLike) -> None:
        """Give the atoms other moments; they count in the next segment.

        The frame and the thermo row of the present step keep the moments before.

        Parameters
        ----------
        moments
            (n, 3), μB, in the order of the structure.

        Raises
        ------
        ShapeError
            If there are not three numbers for each atom.
        DataError
            If one is no finite number.
        """
        self._require_open()
        array = vectors("moments", moments, len(self.job.symbols))
        if np.array_equal(array, self._moments):
            return
        self._write_columns(array)
        self._execute(
            """
variable m  atom sqrt(v_mx*v_mx+v_my*v_my+v_mz*v_mz)
variable mu atom v_mz+(v_m==0.0)  # a direction also where there is no moment
set group all spin/atom v_m v_mx v_my v_mu"""
        )
        self._remove_columns()
        self._moments = array
        self._has_forces = False
        self._is_unsaved = True

    def set_positions(self, positions: ArrayLike) -> None:
        """Put the atoms elsewhere; it counts in the next segment, velocities stay.

        The frame of the present step keeps the positions before.

        Parameters
        ----------
        positions
            (n, 3), Å, in the order of the structure, unwrapped.

        Raises
        ------
        ShapeError
            If there are not three numbers for each atom.
        DataError
            If one is no finite number.
        """
        self._require_open()
        array = vectors("positions", positions, len(self.job.symbols))
        ways = self._frame.to_lammps(array - self._places)
        if not ways.any():
            return
        self._write_columns(ways)
        # Unlike `set`, it hands atoms that went far to the rank that has them then.
        self._execute("displace_atoms all move v_mx v_my v_mz units box")
        self._remove_columns()
        self._places = array
        self._has_forces = False
        self._is_unsaved = True

    def evaluate(self) -> Snapshot:
        """Return energy, forces and magnetic forces at the present moments.

        Nothing moves, and neither trajectory nor thermo table get this step anew; the
        file of model deviations, which LAMMPS writes, may.

        Raises
        ------
        ConfigError
            If the session is closed.
        BackendError
            If LAMMPS fails; with its own error line.
        """
        self._require_open()
        is_new = self._moments is not self.state.moments
        if is_new or self._places is not self.state.positions:
            self._execute(f"run 0{self.job.settings.span} post no")
            self._read_state()
        return self.state

    def save(self) -> None:
        """Make a restart point here, with the notes as they are.

        Raises
        ------
        ConfigError
            If the session is closed.
        BackendError
            If LAMMPS fails; with its own error line.
        """
        self._require_open()
        self._save()

    def keep_notes(self) -> None:
        """Write the notes as they are; the last restart point stays the last one."""
        self._write(replace(self._record, notes=self.notes))
        self._is_unsaved = False

    def _next_deck(self) -> Deck:
        deck = self.job.deck()
        folder, restart = self._workspace.folder, self._record.restart
        if restart is not None:
            log.info("%s: going on from %s", folder, restart)
            return replace(
                deck, part=len(self._workspace.parts("log")), restart=restart
            )
        for suffix in ("log", "lammpstrj", "model_devi"):
            for stale in self._workspace.parts(suffix):
                stale.unlink()
        return deck

    def _require_open(self) -> LammpsProcess:
        if self._process is None:
            raise ConfigError(
                f"{self._workspace.folder}: the session is closed. Enter it with "
                "`with`; it goes on from its last restart point."
            )
        return self._process

    def _execute(self, commands: str) -> None:
        self._require_open().execute(commands, on_row=self._follow)

    def _follow(self, row: ThermoRow) -> None:
        is_new = row["step"] > self._last_row["step"]
        self._last_row = row
        if is_new and self._progress is not None:
            shown = row
            if self._deviation is not None:
                shown = row | {"force_deviation_eV_per_A": self._deviation.force}
            self._progress(int(row["step"]), self.job.settings.steps, shown)

    def _read_state(self) -> None:
        self._execute(
            f"write_dump all custom {_STATE_FILE} {_STATE_COLUMNS} modify sort id"
        )
        path = self._workspace.folder / _STATE_FILE
        dumped = read_binary_dump(path, self.job.symbols)
        path.unlink()
        self.state = snapshot(
            dumped,
            self._frame,
            self._last_row,
            timestep_fs=self.job.settings.timestep,
            deviations=self._new_deviations(),
        )
        self._step = self.state.step
        self._moments = self.state.moments
        self._places = self.state.positions
        self._has_forces = True

    def _write_columns(self, vectors: Array) -> None:
        """Hand LAMMPS three numbers per atom, as variables mx, my, mz."""
        for name, values in zip(_COLUMN_FILES, vectors.T, strict=True):
            rows = (f"{i} {m!r}\n" for i, m in enumerate(values.tolist(), start=1))
            text = f"{len(vectors)}\n{''.join(rows)}"
            (self._workspace.folder / name).write_text(text, encoding="utf-8")
        self._execute(
            "\n".join(
                f"variable m{name[-1]} delete\nvariable m{name[-1]} atomfile {name}"
                for name in _COLUMN_FILES
            )
        )

    def _remove_columns(self) -> None:
        for name in _COLUMN_FILES:
            (self._workspace.folder / name).unlink()

    def _new_deviations(self) -> list[Deviation]:
        if len(self.job.models) == 1:
            return []
        rows = self._deviation_file.new_rows()
        if rows:
            self._deviation = rows[-1]
        return rows

    def _save(self) -> None:
        """Make a restart point; the one before counts until this one is complete."""
        first, second = RESTART_FILES
        name = second if self._record.restart == first else first
        self._execute(f"write_restart {name}")
        # LAMMPS has moved atoms between processes for it, forces are out of place.
        self._has_forces = False
        is_finished = self._step == self.job.settings.steps
        status: Status = "finished" if is_finished else "started"
        self._write(Record(status, name, self.notes))
        self._saved_step = self._step
        self._is_unsaved = False

    def _write(self, record: Record) -> None:
        self._workspace.write(record)
        self._record = record

    def _leave(self, *, is_clean: bool) -> None:
        """Stop LAMMPS and write the trajectory, after an error as far as it goes."""
        self._require_open().stop()
        self._process = None
        for name in (_STATE_FILE, *_COLUMN_FILES):
            (self._workspace.folder / name).unlink(missing_ok=True)
        try:
            _ = self.result
        except (OSError, ValueError) as error:
            if is_clean:
                raise
            # The first error is the one to report.
            log.warning("%s: output not collected: %s", self._workspace.folder, error)
