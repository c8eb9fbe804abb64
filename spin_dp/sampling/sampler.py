# SPDX-License-Identifier: LGPL-3.0-or-later
"""A Markov chain over labels and ions; energies from the atoms that feel a change."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from spin_dp.errors import ConfigError
from spin_dp.inference.local_energies import Change
from spin_dp.sampling.moves import (
    DRAWS,
    ION_KINDS,
    KINDS,
    Moves,
    MoveSettings,
    movable_sites,
    useless_kinds,
)
from spin_dp.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from spin_dp.sampling.label_set import LabelSet
    from spin_dp.sampling.moves import Trial

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_AT_ONCE = 16  # trials; more gain nothing
_PLENTY = 30.0  # log of what any random number is below
_TOO_NEAR = 1.4  # Å; no oxide has such contacts, and no model is right about them


class Energies(Protocol):
    """Energies of one cell that follow moments and ions.

    As :class:`spin_dp.inference.local_energies.LocalEnergies` has them.

    Attributes
    ----------
    moments
        (n, 3), μB.
    """

    moments: Floats

    @property
    def positions(self) -> Floats:
        """Of the atoms, (n, 3), Å; asked for where ions move."""

    def nearest(self, sites: Sequence[int], positions: Floats) -> float:
        """Return how near atoms that are elsewhere would come to any other, Å."""

    def seen(self, sites: Sequence[int]) -> frozenset[int]:
        """Return the atoms whose moments the difference of a change depends on."""

    def differences(self, changes: Sequence[Change]) -> list[Floats]:
        """Return the differences of each change, eV; their sums count."""

    def accept(self, change: Change, difference: Floats) -> None:
        """Make a change."""


@dataclass
class Counts:
    """What became of trials of one kind.

    Attributes
    ----------
    tried, possible, accepted
        How many; those where something could change; those that were accepted.
    """

    tried: int = 0
    possible: int = 0
    accepted: int = 0


@dataclass(eq=False)
class Sampler:
    """A Markov chain over the labels of a cell, at any number of geometries.

    Trials that do not see each other are computed together. They are drawn and decided
    one after the other all the same: the chain depends on the seed alone.

    Attributes
    ----------
    label_set, settings, temperature
        What sites may carry, which moves are tried, kelvin.
    symbols, labels
        Elements, (n,), and the label of each atom as it is, (n,).
    random
        Random numbers.
    counts
        Trials of each kind of move.
    gained
        Sum of the energy differences of all accepted moves, eV.

    Raises
    ------
    ConfigError
        If the temperature is not positive, no atom has a label, or no move that is
        tried can change one.
    """

    label_set: LabelSet
    settings: MoveSettings
    temperature: float
    symbols: Sequence[str]
    labels: Ints
    random: np.random.Generator
    counts: dict[str, Counts] = field(
        default_factory=lambda: {kind: Counts() for kind in KINDS}
    )
    gained: float = 0.0

    def __post_init__(self) -> None:
        if not self.temperature > 0.0:
            raise ConfigError(
                f"temperature: expected a positive number, got {self.temperature}."
            )
        self.labels = np.array(self.labels, dtype=np.int64)
        self.sites = movable_sites(self.labels)
        elements = [self.symbols[atom] for atom in self.sites.tolist()]
        useless = useless_kinds(self.label_set, self.settings, elements, self.symbols)
        tried = {kind for kind in KINDS if getattr(self.settings, kind)}
        if tried <= set(useless):
            why = "; ".join(f"{kind}: {reason}" for kind, reason in useless.items())
            raise ConfigError(
                f"moves: nothing can change ({why}). Allow other states or moves."
            )

    @property
    def charge(self) -> int:
        """Sum of the oxidation states of all labels, e; no move changes it."""
        return int(self.label_set.charges[self.labels[self.sites]].sum())

    def at(
        self, cell: Floats, positions: Floats, ion_sites: Floats | None = None
    ) -> Moves:
        """Return the moves of a geometry, for :meth:`run`; see :class:`Moves`."""
        return Moves(
            self.label_set,
            self.settings,
            self.symbols,
            self.sites,
            cell,
            positions,
            ion_sites,
        )

    def run(self, energies: Energies, moves: Moves, trials: int) -> int:
        """Try moves at a geometry.

        Parameters
        ----------
        energies
            Of the geometry, with the moments of the labels as they are; it is kept up
            to date.
        moves
            Of the geometry, see :meth:`at`; they follow the ions.
        trials
            How many.

        Returns
        -------
        int
            How many were accepted.
        """
        before = sum(one.accepted for one in self.counts.values())
        waiting: list[Trial] = []
        seen: set[int] = set()  # by those that wait
        for draws in self.random.random((trials, DRAWS)):
            trial = moves.propose(draws, self.labels, energies.moments)
            if trial.kind in ION_KINDS:  # by itself: what others see moves, too
                self._decide(energies, waiting)
                waiting, seen = [], set()
                self._move_ions(energies, moves, draws)
                continue
            # What a trial leads to, and at what cost, may hang on those that wait.
            if len(waiting) == _AT_ONCE or not seen.isdisjoint(trial.sites):
                self._decide(energies, waiting)
                waiting, seen = [], set()
                trial = moves.propose(draws, self.labels, energies.moments)
            self.counts[trial.kind].tried += 1
            if trial.proposal is not None:
                waiting.append(trial)
                seen |= energies.seen(trial.sites)
        self._decide(energies, waiting)
        return sum(one.accepted for one in self.counts.values()) - before

    def _move_ions(self, energies: Energies, moves: Moves, draws: Floats) -> None:
        trial = moves.propose(draws, self.labels, energies.moments)
        self.counts[trial.kind].tried += 1
        made = trial.proposal
        if made is None or made.positions is None:
            return
        if energies.nearest(made.sites, made.positions) < _TOO_NEAR:
            return
        before = self.counts[trial.kind].accepted
        self._decide(energies, [trial])
        if self.counts[trial.kind].accepted > before:
            moves.look(energies.positions)

    def _decide(self, energies: Energies, trials: Sequence[Trial]) -> None:
        made = [(one.kind, one.proposal) for one in trials if one.proposal is not None]
        if not made:
            return
        changes = [Change(one.sites, one.moments, one.positions) for _, one in made]
        beta = 1.0 / (BOLTZMANN_EV_PER_K * self.temperature)
        for (kind, proposal), change, parts in zip(
            made, changes, energies.differences(changes), strict=True
        ):
            count = self.counts[kind]
            count.possible += 1
            difference = float(parts.sum())
            exponent = proposal.log_ratio - beta * difference
            if proposal.draw < exp(min(exponent, _PLENTY)):
                energies.accept(change, parts)
                self.labels[list(proposal.sites)] = proposal.labels
                self.gained += difference
                count.accepted += 1

    def record(self) -> dict[str, Any]:
        """Return where the chain stands, in JSON types."""
        return {
            "labels": self.labels.tolist(),
            "random": self.random.bit_generator.state,
            "counts": {
                kind: [one.tried, one.possible, one.accepted]
                for kind, one in self.counts.items()
            },
            "gained": self.gained,
        }

    def restore(self, record: Mapping[str, Any]) -> None:
        """Go on from where :meth:`record` stood."""
        self.labels = np.array(record["labels"], dtype=np.int64)
        self.random.bit_generator.state = dict(record["random"])
        self.counts = {k: Counts(*row) for k, row in record["counts"].items()}
        self.gained = float(record["gained"])
