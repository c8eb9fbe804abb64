# SPDX-License-Identifier: LGPL-3.0-or-later
"""Clusters of moments, and the states that they are named."""

from __future__ import annotations

from itertools import product
from math import inf, isfinite, nan
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from spin_dp.data_tools.naming.cluster_names import (
    AMBIGUOUS_BELOW,
    ClusterOfFrame,
    name_clusters,
    prior,
    update,
)
from spin_dp.data_tools.naming.clusters import find_clusters
from spin_dp.spin_states.nominal import (
    NominalState,
    nominal_states,
    usual_moment,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


# --- clusters of moments


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("means", "sigma"), [((0.0, 1.8, 3.1), 0.05), ((2.6, 3.3), 0.1)]
)
def test_states_that_are_apart_become_clusters(
    means: tuple[float, ...], sigma: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    states = rng.integers(len(means), size=60)
    lengths = np.abs(np.array(means)[states] + rng.normal(size=60) * sigma)
    clusters = find_clusters(lengths)
    np.testing.assert_array_equal(clusters.assign(lengths), states)
    for low, edge, high in zip(
        clusters.means, clusters.boundaries, clusters.means[1:], strict=False
    ):
        assert low < edge < high
        assert lengths[lengths < edge].max() < edge < lengths[lengths > edge].min()
    found = [lengths[states == s].mean() for s in range(len(means))]
    np.testing.assert_allclose(clusters.means, found, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("mean", "sigma"), [(0.0, 0.05), (3.7, 0.08), (1.3, 0.15)])
def test_one_state_stays_one_cluster(mean: float, sigma: float, seed: int) -> None:
    lengths = np.abs(np.random.default_rng(seed).normal(mean, sigma, size=200))
    clusters = find_clusters(lengths, 0.08 if sigma < 0.1 else 0.2)
    assert len(clusters.means) == 1
    assert len(clusters.boundaries) == 0
    assert (clusters.margins(lengths) == inf).all()


@pytest.mark.parametrize("length", [0.0, 1e-7, 0.004, 0.006, 3.7])
@pytest.mark.parametrize("count", [1, 7])
def test_equal_moments_are_one_cluster(length: float, count: int) -> None:
    clusters = find_clusters(np.full(count, length))
    assert clusters.means == pytest.approx([length])
    assert (clusters.assign(np.full(count, length)) == 0).all()


def test_lonely_site_far_from_the_others_is_a_cluster_of_its_own() -> None:
    lengths = np.array([3.7] * 50 + [4.3])
    assert find_clusters(lengths).assign(lengths).tolist() == [0] * 50 + [1]


def test_margin_is_the_distance_to_the_nearest_boundary() -> None:
    clusters = find_clusters(np.array([1.0, 1.0, 3.0, 3.0]))
    assert clusters.boundaries == pytest.approx([2.0], abs=0.02)
    lengths = np.array([0.0, 1.5, 2.5, 9.0])
    expected = np.abs(lengths - clusters.boundaries[0])
    np.testing.assert_allclose(clusters.margins(lengths), expected)


def test_moments_of_exactly_zero_weigh_as_much_as_tiny_ones() -> None:
    """Half of the sites of a state lie at 0, the others at 0.3: are they parted?"""
    exact, tiny = (
        find_clusters(np.array([zero] * 5 + [0.3] * 10)) for zero in (0.0, 0.006)
    )
    np.testing.assert_allclose(exact.boundaries, tiny.boundaries, atol=0.011)


# --- naming a pattern of clusters


def own_cost(cluster: ClusterOfFrame, state: NominalState) -> float:
    of_state = prior(state)
    return ((cluster.moment - of_state.mean) / of_state.sigma) ** 2 + state.rarity


def all_namings(
    clusters: Sequence[ClusterOfFrame], ion_charge: float, total: float
) -> list[tuple[float, tuple[NominalState, ...]]]:
    """Cost of every way to name the clusters, by the formula of the module."""
    found = []
    candidates = [
        nominal_states(c.element, tetrahedral=c.tetrahedral) for c in clusters
    ]
    for states in product(*candidates):
        pairs = list(zip(clusters, states, strict=True))
        cost = sum(own_cost(c, s) for c, s in pairs)
        charge = sum(c.count * s.oxidation for c, s in pairs) + ion_charge
        cost += (charge / 0.35) ** 2
        if isfinite(total):
            moment = abs(sum(c.signed * s.unpaired for c, s in pairs))
            cost += ((moment - total) / 0.7) ** 2
        found.append((cost, states))
    return sorted(found, key=lambda way: way[0])


def random_cell(
    rng: np.random.Generator,
) -> tuple[list[ClusterOfFrame], float, float]:
    """Return clusters, ion charge and total moment near those of real states."""
    clusters, charge, total = [], 0, 0
    for count in rng.integers(1, 5, size=rng.integers(1, 4)):
        element, tetrahedral = str(rng.choice(["Mn", "Fe", "Co", "Ni"])), rng.random()
        states = nominal_states(element, tetrahedral=tetrahedral < 0.2)
        state = states[rng.integers(len(states))]
        moment = abs(usual_moment(state) + rng.normal() * 0.3)
        signed = int(rng.integers(-count, count + 1))
        clusters.append(
            ClusterOfFrame(element, tetrahedral < 0.2, moment, int(count), signed)
        )
        charge += int(count) * state.oxidation
        total += signed * state.unpaired
    known = abs(total) + rng.normal() * 0.3 if rng.random() < 0.7 else nan
    return clusters, -float(charge + rng.integers(2) * (rng.random() < 0.3)), known


@pytest.mark.parametrize("block", range(6))
def test_naming_is_the_best_of_all(block: int) -> None:
    for seed in range(100 * block, 100 * block + 100):
        clusters, charge, total = random_cell(np.random.default_rng(seed))
        ways = all_namings(clusters, charge, total)
        cost, best = ways[0]
        pairs = list(zip(clusters, best, strict=True))
        naming = name_clusters(clusters, charge, total, {})
        lead = ways[1][0] - cost  # hopeless states need not be weighed
        assert min(naming.lead, 20.0) == pytest.approx(min(lead, 20.0), abs=1e-9)
        if lead > 1e-9:
            assert naming.charge == charge + sum(
                c.count * s.oxidation for c, s in pairs
            )
        doubtful = {
            cluster.element
            for other, states in ways[1:]
            if other - cost < AMBIGUOUS_BELOW
            for (cluster, state), second in zip(pairs, states, strict=True)
            if state != second
        }
        doubtful |= {c.element for c, s in pairs if own_cost(c, s) > 16.0}
        assert naming.states == tuple(
            None if c.element in doubtful else s for c, s in pairs
        )


def cluster(element: str, moment: float, count: int = 1) -> ClusterOfFrame:
    return ClusterOfFrame(element, False, moment, count, count)


def names(*clusters: ClusterOfFrame, charge: float, **more: Any) -> list[str | None]:
    total = more.pop("total", nan)
    naming = name_clusters(clusters, charge, total, {}, **more)
    return [None if state is None else state.name for state in naming.states]


def test_total_moment_tells_states_apart_that_look_alike_in_the_sphere() -> None:
    """Co4+ with five and three unpaired electrons: 3.3 and 2.6 μB in the sphere."""
    assert names(cluster("Co", 2.95), charge=-4, total=5.0) == ["Co4+HS"]
    assert names(cluster("Co", 2.95), charge=-4, total=3.0) == ["Co4+IS"]


def test_charge_tells_oxidation_states_apart() -> None:
    assert names(cluster("Mn", 3.4), charge=-3, total=4.0) == ["Mn3+HS"]
    assert names(cluster("Mn", 3.4), charge=-4, total=3.0) == ["Mn4+"]
    mixed = names(cluster("Mn", 3.1), cluster("Ni", 1.7), charge=-6, total=5.0)
    assert mixed == ["Mn4+", "Ni2+"]


def test_held_total_that_the_states_do_not_give_leaves_sites_unnamed() -> None:
    """A moment of 1 cannot belong to Ni4+, which has 4, 2 or 0 unpaired electrons."""
    assert names(cluster("Ni", 1.3), charge=-4, total=2.0, is_held=True) == ["Ni4+IS"]
    assert names(cluster("Ni", 1.0), charge=-4, total=1.0, is_held=True) == [None]


def test_metals_and_elements_without_nominal_states_get_no_names() -> None:
    assert names(cluster("Fe", 2.4), charge=nan, total=2.2) == [None]
    pair = [cluster("Pt", 0.3), cluster("Mn", 3.7)]
    assert names(*pair, charge=-3) == [None, "Mn3+HS"]
    assert names(charge=-2) == []


def test_expected_moment_moves_from_the_prior_to_the_data() -> None:
    (state,) = [s for s in nominal_states("Co") if s.name == "Co3+HS"]
    before = prior(state)
    few, many = update(state, 1, 2.9, 0.0), update(state, 10_000, 2.9, 0.3)
    assert before.mean > few.mean > many.mean
    assert (many.mean, many.sigma) == pytest.approx((2.9, 0.3), abs=1e-3)
    assert few.mean == pytest.approx((2.9 + 4 * before.mean) / 5)  # prior: four sites
