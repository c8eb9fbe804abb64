# SPDX-License-Identifier: LGPL-3.0-or-later
"""Assignments of spin states and signs to sites, at a given charge of the cell."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from spin_dp.spin_states.orderings import named_orderings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from spin_dp.spin_states.catalogue import SpinState

    Floats = NDArray[np.float64]

Site: TypeAlias = "tuple[SpinState, int]"
"""A state and its sign: +1, -1, or 0 where it has no moment."""
Assignment: TypeAlias = "tuple[Site, ...]"

_CHARGE_E = 1e-6


@dataclass(frozen=True, eq=False)
class Choices:
    """Sites and the states that each may be in.

    Attributes
    ----------
    elements
        Of each site, (ns,).
    cell, positions
        Cell vectors as rows, (3, 3), and positions of the sites, (ns, 3), Å.
    options
        States and signs allowed on each site, (ns,); one of a site that is held.
    charge
        What the oxidation states of all sites must add up to, e; None: anything.
    may_reverse
        Whether reversal of all signs gives the same state: nothing else is held.
    """

    elements: Sequence[str]
    cell: Floats
    positions: Floats
    options: Sequence[Sequence[Site]]
    charge: float | None
    may_reverse: bool

    def count(self) -> int:
        """Return the number of assignments at that charge, reversed ones included."""
        counts: Counter[float] = Counter({0.0: 1})
        for options in self.options:
            longer: Counter[float] = Counter()
            for charge, number in counts.items():
                for state, _ in options:
                    longer[charge + (state.charge or 0)] += number
            counts = longer
        if self.charge is None:
            return sum(counts.values())
        return sum(n for charge, n in counts.items() if self._fits(charge))

    def all(self) -> Iterator[Assignment]:
        """Return every assignment at that charge, one of each pair under reversal."""
        bounds = [[state.charge or 0 for state, _ in site] for site in self.options]
        lowest = np.cumsum([0, *(min(b) for b in reversed(bounds))])[::-1]
        highest = np.cumsum([0, *(max(b) for b in reversed(bounds))])[::-1]
        yield from self._extended((), 0.0, not self.may_reverse, lowest, highest)

    def _extended(
        self,
        begun: Assignment,
        charge: float,
        has_sign: bool,
        lowest: NDArray[np.int64],
        highest: NDArray[np.int64],
    ) -> Iterator[Assignment]:
        """Go through what can follow; the first site with a sign is up."""
        place = len(begun)
        if self.charge is not None and not (
            lowest[place] - _CHARGE_E
            <= self.charge - charge
            <= highest[place] + _CHARGE_E
        ):
            return
        if place == len(self.options):
            yield begun
            return
        for state, sign in self.options[place]:
            if sign < 0 and not has_sign:
                continue
            yield from self._extended(
                (*begun, (state, sign)),
                charge + (state.charge or 0),
                has_sign or sign != 0,
                lowest,
                highest,
            )

    def ordered(self, most: int) -> list[Assignment]:
        """Return assignments that are likely low, where there are too many of all.

        For each way to share the charge among at most two states of an element, the
        states spread evenly over its sites in each named ordering; then, from the
        first of these, one site flipped or in another state of the same charge.

        Parameters
        ----------
        most
            Their largest number.
        """
        orderings = named_orderings(self.elements, self.cell, self.positions)
        signs = list(orderings.values())
        assignments = [
            tuple(
                options[0] if len(options) == 1 else (state, state.sign(int(up)))
                for options, state, up in zip(
                    self.options, states, ordering, strict=True
                )
            )
            for states in self._spread()
            for ordering in signs
        ]
        for assignment in assignments[: len(signs)]:
            assignments += self._changed(assignment)
        return list(dict.fromkeys(assignments))[:most]

    def _spread(self) -> Iterator[tuple[SpinState, ...]]:
        """Return states of all sites, at most two for each element, at that charge."""
        free: dict[str, list[int]] = {}
        for place, options in enumerate(self.options):
            if len(options) > 1:
                free.setdefault(self.elements[place], []).append(place)
        mixtures = [
            [
                (first, second, number)
                for first, second in combinations_with_replacement(
                    self._states(places[0]), 2
                )
                for number in (range(1, len(places)) if first is not second else (0,))
            ]
            for places in free.values()
        ]
        for mixture in product(*mixtures):
            states = [options[0][0] for options in self.options]
            for places, (first, second, number) in zip(
                free.values(), mixture, strict=True
            ):
                for k, place in enumerate(places):
                    evenly = (k + 1) * number // len(places) - k * number // len(places)
                    states[place] = second if evenly else first
            total = sum(state.charge or 0 for state in states)
            if self.charge is None or self._fits(total):
                yield tuple(states)

    def _states(self, place: int) -> list[SpinState]:
        return list(dict.fromkeys(state for state, _ in self.options[place]))

    def _changed(self, assignment: Assignment) -> Iterator[Assignment]:
        for place, (state, sign) in enumerate(assignment):
            for other, up in self.options[place]:
                is_flip = other is state and up == -sign != 0
                is_excited = other is not state and up in (0, sign or 1)
                keeps_charge = self.charge is None or other.charge == state.charge
                if keeps_charge and (is_flip or is_excited):
                    yield (*assignment[:place], (other, up), *assignment[place + 1 :])

    def _fits(self, charge: float) -> bool:
        return self.charge is not None and abs(charge - self.charge) < _CHARGE_E
