# SPDX-License-Identifier: LGPL-3.0-or-later
"""ASE trajectories, GPAW restart files and GPAW logs."""

from __future__ import annotations

import gzip
import io
import os
import re
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import ulm
from ase.io.trajectory import write_atoms
from ase.stress import voigt_6_to_full_3x3_stress

from spin_dp.data_tools import Frame, Rejected, find_sources, read_extxyz, read_source
from spin_dp.data_tools.readers import ase_files, gpaw_text
from spin_dp.data_tools.readers.gpaw_text import read_gpaw_text
from spin_dp.data_tools.readers.source import ReadOptions
from spin_dp.errors import DataError

ROOT = Path(__file__).resolve().parents[2]


def nickel_oxide(a: float = 4.17, **results: Any) -> Atoms:
    atoms = bulk("NiO", "rocksalt", a=a)
    made = {
        "energy": -10.0,
        "free_energy": -10.1,
        "forces": np.array([[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]]),
        "magmoms": np.array([1.7, 0.1]),
        "magmom": 1.8,
        "stress": np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006]),
        **results,
    }
    made = {name: value for name, value in made.items() if value is not None}
    atoms.calc = SinglePointCalculator(atoms, **made)
    return atoms


def read_all(path: Path, options: ReadOptions | None = None) -> list[Frame | Rejected]:
    (source,) = find_sources([path])
    return list(read_source(source, options))


# --- ASE trajectories


def test_trajectory_gives_every_frame(tmp_path: Path) -> None:
    path = tmp_path / "relax.traj"
    images = [nickel_oxide(), nickel_oxide(4.2, free_energy=-10.3), nickel_oxide(4.3)]
    images[1].info["spin_constraint"] = "fixed_total_moment"
    images[2].calc.results.pop("magmoms")
    ase.io.write(path, images)
    first, second, third = read_all(path)
    assert isinstance(first, Frame)
    np.testing.assert_array_equal(first.moments, [[0, 0, 1.7], [0, 0, 0.1]])
    np.testing.assert_array_equal(first.forces, images[0].get_forces())
    assert first.virial is not None
    volume = images[0].get_volume()
    expected = -volume * np.array(
        [[0.01, 0.006, 0.005], [0.006, 0.02, 0.004], [0.005, 0.004, 0.03]]
    )
    np.testing.assert_allclose(first.virial, expected, atol=1e-14)
    assert (first.energy, first.total_moment, first.constrained) == (-10.1, 1.8, None)
    assert isinstance(second, Frame)
    assert (second.energy, second.step, second.constrained) == (-10.3, 2, True)
    assert isinstance(third, Rejected)
    assert third.reason == ase_files.NO_MOMENTS


def test_file_that_is_no_trajectory_is_one_rejected_frame(tmp_path: Path) -> None:
    path = tmp_path / "broken.traj"
    path.write_bytes(b"not a trajectory")
    (only,) = read_all(path)
    assert isinstance(only, Rejected)
    assert only.reason.startswith("not valid ASE trajectory: InvalidULMFileError")


# --- GPAW restart files


def write_gpw(path: Path, atoms: Atoms, **parameters: Any) -> None:
    """Write what ASE reads of a restart file (ULM with these parts)."""
    with ulm.Writer(path, tag="gpaw") as writer:
        writer.write(version=4)
        write_atoms(writer.child("atoms"), atoms)
        writer.child("results").write(**atoms.calc.results)
        writer.child("parameters").write(**parameters)
        writer.child("wave_functions").write(fermi_levels=np.array([0.1]))


def test_gpw_has_its_level_and_constraint(tmp_path: Path) -> None:
    path = tmp_path / "run.gpw"
    smearing = {"name": "fermi-dirac", "width": 0.1}
    settings = {"mode": {"name": "pw", "ecut": 500}, "xc": "PBE"}
    held = {"occupations": {**smearing, "fixmagmom": True}, "kpts": (4, 4, 4)}
    write_gpw(path, nickel_oxide(), **settings, **held)
    (frame,) = read_all(path)
    assert isinstance(frame, Frame)
    assert (frame.energy, frame.constrained) == (-10.1, True)
    np.testing.assert_array_equal(frame.moments[:, 2], [1.7, 0.1])
    assert frame.level.label == "GPAW-PBE"
    assert "kpts" not in frame.level.description
    write_gpw(path, nickel_oxide(), **settings, occupations=smearing)
    (free,) = read_all(path)
    assert isinstance(free, Frame)
    assert free.constrained is False
    assert free.level.id == frame.level.id  # a held moment and k-mesh are no level


