# SPDX-License-Identifier: LGPL-3.0-or-later
"""The GPAW engine makes frames of the shipped level: settings, k-meshes, stress."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.io import read

from spin_dp.data_tools import collect
from spin_dp.data_tools.level import level_of_settings
from spin_dp.dft import Request, Status, run_requests
from spin_dp.dft.gpaw import TEXT, Gpaw
from spin_dp.errors import BackendError, ConfigError
from tests.gpaw_python import gpaw_python

if TYPE_CHECKING:
    from ase import Atoms

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shipped() -> list[Atoms]:
    """Return all frames of the examples."""
    files = sorted((ROOT / "examples").glob("gpaw*/*.extxyz"))
    return [atoms for file in files for atoms in read(file, ":")]


def request_of(frame: Atoms) -> Request:
    return Request.of(
        frame,
        frame.get_initial_magnetic_moments(),
        geometry_id=frame.info["geometry_id"],
    )


FINER = ("rocksaltMnO-1", "rocksaltNiO-1")
"""Geometries with one more k-point along c than the rule gives (see the data card)."""


def test_settings_are_those_of_the_shipped_frames(shipped: list[Atoms]) -> None:
    """But for the frames made first, whose thresholds were tighter."""
    engine = Gpaw()
    for frame in shipped:
        request = request_of(frame)
        settings = engine.settings(engine.kpts(request))
        if "maxiter=90" in frame.info["settings"]:
            if frame.info["geometry_id"].startswith(FINER):
                settings = settings.replace("MP4x4x2", "MP4x4x3")
            assert settings == frame.info["settings"]
        else:
            mesh = re.compile(r"MP\S+")
            assert mesh.findall(settings) == mesh.findall(frame.info["settings"])
        assert engine.level(()).id == level_of_settings(frame.info["settings"]).id
    assert len(shipped) > 221


def test_starts_are_written_as_in_the_shipped_frames(shipped: list[Atoms]) -> None:
    for frame in shipped:
        assert request_of(frame).start == frame.info["initial_M"]


def test_pulay_correction_is_that_of_the_shipped_frames(shipped: list[Atoms]) -> None:
    engine, with_stress = Gpaw(), 0
    for frame in shipped:
        pulay = engine.pulay(frame.get_chemical_symbols())
        raw = frame.info.get("stress_fixed_basis")
        if raw is None:
            continue
        assert ("stress" in frame.calc.results) == (pulay is not None)
        if pulay is not None:
            stress = frame.calc.results["stress"]
            expected = [pulay / frame.get_volume()] * 3 + [0.0] * 3
            np.testing.assert_allclose(
                raw - stress, expected, atol=5e-5
            )  # terms of 1 meV
            with_stress += 1
    assert with_stress > 200


@pytest.mark.parametrize(
    ("engine", "symbols"),
    [
        (Gpaw(), "Ni Ni O O"),  # rocksalt
        (Gpaw(), "Na Ni O O"),
        (Gpaw(cutoff_ev=600.0), "Li Ni O O"),
        (Gpaw(functional="PBEsol"), "Li Ni O O"),
        (Gpaw(pulay_ev={}), "Li Ni O O"),
    ],
)
def test_no_stress_where_the_correction_is_not_known(
    engine: Gpaw, symbols: str
) -> None:
    assert engine.pulay(symbols.split()) is None


def test_own_correction_counts() -> None:
    engine = Gpaw(cutoff_ev=600.0, pulay_ev={"Li": 0.1, "Fe": 2.0})
    assert engine.pulay(["Li", "Li", "Fe", "O", "O"]) == pytest.approx(2.2)


def test_other_levels_are_refused() -> None:
    shipped = level_of_settings(Gpaw().settings((4, 4, 2)))
    Gpaw(max_iterations=200, k_density=2.0).check_level([shipped], ["Li", "O"])
    with pytest.raises(ConfigError, match=r"the engine gpaw would add .*PW\(400eV\)"):
        Gpaw(cutoff_ev=400.0).check_level([shipped], ["Li", "O"])


def test_python_without_gpaw_is_one_sentence(tmp_path: Path) -> None:
    """An empty environment of this Python has no GPAW."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named gpaw' >&2; exit 1\n")
    python.chmod(0o755)
    with pytest.raises(BackendError, match=r"cannot import GPAW \(No module .* python"):
        Gpaw(python=str(python)).check()


def test_killed_gpaw_is_a_failure_with_its_reason(
    tmp_path: Path, shipped: list[Atoms]
) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || kill -9 $$\n')
    python.chmod(0o755)
    engine = Gpaw(python=str(python))
    (found,) = run_requests([request_of(shipped[0])], engine, tmp_path / "runs")
    assert found.status is Status.FAILED
    assert found.failures == 2
    assert found.reason.startswith("GPAW was killed by signal 9")


@pytest.fixture(scope="module")
def cheap() -> Gpaw:
    """Return settings for a real run of seconds."""
    python = gpaw_python()
    if python is None:
        pytest.skip("GPAW is not here; GPAW_PYTHON may name the Python that has it")
    return Gpaw(
        python=python,
        cutoff_ev=250.0,
        k_density=0.1,
        thresholds={"energy": 1e-2, "density": 1e-2, "eigenstates": 1e-2},
        pulay_ev={"Li": 0.0, "Ni": 30.0},
    )


def test_gpaw_runs_and_collect_reads_it(
    cheap: Gpaw, shipped: list[Atoms], tmp_path: Path
) -> None:
    start = next(f for f in shipped if f.info["geometry_id"].startswith("NiO2_3"))
    moments = [1.0 if s == "Ni" else 0.0 for s in start.symbols]
    request = Request.of(start, moments, geometry_id=start.info["geometry_id"])
    cheap.check()
    (found,) = run_requests([request], cheap, tmp_path / "runs")
    assert (found.status, found.reason) == (Status.CONVERGED, "")
    assert (found.folder / TEXT).stat().st_size > 1000
    frame = read(found.folder / "frame.extxyz")
    same = next(f for f in shipped if f.info.get("temperature") is None)
    assert set(frame.calc.results) == set(same.calc.results)
    assert set(frame.arrays) == set(same.arrays)
    assert frame.info["initial_M"] == "init:+1"
    assert found.energy == pytest.approx(frame.calc.results["free_energy"])
    assert found.moments == pytest.approx(frame.calc.results["magmoms"], abs=1e-7)
    raw, stress = frame.info["stress_fixed_basis"], frame.calc.results["stress"]
    np.testing.assert_allclose((raw - stress)[:3], 30.0 / frame.get_volume())
    report = collect([tmp_path / "runs"], tmp_path / "data")
    assert (report.n_read, report.n_kept) == (1, 1)
    assert set(report.level_groups) == {cheap.level(()).id}


def test_gpaw_that_does_not_converge_is_recorded(
    cheap: Gpaw, shipped: list[Atoms], tmp_path: Path
) -> None:
    from dataclasses import replace

    engine = replace(cheap, max_iterations=2)
    start = next(f for f in shipped if f.info["geometry_id"].startswith("NiO2_3"))
    request = request_of(start)
    (found,) = run_requests([request], engine, tmp_path)
    assert found.status is Status.UNCONVERGED
    assert found.failures == 0
    frame = read(found.folder / "frame.extxyz")
    assert frame.info["error"] == "KohnShamConvergenceError"
    assert frame.info["scf_iterations"] == 2
    assert "forces" not in frame.calc.results
