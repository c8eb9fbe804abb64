# SPDX-License-Identifier: LGPL-3.0-or-later
"""Verdicts on residuals whose cause is known, and gaps between known energies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from spin_dp.report.statistics.diagnosis import diagnose, spin_labels
from spin_dp.report.statistics.gaps import (
    blind_floor,
    gap_table,
    hidden_solutions,
    state_gaps,
)
from spin_dp.report.statistics.residuals import Residuals
from spin_dp.report.verdicts import band_members, finding_table, summarise, verdict


def make_frames(energies, keys, geometries, **columns) -> pd.DataFrame:
    """Return frames of LiMnO2 with these energies per cell, eV."""
    n = len(energies)
    return pd.DataFrame(
        {
            "formula": "LiMnO2",
            "level": "PBE",
            "natoms": 4,
            "metals": 1.0,
            "energy": energies,
            "per_atom": np.asarray(energies) / 4,
            "key": keys,
            "geometry": geometries,
            "states": keys,
            "source": [f"run{i % 3}" for i in range(n)],
            "volume": np.linspace(9.0, 10.0, n)[
                np.random.default_rng(9).permutation(n)
            ],
            "constrained": "false",
            "energy_kind": "free_energy",
            "naming": "certain",
            "charge": 0.0,
            "total_moment": 4.0,
            "max_force": 1.0,
            "shortest": 1.9,
            **columns,
        }
    )


def two_states(n_geometries: int = 20, gap: float = 1.24) -> pd.DataFrame:
    """Return each geometry in two states, ``gap`` eV per cell apart."""
    rng = np.random.default_rng(0)
    base = -26.0 + 0.08 * rng.standard_normal(n_geometries)
    energies = np.concatenate(
        [base, base + gap + 0.02 * rng.standard_normal(len(base))]
    )
    names = [f"LiMnO2-{i:04d}" for i in range(n_geometries)]
    keys = ["Mn3+HS[1up]"] * n_geometries + ["Mn3+LS[1up]"] * n_geometries
    return make_frames(energies, keys, names * 2)


def residuals(values, reads_moments: bool | None = False) -> Residuals:
    return Residuals("model.pth", reads_moments, np.asarray(values, dtype=float))


def diagnose_blind(frames: pd.DataFrame, reads_moments: bool | None = False):
    """Diagnose a model that knows each geometry's mean energy and nothing more."""
    mean = frames.groupby("geometry")["per_atom"].transform("mean")
    values = 1000.0 * (mean - frames["per_atom"])
    found = residuals(values, reads_moments)
    return diagnose(frames, found, np.random.default_rng(0))


def test_spin_blind_model_shows_two_bands_of_the_gap() -> None:
    frames = two_states()
    found = diagnose_blind(frames)
    (finding,) = found.findings
    assert finding.outcome == "spin"
    assert finding.bands.distances == pytest.approx((310.0,), abs=10.0)  # 1.24 eV / 4
    assert finding.by_state is not None
    assert finding.by_state.share > 0.99
    # Equal predictions at equal positions: what is left is half the gap.
    assert finding.rmse == pytest.approx(155.0, abs=5.0)
    assert finding.floor == pytest.approx(finding.rmse)
    text = verdict(finding, reads_moments=False)
    assert text.startswith("two bands, 3")
    assert text.endswith("100 % within equal geometries: train with moments")
    assert "Mn3+LS[1up] (20)" in band_members(finding)[0]
    assert "Train with moments." in summarise(found)


def test_spin_aware_model_with_the_same_bands_gets_other_advice() -> None:
    (finding,) = diagnose_blind(two_states(), reads_moments=True).findings
    assert "the model reads moments but confuses these states" in verdict(finding, True)


def test_good_model_shows_no_second_band() -> None:
    frames = two_states()
    noise = np.random.default_rng(1).standard_normal(len(frames))
    found = diagnose(frames, residuals(noise, True), np.random.default_rng(0))
    assert found.findings[0].outcome == "none"
    assert summarise(found).startswith("model.pth: no second band in 1 formula")


def test_bands_of_another_cause_are_not_blamed_on_spin() -> None:
    frames = two_states()
    noise = 3.0 * np.random.default_rng(1).standard_normal(len(frames))
    frames["source"] = np.where(np.arange(len(frames)) % 3, "a/OUTCAR", "b/OUTCAR")
    values = noise + np.where(frames["source"] == "a/OUTCAR", 60.0, -60.0)
    found = diagnose(frames, residuals(values), np.random.default_rng(0))
    (finding,) = found.findings
    assert finding.outcome == "other"
    assert finding.other is not None
    assert finding.other[0] == "the source file"
    text = verdict(finding, reads_moments=False)
    assert "NOT explained by spin state" in text
    assert "look at the source file, which explains 100 %" in text
    assert "Bands NOT explained by spin state in 1 formula" in summarise(found)


