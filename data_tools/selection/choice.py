# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which frames to choose: shares of states and compositions, farthest points, coverage.

States and compositions are numbers from 0 here, one of each for every frame; frames are
points, see :mod:`spin_dp.data_tools.selection.features`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.spatial.distance import cdist

from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from spin_dp.data_tools.frame import Array

    Numbers: TypeAlias = npt.NDArray[np.integer[Any]]

METHODS = ("farthest", "random", "stratified")
_ROWS_AT_ONCE = 512
"""Points whose distances to all known ones are in memory at a time."""


def shares(
    method: str, compositions: Numbers, states: Numbers, number: int, minimum: int
) -> tuple[Numbers, Numbers]:
    """Share the frames to be chosen out among states and compositions.

    Parameters
    ----------
    method
        ``stratified``: each state gets the same number, or all it has. ``farthest``:
        each composition gets a number in proportion to its frames, each of its states
        not less than the minimum.
    compositions, states
        Composition and state of each frame, (nf,); a state has one composition.
    number
        Frames to choose, at most nf.
    minimum
        Frames to choose of each state, or all if it has fewer.

    Returns
    -------
    per_state, per_composition
        Frames to choose of each state, to begin with, and of each composition in all.

    Raises
    ------
    ConfigError
        If the minima add up to more than the number.
    """
    in_state = np.bincount(states)
    per_state = lowest_shares(states, number, minimum)
    composition_of_state = np.zeros_like(in_state)
    composition_of_state[states] = compositions
    if method == "stratified":
        per_state = share_out(in_state, number, np.ones(len(in_state)), per_state)
    per_composition = np.bincount(composition_of_state, weights=per_state).astype(int)
    if method == "farthest":
        counts = np.bincount(compositions)
        per_composition = share_out(counts, number, counts, per_composition)
    return per_state, per_composition


def lowest_shares(states: Numbers, number: int, minimum: int) -> Numbers:
    """Return the minimum of each state, or what it has; refuse more than the number.

    Raises
    ------
    ConfigError
        If the minima add up to more than the number.
    """
    lowest = np.minimum(np.bincount(states), minimum)
    if lowest.sum() > number:
        raise ConfigError(
            f"{minimum} frames of each of {len(lowest)} states are {lowest.sum()} "
            f"frames, more than the {number} to be chosen; ask for more frames or for "
            "a lower minimum per state"
        )
    return np.asarray(lowest)


def share_out(
    available: npt.ArrayLike, number: int, weights: npt.ArrayLike, lowest: npt.ArrayLike
) -> Numbers:
    """Share a number out in proportion to weights.

    One after the other goes to the part that is farthest below its exact share and not
    full yet, the largest on ties: the method of the largest remainder if no part is
    full or has a lowest share, and equal parts of what is left if the weights are
    equal.

    Parameters
    ----------
    available
        What each part has, (n,).
    number
        What is shared out, from the sum of ``lowest`` to the sum of ``available``.
    weights
        Weight of each part, (n,).
    lowest
        Share of each part to begin with, (n,).

    Returns
    -------
    Numbers
        Share of each part, (n,).
    """
    available = np.asarray(available)
    exact = number * np.asarray(weights) / np.sum(weights)
    given = np.array(lowest)
    while given.sum() < number:
        given[neediest(exact - given, available, given < available)] += 1
    return given


def neediest(
    below: Array, available: npt.ArrayLike, is_open: npt.NDArray[np.bool_]
) -> int:
    """Return the open part that is farthest below its share, the largest on ties.

    Parameters
    ----------
    below
        How far each part is below its exact share, (n,).
    available
        What each part has, (n,).
    is_open
        Which parts can still be given something, (n,); at least one.
    """
    below = np.where(is_open, below, -np.inf)
    nearly = np.flatnonzero(below > below.max() - 1.0e-9)
    return int(nearly[np.asarray(available)[nearly].argmax()])


def farthest_choice(
    points: Array, states: Numbers, per_state: Numbers, number: int
) -> list[int]:
    """Choose frames of one composition that lie far apart.

    Each state gives its frames first, beginning with the one nearest to their mean;
    then follow, one by one, the frames farthest from all that are chosen (Gonzalez,
    Theor. Comput. Sci. 38, 293 (1985), doi:10.1016/0304-3975(85)90224-5).

    Parameters
    ----------
    points
        Fingerprints, (nf, d).
    states
        State of each frame, (nf,).
    per_state
        Frames to begin with of each state, indexed by its number.
    number
        Frames to choose in all.

    Returns
    -------
    list of int
        The chosen frames in the order of choice.
    """
    chosen: list[int] = []
    for state in np.unique(states):
        members = np.flatnonzero(states == state)
        start = [_central(points[members])]
        found = farthest_points(points[members], int(per_state[state]), start)
        chosen += members[found].tolist()
    return farthest_points(points, number, chosen or [_central(points)])


def _central(points: Array) -> int:
    return int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())


class Coverage:
    """How far points are from the nearest of those that are known or chosen.

    Parameters
    ----------
    points
        Points, (n, d).
    known
        Points that count as chosen from the start, (k, d); none if None.

    Attributes
    ----------
    points
        As given.
    distances
        Of each point to the nearest known or chosen one, (n,); inf without any.
    """

    def __init__(self, points: Array, known: Array | None = None) -> None:
        self.points = points
        self.distances = np.full(len(points), np.inf)
        if known is not None and len(known):
            for start in range(0, len(points), _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                self.distances[rows] = cdist(points[rows], known).min(axis=1)

    def add(self, index: int) -> None:
        """Count a point as chosen."""
        apart = np.linalg.norm(self.points - self.points[index], axis=1)
        self.distances = np.minimum(self.distances, apart)


def farthest_points(
    points: Array, number: int, chosen: Sequence[int], known: Array | None = None
) -> list[int]:
    """Return chosen points and further ones, each farthest from all before it.

    Parameters
    ----------
    points
        Points, (n, d).
    number
        Points to return, at most n.
    chosen
        Points to begin with; not more than ``number`` of them are returned.
    known
        Points outside the choice from which those chosen shall be far, too, (k, d).

    Returns
    -------
    list of int
        Their indices in the order of choice; the first on ties.
    """
    found = list(chosen[:number])
    coverage = Coverage(points, known)
    is_free = np.ones(len(points), dtype=bool)
    for index in found:
        coverage.add(index)
    is_free[found] = False
    while len(found) < number:
        found.append(int(np.where(is_free, coverage.distances, -1.0).argmax()))
        coverage.add(found[-1])
        is_free[found[-1]] = False
    return found


def nearest_distances(points: Array, chosen: Sequence[int]) -> Array:
    """Return how far each point is from the nearest chosen one, inf without, (n,)."""
    return Coverage(points, points[list(chosen)]).distances


def random_choice(states: Numbers, number: int, minimum: int, seed: int) -> list[int]:
    """Choose frames at random, of each state not less than the minimum.

    Parameters
    ----------
    states
        State of each frame, (nf,).
    number, minimum
        As in :func:`shares`.
    seed
        Seed of the order of the frames.

    Returns
    -------
    list of int
        The chosen frames.

    Raises
    ------
    ConfigError
        If the minima add up to more than the number.
    """
    missing = lowest_shares(states, number, minimum)
    order = np.random.default_rng(seed).permutation(len(states))
    first: list[int] = []
    rest: list[int] = []
    for index in order.tolist():
        (first if missing[states[index]] > 0 else rest).append(index)
        missing[states[index]] -= 1
    return [*first, *rest][:number]
