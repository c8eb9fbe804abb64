# SPDX-License-Identifier: LGPL-3.0-or-later
"""The lowest spin states of cells with too many assignments to try them all.

Markov chains over the labels of a structure at fixed positions, with the moves and the
local energies of labelled MD (:mod:`spin_dp.sampling`). In *parallel tempering* chains
at temperatures from cold to hot exchange their temperatures after each sweep
(K. Hukushima and K. Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996)); in *annealing* each
chain cools from hot to cold (S. Kirkpatrick, C. D. Gelatt and M. P. Vecchi, Science
220, 671 (1983)). The total charge stays that of the neutral cell.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, field
from math import exp, inf, isfinite
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from spin_dp.errors import ConfigError, unknown
from spin_dp.files import write_text
from spin_dp.inference.local_energies import LocalEnergies
from spin_dp.sampling import MoveSettings, Sampler
from spin_dp.sampling.label_set import NO_LABEL
from spin_dp.search.choices import find_choices
from spin_dp.search.ranking import rank_assignments
from spin_dp.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from spin_dp.inference.labelling import Given
    from spin_dp.inference.predictor import SpinDP
    from spin_dp.search.choices import Choices

    Floats = NDArray[np.float64]
    Codes = NDArray[np.uint8]

log = logging.getLogger(__name__)

Method: TypeAlias = Literal["tempering", "annealing"]

_SAVED_EVERY = 5  # sweeps
_POOL = 4  # times what is kept in the end
_SAME_EV = 1e-6


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How chains search.

    Attributes
    ----------
    method
        ``tempering`` or ``annealing``.
    sweeps
        Of each chain: in a sweep as many moves are tried as there are sites.
    chains
        Their number.
    coldest, hottest
        Temperatures, K.
    moves
        Kinds of moves; exchanges and transfers reach any site by default.
    seed
        Of the random numbers.

    Raises
    ------
    ConfigError
        If numbers are not positive, or the coldest is not the coldest; if ions move.
    """

    method: Method = "tempering"
    sweeps: int = 100
    chains: int = 8
    coldest: float = 50.0
    hottest: float = 3000.0
    moves: MoveSettings = field(default_factory=lambda: MoveSettings(reach=None))
    seed: int = 1

    def __post_init__(self) -> None:
        if self.method not in ("tempering", "annealing"):
            raise unknown("search", self.method, ("tempering", "annealing"))
        for name in ("sweeps", "chains"):
            value = getattr(self, name)
            if value < 1:
                raise ConfigError(f"{name}: expected at least 1, got {value}.")
        if not 0.0 < self.coldest < self.hottest:
            raise ConfigError(
                "temperatures of a search: expected 0 < coldest < hottest, got "
                f"{self.coldest:g} and {self.hottest:g} K."
            )
        if self.moves.moves_ions or self.moves.rotate:
            raise ConfigError(
                "moves of a search: expected exchange, flip, spin, transfer; ions "
                "stay where they are, and moments along one axis."
            )

    def temperature(self, chain: int, sweep: int) -> float:
        """Return the temperature that a chain has, or begins with, K."""
        if self.method == "annealing":
            place = sweep / max(1, self.sweeps - 1)
        else:
            place = 1.0 - chain / max(1, self.chains - 1)
        return cooled(self.hottest, self.coldest, place)


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search found.

    Attributes
    ----------
    table
        Of :func:`spin_dp.search.rank_states`: the lowest states that chains came by.
    history
        A row for each sweep: ``sweep``; ``lowest``, the lowest energy so far, and
        ``coldest``, that of the coldest chain (eV); ``distinct``, how many assignments
        are remembered; ``exchanged``, share of exchanges of temperatures accepted.
    accepted
        Share of tried moves of each kind that were accepted.
    """

    table: pd.DataFrame
    history: pd.DataFrame
    accepted: Mapping[str, float]

    @property
    def found_at(self) -> int:
        """The sweep after which the lowest energy did not change any more."""
        lowest = self.history["lowest"].to_numpy()
        return int(np.flatnonzero(lowest <= lowest[-1] + _SAME_EV)[0])


def search_states(
    structure: Atoms | Structure,
    model: SpinDP,
    elements: Sequence[str] | None = None,
    *,
    states: Mapping[str, Sequence[str | float]] | None = None,
    moments: Given | None = None,
    settings: SearchSettings | None = None,
    keep: int = 100,
    checkpoint: Path | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> SearchResult:
    """Search the lowest spin states of a structure, at fixed positions.

    Parameters
    ----------
    structure, model, elements, states, moments
        As for :func:`spin_dp.search.rank_states`; all states need a known charge.
    settings
        How chains search; the defaults if None.
    keep
        Largest number of rows of the table.
    checkpoint
        File (JSON) from which an interrupted search goes on; it is written every five
        sweeps.
    progress
        Called as ``progress(sweep, sweeps, lowest)``, eV.

    Returns
    -------
    SearchResult
        The table, lowest first, and how the search went.

    Raises
    ------
    ConfigError
        As :func:`spin_dp.search.rank_states`; if the charge of a state is not known; if
        no neutral assignment is found to start from, or nothing can change; if the
        checkpoint is that of another search.
    ShapeError, DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    settings = settings or SearchSettings()
    choices = charged_choices(
        structure, model, elements, states=states, moments=moments
    )
    if not model.info.reads_labels:
        log.warning(
            "%s learnt no energy of states: mean moments are searched, and only what "
            "is found relaxes",
            model.info.path,
        )
    chains = _Chains(choices, model, settings, most=_POOL * keep)
    if checkpoint is not None:
        chains.restore(checkpoint)
    while chains.sweep < settings.sweeps:
        chains.step()
        is_last = chains.sweep == settings.sweeps
        if checkpoint is not None and (is_last or chains.sweep % _SAVED_EVERY == 0):
            chains.save(checkpoint)
        if progress is not None:
            progress(chains.sweep, settings.sweeps, chains.lowest)
    codes = chains.found(keep)
    numbers = choices.up_to_reversal(codes, choices.enumeration.multiplicities(codes))
    table = rank_assignments(
        choices, model, codes, numbers, converge=model.info.predicts_moments
    )
    history = pd.DataFrame(chains.history)
    return SearchResult(table, history, chains.accepted())


