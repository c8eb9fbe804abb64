# SPDX-License-Identifier: LGPL-3.0-or-later
"""The MD cell is layered LiNiO2, and its labels are rows up and down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from spin_dp.demo.structure import (
    LATTICE_A,
    label_of,
    layered_linio2,
    striped_moments,
)
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def distances(a: str, b: str) -> np.ndarray:
    atoms = layered_linio2((2, 2, 1))
    symbols = np.array(atoms.get_chemical_symbols())
    table = atoms.get_all_distances(mic=True) + 99.0 * np.eye(len(atoms))
    return np.asarray(np.sort(table[np.ix_(symbols == a, symbols == b)], axis=1))


def test_cell_has_96_atoms() -> None:
    atoms = layered_linio2((2, 2, 1))
    assert atoms.get_chemical_formula(mode="hill") == "Li24Ni24O48"
    assert atoms.pbc.all()


def test_metals_sit_in_octahedra() -> None:
    # R-3m LiNiO2: six Ni-O bonds of 1.98 Å, six Li-O bonds of 2.11 Å.
    nickel, lithium = distances("Ni", "O"), distances("Li", "O")
    assert nickel[:, :6] == pytest.approx(1.98, abs=0.01)
    assert nickel[:, 6].min() > 3.0
    assert lithium[:, :6] == pytest.approx(2.11, abs=0.01)
    assert lithium[:, 6].min() > 3.0


def test_rows_alternate_within_layers() -> None:
    atoms = layered_linio2((3, 2, 1))
    moments = striped_moments(atoms, "Ni", 1.2)
    symbols = np.array(atoms.get_chemical_symbols())
    assert not moments[symbols != "Ni"].any()
    nickel = moments[symbols == "Ni"]
    assert np.abs(nickel) == pytest.approx(1.2)
    assert nickel.sum() == pytest.approx(0.0)
    table = atoms.get_all_distances(mic=True)[np.ix_(symbols == "Ni", symbols == "Ni")]
    neighbours = np.isclose(table, LATTICE_A, atol=1e-3)
    same = np.sign(nickel)[:, None] == np.sign(nickel)[None, :]
    # Of six neighbours in the layer two are in the own row.
    assert (neighbours.sum(axis=1) == 6).all()
    assert ((neighbours & same).sum(axis=1) == 2).all()


def test_label_is_the_mean_of_the_state(tmp_path: Path) -> None:
    system = tmp_path / "LiMnO2" / "level" / "key"
    (system / "set.000").mkdir(parents=True)
    (system / "type.raw").write_text("0\n1\n1\n")
    (system / "type_map.raw").write_text("O\nMn\n")
    # Frames x 3 atoms along z: the oxygen and the low-spin Mn are no high-spin Mn.
    moments = np.zeros((2, 3, 3))
    moments[:, :, 2] = [[4.0, 3.6, -3.8], [0.1, 1.9, 3.7]]
    for name in ("coord", "box", "spin"):
        np.save(system / "set.000" / f"{name}.npy", moments.reshape(2, 9))
    assert label_of(tmp_path, "Mn", 4) == pytest.approx((3.6 + 3.8 + 3.7) / 3)
    with pytest.raises(DataError, match="Mn atoms with moments near 3 μB, found none"):
        label_of(tmp_path, "Mn", 3)
