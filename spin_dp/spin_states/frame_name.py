# SPDX-License-Identifier: LGPL-3.0-or-later
"""The spin state of a frame whose moments are read with a catalogue.

Naming DFT frames is the hard direction, see :mod:`spin_dp.data_tools.naming`. Here the
states are known, and each site is in the one whose moment is nearest to its own, or
still in the one that it was labelled with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import reduce
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.spin_states.key import NO_METAL, frame_key
from spin_dp.spin_states.ordering import OrderedSites

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from spin_dp.spin_states.catalogue import Catalogue, SpinState

    Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FrameName:
    """The spin state of a frame.

    Attributes
    ----------
    key
        Its key, see :mod:`spin_dp.spin_states.key`.
    states
        Name of the state of each metal site, in the order of the atoms.
    """

    key: str
    states: tuple[str, ...]

    @property
    def per_cell(self) -> str:
        """The key of the smallest cell with these shares of states."""
        return reduced_key(self.key)


def name_frame(
    symbols: Sequence[str],
    cell: Floats,
    positions: Floats,
    moments: Floats,
    catalogue: Catalogue,
) -> FrameName:
    """Name the spin state of a frame by the states with the nearest moments.

    Parameters
    ----------
    symbols
        Element of each atom, (n,).
    cell, positions
        Cell vectors as rows, (3, 3), and positions, (n, 3), Å.
    moments
        Collinear moments, (n,), μB.
    catalogue
        States that are known.

    Returns
    -------
    FrameName
        Key :data:`spin_dp.spin_states.key.NO_METAL` without sites.
    """
    sites = [i for i, symbol in enumerate(symbols) if catalogue.has_states(symbol)]
    if not sites:
        return FrameName(NO_METAL, ())
    keys = SiteKeys(
        [symbols[i] for i in sites],
        np.asarray(cell),
        np.asarray(positions)[sites],
        catalogue,
    )
    named = keys.named(np.asarray(moments)[sites])
    return FrameName(keys.key(named), tuple(state.name for state, _ in named))


class SiteKeys:
    """Spin-state keys of the metal sites of a structure, for many sets of moments.

    Parameters
    ----------
    elements
        Of each site, (ns,); each has states.
    cell, positions
        Cell vectors as rows, (3, 3), and positions of the sites, (ns, 3), Å.
    catalogue
        States that are known.
    """

    def __init__(
        self,
        elements: Sequence[str],
        cell: Floats,
        positions: Floats,
        catalogue: Catalogue,
    ) -> None:
        self._elements, self._catalogue = elements, catalogue
        self._ordered = OrderedSites(elements, cell, positions)

    def key(self, sites: Sequence[tuple[SpinState, int]]) -> str:
        """Return the key of state and sign of each site."""
        names = [state.name for state, _ in sites]
        signs = np.array([sign for _, sign in sites])
        return frame_key(names, signs, self._ordered.tag(names, signs))[0]

    def named(
        self, moments: Floats, labels: Sequence[SpinState] | None = None
    ) -> list[tuple[SpinState, int]]:
        """Return state and sign of each site by its moment.

        Parameters
        ----------
        moments
            Collinear, (ns,), μB.
        labels
            State that each site stays in as long as its moment is one of that state;
            else it is in the one with the nearest moment.
        """
        held: Sequence[SpinState | None] = labels or [None] * len(self._elements)
        found = []
        for element, label, moment in zip(
            self._elements, held, moments.tolist(), strict=True
        ):
            state = label
            if state is None or not state.holds(moment):
                state = self._catalogue.nearest(element, moment)
            assert state is not None  # the element has states
            found.append((state, state.sign(-1 if moment < 0.0 else 1)))
        return found

    def becomes(self, sites: Sequence[tuple[SpinState, int]], moments: Floats) -> str:
        """Return the key of moments where it is not that of the labels, else nothing.

        Parameters
        ----------
        sites
            State and sign that each site is labelled with.
        moments
            What it has come to, collinear, (ns,), μB.
        """
        reached = self.key(self.named(moments, [state for state, _ in sites]))
        return "" if reached == self.key(sites) else reached


def reduced_key(key: str) -> str:
    """Return a key with its numbers of sites divided by their common divisor.

    The tag of an ordering is the same in every cell, so that frames of cells of any
    size in one spin state have one reduced key.
    """
    words, _, tag = key.partition("#")
    numbers = [int(n) for group in re.findall(r"\[([^\]]*)\]", words)
               for n in re.findall(r"\d+", group)]  # fmt: skip
    divisor = reduce(gcd, numbers, 0) or 1

    def divided(match: re.Match[str]) -> str:
        return re.sub(r"\d+", lambda n: str(int(n[0]) // divisor), match[0])

    return re.sub(r"\[[^\]]*\]", divided, words) + (f"#{tag}" if tag else "")
