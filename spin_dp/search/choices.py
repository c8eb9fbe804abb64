# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which labels the sites of a structure may have: what a search searches."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement, product
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError, unknown
from spin_dp.sampling import LabelSet
from spin_dp.search.enumeration import Enumeration, Limit
from spin_dp.search.symmetry import site_permutations
from spin_dp.spin_states.balance import charge_in_states
from spin_dp.spin_states.catalogue import SpinState, total_charge
from spin_dp.spin_states.labels import Sites
from spin_dp.spin_states.nominal import has_nominal_states
from spin_dp.spin_states.orderings import named_orderings
from spin_dp.structures import as_atoms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from spin_dp.inference.labelling import Given
    from spin_dp.inference.predictor import SpinDP
    from spin_dp.spin_states.catalogue import Catalogue

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Codes = NDArray[np.uint8]

log = logging.getLogger(__name__)

_EQUAL = 1e-6
_MOST_LABELS = 255  # codes are bytes


@dataclass(frozen=True, eq=False)
class Choices:
    """Sites of a structure, and the labels that each may have.

    An assignment is the number of a label for each site, (ns,).

    Attributes
    ----------
    atoms
        The structure, n atoms.
    sites
        Atoms that have labels, (ns,).
    label_set
        The labels by number: a state and a sign.
    options
        Numbers of the labels allowed on each site, (ns,); one of a site that is held.
    held
        Moments of sites that are held, (n, 3), μB; zero elsewhere.
    others
        Charge of all ions but the sites, e; nan if it is not known.
    limits
        On sums over the sites: charge, and what else was asked for.
    """

    atoms: Atoms
    sites: Sequence[int]
    label_set: LabelSet
    options: Sequence[Sequence[int]]
    held: Floats
    others: float = float("nan")
    limits: Sequence[Limit] = ()

    @property
    def elements(self) -> list[str]:
        """Element of each site, (ns,)."""
        return [self.label_set.states[one[0]].element for one in self.options]

    @property
    def may_reverse(self) -> bool:
        """Whether reversal of all moments gives the same state, within the limits."""
        turned = self.label_set.turned.tolist()
        return not self.held.any() and all(
            limit.survives_reversal(turned) for limit in self.limits
        )

    @cached_property
    def enumeration(self) -> Enumeration:
        """Assignments that no symmetry of the structure takes into each other."""
        kinds = [
            (tuple(options), tuple(np.round(self.held[site], 6)))
            for site, options in zip(self.sites, self.options, strict=True)
        ]
        return Enumeration(
            self.options,
            site_permutations(self.atoms, self.sites, kinds),
            self.label_set.turned.tolist() if self.may_reverse else None,
            self.limits,
        )

    def up_to_reversal(self, codes: Codes, numbers: Ints) -> Ints:
        """Return numbers of equal assignments, (k,), where reversal counts as one."""
        if not self.may_reverse:
            return numbers
        has_sign = (self.label_set.signs[codes] != 0).any(axis=1)
        return np.where(has_sign, numbers // 2, numbers)

    def moments(self, assignments: Codes) -> Floats:
        """Return the mean moments of the labels of assignments, (k, n, 3), μB."""
        patterns = np.repeat(self.held[None], len(assignments), axis=0)
        free = [p for p, site in enumerate(self.sites) if not self.held[site].any()]
        atoms = [self.sites[place] for place in free]
        patterns[:, atoms, 2] = self.label_set.moments[assignments[:, free]]
        return patterns

    def labelled(self, assignment: Codes) -> list[tuple[SpinState, int]]:
        """Return state and sign of each site."""
        states, signs = self.label_set.states, self.label_set.signs
        return [(states[code], int(signs[code])) for code in assignment.tolist()]

    def charge(self, assignment: Codes) -> float | None:
        """Return the charge of the cell, e; None where one is not known."""
        states = [state for state, _ in self.labelled(assignment)]
        return total_charge(states, self.others)

    def likely(self, most: int) -> Codes:
        """Return assignments that are likely low, where there are too many of all.

        For each way to share the charge among at most two states of an element, the
        states spread evenly over its sites in each named ordering; then, from the
        first of these, one site flipped or in another state of the same charge.

        Parameters
        ----------
        most
            Their largest number.

        Returns
        -------
        ndarray
            (k, ns), within the limits.
        """
        positions = self.atoms.positions[list(self.sites)]
        orderings = named_orderings(self.elements, self.atoms.cell.array, positions)
        signs = list(orderings.values())
        begun = [
            tuple(
                options[0] if len(options) == 1 else self._with_sign(code, int(up))
                for options, code, up in zip(self.options, codes, ordering, strict=True)
            )
            for codes in self._spread()
            for ordering in signs
        ]
        changed = [other for one in begun[: len(signs)] for other in self._changed(one)]
        found = list(dict.fromkeys([*begun, *changed]))
        codes = np.array(found, dtype=np.uint8).reshape(-1, len(self.sites))
        is_within = np.ones(len(codes), dtype=np.bool_)
        for limit in self.limits:
            is_within &= limit.holds(codes)
        return codes[is_within][:most]

    def _with_sign(self, code: int, up: int) -> int:
        """Return the label of a state that is up or down."""
        signs = self.label_set.signs
        return code if signs[code] in (0, up) else int(self.label_set.turned[code])

    def _states_of(self, place: int) -> list[int]:
        """Return a label of each state that a site may be in, up where it may."""
        first: dict[SpinState, int] = {}
        for code in self.options[place]:
            first.setdefault(self.label_set.states[code], code)
        return list(first.values())

    def _spread(self) -> Iterator[tuple[int, ...]]:
        """Return labels of all sites, at most two states of each element."""
        free: dict[str, list[int]] = {}
        for place, options in enumerate(self.options):
            if len(options) > 1:
                free.setdefault(self.elements[place], []).append(place)
        mixtures = [
            [
                (first, second, number)
                for first, second in combinations_with_replacement(
                    self._states_of(places[0]), 2
                )
                for number in (range(1, len(places)) if first != second else (0,))
            ]
            for places in free.values()
        ]
        # Those that the signs do not change sort out what cannot be, before they count.
        turned = self.label_set.turned.tolist()
        even = [limit for limit in self.limits if limit.is_even(turned)]
        for mixture in product(*mixtures):
            codes = [options[0] for options in self.options]
            for places, (first, second, number) in zip(
                free.values(), mixture, strict=True
            ):
                for k, place in enumerate(places):
                    evenly = (k + 1) * number // len(places) - k * number // len(places)
                    codes[place] = second if evenly else first
            row = np.array([codes], dtype=np.uint8)
            if all(limit.holds(row)[0] for limit in even):
                yield tuple(codes)

    def _changed(self, assignment: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """Return assignments with one site flipped or in another state."""
        states, signs = self.label_set.states, self.label_set.signs
        for place, code in enumerate(assignment):
            for other in self.options[place]:
                is_flip = states[other] is states[code] and other != code
                is_excited = states[other] is not states[code] and signs[other] in (
                    0,
                    signs[code] or 1,
                )
                if is_flip or is_excited:
                    yield (*assignment[:place], other, *assignment[place + 1 :])


def find_choices(
    structure: Atoms | Structure,
    model: SpinDP,
    elements: Sequence[str] | None = None,
    *,
    states: Mapping[str, Sequence[str | float]] | None = None,
    moments: Given | None = None,
    any_charge: bool = False,
    total_moment: float | None = None,
    max_excited: int | None = None,
) -> Choices:
    """Return the labels that the sites of a structure may have.

    Parameters
    ----------
    structure, model, elements, states, moments, any_charge, total_moment, max_excited
        As for :func:`spin_dp.search.rank_states`.

    Raises
    ------
    ConfigError
        If an element is not in the structure or has no states in the model; if a metal
        is neither varied nor labelled.
    """
    atoms = as_atoms(structure)
    varied = _varied(atoms, model, elements)
    catalogue = model.states
    symbols = atoms.get_chemical_symbols()
    sites = [
        i
        for i, symbol in enumerate(symbols)
        if symbol in model.spin_elements and catalogue.has_states(symbol)
    ]
    held = _held_moments(atoms, model, sites, varied, moments)
    options = {
        name: [
            (state, sign)
            for state in _allowed(name, catalogue, (states or {}).get(name))
            for sign in ((1, -1) if state.moment else (0,))
        ]
        for name in varied
    }
    of_sites = [
        options.get(symbols[i]) or [_held_site(symbols[i], held[i], catalogue)]
        for i in sites
    ]
    codes = {
        label: code
        for code, label in enumerate(dict.fromkeys(x for one in of_sites for x in one))
    }
    if len(codes) > _MOST_LABELS:
        raise ConfigError(
            f"{len(codes)} labels, at most {_MOST_LABELS} can be told apart; vary "
            "fewer elements (--elements), or name their states (--states)."
        )
    label_set = LabelSet(
        tuple(state for state, _ in codes),
        np.array([sign for _, sign in codes], dtype=np.int64),
    )
    others = _charge_of_others(atoms, catalogue, sites)
    is_known = isfinite(others) and all(
        state.charge is not None for state in label_set.states
    )
    if not is_known and not any_charge:
        log.warning("the charges of some ions are not known: all charges are tried")
    limits = []
    if is_known and not any_charge:
        charges = [state.charge or 0.0 for state in label_set.states]
        limits.append(Limit.exactly(charges, -others))
    if total_moment is not None:
        limits.append(
            Limit(_spin_moments(label_set), total_moment - 0.5, total_moment + 0.5)
        )
    if max_excited is not None:
        excited = _are_excited(label_set, catalogue)
        limits.append(Limit(excited, highest=max_excited + _EQUAL))
    return Choices(
        atoms=atoms,
        sites=sites,
        label_set=label_set,
        options=[[codes[label] for label in one] for one in of_sites],
        held=held,
        others=others,
        limits=limits,
    )


def _spin_moments(label_set: LabelSet) -> list[float]:
    """Return the moment that the unpaired electrons of each label make, μB."""
    return [
        float(sign)
        * (state.moment if state.nominal is None else state.nominal.unpaired)
        for state, sign in zip(label_set.states, label_set.signs, strict=True)
    ]


def _are_excited(label_set: LabelSet, catalogue: Catalogue) -> list[float]:
    """Return 1 for labels of a state that is not the usual one of its charge."""
    usual: dict[tuple[str, int | None], SpinState] = {}
    for element in {state.element for state in label_set.states}:
        for state in catalogue.of(element):
            key = element, state.charge
            if state.is_usual and (key not in usual or state.sites > usual[key].sites):
                usual[key] = state
    return [
        float(
            state.charge is None
            or usual[state.element, state.charge].name != state.name
        )
        for state in label_set.states
    ]


def _varied(atoms: Atoms, model: SpinDP, elements: Sequence[str] | None) -> list[str]:
    present = set(atoms.get_chemical_symbols())
    formula = atoms.get_chemical_formula()
    with_states = [e for e in model.spin_elements if model.states.has_states(e)]
    if elements is None:
        names = [name for name in with_states if name in present]
        if not names:
            raise ConfigError(
                f"the structure {formula} has no element with spin states in the "
                f"model ({', '.join(with_states)}); there is only one spin state."
            )
        return names
    for name in elements:
        if name not in present:
            raise unknown(f"element of the structure {formula}", name, present)
        if name not in model.spin_elements:
            raise ConfigError(
                f"{model.info.path} reads no moments of {name}; elements with spin "
                f"states are {', '.join(with_states)}."
            )
        if name not in with_states:
            raise ConfigError(
                f"{name} has no spin states of its own; its moments follow those of "
                f"{', '.join(with_states)}."
            )
    return list(dict.fromkeys(elements))


def _allowed(
    element: str, catalogue: Catalogue, given: Sequence[str | float] | None
) -> list[SpinState]:
    if given is None:
        usual = [state for state in catalogue.of(element) if state.is_usual]
        # Those that are named by their moments have no charge to balance.
        return [state for state in usual if state.charge is not None] or usual
    allowed = []
    for value in given:
        try:
            moment = abs(float(value))
        except ValueError:
            allowed.append(catalogue.find(element, str(value)))
            continue
        nearest = catalogue.nearest(element, moment)
        assert nearest is not None  # the element has states
        allowed.append(SpinState(nearest.name, moment))
    return list(dict.fromkeys(allowed))


def _held_moments(
    atoms: Atoms,
    model: SpinDP,
    sites: Sequence[int],
    varied: Iterable[str],
    moments: Given | None,
) -> Floats:
    """Return the labels of metals that are not varied, (n, 3), μB, zero elsewhere."""
    held = np.zeros((len(atoms), 3))
    symbols = atoms.get_chemical_symbols()
    here = [i for i in sites if symbols[i] not in varied]
    if not here and moments is not None:
        raise ConfigError(
            "moments: labels are for metals that are not varied, but all are; name "
            "those to vary with elements (--elements)."
        )
    if here:
        # The labels of varied sites are not asked for: any will do.
        if isinstance(moments, str) and "=" in moments:
            moments = " ".join([*(f"{name}=0" for name in varied), moments])
        elif isinstance(moments, Mapping):
            moments = {**dict.fromkeys(varied, 0.0), **moments}
        held[here] = model.labels(atoms, moments).moments[here]
    return held


def _held_site(
    element: str, moment: Floats, catalogue: Catalogue
) -> tuple[SpinState, int]:
    """Return the state that a held moment (3,) is nearest to, with that moment."""
    length = float(np.linalg.norm(moment))
    nearest = catalogue.nearest(element, length)
    assert nearest is not None  # the element has states
    return SpinState(nearest.name, length), int(np.sign(moment[2]))


def _charge_of_others(
    atoms: Atoms, catalogue: Catalogue, sites: Sequence[int]
) -> float:
    """Return the charge of all ions but those of the sites, e; nan if not known."""
    symbols = atoms.get_chemical_symbols()
    # Metals whose moments the model does not read are taken as those without any.
    unread = [
        catalogue.nearest(symbol, 0.0)
        for atom, symbol in enumerate(symbols)
        if atom not in sites and has_nominal_states(symbol)
    ]
    of_cell = Sites(symbols, atoms.cell.array, atoms.positions)
    charge = charge_in_states(unread, of_cell, atoms.pbc.tolist())
    return float("nan") if charge is None else charge
