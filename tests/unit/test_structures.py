# SPDX-License-Identifier: LGPL-3.0-or-later
from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from pymatgen.core import Lattice, Structure
from pymatgen.electronic_structure.core import Magmom

from spin_dp.errors import ConfigError, DataError, ShapeError
from spin_dp.structures import (
    as_atoms,
    carried_moments,
    moment_vectors,
    read_moments,
    read_structure,
    repeated,
)

if TYPE_CHECKING:
    from pathlib import Path

CELL = np.diag([4.0, 4.2, 4.4])
ALONG_Z = [[0, 0, 1.3], [0, 0, -1.3], [0, 0, 0]]


def nickel_oxide() -> Atoms:
    positions = [[0, 0, 0], [2, 2.1, 0], [2, 0, 0]]
    return Atoms("NiNiO", positions=positions, cell=CELL, pbc=True)


def pymatgen_oxide(
    magmom: list[Any] | None = None, species: list[Any] | None = None
) -> Structure:
    return Structure(
        Lattice(CELL),
        species or ["Ni", "Ni", "O"],
        [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0]],
        site_properties={"magmom": magmom} if magmom else None,
    )


def test_vectors_of_collinear_and_noncollinear_moments() -> None:
    np.testing.assert_array_equal(moment_vectors([1.3, -1.3, 0], 3), ALONG_Z)
    vectors = np.arange(9.0).reshape(3, 3)
    found = moment_vectors(vectors, 3)
    np.testing.assert_array_equal(found, vectors)
    assert not np.shares_memory(found, vectors)


@pytest.mark.parametrize(
    ("moments", "got"),
    [([1.0, 2.0], "(2,)"), (np.zeros((3, 1)), "(3, 1)"), (1.0, "()")],
)
def test_vectors_of_another_shape(moments: Any, got: str) -> None:
    message = (
        f"spins: expected (3,) or (3, 3), one or three numbers per atom, got {got}"
    )
    with pytest.raises(ShapeError, match=re.escape(message)):
        moment_vectors(moments, 3, name="spins")


def test_vectors_of_no_numbers() -> None:
    with pytest.raises(DataError, match=r"finite numbers, got nan at atom 1"):
        moment_vectors([0.0, np.nan, 0.0], 3)
    with pytest.raises(ShapeError, match=r"expected \(2,\) or \(2, 3\) numbers"):
        moment_vectors([[1.0, 2.0, 3.0], [1.0]], 2)


def test_calculated_moments_come_before_initial_ones(tmp_path: Path) -> None:
    atoms = nickel_oxide()
    assert carried_moments(atoms) is None
    atoms.set_initial_magnetic_moments([2.0, 2.0, 0.0])
    np.testing.assert_array_equal(
        carried_moments(atoms), 2.0 * np.eye(3)[[2, 2, 2]] * [[1], [1], [0]]
    )
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, magmoms=[1.3, -1.3, 0.0])
    np.testing.assert_array_equal(carried_moments(atoms), ALONG_Z)
    write(tmp_path / "a.extxyz", atoms)
    read_back = read_structure(tmp_path / "a.extxyz")
    np.testing.assert_array_equal(carried_moments(read_back), ALONG_Z)
    read_back.positions[0] += 0.1  # they belong to other positions
    np.testing.assert_array_equal(
        carried_moments(read_back),
        read_back.get_initial_magnetic_moments()[:, None] * [0, 0, 1],
    )
    del read_back.arrays["initial_magmoms"]
    assert carried_moments(read_back) is None
    atoms.set_initial_magnetic_moments([1.0, 0.0, 0.0])  # they were not asked for
    moments = carried_moments(atoms)
    assert moments is not None
    np.testing.assert_array_equal(moments[:, 2], [1.0, 0.0, 0.0])


def test_ase_atoms_pass_through() -> None:
    atoms = nickel_oxide()
    assert as_atoms(atoms) is atoms


@pytest.mark.parametrize(
    ("structure", "moments"),
    [
        (pymatgen_oxide(), None),
        (pymatgen_oxide([1.3, -1.3, 0.0]), ALONG_Z),
        (pymatgen_oxide([Magmom(1.3), Magmom(-1.3), Magmom(0)]), ALONG_Z),
        (
            pymatgen_oxide([Magmom([0, 2, 0]), Magmom(1), Magmom(0)]),
            [[0, 2, 0], [0, 0, 1], [0, 0, 0]],
        ),
        (
            pymatgen_oxide([[1, 0, 0], [0, 2, 0], [0, 0, 0]]),
            [[1, 0, 0], [0, 2, 0], [0, 0, 0]],
        ),
        (pymatgen_oxide(species=["Ni2+,spin=1.3", "Ni2+,spin=-1.3", "O2-"]), ALONG_Z),
    ],
    ids=["none", "numbers", "Magmom", "mixed", "vectors", "species"],
)
def test_pymatgen_structure(structure: Structure, moments: Any) -> None:
    atoms = as_atoms(structure)
    assert atoms.get_chemical_symbols() == ["Ni", "Ni", "O"]
    np.testing.assert_allclose(atoms.positions, nickel_oxide().positions)
    np.testing.assert_allclose(atoms.cell.array, CELL)
    assert all(atoms.pbc)
    found = carried_moments(atoms)
    if moments is None:
        assert found is None
    else:
        assert found is not None
        np.testing.assert_allclose(found, moments)


