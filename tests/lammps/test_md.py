# SPDX-License-Identifier: LGPL-3.0-or-later
"""Runs of the real LAMMPS, checked against an analytic model in plain NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.io import read
from ase.units import fs

from spin_dp.dynamics import run_md
from spin_dp.errors import BackendError, ConfigError
from spin_dp.lammps_interface import MDJob, MDResult, MDSettings, run_job
from tests.lammps.heisenberg import K, analytic, crystal, tilted_moments

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

pytestmark = pytest.mark.lammps


@pytest.mark.parametrize(
    ("basis", "ranks"),
    [
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], 1),
        ([[4, 1, 0], [1, 0, 0], [-3, 5, 1]], 2),
    ],
    ids=["plain", "skewed-left-handed-2-ranks"],
)
def test_first_frame_is_the_structure_and_numbers_are_those_of_the_model(
    heisenberg: list[Path], tmp_path: Path, basis: list[list[int]], ranks: int
) -> None:
    atoms, moments = crystal(), tilted_moments()
    atoms.set_cell(np.array(basis) @ atoms.cell.array)
    result = run_md(
        atoms,
        heisenberg,
        out=tmp_path / "md",
        moments=moments,
        settings=MDSettings(
            ensemble="nve", steps=2, thermo_every=1, dump_every=1, watch_every=1
        ),
        ranks=ranks,
    )
    assert result.n_frames == 3
    first, middle, last = read(result.trajectory, ":")
    assert first.get_chemical_symbols() == atoms.get_chemical_symbols()
    np.testing.assert_allclose(first.positions, atoms.positions, atol=2e-8)
    np.testing.assert_allclose(first.cell.array, atoms.cell.array, atol=1e-10)
    is_magnetic = moments.any(axis=1)
    for frame in (first, last):
        energy, forces, magnetic = analytic(frame, moments)
        assert frame.get_potential_energy() == pytest.approx(energy, abs=2e-6)
        np.testing.assert_allclose(frame.get_forces(), forces, atol=2e-6)
        np.testing.assert_allclose(frame.get_magnetic_moments(), moments, atol=1e-8)
        found = frame.arrays["magnetic_forces"]
        np.testing.assert_allclose(found[is_magnetic], magnetic[is_magnetic], atol=2e-6)
        assert not found[~is_magnetic].any()
    # exact in velocity Verlet: x(2) - x(0) = 2 dt v(1)
    moved = last.positions - first.positions
    np.testing.assert_allclose(moved, 2.0 * fs * middle.get_velocities(), atol=1e-7)
    _check_deviation(result, first, moments)


def _check_deviation(
    result: MDResult, atoms: Atoms, moments: NDArray[np.float64]
) -> None:
    """The standard deviation of (x, 3x) is |x|: x is the part of the exchange."""

    def exchange_energy(frame: Atoms) -> float:
        onsite = K * float((moments**2).sum())
        return analytic(frame, moments)[0] - analytic(frame, 0.0 * moments)[0] - onsite

    table = result.deviation
    assert table["step"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(table["time_ps"], [0.0, 0.001, 0.002])
    first = table.iloc[0]
    forces = analytic(atoms, moments)[1] - analytic(atoms, 0.0 * moments)[1]
    sizes = np.linalg.norm(forces, axis=1)
    assert sizes[int(first["force_atom"])] == pytest.approx(sizes.max(), rel=1e-5)
    assert first["force_eV_per_A"] == pytest.approx(sizes.max(), rel=1e-5)
    assert first["mean_force_eV_per_A"] == pytest.approx(sizes.mean(), rel=1e-5)
    magnetic = analytic(atoms, moments)[2] + 2.0 * K * moments
    sizes = np.linalg.norm(magnetic, axis=1)
    assert first["magnetic_force_eV_per_muB"] == pytest.approx(sizes.max(), rel=1e-5)
    assert first["mean_magnetic_force_eV_per_muB"] == pytest.approx(
        sizes.mean(), rel=1e-5
    )
    virial = np.zeros((3, 3))
    for row, column in np.ndindex(3, 3):
        energies = []
        for size in (1e-4, -1e-4):
            strain = np.eye(3)
            strain[row, column] += size
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            energies.append(exchange_energy(strained))
        virial[row, column] = (energies[1] - energies[0]) / 2e-4
    expected = np.abs(virial).max() / len(atoms)
    # LAMMPS turns the frame of a skewed cell, and with it single components.
    assert first["virial_eV_per_atom"] == pytest.approx(expected, rel=0.5)


LONG = MDSettings(
    ensemble="nve", steps=300, timestep=0.5, restart_every=20, dump_every=20
)


def run_long(
    model: Path, out: Path, *, stop: int | None = None, settings: MDSettings = LONG
) -> tuple[MDResult, list[int]]:
    """Run with a watcher; return the result and the steps it was told."""
    steps: list[int] = []

    def watch(step: int, total: int, thermo: dict[str, float]) -> None:
        assert total == settings.steps
        steps.append(step)
        if stop is not None and step >= stop:
            raise KeyboardInterrupt

    result = run_md(
        crystal(),
        model,
        out=out,
        moments="Mn=3.8,Ni=-1.3",
        settings=settings,
        supercell=(1, 1, 2),
        progress=watch,
    )
    return result, steps


@pytest.fixture(scope="module")
def whole(
    heisenberg: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[MDResult, list[int]]:
    """Return a run without interruption."""
    return run_long(heisenberg[0], tmp_path_factory.mktemp("whole"))


def test_nve_conserves_the_energy_and_holds_the_labels(
    whole: tuple[MDResult, list[int]],
) -> None:
    result, steps = whole
    assert steps == list(range(0, 301, 10))
    table = np.genfromtxt(result.thermo, delimiter=",", names=True)
    exchanged = np.ptp(table["potential_energy_eV"])
    assert exchanged > 0.1
    assert np.ptp(table["total_energy_eV"]) < 0.01 * exchanged
    assert result.energy_drift is not None
    assert abs(result.energy_drift) < 1.0
    assert result.ns_per_day is not None
    end = read(result.trajectory, "-1")
    labels = np.outer(2 * [0, 3.8, 0, 0, -1.3, 0, 3.8, 0], [0, 0, 1])
    np.testing.assert_allclose(end.get_magnetic_moments(), labels, atol=1e-12)
    assert np.abs(end.get_momenta().sum(axis=0)).max() < 1e-6


def test_interrupted_run_goes_on_and_finished_run_is_left_alone(
    heisenberg: list[Path], whole: tuple[MDResult, list[int]], tmp_path: Path
) -> None:
    out = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        run_long(heisenberg[0], out, stop=60)
    partial = read(out / "trajectory.extxyz", ":")
    assert 1 < len(partial) <= 16
    result, steps = run_long(heisenberg[0], out)
    assert (out / "run.1.log").exists()
    assert steps[0] >= 40
    assert steps[-1] == 300
    frames = read(result.trajectory, ":")
    assert [frame.info["step"] for frame in frames] == list(range(0, 301, 20))
    expected = read(whole[0].trajectory, "-1")
    np.testing.assert_allclose(frames[-1].positions, expected.positions, atol=1e-6)
    table = np.genfromtxt(result.thermo, delimiter=",", names=True)
    assert table["step"].tolist() == list(range(0, 301, 10))
    again, steps = run_long(heisenberg[0], out)
    assert steps == []
    assert again == result
    longer = replace(LONG, steps=700)
    with pytest.raises(ConfigError, match=r"steps 300 there, 700 now"):
        run_long(heisenberg[0], out, settings=longer)


def test_npt_with_a_frozen_model_changes_the_cell(
    frozen_model: Path, tmp_path: Path
) -> None:
    settings = MDSettings(
        ensemble="npt", pressure=1.0e4, steps=20, timestep=0.5, dump_every=10
    )
    result = run_md(
        crystal(),
        frozen_model,
        out=tmp_path / "md",
        moments="Mn=3.8,Ni=1.3",
        settings=settings,
    )
    frames = read(result.trajectory, ":")
    assert [frame.info["step"] for frame in frames] == [0, 10, 20]
    volumes = [frame.get_volume() for frame in frames]
    assert volumes[0] == pytest.approx(crystal().get_volume())
    assert volumes[2] != pytest.approx(volumes[0], rel=1e-6)
    table = np.genfromtxt(result.thermo, delimiter=",", names=True)
    assert volumes[2] == pytest.approx(table["volume_A3"][-1])


def test_failure_carries_the_error_line_of_lammps(tmp_path: Path) -> None:
    model = tmp_path / "model.pth"
    model.write_text("not a model")
    atoms = crystal()
    job = MDJob(
        symbols=atoms.get_chemical_symbols(),
        positions=atoms.positions,
        cell=atoms.cell.array,
        moments=tilted_moments(),
        models=[model],
    )
    with pytest.raises(BackendError, match=r"LAMMPS failed: ERROR.*screen\.txt"):
        run_job(job, tmp_path / "md")