def test_gpw_of_a_noncollinear_run(tmp_path: Path) -> None:
    path = tmp_path / "run.gpw"
    vectors = np.array([[1.0, -0.5, 0.25], [0.0, 0.125, 0.0]])
    atoms = nickel_oxide(magmoms=None)
    atoms.calc.results["non_collinear_magmoms"] = vectors
    write_gpw(path, atoms, mode="pw")
    (frame,) = read_all(path)
    assert isinstance(frame, Frame)
    np.testing.assert_array_equal(frame.moments, vectors)


# --- GPAW logs


@pytest.fixture(scope="session")
def gpaw_logs() -> list[Path]:
    """Return real GPAW logs; where absent, skip, but fail in CI."""
    folder = ROOT.parent / "shared" / "data" / "gpaw" / "logs"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"the GPAW logs are missing: {folder}")
        pytest.skip(f"the GPAW logs are not here: {folder}")
    return sorted(folder.glob("*.txt.gz"))


def test_logs_agree_with_the_data_set(gpaw_logs: list[Path]) -> None:
    """Same calculation, two files: equal within the digits that the log prints."""
    known = {}
    for path in sorted((ROOT / "examples" / "gpaw").glob("*.extxyz")):
        images = ase.io.read(path, index=":", format="extxyz")
        for frame, atoms in zip(read_extxyz(path), images, strict=True):
            if isinstance(frame, Frame):
                start = atoms.info["initial_M"].removeprefix("init:")
                known[frame.geometry_id, start, frame.constrained] = frame, atoms
    compared, with_stress = 0, 0
    for path in gpaw_logs:
        name = re.fullmatch(r"(.+?-\d+)_(fix_)?(.+)\.txt\.gz", path.name)
        assert name is not None
        geometry, held, start = name[1], name[2] is not None, name[3].replace("_", ",")
        if (geometry, start, held) not in known:
            continue
        frame, atoms = known[geometry, start, held]
        (read,) = read_all(path)
        assert isinstance(read, Frame), path.name
        compared += 1
        assert read.symbols == frame.symbols
        assert read.constrained is held
        assert read.energy == pytest.approx(frame.energy, abs=1e-6)
        assert read.total_moment == pytest.approx(frame.total_moment, abs=1e-6)
        np.testing.assert_allclose(read.positions, frame.positions, atol=1e-6)
        np.testing.assert_allclose(read.cell, frame.cell, atol=1e-6)
        np.testing.assert_allclose(read.forces, frame.forces, atol=1e-5)
        np.testing.assert_allclose(read.moments, frame.moments, atol=1e-6)
        if read.virial is not None:  # the data set corrects the stress for the basis
            stress = voigt_6_to_full_3x3_stress(atoms.info["stress_fixed_basis"])
            expected = -atoms.get_volume() * stress
            np.testing.assert_allclose(read.virial, expected, atol=2e-4)
            with_stress += 1
    assert compared >= 5
    assert with_stress >= 1


def test_log_of_an_unconverged_run_is_rejected(gpaw_logs: list[Path]) -> None:
    (path,) = (path for path in gpaw_logs if "LiCoO2_8-000" in path.name)
    (only,) = read_all(path)
    assert isinstance(only, Rejected)
    assert only.reason == gpaw_text.UNCONVERGED


def test_levels_of_logs_differ_by_setups_only(gpaw_logs: list[Path]) -> None:
    levels = {}
    for path in gpaw_logs:
        for frame in read_gpaw_text(path):
            if isinstance(frame, Frame):
                levels[frame.level.id] = frame.level
    # Co at 4x4x2 and 4x2x2, free and held: one level; Mn and Ni one each
    assert len(levels) == 3
    for level in levels.values():
        assert level.label == "GPAW-PBE+U-500eV"
        assert level.description["smearing"] == "Fermi-Dirac: width: 0.1000"
    u_ev = {
        element: words
        for level in levels.values()
        for element, words in dict(level.description["hubbard"]).items()  # type: ignore[call-overload]
    }
    assert {name: words.split()[1] for name, words in u_ev.items()} == {
        "Mn": "3.9",
        "Co": "3.32",
        "Ni": "6.2",
    }


