# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pairs of magnetic sites by shell: which pairs share a constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError
from spin_dp.neighbours import find_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Shell:
    """Pairs of sites that share one constant.

    Attributes
    ----------
    kinds
        Of the two sites, element or state, in alphabetical order.
    distance
        Mean over the pairs, Å.
    neighbours
        Pairs of one site of the first kind, on average.
    exchange, error
        J and its standard error, meV; positive is ferromagnetic.
    biquadratic, biquadratic_error
        B and its standard error, meV; None where it was not fitted.
    """

    kinds: tuple[str, str]
    distance: float
    neighbours: float
    exchange: float = float("nan")
    error: float = float("nan")
    biquadratic: float | None = None
    biquadratic_error: float | None = None


@dataclass(frozen=True, eq=False)
class Bonds:
    """Pairs of magnetic sites of a cell, each once, by shell.

    Attributes
    ----------
    cell, positions
        Of the sites, (3, 3) and (ns, 3), Å.
    kinds
        Of the sites, (ns,).
    first, second, shifts, shell
        Of each pair, (nb,): sites, cell of the second, (nb, 3), and number of its
        shell.
    shells
        Without constants.
    """

    cell: Floats
    positions: Floats
    kinds: Sequence[str]
    first: Ints
    second: Ints
    shifts: Ints
    shell: Ints
    shells: Sequence[Shell]

    def sums(self, directions: Floats, power: int = 1) -> Floats:
        """Return sums of (e_i.e_j)^power over the pairs of each shell.

        Parameters
        ----------
        directions
            Unit vectors, (k, ns, 3).
        power
            1, or 2 for biquadratic terms.

        Returns
        -------
        ndarray
            (k, n_shells).
        """
        cosines = np.einsum(
            "kbx,kbx->kb", directions[:, self.first], directions[:, self.second]
        )
        out = np.zeros((len(directions), len(self.shells)))
        for column in range(len(self.shells)):
            out[:, column] = (cosines[:, self.shell == column] ** power).sum(axis=1)
        return out


def find_bonds(
    cell: Floats,
    positions: Floats,
    kinds: Sequence[str],
    cutoff: float,
    *,
    tolerance: float = 0.1,
) -> Bonds:
    """Return the pairs of magnetic sites by shell.

    Parameters
    ----------
    cell, positions, kinds
        Of the sites: (3, 3) and (ns, 3), Å; element or state, (ns,).
    cutoff
        Largest distance, Å.
    tolerance
        Distances of one pair of kinds are one shell where none differs from the next
        by more, Å.

    Raises
    ------
    ConfigError
        If there is no pair.
    """
    pairs = find_pairs(cell, positions, cutoff)
    # Each pair comes in both directions: keep one of them.
    ahead = np.array(
        [
            (i, j, *shift) < (j, i, *-shift)
            for i, j, shift in zip(pairs.first, pairs.second, pairs.shifts, strict=True)
        ],
        dtype=np.bool_,
    )
    if not ahead.any():
        raise ConfigError(
            f"no two magnetic sites are within {cutoff:g} Å; give a larger cutoff."
        )
    first, second = pairs.first[ahead], pairs.second[ahead]
    shifts, distances = pairs.shifts[ahead], pairs.distances[ahead]
    names = [
        (min(kinds[i], kinds[j]), max(kinds[i], kinds[j]))
        for i, j in zip(first, second, strict=True)
    ]
    number = np.zeros(len(first), dtype=np.int64)
    shells: list[Shell] = []
    for name in sorted(set(names)):
        here = np.array([k for k, other in enumerate(names) if other == name])
        order = here[np.argsort(distances[here], kind="stable")]
        gaps = np.diff(distances[order]) > tolerance
        for members in np.split(order, np.flatnonzero(gaps) + 1):
            number[members] = len(shells)
            sites = list(kinds).count(name[0])
            each = 2 if name[0] == name[1] else 1
            mean = float(distances[members].mean())
            shells.append(Shell(name, mean, each * len(members) / sites))
    by_distance = sorted(range(len(shells)), key=lambda k: shells[k].distance)
    place = np.argsort(by_distance)
    return Bonds(
        cell,
        positions,
        kinds,
        first,
        second,
        shifts,
        place[number],
        [shells[k] for k in by_distance],
    )
