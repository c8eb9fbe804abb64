# SPDX-License-Identifier: LGPL-3.0-or-later
"""Extended XYZ: the right energy, moments along z, virials with the right sign."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from spin_dp.data_tools import Frame, Rejected, find_sources, read_extxyz, read_source
from spin_dp.data_tools.readers import ase_files as reasons

if TYPE_CHECKING:
    from ase import Atoms

GPAW = Path(__file__).resolve().parents[2] / "examples" / "gpaw"


def nickel_oxide(**results: Any) -> Atoms:
    """Return a two-atom cell with made-up results; None leaves one out."""
    atoms = bulk("NiO", "rocksalt", a=4.17)
    made = {
        "energy": -10.0,
        "free_energy": -10.1,
        "forces": np.array([[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]]),
        "magmoms": np.array([1.7, 0.1]),
        **results,
    }
    made = {name: value for name, value in made.items() if value is not None}
    atoms.calc = SinglePointCalculator(atoms, **made)
    return atoms


def read_back(tmp_path: Path, *images: Atoms) -> list[Frame | Rejected]:
    path = tmp_path / "frames.extxyz"
    ase.io.write(path, list(images), format="extxyz")
    return list(read_extxyz(path))


def only_frame(tmp_path: Path, atoms: Atoms) -> Frame:
    (frame,) = read_back(tmp_path, atoms)
    assert isinstance(frame, Frame)
    return frame


def only_reason(tmp_path: Path, atoms: Atoms) -> str:
    (frame,) = read_back(tmp_path, atoms)
    assert isinstance(frame, Rejected)
    return frame.reason


def test_arrays_pass_unchanged_and_collinear_moments_lie_along_z(
    tmp_path: Path,
) -> None:
    atoms = nickel_oxide()
    frame = only_frame(tmp_path, atoms)
    assert frame.symbols == ("Ni", "O")
    np.testing.assert_allclose(frame.cell, atoms.cell.array, atol=1e-12)
    np.testing.assert_allclose(frame.positions, atoms.positions, atol=1e-8)
    np.testing.assert_allclose(frame.forces, atoms.calc.results["forces"], atol=1e-8)
    np.testing.assert_array_equal(frame.moments, [[0, 0, 1.7], [0, 0, 0.1]])
    assert frame.virial is None


def test_energy_is_the_one_of_the_forces(tmp_path: Path) -> None:
    assert only_frame(tmp_path, nickel_oxide()).energy == -10.1
    fallback = only_frame(tmp_path, nickel_oxide(free_energy=None))
    assert (fallback.energy, fallback.energy_kind) == (-10.0, "energy")
    assert fallback.note == reasons.FALLBACK


def test_moments_of_three_columns_are_vectors(tmp_path: Path) -> None:
    vectors = np.array([[1.0, -0.5, 0.25], [0.0, 0.125, 0.0]])
    frame = only_frame(tmp_path, nickel_oxide(magmoms=vectors))
    np.testing.assert_array_equal(frame.moments, vectors)


def test_virial_is_minus_the_strain_derivative_of_the_energy(tmp_path: Path) -> None:
    """Compressed, sheared argon: every component by central differences."""
    atoms = bulk("Ar", "fcc", a=5.0, cubic=True)
    atoms.rattle(0.1, seed=4)
    shear = np.array([[0.96, 0.03, 0.01], [0.0, 0.99, -0.02], [0.0, 0.0, 0.94]])
    atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
    settings = {"sigma": 3.4, "epsilon": 0.0104, "rc": 8.0, "smooth": True}

    def energy(strain: np.ndarray) -> float:
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        strained.calc = LennardJones(**settings)
        return float(strained.get_potential_energy())

    atoms.calc = LennardJones(**settings)
    stored = atoms.copy()
    stored.calc = SinglePointCalculator(
        stored,
        energy=atoms.get_potential_energy(),
        forces=atoms.get_forces(),
        stress=atoms.get_stress(),
        magmoms=np.zeros(len(atoms)),
    )
    virial = only_frame(tmp_path, stored).virial
    assert virial is not None
    for i in range(3):
        for j in range(3):
            strain = np.zeros((3, 3))
            strain[i, j] += 0.5e-4
            strain[j, i] += 0.5e-4
            slope = (energy(strain) - energy(-strain)) / 2.0e-4
            assert virial[i, j] == pytest.approx(-slope, abs=1e-6)
    assert np.trace(virial) > 0.0  # compressed: it pushes outwards


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ({"forces": None}, reasons.NO_FORCES),
        ({"magmoms": None}, reasons.NO_MOMENTS),
        ({"energy": None, "free_energy": None}, reasons.NO_ENERGY),
        ({"free_energy": np.nan}, "energy is not a finite number"),
        ({"magmoms": np.array([np.nan, 0.0])}, "moments contain NaN"),
        ({"forces": np.full((2, 3), np.inf)}, "forces contain NaN or infinite"),
        ({"stress": np.full(6, np.nan)}, "stress contains NaN"),
    ],
)
def test_incomplete_frames_are_rejected(
    tmp_path: Path, results: dict[str, Any], reason: str
) -> None:
    assert reason in only_reason(tmp_path, nickel_oxide(**results))


def test_unconverged_and_open_frames_are_rejected(tmp_path: Path) -> None:
    unconverged = nickel_oxide()
    unconverged.info["converged"] = False
    assert only_reason(tmp_path, unconverged) == reasons.UNCONVERGED
    molecule = nickel_oxide()
    molecule.pbc = (True, True, False)
    assert only_reason(tmp_path, molecule) == reasons.NO_CELL


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [("none", False), ("fixed_total_moment", True), (None, None)],
)
def test_constraint_is_read_and_never_guessed(
    tmp_path: Path, constraint: str | None, expected: bool | None
) -> None:
    atoms = nickel_oxide()
    if constraint is not None:
        atoms.info["spin_constraint"] = constraint
    assert only_frame(tmp_path, atoms).constrained is expected


def test_broken_text_rejects_the_rest_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.extxyz"
    ase.io.write(path, [nickel_oxide(), nickel_oxide()], format="extxyz")
    path.write_text(path.read_text()[:-30])
    first, rest = read_extxyz(path)
    assert isinstance(first, Frame)
    assert isinstance(rest, Rejected)
    assert rest.step == 2
    assert rest.reason.startswith("not valid extended XYZ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("two\nwords\n", "not valid extended XYZ: XYZError"),
        ("1\nno cell\nQq 0 0 0\n", "not valid extended XYZ: KeyError"),
        ("", "no frames in the file"),
    ],
)
def test_text_that_is_no_xyz_is_one_rejected_frame(
    tmp_path: Path, content: str, reason: str
) -> None:
    path = tmp_path / "bad.xyz"
    path.write_text(content)
    (only,) = read_source(find_sources([path])[0])
    assert isinstance(only, Rejected)
    assert only.reason.startswith(reason)
    assert "\n" not in only.reason


def test_compressed_file_with_an_at_sign_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "run@3.extxyz.gz"
    plain = tmp_path / "plain.extxyz"
    ase.io.write(plain, nickel_oxide(), format="extxyz")
    path.write_bytes(gzip.compress(plain.read_bytes()))
    (frame,) = read_extxyz(path)
    assert isinstance(frame, Frame)
    path.write_bytes(path.read_bytes()[:40])
    (cut,) = read_source(find_sources([path])[0])
    assert isinstance(cut, Rejected)
    assert "cannot be read" in cut.reason


def test_gpaw_frames_agree_with_ase() -> None:
    for path in sorted(GPAW.glob("*.extxyz")):
        images = ase.io.read(path, index=":", format="extxyz")
        frames = list(read_extxyz(path))
        assert len(frames) == len(images)
        for frame, atoms in zip(frames, images, strict=True):
            if not atoms.info["converged"]:
                assert isinstance(frame, Rejected)
                continue
            assert isinstance(frame, Frame)
            assert frame.energy == atoms.calc.results["free_energy"]
            np.testing.assert_array_equal(frame.forces, atoms.get_forces())
            np.testing.assert_array_equal(
                frame.moments[:, 2], atoms.calc.results["magmoms"]
            )
            if "stress" in atoms.calc.results:
                virial = -atoms.get_volume() * atoms.get_stress(voigt=False)
                assert frame.virial is not None
                np.testing.assert_allclose(frame.virial, virial, atol=1e-12)
            else:  # rocksalts, README.md
                assert frame.virial is None
            assert frame.geometry_id == atoms.info["geometry_id"]
            held = atoms.info["spin_constraint"] == "fixed_total_moment"
            assert frame.constrained is held


def test_magnetic_forces_come_along(tmp_path: Path) -> None:
    torques = np.array([[0.01, -0.02, 0.03], [0.0, 0.04, 0.0]])
    atoms = nickel_oxide()
    atoms.set_array("magnetic_forces", torques)
    frame = only_frame(tmp_path, atoms)
    assert frame.magnetic_forces is not None
    np.testing.assert_allclose(frame.magnetic_forces, torques, atol=1e-8)


def test_plain_xyz_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "molecule.xyz"
    path.write_text("2\nnickel oxide\nNi 0 0 0\nO 0 0 1.7\n")
    (only,) = read_extxyz(path)
    assert isinstance(only, Rejected)
    assert only.reason == reasons.NO_LATTICE


def test_starting_guesses_are_no_moments(tmp_path: Path) -> None:
    atoms = nickel_oxide(magmoms=None)
    atoms.set_initial_magnetic_moments([2.0, 0.0])
    path = tmp_path / "guesses.extxyz"
    ase.io.write(path, atoms, format="extxyz")
    for missing_moments in ("reject", "zero"):
        (only,) = read_extxyz(path, missing_moments=missing_moments)
        assert isinstance(only, Rejected)
        assert only.reason == reasons.ONLY_GUESSES


def test_spin_blind_frames_get_zero_moments_on_request(tmp_path: Path) -> None:
    path = tmp_path / "blind.extxyz"
    polarised = nickel_oxide(magmoms=None, magmom=1.8)
    ase.io.write(path, [nickel_oxide(magmoms=None), polarised], format="extxyz")
    blind, silent = read_extxyz(path, missing_moments="zero")
    assert isinstance(blind, Frame)
    np.testing.assert_array_equal(blind.moments, np.zeros((2, 3)))
    assert blind.note == reasons.ZERO_MOMENTS
    assert isinstance(silent, Rejected)
    assert silent.reason == reasons.NO_MOMENTS
