# SPDX-License-Identifier: LGPL-3.0-or-later
"""Names of spin states, the moments that they stand for, and their charges.

A model remembers the states of its training data: what moment ``Mn3+HS`` has at that
level of theory, how far it varies, and how many sites showed it. Elements that it does
not remember take the nominal states of :mod:`spin_dp.spin_states.nominal` with their
usual moments.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import inf, isfinite, nan
from typing import TYPE_CHECKING, Any

from spin_dp.errors import ConfigError, unknown
from spin_dp.spin_states.elements import carries_spin_state
from spin_dp.spin_states.key import element_of, label_rank
from spin_dp.spin_states.nominal import (
    NONMAGNETIC,
    NominalState,
    find_nominal_state,
    has_nominal_states,
    nominal_states,
    usual_moment,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SLACK_MUB = 0.1


@dataclass(frozen=True)
class SpinState:
    """A spin state of an element at one level of theory.

    Attributes
    ----------
    name
        ``Mn3+HS``, or ``Fe~2.5`` of sites that are named by their moments.
    moment
        Mean length of the moment of its sites, μB; zero where it has no sign.
    lowest, highest
        Of its sites, μB.
    sites
        Number of sites in the training data; 0 of a state from the nominal table.
    """

    name: str
    moment: float
    lowest: float = 0.0
    highest: float = 0.0
    sites: int = 0

    @cached_property
    def element(self) -> str:
        """Chemical symbol."""
        return element_of(self.name)

    @cached_property
    def nominal(self) -> NominalState | None:
        """The ion of that name; None of a state that is named by its moment."""
        return find_nominal_state(self.name)

    @property
    def charge(self) -> int | None:
        """Oxidation state, e; None of a state that is named by its moment."""
        return None if self.nominal is None else self.nominal.oxidation

    @property
    def is_usual(self) -> bool:
        """Whether it is a state of the ion, not a solution without any moment."""
        return self.nominal is None or self.nominal.spin != NONMAGNETIC

    @property
    def range(self) -> tuple[float, float]:
        """Shortest and longest moment that counts as this state, μB.

        What its sites show in the data, and half of that more to both sides, but no
        moment less than half of the shortest; any for a state from the nominal table.
        """
        if not self.sites:
            return 0.0, inf
        slack = _SLACK_MUB + 0.5 * (self.highest - self.lowest)
        # Slack may be longer than the moment: one that is lost must not count.
        return max(0.5 * self.lowest, self.lowest - slack), self.highest + slack

    def holds(self, moment: float) -> bool:
        """Return whether a moment, μB, is one that the state has in the data."""
        low, high = self.range
        return low <= abs(moment) <= high

    def sign(self, up: int) -> int:
        """Return 1 or -1 of a site that is up or down, 0 without a moment."""
        return up if self.moment else 0

    def __str__(self) -> str:
        return f"{self.name} ({self.moment:.2f} μB)"


@dataclass(frozen=True)
class Catalogue:
    """The spin states that a data set or a model knows.

    Attributes
    ----------
    states
        Of the training data; by element, oxidation state and spin.
    largest
        Largest moment of each element in the training data, μB; oxygen's, too.
    """

    states: Sequence[SpinState] = ()
    largest: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_records(
        cls,
        records: Iterable[Mapping[str, Any]],
        largest: Mapping[str, float] | None = None,
    ) -> Catalogue:
        """Rebuild what :meth:`records` gave; keys that are not known are left out."""
        names = SpinState.__dataclass_fields__
        states = [
            SpinState(**{key: value for key, value in record.items() if key in names})
            for record in records
        ]
        order = sorted(states, key=lambda s: (s.element, label_rank(s.name)))
        return cls(order, dict(largest or {}))

    def records(self) -> list[dict[str, Any]]:
        """Return the states as text and numbers of four digits, for JSON."""
        return [
            {
                name: round(value, 4) if isinstance(value, float) else value
                for name, value in asdict(state).items()
            }
            for state in self.states
        ]

    @classmethod
    def joined(cls, catalogues: Iterable[Catalogue]) -> Catalogue:
        """Return the states of several data sets.

        The moments of a state that differs between them are weighted by its sites.
        """
        largest: dict[str, float] = {}
        by_name: dict[str, SpinState] = {}
        different: dict[SpinState, None] = {}
        for catalogue in catalogues:
            different |= dict.fromkeys(catalogue.states)
            for element, moment in catalogue.largest.items():
                largest[element] = max(moment, largest.get(element, 0.0))
        for state in different:
            twin = by_name.get(state.name)
            by_name[state.name] = state if twin is None else _joined(twin, state)
        return cls.from_records(map(asdict, by_name.values()), largest)

    def of(self, element: str) -> list[SpinState]:
        """Return the states of an element: those of the data, or else nominal ones.

        Oxygen and other elements outside the d and f blocks have none: their moments
        follow those of the metals.
        """
        known = [state for state in self.states if state.element == element]
        if known or not has_nominal_states(element):
            return known
        return [
            SpinState(nominal.name, usual_moment(nominal))
            for nominal in nominal_states(element)
        ]

    def has_states(self, element: str) -> bool:
        """Return whether sites of an element must be labelled."""
        return carries_spin_state(element) and bool(self.of(element))

    def find(self, element: str, name: str) -> SpinState:
        """Return a state of an element by its name.

        Parameters
        ----------
        element
            Chemical symbol.
        name
            ``3+HS`` or ``Mn3+HS``; ``3+`` where only one state of that charge is known.

        Raises
        ------
        ConfigError
            If the element has no such state, or several.
        """
        states = self.of(element)
        wanted = name if name.startswith(element) else f"{element}{name}"
        exact = [state for state in states if state.name == wanted]
        usual = [
            state
            for state in states
            if state.is_usual and wanted.endswith("+") and state.name.startswith(wanted)
        ]
        matches = exact or usual
        if len(matches) == 1:
            return matches[0]
        if not matches:
            raise unknown(
                f"spin state of {element}", wanted, [state.name for state in states]
            )
        raise ConfigError(
            f"{wanted} could be {' or '.join(state.name for state in matches)}; give "
            "one of these names."
        )

    def nearest(self, element: str, moment: float) -> SpinState | None:
        """Return the state of an element with the moment nearest to a length in μB.

        Of states with equal moments the one that more sites show; None where the
        element has no states.
        """
        states = [state for state in self.of(element) if state.is_usual]
        return min(
            states or self.of(element),
            key=lambda state: (abs(state.moment - abs(moment)), -state.sites),
            default=None,
        )

    def highest_moment(self, element: str) -> float:
        """Return the largest moment of an element in the data, μB; nan if not known."""
        return self.largest.get(element, nan)

    def describe(self, elements: Iterable[str]) -> str:
        """Return the states of elements in words, for messages."""
        parts = [
            f"{element}: {', '.join(str(s) for s in self.of(element) if s.is_usual)}"
            for element in dict.fromkeys(elements)
            if self.of(element)
        ]
        return "; ".join(parts)


def total_charge(
    states: Iterable[SpinState | None], charge_of_others: float
) -> float | None:
    """Return the charge of a cell whose sites are in states, e.

    Parameters
    ----------
    states
        State of each site with states.
    charge_of_others
        Of all other ions, e; nan if it is not known.

    Returns
    -------
    float or None
        None where the charge of an ion is not known.
    """
    charge = charge_of_others
    for state in states:
        if state is None or state.charge is None:
            return None
        charge += state.charge
    return charge if isfinite(charge) else None


def _joined(a: SpinState, b: SpinState) -> SpinState:
    sites = a.sites + b.sites
    share = b.sites / sites if sites else 0.5
    return SpinState(
        a.name,
        a.moment + share * (b.moment - a.moment),
        min(a.lowest, b.lowest),
        max(a.highest, b.highest),
        sites,
    )
