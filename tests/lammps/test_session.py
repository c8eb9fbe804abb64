# SPDX-License-Identifier: LGPL-3.0-or-later
"""Runs in segments: against uninterrupted ones, the model by hand, and kill -9."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.io import read
from ase.units import fs

from spin_dp import SpinDP
from spin_dp.errors import BackendError, ConfigError, DataError, ShapeError
from spin_dp.lammps_interface import (
    LammpsSession,
    MDJob,
    MDSettings,
    Snapshot,
    lammps_command,
    run_job,
)
from spin_dp.lammps_interface.process import LammpsProcess
from spin_dp.threads import process_environment
from tests.lammps.heisenberg import K, analytic, crystal, tilted_moments

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

pytestmark = pytest.mark.lammps

SETTINGS = MDSettings(
    ensemble="nve", steps=60, timestep=0.5, thermo_every=5, dump_every=5
)


def make_job(
    models: list[Path], settings: MDSettings = SETTINGS, *, repeat: int = 1
) -> MDJob:
    atoms = crystal().repeat((1, 1, repeat))
    return MDJob(
        symbols=atoms.get_chemical_symbols(),
        positions=atoms.positions,
        cell=atoms.cell.array,
        moments=np.tile(tilted_moments(), (repeat, 1)),
        models=models,
        settings=settings,
    )


def check_model(state: Snapshot, moments: NDArray[np.float64]) -> None:
    """The state has these moments, and the model's energy and slopes there."""
    np.testing.assert_allclose(state.moments, moments, atol=1e-14)
    energy, forces, magnetic = analytic(state.atoms(), moments)
    assert state.potential_energy == pytest.approx(energy, abs=1e-10)
    np.testing.assert_allclose(state.forces, forces, atol=1e-10)
    magnetic[~moments.any(axis=1)] = 0.0
    np.testing.assert_allclose(state.magnetic_forces, magnetic, atol=1e-9)


def check_equal(found: list[Atoms], expected: list[Atoms], atol: float) -> None:
    """Frames are those of another trajectory, none twice, none lost."""
    steps = [frame.info["step"] for frame in expected]
    assert [frame.info["step"] for frame in found] == steps
    for one, other in zip(found, expected, strict=True):
        for name in ("positions", "momenta", "magnetic_forces"):
            np.testing.assert_allclose(one.arrays[name], other.arrays[name], atol=atol)
        for name in ("energy", "forces", "magmoms"):
            mine, wanted = (frame.calc.results[name] for frame in (one, other))
            np.testing.assert_allclose(mine, wanted, atol=atol)
        np.testing.assert_allclose(one.cell.array, other.cell.array, atol=atol)


