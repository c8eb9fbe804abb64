# SPDX-License-Identifier: LGPL-3.0-or-later
"""MD that is looked at while it runs, with the analytic model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import ase.io
import pytest

from spin_dp.demo import contacts
from spin_dp.demo.watched import fast_form, run_watched
from spin_dp.errors import BackendError, ConfigError
from spin_dp.lammps_interface import MDSettings
from spin_dp.neighbours import shortest_contacts
from tests.lammps.heisenberg import crystal, tilted_moments

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

pytestmark = pytest.mark.lammps

RUN = MDSettings(ensemble="nve", steps=100, dump_every=10, restart_every=30)


@pytest.fixture
def atoms() -> Atoms:
    labelled = crystal()
    labelled.set_initial_magnetic_moments(tilted_moments())
    return labelled


def test_the_outcome_is_that_of_the_trajectory(
    heisenberg: list[Path], atoms: Atoms, tmp_path: Path
) -> None:
    outcome = run_watched(atoms, heisenberg[0], tmp_path / "md", RUN)
    assert outcome.holds
    assert outcome.atoms == 8
    assert outcome.ps == pytest.approx(0.1)
    symbols = atoms.get_chemical_symbols()
    frames = ase.io.read(tmp_path / "md" / "trajectory.extxyz", ":")
    assert len(frames) == 11  # one for each look
    expected: dict[str, float] = {}
    for frame in frames:
        found = shortest_contacts(symbols, frame.cell.array, frame.positions)
        for name, distance in found.items():
            expected[name] = min(distance, expected.get(name, 99.0))
    assert outcome.shortest == pytest.approx(expected, abs=1e-6)
    assert outcome.drift == pytest.approx(0.0, abs=5.0)


def test_a_run_ends_where_the_crystal_falls_apart(
    heisenberg: list[Path],
    atoms: Atoms,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = run_watched(atoms, heisenberg[0], tmp_path / "whole", RUN)
    name, shortest = min(whole.shortest.items(), key=lambda item: item[1])
    monkeypatch.setattr(contacts, "BROKEN_ANGSTROM", shortest + 1e-4)
    cut = run_watched(atoms, heisenberg[0], tmp_path / "cut", RUN)
    assert not cut.holds
    assert cut.broken_ps == cut.ps <= 0.1
    assert cut.broken_by == f"{name} {shortest:.2f} Å"


def test_an_interrupted_run_goes_on(
    heisenberg: list[Path], atoms: Atoms, tmp_path: Path
) -> None:
    whole = run_watched(atoms, heisenberg[0], tmp_path / "whole", RUN)

    def stop(step: int, _steps: int, _kelvin: float) -> None:
        if step >= 70:
            raise KeyboardInterrupt

    folder = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        run_watched(atoms, heisenberg[0], folder, RUN, progress=stop)
    seen: list[int] = []
    resumed = run_watched(
        atoms, heisenberg[0], folder, RUN, progress=lambda step, *_: seen.append(step)
    )
    assert 30 < seen[0] <= 80
    assert resumed.shortest == pytest.approx(whole.shortest, abs=1e-4)
    assert resumed.ps == whole.ps
    again = run_watched(atoms, heisenberg[0], folder, RUN)  # finished: nothing moves
    assert again.shortest == pytest.approx(resumed.shortest, abs=1e-9)


def test_a_missing_lammps_is_no_fault_of_the_model(
    heisenberg: list[Path],
    atoms: Atoms,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = "spin_dp.lammps_interface.program.find_program"
    monkeypatch.setattr(where, lambda *_: None)
    with pytest.raises(BackendError):
        run_watched(atoms, heisenberg[0], tmp_path / "md", RUN)


def test_atoms_without_labels_are_refused(
    heisenberg: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no labels"):
        run_watched(crystal(), heisenberg[0], tmp_path / "md", replace(RUN, steps=1))
    assert not (tmp_path / "md").exists()


def test_a_fast_model_is_taken_as_it_is(
    compiled_model: tuple[Path, str], tmp_path: Path
) -> None:
    assert fast_form(compiled_model[0], tmp_path) == compiled_model[0]
    assert not list(tmp_path.iterdir())


def test_a_frozen_model_is_compressed_where_there_is_no_compiler(
    predicting_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> Path:
        raise ConfigError("no C++ compiler")

    monkeypatch.setattr("spin_dp.deployment.compile.compile_model", refuse)
    made = fast_form(predicting_model, tmp_path)
    assert made == tmp_path / "model.compressed.pth"
    assert "no C++ compiler" in caplog.text
    written = made.stat().st_mtime_ns
    assert fast_form(predicting_model, tmp_path) == made
    assert made.stat().st_mtime_ns == written
