# SPDX-License-Identifier: LGPL-3.0-or-later
"""Runs that leave what the models know, in the real LAMMPS.

Two models of exchange J and 3 J differ in each force by its part of the exchange: by
hand it is known where a run has to stop.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.io import read, write

from spin_dp.cli import main
from spin_dp.dynamics import MDResult, run_md
from spin_dp.lammps_interface import MDSettings, Watch, read_frames
from tests.lammps.heisenberg import K, analytic, crystal, tilted_moments

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

pytestmark = pytest.mark.lammps

SETTINGS = MDSettings(
    ensemble="nve",
    temperature=300.0,
    steps=60,
    timestep=1.0,
    thermo_every=2,
    dump_every=2,
    watch_every=2,
)
FAR = Watch(force_limits=(50.0, 100.0), magnetic_limits=(50.0, 100.0))


def run(models: Any, out: Path, watch: Watch = FAR, **options: Any) -> MDResult:
    settings = options.pop("settings", SETTINGS)
    return run_md(
        options.pop("atoms", crystal()),
        models,
        out=out,
        moments=tilted_moments(),
        settings=settings,
        watch=watch,
        **options,
    )


def exchange(atoms: Atoms) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sizes of the exchange parts of forces and magnetic forces, (n,) each."""
    moments = tilted_moments()
    forces = analytic(atoms, moments)[1] - analytic(atoms, 0.0 * moments)[1]
    magnetic = analytic(atoms, moments)[2] + 2.0 * K * moments
    return np.linalg.norm(forces, axis=1), np.linalg.norm(magnetic, axis=1)


@pytest.fixture(scope="module")
def free(heisenberg: list[Path], tmp_path_factory: pytest.TempPathFactory) -> MDResult:
    """Return a run with limits that it keeps."""
    return run(heisenberg, tmp_path_factory.mktemp("free") / "md")


def test_run_within_the_limits_is_left_alone(free: MDResult) -> None:
    assert free.state == "finished"
    assert free.departure is None
    assert not free.departure_file.exists()
    frames = list(free.frames())
    assert [frame.step for frame in frames] == list(range(0, 61, 2))
    table = np.genfromtxt(free.thermo, delimiter=",", names=True)
    for frame, kelvin in zip(frames, table["temperature_K"], strict=True):
        forces, magnetic = exchange(frame.atoms)
        assert frame.deviation is not None
        assert frame.deviation.step == frame.step
        assert frame.deviation.force == pytest.approx(forces.max(), rel=1e-4)
        assert frame.deviation.magnetic_force == pytest.approx(magnetic.max(), rel=1e-4)
        assert frame.temperature == pytest.approx(kelvin, rel=1e-5)
        np.testing.assert_allclose(
            frame.atoms.get_initial_magnetic_moments(), tilted_moments(), atol=1e-8
        )
        assert frame.atoms.calc is None


def test_frames_in_a_band(free: MDResult) -> None:
    sizes = free.deviation["force_eV_per_A"]
    low, high = float(sizes.quantile(0.3)), float(sizes.quantile(0.6))
    found = [frame.step for frame in free.frames_between(low, high)]
    assert 0 < len(found) < len(sizes)
    is_inside = (sizes >= low) & (sizes < high)
    assert found == free.deviation["step"][is_inside].tolist()


def crossing(free: MDResult, *, after: int = 10) -> tuple[float, int]:
    """Return a limit that the run exceeds on its way, and the step where it does."""
    sizes = free.deviation["force_eV_per_A"].to_numpy()
    highest = np.maximum.accumulate(sizes)
    place = after + int(np.flatnonzero(np.diff(highest[after:]))[0]) + 1
    assert place < len(sizes) - 1
    return float(highest[place - 1] + highest[place]) / 2.0, 2 * place


