# SPDX-License-Identifier: LGPL-3.0-or-later
"""Relaxations before a run, and cells that are strained on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.io import read

from spin_dp.lammps_interface import LammpsSession, MDSettings, run_job
from tests.lammps.heisenberg import analytic, crystal
from tests.lammps.test_session import make_job

if TYPE_CHECKING:
    from pathlib import Path

    from spin_dp.lammps_interface.settings import CellChange

pytestmark = pytest.mark.lammps

AT_REST = MDSettings(ensemble="nve", temperature=0.0, steps=0, relax="atoms")
BAR = 4.0e5  # the model only repels: nothing else holds the cell together


def test_relaxed_atoms_have_no_forces_and_their_old_cell(
    heisenberg: list[Path], tmp_path: Path
) -> None:
    job = make_job(heisenberg[:1], replace(AT_REST, relax_force=1e-3))
    before = analytic(crystal(), job.moments)
    assert np.abs(before[1]).max() > 0.1
    result = run_job(job, tmp_path / "md")
    assert result.state == "finished"
    assert result.n_frames == 1
    atoms = read(result.trajectory)
    energy, forces, _ = analytic(atoms, job.moments)
    assert np.abs(forces).max() < 1e-3
    np.testing.assert_allclose(atoms.cell.array, job.cell, atol=1e-10)
    found = result.relaxation
    assert found is not None
    assert found.energy_change == pytest.approx(energy - before[0], abs=1e-7)
    assert found.largest_force == pytest.approx(np.abs(forces).max(), rel=0.5)
    assert found.iterations > 3


@pytest.mark.parametrize("change", ["iso", "tri"])
def test_a_relaxed_cell_has_the_pressure_that_is_asked_for(
    heisenberg: list[Path], tmp_path: Path, change: CellChange
) -> None:
    """Of a cell that changes in size only, the mean of the three."""
    settings = replace(
        AT_REST, relax="cell", cell_change=change, pressure=BAR, relax_force=1e-4
    )
    result = run_job(make_job(heisenberg[:1], settings), tmp_path / "md")
    atoms = read(result.trajectory)
    pressure = np.genfromtxt(result.thermo, delimiter=",", names=True)["pressure_bar"]
    assert float(pressure) == pytest.approx(BAR, rel=1e-3)
    shape = np.linalg.solve(crystal().cell.array, atoms.cell.array)
    size = np.cbrt(np.linalg.det(shape))
    assert abs(size - 1.0) > 1e-3
    assert np.allclose(shape, size * np.eye(3), atol=1e-6) == (change == "iso")


def test_a_run_starts_from_the_relaxed_atoms_and_goes_on_from_there(
    heisenberg: list[Path], tmp_path: Path
) -> None:
    settings = MDSettings(steps=20, thermo_every=5, dump_every=5, relax="atoms")
    job = make_job(heisenberg[:1], settings)
    frames = read(run_job(job, tmp_path / "whole").trajectory, ":")
    assert [frame.info["step"] for frame in frames] == [0, 5, 10, 15, 20]
    assert np.abs(frames[0].get_forces()).max() < 0.01
    assert frames[0].get_temperature() == pytest.approx(262.5, rel=1e-5)
    with LammpsSession(job, tmp_path / "parts") as session:
        session.run(7)
    with LammpsSession(job, tmp_path / "parts") as session:
        session.run(13)
    parts = read(session.result.trajectory, ":")
    for one, other in zip(parts, frames, strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-7)
    assert session.result.relaxation is not None


STRAIN = {"zz": 0.03, "xx": -0.01, "yz": 0.02}


def test_a_cell_is_strained_evenly_across_segments_and_interruptions(
    heisenberg: list[Path], tmp_path: Path
) -> None:
    """By the metric of the cell, which knows no turns; atoms at rest go with it."""
    settings = MDSettings(
        steps=40, thermo_every=5, dump_every=5, strain=STRAIN, restart_every=11
    )
    job = make_job(heisenberg[:1], settings)
    frames = read(run_job(job, tmp_path / "whole").trajectory, ":")
    tensor = np.zeros((3, 3))
    for name, value in STRAIN.items():
        row, column = ("xyz".index(letter) for letter in name)
        tensor[row, column] = tensor[column, row] = value
    cell = job.cell @ (np.eye(3) + tensor)
    np.testing.assert_allclose(
        frames[-1].cell.array @ frames[-1].cell.array.T, cell @ cell.T, atol=1e-8
    )
    volumes = np.array([frame.get_volume() for frame in frames])
    evenly = np.linspace(volumes[0], volumes[-1], len(frames))
    np.testing.assert_allclose(volumes, evenly, rtol=1e-3)
    table = np.genfromtxt(tmp_path / "whole" / "thermo.csv", delimiter=",", names=True)
    np.testing.assert_allclose(table["volume_A3"], volumes, rtol=1e-9)
    with LammpsSession(job, tmp_path / "parts") as session:
        session.run(7)
    with LammpsSession(job, tmp_path / "parts") as session:
        while session.remaining:
            session.run(9)
    parts = read(session.result.trajectory, ":")
    for one, other in zip(parts, frames, strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-3)
        np.testing.assert_allclose(one.cell.array, other.cell.array, atol=1e-9)
