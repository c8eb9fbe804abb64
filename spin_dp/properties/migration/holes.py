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
from spin_dp.properties.migration.surface import Surface
from spin_dp.spin_states.balance import cell_charge
from spin_dp.spin_states.labels import Sites, signed_name
from spin_dp.structures import NO_STATE, SPIN_STATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.properties.subject import Subject
    from spin_dp.spin_states.catalogue import Catalogue, SpinState

    Floats = NDArray[np.float64]

Electron: TypeAlias = Literal["staying", "following", "lowest"]
"""Whether labels are those of one state along the path, of one at each end, or of the
lowest of several at each image."""

ELECTRONS = ("staying", "following", "lowest")

Places: TypeAlias = tuple[int, ...]
"""Atoms that hold the holes, in order."""

_WHOLE, _EQUAL = 1e-6, 1e-3  # e, eV
_MOST, _LOW = 12, 0.5  # states that the lowest one is looked for among; eV


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
    if not count:
        return LabelledEnds((subject,), (0,), (0,))
    if len(options) < count:
        raise ConfigError(
            f"{subject.formula} in {subject.spin_state}: {count} of its metals have to "
            f"lose an electron, and {len(options)} can, of the states that are known; "
            "say to which state they change, Ni=4+LS."
        )
    ends = np.stack([subject.atoms.positions, final.positions])
    if subject.energies.label_mode == "free":
        nearest = _nearest(subject.atoms, ends, list(options), count)
        return LabelledEnds((_with_holes(subject, options, nearest),), (0,), (0,))
    trials = _Trials(subject, ends, options)
    if electron == "staying":
        chosen = [trials.search(count, (0.5, 0.5))[0]]
    elif electron == "following":
        first = trials.search(count, (1.0, 0.0))[0]
        equals = trials.search(count, (0.0, 1.0))
        last = min(equals, key=lambda one: _way(subject.atoms, first, one))
        chosen = list(dict.fromkeys([first, last]))
    else:
        for weights in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5)):
            trials.search(count, weights)
        chosen = trials.low(count)
    states = tuple(_with_holes(subject, options, one) for one in chosen)
    if electron == "lowest":
        every = tuple(range(len(states)))
        return LabelledEnds(states, every, every)
    return LabelledEnds(states, (0,), (len(states) - 1,))


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


def _names(
    subject: Subject, options: Mapping[int, SpinState], holes: Places
) -> list[str]:
    """Return the state of each atom with holes on some."""
    names = [
        "" if name == NO_STATE else str(name)
        for name in subject.atoms.arrays[SPIN_STATES]
    ]
    for atom in holes:
        up = -1.0 if names[atom].startswith("-") else 1.0
        names[atom] = signed_name(options[atom].name, up)
    return names


def _with_holes(
    subject: Subject, options: Mapping[int, SpinState], holes: Places
) -> Subject:
    return subject.relabelled(subject.atoms, _names(subject, options, holes))


class _Trials:
    """Energies of both ends with holes in one place or another."""

    def __init__(
        self, subject: Subject, ends: Floats, options: Mapping[int, SpinState]
    ) -> None:
        self._subject, self._ends, self._options = subject, ends, options
        self._known: dict[Places, Floats] = {}

    def search(self, count: int, weights: tuple[float, float]) -> list[Places]:
        """Return the places with the lowest weighted energy, equals included.

        One hole after the other; then each once more with the others where they are.
        """
        best: list[Places] = [()]
        for _ in range(count):
            best = self._best(best[0], weights)
        for turn in range(count if count > 1 else 0):
            best = self._best(best[0][:turn] + best[0][turn + 1 :], weights)
        return best

    def low(self, count: int) -> list[Places]:
        """Return the places that are low at one of the ends."""
        full = {one: e for one, e in self._known.items() if len(one) == count}
        above = np.array(list(full.values())) - np.min(list(full.values()), axis=0)
        least = above.min(axis=1)
        order = np.argsort(least, kind="stable")[:_MOST]
        places = list(full)
        return [places[k] for k in order if least[k] < _LOW]

    def _best(self, kept: Places, weights: tuple[float, float]) -> list[Places]:
        tried = [tuple(sorted((*kept, a))) for a in self._options if a not in kept]
        self._evaluate([one for one in tried if one not in self._known])
        scores = np.array([np.dot(weights, self._known[one]) for one in tried])
        lowest = np.flatnonzero(scores < scores.min() + _EQUAL)
        return [tried[k] for k in lowest]

    def _evaluate(self, places: Sequence[Places]) -> None:
        if not places:
            return
        energies, atoms = self._subject.energies, self._subject.atoms
        carried = []
        for one in places:
            names = _names(self._subject, self._options, one)
            carried.append(energies.carried(atoms, energies.labels(atoms, names)))
        found, _ = Surface(self._subject, np.stack(carried)).evaluate(self._ends)
        self._known.update(zip(places, found.T, strict=True))


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
