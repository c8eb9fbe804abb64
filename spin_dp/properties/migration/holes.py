# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which metal ions hold the holes that lithium leaves behind.

An alkali ion that goes takes no electron with it: a metal loses one for each, and which
one is a label. Where a hop moves the vacancy, the hole may stay where it is or come
along.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from spin_dp.errors import ConfigError, unknown
from spin_dp.neighbours import find_pairs
from spin_dp.properties.migration.surface import Surface
from spin_dp.spin_states.balance import cell_charge
from spin_dp.spin_states.labels import Sites, signed_name
from spin_dp.structures import NO_STATE, SPIN_STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.properties.subject import Subject
    from spin_dp.spin_states.catalogue import Catalogue, SpinState

    Floats = NDArray[np.float64]

Electron: TypeAlias = Literal["staying", "following", "lowest"]
"""Whether labels are those of one state along the path, of one at each end, or of the
lowest of several at each image."""

ELECTRONS: tuple[Electron, ...] = ("staying", "following", "lowest")

Places: TypeAlias = tuple[int, ...]
"""Atoms that hold the holes, in order."""

_WHOLE, _EQUAL = 1e-6, 1e-3  # e, eV
_MOST, _LOW = 8, 0.5  # states that the lowest one is looked for among; eV
_HOP = 3.5  # Å; of an electron between neighbours


@dataclass(frozen=True, eq=False)
class LabelledEnds:
    """The ends of a hop, in the states that its images may be in.

    Attributes
    ----------
    states
        The initial structure in each of them.
    initial, final
        Which of them the ends are in; more than one where the lowest is looked for.
    """

    states: tuple[Subject, ...]
    initial: tuple[int, ...]
    final: tuple[int, ...]


def count_holes(subject: Subject) -> int:
    """Return how many holes are missing to make a cell neutral.

    Parameters
    ----------
    subject
        A structure whose ions have been taken out, with the labels of before.

    Returns
    -------
    int
        0 where the charge is not known: moments by number.

    Raises
    ------
    ConfigError
        If the cell has too much charge, or no whole one.
    """
    atoms = subject.atoms
    labels = subject.energies.labels(atoms, None)
    symbols = atoms.get_chemical_symbols()
    charge = cell_charge(labels, Sites(symbols, atoms.cell.array, atoms.positions))
    if charge is None:
        return 0
    if charge > _WHOLE or abs(charge - round(charge)) > _WHOLE:
        raise ConfigError(
            f"{atoms.get_chemical_formula()} in {subject.spin_state}: without the ions "
            f"that are taken out its charge is {charge:+g} e, and no hole makes it "
            "neutral; label the structure such that it is neutral with them."
        )
    return -round(charge)


def place_holes(
    subject: Subject,
    final: Atoms,
    count: int,
    electron: Electron,
    to: Mapping[str, str] | None = None,
) -> LabelledEnds:
    """Return the spin states of a hop with holes on metals.

    The holes are where the energy is lowest, at fixed positions: of all metals that a
    state of one more charge is known of, each is tried. An ASE calculator whose
    energies would take too long for this has them on the metals nearest to the hop.

    Parameters
    ----------
    subject
        The initial structure, with the labels of before.
    final
        The final one.
    count
        Of holes.
    electron
        ``staying``: they are on the same metals all along, those with the lowest sum
        of the energies of both ends. ``following``: on those that are best for each
        end; of equals on the nearest ones. ``lowest``: states that are low at an end.
        Where nothing was taken out, the labels are those of the start, and what else
        there may be are two neighbours that change their states: an electron that hops.
    to
        State that metals of an element change to, ``{"Ni": "4+LS"}``; None: of the
        states with one more charge the one that most sites of the data are in.

    Raises
    ------
    ConfigError
        If no metal can hold a hole, or a state is not known.
    """
    if electron not in ELECTRONS:
        raise unknown("electron", electron, ELECTRONS)
    options = _options(subject, to)
    is_free = subject.energies.label_mode == "free"
    if not count and (electron == "staying" or is_free):
        return LabelledEnds((subject,), (0,), (0,))
    if len(options) < count:
        raise ConfigError(
            f"{subject.formula} in {subject.spin_state}: {count} of its metals have to "
            f"lose an electron, and {len(options)} can, of the states that are known; "
            "say to which state they change, Ni=4+LS."
        )
    ends = np.stack([subject.atoms.positions, final.positions])
    if not count:
        trials = _Trials(subject, ends, lambda pair: _exchanged(subject, pair))
        return _of_pairs(trials, _pairs(subject), electron)
    trials = _Trials(subject, ends, lambda places: _oxidised(subject, options, places))
    if is_free:
        nearest = _nearest(subject.atoms, ends, list(options), count)
        return LabelledEnds((trials.subject(nearest),), (0,), (0,))
    return _of_holes(trials, list(options), count, electron)


