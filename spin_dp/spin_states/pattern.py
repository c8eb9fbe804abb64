# SPDX-License-Identifier: LGPL-3.0-or-later
"""The moments of the metal sites of a frame, in integers.

A site of a d- or f-block element is written as the integer nearest to the length of its
moment (the number of unpaired electrons seen in the sphere) with the sign of the
moment; the sites of one element form a multiset. ``Mn[+4,-4]`` is an antiferromagnetic
pair of high-spin Mn(III); three or more equal sites are counted, ``Co[0x9]``.

The pattern is a function of one frame alone, whatever else is in a data set; the
spin-state key is made of it by naming the sites. Reversal of all moments and the order
of the atoms do not change it. Noncollinear
moments take their sign from the projection on the axis of the largest moment; a site
that lies more than 60 degrees off that axis has no sign and is written ``~4``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.spin_states.elements import carries_spin_state, type_order
from spin_dp.spin_states.signs import sign_choices

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

NO_METAL = "no-metal"
_CANONICAL_ORDER = {1: 0, -1: 1, 0: 2}  # up, down, off axis


_Site = tuple[int, int]  # unpaired electrons, sign (0: none)


def moment_pattern(symbols: Sequence[str], moments: npt.NDArray[np.float64]) -> str:
    """Write the moments of one frame in integers.

    Parameters
    ----------
    symbols
        Element of each atom, (nloc,).
    moments
        Moments, (nloc, 3), μB.

    Returns
    -------
    str
        ``no-metal`` if no atom is of the d or f block.
    """
    sites = [i for i, symbol in enumerate(symbols) if carries_spin_state(symbol)]
    if not sites:
        return NO_METAL
    elements = [symbols[i] for i in sites]
    vectors = np.asarray(moments, dtype=np.float64)[sites]
    lengths = np.linalg.norm(vectors, axis=1)
    unpaired = np.floor(lengths + 0.5).astype(int)
    order = type_order(elements)
    candidates = [
        _multisets(order, elements, unpaired, signs)
        for signs in sign_choices(vectors, lengths)
    ]
    best = min(candidates, key=_rank)
    return "".join(
        f"{element}[{_sites_text(states)}]"
        for element, states in zip(order, best, strict=True)
    )


def _multisets(
    order: Sequence[str],
    elements: Sequence[str],
    unpaired: npt.NDArray[np.int64],
    signs: npt.NDArray[np.int64],
) -> list[list[_Site]]:
    found: dict[str, list[_Site]] = {element: [] for element in order}
    for element, count, sign in zip(elements, unpaired, signs, strict=True):
        found[element].append((int(count), int(sign) if count else 0))
    return [sorted(found[element], key=_site_rank) for element in order]


def _site_rank(site: _Site) -> tuple[int, int]:
    """Order sites as +4, +3, -3, -4, ~4, ~3, 0."""
    count, sign = site
    if count == 0:
        return (3, 0)
    return (_CANONICAL_ORDER[sign], count if sign < 0 else -count)


def _rank(states: list[list[_Site]]) -> tuple[int, list[list[tuple[int, int]]]]:
    """Prefer the choice with the larger total moment, then a fixed order."""
    total = sum(count * sign for sites in states for count, sign in sites)
    return (-total, [[_site_rank(site) for site in sites] for sites in states])


def _sites_text(states: list[_Site]) -> str:
    words = []
    for (count, sign), number in Counter(states).items():
        mark = {1: "+", -1: "-", 0: "~" if count else ""}[sign]
        word = f"{mark}{count}"
        words += [f"{word}x{number}"] if number > 2 else [word] * number
    return ",".join(words)
