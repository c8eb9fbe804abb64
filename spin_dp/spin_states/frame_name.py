# SPDX-License-Identifier: LGPL-3.0-or-later
"""The spin state of a frame whose moments are read with a catalogue.

Naming DFT frames is the hard direction, see :mod:`spin_dp.data_tools.naming`. Here the
states are known, and each site is in the one whose moment is nearest to its own.
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
    states = [
        catalogue.nearest(symbol, moment) if catalogue.has_states(symbol) else None
        for symbol, moment in zip(symbols, moments.tolist(), strict=True)
    ]
    return name_sites(symbols, cell, positions, moments, states)


def name_sites(
    symbols: Sequence[str],
    cell: Floats,
    positions: Floats,
    moments: Floats,
    states: Sequence[SpinState | None],
) -> FrameName:
    """Name the spin state of a frame whose sites are in known states.

    Parameters
    ----------
    symbols, cell, positions
        As for :func:`name_frame`.
    moments
        Whose signs count, (n,), μB.
    states
        Of each atom, (n,); None of those without one.

    Returns
    -------
    FrameName
        Key :data:`spin_dp.spin_states.key.NO_METAL` without sites.
    """
    known = [(i, state) for i, state in enumerate(states) if state is not None]
    if not known:
        return FrameName(NO_METAL, ())
    sites = [i for i, _ in known]
    labels = [state.name for _, state in known]
    signs = np.array([state.sign(-1 if moments[i] < 0.0 else 1) for i, state in known])
    elements = [symbols[i] for i in sites]
    ordered = OrderedSites(elements, np.asarray(cell), np.asarray(positions)[sites])
    tag = ordered.tag(labels, signs)
    return FrameName(frame_key(labels, signs, tag)[0], tuple(labels))


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