def _of_holes(
    trials: _Trials, options: Sequence[int], count: int, electron: Electron
) -> LabelledEnds:
    """Return the states with holes on some of the sites that can have them."""

    def search(weights: tuple[float, float]) -> list[Places]:
        # One hole after the other; then each once more with the others where they are.
        best: list[Places] = [()]
        for turn in range(count if count == 1 else 2 * count):
            moved = turn - count
            kept = best[0] if moved < 0 else best[0][:moved] + best[0][moved + 1 :]
            tried = [tuple(sorted((*kept, a))) for a in options if a not in kept]
            best = trials.lowest(tried, weights)
        return best

    if electron == "staying":
        return LabelledEnds((trials.subject(search((0.5, 0.5))[0]),), (0,), (0,))
    first, equals = search((1.0, 0.0))[0], search((0.0, 1.0))
    if electron == "following":
        return trials.following(first, equals)
    search((0.5, 0.5))
    return trials.every([one for one in trials.known if len(one) == count])


def _of_pairs(
    trials: _Trials, pairs: Sequence[Places], electron: Electron
) -> LabelledEnds:
    """Return the states of two neighbours that may change places, or not."""
    as_given: Places = ()
    equals = trials.lowest([as_given, *pairs], (0.0, 1.0))
    if electron == "following":
        return trials.following(as_given, equals)
    return trials.every(list(trials.known))


def oxidised(state: SpinState, catalogue: Catalogue) -> SpinState | None:
    """Return the state with one more charge that most sites of the data are in."""
    if state.charge is None:
        return None
    higher = [
        one
        for one in catalogue.of(state.element)
        if one.charge == state.charge + 1 and one.is_usual
    ]
    # Nominal states, which no site shows, go from high to low spin.
    return max(reversed(higher), key=lambda one: one.sites, default=None)


def _options(subject: Subject, to: Mapping[str, str] | None) -> dict[int, SpinState]:
    """Return the state of each metal that can hold a hole."""
    catalogue = subject.energies.states
    symbols = subject.atoms.get_chemical_symbols()
    for element in to or ():
        if element not in symbols:
            raise unknown("element that holds a hole", element, set(symbols))
    found = {}
    for atom, state in enumerate(subject.site_states):
        if state is None:
            continue
        if to is None:
            new = oxidised(state, catalogue)
        elif symbols[atom] in to:
            new = catalogue.find(symbols[atom], to[symbols[atom]])
        else:
            continue
        if new is None or new.charge is None or state.charge is None:
            continue
        if new.charge == state.charge + 1:
            found[atom] = new
    return found


def _names(subject: Subject) -> list[str]:
    """Return the state of each atom, empty without one."""
    return [
        "" if name == NO_STATE else str(name)
        for name in subject.atoms.arrays[SPIN_STATES]
    ]


def _oxidised(
    subject: Subject, options: Mapping[int, SpinState], holes: Places
) -> list[str]:
    """Return the state of each atom with holes on some."""
    names = _names(subject)
    for atom in holes:
        names[atom] = signed_name(options[atom].name, _up(names[atom]))
    return names


