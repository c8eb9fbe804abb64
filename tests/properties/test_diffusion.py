# SPDX-License-Identifier: LGPL-3.0-or-later
"""Diffusion of walkers that are known exactly, and of runs that are too short."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase import Atoms, units
from ase.build import bulk

from spin_dp.errors import ConfigError, DataError
from spin_dp.properties.diffusion import (
    Displacements,
    fit_arrhenius,
    measure_diffusion,
    read_displacements,
)
from spin_dp.properties.diffusion.jumps import (
    count_jumps,
    jumps_needed,
    relative_deviation,
)
from spin_dp.properties.diffusion.slopes import MeanSquare, slope_samples

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from spin_dp.properties.diffusion import Arrhenius, Diffusion

    Floats = NDArray[np.float64]

pytest.importorskip("kinisi")

HOP, INTERVAL, SHARE = 2.9, 0.1, 0.02
EXACT = SHARE * HOP**2 / (6.0 * INTERVAL)  # Å²/ps, of jumps along the axes of a lattice
EXACT_UNIT = 100.0 * EXACT  # 1e-6 cm²/s


def lattice_walk(
    frames: int, ions: int, *, seed: int = 1, share: float = SHARE, tremble: float = 0.2
) -> Floats:
    """Return ways of ions that jump along the axes, (frames, ions, 3), Å."""
    random = np.random.default_rng(seed)
    jumps = np.zeros((frames, ions, 3))
    ways = random.choice([-HOP, HOP], (frames, ions))
    ways *= random.random((frames, ions)) < share
    axes = random.integers(0, 3, (frames, ions, 1))
    np.put_along_axis(jumps, axes, ways[..., None], axis=2)
    trembling = tremble * random.standard_normal((frames, ions, 3))
    return np.asarray(jumps.cumsum(axis=0) + trembling)


def walkers(ways: Floats, **others: object) -> Displacements:
    facts: dict[str, object] = {
        "run": "walk",
        "element": "Li",
        "interval": INTERVAL,
        "drift": 0.0,
        "temperature": 800.0,
        "volume": 1000.0,
        "hop": HOP,
        "formula": "Li16Co32O64",
        "atoms": 112,
        "label_mode": "held",
    }
    return Displacements(ways=ways, **(facts | others))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def walk() -> Diffusion:
    return measure_diffusion(walkers(lattice_walk(3000, 16, seed=2)))


@pytest.fixture(scope="module")
def short_walk() -> Diffusion:
    return measure_diffusion(walkers(lattice_walk(400, 8)))


def test_lattice_walk_has_its_exact_diffusivity(walk: Diffusion) -> None:
    low, high = walk.intervals["diffusivity"]
    assert low < EXACT_UNIT < high
    assert high - low < 0.6 * EXACT_UNIT
    low, high = walk.intervals["charge_diffusivity"]
    assert low < EXACT_UNIT < high
    assert walk.regime == "diffusive"
    assert walk.exponent == pytest.approx(1.0, abs=0.2)
    np.testing.assert_allclose(walk.directions, 1.0 / 3.0, atol=0.08)


def test_haven_ratio_of_independent_walkers_is_one(walk: Diffusion) -> None:
    low, high = walk.intervals["haven_ratio"]
    assert low < 1.0 < high
    assert high - low < 1.5


def test_conductivity_is_that_of_nernst_and_einstein(
    walk: Diffusion, short_walk: Diffusion
) -> None:
    charge = units.C**-1  # of an electron, C
    diffusivity = walk.charge_diffusivity * 1e-6 * 1e-4  # m²/s
    density = 16 / (1000.0 * 1e-30)
    kelvin = 800.0 * units.kB / units.J  # J
    siemens = density * charge**2 * diffusivity / kelvin  # S/m
    assert walk.conductivity == pytest.approx(10.0 * siemens, rel=1e-4)
    double = measure_diffusion(walkers(lattice_walk(400, 8)), charge=2.0)
    assert double.conductivity == pytest.approx(4.0 * short_walk.conductivity)


def test_haven_ratio_of_ions_that_go_together_is_one_over_their_number() -> None:
    one = lattice_walk(3000, 1, tremble=0.0)
    found = measure_diffusion(walkers(np.repeat(one, 8, axis=1)))
    low, high = found.intervals["haven_ratio"]
    assert low < 1.0 / 8.0 < high
    assert high < 0.4


def test_same_seed_gives_the_same_numbers_and_leaves_the_generator_alone(
    short_walk: Diffusion,
) -> None:
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state(legacy=True)[1]  # type: ignore[index]  # noqa: NPY002
    again = measure_diffusion(walkers(lattice_walk(400, 8)))
    assert again.diffusivity == short_walk.diffusivity
    assert again.haven_ratio == short_walk.haven_ratio
    after = np.random.get_state(legacy=True)[1]  # type: ignore[index]  # noqa: NPY002
    np.testing.assert_array_equal(before, after)


def test_slope_of_a_flat_curve_is_near_zero() -> None:
    times = np.linspace(1.0, 10.0, 19)
    values = 6.7 + 0.05 * np.sin(times)
    square = MeanSquare(times, values, 0.6 * values * np.sqrt(times / 40), 40 / times)
    samples = slope_samples(square, 2.0)
    assert samples.min() >= 0.0
    assert np.percentile(samples, 97.5) < values.max()  # Å² in a ps
    assert np.percentile(samples, 2.5) < 0.05


def test_jumps_of_a_walk_are_counted() -> None:
    ways = np.zeros((200, 3, 3))
    ways[50:, 0, 0] = HOP  # there
    ways[50:100, 1, 1] = HOP  # and back
    ways[100:102, 2, 2] = HOP  # not long enough to be on a site
    ways += 0.2 * np.random.default_rng(1).standard_normal(ways.shape)
    assert count_jumps(ways, INTERVAL, HOP) == (3, 2)
    jumps, jumped = count_jumps(lattice_walk(3000, 16, share=0.002), INTERVAL, HOP)
    assert jumps == pytest.approx(0.002 * 3000 * 16, rel=0.15)
    assert jumped == 16


def test_deviation_and_jumps_needed_are_inverse() -> None:
    # 3.43/√N + 0.04 of He et al.: 20 % take 460 effective jumps.
    assert jumps_needed(0.2) == pytest.approx(459.6, abs=0.1)
    assert relative_deviation(jumps_needed(0.2)) == pytest.approx(0.2)


def test_ballistic_ions_are_recognised() -> None:
    velocity = np.random.default_rng(1).standard_normal((1, 8, 3))
    times = INTERVAL * np.arange(400)[:, None, None]
    found = measure_diffusion(walkers(velocity * times))
    assert found.regime == "ballistic"
    assert "free flight" in " ".join(found.notes)


def test_caged_ions_are_refused_with_a_bound() -> None:
    caged = 0.3 * np.random.default_rng(1).standard_normal((1000, 16, 3))
    with pytest.raises(DataError, match="no Li ion left its site in 100 ps") as error:
        measure_diffusion(walkers(caged))
    # Three jumps at most in 16 x 100 ps: 3 x 2.9² / (6 x 1600) Å²/ps.
    assert f"{1e-4 * 3 * HOP**2 / (6 * 1600):.1e} cm²/s" in str(error.value)


def test_short_runs_say_how_long_they_should_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ways = lattice_walk(300, 16, share=0.004)
    found = measure_diffusion(walkers(ways))
    assert found.regime == "short"
    assert any("below the square of a hop" in note for note in found.notes)
    assert any("jumps" in note and "run" in note for note in found.notes)
    assert found.notes[0] in caplog.text
    expected = found.duration * jumps_needed(0.2) / found.effective_jumps
    assert found.needed == pytest.approx(expected)


def points(
    first: Diffusion, energy: float, prefactor: float, noise: float = 0.0
) -> list[Diffusion]:
    """Return runs of an Arrhenius law, with errors of ten percent."""
    random = np.random.default_rng(2)
    made = []
    for kelvin in (600.0, 700.0, 800.0, 1000.0, 1200.0):
        exact = 1e6 * prefactor * np.exp(-energy / (units.kB * kelvin))
        seen = exact * np.exp(noise * random.standard_normal())
        bounds = (seen * np.exp(-1.96 * 0.1), seen * np.exp(1.96 * 0.1))
        made.append(
            replace(
                first,
                temperature=kelvin,
                diffusivity=seen,
                regime="diffusive",
                intervals={**first.intervals, "diffusivity": bounds},
            )
        )
    return made


@pytest.fixture(scope="module")
def fit(short_walk: Diffusion) -> Arrhenius:
    return fit_arrhenius(points(short_walk, 0.35, 2e-3, noise=0.1))


def test_arrhenius_energy_is_within_its_interval(fit: Arrhenius) -> None:
    low, high = fit.intervals["activation_energy"]
    assert low < 0.35 < high
    assert high - low < 0.15
    low, high = fit.intervals["prefactor"]
    assert low < 2e-3 < high
    at_room = 1e12 * 2e-3 * np.exp(-0.35 / (units.kB * 300.0))
    low, high = fit.intervals["extrapolated"]
    assert low < at_room < high


def test_arrhenius_without_noise_is_exact(
    short_walk: Diffusion,
) -> None:
    found = fit_arrhenius(points(short_walk, 0.35, 2e-3))
    assert found.activation_energy == pytest.approx(0.35, abs=1e-6)
    assert found.prefactor == pytest.approx(2e-3, rel=1e-4)
    assert found.misfit == pytest.approx(0.0, abs=1e-9)


def test_arrhenius_errors_grow_with_points_off_the_line(
    short_walk: Diffusion,
) -> None:
    good = fit_arrhenius(points(short_walk, 0.35, 2e-3, noise=0.05))
    bad = fit_arrhenius(points(short_walk, 0.35, 2e-3, noise=0.8))
    assert bad.misfit > 2.0 > good.misfit
    assert bad.spread is not None
    assert good.spread is not None
    ratio = bad.spread["activation_energy"] / good.spread["activation_energy"]
    assert ratio == pytest.approx(np.sqrt(bad.misfit), rel=1e-6)
    assert any("off the line" in note for note in bad.notes)


def test_arrhenius_refuses_different_structures_and_one_temperature(
    short_walk: Diffusion,
) -> None:
    runs = points(short_walk, 0.35, 2e-3)
    with pytest.raises(ConfigError, match=r"formula of walk is .*, that of walk"):
        fit_arrhenius([runs[0], replace(runs[1], formula="Li16Ni32O64")])
    with pytest.raises(ConfigError, match="labels of walk is held"):
        fit_arrhenius([runs[0], replace(runs[1], label_mode="adiabatic")])
    high, low = "Mn3+HS[4up]", "Mn3+HS[3up]Mn3+LS[1up]"
    with pytest.raises(ConfigError, match="spin states of walk is 100 % Mn3"):
        fit_arrhenius(
            [replace(runs[0], spin_state=high), replace(runs[1], spin_state=low)]
        )
    with pytest.raises(ConfigError, match="at least 5 % apart, got 600 K, 600 K"):
        fit_arrhenius([runs[0], runs[0]])
    # A larger cell of the same crystal is the same structure.
    fit_arrhenius([runs[0], replace(runs[1], formula="Li32Co64O128")])


def test_results_have_tables_pictures_and_json(walk: Diffusion, fit: Arrhenius) -> None:
    table = walk.table().set_index("field")
    row = table.loc["diffusivity"]
    assert row["low"] < row["value"] < row["high"]
    assert table.loc[["jumps"], "low"].isna().all()
    assert walk.plot().get_ylabel() == "mean-square displacement of Li, Å²"
    assert fit.plot().get_yscale() == "log"
    back = type(walk).from_json(walk.to_json())
    assert back.diffusivity == walk.diffusivity
    np.testing.assert_array_equal(back.msd.to_numpy(), walk.msd.to_numpy())


def crystal() -> Atoms:
    """Return lithium and cobalt in turn, rocksalt without the oxygen, and oxygen."""
    cell = bulk("LiO", "rocksalt", a=4.1, cubic=True).repeat((2, 2, 2))
    metals = np.flatnonzero(cell.symbols == "Li")
    cell.symbols[metals[::2]] = "Co"
    return cell


def trajectory(
    path: Path, ways: Floats, *, wrapped: bool, breathing: float = 0.0
) -> tuple[Atoms, float]:
    """Write a run in which the first lithium goes and the crystal drifts."""
    first = crystal()
    mobile = int(np.flatnonzero(first.symbols == "Li")[0])
    frames = []
    for k, way in enumerate(ways):
        atoms = first.copy()
        atoms.positions[mobile] += way
        atoms.positions += np.array([0.05, 0.02, 0.0]) * k
        scale = 1.0 + breathing * np.sin(1.7 * k)
        atoms.set_cell(atoms.cell * scale, scale_atoms=True)
        if wrapped:
            atoms.wrap()
        atoms.set_velocities(np.full((len(atoms), 3), 0.01))
        atoms.info = {"time_fs": 100.0 * k}
        frames.append(atoms)
    ase.io.write(path, frames, format="extxyz")
    return first, frames[0].get_temperature()


@pytest.mark.parametrize("breathing", [0.0, 0.03])
def test_unwrapping_takes_drift_and_breathing_off(
    tmp_path: Path, breathing: float
) -> None:
    steps = np.zeros((80, 3))
    steps[:, 0], steps[:, 1] = 0.37, -0.21
    ways = steps.cumsum(axis=0)  # 30 Å, four cells
    run = tmp_path / "run"
    run.mkdir()
    trajectory(run / "trajectory.extxyz", ways, wrapped=False, breathing=breathing)
    _, kelvin = trajectory(
        tmp_path / "free.extxyz", ways, wrapped=True, breathing=breathing
    )
    for path in (run, tmp_path / "free.extxyz"):
        found = read_displacements(path, skip_ps=0.0)
        expected = np.zeros((79, 16, 3))
        expected[:, 0] = ways[1:] - ways[0]
        # The mean cell is not that of the first frame.
        scale = (found.volume / crystal().get_volume()) ** (1 / 3)
        np.testing.assert_allclose(found.ways, scale * expected, atol=0.02)
        assert found.drift == pytest.approx(79 * np.hypot(0.05, 0.02), rel=0.01)
        assert found.temperature == pytest.approx(kelvin, rel=1e-6)
        assert found.interval == pytest.approx(0.1)
        assert found.hop == pytest.approx(4.1 / np.sqrt(2.0), rel=0.01)
        assert found.element == "Li"


def test_long_runs_are_thinned(tmp_path: Path) -> None:
    ways = np.zeros((81, 3))
    ways[:, 2] = 0.1 * np.arange(81)
    path = tmp_path / "run.extxyz"
    trajectory(path, ways, wrapped=True)
    whole = read_displacements(path, skip_ps=1.0)
    thin = read_displacements(path, skip_ps=1.0, max_frames=30)
    assert whole.ways.shape == (70, 16, 3)
    assert thin.interval == pytest.approx(0.4)
    np.testing.assert_allclose(thin.ways, whole.ways[3::4], atol=1e-9)
    assert thin.temperature == pytest.approx(whole.temperature)
    assert thin.volume == pytest.approx(whole.volume)


def test_bad_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such trajectory"):
        read_displacements(tmp_path / "nothing")
    path = tmp_path / "run.extxyz"
    ways = np.zeros((20, 3))
    trajectory(path, ways, wrapped=True)
    with pytest.raises(ConfigError, match=r"at least 3 frames after 1.8 ps, got 2"):
        read_displacements(path, skip_ps=1.8)
    with pytest.raises(ConfigError, match=r"unknown element of .*'Na'"):
        read_displacements(path, "Na")
    with pytest.raises(DataError, match="no Li ion left its site"):
        measure_diffusion(path, skip_ps=0.0)
    ways[10:, 0] = 4.0  # half of the cell
    trajectory(path, ways, wrapped=True)
    with pytest.raises(DataError, match="too far apart for the size of the cell"):
        read_displacements(path)
    trajectory(path, np.zeros((20, 3)), wrapped=True)
    frames = ase.io.read(path, ":")
    frames[7].info["time_fs"] = 650.0
    ase.io.write(path, frames)
    with pytest.raises(DataError, match=r"even times, every 0.1 ps, got one 0.05 ps"):
        read_displacements(path, skip_ps=0.0)
    frames[7].info["time_fs"] = 700.0
    ase.io.write(path, [*frames[:5], frames[5][1:]])
    with pytest.raises(DataError, match="has other atoms than the first"):
        read_displacements(path, skip_ps=0.0)
    for frame in frames:
        del frame.info["time_fs"]
    ase.io.write(path, frames)
    with pytest.raises(ConfigError, match="says no time"):
        read_displacements(path)
    assert read_displacements(path, interval_ps=0.5).interval == 0.5
    path.write_text("3\nno frame\nLi 0 0\n")
    with pytest.raises(DataError, match="cannot be read as extended XYZ"):
        read_displacements(path)


def test_ions_that_monte_carlo_moved_do_not_diffuse(tmp_path: Path) -> None:
    trajectory(tmp_path / "trajectory.extxyz", np.zeros((20, 3)), wrapped=False)
    moves = {"exchange": 1.0, "vacancy": 1.0, "antisite": 0.0}
    record = tmp_path / "md.json"
    record.write_text(json.dumps({"identity": {"labels_move": {"moves": moves}}}))
    with pytest.raises(ConfigError, match=r"moved the ions themselves \(vacancy\)"):
        read_displacements(tmp_path)
    for moved, mode in (
        (None, "held"),
        ("adiabatic", "adiabatic"),
        ({"moves": {"flip": 1.0, "vacancy": 0.0}}, "monte-carlo"),
        ({"every": 10, "tolerance": 0.01}, "relaxed"),
    ):
        identity = {} if moved is None else {"labels_move": moved}
        record.write_text(json.dumps({"identity": identity}))
        assert read_displacements(tmp_path).label_mode == mode


def test_the_command_measures_several_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from spin_dp.cli.app import main

    atoms = crystal()
    mobile = np.flatnonzero(atoms.symbols == "Li")
    for name, share, kelvin in (
        ("cold", 0.0, 500),
        ("warm", 0.05, 700),
        ("hot", 0.1, 900),
    ):
        ways = lattice_walk(150, len(mobile), share=share, tremble=0.1)
        frames = []
        for k, way in enumerate(ways):
            frame = atoms.copy()
            frame.positions[mobile] += way
            frame.set_velocities(np.zeros_like(frame.positions))
            frame.set_momenta(
                np.sqrt(units.kB * kelvin * frame.get_masses())[:, None] * [1, -1, 1]
            )
            frame.info = {"time_fs": 100.0 * k}
            frames.append(frame)
        (tmp_path / name).mkdir()
        ase.io.write(tmp_path / name / "trajectory.extxyz", frames, format="extxyz")
    out = tmp_path / "out"
    runs = [str(tmp_path / name) for name in ("cold", "warm", "hot")]
    assert main(["diffusion", *runs, "--skip", "0", "-o", str(out)]) == 0
    said = capsys.readouterr()
    assert "left out" in said.err
    assert "no Li ion left its site" in said.err
    assert "activation energy" in said.out
    table = pd.read_csv(out / "diffusion.csv").set_index(["run", "field"])
    assert table.loc[(f"{runs[2]}/trajectory.extxyz", "temperature"), "value"] == (
        pytest.approx(900.0, rel=1e-3)
    )
    fit = json.loads((out / "arrhenius.json").read_text())
    low, high = fit["intervals"]["activation_energy"]
    # Twice the jumps at 900 K as at 700 K.
    exact = np.log(2.0) * units.kB / (1.0 / 700.0 - 1.0 / 900.0)
    assert low < exact < high
    assert {path.name for path in out.iterdir()} == {
        *("diffusion.csv", "diffusion.json", "diffusion.png", "displacements.csv"),
        *("arrhenius.csv", "arrhenius.json", "arrhenius.png"),
    }
    assert main(["diffusion", runs[0], "--skip", "0", "-o", str(out)]) == 1
    assert "run longer, hotter" in capsys.readouterr().err.lower()