def test_pymatgen_structures_that_are_refused() -> None:
    with pytest.raises(DataError, match=r"moment on every site, got none on site 1"):
        as_atoms(pymatgen_oxide([1.0, None, 0.0]))
    disordered = pymatgen_oxide(species=[{"Ni": 0.5, "Mn": 0.5}, "Ni", "O"])
    with pytest.raises(DataError, match="got partial occupancies"):
        as_atoms(disordered)
    with pytest.raises(DataError, match=r"expected ase\.Atoms or a.*got str"):
        as_atoms("POSCAR")


@pytest.mark.parametrize("name", ["a.cif", "POSCAR", "a.json", "a.extxyz"])
def test_structure_files_of_ase_and_pymatgen(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.json":  # pymatgen's own, unknown to ASE
        pymatgen_oxide([1.3, -1.3, 0.0]).to(str(path))
    else:
        write(path, nickel_oxide())
    atoms = read_structure(path)
    assert sorted(atoms.get_chemical_symbols()) == ["Ni", "Ni", "O"]
    assert atoms.get_volume() == pytest.approx(nickel_oxide().get_volume())


def test_files_that_are_no_structures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b\.cif: no such structure file"):
        read_structure(tmp_path / "b.cif")
    path = tmp_path / "b.xyz"
    path.write_text("nothing of the kind")
    with pytest.raises(DataError, match=r"b\.xyz: neither ASE nor pymatgen"):
        read_structure(path)


def test_cif_of_partial_occupancy(tmp_path: Path) -> None:
    path = tmp_path / "b.cif"
    disordered = pymatgen_oxide(species=[{"Ni": 0.5, "Mn": 0.5}, "Ni", "O"])
    disordered.to(str(path))
    with pytest.raises(DataError, match=r"b\.cif: expected full sites"):
        read_structure(path)


@pytest.mark.parametrize(
    "text",
    ["1.3\n-1.3\n0\n", "# x y z\n0 0 1.3\n\n0, 0, -1.3  # down\n0 0 0\n"],
    ids=["collinear", "vectors"],
)
def test_moments_of_a_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "moments.txt"
    path.write_text(text)
    np.testing.assert_array_equal(moment_vectors(read_moments(path), 3), ALONG_Z)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n2 3\n4\n", r"m\.txt, line 2: expected one or three.*got 2"),
        ("1\n0 0 1\n1\n", r"m\.txt, line 2: expected one or three.*got 3"),
        ("1\nup\n0\n", r"m\.txt, line 2: could not convert"),
        ("# nothing\n", r"m\.txt: expected a row of moments for each atom, got none"),
    ],
)
def test_files_that_are_no_moments(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_moments(path)


def test_initial_moments_that_are_all_zero_are_none() -> None:
    """But calculated ones may be: low-spin Co3+."""
    atoms = nickel_oxide()
    atoms.set_initial_magnetic_moments(np.zeros(3))
    assert carried_moments(atoms) is None
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, magmoms=np.zeros(3))
    for structure in (atoms, repeated(atoms, (2, 1, 1))):
        moments = carried_moments(structure)
        assert moments is not None
        assert not moments.any()


def test_supercells_keep_calculated_moments() -> None:
    atoms = nickel_oxide()
    atoms.set_initial_magnetic_moments([2.0, 2.0, 0.0])
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, magmoms=[1.3, -1.3, 0.0])
    large = repeated(atoms, (2, 1, 1))
    moments = carried_moments(large)
    assert moments is not None
    assert moments[:, 2].tolist() == [1.3, -1.3, 0.0] * 2
    assert carried_moments(repeated(nickel_oxide(), (1, 2, 1))) is None
    with pytest.raises(ConfigError, match="supercell: expected three positive"):
        repeated(atoms, (1, 0, 1))


def test_states_of_pymatgen_sites_are_kept() -> None:
    structure = pymatgen_oxide()
    structure.add_site_property("spin_states", ["Ni2+", "-Ni2+", None])
    assert as_atoms(structure).arrays["spin_states"].tolist() == [
        *("Ni2+", "-Ni2+", "none"),
    ]