def cooled(hottest: float, coldest: float, place: float) -> float:
    """Return the temperature from hot (place 0) to cold (1), by equal factors, K."""
    return float(hottest * (coldest / hottest) ** place)


def charged_choices(
    structure: Atoms | Structure,
    model: SpinDP,
    elements: Sequence[str] | None = None,
    *,
    states: Mapping[str, Sequence[str | float]] | None = None,
    moments: Given | None = None,
) -> Choices:
    """Return choices among states of known charge, which chains keep; as asked for.

    Raises
    ------
    ConfigError
        If the charge of a state is not known.
    """
    choices = find_choices(structure, model, elements, states=states, moments=moments)
    unnamed = [s.name for s in choices.label_set.states if s.charge is None]
    if unnamed:
        raise ConfigError(
            f"{unnamed[0]}: named by its moment, its charge is not known; say which "
            "states to search (--states)."
        )
    return choices


def likely_start(choices: Choices) -> Codes:
    """Return the neutral assignment that a chain starts from, (ns,).

    Raises
    ------
    ConfigError
        If none is found.
    """
    start = choices.likely(1)
    if not len(start):
        raise ConfigError(
            f"{choices.atoms.get_chemical_formula()}: no neutral assignment of at "
            "most two states of an element to start from; give other states "
            "(--states), or another cell."
        )
    found: Codes = start[0]
    return found


