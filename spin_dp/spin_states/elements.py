# SPDX-License-Identifier: LGPL-3.0-or-later
"""Elements: which carry a spin state, in which order they stand, what formulas say."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALKALI = frozenset({3, 11, 19, 37, 55, 87})
_ALKALINE_EARTH = frozenset({4, 12, 20, 38, 56, 88})
_D_BLOCK = frozenset({*range(21, 31), *range(39, 49), *range(72, 81), *range(104, 113)})
_F_BLOCK = frozenset({*range(57, 72), *range(89, 104)})
_ANIONS = {8: 0, 9: 1}


@cache
def _numbers() -> dict[str, int]:
    from ase.data import atomic_numbers

    return {symbol: z for symbol, z in atomic_numbers.items() if z > 0}


def is_element(symbol: str) -> bool:
    """Return whether the symbol names a chemical element."""
    return symbol in _numbers()


def atomic_number(symbol: str) -> int:
    """Return the atomic number of an element."""
    return _numbers()[symbol]


def carries_spin_state(symbol: str) -> bool:
    """Return whether the element is of the d or f block, so that its moment counts."""
    return atomic_number(symbol) in _D_BLOCK | _F_BLOCK


def _place(symbol: str) -> tuple[int, int]:
    z = atomic_number(symbol)
    if z in _ALKALI:
        return (0, z)
    if z in _ALKALINE_EARTH:
        return (1, z)
    if z in _D_BLOCK | _F_BLOCK:
        return (2, z)
    if z in _ANIONS:
        return (3, _ANIONS[z])
    return (4, z)


def type_order(symbols: Iterable[str]) -> tuple[str, ...]:
    """Return the different elements in the order used for type maps and formulas.

    Alkali metals come first, then alkaline earths, then d- and f-block metals by atomic
    number, then O and F, then the rest by atomic number.
    """
    return tuple(sorted(set(symbols), key=_place))


def formula(symbols: Iterable[str]) -> str:
    """Return the formula of the whole cell, e.g. ``Li2Co2O4`` (not reduced)."""
    counts = Counter(symbols)
    return "".join(
        symbol + (str(counts[symbol]) if counts[symbol] > 1 else "")
        for symbol in type_order(counts)
    )
