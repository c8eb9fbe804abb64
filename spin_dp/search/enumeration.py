# SPDX-License-Identifier: LGPL-3.0-or-later
"""Symmetry-distinct assignments of states to sites: how many, and which.

An assignment gives each site one of its options, coded by integers. Two are one if an
operation of the space group, with or without reversal of all moments, takes one into
the other. How many distinct ones there are follows without making any, from those that
each operation leaves alone (the lemma of Cauchy, Frobenius and Burnside); they are made
site by site, and what a symmetry takes to a smaller beginning is left out at once
(R. C. Read, Ann. Discrete Math. 2, 107 (1978)).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Codes = NDArray[np.uint8]

_EQUAL = 1e-6
_ROWS_AT_ONCE = 200_000


@dataclass(frozen=True)
class Limit:
    """What the sum of a property over all sites may be.

    Attributes
    ----------
    values
        Of each code, (nc,): charges in e, moments in μB, 1 where a site is excited.
    lowest, highest
        Of the sum.
    """

    values: Sequence[float]
    lowest: float = -inf
    highest: float = inf

    @classmethod
    def exactly(cls, values: Sequence[float], total: float) -> Limit:
        """Return the limit that a sum is met."""
        return cls(values, total - _EQUAL, total + _EQUAL)

    def holds(self, codes: Codes) -> NDArray[np.bool_]:
        """Return which of assignments (k, ns) are within the limit, (k,)."""
        sums = np.asarray(self.values)[codes].sum(axis=1)
        within: NDArray[np.bool_] = (self.lowest <= sums) & (sums <= self.highest)
        return within

    def is_even(self, reversal: Sequence[int]) -> bool:
        """Return whether reversal of moments leaves every value as it is."""
        values = np.asarray(self.values)
        return bool(np.allclose(values[list(reversal)], values))

    def survives_reversal(self, reversal: Sequence[int]) -> bool:
        """Return whether what is within the limit still is with moments reversed."""
        values = np.asarray(self.values)
        is_odd = np.allclose(values[list(reversal)], -values)
        symmetric = np.isclose(self.lowest, -self.highest)
        return self.is_even(reversal) or bool(is_odd and symmetric)


@dataclass(frozen=True, eq=False)
class Enumeration:
    """Assignments of codes to sites, up to symmetry.

    Attributes
    ----------
    options
        Codes that each site may have, (ns,).
    permutations
        Of the sites, (n_operations, ns), the identity first; only such that take sites
        to sites with the same options (:func:`spin_dp.search.symmetry
        .site_permutations` with the options as kinds).
    reversal
        Code of each code with its moment reversed, (nc,); None where that is not the
        same state.
    limits
        On sums over all sites. With reversal, those of sums that change sign under it
        must be symmetric about zero.
    """

    options: Sequence[Sequence[int]]
    permutations: Ints
    reversal: Sequence[int] | None = None
    limits: Sequence[Limit] = ()

    def count_all(self) -> int:
        """Return the number of assignments within the limits."""
        return self._fixed(self.permutations[0], is_reversed=False)

    def count_distinct(self) -> int:
        """Return the number of distinct ones."""
        ways = [False] if self.reversal is None else [False, True]
        cycles = Counter(
            (tuple(sorted(_cycles(row), key=len)), way)
            for row in map(tuple, self.permutations)
            for way in ways
        )
        known: dict[tuple[tuple[tuple[int, Sequence[int]], ...], bool], int] = {}
        total = 0
        for (groups, way), number in cycles.items():
            # Operations with cycles of equal lengths and options leave as many alone.
            key = (
                tuple(sorted((len(c), tuple(self.options[c[0]])) for c in groups)),
                way,
            )
            if key not in known:
                known[key] = self._fixed_by(groups, is_reversed=way)
            total += number * known[key]
        return total // (len(ways) * len(self.permutations))

    def __iter__(self) -> Iterator[tuple[Codes, int]]:
        """Go through distinct assignments: codes, (ns,), and how many are equal."""
        for codes, numbers in self.blocks():
            yield from zip(codes, numbers.tolist(), strict=True)

    def blocks(self) -> Iterator[tuple[Codes, Ints]]:
        """Go through distinct assignments, many at a time.

        Yields
        ------
        tuple
            Codes, (k, ns), and how many assignments each stands for, (k,).
        """
        yield from self._longer(np.zeros((1, 0), dtype=np.uint8))

    def smallest(self, codes: Codes) -> Codes:
        """Return of each assignment, (k, ns), the one that stands for its equals."""
        best = codes.copy()
        for row, reversed_codes in self._operations:
            image = codes[:, row]
            if reversed_codes is not None:
                image = reversed_codes[image]
            differs = image != best
            first = differs.argmax(axis=1)
            rows = np.arange(len(codes))
            is_less = differs.any(axis=1) & (image[rows, first] < best[rows, first])
            best[is_less] = image[is_less]
        return best

    def multiplicities(self, whole: Codes) -> Ints:
        """Return how many assignments are equal to each one, (k,), itself included."""
        alone = np.ones(len(whole), dtype=np.int64)
        for row, codes in self._operations:
            image = whole[:, row]
            if codes is not None:
                image = codes[image]
            alone += (image == whole).all(axis=1)
        return (len(self._operations) + 1) // alone

    def _longer(self, begun: Codes) -> Iterator[tuple[Codes, Ints]]:
        """Go on from beginnings, (k, p): depth first where there are too many."""
        place = begun.shape[1]
        if place == len(self.options):
            if len(begun):
                yield begun, self.multiplicities(begun)
            return
        options = np.array(self.options[place], dtype=np.uint8)
        longer = np.concatenate(
            [
                np.repeat(begun, len(options), axis=0),
                np.tile(options, len(begun))[:, None],
            ],
            axis=1,
        )
        longer = longer[self._may_fit(longer)]
        longer = longer[self._is_smallest(longer)]
        for start in range(0, len(longer), _ROWS_AT_ONCE):
            yield from self._longer(longer[start : start + _ROWS_AT_ONCE])

    def _may_fit(self, begun: Codes) -> NDArray[np.bool_]:
        """Return which beginnings can still be within the limits, (k,)."""
        fits = np.ones(len(begun), dtype=np.bool_)
        place = begun.shape[1]
        for limit, (lowest, highest) in zip(self.limits, self._rests, strict=True):
            sums = np.asarray(limit.values)[begun].sum(axis=1)
            fits &= sums + lowest[place] <= limit.highest
            fits &= sums + highest[place] >= limit.lowest
        return fits

    @cached_property
    def _rests(self) -> list[tuple[Floats, Floats]]:
        """Return the least and most that sites from each place on add, by limit."""
        rests = []
        for limit in self.limits:
            values = [[limit.values[code] for code in site] for site in self.options]
            lowest, highest = (
                np.append(np.cumsum([pick(one) for one in values][::-1])[::-1], 0.0)
                for pick in (min, max)
            )
            rests.append((lowest, highest))
        return rests

    @cached_property
    def _operations(self) -> list[tuple[Ints, Codes | None]]:
        """Return all operations but the identity: permutation, and codes reversed."""
        plain: list[tuple[Ints, Codes | None]] = [
            (row, None) for row in self.permutations
        ]
        if self.reversal is None:
            return plain[1:]
        codes = np.array(self.reversal, dtype=np.uint8)
        return [*plain[1:], *((row, codes) for row, _ in plain)]

    def _is_smallest(self, begun: Codes) -> NDArray[np.bool_]:
        """Return which beginnings no operation takes to a smaller one, (k,)."""
        place = begun.shape[1]
        keep = np.ones(len(begun), dtype=np.bool_)
        for row, codes in self._operations:
            rows = np.flatnonzero(keep)
            for i in range(place):
                if row[i] >= place or not len(rows):
                    break
                image = begun[rows, row[i]]
                if codes is not None:
                    image = codes[image]
                here = begun[rows, i]
                keep[rows[image < here]] = False
                rows = rows[image == here]
        return keep

    def _fixed(self, row: Ints, *, is_reversed: bool) -> int:
        return self._fixed_by(_cycles(tuple(row)), is_reversed=is_reversed)

    def _fixed_by(self, cycles: Sequence[Sequence[int]], *, is_reversed: bool) -> int:
        """Return the number of assignments that an operation leaves alone."""
        counts: Mapping[tuple[float, ...], int] = {(0.0,) * len(self.limits): 1}
        for cycle in cycles:
            ways = Counter(self._ways(cycle, is_reversed=is_reversed))
            longer: Counter[tuple[float, ...]] = Counter()
            for sums, number in counts.items():
                for more, times in ways.items():
                    key = tuple(
                        round(a + b, 6) for a, b in zip(sums, more, strict=True)
                    )
                    longer[key] += number * times
            counts = longer
        return sum(
            number
            for sums, number in counts.items()
            if all(
                limit.lowest <= value <= limit.highest
                for limit, value in zip(self.limits, sums, strict=True)
            )
        )

    def _ways(
        self, cycle: Sequence[int], *, is_reversed: bool
    ) -> Iterator[tuple[float, ...]]:
        """Return what sites of a cycle add to the sums, for each way that is fixed."""
        length = len(cycle)
        for code in self.options[cycle[0]]:
            other = self.reversal[code] if is_reversed and self.reversal else code
            # A moment that is reversed with each step comes back after an even number.
            if other != code and length % 2:
                continue
            half = length / 2
            yield tuple(
                half * (limit.values[code] + limit.values[other])
                for limit in self.limits
            )


def _cycles(row: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the cycles of a permutation."""
    left = set(range(len(row)))
    cycles = []
    while left:
        start = min(left)
        cycle, site = [start], row[start]
        while site != start:
            cycle.append(int(site))
            site = row[site]
        left -= set(cycle)
        cycles.append(tuple(cycle))
    return cycles
