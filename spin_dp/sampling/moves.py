# SPDX-License-Identifier: LGPL-3.0-or-later
"""Moves of labels and ions, and how likely each is proposed against its reverse.

Sites are drawn whatever their labels are, and each move has its reverse:

``exchange``  two sites of one element swap their states: a charge or a spin hops. With
              their signs, or each keeps its own, as likely; a moment that goes where
              there was none is up or down.
``flip``      a moment turns round.
``spin``      another state or sign of the same charge.
``transfer``  one site gives an electron to another: Ni2+ Mn4+ becomes Ni3+ Mn3+.
``rotate``    a moment points elsewhere; its length stays.
``vacancy``   an alkali ion goes to an empty octahedron of anions, as far from its
              centre as it was from the other.
``antisite``  an alkali ion and a metal change places in the same way; the metal keeps
              its label.

With n the number of what a transfer can lead to, it is accepted with probability
min(1, n/n' exp(-ΔE/kT)) (W. K. Hastings, Biometrika 57, 97 (1970)); n = n' in all
other moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import cos, log, pi, sin, sqrt
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError
from spin_dp.neighbours import find_pairs
from spin_dp.sampling.ion_sites import ALKALI, find_ion_sites
from spin_dp.sampling.label_set import NO_LABEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from spin_dp.sampling.label_set import LabelSet

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

LABEL_KINDS = ("exchange", "flip", "spin", "transfer", "rotate")
ION_KINDS = ("vacancy", "antisite")
KINDS = (*LABEL_KINDS, *ION_KINDS)
DRAWS = 9
"""Random numbers of a trial: kind, two sites, what becomes of them (4), spare, and
whether it is accepted. Always so many, so that each trial has its own."""


@dataclass(frozen=True, kw_only=True)
class MoveSettings:
    """Which moves are tried.

    Attributes
    ----------
    exchange, flip, spin, transfer, rotate, vacancy, antisite
        How often each kind is tried, as shares of their sum.
    reach
        Exchanges and transfers are between sites not farther apart, Å; None: any two.
    turn
        Width of the change of direction of a rotation, rad.

    Raises
    ------
    ConfigError
        If a share is negative, or all are zero; if lengths are not positive; if moments
        rotate that may flip or change their length as well.
    """

    exchange: float = 1.0
    flip: float = 1.0
    spin: float = 1.0
    transfer: float = 1.0
    rotate: float = 0.0
    vacancy: float = 0.0
    antisite: float = 0.0
    reach: float | None = 3.5
    turn: float = 0.5

    def __post_init__(self) -> None:
        shares = {kind: getattr(self, kind) for kind in KINDS}
        if min(shares.values()) < 0.0 or not sum(shares.values()) > 0.0:
            raise ConfigError(
                f"moves: expected shares of at least 0, not all 0, got {shares}."
            )
        for name in ("reach", "turn"):
            value = getattr(self, name)
            if value is not None and not value > 0.0:
                raise ConfigError(f"{name}: expected a positive number, got {value}.")
        others = [k for k in ("flip", "spin", "transfer") if shares[k]]
        if self.rotate and others:
            raise ConfigError(
                f"moves: rotate goes with exchange only, got {', '.join(others)}: "
                "flips and changes of state are those of moments along one axis."
            )

    @classmethod
    def parse(cls, text: str, **others: float | None) -> MoveSettings:
        """Return settings from ``exchange,flip`` or ``exchange=2,flip=1``.

        Kinds that are not named are not tried.

        Raises
        ------
        ConfigError
            If a word is not understood.
        """
        shares = dict.fromkeys(KINDS, 0.0)
        for word in text.split(","):
            kind, _, value = word.strip().partition("=")
            if kind not in shares:
                raise ConfigError(
                    f"moves: expected {', '.join(KINDS)}, got {word.strip()!r}."
                )
            try:
                shares[kind] = float(value or 1.0)
            except ValueError as error:
                raise ConfigError(
                    f"moves: expected a number after {kind}=, got {value!r}."
                ) from error
        return cls(**shares, **others)  # type: ignore[arg-type]

    @property
    def moves_ions(self) -> bool:
        """Whether atoms change their places."""
        return any(getattr(self, kind) for kind in ION_KINDS)

    @cached_property
    def steps(self) -> Floats:
        """Cumulated shares of the kinds, the last one 1, (7,)."""
        shares = np.array([getattr(self, kind) for kind in KINDS])
        steps: Floats = np.cumsum(shares) / shares.sum()
        return steps


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A move that may be accepted.

    Attributes
    ----------
    sites, labels, moments
        Atoms (k,), and the labels (k,) and moments (k, 3), μB, that they would get.
    log_ratio
        log n/n'.
    draw
        Random number that decides, 0 to 1.
    positions
        Where the atoms would be, (k, 3), Å; None: where they are.
    """

    sites: tuple[int, ...]
    labels: Ints
    moments: Floats
    log_ratio: float
    draw: float
    positions: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What was drawn.

    Attributes
    ----------
    kind
        Of the move.
    sites
        Atoms whose labels decide what it leads to.
    proposal
        What it leads to; None where nothing can change.
    """

    kind: str
    sites: tuple[int, ...]
    proposal: Proposal | None


class Moves:
    """Proposes moves at one geometry.

    Parameters
    ----------
    labels
        What sites may carry.
    settings
        Which moves are tried.
    symbols
        Elements, (n,).
    sites
        Atoms whose labels move.
    cell, positions
        Cell vectors as rows, (3, 3), and positions, (n, 3), Å.
    ion_sites
        Where ions may go, (k, 3), Å, with those where they are; None: the octahedra of
        the anions.
    """

    def __init__(
        self,
        labels: LabelSet,
        settings: MoveSettings,
        symbols: Sequence[str],
        sites: Ints,
        cell: Floats,
        positions: Floats,
        ion_sites: Floats | None = None,
    ) -> None:
        self._labels, self._settings, self._sites = labels, settings, sites
        self._symbols, self._cell = symbols, cell
        self._elements = [symbols[atom] for atom in sites.tolist()]
        self._transfers: dict[tuple[int, int], tuple[Ints, float]] = {}
        self._centres = ion_sites
        self.look(positions)

    def look(self, positions: Floats) -> None:
        """Take the ions where they are now, (n, 3), Å; anions are where they were."""
        self._positions = positions
        self._partners, self._equals = self._find_partners(self._cell, positions)
        if self._settings.moves_ions:
            places = find_ion_sites(self._symbols, self._cell, positions, self._centres)
            self._places, self._centres = places, places.centres
            alkali = np.flatnonzero(np.isin(self._symbols, ALKALI))
            self._alkali = places.alone(alkali)
            self._metals = places.alone(self._sites)

    def _find_partners(
        self, cell: Floats, positions: Floats
    ) -> tuple[list[Ints], list[Ints]]:
        """Return the sites in reach of each, all and those of its element."""
        n = len(self._sites)
        reach = self._settings.reach
        if reach is None:
            everyone = np.arange(n)
            near = [everyone[everyone != k] for k in range(n)]
        else:
            pairs = find_pairs(cell, positions[self._sites], reach)
            codes = np.unique(pairs.first * n + pairs.second)
            first, second = codes // n, codes % n
            is_other = first != second
            first, second = first[is_other], second[is_other]
            near = np.split(second, np.searchsorted(first, np.arange(1, n)))
        elements = np.array(self._elements)
        equal = [one[elements[one] == elements[k]] for k, one in enumerate(near)]
        return near, equal

    def propose(self, draws: Floats, labels: Ints, moments: Floats) -> Trial:
        """Return what a trial leads to.

        Parameters
        ----------
        draws
            :data:`DRAWS` random numbers from 0 to 1.
        labels, moments
            Of all atoms as they are, (n,) and (n, 3), μB.
        """
        number = int(np.searchsorted(self._settings.steps, draws[0], side="right"))
        kind = KINDS[number]
        if kind in ION_KINDS:
            return self._ions(kind, draws, labels, moments)
        place = int(draws[1] * len(self._sites))
        site = int(self._sites[place])
        if kind == "rotate":
            return Trial(kind, (site,), self._rotate(site, draws, labels, moments))
        if kind in ("flip", "spin"):
            return Trial(kind, (site,), self._changed(kind, site, draws, labels))
        partners = (self._equals if kind == "exchange" else self._partners)[place]
        if not len(partners):
            return Trial(kind, (), None)
        pair = site, int(self._sites[partners[int(draws[2] * len(partners))]])
        if kind == "exchange":
            return Trial(kind, pair, self._exchange(pair, draws, labels, moments))
        return Trial(kind, pair, self._transfer(pair, draws, labels))

    def _changed(
        self, kind: str, site: int, draws: Floats, labels: Ints
    ) -> Proposal | None:
        present = int(labels[site])
        turned = int(self._labels.turned[present])
        options = [turned] if kind == "flip" else self._same_charge[present]
        others = [label for label in options if label != present]
        if not others:
            return None
        return self._made((site,), [others[int(draws[3] * len(others))]], 0.0, draws)

    @cached_property
    def _same_charge(self) -> list[list[int]]:
        """Labels of the element and charge of each label."""
        labels = self._labels
        keys = [
            (state.element, charge)
            for state, charge in zip(
                labels.states, labels.charges.tolist(), strict=True
            )
        ]
        return [[k for k, other in enumerate(keys) if other == key] for key in keys]

    def _exchange(
        self, pair: tuple[int, int], draws: Floats, labels: Ints, moments: Floats
    ) -> Proposal | None:
        first, second = (int(labels[atom]) for atom in pair)
        if self._settings.rotate:
            swapped = moments[[pair[1], pair[0]]]
            if first == second and np.array_equal(*swapped):
                return None
            numbers = np.array([second, first])
            return Proposal(pair, numbers, swapped, 0.0, float(draws[-1]))
        signs, turned = self._labels.signs, self._labels.turned
        new = [second, first]
        if draws[3] < 0.5:
            if signs[first] and signs[second]:  # each keeps its own
                if signs[first] != signs[second]:
                    new = [int(turned[label]) for label in new]
            else:  # one has none, or both
                new = [int(turned[label]) for label in new]
        if new == [first, second]:
            return None
        return self._made(pair, new, 0.0, draws)

    def _transfer(
        self, pair: tuple[int, int], draws: Floats, labels: Ints
    ) -> Proposal | None:
        present = int(labels[pair[0]]), int(labels[pair[1]])
        options, n_options = self._options_of(present)
        if not len(options):
            return None
        new = options[int(draws[3] * len(options))].tolist()
        ratio = log(n_options / self._options_of((new[0], new[1]))[1])
        return self._made(pair, new, ratio, draws)

    def _options_of(self, pair: tuple[int, int]) -> tuple[Ints, float]:
        """Return the pairs of labels that a transfer leads to, and their number."""
        if pair not in self._transfers:
            labels = self._labels
            charges = labels.charges
            columns = [labels.of_element(labels.states[k].element) for k in pair]
            first, second = (
                grid.ravel() for grid in np.meshgrid(*columns, indexing="ij")
            )
            gained = charges[first] - charges[pair[0]]
            fits = (np.abs(gained) == 1) & (
                charges[second] - charges[pair[1]] == -gained
            )
            options = np.stack([first[fits], second[fits]], axis=1)
            self._transfers[pair] = options, float(len(options))
        return self._transfers[pair]

    def _rotate(
        self, site: int, draws: Floats, labels: Ints, moments: Floats
    ) -> Proposal | None:
        moment = moments[site]
        length = sqrt(float(moment @ moment))
        if length == 0.0:
            return None
        # A step that is alike in all directions is as likely as its reverse.
        radii = [sqrt(-2.0 * log(1.0 - draws[k])) for k in (3, 5)]
        step = np.array(
            [
                radii[0] * cos(2.0 * pi * draws[4]),
                radii[0] * sin(2.0 * pi * draws[4]),
                radii[1] * cos(2.0 * pi * draws[6]),
            ]
        )
        turned = moment / length + self._settings.turn * step
        turned *= length / sqrt(float(turned @ turned))
        numbers = labels[[site]]
        return Proposal((site,), numbers, turned[None], 0.0, float(draws[-1]))

    def _ions(self, kind: str, draws: Floats, labels: Ints, moments: Floats) -> Trial:
        """Return a trial in which ions are in other octahedra.

        Ions and octahedra are drawn whatever the energy is, and there are as many of
        each afterwards: a move is as likely as its reverse.
        """
        places = self._places
        others = self._metals if kind == "antisite" else places.empty
        if not (len(self._alkali) and len(others)):
            return Trial(kind, (), None)
        first = int(self._alkali[int(draws[1] * len(self._alkali))])
        other = int(others[int(draws[2] * len(others))])
        if kind == "antisite":
            atoms: tuple[int, ...] = (first, other)
            sites = places.site[[other, first]]
        else:
            atoms, sites = (first,), np.array([other])
        chosen = list(atoms)
        to = places.centres[sites] + places.offset[chosen]
        # The image that is nearest to where the atom was.
        way = np.linalg.solve(self._cell.T, (to - self._positions[chosen]).T).T
        to = to - way.round() @ self._cell
        proposal = Proposal(
            atoms, labels[chosen], moments[chosen], 0.0, float(draws[-1]), to
        )
        return Trial(kind, atoms, proposal)

    def _made(
        self,
        sites: tuple[int, ...],
        labels: Sequence[int],
        log_ratio: float,
        draws: Floats,
    ) -> Proposal:
        numbers = np.array(labels, dtype=np.int64)
        vectors = self._labels.vectors(numbers)
        return Proposal(sites, numbers, vectors, log_ratio, float(draws[-1]))


def useless_kinds(
    labels: LabelSet,
    settings: MoveSettings,
    elements: Sequence[str],
    symbols: Sequence[str],
) -> dict[str, str]:
    """Return the kinds of moves that are tried and can change nothing, and why.

    Parameters
    ----------
    labels
        What sites may carry.
    settings
        Which moves are tried.
    elements, symbols
        Of the sites with labels, and of all atoms.
    """
    here = [labels.of_element(element) for element in sorted(set(elements))]
    charges = [set(labels.charges[own].tolist()) for own in here]
    several = [len(own) > len(of) for own, of in zip(here, charges, strict=True)]
    everything = set().union(*charges) if charges else set()
    no_moment = "no state has a moment"
    has_moment = any(bool(labels.signs[own].any()) for own in here)
    able = {
        "exchange": (any(len(own) > 1 for own in here), "each element has one label"),
        "flip": (has_moment, no_moment),
        "spin": (any(several), "each element has one label of each charge"),
        "transfer": (
            any(len(one) > 1 for one in charges)
            and any(charge + 1 in everything for charge in everything),
            "no element has two charges",
        ),
        "rotate": (has_moment, no_moment),
        **dict.fromkeys(
            ION_KINDS, (not set(ALKALI).isdisjoint(symbols), "there is no alkali ion")
        ),
    }
    return {
        kind: why
        for kind, (can, why) in able.items()
        if getattr(settings, kind) and not can
    }


def movable_sites(labels: Ints) -> Ints:
    """Return the atoms that carry labels.

    Raises
    ------
    ConfigError
        If there is none.
    """
    sites: Ints = np.flatnonzero(labels != NO_LABEL)
    if not len(sites):
        raise ConfigError("no atom has spin states that could move.")
    return sites
