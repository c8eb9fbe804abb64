# SPDX-License-Identifier: LGPL-3.0-or-later
"""VASP folders: each moment at its atom, on the way there and on the way back."""

from __future__ import annotations

import gzip
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms
from pymatgen.core import SETTINGS, Structure
from pymatgen.io.vasp import Incar, Kpoints

from spin_dp.data_tools import Frame, collect, find_sources, read_source
from spin_dp.dft import Outcome, Request, Status, run_requests
from spin_dp.dft.vasp import OTHER_STRUCTURE, Vasp
from spin_dp.errors import BackendError, ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_TITLES = {
    "Li": ("Li_sv", "PAW_PBE Li_sv 23Jan2001", 3.0),
    "Mn": ("Mn_pv", "PAW_PBE Mn_pv 07Sep2000", 13.0),
    "O": ("O", "PAW_PBE O 08Apr2002", 6.0),
}
_POTCAR = """  {title}
   {valence:.13f}
 parameters from PSCTR are:
   VRHFIN ={element}: made up for this test
   LEXCH  = PE
   TITEL  = {title}
   POMASS =   10.000; ZVAL   =   {valence:.3f}    mass and valenz
   ENMAX  =  269.864; ENMIN  =  202.398 eV
   END of PSCTR-controll parameters
 local part
   0.10000000E+01 0.20000000E+01 0.30000000E+01
   End of Dataset
"""


@pytest.fixture
def mixed() -> Request:
    """Return a cell whose equal elements do not stand together."""
    rng = np.random.default_rng(3)
    symbols = ["O", "Mn", "Li", "Ni", "O", "Mn", "O", "Ni"]
    places = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    positions = 2.1 * places + rng.normal(0.0, 0.05, (8, 3))
    atoms = Atoms(symbols, positions=positions, cell=4.2 * np.eye(3), pbc=True)
    moments = [0.1, 3.7, 0.0, -1.2, 0.2, -3.8, -0.3, 1.7]
    return Request.of(atoms, moments, geometry_id="mixed-000")


@pytest.fixture
def answered(vasp_data: Path) -> tuple[Frame, Request, Path]:
    """Return a real result, its request with atoms in another order, its OUTCAR."""
    path = vasp_data / "limn8o16-im0" / "OUTCAR.relax1.gz"
    frame = next(read_source(find_sources([path])[0]))
    assert isinstance(frame, Frame)
    order = np.random.default_rng(5).permutation(frame.natoms)
    atoms = Atoms(
        [frame.symbols[i] for i in order],
        positions=frame.positions[order],
        cell=frame.cell,
        pbc=True,
    )
    atoms.positions += [frame.cell[0]] * np.arange(frame.natoms)[:, None]  # images
    request = Request("spinel", atoms, np.where(atoms.numbers == 25, 5.0, 0.6))
    moments = frame.moments[order]
    return replace(frame, moments=moments, forces=frame.forces[order]), request, path