@pytest.mark.parametrize("ranks", [1, 2])
def test_run_stops_where_the_models_differ_too_much(
    heisenberg: list[Path],
    free: MDResult,
    tmp_path: Path,
    ranks: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    limit, step = crossing(free)
    watch = replace(FAR, force_limits=(limit, limit))
    result = run(heisenberg, tmp_path / "md", watch, ranks=ranks)
    assert result.state == "stopped"
    found = result.departure
    assert found is not None
    assert (found.step, found.quantity, found.limit) == (step, "force deviation", limit)
    last = list(result.frames())[-1]
    assert last.step == step
    forces = exchange(last.atoms)[0]
    assert found.value == pytest.approx(forces.max(), rel=1e-4)
    assert found.atom is not None
    assert forces[found.atom] == pytest.approx(forces.max(), rel=1e-4)
    assert found.symbol == last.atoms.symbols[found.atom]
    assert f"at step {step} " in caplog.text
    assert f"forces on atom {found.atom} ({found.symbol}) differ by" in caplog.text
    assert "spin-dp learn" in caplog.text
    before, after = read_frames(result.departure_file, result.deviation_file)
    assert (before.step, after.step) == (step - 2, step)
    # The same trajectory as without limits, up to there.
    twins = {frame.step: frame for frame in free.frames()}
    for frame in result.frames():
        expected = twins[frame.step].atoms.positions
        np.testing.assert_allclose(frame.atoms.positions, expected, atol=1e-6)


def test_stopped_run_is_told_again_and_goes_on_where_told_to(
    heisenberg: list[Path],
    free: MDResult,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    limit, step = crossing(free)
    watch = replace(FAR, force_limits=(limit, limit))
    stopped = run(heisenberg, tmp_path / "md", watch)
    seen: list[int] = []

    def show(step: int, *_: object) -> None:
        seen.append(step)

    again = run(heisenberg, tmp_path / "md", watch, progress=show)
    assert again == stopped
    assert not seen
    on = run(heisenberg, tmp_path / "md", replace(watch, stop=False), progress=show)
    assert on.state == "finished"
    assert on.departure == stopped.departure
    assert min(seen) >= step
    assert [frame.step for frame in on.frames()] == list(range(0, 61, 2))
    assert on.deviation["step"].tolist() == list(range(0, 61, 2))
    caplog.clear()
    fresh = run(heisenberg, tmp_path / "fresh", replace(watch, stop=False))
    assert caplog.text.count("left what the model knows") == 1
    assert fresh.departure == stopped.departure
    wider = run(heisenberg, tmp_path / "wider", watch)
    wider = run(heisenberg, tmp_path / "wider", FAR)
    assert (wider.state, wider.departure) == ("finished", None)


def test_equal_models_never_differ(heisenberg: list[Path], tmp_path: Path) -> None:
    tight = Watch(force_limits=(1e-12, 1e-12), magnetic_limits=(1e-12, 1e-12))
    result = run(heisenberg[:1] * 2, tmp_path / "md", tight)
    assert result.state == "finished"
    assert (result.deviation["force_eV_per_A"] == 0.0).all()
    assert result.frames_between(0.0, 1e-12) is not None


def test_start_is_looked_at_and_the_atom_of_magnetic_forces_found(
    heisenberg: list[Path], tmp_path: Path
) -> None:
    watch = replace(FAR, magnetic_limits=(0.01, 0.02))
    result = run(heisenberg, tmp_path / "md", watch)
    found = result.departure
    assert found is not None
    assert (found.step, found.quantity) == (0, "magnetic force deviation")
    magnetic = exchange(crystal())[1]
    assert found.value == pytest.approx(magnetic.max(), rel=1e-4)
    assert [frame.step for frame in result.frames()] == [0]
    if found.atom is not None:  # what Python can open
        assert found.atom == int(magnetic.argmax())


def test_compressed_and_hot_run_stops_at_the_first_short_contact(
    heisenberg: list[Path], tmp_path: Path
) -> None:
    """One model only; where it comes too near is known from a run that may."""
    atoms = crystal()
    atoms.set_cell(0.85 * atoms.cell.array, scale_atoms=True)
    settings = replace(SETTINGS, steps=200, ensemble="nvt", temperature=1500.0)
    hot = Watch(shortest=0.1, max_temperature=1e6)
    options: dict[str, Any] = {"atoms": atoms, "settings": settings}
    free = run(heisenberg[:1], tmp_path / "free", hot, **options)
    assert free.state == "finished"
    assert free.deviation.empty
    nearest = np.array(
        [
            (frame.atoms.get_all_distances(mic=True) + 9.0 * np.eye(8)).min()
            for frame in free.frames()
        ]
    )
    lowest = np.minimum.accumulate(nearest)
    place = int(np.flatnonzero(np.diff(lowest))[-1]) + 1
    limit = float(lowest[place - 1] + lowest[place]) / 2.0
    watch = replace(hot, shortest=limit)
    found = run(heisenberg[:1], tmp_path / "md", watch, **options).departure
    assert found is not None
    assert (found.quantity, found.step) == ("distance", 2 * place)
    assert found.value == pytest.approx(nearest[place], abs=1e-6)


def test_short_contact_names_both_atoms(heisenberg: list[Path], tmp_path: Path) -> None:
    atoms = crystal()
    distances = atoms.get_all_distances(mic=True) + 9.0 * np.eye(8)
    first, second = divmod(int(distances.argmin()), 8)
    names = {atoms.symbols[first], atoms.symbols[second]}
    pair = "-".join(sorted(atoms.symbols[[first, second]]))
    watch = Watch(distances={pair: float(distances.min()) + 0.01})
    found = run(heisenberg[:1], tmp_path / "md", watch).departure
    assert found is not None
    assert (found.step, found.quantity) == (0, "distance")
    assert {found.symbol, found.partner_symbol} == names
    assert {found.atom, found.partner} == {first, second}
    assert found.value == pytest.approx(float(distances.min()))


def test_atoms_that_fly_apart_stop_the_run(
    heisenberg: list[Path], tmp_path: Path
) -> None:
    hot = replace(SETTINGS, temperature=1e9, steps=10_000)
    watch = replace(FAR, shortest=1e-6, max_temperature=1e12)
    result = run(heisenberg[:1], tmp_path / "md", watch, settings=hot)
    assert result.state == "stopped"
    assert result.departure is not None
    assert result.departure.quantity in {"atoms", "numbers"}
    again = run(heisenberg[:1], tmp_path / "md", watch, settings=hot)
    assert again.departure == result.departure


KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from spin_dp.lammps_interface import Watch
from tests.lammps.test_watch import FAR, LONG, run

limit, ranks, *models = sys.argv[2:]
watch = replace(FAR, force_limits=(float(limit), float(limit)))
run([Path(m) for m in models], Path(sys.argv[1]), watch, settings=LONG,
    ranks=int(ranks))
"""
LONG = replace(SETTINGS, steps=400, restart_every=20)


@pytest.mark.slow
def test_killed_run_stops_where_it_would_have(
    heisenberg: list[Path], tmp_path: Path
) -> None:
    free = run(heisenberg, tmp_path / "free", settings=LONG)
    limit, step = crossing(free, after=100)
    out = tmp_path / "md"
    command = [sys.executable, "-c", KILLED, str(out), repr(limit), "2"]
    child = subprocess.Popen(
        [*command, *map(str, heisenberg)],
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    deadline = time.monotonic() + 120.0
    while time.monotonic() < deadline and not (out / "restart.b").exists():
        assert child.poll() is None, "ended before it was killed"
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    watch = replace(FAR, force_limits=(limit, limit))
    result = run(heisenberg, out, watch, settings=LONG, ranks=2)
    assert (out / "run.1.log").exists()
    assert result.departure is not None
    assert result.departure.step == step
    assert [frame.step for frame in result.frames()] == list(range(0, step + 1, 2))
    assert result.deviation["step"].tolist() == list(range(0, step + 1, 2))
    before, after = read_frames(result.departure_file, result.deviation_file)
    assert (before.step, after.step) == (step - 2, step)


def test_command_line_ends_with_status_3(
    heisenberg: list[Path],
    free: MDResult,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    atoms = crystal()
    atoms.set_array("magmoms", tilted_moments())
    write(tmp_path / "cell.extxyz", atoms)
    arguments = ["md", str(tmp_path / "cell.extxyz"), "-o", str(tmp_path / "md")]
    for model in heisenberg:
        arguments += ["-m", str(model)]
    arguments += ["--ensemble", "nve", "--steps", "60", "--watch-every", "2"]
    arguments += ["--thermo-every", "2", "--dump-every", "2"]
    limit, step = crossing(free)
    arguments += ["--force-limits", str(limit / 2), str(limit)]
    arguments += ["--magnetic-limits", "50", "100"]
    assert main(arguments) == 3
    told = capsys.readouterr()
    assert f"stopped at step {step} of 60" in told.err
    assert "differ by" in told.err
    assert str(tmp_path / "md" / "departure.extxyz") in told.out.replace("\n", "")
    assert len(read(tmp_path / "md" / "trajectory.extxyz", ":")) == step // 2 + 1
    assert main([*arguments, "--no-stop"]) == 0
    assert len(read(tmp_path / "md" / "trajectory.extxyz", ":")) == 31
    assert main([*arguments, "--force-limits", "2", "1"]) == 1
    assert "expected the lower limit first, got 2 and 1" in capsys.readouterr().err
