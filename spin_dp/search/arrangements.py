# SPDX-License-Identifier: LGPL-3.0-or-later
"""Low arrangements of vacancies, with their spin states, where there are many.

Markov chains that cool (S. Kirkpatrick, C. D. Gelatt and M. P. Vecchi, Science 220, 671
(1983)) over the sites of the ions and the labels of the metals at once, at positions of
the full crystal, with the moves and the local energies of labelled MD: an ion goes to
an empty site, labels change places, flip, or hand on an electron. So a hole can follow
its vacancy, as it could not if arrangements and spin states were tried in turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError
from spin_dp.inference.local_energies import LocalEnergies
from spin_dp.neighbours import find_near
from spin_dp.sampling import MoveSettings, Sampler
from spin_dp.sampling.label_set import NO_LABEL
from spin_dp.search.chains import charged_choices, cooled, likely_start
from spin_dp.search.choices import find_choices
from spin_dp.search.ladder import ranked_frames
from spin_dp.search.ranking import rank_assignments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.inference.predictor import SpinDP
    from spin_dp.search.vacancy_patterns import VacancyPatterns

    Codes = NDArray[np.uint8]
    Floats = NDArray[np.float64]

_MOVES = MoveSettings(vacancy=2.0, reach=None)
_LOOKS = 4  # a sweep
_NEAR = 0.1  # Å, of a site


@dataclass(frozen=True, kw_only=True)
class ArrangementSearch:
    """How chains look for arrangements.

    Attributes
    ----------
    sweeps
        Of each chain: in a sweep as many moves are tried as there are labels and sites
        of the ion.
    chains
        Their number: the first begins with vacancies far from each other, others with
        arrangements that are drawn.
    hottest, coldest
        Temperatures at the start and at the end, K.
    seed
        Of the random numbers.

    Raises
    ------
    ConfigError
        If numbers are not positive, or the coldest is not the coldest.
    """

    sweeps: int = 40
    chains: int = 3
    hottest: float = 2000.0
    coldest: float = 100.0
    seed: int = 1

    def __post_init__(self) -> None:
        if self.sweeps < 1 or self.chains < 1:
            raise ConfigError(
                "search for arrangements: expected at least one sweep and one chain, "
                f"got {self.sweeps} and {self.chains}."
            )
        if not 0.0 < self.coldest <= self.hottest:
            raise ConfigError(
                "search for arrangements: expected 0 < coldest <= hottest, got "
                f"{self.coldest:g} and {self.hottest:g} K."
            )

    def temperature(self, sweep: int) -> float:
        """Return the temperature of a sweep, K."""
        place = sweep / max(1, self.sweeps - 1)
        return cooled(self.hottest, self.coldest, place)


@dataclass(frozen=True, eq=False)
class FoundArrangement:
    """An arrangement, in the lowest of the spin states that chains had it in.

    Attributes
    ----------
    atoms
        The crystal without the ions that are missing, labelled.
    energy
        eV.
    """

    atoms: Atoms
    energy: float


def search_arrangements(
    patterns: VacancyPatterns,
    model: SpinDP,
    settings: ArrangementSearch | None = None,
    *,
    states: Mapping[str, Sequence[str | float]] | None = None,
    keep: int = 12,
    progress: Callable[[int, int], None] | None = None,
) -> list[FoundArrangement]:
    """Search low arrangements of ions and vacancies, each with its spin state.

    Parameters
    ----------
    patterns
        The crystal, the ion, and how many are left: at least one.
    model
        Its energies of states count where it learnt some.
    settings
        None: the defaults.
    states
        As for :func:`spin_dp.search.rank_states`.
    keep
        Largest number of arrangements.
    progress
        Called as ``progress(done, total)``, in sweeps.

    Returns
    -------
    list of FoundArrangement
        Distinct ones, lowest first.

    Raises
    ------
    ConfigError
        If no neutral assignment is found to start from, or a state has no charge.
    """
    chosen = settings or ArrangementSearch()
    starts = patterns.choose(chosen.chains, chosen.seed)
    total = len(starts) * chosen.sweeps
    pool: dict[bytes, tuple[float, Atoms, Codes]] = {}
    for number, start in enumerate(starts):
        chain = _Chain(patterns, start.atoms, model, chosen, number, states)
        for sweep in range(chosen.sweeps):
            if progress is not None:
                progress(number * chosen.sweeps + sweep, total)
            for key, found in chain.step(chosen.temperature(sweep)):
                if key not in pool or found[0] < pool[key][0]:
                    pool[key] = found
    best = sorted(pool.values(), key=lambda one: one[0])[:keep]
    arrangements = []
    for _, atoms, codes in best:
        table = rank_assignments(
            find_choices(atoms, model, states=states),
            model,
            codes[None],
            np.array([1]),
            converge=model.info.predicts_moments,
        )
        (frame,) = ranked_frames(atoms, table, 1)
        arrangements.append(FoundArrangement(frame, float(table["energy"].iloc[0])))
    return sorted(arrangements, key=lambda one: one.energy)


class _Chain:
    """One chain, and what it comes by."""

    def __init__(
        self,
        patterns: VacancyPatterns,
        atoms: Atoms,
        model: SpinDP,
        settings: ArrangementSearch,
        number: int,
        states: Mapping[str, Sequence[str | float]] | None,
    ) -> None:
        self._patterns, self._atoms = patterns, atoms
        choices = charged_choices(atoms, model, states=states)
        symbols = atoms.get_chemical_symbols()
        self._ions = np.flatnonzero(np.array(symbols) == patterns.ion)
        self._sites = list(choices.sites)
        self._held: NDArray[np.bool_] = np.any(choices.held[self._sites], axis=1)
        self._start = likely_start(choices)
        labels = np.full(len(symbols), NO_LABEL, dtype=np.int64)
        for site, code, held in zip(self._sites, self._start, self._held, strict=True):
            labels[site] = NO_LABEL if held else code
        self._sampler = Sampler(
            choices.label_set,
            _MOVES,
            settings.hottest,
            symbols,
            labels,
            np.random.default_rng([settings.seed, number]),
        )
        self._places = patterns.full.positions[patterns.sites]
        self._cell = atoms.cell.array
        self._moves = self._sampler.at(self._cell, atoms.positions, self._places)
        self._energies = LocalEnergies(
            model.potential,
            symbols,
            model.geometry(atoms),
            choices.moments(self._start[None])[0],
        )

    def step(
        self, temperature: float
    ) -> list[tuple[bytes, tuple[float, Atoms, Codes]]]:
        """Do a sweep; return what is found on the way: key, energy, atoms, codes."""
        self._sampler.temperature = temperature
        trials = len(self._sites) + len(self._places)
        found = []
        for part in np.array_split(np.arange(trials), min(_LOOKS, trials)):
            self._sampler.run(self._energies, self._moves, len(part))
            atoms = self._atoms.copy()
            atoms.positions = self._energies.positions
            labels = self._sampler.labels[self._sites]
            codes = np.where(self._held, self._start, labels).astype(np.uint8)
            one = self._energies.energy, atoms, codes
            found.append((self._key(atoms.positions), one))
        return found

    def _key(self, positions: Floats) -> bytes:
        """Return what arrangements have alike that symmetry makes equal."""
        full = np.zeros(len(self._places), dtype=np.uint8)
        _, place, _ = find_near(self._cell, positions[self._ions], self._places, _NEAR)
        full[place] = 1
        return bytes(self._patterns.enumeration.smallest(full[None])[0].tobytes())
