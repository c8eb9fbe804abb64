# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a DFT engine is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from spin_dp.data_tools.frame import Frame, Rejected
from spin_dp.data_tools.readers import ase_files
from spin_dp.data_tools.readers.vasp import step as vasp_step
from spin_dp.dft.outcome import Outcome, Status
from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from spin_dp.data_tools.level import Level
    from spin_dp.dft.request import Request

FRAME = "frame.extxyz"
"""Result of engines that write extended XYZ."""
_UNCONVERGED = {ase_files.UNCONVERGED, vasp_step.UNCONVERGED}


class Engine(ABC):
    """A program that calculates energies, forces and moments from starting moments.

    Engines are small and immutable, and travel to other processes and machines. They
    keep no state: all that is known of a run is in its folder.
    """

    name: ClassVar[str]
    """Name in settings."""

    @property
    def runs(self) -> bool:
        """Whether :meth:`run` can be called; if not, the user runs the folders."""
        return True

    @abstractmethod
    def level(self, elements: Iterable[str]) -> Level | None:
        """Return the level of theory of cells with these elements.

        It is the level that ``spin-dp collect`` finds in the results. None where only
        the results can tell.
        """

    @abstractmethod
    def check(self) -> None:
        """Make sure that the engine can run on this machine.

        Raises
        ------
        BackendError
            If its program is not installed; says what to do.
        """

    @abstractmethod
    def prepare(self, request: Request, folder: Path) -> None:
        """Write the input of a run into its folder, which exists."""

    @abstractmethod
    def run(
        self, request: Request, folder: Path, *, threads: int, keep: Sequence[int] = ()
    ) -> None:
        """Run a prepared folder to its end.

        Parameters
        ----------
        request, folder
            As for :meth:`prepare`.
        threads
            Threads to be used.
        keep
            Open files that processes started here inherit: the claim on the folder
            lives as long as they.

        Raises
        ------
        BackendError, DataError
            If the run failed.
        OSError
            If nothing can be written.
        """

    @abstractmethod
    def frame(self, request: Request, folder: Path) -> Frame | Rejected | None:
        """Return what a run has left, with atoms in the order of the request.

        Returns
        -------
        Frame, Rejected or None
            None where there is no result, or not yet.
        """

    def read(self, request: Request, folder: Path) -> Outcome:
        """Say how a run stands, from its folder alone."""
        found = self.frame(request, folder)
        if found is None:
            return Outcome(name=request.name, status=Status.WAITING, folder=folder)
        energy = found.energy if np.isfinite(found.energy) else None
        total = found.total_moment if np.isfinite(found.total_moment) else None
        if isinstance(found, Frame):
            return Outcome(
                name=request.name,
                status=Status.CONVERGED,
                folder=folder,
                energy=energy,
                moments=tuple(float(moment) for moment in found.moments[:, 2]),
                total_moment=total,
            )
        stopped = found.reason in _UNCONVERGED
        return Outcome(
            name=request.name,
            status=Status.UNCONVERGED if stopped else Status.FAILED,
            folder=folder,
            reason=found.reason,
            energy=energy,
            total_moment=total,
        )

    def check_level(self, known: Iterable[Level], elements: Iterable[str]) -> None:
        """Refuse to add to frames of another level of theory.

        Parameters
        ----------
        known
            Levels of the frames in hand, as ``spin-dp collect`` finds them.
        elements
            Of the cells to be calculated.

        Raises
        ------
        ConfigError
            If energies of this engine must not be trained on together with them.
        """
        level = self.level(tuple(elements))
        if level is not None:
            self.refuse_conflicts(level, known)

    def refuse_conflicts(self, level: Level, known: Iterable[Level]) -> None:
        """Refuse levels in conflict with one of the engine; see :meth:`check_level`."""
        for other in known:
            if level.conflicts(other):
                raise ConfigError(
                    f"the frames in hand are of the level {other.id}, the engine "
                    f"{self.name} would add {level.id}; they differ in "
                    f"{_difference(level, other)}. Change the settings of the engine "
                    "or take frames of its level only."
                )


def _difference(level: Level, other: Level) -> str:
    """Return the first entry in which two levels differ, in words."""
    ours, theirs = level.description, other.description
    for key in sorted({*ours, *theirs}):
        if ours.get(key) != theirs.get(key):
            return f"{key}: {theirs.get(key)!r} there, {ours.get(key)!r} here"
    return "nothing that has a name"
