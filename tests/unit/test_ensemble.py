# SPDX-License-Identifier: LGPL-3.0-or-later
"""Several models asked at once: exact spreads, one sentence where they do not fit."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from spin_dp import Ensemble, SpinDP, SpinDPCalculator, rank_states
from spin_dp.cli import main
from spin_dp.data_tools import Rules, collect
from spin_dp.errors import ConfigError, DataError, OutsideTrainingData, ShapeError
from spin_dp.evaluation.ensemble_test import run_ensemble_test
from spin_dp.inference.calibration import CALIBRATION_FILE, Calibration
from spin_dp.inference.deviation import deviation, spread, vector_spread
from tests.conftest import ROOT, STATES_INFO, TYPE_MAP

# Random weights agree on little.
pytestmark = pytest.mark.filterwarnings("ignore::spin_dp.errors.OutsideTrainingData")

MOMENTS = np.array([3.0, 0.0, 1.2, 0.0, -1.2, 0.0, 1.2, 0.0])
PATTERNS = np.array([MOMENTS, -0.5 * MOMENTS, np.abs(MOMENTS)])


@pytest.fixture(scope="module")
def paths(make_model, tmp_path_factory):
    """Three models that predict all moments, of other seeds."""
    import torch

    folder = tmp_path_factory.mktemp("ensemble")
    found = []
    for seed in (1, 2, 3):
        section = {
            "moment_net": {"neuron": [8], "seed": seed},
            "fitting_net": {"type": "ener", "neuron": [16, 16], "seed": seed},
            "spin": {"use_spin": ["Mn", "Co", "Ni", "O"]},
            "info": STATES_INFO,
        }
        found.append(folder / f"model{seed}.pth")
        torch.jit.save(torch.jit.script(make_model(section, seed=seed)), found[-1])
    return found


@pytest.fixture(scope="module")
def models(paths):
    return [SpinDP(path) for path in paths]


@pytest.fixture(scope="module")
def ensemble(models):
    return Ensemble(models)


@pytest.fixture(scope="module")
def several(paths):
    """One model of all files."""
    return SpinDP(paths)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """All frames of LiMnO2, none of them validation."""
    folder = tmp_path_factory.mktemp("frames") / "data"
    source = ROOT / "examples" / "gpaw" / "LiMnO2_4.extxyz"
    rules = Rules(stationary_moments=True)
    collect([source], folder, type_map=TYPE_MAP, rules=rules)
    return folder


def test_two_numbers():
    """Apart by d: d/sqrt(2) with n - 1, d/2 with n."""
    assert spread(np.array([1.0, 3.0])) == pytest.approx(np.sqrt(2.0))
    vectors = np.array([[[0.0, 0.0, 0.0]], [[3.0, 4.0, 0.0]]])
    assert deviation(vectors) == pytest.approx([2.5])
    assert vector_spread(vectors) == pytest.approx([5.0 / np.sqrt(2.0)])


def test_a_model_and_itself_do_not_differ(models, cell):
    found = Ensemble([models[0], models[0]]).evaluate_many(cell, PATTERNS)
    one = models[0].evaluate_many(cell, PATTERNS)
    np.testing.assert_array_equal(found.energy, one.energy)
    np.testing.assert_array_equal(found.prediction.forces, one.forces)
    for zero in (
        found.energy_spread,
        found.gaps()[1],
        found.force_deviation,
        found.magnetic_force_deviation,
        np.asarray(found.moment_spread),
        found.interval("energy", 0.95),
    ):
        assert not zero.any()


def test_two_models(models, cell):
    """Everything from what each says alone."""
    found = Ensemble(models[:2]).evaluate_many(cell, PATTERNS)
    moments = found.prediction.moments  # of the first model, for both
    a, b = (model.evaluate_many(cell, moments) for model in models[:2])
    assert found.prediction.energy.tolist() == a.energy.tolist()
    np.testing.assert_allclose(found.energy, (a.energy + b.energy) / 2)
    apart = a.energy - b.energy
    np.testing.assert_allclose(found.energy_spread, np.abs(apart) / np.sqrt(2))
    np.testing.assert_allclose(
        found.energy_spread_per_atom, np.abs(apart) / np.sqrt(2) / 8
    )
    np.testing.assert_allclose(found.energy_per_atom, found.energy / 8)
    means, spreads = found.gaps(1)
    np.testing.assert_allclose(spreads, np.abs(apart - apart[1]) / np.sqrt(2))
    np.testing.assert_allclose(means, found.energy - found.energy[1], atol=1e-12)
    assert spreads[1] == 0.0
    half = np.linalg.norm(a.forces - b.forces, axis=-1) / 2
    np.testing.assert_allclose(found.force_deviation, half)
    half = np.linalg.norm(a.magnetic_forces - b.magnetic_forces, axis=-1) / 2
    np.testing.assert_allclose(found.magnetic_force_deviation, half)
    np.testing.assert_allclose(found.forces, (a.forces + b.forces) / 2)


def test_spread_of_a_gap_is_not_a_difference_of_spreads(ensemble, models, cell):
    found = ensemble.evaluate_many(cell, PATTERNS)
    moments = found.prediction.moments
    energies = np.stack([m.evaluate_many(cell, moments).energy for m in models])
    expected = (energies - energies[:, :1]).std(axis=0, ddof=1)
    np.testing.assert_allclose(found.gaps()[1], expected, atol=1e-12)
    other = np.abs(found.energy_spread - found.energy_spread[0])
    assert not np.allclose(expected, other, rtol=1e-2)


def test_spread_of_predicted_moments(ensemble, models, cell):
    """Of oxygen, which nobody labelled; zero on metals, whose moments are given."""
    found = ensemble.evaluate(cell, MOMENTS)
    own = np.stack([m.evaluate(cell, MOMENTS).moments for m in models])
    expected = np.sqrt(((own - own.mean(0)) ** 2).sum(-1).sum(0) / 2)
    np.testing.assert_allclose(found.moment_spread, expected, atol=1e-12)
    assert (found.moment_spread[1::2] > 0).all()
    assert not found.moment_spread[::2].any()
    vectors = found.prediction.moments
    assert ensemble.evaluate(cell, vectors).moment_spread is None


def test_one_pattern_is_one_of_many(ensemble, cell):
    many = ensemble.evaluate_many(cell, PATTERNS)
    one = ensemble.evaluate(cell, PATTERNS[1])
    assert np.shape(one.energy_spread) == ()
    np.testing.assert_allclose(one.energy_spread, many.energy_spread[1], rtol=1e-9)
    np.testing.assert_allclose(one.force_deviation, many.force_deviation[1], rtol=1e-9)
    np.testing.assert_allclose(one.moment_spread, many.moment_spread[1], rtol=1e-9)


def test_names_of_states_are_labels(ensemble, cell):
    found = ensemble.evaluate(cell, "Mn=3+HS Ni=3+LS", order="FM")
    expected = ensemble.models[0].evaluate(cell, "Mn=3+HS Ni=3+LS", order="FM")
    assert found.prediction.energy == expected.energy
    assert found.moment_spread.all()


def test_order_of_models_and_atoms_does_not_count(ensemble, models, cell):
    found = ensemble.evaluate_many(cell, PATTERNS)
    turned = Ensemble(models[::-1])
    again = turned.evaluate_many(cell, found.prediction.moments)
    for name in ("energy_spread", "force_deviation", "magnetic_force_deviation"):
        np.testing.assert_allclose(
            getattr(again, name), getattr(found, name), rtol=1e-9, atol=1e-12
        )
    order = np.random.default_rng(0).permutation(8)
    shuffled = ensemble.evaluate_many(cell[order], found.prediction.moments[:, order])
    np.testing.assert_allclose(shuffled.energy_spread, found.energy_spread)
    np.testing.assert_allclose(
        shuffled.force_deviation, found.force_deviation[:, order], atol=1e-10
    )


def test_model_of_several_files(several, models, ensemble, cell):
    first = models[0].evaluate(cell, MOMENTS)
    assert several.evaluate(cell, MOMENTS).energy == first.energy
    found = several.uncertainty(cell, MOMENTS)
    expected = ensemble.evaluate(cell, MOMENTS)
    assert found.energy_spread == expected.energy_spread
    many = several.uncertainty_many(cell, PATTERNS)
    assert many.energies.shape == (3, 3)


def test_calculator(several, models, ensemble, cell):
    calculator = SpinDPCalculator(several, moments=MOMENTS)
    cell.calc = calculator
    expected = ensemble.evaluate(cell, MOMENTS)
    assert cell.get_potential_energy() == pytest.approx(expected.energies[0])
    results = calculator.results
    assert results["energy_spread"] == pytest.approx(float(expected.energy_spread))
    for name in ("force_deviation", "magnetic_force_deviation"):
        np.testing.assert_allclose(results[name], getattr(expected, name))
    alone = SpinDPCalculator(models[0], moments=MOMENTS)
    alone.calculate(cell)
    assert "force_deviation" not in alone.results


def test_ranking_has_the_spread_of_each_difference(several, models, cell):
    model = several
    states = {"Mn": ["3+HS", "3+LS"], "Ni": ["2+", "3+LS"]}
    table = rank_states(cell, model, states=states, any_charge=True)
    single = rank_states(cell, models[0], states=states, any_charge=True)
    spreads = table["above_lowest_spread"]
    assert single["above_lowest_spread"].isna().all()
    pd.testing.assert_frame_equal(
        table.drop(columns=["above_lowest_spread", "above_lowest_interval"]),
        single.drop(columns=["above_lowest_spread", "above_lowest_interval"]),
    )
    energies = np.stack(
        [
            m.evaluate_many(cell, np.stack(table["moments"].tolist())).energy
            for m in model.ensemble.models
        ]
    )
    above = 1000.0 * (energies - energies[:, :1])
    np.testing.assert_allclose(spreads, above.std(axis=0, ddof=1), atol=1e-6)
    assert spreads[0] == 0.0
    assert (spreads[1:] > 0.0).all()
    assert "not calibrated: there is no calibration.json" in table.attrs["interval"]


def test_what_they_do_not_know_is_said_once(models, ensemble, cell, tmp_path):
    """Which atom, how much, what to do; each quantity once."""
    limits = {"force": 1e-3, "magnetic_force": 1e-4}
    probes = sorted(ensemble.probe_energies())
    Calibration(probes, {}, {}, limits).write(tmp_path / CALIBRATION_FILE)
    strict = Ensemble(models, calibration=tmp_path)
    with pytest.warns(OutsideTrainingData) as said:
        found = strict.evaluate(cell, MOMENTS)
    assert len(said) == 2
    for warning, name, unit, deviations in zip(
        said,
        ("forces", "magnetic forces"),
        ("eV/Å", "eV/μB"),
        (found.force_deviation, found.magnetic_force_deviation),
        strict=True,
    ):
        sentence = str(warning.message)
        atom = int(deviations.argmax())
        assert sentence.startswith(f"{name} of the 3 models deviate by ")
        assert f"{deviations.max():.2f} {unit} at atom {atom} " in sentence
        assert f"({cell.symbols[atom]}), more than 0.00" in sentence
        assert "run DFT on it and train with it" in sentence
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        strict.evaluate(cell, MOMENTS)


def test_calibration_scales_what_is_stated(paths, models, ensemble, cell, tmp_path):
    factors = Calibration(
        probes=sorted(ensemble.probe_energies()),
        typical={"energy": 0.5, "gap": 0.2},
        factors={
            "energy": {0.68: 2.5, 0.95: 7.0},
            "gap": {0.68: 3.0, 0.95: 8.0},
        },
        limits={"force": 1e3, "magnetic_force": 1e3},
        frames=44,
        geometries=16,
    )
    path = tmp_path / CALIBRATION_FILE
    factors.write(path)
    made = Ensemble(models, calibration=path)
    found = made.evaluate_many(cell, PATTERNS)  # no warning: limits are its own
    # Of three models, with the typical spread as that of a fourth.
    per_atom = np.sqrt((0.5**2 + 2.0 * (found.energy_spread / 8) ** 2) / 3.0)
    assert found.interval("energy") == pytest.approx(2.5 * 8 * per_atom)
    assert found.interval("energy", 0.95) == pytest.approx(7.0 * 8 * per_atom)
    gaps = np.sqrt((0.2**2 + 2.0 * found.gaps(1)[1] ** 2) / 3.0)
    gaps[1] = 0.0
    assert found.gap_interval(1, 0.95) == pytest.approx(8.0 * gaps)
    assert found.describe() == (
        "the 68 % interval, calibrated on 44 held-out frames of 16 geometries"
    )
    assert not found.is_calibrated("force")
    assert "not calibrated" in found.describe("force")
    table = rank_states(
        cell,
        SpinDP(paths[::-1], calibration=tmp_path),
        ["Mn"],
        moments="Ni=2+",
        any_charge=True,
    )
    spreads = table["above_lowest_spread"].to_numpy() / 1000.0
    gaps = np.where(spreads > 0.0, np.sqrt((0.2**2 + 2.0 * spreads**2) / 3.0), 0.0)
    assert table["above_lowest_interval"].to_numpy() == pytest.approx(3000.0 * gaps)
    with pytest.raises(ConfigError, match="belongs to other models than these 2"):
        Ensemble(models[:2], calibration=path)


def test_forms_of_a_model_have_one_probe_energy(predicting_model, tmp_path):
    from spin_dp.deployment import compress

    fast = tmp_path / "fast.pth"
    compress(predicting_model, fast)
    assert np.ptp(Ensemble([predicting_model, fast]).probe_energies()) < 1e-4


def test_models_that_do_not_go_together(paths, make_model, tmp_path):
    import torch

    other = tmp_path / "other.pth"
    section = {"spin": {"use_spin": ["Mn", "Ni"]}}
    torch.jit.save(torch.jit.script(make_model(section)), other)
    with pytest.raises(ConfigError, match=r"moments of Mn, Co, Ni, O, .*of Mn, Ni;"):
        Ensemble([paths[0], other])
    model = make_model()
    model.atomic_model.type_map = TYPE_MAP[::-1]
    turned = tmp_path / "turned.pth"
    torch.jit.save(torch.jit.script(model), turned)
    with pytest.raises(ConfigError, match="give models trained on the same data"):
        SpinDP([paths[0], turned])
    with pytest.raises(DataError, match="no such model file"):
        SpinDP([paths[0], tmp_path / "none.pth"])


def test_one_model_is_no_ensemble(paths, models, cell):
    wrong: tuple[Any, ...] = (paths[:1], paths[0], models[0], [])
    for given in wrong:
        with pytest.raises(ConfigError, match="expected two models or more, got"):
            Ensemble(given)
    with pytest.raises(ConfigError, match="is one model, and an uncertainty needs"):
        models[0].uncertainty(cell, MOMENTS)
    with pytest.raises(ConfigError, match="got none"):
        SpinDP([])
    with pytest.raises(ConfigError, match="is that of an ensemble, got one model"):
        SpinDP(paths[0], calibration="calibration.json")


def test_patterns_that_do_not_fit(ensemble, cell):
    with pytest.raises(ShapeError, match="evaluate_many takes many"):
        ensemble.evaluate(cell, PATTERNS)
    with pytest.raises(ShapeError, match=r"got \(3, 7\)"):
        ensemble.evaluate_many(cell, PATTERNS[:, :7])


def test_samples_are_those_of_the_predictions(models, frames):
    result = run_ensemble_test(models, frames)
    energies = result.test.frames[[f"energy_model{i}" for i in (1, 2, 3)]].to_numpy()
    table = result.test.frames
    n = len(table)
    sample = result.samples["energy"]
    errors = (energies - table[["energy"]].to_numpy()) / table[["natoms"]].to_numpy()
    np.testing.assert_allclose(sample["error"], np.abs(errors).T.ravel())
    deviations = energies.std(axis=1, ddof=1) / table["natoms"]
    np.testing.assert_allclose(sample["deviation"][:n], deviations)
    assert (sample["geometry"][:n] == table["geometry"]).all()
    np.testing.assert_allclose(table["energy_mean"], energies.mean(axis=1))
    assert len(result.samples["force"]) == 3 * table["natoms"].sum()
    # One Mn a frame; symmetry makes its magnetic force zero where it has no moment.
    magnetic = ~table["held"] & (table["moment"] > 1e-6)
    assert len(result.samples["magnetic_force"]) == 3 * magnetic.sum()
    rms = 1000 * np.sqrt((errors**2).mean(axis=0))
    np.testing.assert_allclose(result.errors["energy"][:3], rms)


def test_calibrating_from_the_command_line(paths, models, frames, tmp_path, capsys):
    """Tables, picture and factors, and what uses them."""
    many = [word for path in paths[:2] for word in ("-m", str(path))]
    out = tmp_path / "calibrated"
    assert main(["test", *many, str(frames), "--calibrate", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "spread of the models against their error" in shown
    assert "mean of 2" in shown
    assert {path.name for path in out.iterdir()} == {
        "calibration.json",
        "calibration.csv",
        "reliability.csv",
        "reliability.png",
    }
    stated = json.loads((out / CALIBRATION_FILE).read_text())
    table = pd.read_csv(out / "calibration.csv").set_index("quantity")
    assert stated["factors"]["gap"]["0.68"] == pytest.approx(
        table.loc["gap", "factor_68"], abs=1e-6
    )
    # Tested on its own frames it holds what was asked for.
    again = run_ensemble_test(models[:2], frames, calibration=out).table
    assert again["coverage_95"][0] >= 0.95
    assert again["factor_95"][0] == stated["factors"]["energy"]["0.95"]
    structure = str(ROOT / "examples" / "gpaw" / "LiMnO2_8.extxyz")
    csv = tmp_path / "states.csv"
    arguments = ["states", structure, *many, "--states", "Mn=3+HS,3+LS"]
    arguments += ["--calibration", str(out / CALIBRATION_FILE)]
    assert main([*arguments, "-o", str(csv)]) == 0
    shown = capsys.readouterr().out
    assert "0.0 ± 0.0" in shown
    assert "calibrated on" in shown
    assert pd.read_csv(csv)["above_lowest_interval"].notna().all()


def test_what_cannot_be_calibrated(paths, frames, collected, tmp_path, capsys):
    many = [word for path in paths[:2] for word in ("-m", str(path))]
    out = ["--calibrate", str(tmp_path / "out")]
    for arguments, sentence in (
        (["-m", str(paths[0]), str(frames), *out], "expected an ensemble, got one"),
        ([*many, str(collected), "--split", "all", *out], "expected held-out frames"),
        ([*many, str(collected), *out], "5 held-out geometries or more, got"),
        (
            [*many, str(frames), "--calibration", str(tmp_path / "no.json")],
            "cannot be read",
        ),
    ):
        assert main(["test", *arguments]) != 0
        assert sentence in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())