HEAD = """
  __  _  _
 | _ |_)|_||  |
 |__||  | ||/\\| - 26.7.0

Input parameters:
  mode=PW(ecut=400.0),
  kpts=MonkhorstPack(size=(4, 4, 4), gamma=False),
  xc=XC(name='PBE')

Atoms  # Å, Bohr magnetons
|   | symbol |        x |        y |         z |    initial magnetic moments |
|---|--------|----------|----------|-----------|-----------------------------|
| 0 |     Ni | 0.000000 | 0.000000 |  0.000000 | ( 0.0000,  0.0000,  2.0000) |
| 1 |      O | 2.085000 | 0.000000 |  0.100000 | ( 0.0000,  0.0000,  0.0000) |

Unit cell  # Å
| periodic |        x |        y |        z |  lengths |    angles |
|----------|----------|----------|----------|----------|-----------|
|      yes | 0.000000 | 2.085000 | 2.085000 | 2.948635 | 60.000000 |
|      yes | 2.085000 | 0.000000 | 2.085000 | 2.948635 | 60.000000 |
|      yes | 2.085000 | 2.085000 | 0.000000 | 2.948635 | 60.000000 |

Cutoff: 400.0 eV
Spin-components: 2 (collinear spins)

occupation numbers:
  Fermi-Dirac:
    width: 0.1000  # eV

xc functional:
  name: PBE with 2 nearest neighbor stencil

maximum number of iterations: 90
"""

SCF = """
|iter:   1| 11:57:59 |  -23.147335 | +0.07 |       |  +2.0046|
|iter:   2| 11:58:13 |  -22.789966c| -5.21c| -3.70c|  +2.0000|
"""

RESULTS = """
Converged in 2 steps
Energy contributions:
  Entropy:          -0.200000
  ----------------------------
  Free energy:     -10.100000
  Extrapolated:    -10.000000

Total magnetic moment: (0.300000, 0.000000, 0.400000)

Local magnetic moments
|        x |        y |        z |
|----------|----------|----------|
| 0.300000 | 0.000000 | 1.600000 |  # Ni   0
| 0.000000 | 0.100000 | 0.000000 |  # O    1

Forces  # eV/Ang
|        x |        y |        z |
|----------|----------|----------|
| -0.44566 | -0.04459 | -0.85024 |  # Ni   0
|  0.44566 |  0.04459 |  0.85024 |  # O    1

Stress tensor  # eV/Ang^3
|         x |         y |         z |
|-----------|-----------|-----------|
| -0.136783 |  0.009207 | -0.029233 |
|  0.009207 |  0.023417 | -0.019256 |
| -0.029233 | -0.019256 | -0.052336 |
"""


def test_new_format_is_read_in_full(tmp_path: Path) -> None:
    path = tmp_path / "gpaw.out"
    path.write_text(HEAD + SCF + RESULTS)
    (frame,) = read_all(path)
    assert isinstance(frame, Frame)
    assert frame.symbols == ("Ni", "O")
    assert frame.energy == -10.1  # not the extrapolated one
    assert frame.total_moment == pytest.approx(0.5)
    np.testing.assert_array_equal(frame.moments, [[0.3, 0, 1.6], [0, 0.1, 0]])
    np.testing.assert_array_equal(frame.positions[1], [2.085, 0, 0.1])
    np.testing.assert_array_equal(frame.forces[0], [-0.44566, -0.04459, -0.85024])
    assert frame.virial is not None
    assert frame.virial[0, 0] == pytest.approx(2 * 2.085**3 * 0.136783)
    assert frame.level.label == "GPAW-PBE-400eV"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEAD, gpaw_text.UNFINISHED),
        (HEAD + SCF, gpaw_text.UNFINISHED),
        (HEAD + SCF.replace("2|", "90|"), gpaw_text.UNCONVERGED),
        (HEAD + SCF + "\nSCF loop did not converge!\n", gpaw_text.UNCONVERGED),
        (HEAD + SCF + RESULTS.replace("Converged in", "Ran"), gpaw_text.UNCONVERGED),
        (HEAD + SCF + RESULTS.partition("Forces")[0], gpaw_text.NO_FORCES),
        (HEAD + SCF + RESULTS.replace("Local", "Other"), gpaw_text.NO_MOMENTS),
        (HEAD.replace("|      yes", "|       no") + SCF + RESULTS, gpaw_text.NO_CELL),
    ],
)
def test_unusable_logs_say_why(tmp_path: Path, text: str, reason: str) -> None:
    (only,) = read_gpaw_text(_written(tmp_path, text))
    assert isinstance(only, Rejected)
    assert only.reason == reason


@pytest.mark.parametrize(
    "text", [HEAD.replace("| 1 |      O |", "| ... |"), HEAD.replace("Unit", "A unit")]
)
def test_log_without_all_atoms_cannot_be_read(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="cut off before its atoms and unit cell"):
        list(read_gpaw_text(_written(tmp_path, text + SCF + RESULTS)))


