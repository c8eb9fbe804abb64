# SPDX-License-Identifier: LGPL-3.0-or-later
"""dpdata in both directions: what it reads for us, and our formats in it; ABACUS."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import ase.io
import dpdata
import numpy as np
import pytest
from dpdata.plugins.deepmd import register_spin

import spin_dp.data_tools.dpdata_format  # noqa: F401  (registers the formats)
from spin_dp.data_tools import Frame, Rejected, find_sources, read_outcar, read_source
from spin_dp.data_tools import write_system as write_deepmd_system
from spin_dp.data_tools.readers import abacus, dpdata_source
from spin_dp.data_tools.readers.abacus import read_abacus
from spin_dp.data_tools.readers.dpdata_source import parse, read_dpdata
from spin_dp.data_tools.readers.source import ReadOptions
from spin_dp.errors import ConfigError, DataError
from spin_dp.spin_states.elements import type_order

if TYPE_CHECKING:
    from pathlib import Path

    from spin_dp.data_tools.frame import Array


# --- our formats in dpdata


@pytest.mark.parametrize("name", ["feo-relax-spinflip", "nio-soc-noncollinear"])
def test_outcar_through_dpdata_equals_our_system(
    vasp_data: Path, tmp_path: Path, name: str
) -> None:
    outcar = vasp_data / name / "OUTCAR.gz"
    frames = [frame for frame in read_outcar(outcar) if isinstance(frame, Frame)]
    system = dpdata.LabeledSystem(str(outcar), fmt="vasp/outcar/spin")
    assert system["spins"].shape == (len(frames), frames[0].natoms, 3)
    assert np.abs(system["spins"]).max() > 1.0
    system.to("deepmd/npy", str(tmp_path / "theirs"), prec=np.float64)
    elements = type_order(frames[0].symbols)
    write_deepmd_system(tmp_path / "ours", frames, elements)
    ours = sorted(path.name for path in (tmp_path / "ours" / "set.000").iterdir())
    theirs = sorted(path.name for path in (tmp_path / "theirs" / "set.000").iterdir())
    assert ours == theirs
    assert "spin.npy" in ours
    for file in ours:
        mine = np.load(tmp_path / "ours" / "set.000" / file)
        other = np.load(tmp_path / "theirs" / "set.000" / file)
        np.testing.assert_array_equal(mine.ravel(), other.ravel(), err_msg=file)
    for file in ("type.raw", "type_map.raw"):
        words = [
            (tmp_path / side / file).read_text().split() for side in ("ours", "theirs")
        ]
        assert words[0] == words[1]


def test_skipped_steps_are_counted_in_a_warning(
    vasp_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outcar = vasp_data / "fes2-broken-step" / "OUTCAR.gz"
    items = list(read_outcar(outcar))
    rejected = [item for item in items if isinstance(item, Rejected)]
    with caplog.at_level(logging.WARNING, logger="spin_dp"):
        system = dpdata.LabeledSystem(str(outcar), fmt="vasp/outcar/spin")
    assert len(system) == len(items) - len(rejected)
    (record,) = caplog.records
    assert f"{len(rejected)} of {len(items)} frames skipped" in record.getMessage()
    assert rejected[0].reason in record.getMessage()


def test_outcar_without_usable_steps_is_an_error(vasp_data: Path) -> None:
    outcar = vasp_data / "coni-no-lorbit" / "OUTCAR.gz"
    with pytest.raises(
        DataError, match="no frame can be used: 1 x no per-atom moments"
    ):
        dpdata.LabeledSystem(str(outcar), fmt="vasp/outcar/spin")


def made_up(symbols: list[str], seed: int, n_frames: int = 2) -> list[ase.Atoms]:
    from ase.calculators.singlepoint import SinglePointCalculator

    rng = np.random.default_rng(seed)
    images = []
    for _ in range(n_frames):
        positions = rng.uniform(0.0, 4.0, (len(symbols), 3))
        atoms = ase.Atoms(symbols, positions, cell=np.eye(3) * 4.0, pbc=True)
        atoms.calc = SinglePointCalculator(
            atoms,
            free_energy=rng.normal(),
            energy=0.0,
            forces=rng.normal(size=positions.shape),
            stress=rng.normal(size=6),
            magmoms=rng.normal(size=positions.shape),
        )
        atoms.set_array("magnetic_forces", rng.normal(size=positions.shape))
        images.append(atoms)
    return images


def test_any_file_becomes_a_labelled_system(tmp_path: Path) -> None:
    """Atoms of unsorted types in two orders are sorted alike."""
    path = tmp_path / "frames.extxyz"
    images = [*made_up(["O", "Ni", "O"], 1), *made_up(["Ni", "O", "O"], 2)]
    ase.io.write(path, images, format="extxyz", columns=None)
    system = dpdata.LabeledSystem(str(path), fmt="spin_dp", type_map=["O", "Li", "Ni"])
    assert system["atom_names"] == ["O", "Li", "Ni"]
    assert system["atom_numbs"] == [2, 0, 1]
    assert list(system["atom_types"]) == [0, 0, 2]
    for index, atoms in enumerate(images):
        order = np.argsort([0 if s == "O" else 1 for s in atoms.symbols], kind="stable")
        results = atoms.calc.results
        assert system["energies"][index] == pytest.approx(results["free_energy"])
        for name, array in (
            ("coords", atoms.positions),
            ("forces", results["forces"]),
            ("spins", results["magmoms"]),
            ("force_mags", atoms.arrays["magnetic_forces"]),
        ):
            np.testing.assert_allclose(system[name][index], array[order], atol=1e-7)
        stress = atoms.get_stress(voigt=False)
        np.testing.assert_allclose(system["virials"][index], -64.0 * stress, atol=1e-9)


def test_several_compositions_need_multi_systems(tmp_path: Path) -> None:
    path = tmp_path / "frames.extxyz"
    ase.io.write(path, [*made_up(["Ni", "O"], 1), *made_up(["Ni", "O", "O"], 2, 3)])
    with pytest.raises(DataError, match=r"NiO .* and NiO2 .*dpdata\.MultiSystems"):
        dpdata.LabeledSystem(str(path), fmt="spin_dp")
    systems = dpdata.MultiSystems.from_file(str(path), fmt="spin_dp")
    assert {s.formula: len(s) for s in systems} == {"Ni1O1": 2, "Ni1O2": 3}
    systems.to("deepmd/npy", str(tmp_path / "out"))
    assert len(list((tmp_path / "out").rglob("spin.npy"))) == 2


def test_frames_of_two_levels_are_no_system(tmp_path: Path) -> None:
    first, second = made_up(["Ni", "O"], 1)
    first.info["settings"], second.info["settings"] = "PBE", "PBE+U"
    ase.io.write(tmp_path / "frames.extxyz", [first, second])
    with pytest.raises(DataError, match=r"levels PBE-\w+ .* and PBE\+U-\w+"):
        dpdata.LabeledSystem(str(tmp_path / "frames.extxyz"), fmt="spin_dp")


def test_arguments_of_dpdata(tmp_path: Path) -> None:
    path = str(tmp_path / "frames.extxyz")
    images = made_up(["Ni", "O"], 1, 5)
    ase.io.write(path, images)
    system = dpdata.LabeledSystem(path, fmt="spin_dp", begin=1, step=2)
    expected = [images[i].calc.results["free_energy"] for i in (1, 3)]
    np.testing.assert_allclose(system["energies"], expected, atol=1e-7)
    with pytest.raises(DataError, match="O is not in the type map Ni"):
        dpdata.LabeledSystem(path, fmt="spin_dp", type_map=["Ni"])
    with pytest.raises(DataError, match="no frame is left after begin and step"):
        dpdata.LabeledSystem(path, fmt="spin_dp", begin=9)
    with pytest.raises(ConfigError, match="unconverged steps have no valid moments"):
        dpdata.LabeledSystem(path, fmt="spin_dp", convergence_check=False)
    with pytest.raises(TypeError, match="misspelt"):
        dpdata.LabeledSystem(path, fmt="spin_dp", misspelt=1)


@pytest.mark.parametrize(
    "code",
    [
        "import spin_dp.data_tools, sys; assert 'dpdata' not in sys.modules",
        "import spin_dp.data_tools.dpdata_format, dpdata; dpdata.LabeledSystem",
        "import dpdata, spin_dp.data_tools.dpdata_format, sys; "
        "assert not {'torch', 'ase', 'pandas', 'pymatgen'} & set(sys.modules)",
    ],
)
def test_imports_are_light_in_any_order(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- FORMAT:PATH


@pytest.fixture
def oxide(tmp_path: Path) -> Path:
    """Return a deepmd-kit folder that dpdata wrote in its raw text layout."""
    register_spin()
    rng = np.random.default_rng(3)
    system = dpdata.LabeledSystem(
        data={
            "atom_names": ["Ni", "O"],
            "atom_numbs": [1, 1],
            "atom_types": np.array([0, 1]),
            "orig": np.zeros(3),
            "cells": np.tile(4.0 * np.eye(3), (2, 1, 1)),
            "coords": rng.normal(size=(2, 2, 3)),
            "energies": np.array([-1.0, -2.0]),
            "forces": rng.normal(size=(2, 2, 3)),
            "virials": rng.normal(size=(2, 3, 3)),
            "spins": rng.normal(size=(2, 2, 3)),
        }
    )
    system.to("deepmd/raw", str(tmp_path / "raw"))
    system.to("deepmd/npy", str(tmp_path / "npy"))
    return tmp_path


def test_named_format_is_read_through_dpdata(oxide: Path) -> None:
    source = parse(f"deepmd/raw:{oxide / 'raw'}")
    assert source is not None
    assert (source.reader, source.format) == ("dpdata", "deepmd/raw")
    assert oxide / "raw" / "spin.raw" in source.files
    frames = list(read_source(source, ReadOptions(level="PBE")))
    known = dpdata.LabeledSystem(str(oxide / "npy"), fmt="deepmd/npy")
    assert len(frames) == 2
    for index, frame in enumerate(frames):
        assert isinstance(frame, Frame)
        assert frame.symbols == ("Ni", "O")
        assert frame.energy == known["energies"][index]
        assert (frame.constrained, frame.level.label) == (None, "PBE")
        assert frame.virial is not None
        np.testing.assert_allclose(frame.moments, known["spins"][index], atol=1e-12)
        np.testing.assert_allclose(frame.virial, known["virials"][index], atol=1e-12)


def test_formats_of_our_own_readers_go_there(oxide: Path) -> None:
    source = parse(f"deepmd/npy:{oxide / 'npy'}")
    assert source is not None
    assert source.reader == "deepmd"
    assert [frame.step for frame in read_source(source)] == [1, 2]


def test_named_abacus_run_is_the_one_found_by_itself(tmp_path: Path) -> None:
    folder = abacus_run(tmp_path / "run", scf_cycle(1))
    named, (found,) = parse(f"abacus/scf:{folder}"), find_sources([folder])
    assert named is not None
    assert (named.reader, named.path, named.format) == ("abacus", folder, "")
    assert set(found.files) == set(named.files)


def test_format_without_spins_is_zero_only_on_request(oxide: Path) -> None:
    (oxide / "raw" / "spin.raw").unlink()
    (first, _) = read_dpdata(oxide / "raw", "deepmd/raw")
    assert isinstance(first, Rejected)
    assert first.reason == dpdata_source.NO_SPINS
    options = ReadOptions(missing_moments="zero")
    (first, _) = read_dpdata(oxide / "raw", "deepmd/raw", options)
    assert isinstance(first, Frame)
    np.testing.assert_array_equal(first.moments, np.zeros((2, 3)))
    assert first.note == dpdata_source.ZERO_MOMENTS


def test_ordinary_paths_have_no_format(tmp_path: Path) -> None:
    odd = tmp_path / "vasp" / "outcar:1"
    odd.mkdir(parents=True)
    for text in (str(tmp_path), str(odd), "run:3.extxyz", "/a/b:c", "./a/b:c", "x:"):
        assert parse(text) is None


def test_misspelt_formats_and_absent_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'abacus/scf'"):
        parse("abacus/sfc:run1")
    with pytest.raises(DataError, match="absent: no such file or folder"):
        parse(f"abacus/scf:{tmp_path / 'absent'}")


def test_what_dpdata_cannot_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "dump.lammpstrj"
    path.write_text("ITEM: TIMESTEP\n0\n")
    with pytest.raises(DataError, match="as lammps/dump: NotImplementedError"):
        list(read_dpdata(path, "lammps/dump"))
    with pytest.raises(
        DataError, match="cannot read energies and forces as deepmd/raw"
    ):
        list(read_dpdata(tmp_path, "deepmd/raw"))


# --- ABACUS

INPUT = """INPUT_PARAMETERS
calculation {calculation}
nspin 4           # noncollinear
ecutwfc 100
smearing_method gauss
smearing_sigma 0.01
basis_type lcao
dft_plus_u 1
orbital_corr 2 -1
hubbard_u 5.0 0.0
scf_thr 1e-7
{more}
"""
STRU = """ATOMIC_SPECIES
Fe 55.845 pp/Fe.upf
O 15.999 pp/O.upf