@pytest.fixture(scope="module")
def whole(
    heisenberg: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> list[Atoms]:
    """Return the frames of an uninterrupted run."""
    result = run_job(make_job(heisenberg[:1]), tmp_path_factory.mktemp("whole") / "md")
    return list(read(result.trajectory, ":"))


@pytest.mark.parametrize("ranks", [1, 2])
def test_segments_without_changes_are_the_uninterrupted_run(
    heisenberg: list[Path], whole: list[Atoms], tmp_path: Path, ranks: int
) -> None:
    """Whatever is asked between them, and with restart points on the way."""
    job = make_job(heisenberg[:1], replace(SETTINGS, restart_every=23))
    with LammpsSession(job, tmp_path / "md", ranks=ranks) as session:
        np.testing.assert_allclose(session.state.positions, job.positions, atol=1e-13)
        steps = []
        while session.remaining:
            state = session.run(7)
            check_model(state, job.moments)
            session.set_moments(state.moments)
            assert session.evaluate() is state
            steps.append(state.step)
    assert steps == [*range(7, 60, 7), 60]
    assert session.is_finished
    assert session.result.state == "finished"
    check_equal(read(session.result.trajectory, ":"), whole, 1e-7)
    table = np.genfromtxt(session.result.thermo, delimiter=",", names=True)
    assert table["step"].tolist() == list(range(0, 61, 5))


def test_thermostat_and_barostat_go_on_across_segments(
    heisenberg: list[Path], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, ensemble="npt", pressure=1e4, steps=30)
    job = make_job(heisenberg[:1], settings)
    expected = read(run_job(job, tmp_path / "whole").trajectory, ":")
    assert expected[-1].get_volume() != pytest.approx(expected[0].get_volume(), 1e-6)
    with LammpsSession(job, tmp_path / "md") as session:
        while session.remaining:
            state = session.run(7)
    check_equal(read(session.result.trajectory, ":"), expected, 1e-7)
    np.testing.assert_allclose(state.cell, expected[-1].cell.array, atol=1e-7)


def test_a_ramp_goes_on_across_segments(heisenberg: list[Path], tmp_path: Path) -> None:
    settings = replace(
        SETTINGS, ensemble="nvt", temperature=50.0, final_temperature=3000.0, steps=40
    )
    job = make_job(heisenberg[:1], settings)
    expected = list(read(run_job(job, tmp_path / "whole").trajectory, ":"))
    flat = replace(settings, final_temperature=None)
    cold = run_job(make_job(heisenberg[:1], flat), tmp_path / "cold")
    last = read(cold.trajectory, -1)
    assert not np.allclose(expected[-1].positions, last.positions, atol=1e-4)
    with LammpsSession(job, tmp_path / "md") as session:
        while session.remaining:
            session.run(7)
    check_equal(list(read(session.result.trajectory, ":")), expected, 1e-7)


def test_the_deck_by_hand_gives_the_frames_of_the_run(
    heisenberg: list[Path], whole: list[Atoms], tmp_path: Path
) -> None:
    job = make_job(heisenberg[:1])
    deck = run_job(job, tmp_path / "md", dry_run=True).deck
    done = subprocess.run(
        lammps_command(deck.name),
        cwd=deck.parent,
        env=process_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    by_hand = (deck.parent / "run.0.lammpstrj").read_text()
    result = run_job(job, tmp_path / "md")
    assert (deck.parent / "run.0.lammpstrj").read_text() == by_hand
    check_equal(read(result.trajectory, ":"), whole, 0.0)


@pytest.mark.parametrize("ranks", [1, 2])
def test_changed_moments_count_in_the_next_segment(
    heisenberg: list[Path], tmp_path: Path, ranks: int
) -> None:
    job = make_job(heisenberg[:1], replace(SETTINGS, restart_every=10), repeat=2)
    rng = np.random.default_rng(3)
    by_step: dict[int, NDArray[np.float64]] = {}
    with LammpsSession(job, tmp_path / "md", ranks=ranks) as session:
        moments = job.moments
        while session.remaining:
            for step in range(session.state.step + 1, session.state.step + 6):
                by_step[step] = moments
            check_model(session.run(5), moments)
            before = session.state
            moments = moments[::-1] + rng.normal(0.0, 0.3, moments.shape)
            moments[rng.integers(len(moments))] = 0.0
            session.set_moments(moments)
            assert session.state is before
            after = session.evaluate()
            check_model(after, moments)
            np.testing.assert_array_equal(after.velocities, before.velocities)
            np.testing.assert_allclose(after.positions, before.positions, atol=1e-13)
    by_step[0] = job.moments
    frames = read(session.result.trajectory, ":")
    assert [frame.info["step"] for frame in frames] == list(range(0, 61, 5))
    for frame in frames:
        expected = by_step[frame.info["step"]]
        np.testing.assert_allclose(frame.calc.results["magmoms"], expected, atol=1e-8)
        energy, forces, _ = analytic(frame, expected)
        assert frame.get_potential_energy() == pytest.approx(energy, abs=2e-6)
        np.testing.assert_allclose(frame.get_forces(), forces, atol=2e-6)


@pytest.mark.parametrize("restart_every", [1, 1000])
def test_the_first_step_feels_the_new_moments(
    heisenberg: list[Path], tmp_path: Path, restart_every: int
) -> None:
    """Velocity Verlet: x + dt v + dt^2 f / 2m with the forces at the new moments."""
    job = make_job(heisenberg[:1], replace(SETTINGS, restart_every=restart_every))
    with LammpsSession(job, tmp_path / "md") as session:
        before = session.run(3)
        moments = before.moments[::-1] * 1.5
        session.set_moments(moments)
        after = session.run(1)
    atoms = before.atoms()
    dt = SETTINGS.timestep * fs
    pull = analytic(atoms, moments)[1] / atoms.get_masses()[:, None]
    change = dt**2 / 2.0 * (pull - before.forces / atoms.get_masses()[:, None])
    expected = before.positions + dt * atoms.get_velocities() + dt**2 / 2.0 * pull
    np.testing.assert_allclose(after.positions, expected, atol=1e-10)
    assert np.abs(change).max() > 1e-6


def test_energies_of_moments_are_those_of_the_python_api(
    frozen_model: Path, tmp_path: Path
) -> None:
    job = replace(make_job([frozen_model]), settings=replace(SETTINGS, steps=1))
    potential = SpinDP(frozen_model)
    rng = np.random.default_rng(1)
    with LammpsSession(job, tmp_path / "md") as session:
        for _ in range(3):
            # Elements that the model does not read keep none.
            moments = tilted_moments() @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
            moments *= rng.uniform(0.2, 1.3, (len(moments), 1))
            session.set_moments(moments)
            found = session.evaluate()
            expected = potential.evaluate(found.atoms(), moments)
            assert found.potential_energy == pytest.approx(expected.energy, abs=1e-8)
            np.testing.assert_allclose(found.forces, expected.forces, atol=1e-8)


def test_atoms_that_change_the_process_keep_their_moments(
    heisenberg: list[Path], tmp_path: Path
) -> None:
    """At 20 000 K, one half of the cell to a rank, they cross its border."""
    settings = replace(SETTINGS, temperature=2.0e4, steps=400)
    job = make_job(heisenberg[:1], settings, repeat=2)
    with LammpsSession(job, tmp_path / "md", ranks=2) as session:
        moments = job.moments
        sides = []
        while session.remaining:
            state = session.run(40)
            check_model(state, moments)
            scaled = np.linalg.solve(state.cell.T, state.positions.T).T
            sides.append((scaled[:, 2] % 1.0) < 0.5)
            moments = moments + 0.01
            session.set_moments(moments)
    assert (np.array(sides) != sides[0]).any()


def test_model_deviation_of_each_segment(
    heisenberg: list[Path], tmp_path: Path
) -> None:
    """Of two models with exchange J and 3 J: the exchange part of each force."""
    job = make_job(heisenberg, replace(SETTINGS, watch_every=5))
    with LammpsSession(job, tmp_path / "md") as session:
        for count, expected in ((5, [5]), (12, [10, 15])):
            state = session.run(count)
            assert [row.step for row in state.deviations] == expected
        session.set_moments(2.0 * state.moments)
        state = session.run(3)
        assert [row.step for row in state.deviations] == [20]
    magnetic = analytic(state.atoms(), state.moments)[2] + 2.0 * K * state.moments
    largest = np.linalg.norm(magnetic, axis=1).max()
    assert state.deviations[0].magnetic_force == pytest.approx(largest, rel=1e-5)


# Monte Carlo of a kind: every 5 steps other moments, drawn by random numbers of which
# the state is kept in the notes.
WALK = """
import sys
from pathlib import Path
import numpy as np
from tests.lammps.test_session import SETTINGS, make_job, walk
from dataclasses import replace

walk(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
"""
WALK_SETTINGS = replace(SETTINGS, steps=500, restart_every=40, dump_every=20)


def walk(model: Path, out: Path, ranks: int) -> LammpsSession:
    """Run to the end with other moments every 5 steps."""
    session = LammpsSession(
        make_job([model], WALK_SETTINGS, repeat=2), out, ranks=ranks
    )
    rng = np.random.default_rng(0)
    with session:
        if "rng" in session.notes:
            rng.bit_generator.state = session.notes["rng"]
        while session.remaining:
            state = session.run(5)
            turned = state.moments.copy()
            turned[rng.integers(len(turned))] *= -1.0
            session.set_moments(turned)
            session.notes["rng"] = rng.bit_generator.state
    return session


@pytest.fixture(scope="module")
def walked(
    heisenberg: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> list[Atoms]:
    """Return the frames of the walk without interruption."""
    out = tmp_path_factory.mktemp("walk") / "md"
    session = walk(heisenberg[0], out, 1)
    return list(read(session.result.trajectory, ":"))


@pytest.mark.slow
def test_killed_session_goes_on_where_its_last_restart_point_is(
    heisenberg: list[Path], walked: list[Atoms], tmp_path: Path
) -> None:
    """Killed before its first point and after one; the walk is the same."""
    out, ranks = tmp_path / "md", 2
    command = [sys.executable, "-c", WALK, str(heisenberg[0]), str(out), str(ranks)]
    # A frame has 3 kB, and a point is made every other frame.
    for part, size in ((0, 0), (0, 10_000)):
        with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
            try:
                _wait_for(out / f"run.{part}.lammpstrj", size)
            finally:
                process.kill()
        assert process.returncode == -signal.SIGKILL
    session = walk(heisenberg[0], out, ranks)
    assert (out / "run.1.log").exists()
    check_equal(read(session.result.trajectory, ":"), walked, 1e-5)
    table = np.genfromtxt(session.result.thermo, delimiter=",", names=True)
    assert table["step"].tolist() == list(range(0, WALK_SETTINGS.steps + 1, 5))


def _wait_for(file: Path, size: int) -> None:
    end = time.monotonic() + 100.0
    while time.monotonic() < end:
        with suppress(FileNotFoundError):
            if file.stat().st_size > size:
                return
        time.sleep(0.01)
    pytest.fail(f"{file} did not grow to {size} bytes")


def test_session_that_is_left_goes_on_there(
    heisenberg: list[Path], whole: list[Atoms], tmp_path: Path
) -> None:
    session = LammpsSession(make_job(heisenberg[:1]), tmp_path / "md")
    with session:
        left = session.run(17)
    assert session.result.state == "started"
    with session:
        # LAMMPS wraps positions for the file: the last digit may change.
        found = session.state.positions
        np.testing.assert_allclose(found, left.positions, atol=1e-13)
        np.testing.assert_array_equal(session.state.velocities, left.velocities)
        assert session.state.step == 17
        session.run(1000)
    check_equal(read(session.result.trajectory, ":"), whole, 1e-7)
    with session:  # finished: there is still something to ask
        session.set_moments(-session.state.moments)
        check_model(session.evaluate(), -tilted_moments())
        with pytest.raises(ConfigError, match=r"all 60 steps are done\. A longer run"):
            session.run(1)
    assert session.is_finished
    check_equal(read(session.result.trajectory, ":"), whole, 1e-7)


def test_exception_of_the_caller_stops_lammps_and_keeps_the_frames(
    heisenberg: list[Path], tmp_path: Path
) -> None:
    session = LammpsSession(make_job(heisenberg[:1]), tmp_path / "md")
    with pytest.raises(ZeroDivisionError), session:
        session.run(20 // (session.run(20).step - 20))
    assert len(read(tmp_path / "md" / "trajectory.extxyz", ":")) == 5
    with pytest.raises(ConfigError, match="md: the session is closed"):
        session.run(1)
    assert {file.name for file in (tmp_path / "md").iterdir()} == {
        *("md.json", "data.spin", "in.lammps", "screen.txt"),
        *("run.0.log", "run.0.lammpstrj", "thermo.csv", "trajectory.extxyz"),
    }


def test_interrupt_in_a_segment_ends_lammps(
    heisenberg: list[Path], tmp_path: Path
) -> None:
    def interrupt(step: int, total: int, thermo: dict[str, float]) -> None:
        if step:
            os.kill(os.getpid(), signal.SIGINT)

    settings = replace(SETTINGS, steps=10**8)
    session = LammpsSession(
        make_job(heisenberg[:1], settings), tmp_path / "md", ranks=2, progress=interrupt
    )
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), session:
        session.run(10**8)
    assert time.monotonic() - start < 30.0
    size = (tmp_path / "md" / "run.0.lammpstrj").stat().st_size
    time.sleep(0.3)
    assert (tmp_path / "md" / "run.0.lammpstrj").stat().st_size == size


def test_lammps_that_dies_says_why(heisenberg: list[Path], tmp_path: Path) -> None:
    hot = replace(SETTINGS, temperature=1e9, steps=10_000)
    session = LammpsSession(make_job(heisenberg[:1], hot), tmp_path / "md")
    message = r"LAMMPS failed: ERROR.*screen\.txt"
    with pytest.raises(BackendError, match=message), session:
        session.run(10_000)


def test_bad_input_leaves_the_session_in_place(
    heisenberg: list[Path], tmp_path: Path
) -> None:
    job = make_job(heisenberg[:1])
    with LammpsSession(job, tmp_path / "md") as session:
        with pytest.raises(ShapeError, match=r"moments: expected \(8, 3\), .*\(7, 3\)"):
            session.set_moments(job.moments[1:])
        with pytest.raises(ShapeError, match=r"moments: expected \(8, 3\), .*\(8,\)"):
            session.set_moments(np.zeros(8))
        with pytest.raises(DataError, match=r"moments: expected finite .* at atom 4"):
            session.set_moments(np.where(job.moments == -1.3, np.nan, job.moments))
        for wrong in (0, -5, 2.0, True):
            with pytest.raises(ConfigError, match="steps: expected a positive integer"):
                session.run(wrong)  # type: ignore[arg-type]
        check_model(session.run(2), job.moments)


def hanging(tmp_path: Path, times: int) -> list[str]:
    """Return a launcher of two processes that hangs the first few times."""
    script = tmp_path / "launcher.sh"
    count = tmp_path / "count"
    command = " ".join(map(shlex.quote, lammps_command(ranks=2)))
    script.write_text(
        f"echo x >> {count}\n"
        f"if [ $(wc -l < {count}) -le {times} ]; then exec sleep 600; fi\n"
        f"exec {command}\n"
    )
    return ["bash", str(script)]


def test_a_launcher_that_hangs_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("spin_dp.lammps_interface.process._START_S", 6.0)
    command = hanging(tmp_path, 1)
    monkeypatch.setattr(
        "spin_dp.lammps_interface.process.lammps_command", lambda **_: command
    )
    with LammpsProcess(tmp_path, ranks=2) as lammps:
        lammps.execute('print "hello"')
    assert "does not answer (attempt 1 of 3)" in caplog.text
    assert "hello" in (tmp_path / "screen.txt").read_text()
    monkeypatch.setattr("spin_dp.lammps_interface.process._START_S", 0.2)
    never = hanging(tmp_path, 100)
    monkeypatch.setattr(
        "spin_dp.lammps_interface.process.lammps_command", lambda **_: never
    )
    with pytest.raises(BackendError, match=r"did not answer within 0\.2 s, 3 times"):
        LammpsProcess(tmp_path, ranks=2)
