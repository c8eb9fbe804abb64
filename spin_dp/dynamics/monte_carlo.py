# SPDX-License-Identifier: LGPL-3.0-or-later
"""Labels and ions that Monte Carlo moves between segments of a run.

Every so many steps time stands still and labels are tried to move, by choice also ions
to other octahedra, at the temperature of the run. Together both sample the equilibrium
of positions and labels; how fast labels move is no kinetics. The energy that accepted
moves take or give is kept apart: the total energy less that sum is what NVE conserves.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.dynamics.visits import GAINED, VisitTable
from spin_dp.inference.engines import Geometries
from spin_dp.inference.local_energies import LocalEnergies
from spin_dp.lammps_interface.settings import positive, positive_integer
from spin_dp.sampling import KINDS, LabelSet, MoveSettings, Sampler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from spin_dp.inference.potential import Potential
    from spin_dp.lammps_interface import LammpsSession, MDSettings

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

LABEL_FILE = "labels.csv"
"""Table of a run: what was tried and accepted, and how many sites are in each state."""


@dataclass(frozen=True, kw_only=True)
class MonteCarlo:
    """How labels move during a run.

    Attributes
    ----------
    every
        Steps of MD between visits.
    trials
        Moves tried in a visit; None: one for each site with a label.
    moves
        Kinds of moves, and how far they reach.
    states
        States that an element may be in, ``{"Ni": ["3+LS", "4+LS"]}``; all that the
        model knows, and whose charge is known, where it does not say.
    temperature
        Of the moves, K; None: that of the run.
    seed
        Of the random numbers.

    Raises
    ------
    ConfigError
        If a number is not positive.
    """

    every: int = 20
    trials: int | None = None
    moves: MoveSettings = field(default_factory=MoveSettings)
    states: Mapping[str, Sequence[str]] | None = None
    temperature: float | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("every", "trials"):
            if getattr(self, name) is not None:
                positive_integer(name, getattr(self, name))
        if self.temperature is not None:
            positive("temperature of the moves", self.temperature, "K")

    def record(self) -> dict[str, Any]:
        """Return the settings in JSON types."""
        return asdict(self)


class LabelVisitor:
    """Moves the labels of a run, see :class:`spin_dp.lammps_interface.run.Visitor`.

    Parameters
    ----------
    potential
        The model that moves the atoms.
    symbols, labels
        Elements and labels to start with, (n,).
    label_set
        What sites may carry.
    settings
        How labels move.
    run
        Settings of the run.
    folder
        Its output folder.

    Attributes
    ----------
    file
        The table, :data:`LABEL_FILE`.

    Raises
    ------
    ConfigError
        If no label can move.
    """

    def __init__(
        self,
        potential: Potential,
        symbols: Sequence[str],
        labels: Ints,
        label_set: LabelSet,
        settings: MonteCarlo,
        *,
        run: MDSettings,
        folder: Path,
    ) -> None:
        self.every = settings.every
        self._potential, self._settings, self._run = potential, settings, run
        self.sampler = Sampler(
            label_set,
            settings.moves,
            settings.temperature or run.temperature,
            symbols,
            labels,
            np.random.default_rng(settings.seed),
        )
        self._trials = settings.trials or len(self.sampler.sites)
        tried = [f"{kind} {what}" for kind in self._kinds for what in _SHOWN]
        columns = ["time_fs", GAINED, *tried, *label_set.names]
        self.file = folder / LABEL_FILE
        self._table = VisitTable(self.file, "labels", columns)
        self._has_begun = False

    def visit(self, session: LammpsSession) -> bool:
        """Move labels where the run stands; it is never over for that."""
        if not self._has_begun:
            self._begin(session)
        if not session.remaining:  # nothing would come of it
            return False
        state, sampler = session.state, self.sampler
        if self._settings.temperature is None:
            sampler.temperature = self._run.temperature_at(state.step)
        turns = bool(self._settings.moves.rotate)
        moments = state.moments if turns else sampler.label_set.vectors(sampler.labels)
        energies = LocalEnergies(
            self._potential,
            state.symbols,
            Geometries(state.positions[None], state.cell[None]),
            moments,
        )
        moves = sampler.at(state.cell, state.positions)
        if sampler.run(energies, moves, self._trials):
            session.set_moments(energies.moments)
            session.set_positions(energies.positions)
        self._table.add(session, self._row(state.step), sampler.record())
        return False

    def _begin(self, session: LammpsSession) -> None:
        """Go on from what the session remembers; what came after is tried anew."""
        self._has_begun = True
        notes = self._table.begin(session, self._row(0))
        if notes is not None:
            self.sampler.restore(notes)

    @property
    def _kinds(self) -> list[str]:
        return [kind for kind in KINDS if getattr(self._settings.moves, kind)]

    def _row(self, step: int) -> list[float]:
        counts = self.sampler.counts
        return [
            round(step * self._run.timestep, 6),
            round(self.sampler.gained, 8),
            *(getattr(counts[kind], what) for kind in self._kinds for what in _SHOWN),
            *self.sampler.label_set.count(self.sampler.labels).values(),
        ]


_SHOWN = ("tried", "accepted")