@pytest.fixture
def potcars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pymatgen find POTCARs that are no more than their heads."""
    for element, (name, title, valence) in _TITLES.items():
        folder = tmp_path / "psp" / "POT_GGA_PAW_PBE" / name
        folder.mkdir(parents=True)
        text = _POTCAR.format(element=element, title=title, valence=valence)
        (folder / "POTCAR").write_text(text)
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(tmp_path / "psp"))


@pytest.fixture
def no_potcars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(SETTINGS, "PMG_VASP_PSP_DIR", raising=False)


def one(request: Request, engine: Vasp, folder: Path) -> Outcome:
    (found,) = run_requests([request], engine, folder)
    return found


def test_each_moment_is_at_its_atom(
    mixed: Request, no_potcars: None, tmp_path: Path
) -> None:
    found = one(mixed, Vasp(), tmp_path)
    assert found.status is Status.WAITING
    assert found.reason.startswith("waits for a POTCAR")
    written = Structure.from_file(found.folder / "POSCAR")
    symbols = [site.specie.symbol for site in written]
    assert len([i for i in range(8) if symbols[i] != symbols[i - 1]]) == 4
    incar = Incar.from_file(found.folder / "INCAR")
    for site, moment in zip(written, incar["MAGMOM"], strict=True):
        distances = np.linalg.norm(mixed.atoms.positions - site.coords, axis=1)
        distances = np.where(
            np.array(mixed.symbols) == site.specie.symbol, distances, 9
        )
        nearest = int(np.argmin(distances))
        assert distances[nearest] < 1e-8
        assert moment == mixed.moments[nearest]
    assert [incar[tag] for tag in ("ISPIN", "LORBIT", "NSW")] == [2, 11, 0]
    kinds = list(dict.fromkeys(symbols))
    assert kinds == (found.folder / "POSCAR").read_text().splitlines()[5].split()
    by_kind = dict(zip(kinds, incar["LDAUU"], strict=True))
    assert by_kind == {"Li": 0.0, "Mn": 3.9, "Ni": 6.2, "O": 0.0}
    spec = (found.folder / "POTCAR.spec").read_text().split()
    assert [name.partition("_")[0] for name in spec] == kinds


def test_settings_of_the_user_count(
    mixed: Request, no_potcars: None, tmp_path: Path
) -> None:
    engine = Vasp(
        incar={"encut": 450, "IVDW": 11},
        hubbard_ev={"Mn": 4.5},
        reciprocal_density=400,
    )
    found = one(mixed, engine, tmp_path / "own")
    incar = Incar.from_file(found.folder / "INCAR")
    assert [incar[tag] for tag in ("ENCUT", "IVDW", "LDAUTYPE")] == [450, 11, 2]
    kinds = (found.folder / "POSCAR").read_text().splitlines()[5].split()
    assert incar["LDAUU"][kinds.index("Mn")] == 4.5
    assert sum(incar["LDAUU"]) == 4.5
    assert incar["LDAUL"][kinds.index("Mn")] == 2
    dense = Kpoints.from_file(found.folder / "KPOINTS").kpts[0]
    coarse = one(mixed, Vasp(), tmp_path / "default").folder / "KPOINTS"
    assert np.prod(dense) > np.prod(Kpoints.from_file(coarse).kpts[0])
    without = one(mixed, Vasp(hubbard_ev={}), tmp_path / "without").folder / "INCAR"
    assert "LDAU" not in without.read_text()


def test_unpolarised_start_stays_a_polarised_calculation(
    mixed: Request, no_potcars: None, tmp_path: Path
) -> None:
    found = one(Request("zero", mixed.atoms, np.zeros(8)), Vasp(), tmp_path)
    incar = Incar.from_file(found.folder / "INCAR")
    assert incar["ISPIN"] == 2
    assert incar["MAGMOM"] == [0.0] * 8


def test_results_that_appear_go_to_their_atoms(
    answered: tuple[Frame, Request, Path], no_potcars: None, tmp_path: Path
) -> None:
    frame, request, outcar = answered
    engine = Vasp()
    waiting = one(request, engine, tmp_path / "runs")
    incar = waiting.folder / "INCAR"
    incar.write_text(incar.read_text() + "NCORE = 4\n")  # by the user
    shutil.copy(outcar, waiting.folder / "OUTCAR.gz")
    found = one(request, engine, tmp_path / "runs")
    assert found.status is Status.CONVERGED
    assert found.moments == tuple(frame.moments[:, 2])
    assert found.energy == frame.energy
    assert "NCORE = 4" in incar.read_text()
    read = engine.frame(request, found.folder)
    assert isinstance(read, Frame)
    assert read.symbols == request.symbols
    np.testing.assert_allclose(read.forces, frame.forces, atol=0)
    report = collect([tmp_path / "runs"], tmp_path / "data")
    assert (report.n_read, report.n_kept) == (1, 1)
    assert one(request, engine, tmp_path / "runs") == found


def test_results_of_another_structure_are_no_results(
    answered: tuple[Frame, Request, Path],
    no_potcars: None,
    vasp_data: Path,
    tmp_path: Path,
) -> None:
    _, request, outcar = answered
    folder = one(request, Vasp(), tmp_path).folder
    shutil.copy(vasp_data / "fe4-static" / "OUTCAR.gz", folder / "OUTCAR.gz")
    found = one(request, Vasp(), tmp_path)
    assert (found.status, found.reason) == (Status.FAILED, OTHER_STRUCTURE)
    shutil.copy(outcar, folder / "OUTCAR.gz")
    assert one(request, Vasp(), tmp_path).status is Status.CONVERGED


def test_moved_atoms_are_another_structure(
    answered: tuple[Frame, Request, Path], no_potcars: None, tmp_path: Path
) -> None:
    _, request, outcar = answered
    atoms = request.atoms.copy()
    atoms.positions[3] += 0.05
    moved = Request("moved", atoms, request.moments)
    shutil.copy(outcar, one(moved, Vasp(), tmp_path).folder / "OUTCAR.gz")
    assert one(moved, Vasp(), tmp_path).reason == OTHER_STRUCTURE


def test_unfinished_and_unconverged_runs_are_told_apart(
    answered: tuple[Frame, Request, Path], no_potcars: None, tmp_path: Path
) -> None:
    _, request, outcar = answered
    text = gzip.decompress(outcar.read_bytes()).decode()
    folder = one(request, Vasp(), tmp_path).folder
    (folder / "OUTCAR").write_text(text[: text.index("TOTAL-FORCE")])
    found = one(request, Vasp(), tmp_path)
    assert found.status is Status.WAITING
    assert found.reason.startswith("its OUTCAR is not finished")
    reached = "aborting loop because EDIFF is reached"
    assert reached in text
    text = text.replace(reached, "aborting loop EDIFF was not reached (unconverged)")
    (folder / "OUTCAR").write_text(text)
    found = one(request, Vasp(), tmp_path)
    assert found.status is Status.UNCONVERGED
    assert "NELM" in found.reason


def test_command_is_run_in_the_folder(
    answered: tuple[Frame, Request, Path], potcars: None, tmp_path: Path
) -> None:
    frame, request, outcar = answered
    engine = Vasp(command=f"gunzip -c '{outcar}' > OUTCAR; echo spoken")
    with ThreadPoolExecutor(1) as pool:  # shares pymatgen's settings
        (found,) = run_requests([request], engine, tmp_path / "runs", executor=pool)
    assert found.status is Status.CONVERGED
    assert found.moments == tuple(frame.moments[:, 2])
    assert (found.folder / "vasp.stdout").read_text() == "spoken\n"
    assert (found.folder / "POTCAR").read_text().count("TITEL") == 3


def test_command_that_leaves_nothing_fails_with_its_status(
    mixed: Request, potcars: None, tmp_path: Path
) -> None:
    places, cell = mixed.atoms.positions[:4], mixed.atoms.cell
    atoms = Atoms("LiMnO2", places, cell=cell, pbc=True)
    request = Request("one", atoms, np.zeros(4))
    with ThreadPoolExecutor(1) as pool:
        (found,) = run_requests(
            [request], Vasp(command="exit 3"), tmp_path, executor=pool, retries=2
        )
    assert (found.status, found.failures) == (Status.FAILED, 3)
    assert "'exit 3' ended with exit status 3 and left no finished OUTCAR" in (
        found.reason
    )


def test_command_without_potcars_is_refused(no_potcars: None) -> None:
    with pytest.raises(BackendError, match="PMG_VASP_PSP_DIR"):
        Vasp(command="true").check()


def test_level_is_that_of_the_results(
    answered: tuple[Frame, Request, Path], potcars: None
) -> None:
    frame, _, _ = answered
    same = Vasp(hubbard_ev={}, incar={"ISMEAR": -5, "LASPH": False})
    level = same.level(["O", "Li", "Mn"])
    assert level is not None
    assert level.id == frame.level.id
    same.check_level([frame.level], ["Li", "Mn", "O"])
    with pytest.raises(ConfigError, match="they differ in hubbard"):
        replace(same, hubbard_ev={"Mn": 3.9}).check_level(
            [frame.level], ["Li", "Mn", "O"]
        )


def test_level_without_potcars_is_compared_in_all_else(
    answered: tuple[Frame, Request, Path], no_potcars: None
) -> None:
    frame, _, _ = answered
    same = Vasp(hubbard_ev={}, incar={"ISMEAR": -5, "LASPH": False})
    assert same.level(["Li", "Mn", "O"]) is None
    same.check_level([frame.level], ["Li", "Mn", "O"])
    with pytest.raises(ConfigError, match=r"they differ in encut_ev: 520\.0 there"):
        replace(same, incar={**same.incar, "ENCUT": 400}).check_level(
            [frame.level], ["Li", "Mn", "O"]
        )