LATTICE_CONSTANT
1.8897261258369282

LATTICE_VECTORS
4.0 0.0 0.0
0.0 4.0 0.0
0.0 0.0 5.0

ATOMIC_POSITIONS
Cartesian
Fe
2.0
1
0.0 0.0 0.0 mag 0 0 2
O
0.0
1
0.0 0.0 2.0
"""
LOG_HEAD = """
                  lattice constant (Bohr) = 1.8897261258369282
             number of atom for this type = 1
             number of atom for this type = 1
  exchange-correlation functional = PBE
CARTESIAN COORDINATES
    atom  x  y  z
tauc_Fe1  0.0  0.0  0.0
tauc_O1   0.0  0.0  2.0

 Lattice vectors: (Cartesian coordinate: in unit of a_0)
  4.0 0.0 0.0
  0.0 4.0 0.0
  0.0 0.0 5.0
"""
CONVERGED = " charge density convergence is achieved\n final etot is {energy} eV\n"
FAILED = " !! convergence has not been achieved @_@\n"
NEWER = " !!SCF IS NOT CONVERGED!!\n #TOTAL ENERGY# {energy} eV\n"


def scf_cycle(number: int, end: str = CONVERGED, moments: bool = True) -> str:
    """Return one SCF cycle of a log; all its numbers follow from its own."""
    rule = "-" * 60 + "\n"
    table = (
        f" Total Magnetism (uB)\n{rule} Fe 0.1 0.2 3.{number}\n O 0.0 0.0 0.{number}\n"
        f"{rule} Magnetic force (eV/uB)\n{rule} Fe 0.0 0.0 -0.{number}\n"
        f" O 0.0 0.0 0.0\n{rule}"
    )
    earlier = table.replace("0.1 0.2 3.", "0.0 0.0 9.")
    return (
        f" LCAO ALGORITHM ------- ION=   {number}  ELEC=   1-------\n"
        f"total magnetism (Bohr mag/cell)\t3.0\t0.0\t9.0\n{earlier * moments}"
        f" LCAO ALGORITHM ------- ION=   {number}  ELEC=   2-------\n"
        f"total magnetism (Bohr mag/cell)\t3.0\t0.0\t4.0\n{table * moments}"
        f"{end.format(energy=-100.0 - number)}"
        f" TOTAL-FORCE (eV/Angstrom)\n\n Fe1 0.0 0.0 0.{number}\n"
        f" O1 0.0 0.0 -0.{number}\n\n"
        f" TOTAL-STRESS (KBAR)\n\n {number}.0 0.0 0.0\n 0.0 0.0 0.0\n 0.0 0.0 0.0\n\n"
    )


def moved(z: float) -> str:
    return (
        "CARTESIAN COORDINATES\n    atom  x  y  z\n"
        f"tauc_Fe1  0.0  0.0  0.0\ntauc_O1   0.0  0.0  {z}\n\n"
    )


def abacus_run(
    folder: Path, log: str, calculation: str = "scf", more: str = ""
) -> Path:
    out = folder / "OUT.ABACUS"
    out.mkdir(parents=True)
    (folder / "INPUT").write_text(INPUT.format(calculation=calculation, more=more))
    (folder / "STRU").write_text(STRU)
    (out / f"running_{calculation}.log").write_text(LOG_HEAD + log)
    return folder


def moments_of(number: int) -> Array:
    return np.array([[0.1, 0.2, 3.0 + 0.1 * number], [0.0, 0.0, 0.1 * number]])


def test_abacus_single_point(tmp_path: Path) -> None:
    folder = abacus_run(tmp_path / "run", scf_cycle(1))
    (source,) = find_sources([tmp_path])
    assert (source.reader, source.path) == ("abacus", folder)
    assert folder / "OUT.ABACUS" / "running_scf.log" in source.files
    (frame,) = read_source(source)
    assert isinstance(frame, Frame)
    assert frame.symbols == ("Fe", "O")
    assert (frame.energy, frame.energy_kind) == (-101.0, "free_energy")
    assert frame.total_moment == pytest.approx(5.0)
    assert frame.constrained is False
    assert frame.magnetic_forces is not None
    np.testing.assert_allclose(frame.cell, np.diag([4.0, 4.0, 5.0]), rtol=1e-6)
    np.testing.assert_allclose(frame.positions[1], [0, 0, 2], rtol=1e-6)
    np.testing.assert_allclose(frame.moments, moments_of(1))
    np.testing.assert_array_equal(frame.magnetic_forces[:, 2], [-0.1, 0.0])
    np.testing.assert_array_equal(frame.forces[:, 2], [0.1, -0.1])
    assert frame.virial is not None
    # ABACUS prints pressure (positive: compression); 1 eV/Å³ is 1602.18 kbar
    assert frame.virial[0, 0] == pytest.approx(80.0 / 1602.1766, rel=1e-5)


def test_moments_stay_with_their_step_when_one_fails(tmp_path: Path) -> None:
    """dpdata drops the unconverged step but not its moments."""
    log = "".join(
        [
            scf_cycle(1),
            moved(2.1),
            scf_cycle(2, FAILED),
            moved(2.2),
            scf_cycle(3),
            moved(2.3),
            scf_cycle(4, FAILED),
        ]
    )
    folder = abacus_run(tmp_path / "run", log, "relax")
    first, second, third, fourth = read_abacus(folder)
    for number, frame in ((1, first), (3, third)):
        assert isinstance(frame, Frame)
        assert (frame.step, frame.energy) == (number, -100.0 - number)
        z = 2.0 + 0.1 * (number - 1)
        assert frame.positions[1, 2] == pytest.approx(z, rel=1e-6)
        np.testing.assert_allclose(frame.moments, moments_of(number))
        np.testing.assert_allclose(frame.forces[0, 2], 0.1 * number)
    for number, rejected in ((2, second), (4, fourth)):
        assert isinstance(rejected, Rejected)
        assert (rejected.step, rejected.reason) == (number, abacus.UNCONVERGED)


def test_molecular_dynamics_written_every_second_step(tmp_path: Path) -> None:
    log = "".join(scf_cycle(n, FAILED if n == 3 else CONVERGED) for n in range(1, 6))
    folder = abacus_run(tmp_path / "run", log, "md", "md_dumpfreq 2")
    (folder / "OUT.ABACUS" / "MD_dump").write_text(
        "".join(
            f"MDSTEP: {step}\nLATTICE_CONSTANT: 1.0 Angstrom\nLATTICE_VECTORS\n"
            "4.0 0.0 0.0\n0.0 4.0 0.0\n0.0 0.0 5.0\n"
            "INDEX LABEL POSITION (Angstrom) FORCE (eV/Angstrom)\n"
            f"0 Fe 0.0 0.0 0.0 0.0 0.0 {step}.0\n1 O 0.0 0.0 2.{step} 0.0 0.0 0.0\n\n\n"
            for step in (0, 2, 4)
        )
    )
    first, second, third = read_abacus(folder)
    assert isinstance(second, Rejected)
    assert second.reason == abacus.UNCONVERGED
    for step, frame in ((0, first), (4, third)):
        assert isinstance(frame, Frame)
        assert frame.energy == -101.0 - step
        assert frame.forces[0, 2] == step
        np.testing.assert_allclose(frame.moments, moments_of(step + 1))


@pytest.mark.parametrize(
    ("log", "more", "reason"),
    [
        (scf_cycle(1, FAILED), "", abacus.UNCONVERGED),
        (scf_cycle(1, NEWER), "", abacus.UNCONVERGED),
        (scf_cycle(1, " killed\n"), "", abacus.UNFINISHED),
        (scf_cycle(1).replace("TOTAL-FORCE", "OTHER"), "", abacus.NO_FORCES),
        (scf_cycle(1, moments=False), "", abacus.NO_MOMENTS),
        (scf_cycle(1, moments=False), "nspin 1", abacus.UNPOLARISED),
    ],
)
def test_unusable_abacus_runs_say_why(
    tmp_path: Path, log: str, more: str, reason: str
) -> None:
    (only,) = read_abacus(abacus_run(tmp_path / "run", log, more=more))
    assert isinstance(only, Rejected)
    assert only.reason == reason
    assert (only.formula, only.natoms) == ("FeO", 2)


def test_unpolarised_abacus_run_is_zero_only_on_request(tmp_path: Path) -> None:
    folder = abacus_run(tmp_path / "run", scf_cycle(1, moments=False), more="nspin 1")
    (frame,) = read_abacus(folder, ReadOptions(missing_moments="zero"))
    assert isinstance(frame, Frame)
    np.testing.assert_array_equal(frame.moments, np.zeros((2, 3)))
    assert frame.note == abacus.ZERO_MOMENTS


def level_of(folder: Path, more: str) -> Frame:
    (frame,) = read_abacus(abacus_run(folder, scf_cycle(1), more=more))
    assert isinstance(frame, Frame)
    return frame


def test_level_of_an_abacus_run(tmp_path: Path) -> None:
    frame = level_of(tmp_path / "0", "")
    assert frame.level.label == "ABACUS-PBE+U-100Ry"
    assert frame.level.description["setups"] == {"Fe": "Fe.upf", "O": "O.upf"}
    hubbard = frame.level.description["hubbard"]
    assert hubbard == {"Fe": {"l": "2", "u_ev": 5.0, "projector": "1"}}
    effort = level_of(tmp_path / "1", "scf_thr 1e-9\nkspacing 0.1\necutwfc 100.0")
    assert effort.level.id == frame.level.id
    changes = ("ecutwfc 80", "hubbard_u 4.0 0.0", "vdw_method d3_bj", "lspinorb 1")
    for number, more in enumerate((*changes, "dft_functional pbesol", "nelec_delta 1")):
        other = level_of(tmp_path / f"other{number}", more)
        assert other.level.id != frame.level.id, more
        assert other.constrained is False


@pytest.mark.parametrize("more", ["nupdown 2.0", "sc_mag_switch 1"])
def test_held_moments_of_an_abacus_run(tmp_path: Path, more: str) -> None:
    assert level_of(tmp_path / "run", more).constrained is True


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            {"INPUT": "INPUT_PARAMETERS\ncalculation nscf\n"},
            "'nscf' of ABACUS gives no",
        ),
        ({"INPUT": "INPUT_PARAMETERS\nsuffix x\n"}, "has no running_scf.log"),
        ({"INPUT": "INPUT_PARAMETERS\necutwfc high\n"}, "ecutwfc to 'high', expected"),
        ({"STRU": "ATOMIC_SPECIES\nFe x y\n"}, "dpdata cannot read STRU: ValueError"),
        ({"STRU": STRU.replace("O ", "Q ").replace("O\n", "Q\n")}, "'Q', which is no"),
    ],
)
def test_broken_abacus_runs(
    tmp_path: Path, spoil: dict[str, str], message: str
) -> None:
    folder = abacus_run(tmp_path / "run", scf_cycle(1))
    for name, text in spoil.items():
        (folder / name).write_text(text)
    with pytest.raises(DataError, match=message):
        list(read_abacus(folder))


def test_other_files_named_input_are_no_abacus_run(tmp_path: Path) -> None:
    folder = abacus_run(tmp_path / "run", scf_cycle(1))
    (folder / "INPUT").write_text("something else\n")
    with pytest.raises(DataError, match="nothing to read in this folder"):
        find_sources([tmp_path])