def test_geometries_hide_the_states_of_a_composition_fit() -> None:
    """Two volumes far apart make the bands; the states differ within each."""
    frames = two_states(gap=0.2)
    far = np.tile(np.arange(20) % 2, 2) * 4.0
    frames["energy"] += far
    frames["per_atom"] = frames["energy"] / 4
    values = 1000.0 * (frames["per_atom"].mean() - frames["per_atom"])
    fit = diagnose(frames, residuals(values, None), np.random.default_rng(0))
    assert fit.findings[0].outcome == "geometry"
    assert "made by the geometries" in verdict(fit.findings[0], None)
    assert fit.findings[0].within is not None
    assert fit.findings[0].within.share > 0.95
    model = diagnose(frames, residuals(values, False), np.random.default_rng(0))
    assert model.findings[0].outcome == "other"


def test_overlapping_states_are_named() -> None:
    frames = two_states(gap=0.16)
    scatter = 25.0 * np.random.default_rng(2).standard_normal(20)
    shift = np.where(frames["key"] == "Mn3+HS[1up]", 20.0, -20.0)
    values = np.tile(scatter, 2) + shift
    found = diagnose(frames, residuals(values), np.random.default_rng(0))
    assert found.findings[0].outcome == "overlap"
    assert "overlapping bands in 1 of 1 formula;" in summarise(found)


def test_one_state_and_few_frames() -> None:
    frames = two_states().iloc[:20]
    values = np.repeat([0.0, 200.0], 10) + np.arange(20.0)
    found = diagnose(frames, residuals(values), np.random.default_rng(0))
    assert found.findings[0].outcome == "one state"
    assert "two bands, 210 meV/atom apart, all of one spin state" in verdict(
        found.findings[0], False
    )
    few = frames.iloc[:5]
    found = diagnose(few, residuals(values[:5]), np.random.default_rng(0))
    assert verdict(found.findings[0], False) == "too few frames to tell (5)"
    assert "too few for a test" in summarise(found)
    assert finding_table(found)["bands"].tolist() == [1]


def test_levels_are_diagnosed_apart() -> None:
    frames = pd.concat([two_states(), two_states().assign(level="SCAN")])
    frames = frames.reset_index(drop=True)
    offset = np.where(frames["level"] == "SCAN", 500.0, 0.0)
    noise = np.random.default_rng(1).standard_normal(len(frames))
    found = diagnose(frames, residuals(offset + noise), np.random.default_rng(0))
    assert [f.outcome for f in found.findings] == ["none", "none"]


def test_large_cells_are_told_apart_by_numbers_of_sites() -> None:
    frames = two_states()
    frames["key"] = [f"Mn3+HS[8up]#{i:05x}" for i in range(40)]
    assert spin_labels(frames).nunique() == 2


# Three geometries; energies per cell in eV, gaps by hand.
GAP_FRAMES = make_frames(
    [-26.0, -25.4, -26.1, -25.2, -25.19, -26.05, -24.0, -30.0],
    ["HS", "LS", "HS", "LS", "LS", "LS", "HS", "LS"],
    ["g0", "g0", "g1", "g1", "g1", "g2", "g3", "g0"],
    level=["PBE"] * 7 + ["SCAN"],
)


def test_gaps_of_equal_geometries_within_one_level() -> None:
    gaps = state_gaps(GAP_FRAMES)
    assert set(gaps["geometry"]) == {"g0", "g1"}
    above = gaps[~gaps["is_lowest"]]
    assert above["key"].tolist() == ["LS", "LS"]
    assert above["gap"].tolist() == pytest.approx([600.0, 900.0])
    table = gap_table(gaps).set_index("key")
    assert table.loc["HS", "lowest"] == 2
    assert table.loc["LS", "median"] == pytest.approx(750.0)


def test_gap_per_metal() -> None:
    two_metals = GAP_FRAMES.assign(metals=2.0)
    gaps = state_gaps(two_metals)
    assert gaps["gap_per_metal"].max() == pytest.approx(450.0)
    assert state_gaps(GAP_FRAMES.assign(metals=0.0))["gap_per_metal"].isna().all()


def test_one_state_with_two_energies_is_found() -> None:
    hidden = hidden_solutions(GAP_FRAMES)
    assert hidden["geometry"].tolist() == ["g1"]
    assert hidden["spread"].tolist() == pytest.approx([10.0])


def test_floor_is_what_a_constant_per_geometry_leaves() -> None:
    frames = make_frames([-26.0, -25.2, -27.0], ["a", "b", "a"], ["g0", "g0", "g1"])
    # 0.1 eV/atom above and below the mean of g0, nothing for g1.
    assert blind_floor(frames) == pytest.approx(100.0 * np.sqrt(2.0 / 3.0))
