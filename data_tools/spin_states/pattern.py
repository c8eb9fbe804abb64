# SPDX-License-Identifier: LGPL-3.0-or-later
"""The spin-state key of a frame: the moments of its metal sites, named by integers.

A site of a d- or f-block element is written as the integer nearest to the length of its
moment (the number of unpaired electrons seen in the sphere) with the sign of the
moment; the sites of one element form a multiset. ``Mn[+4,-4]`` is an antiferromagnetic
pair of high-spin Mn(III); three or more equal sites are counted, ``Co[0x9]``.

Reversal of all moments and the order of the atoms do not change the key. Noncollinear
moments take their sign from the projection on the axis of the largest moment; a site
that lies more than 60 degrees off that axis has no sign and is written ``~4``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.elements import carries_spin_state, type_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

NO_METAL = "no-metal"
_OFF_AXIS_COSINE = 0.5
_TIE_MUB = 1.0e-3
_CANONICAL_ORDER = {1: 0, -1: 1, 0: 2}  # up, down, off axis


@dataclass(frozen=True)
class SpinKey:
    """Name of a spin state.

    Attributes
    ----------
    text
        The key, e.g. ``Mn[+4,-4]``.
    margin
        Smallest distance of any site's moment to the nearest half-integer, where its
        integer would change, μB (0 to 0.5; small means ambiguous).
    """

    text: str
    margin: float

    @property
    def slug(self) -> str:
        """The key as a folder name: ``Mn[+4,-4]Ni[0]`` becomes ``Mn+4,-4_Ni0``."""
        return self.text.replace("[", "").rstrip("]").replace("]", "_")


_Site = tuple[int, int]  # unpaired electrons, sign (0: none)


def spin_key(symbols: Sequence[str], moments: npt.NDArray[np.float64]) -> SpinKey:
    """Name the spin state of one frame.

    Parameters
    ----------
    symbols
        Element of each atom, (nloc,).
    moments
        Moments, (nloc, 3), μB.

    Returns
    -------
    SpinKey
        ``no-metal`` with margin 0.5 if no atom is of the d or f block.
    """
    sites = [i for i, symbol in enumerate(symbols) if carries_spin_state(symbol)]
    if not sites:
        return SpinKey(NO_METAL, 0.5)
    elements = [symbols[i] for i in sites]
    vectors = np.asarray(moments, dtype=np.float64)[sites]
    lengths = np.linalg.norm(vectors, axis=1)
    unpaired = np.floor(lengths + 0.5).astype(int)
    margin = float(np.abs(lengths % 1.0 - 0.5).min())
    order = type_order(elements)
    candidates = [
        _multisets(order, elements, unpaired, signs)
        for signs in _sign_choices(vectors, lengths)
    ]
    best = min(candidates, key=_rank)
    text = "".join(
        f"{element}[{_sites_text(states)}]"
        for element, states in zip(order, best, strict=True)
    )
    return SpinKey(text, margin)


def _sign_choices(
    vectors: npt.NDArray[np.float64], lengths: npt.NDArray[np.float64]
) -> list[npt.NDArray[np.int64]]:
    """Return the signs for each axis in question and for its reversal."""
    largest = float(lengths.max())
    if largest < 0.5:
        return [np.zeros(len(lengths), dtype=np.int64)]
    safe = np.where(lengths > 0.0, lengths, 1.0)[:, None]
    unit = vectors / safe
    cosines = unit @ unit[lengths >= largest - _TIE_MUB].T  # (sites, axes)
    signs = np.where(np.abs(cosines) >= _OFF_AXIS_COSINE, np.sign(cosines), 0.0)
    distinct = np.unique(signs.astype(np.int64), axis=1).T
    return [choice for signs in distinct for choice in (signs, -signs)]


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
