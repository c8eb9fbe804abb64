# SPDX-License-Identifier: LGPL-3.0-or-later
"""The metal sites of a frame: all that is needed to name its spin state."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.neighbours import Pairs, find_pairs
from spin_dp.spin_states.elements import carries_spin_state
from spin_dp.spin_states.ions import ion_charge, is_anion

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

REACH_ANGSTROM = 4.0
"""How far neighbours are looked for, Å."""
_FEWEST, _MOST = 3, 8
_INTERSTITIAL_SHARE = 0.3
_INTERSTITIAL_MUB = 0.05  # of each atom


@dataclass(frozen=True, eq=False)
class Sites:
    """Sites of the d- and f-block atoms of one frame.

    Attributes
    ----------
    indices
        Their places among the atoms, (ns,).
    elements
        Their elements, (ns,).
    moments
        Their moments, (ns, 3), μB.
    coordination
        Number of anions around each, (ns,); 0 where there is none.
    cell, positions
        Cell vectors, (3, 3), and positions, (ns, 3), Å.
    ion_charge
        Charge of all atoms other than Ti to Cu, e; nan for metals.
    total_moment
        Length of the moment of the cell, μB; nan if it is not known or not that of
        these moments.
    """

    indices: npt.NDArray[np.int32]
    elements: tuple[str, ...]
    moments: npt.NDArray[np.float64]
    coordination: npt.NDArray[np.int32]
    cell: npt.NDArray[np.float64]
    positions: npt.NDArray[np.float64]
    ion_charge: float
    total_moment: float


def find_sites(
    symbols: Sequence[str],
    cell: npt.NDArray[np.float64],
    positions: npt.NDArray[np.float64],
    moments: npt.NDArray[np.float64],
    total_moment: float = nan,
    pairs: Pairs | None = None,
) -> Sites:
    """Find the metal sites of a frame.

    Parameters
    ----------
    symbols
        Element of each atom, (nloc,).
    cell, positions
        (3, 3) and (nloc, 3), Å.
    moments
        (nloc, 3), μB.
    total_moment
        Moment of the cell, μB.
    pairs
        Pairs of atoms up to :data:`REACH_ANGSTROM`, if they have been found.

    Returns
    -------
    Sites
        In the order of the atoms.
    """
    metals = [i for i, symbol in enumerate(symbols) if carries_spin_state(symbol)]
    anions = [i for i, symbol in enumerate(symbols) if is_anion(symbol)]
    if pairs is None:
        pairs = find_pairs(cell, positions, REACH_ANGSTROM)
    return Sites(
        indices=np.array(metals, dtype=np.int32),
        elements=tuple(symbols[i] for i in metals),
        moments=np.asarray(moments, dtype=np.float64)[metals],
        coordination=_coordination(pairs, metals, anions),
        cell=np.asarray(cell, dtype=np.float64),
        positions=np.asarray(positions, dtype=np.float64)[metals],
        ion_charge=ion_charge(symbols, pairs),
        total_moment=_of_these(total_moment, np.asarray(moments, dtype=np.float64)),
    )


def _of_these(total_moment: float, moments: npt.NDArray[np.float64]) -> float:
    """Return the length of the total moment, nan if local moments contradict it.

    Between the atomic spheres lies a part of it, but not most of it. Where the moments
    change in the last SCF iterations of a step, VASP's total and table may differ.
    """
    slack = _INTERSTITIAL_MUB + _INTERSTITIAL_SHARE * np.linalg.norm(moments, axis=1)
    local = float(np.linalg.norm(moments.sum(axis=0)))
    apart = abs(abs(total_moment) - local)
    return abs(total_moment) if apart <= slack.sum() else nan


def _coordination(
    pairs: Pairs, metals: Sequence[int], anions: Sequence[int]
) -> npt.NDArray[np.int32]:
    """Count anions up to the widest relative gap between successive distances.

    The gap follows the bonds of each site, so that Jahn-Teller elongated and strongly
    displaced octahedra still count six.
    """
    counts = np.zeros(len(metals), dtype=np.int32)
    if not metals or not anions:
        return counts
    wanted = np.isin(pairs.first, metals) & np.isin(pairs.second, anions)
    first, distances = pairs.first[wanted], pairs.distances[wanted]
    for site, metal in enumerate(metals):
        shell = np.sort(distances[first == metal])[: _MOST + 1]
        if len(shell) <= _FEWEST:
            counts[site] = len(shell)
            continue
        edges = np.append(shell, REACH_ANGSTROM) if len(shell) <= _MOST else shell
        ratios = edges[_FEWEST:] / edges[_FEWEST - 1 : -1]
        counts[site] = _FEWEST + int(ratios.argmax())
    return counts