class _Chains:
    """The chains of a search, and the lowest assignments that they came by."""

    def __init__(
        self, choices: Choices, model: SpinDP, settings: SearchSettings, *, most: int
    ) -> None:
        self.choices, self.settings, self._most = choices, settings, most
        self._potential, self._geometry = (
            model.potential,
            model.geometry(choices.atoms),
        )
        self._symbols = choices.atoms.get_chemical_symbols()
        free = [p for p, options in enumerate(choices.options) if len(options) > 1]
        self._free, self._atoms = free, [choices.sites[place] for place in free]
        self._start = likely_start(choices)
        self._random = np.random.default_rng([settings.seed, settings.chains])
        self._samplers = [
            Sampler(
                choices.label_set,
                settings.moves,
                settings.temperature(chain, 0),
                self._symbols,
                self._labels(self._start),
                np.random.default_rng([settings.seed, chain]),
            )
            for chain in range(settings.chains)
        ]
        self._moves = self._samplers[0].at(
            choices.atoms.cell.array, choices.atoms.positions
        )
        self._energies = [self._fresh(sampler) for sampler in self._samplers]
        self._pool: dict[bytes, float] = {}
        self.history: list[dict[str, float]] = []
        self._swaps = [0, 0]
        self._highest = inf  # that is worth remembering
        self._remember()

    @property
    def sweep(self) -> int:
        """Number of sweeps done."""
        return len(self.history)

    @property
    def lowest(self) -> float:
        """Lowest energy so far, eV."""
        return min(self._pool.values())

    def step(self) -> None:
        """Do a sweep of all chains."""
        trials = len(self._free)
        for chain, sampler in enumerate(self._samplers):
            if self.settings.method == "annealing":
                sampler.temperature = self.settings.temperature(chain, self.sweep)
            # What a chain comes by on its way counts, too.
            for part in np.array_split(np.arange(trials), min(4, trials)):
                sampler.run(self._energies[chain], self._moves, len(part))
                self._remember([chain])
        if self.settings.method == "tempering":
            self._exchange()
        coldest = min(
            range(len(self._samplers)), key=lambda k: self._samplers[k].temperature
        )
        tried, made = self._swaps
        self.history.append(
            {
                "sweep": self.sweep + 1,
                "lowest": self.lowest,
                "coldest": self._energies[coldest].energy,
                "distinct": len(self._pool),
                "exchanged": made / tried if tried else float("nan"),
            }
        )

    def _exchange(self) -> None:
        """Let neighbours in temperature exchange their temperatures."""
        order = sorted(
            range(len(self._samplers)), key=lambda k: self._samplers[k].temperature
        )
        # Pairs begin with the coldest and the second coldest in turn.
        first = self.sweep % 2
        for low, high in zip(order[first::2], order[first + 1 :: 2], strict=False):
            cold, hot = self._samplers[low], self._samplers[high]
            beta = 1.0 / (BOLTZMANN_EV_PER_K * cold.temperature)
            beta -= 1.0 / (BOLTZMANN_EV_PER_K * hot.temperature)
            gain = self._energies[low].energy - self._energies[high].energy
            self._swaps[0] += 1
            if self._random.random() < exp(min(0.0, beta * gain)):
                self._swaps[1] += 1
                cold.temperature, hot.temperature = hot.temperature, cold.temperature

    def found(self, number: int) -> Codes:
        """Return the lowest assignments, (k, ns)."""
        best = sorted(self._pool, key=lambda key: (self._pool[key], key))[:number]
        return np.array([np.frombuffer(key, dtype=np.uint8) for key in best])

    def accepted(self) -> dict[str, float]:
        """Return the shares of moves that were accepted, by kind."""
        shares = {}
        for kind in self._samplers[0].counts:
            counts = [sampler.counts[kind] for sampler in self._samplers]
            if tried := sum(one.tried for one in counts):
                shares[kind] = sum(one.accepted for one in counts) / tried
        return shares

    def save(self, path: Path) -> None:
        """Write where the search stands, at once."""
        record = {
            "search": self._identity(),
            "chains": [
                {"temperature": sampler.temperature, **sampler.record()}
                for sampler in self._samplers
            ],
            "random": self._random.bit_generator.state,
            "swaps": self._swaps,
            "highest": self._highest if isfinite(self._highest) else None,
            "history": self.history,
            "pool": [[key.hex(), energy] for key, energy in self._pool.items()],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(record))

    def restore(self, path: Path) -> None:
        """Go on from a file, if there is one."""
        if not path.exists():
            return
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            is_same = record["search"] == self._identity()
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"{path}: expected a search to go on with, got something else; remove "
                "it to start anew."
            ) from error
        if not is_same:
            raise ConfigError(
                f"{path}: is of another search (structure, model, states or settings); "
                "remove it to start anew, or give another file."
            )
        for sampler, one in zip(self._samplers, record["chains"], strict=True):
            sampler.restore(one)
            sampler.temperature = float(one["temperature"])
        self._energies = [self._fresh(sampler) for sampler in self._samplers]
        self._random.bit_generator.state = record["random"]
        self._swaps = list(record["swaps"])
        highest = record["highest"]
        self._highest = inf if highest is None else highest
        self.history = list(record["history"])
        self._pool = {bytes.fromhex(key): energy for key, energy in record["pool"]}
        log.info("going on after sweep %d", self.sweep)

    def _identity(self) -> dict[str, Any]:
        """Return what makes a search this one, in JSON types."""
        atoms = self.choices.atoms
        names = [f"{s.name} {s.moment:.4f}" for s in self.choices.label_set.states]
        arrays = [atoms.cell.array, atoms.positions, self.choices.held]
        words = [*self._symbols, *names, str(self.choices.options)]
        digest = hashlib.sha256(" ".join(words).encode())
        for array in arrays:
            digest.update(np.round(array, 6).astype("<f8").tobytes())
        settings = asdict(self.settings)
        return {
            "structure": digest.hexdigest(),
            "model": str(self._potential.info.path),
            "settings": json.loads(json.dumps(settings)),
        }

    def _labels(self, codes: Codes) -> NDArray[np.int64]:
        """Return the label of each atom; held sites have none that moves."""
        labels = np.full(len(self._symbols), NO_LABEL, dtype=np.int64)
        labels[self._atoms] = codes[self._free]
        return labels

    def _codes(self, sampler: Sampler) -> Codes:
        codes: Codes = self._start.copy()
        codes[self._free] = sampler.labels[self._atoms]
        return codes

    def _fresh(self, sampler: Sampler) -> LocalEnergies:
        moments = self.choices.moments(self._codes(sampler)[None])[0]
        return LocalEnergies(self._potential, self._symbols, self._geometry, moments)

    def _remember(self, chains: Sequence[int] | None = None) -> None:
        """Put where chains are among what was found; forget the highest."""
        which = range(len(self._samplers)) if chains is None else chains
        # Only what may be kept is worth a search for its symmetric equals.
        low = [k for k in which if self._energies[k].energy <= self._highest]
        if not low:
            return
        codes = np.array([self._codes(self._samplers[k]) for k in low])
        smallest = self.choices.enumeration.smallest(codes)
        for k, one in zip(low, smallest, strict=True):
            self._pool.setdefault(one.tobytes(), self._energies[k].energy)
        if len(self._pool) > 2 * self._most:
            best = sorted(self._pool, key=lambda key: (self._pool[key], key))
            self._pool = {key: self._pool[key] for key in best[: self._most]}
            self._highest = max(self._pool.values())
