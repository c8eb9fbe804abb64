# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which nominal states the clusters of moments are.

One composition with one pattern of clusters is named as a whole. Of all ways to give a
state to each of its clusters the best is the one of least cost

    sum over clusters ((m - m_state) / s_state)^2    moments
    + ((q_states + q_ions) / 0.35 e)^2               charge neutrality
    + ((M_states - M_cell) / 0.7 μB)^2               total moment of the cell
    + the rarity of each state                        intermediate spin and the like

with m the mean moment of the cluster and M_states the sum of the signed numbers of
unpaired electrons. The total moment tells states apart that look alike inside the
atomic sphere (Co4+ with five or three unpaired electrons has 3.3 or 2.6 μB there).
Expected moments start at the usual ones; then the data say them. Where a site of an
element stays in doubt, no site of that element is named: names come from all or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING

from spin_dp.spin_states.nominal import (
    NominalState,
    has_nominal_states,
    nominal_states,
    usual_moment,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CHARGE_SIGMA_E = 0.35
_TOTAL_SIGMA_MUB = 0.7
_PRIOR_SITES = 4.0
AMBIGUOUS_BELOW = 2.0
"""Difference of cost to the next best naming below which a name is in doubt."""
_MOST_WAYS = 6
_WORST_CLUSTER = 16.0
_HOPELESS = 40.0  # over the best state of the cluster: more than two charges off cost
_TOTAL_SLACK_MUB = 0.7  # metallic cells have no whole moment
_TOTAL_SLACK_PER_SITE_MUB = 0.1


@dataclass(frozen=True)
class ClusterOfFrame:
    """The sites of one frame (or of equal frames) that lie in one cluster.

    Attributes
    ----------
    element
        Chemical symbol.
    tetrahedral
        Whether four anions surround them.
    moment
        Their mean length, μB.
    count
        How many they are.
    signed
        Number of those along the axis less that of those against it.
    """

    element: str
    tetrahedral: bool
    moment: float
    count: int
    signed: int


@dataclass(frozen=True)
class Expected:
    """Expected length of the moment in a state: mean and standard deviation, μB."""

    mean: float
    sigma: float


@dataclass(frozen=True)
class Naming:
    """The states of the clusters of one pattern.

    Attributes
    ----------
    states
        State of each cluster; None where there is no nominal one or it is in doubt.
    lead
        Cost of the next best naming less that of this one; inf without alternatives.
    charge
        Charge of the cell with these states, e; nan where it cannot be balanced.
    """

    states: tuple[NominalState | None, ...]
    lead: float
    charge: float


_Way = tuple[float, tuple[NominalState, ...]]  # cost so far, states so far


def name_clusters(
    clusters: Sequence[ClusterOfFrame],
    ion_charge: float,
    total_moment: float,
    expected: Mapping[NominalState, Expected],
    *,
    is_held: bool = False,
) -> Naming:
    """Find the nominal states of the clusters of one pattern.

    Parameters
    ----------
    clusters
        All clusters of a frame.
    ion_charge
        Charge of the atoms other than Ti to Cu, e; nan for a metal, which gets no
        names.
    total_moment
        Length of the moment of the cell, μB; nan if not known.
    expected
        Moments of states as found in the data, see :func:`prior` for the others.
    is_held
        Whether the total moment was given to the calculation. It then belongs to the
        state: sites whose states do not add up to it get no names.

    Returns
    -------
    Naming
        States with the least cost.
    """
    named = [i for i, c in enumerate(clusters) if has_nominal_states(c.element)]
    if not named or not isfinite(ion_charge):
        return Naming((None,) * len(clusters), float("inf"), float("nan"))
    if len(named) < len(clusters):
        total_moment = float("nan")  # other metals take part in it
    ways: dict[tuple[int, int], list[_Way]] = {(0, 0): [(0.0, ())]}
    for index in named:
        ways = _extended(ways, clusters[index], expected)
    ranked = sorted(
        (
            (cost + _cell_cost(*sums, ion_charge, total_moment), states)
            for sums, found in ways.items()
            for cost, states in found
        ),
        key=lambda way: way[0],
    )
    best = ranked[0][1]
    doubtful = _doubtful(ranked)
    if is_held:
        doubtful |= _contradicted([clusters[i] for i in named], best, total_moment)
    doubtful |= {
        place
        for place, index in enumerate(named)
        if _cluster_cost(clusters[index], best[place], expected) > _WORST_CLUSTER
    }
    in_doubt = {clusters[named[place]].element for place in doubtful}
    states: list[NominalState | None] = [None] * len(clusters)
    for place, index in enumerate(named):
        if clusters[index].element not in in_doubt:
            states[index] = best[place]
    charge = ion_charge + sum(
        clusters[index].count * state.oxidation
        for index, state in zip(named, best, strict=True)
    )
    lead = ranked[1][0] - ranked[0][0] if len(ranked) > 1 else float("inf")
    return Naming(tuple(states), lead, charge)


def _extended(
    ways: dict[tuple[int, int], list[_Way]],
    cluster: ClusterOfFrame,
    expected: Mapping[NominalState, Expected],
) -> dict[tuple[int, int], list[_Way]]:
    """Add a cluster; of ways with equal charge and moment only the best ones count."""
    extended: dict[tuple[int, int], list[_Way]] = {}
    for state, own in _candidates(cluster, expected):
        for (charge, moment), found in ways.items():
            sums = (
                charge + cluster.count * state.oxidation,
                moment + cluster.signed * state.unpaired,
            )
            extended.setdefault(sums, []).extend(
                (cost + own, (*states, state)) for cost, states in found
            )
    return {sums: _best(found) for sums, found in extended.items()}


def _candidates(
    cluster: ClusterOfFrame, expected: Mapping[NominalState, Expected]
) -> list[tuple[NominalState, float]]:
    """Return the states that a cluster may be in, with their costs."""
    states = nominal_states(cluster.element, tetrahedral=cluster.tetrahedral)
    costs = [_cluster_cost(cluster, state, expected) for state in states]
    limit = min(costs) + _HOPELESS
    return [pair for pair in zip(states, costs, strict=True) if pair[1] <= limit]


def _best(ways: Sequence[_Way]) -> list[_Way]:
    """Return the two best ways and a few that cast doubt on the best one too."""
    ranked = sorted(ways, key=lambda way: way[0])[:_MOST_WAYS]
    limit = ranked[0][0] + AMBIGUOUS_BELOW
    return [way for n, way in enumerate(ranked) if n < 2 or way[0] < limit]


def _cluster_cost(
    cluster: ClusterOfFrame,
    state: NominalState,
    expected: Mapping[NominalState, Expected],
) -> float:
    """Return the cost of a mean moment; deviations of the sites are not independent."""
    of_state = expected.get(state) or prior(state)
    cost = ((cluster.moment - of_state.mean) / of_state.sigma) ** 2
    return cost + state.rarity


def _cell_cost(
    charge: int, moment: int, ion_charge: float, total_moment: float
) -> float:
    cost = ((charge + ion_charge) / _CHARGE_SIGMA_E) ** 2
    if isfinite(total_moment):
        cost += ((abs(moment) - total_moment) / _TOTAL_SIGMA_MUB) ** 2
    return cost


def _doubtful(ranked: Sequence[_Way]) -> set[int]:
    """Return the clusters that have another state in a naming nearly as good."""
    best_cost, best = ranked[0]
    return {
        place
        for cost, states in ranked[1:]
        if cost - best_cost < AMBIGUOUS_BELOW
        for place, (a, b) in enumerate(zip(best, states, strict=True))
        if a != b
    }


def _contradicted(
    clusters: Sequence[ClusterOfFrame],
    states: Sequence[NominalState],
    total_moment: float,
) -> set[int]:
    """Return the clusters with moments if theirs do not add up to that of the cell."""
    pairs = list(zip(clusters, states, strict=True))
    moment = abs(sum(cluster.signed * state.unpaired for cluster, state in pairs))
    slack = _TOTAL_SLACK_MUB + _TOTAL_SLACK_PER_SITE_MUB * sum(
        c.count for c in clusters
    )
    if not abs(moment - total_moment) > slack:  # also where it is not known
        return set()
    return {i for i, (_, state) in enumerate(pairs) if state.unpaired}


@cache
def prior(state: NominalState) -> Expected:
    """Return the moment expected of a state before any data are seen."""
    return Expected(usual_moment(state), 0.25 + 0.08 * state.unpaired)


def update(state: NominalState, count: int, mean: float, std: float) -> Expected:
    """Return the moment expected of a state after its sites have been seen.

    Parameters
    ----------
    state
        The state.
    count, mean, std
        Number of its sites, mean and standard deviation of their lengths, μB.

    Returns
    -------
    Expected
        Mean of data and prior, which counts as four sites; the standard deviation
        falls from that of the prior towards that of the data, at least 0.15 μB.
    """
    before = prior(state)
    share = count / (count + _PRIOR_SITES)
    sigma = share * max(std, 0.15) + (1.0 - share) * before.sigma
    return Expected(share * mean + (1.0 - share) * before.mean, sigma)