def _written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gpaw.txt"
    path.write_text(text)
    return path


def test_unpolarised_log_is_zero_only_on_request(tmp_path: Path) -> None:
    head = HEAD.replace("Spin-components: 2", "Spin-components: 1")
    results = RESULTS.replace("Local magnetic", "No magnetic")
    path = _written(tmp_path, head + SCF + results)
    (rejected,) = read_all(path)
    assert isinstance(rejected, Rejected)
    assert rejected.reason == gpaw_text.UNPOLARISED
    (frame,) = read_all(path, ReadOptions(missing_moments="zero"))
    assert isinstance(frame, Frame)
    np.testing.assert_array_equal(frame.moments, np.zeros((2, 3)))
    assert frame.note == gpaw_text.ZERO_MOMENTS


def test_second_step_without_positions_is_rejected(tmp_path: Path) -> None:
    """Atoms have moved, but where to the log does not say."""
    moved = HEAD[HEAD.index("Atoms") :].replace("0.100000", "0.200000")
    step = SCF + RESULTS
    path = _written(tmp_path, HEAD + step + moved + step + step)
    first, second, third = read_gpaw_text(path)
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    assert (first.positions[1, 2], second.positions[1, 2]) == (0.1, 0.2)
    assert isinstance(third, Rejected)
    assert third.reason == gpaw_text.NO_POSITIONS


OLD = """
  ___ ___ ___ _ _ _
 |   |   |_  | | | |
 | | | | | . | | | |
 |__ |  _|___|_____|  22.8.0
 |___|_|

Positions:
   0 Ni     0.000000    0.000000    0.000000    ( 0.0000,  0.0000,  2.0000)
   1 O      2.085000    0.000000    0.100000    ( 0.0000,  0.0000,  0.0000)

Unit cell:
           periodic     x           y           z      points  spacing
  1. axis:    yes    0.000000    2.085000    2.085000    16     0.1505
  2. axis:    yes    2.085000    0.000000    2.085000    16     0.1505
  3. axis:    yes    2.085000    2.085000    0.000000    16     0.1505

iter:   1  11:57:59   -23.147335   +0.07          +2.0046
iter:   2  11:58:13   -22.789966c  -5.21c -3.70c  +2.0000

Converged after 2 iterations.

Dipole moment: (0.000000, 0.000000, 0.000000) |e|*Ang

Energy contributions relative to reference atoms: (reference = -42187.202328)

Entropy (-ST):   -0.200000
Local:          +1.000000
--------------------------
Free energy:    -10.100000
Extrapolated:   -10.000000

Total magnetic moment: 1.800000
Local magnetic moments:
   0 Ni ( 0.000000,  0.000000,  1.700000)
   1 O  ( 0.000000,  0.000000,  0.100000)

Fermi level: 1.00000

Forces in eV/Ang:
  0 Ni   -0.44566   -0.04459   -0.85024
  1 O     0.44566    0.04459    0.85024
"""


def test_old_format_agrees_with_ase(tmp_path: Path) -> None:
    """ASE reads the log format of GPAW before 25, but takes the extrapolated energy."""
    (frame,) = read_gpaw_text(_written(tmp_path, OLD))
    assert isinstance(frame, Frame)
    atoms = ase.io.read(io.StringIO(OLD), format="gpaw-out")
    assert isinstance(atoms, Atoms)
    assert frame.energy == atoms.calc.energy_contributions["free energy"]
    assert frame.symbols == tuple(atoms.get_chemical_symbols())
    assert frame.total_moment == 1.8
    np.testing.assert_array_equal(frame.positions, atoms.positions)
    np.testing.assert_array_equal(frame.cell, atoms.cell.array)
    np.testing.assert_array_equal(frame.forces, atoms.get_forces())
    np.testing.assert_array_equal(frame.moments[:, 2], atoms.get_magnetic_moments())


def test_only_gpaw_texts_are_claimed(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("made with GPAW\n" * 100)
    (tmp_path / "slurm.out").write_bytes(bytes(range(256)))
    (tmp_path / "empty.log").write_text("")
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(HEAD.encode())[:20])
    (tmp_path / "run.txt").write_text(HEAD)
    (tmp_path / "run.log.gz").write_bytes(gzip.compress(OLD.encode()))
    found = find_sources([tmp_path])
    assert [source.path.name for source in found] == ["run.log.gz", "run.txt"]
    assert {source.reader for source in found} == {"gpaw"}
