# SPDX-License-Identifier: LGPL-3.0-or-later
"""Factors between spread and error: right where the truth is known."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from spin_dp.errors import ConfigError, DataError, ShapeError
from spin_dp.evaluation.calibration import (
    calibrate,
    calibration_table,
    coverage,
    fit,
    ratios,
    reliability_table,
)
from spin_dp.evaluation.reliability_plot import plot_reliability
from spin_dp.inference.calibration import (
    CALIBRATION_FILE,
    LEVELS,
    Calibration,
    find_calibration,
    nominal_factor,
    read_calibration,
    width,
)

N, GEOMETRIES = 4000, 40


@pytest.fixture(scope="module")
def normal():
    """Normal errors of known width, and spreads that are a third of it."""
    rng = np.random.default_rng(1)
    sigma = np.exp(rng.normal(0.0, 0.7, N))
    geometry = np.array([f"g{i % GEOMETRIES}" for i in range(N)])
    return sigma / 3.0, np.abs(rng.normal(0.0, sigma)), geometry


def samples(deviation, error, geometry):
    rows = pd.DataFrame(
        {
            "geometry": geometry,
            "frame": np.arange(len(error)) // 10,
            "deviation": deviation,
            "error": error,
        }
    )
    return dict.fromkeys(("energy", "gap", "force", "magnetic_force"), rows)


def test_factors_of_known_sigma():
    """One width for all: quantiles of the normal distribution, in sampling error."""
    rng = np.random.default_rng(7)
    error, spread = np.abs(rng.normal(0.0, 3.0, N)), np.ones(N)
    typical, factors = fit(spread, error, 4)
    assert typical == 1.0
    for share, exact in ((0.68, 0.9945), (0.95, 1.9600)):
        density = np.sqrt(2.0 / np.pi) * np.exp(-0.5 * exact**2)
        noise = 3.0 * np.sqrt(share * (1.0 - share) / N) / density
        assert factors[share] == pytest.approx(3.0 * exact, abs=4.0 * noise)


@pytest.mark.parametrize("n_models", [2, 4, 8])
def test_coverage_of_known_sigma(n_models):
    """Models drawn about the truth with a width that differs from row to row."""
    rng = np.random.default_rng(8)
    sigma = np.exp(rng.normal(0.0, 0.7, N))
    models = rng.normal(0.0, sigma, (n_models, N))
    geometry = np.arange(N) % GEOMETRIES
    spread, error = models.std(axis=0, ddof=1), np.abs(models[0])
    found = coverage(spread, error, geometry, n_models)
    for share in LEVELS:
        noise = np.sqrt(share * (1.0 - share) / N)
        assert found[share] == pytest.approx(share, abs=4.0 * noise)
    # The typical spread as that of one more model makes shorter intervals.
    typical, factors = fit(spread, error, n_models)
    with_it = factors[0.95] * width(spread, typical, n_models)
    plain = np.quantile(error / spread, 0.95) * spread
    assert with_it.mean() < (0.95 if n_models < 8 else 1.05) * plain.mean()


def test_coverage_leaves_each_geometry_out():
    """Against the plain way; geometries of unequal size and unequal errors."""
    rng = np.random.default_rng(2)
    geometry = np.repeat([f"g{i}" for i in range(9)], rng.integers(1, 30, 9))
    counts = np.unique(geometry, return_counts=True)[1]
    scale = np.repeat(rng.uniform(0.2, 5.0, 9), counts)
    deviation = rng.uniform(0.5, 2.0, len(geometry))
    error = np.abs(rng.normal(0.0, scale))
    found = coverage(deviation, error, geometry, 4)
    for share in LEVELS:
        inside = 0
        for name in np.unique(geometry):
            own = geometry == name
            typical, factors = fit(deviation[~own], error[~own], 4)
            half = factors[share] * width(deviation[own], typical, 4)
            inside += (error[own] <= half).sum()
        assert found[share] == pytest.approx(inside / len(geometry))


def test_coverage_is_honest_where_one_geometry_is_unlike_the_others():
    """Ten geometries of which one has larger errors: it is not covered."""
    geometry = np.repeat([f"g{i}" for i in range(10)], 20)
    error = np.where(geometry == "g9", 100.0, np.tile(np.linspace(0.1, 1.0, 20), 10))
    assert coverage(np.ones(200), error, geometry, 4)[0.95] == pytest.approx(0.9)
    assert fit(np.ones(200), error, 4)[1][0.95] == 100.0


def test_the_order_of_rows_does_not_count(normal):
    order = np.random.default_rng(3).permutation(N)
    deviation, error, geometry = (values[order] for values in normal)
    spreads, errors, names = normal
    typical, factors = fit(spreads, errors, 4)
    again, others = fit(deviation, error, 4)
    assert again == pytest.approx(typical)
    assert others == pytest.approx(factors)
    assert coverage(deviation, error, geometry, 4) == pytest.approx(
        coverage(spreads, errors, names, 4), abs=2.0 / N
    )


def test_widths():
    """The typical square counts as that of one model; zero by symmetry stays zero."""
    assert width(np.array([3.0]), 1.0, 4) == pytest.approx([np.sqrt(28.0) / 2.0])
    assert width(np.array([2.0]), 2.0, 2) == pytest.approx([2.0])
    assert width(np.array([1e-9]), 2.0, 2).tolist() == [0.0]


def test_forces_zero_by_symmetry_are_covered():
    found = ratios(np.zeros(2), np.array([1e-9, 0.1]), 1.0, 2)
    assert found == pytest.approx([0.0, 1e11])
    with pytest.raises(ShapeError, match=r"\(2,\), got \(3,\)"):
        ratios(np.zeros(2), np.zeros(3), 1.0, 2)


def test_nominal_factors_are_those_of_normal_errors():
    rng = np.random.default_rng(4)
    lengths = np.linalg.norm(rng.normal(size=(200_000, 3)), axis=1) / np.sqrt(3.0)
    for share in LEVELS:
        wanted = np.quantile(lengths, share) * np.sqrt(4.0 / 3.0)
        assert nominal_factor("force", share, 4) == pytest.approx(wanted, rel=0.01)
    assert nominal_factor("energy", 0.95, 4) == pytest.approx(1.95996, abs=1e-4)


def test_table_before_and_after(normal, tmp_path):
    found = samples(*normal)
    table = calibration_table(found, n_models=4).set_index("quantity")
    energy = table.loc["energy"]
    # A third of the true width holds P(|x| < 1/3) of normal errors.
    assert energy["coverage_68_before"] == pytest.approx(0.26, abs=0.03)
    assert energy["coverage_68"] == pytest.approx(0.68, abs=0.03)
    assert energy["coverage_95"] == pytest.approx(0.95, abs=0.015)
    assert 0.4 < energy["spearman"] < 0.8
    assert energy["unit"] == "meV/atom"
    factors = calibrate(found, [4.0, 3.0, 2.0, 1.0], frames=400)
    assert (factors.frames, factors.geometries) == (400, GEOMETRIES)
    other = calibration_table(samples(*(v[::2] for v in normal)), 4, factors)
    assert other["factor_68"].iloc[0] == factors.factors["energy"][0.68]
    assert other["coverage_68"].iloc[0] == pytest.approx(0.68, abs=0.04)
    reliability = reliability_table(found)
    of_energy = reliability[reliability["quantity"] == "energy"]
    assert of_energy["rows"].sum() == N
    np.testing.assert_allclose(of_energy["error"] / of_energy["deviation"], 3, rtol=0.2)
    picture = plot_reliability(tmp_path / "p.png", found, reliability, factors)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_spreads_that_say_nothing_have_no_correlation(normal):
    deviation, error, geometry = normal
    shuffled = np.random.default_rng(5).permutation(deviation)
    table = calibration_table(samples(shuffled, error, geometry), 4)
    assert abs(table["spearman"].iloc[0]) < 0.06
    constant = calibration_table(samples(np.ones(N), error, geometry), 4)
    assert np.isnan(constant["spearman"].iloc[0])


def test_limit_is_what_most_frames_stay_below(normal):
    deviation, _, _ = normal
    found = calibrate(samples(*normal), [1.0, 2.0], frames=N // 10).limits["force"]
    worst = deviation.reshape(-1, 10).max(axis=1)
    assert (worst <= found).mean() == pytest.approx(0.95, abs=0.005)


def test_too_few_geometries():
    few = samples(np.ones(12), np.ones(12), np.repeat(["a", "b", "c", "d"], 3))
    with pytest.raises(DataError, match="5 held-out geometries or more, got 4"):
        calibrate(few, [1.0, 2.0], frames=12)


def test_a_quantity_that_is_not_there_has_no_factor(normal):
    found = samples(*normal)
    found["gap"] = found["gap"][:0]
    factors = calibrate(found, [1.0, 2.0], frames=400)
    assert "gap" not in factors.factors
    table = calibration_table(found, 4).set_index("quantity")
    assert table["coverage_68"].isna()["gap"]
    assert len(reliability_table(found)["quantity"].unique()) == 3


FACTORS = Calibration(
    probes=[-2.0, -1.0],
    typical={"energy": 0.01},
    factors={"energy": {0.68: 1.5, 0.95: 4.0}},
    limits={"force": 0.4, "magnetic_force": 0.9},
    frames=44,
    geometries=16,
)


def test_file_is_read_back(tmp_path):
    FACTORS.write(tmp_path / CALIBRATION_FILE)
    assert read_calibration(tmp_path / CALIBRATION_FILE) == FACTORS
    assert [path.name for path in tmp_path.iterdir()] == [CALIBRATION_FILE]


def test_it_is_found_beside_its_models_only(tmp_path):
    models = [tmp_path / "run1" / "model.pth", tmp_path / "run2" / "model.pth"]
    for path in models:
        path.parent.mkdir()
    assert find_calibration(models, [-1.0, -2.0])[0] is None
    FACTORS.write(tmp_path / "run2" / CALIBRATION_FILE)
    assert find_calibration(models, [-1.0, -2.0 + 1e-6])[0] == FACTORS
    for others in ([-1.0], [-1.0, -2.1], [-1.0, -2.0, -3.0]):
        found, why = find_calibration(models, others)
        assert found is None
        assert why.endswith("belongs to other models")
        with pytest.raises(ConfigError, match="belongs to other models than these"):
            find_calibration(models, others, tmp_path / "run2")
    FACTORS.write(tmp_path / CALIBRATION_FILE)
    (tmp_path / "run2" / CALIBRATION_FILE).write_text("{")
    assert find_calibration(models, [-1.0, -2.0])[0] == FACTORS
    with pytest.raises(DataError, match=r"No such file.*--calibrate"):
        read_calibration(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"factors": {"energy": {"0.68": 1.0}}},
        {"factors": {"energy": {"0.68": -1.0, "0.95": 2.0}}},
        {"factors": {"energy": {"0.68": float("nan"), "0.95": 2.0}}},
        {
            "factors": {"colour": {"0.68": 1.0, "0.95": 2.0}},
            "typical": {"colour": 1.0},
        },
        {"factors": []},
        {"typical": {}},
        {"limits": {}},
        {"frames": None},
    ],
)
def test_damaged_files(tmp_path, change):
    path = tmp_path / CALIBRATION_FILE
    FACTORS.write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match="expected a calibration of an ensemble, got"):
        read_calibration(path)
