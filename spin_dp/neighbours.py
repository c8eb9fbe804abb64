# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pairs of atoms in a periodic cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

Number = TypeVar("Number", int, float)

_SAME_ANGSTROM = 1.0e-8

CONTACT_ANGSTROM = 3.25
"""Atoms that are closer touch: twice a bond of an oxide is farther, its layers too."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """All ordered pairs of atoms closer than a cutoff, periodic images included.

    Attributes
    ----------
    first, second
        The atoms, (n,).
    shifts
        Cell of the second, with the first in cell zero, (n, 3).
    distances
        How far they are apart, (n,), Å.
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    shifts: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]


def find_pairs(
    cell: npt.NDArray[np.float64],
    positions: npt.NDArray[np.float64],
    cutoff: float,
    *,
    periodic: Sequence[bool] = (True, True, True),
) -> Pairs:
    """Find the pairs of atoms closer than a cutoff.

    pymatgen's neighbour list does it, a hundred times faster than that of ASE, and up
    to some hundred atoms ten times faster than vesin.

    Parameters
    ----------
    cell, positions
        Cell vectors as rows, (3, 3), and (nloc, 3), Å; vectors along which nothing
        repeats may be zero.
    cutoff
        Largest distance, Å.
    periodic
        Along which cell vectors the atoms repeat.

    Returns
    -------
    Pairs
        In both directions; an atom is no neighbour of itself, but of its images.
    """
    cell = _completed(cell, periodic)
    points = np.ascontiguousarray(positions, dtype=np.float64)
    first, second, shifts, distances = _search(cell, points, points, cutoff, periodic)
    # Taking places is faster than a mask.
    others = np.flatnonzero((distances > _SAME_ANGSTROM) | (first != second))
    return Pairs(
        first.take(others),
        second.take(others),
        shifts.take(others, axis=0).astype(np.int64),
        distances.take(others),
    )


def find_near(
    cell: npt.NDArray[np.float64],
    points: npt.NDArray[np.float64],
    others: npt.NDArray[np.float64],
    cutoff: float,
    *,
    periodic: Sequence[bool] = (True, True, True),
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Find the images of some points that are near to others.

    Parameters
    ----------
    cell, periodic
        As for :func:`find_pairs`.
    points, others
        (k, 3) and (n, 3), Å.
    cutoff
        Largest distance, Å.

    Returns
    -------
    tuple
        Point, other, and the way from the point to that image of the other, (m, 3), Å;
        of a point that is one of the others, itself as well.
    """
    cell = _completed(cell, periodic)
    # What lies many cells away would cost as many images.
    inverse = np.linalg.inv(cell)
    points, others = (
        np.ascontiguousarray(one - np.floor(one @ inverse) * periodic @ cell)
        for one in (points, others)
    )
    first, second, shifts, _ = _search(cell, points, others, cutoff, periodic)
    return first, second, others[second] + shifts @ cell - points[first]


def _completed(
    cell: npt.NDArray[np.float64], periodic: Sequence[bool]
) -> npt.NDArray[np.float64]:
    """Return a cell with three vectors, also where nothing repeats."""
    if all(periodic):
        return cell
    from ase.geometry import complete_cell

    return np.asarray(complete_cell(np.where(np.array(periodic)[:, None], cell, 0.0)))


def _search(
    cell: npt.NDArray[np.float64],
    points: npt.NDArray[np.float64],
    others: npt.NDArray[np.float64],
    cutoff: float,
    periodic: Sequence[bool],
) -> tuple[
    npt.NDArray[np.int64],
    npt.NDArray[np.int64],
    npt.NDArray[np.float64],
    npt.NDArray[np.float64],
]:
    """Return point, other, its cell and the distance of each pair in reach."""
    from pymatgen.optimization.neighbors import find_points_in_spheres

    if not len(points) or not len(others):
        none = np.zeros(0, dtype=np.int64)
        return none, none, np.zeros((0, 3), dtype=np.int64), np.zeros(0)
    first, second, shifts, distances = find_points_in_spheres(
        others,
        points,
        r=cutoff,
        pbc=np.array(periodic, dtype=np.int64),
        lattice=np.ascontiguousarray(cell, dtype=np.float64),
        tol=_SAME_ANGSTROM,
    )
    return first, second, shifts, distances


def pair_name(first: str, second: str) -> str:
    """Return the name of a pair of elements, ``Ni-O``, in alphabetical order."""
    return "-".join(sorted((first, second)))


def values_of_pairs(
    symbols: Sequence[str],
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    values: Mapping[str, float],
    default: float,
) -> npt.NDArray[np.float64]:
    """Return the number that goes with the elements of each pair of atoms, (m,).

    Parameters
    ----------
    symbols
        Elements, (n,).
    first, second
        The atoms of each pair, (m,).
    values, default
        Numbers by :func:`pair_name`, and that of other pairs.
    """
    elements, number = np.unique(np.asarray(symbols), return_inverse=True)
    table = np.array(
        [[values.get(pair_name(a, b), default) for b in elements] for a in elements]
    )
    found: npt.NDArray[np.float64] = table[number[first], number[second]]
    return found


def shortest_contacts(
    symbols: Sequence[str],
    cell: npt.NDArray[np.float64],
    positions: npt.NDArray[np.float64],
) -> dict[str, float]:
    """Return the shortest distance of each pair of elements that touch, Å.

    Parameters
    ----------
    symbols
        Elements, (n,).
    cell, positions
        Cell vectors as rows, (3, 3), and (n, 3), Å.

    Returns
    -------
    dict
        By :func:`pair_name`; pairs farther apart than :data:`CONTACT_ANGSTROM` are left
        out.
    """
    pairs = find_pairs(cell, positions, CONTACT_ANGSTROM)
    elements, number = np.unique(np.asarray(symbols), return_inverse=True)
    first, second = number[pairs.first], number[pairs.second]
    shortest = np.full((len(elements), len(elements)), np.inf)
    lower, upper = np.minimum(first, second), np.maximum(first, second)
    np.minimum.at(shortest, (lower, upper), pairs.distances)
    return {
        f"{elements[a]}-{elements[b]}": float(shortest[a, b])
        for a, b in np.argwhere(np.isfinite(shortest)).tolist()
    }


def fewest_neighbours(
    symbols: Sequence[str],
    cell: npt.NDArray[np.float64],
    positions: npt.NDArray[np.float64],
    cutoff: float,
) -> dict[str, int]:
    """Return the least number of neighbours of the atoms of each element.

    Parameters
    ----------
    symbols, cell, positions
        As for :func:`shortest_contacts`.
    cutoff
        Radius within which atoms are neighbours, images of the atom itself, too, Å.
    """
    pairs = find_pairs(cell, positions, cutoff)
    numbers = np.bincount(pairs.first, minlength=len(positions))
    present = np.asarray(symbols)
    return {
        str(element): int(numbers[present == element].min())
        for element in np.unique(present)
    }


def least_of(several: Iterable[Mapping[str, Number]]) -> dict[str, Number]:
    """Return the least number of each name."""
    least: dict[str, Number] = {}
    for one in several:
        for name, value in one.items():
            least[name] = min(value, least.get(name, value))
    return least
