# SPDX-License-Identifier: LGPL-3.0-or-later
"""The statistics of the report: bands, explained variance."""

from __future__ import annotations

import numpy as np
import pytest

from spin_dp.report.statistics.bands import dip, dip_p_value, find_bands
from spin_dp.report.statistics.effects import effect, pooled

# Quantiles of the dip of uniform samples: table qDiptab of M. Maechler's R package
# diptest 0.77, from a million samples of each size.
QUANTILES = {
    (10, 0.5): 0.0978,
    (10, 0.99): 0.1597,
    (50, 0.5): 0.0489,
    (50, 0.99): 0.0812,
    (200, 0.95): 0.0368,
    (1000, 0.99): 0.0196,
}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0, 1, 1], 0.25),  # two points: half of the smaller weight
        ([0, 0, 0, 1], 0.125),
        (range(10), 0.05),  # evenly spaced: 1/(2n), the least there is
        ([3, 3, 3], 1 / 6),
    ],
)
def test_dip_of_known_samples(values, expected) -> None:
    assert dip(np.array(values, dtype=float)) == pytest.approx(expected)


def test_dip_does_not_depend_on_scale_and_direction() -> None:
    values = np.random.default_rng(3).gamma(2.0, size=60)
    for other in (7.0 - values, 1e-3 * values, values[::-1] + 5.0):
        assert dip(other) == pytest.approx(dip(values), abs=1e-9)


@pytest.mark.parametrize(("n", "share"), list(QUANTILES))
def test_p_values_match_the_published_table(n: int, share: float) -> None:
    p = dip_p_value(QUANTILES[n, share], n)
    sigma = np.sqrt(share * (1.0 - share) / 999.0)
    assert abs(p - (1.0 - share)) < 5.0 * sigma


def test_three_numbers_say_nothing() -> None:
    assert dip_p_value(dip(np.array([0.0, 1.0, 1.0])), 3) == 1.0


@pytest.mark.parametrize("n", [24, 400])
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.standard_normal(n),
        lambda rng, n: rng.random(n),
        lambda rng, n: rng.standard_exponential(n),
        lambda rng, n: rng.standard_t(5, n),
    ],
    ids=["normal", "uniform", "exponential", "t5"],
)
def test_one_band_is_left_whole(draw, n: int) -> None:
    rng = np.random.default_rng(0)
    bands = [len(find_bands(draw(rng, n), 0.0).centres) for _ in range(100)]
    assert sum(number > 1 for number in bands) <= 12  # 8 % and three sigma of 100


@pytest.mark.parametrize(
    "parts",
    [
        [(-150.0, 60), (160.0, 55)],
        [(-160.0, 8), (0.0, 5), (110.0, 10)],
        [(0.0, 95), (400.0, 5)],
        [(0.0, 20), (200.0, 20), (500.0, 10), (900.0, 30)],
    ],
    ids=["two", "three of few", "rare one", "four"],
)
def test_bands_are_found_where_they_were_put(parts) -> None:
    rng = np.random.default_rng(5)
    values = np.concatenate([c + 12.0 * rng.standard_normal(n) for c, n in parts])
    shuffled = rng.permutation(len(values))
    bands = find_bands(values[shuffled], 2.0)
    assert bands.centres == pytest.approx([c for c, _ in parts], abs=20.0)
    truth = np.repeat(np.arange(len(parts)), [n for _, n in parts])[shuffled]
    np.testing.assert_array_equal(bands.members, truth)


def test_bands_too_close_to_matter_are_one() -> None:
    values = np.repeat([0.0, 1.0], 30) + 1e-3 * np.arange(60)
    assert len(find_bands(values, 0.5).centres) == 2
    assert len(find_bands(values, 2.0).centres) == 1
    assert find_bands(np.full(20, 3.0), 0.0).centres == (3.0,)


def test_share_of_a_textbook_table() -> None:
    """Check sums of squares by hand: groups 1,2,3 and 4,5,6 and 7,8,9."""
    values = np.arange(1.0, 10.0)
    labels = np.repeat(["a", "b", "c"], 3)
    found = effect(values, labels, rng=np.random.default_rng(0))
    assert found.total == pytest.approx(60.0)
    assert found.explained == pytest.approx(54.0)
    # epsilon squared = 1 - (6/6) / (60/8)
    assert found.share == pytest.approx(1.0 - 1.0 / 7.5)
    assert found.p_value <= 0.02


def test_many_meaningless_groups_explain_nothing() -> None:
    rng = np.random.default_rng(1)
    values, labels = rng.standard_normal(60), rng.integers(0, 20, (200, 60))
    found = [effect(values, row, rng=rng) for row in labels[:60]]
    raw = np.mean([f.explained / f.total for f in found])
    assert raw > 0.25  # eta squared is fooled
    corrected = [
        1 - (f.total - f.explained) / (f.df_total - f.df_explained) * 59 / f.total
        for f in found
    ]
    assert abs(np.mean(corrected)) < 0.03
    assert np.mean([f.p_value <= 0.05 for f in found]) < 0.15


def test_equal_geometries_are_compared_with_themselves_only() -> None:
    rng = np.random.default_rng(2)
    geometry = np.repeat(np.arange(12), 3)
    state = np.array(["low", "high", "none"] * 12)
    shift = np.array([0.0, 1.0, 3.0] * 12)
    values = 100.0 * rng.standard_normal(12)[geometry] + shift
    whole = effect(values, state, rng=rng)
    within = effect(values, state, geometry, rng=rng)
    assert whole.share < 0.1
    assert within.share == pytest.approx(1.0)
    assert within.p_value == pytest.approx(1 / 500)
    assert within.df_total == 24


def test_additive_effect_with_states_missing() -> None:
    """Each geometry has other states, so that plain group means would be wrong."""
    height = {"a": 0.0, "b": 10.0, "c": 50.0}
    pairs = [("a", "b"), ("b", "c"), ("a", "c"), ("a", "b"), ("b", "c")]
    state = np.array([name for pair in pairs for name in pair])
    geometry = np.repeat(np.arange(len(pairs)), 2)
    values = np.array([height[name] for name in state]) - 7.0 * geometry
    found = effect(values, state, geometry, rng=np.random.default_rng(0))
    assert found.explained == pytest.approx(found.total)
    assert found.df_explained == 2


def test_pooling_adds_sums_of_squares() -> None:
    rng = np.random.default_rng(0)
    one = effect(np.arange(1.0, 10.0), np.repeat([0, 1, 2], 3), rng=rng)
    both = pooled([one, one])
    assert both is not None
    assert (both.n, both.df_total, both.df_explained) == (18, 16, 4)
    assert both.share == pytest.approx(one.share)
    assert pooled([]) is None


def test_nothing_to_compare_gives_nan() -> None:
    rng = np.random.default_rng(0)
    values = np.arange(6.0)
    assert np.isnan(effect(values, np.arange(6), rng=rng).share)
    assert np.isnan(effect(values, np.zeros(6), rng=rng).share)
    assert np.isnan(effect(np.zeros(6), [0, 0, 0, 1, 1, 1], rng=rng).share)
