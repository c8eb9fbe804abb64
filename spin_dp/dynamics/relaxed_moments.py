# SPDX-License-Identifier: LGPL-3.0-or-later
"""Moments that are relaxed between segments of a run.

The alternative to adiabatic labels for models that learnt no energy of states: every so
many steps time stands still, and the moments go to zero magnetic force within the
valley of their state. The energy that this takes out is kept apart, as that of Monte
Carlo is.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.dynamics.visits import GAINED, VisitTable
from spin_dp.inference.engines import Geometries
from spin_dp.inference.moment_relaxation import (
    MAX_EVALUATIONS,
    TOLERANCE,
    Valleys,
    relax_moments,
)
from spin_dp.lammps_interface.settings import positive, positive_integer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from spin_dp.inference.moment_relaxation import RelaxedMoments
    from spin_dp.inference.potential import Potential
    from spin_dp.lammps_interface import LammpsSession, MDSettings

    Floats = NDArray[np.float64]

log = logging.getLogger(__name__)

MOMENT_FILE = "moments.csv"
"""Table of a run: what relaxing the moments took out, and what is left of forces."""

_COLUMNS = ("time_fs", GAINED, "residual_eV_per_muB", "evaluations", "at_edge")


@dataclass(frozen=True, kw_only=True)
class MomentRelaxation:
    """How moments are relaxed during a run.

    Attributes
    ----------
    every
        Steps of MD between relaxations.
    tolerance
        Magnetic force where one ends, eV/μB.
    max_evaluations
        Of the model, in one relaxation.

    Raises
    ------
    ConfigError
        If a number is not positive.
    """

    every: int = 10
    tolerance: float = TOLERANCE
    max_evaluations: int = MAX_EVALUATIONS

    def __post_init__(self) -> None:
        positive_integer("every", self.every)
        positive_integer("max_evaluations", self.max_evaluations)
        positive("tolerance", self.tolerance, "eV/μB")

    def record(self) -> dict[str, Any]:
        """Return the settings in JSON types."""
        return {"relaxed": asdict(self)}


class MomentVisitor:
    """Relaxes the moments of a run, see :class:`spin_dp.lammps_interface.run.Visitor`.

    Parameters
    ----------
    potential, symbols
        The model that moves the atoms, and their elements, (n,).
    valleys
        Of the states that the run begins with; moments stay within.
    settings
        How moments are relaxed.
    run
        Settings of the run.
    folder
        Its output folder.

    Attributes
    ----------
    file
        The table, :data:`MOMENT_FILE`.
    """

    def __init__(
        self,
        potential: Potential,
        symbols: Sequence[str],
        valleys: Valleys,
        settings: MomentRelaxation,
        *,
        run: MDSettings,
        folder: Path,
    ) -> None:
        self.every, self.file = settings.every, folder / MOMENT_FILE
        self._potential, self._symbols, self._valleys = potential, symbols, valleys
        self._settings, self._timestep = settings, run.timestep
        self._table = VisitTable(self.file, "moments", _COLUMNS)
        self._gained = 0.0
        self._has_begun = self._has_said = False

    def relaxed(self, geometry: Geometries, moments: Floats) -> Floats:
        """Return relaxed moments of the structure to start from, (n, 3), μB."""
        start: Floats = self._relax(geometry, moments, step=0).moments[0]
        return start

    def visit(self, session: LammpsSession) -> bool:
        """Relax the moments where the run stands; it is never over for that."""
        if not self._has_begun:
            self._has_begun = True
            notes = self._table.begin(session, (0.0, 0.0, 0.0, 0, 0))
            self._gained = float(notes["gained"]) if notes else 0.0
        if not session.remaining:  # nothing would come of it
            return False
        state = session.state
        geometry = Geometries(state.positions[None], state.cell[None])
        relaxed = self._relax(geometry, state.moments, step=state.step)
        session.set_moments(relaxed.moments[0])
        self._gained += float(relaxed.changes[0])
        row = (
            round(state.step * self._timestep, 6),
            round(self._gained, 8),
            round(float(relaxed.residuals[0]), 6),
            relaxed.evaluations,
            int(relaxed.at_edge.sum()),
        )
        self._table.add(session, row, {"gained": self._gained})
        return False

    def _relax(
        self, geometry: Geometries, moments: Floats, *, step: int
    ) -> RelaxedMoments:
        relaxed = relax_moments(
            self._potential,
            self._symbols,
            geometry,
            moments[None],
            self._valleys,
            tolerance=self._settings.tolerance,
            max_evaluations=self._settings.max_evaluations,
        )
        self._warn(relaxed, step)
        return relaxed

    def _warn(self, relaxed: RelaxedMoments, step: int) -> None:
        """Say once where a state does not hold."""
        atoms = np.flatnonzero(relaxed.at_edge[0])
        if self._has_said or not len(atoms):
            return
        self._has_said = True
        first = int(atoms[0])
        length = float(np.linalg.norm(relaxed.moments[0, first]))
        log.warning(
            "step %d: the moment of atom %d (%s) stays at %.2f μB, the edge of its "
            "state, though a magnetic force pulls it on%s: the state does not hold "
            "there, as the model sees it",
            step,
            first,
            self._symbols[first],
            length,
            f", and {len(atoms) - 1} more" if len(atoms) > 1 else "",
        )