def _exchanged(subject: Subject, pair: Places) -> list[str]:
    """Return the state of each atom where those of two have changed places."""
    names = _names(subject)
    for atom, other in zip(pair, reversed(pair), strict=True):
        state = subject.site_states[other]
        assert state is not None  # both have one
        names[atom] = signed_name(state.name, _up(names[atom]))
    return names


def _up(name: str) -> float:
    return -1.0 if name.startswith("-") else 1.0


def _pairs(subject: Subject) -> list[Places]:
    """Return neighbours of one element and unlike charge."""
    atoms, states = subject.atoms, subject.site_states
    near = find_pairs(
        atoms.cell.array, atoms.positions, _HOP, periodic=atoms.pbc.tolist()
    )
    found: dict[Places, None] = {}
    for a, b in zip(near.first.tolist(), near.second.tolist(), strict=True):
        one, other = states[a], states[b]
        if one is None or other is None or a >= b or one.element != other.element:
            continue
        if one.charge != other.charge:
            found[a, b] = None
    return list(found)


class _Trials:
    """Energies of both ends in spin states that differ by where the holes are.

    Attributes
    ----------
    known
        Energy of both ends, (2,), eV, by the places.
    """

    def __init__(
        self, subject: Subject, ends: Floats, names: Callable[[Places], list[str]]
    ) -> None:
        self._subject, self._ends, self._names = subject, ends, names
        self.known: dict[Places, Floats] = {}

    def subject(self, places: Places) -> Subject:
        """Return the initial structure with holes in these places."""
        return self._subject.relabelled(self._subject.atoms, self._names(places))

    def lowest(
        self, tried: Sequence[Places], weights: tuple[float, float]
    ) -> list[Places]:
        """Return those with the lowest weighted energy, equals included."""
        new = [one for one in tried if one not in self.known]
        if new:
            energies, atoms = self._subject.energies, self._subject.atoms
            labels = [energies.labels(atoms, self._names(one)) for one in new]
            carried = np.stack([energies.carried(atoms, one) for one in labels])
            found, _ = Surface(self._subject, carried).evaluate(self._ends)
            self.known.update(zip(new, found.T, strict=True))
        scores = np.array([np.dot(weights, self.known[one]) for one in tried])
        lowest = np.flatnonzero(scores < scores.min() + _EQUAL).tolist()
        return [tried[k] for k in lowest]

    def following(self, first: Places, equals: Sequence[Places]) -> LabelledEnds:
        """Return one state for each end; the last one nearest to the first."""
        last = min(equals, key=lambda one: _way(self._subject.atoms, first, one))
        states = tuple(self.subject(one) for one in dict.fromkeys([first, last]))
        return LabelledEnds(states, (0,), (len(states) - 1,))

    def every(self, places: Sequence[Places]) -> LabelledEnds:
        """Return the states that are low at an end, both ends in any of them."""
        energies = np.array([self.known[one] for one in places])
        above = (energies - energies.min(axis=0)).min(axis=1)
        order = np.argsort(above, kind="stable").tolist()[:_MOST]
        states = tuple(self.subject(places[k]) for k in order if above[k] < _LOW)
        numbers = tuple(range(len(states)))
        return LabelledEnds(states, numbers, numbers)


def _nearest(
    atoms: Atoms, ends: Floats, places: Sequence[int], count: int
) -> tuple[int, ...]:
    """Return the places that are nearest to the ion half-way."""
    moved = int(np.linalg.norm(ends[1] - ends[0], axis=1).argmax())
    middle = atoms.copy()
    middle.positions[moved] = ends[:, moved].mean(axis=0)
    distances = middle.get_distances(moved, places, mic=True)
    return tuple(places[k] for k in np.argsort(distances, kind="stable")[:count])


def _way(atoms: Atoms, first: Places, last: Places) -> float:
    """Return how far holes are apart, Å; zero where they stay."""
    if first == last:
        return 0.0
    pairs = [(a, b) for a, b in product(first, last) if a != b]
    return float(sum(atoms.get_distance(a, b, mic=True) for a, b in pairs))
