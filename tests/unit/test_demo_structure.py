# SPDX-License-Identifier: LGPL-3.0-or-later
"""The MD cell is layered LiMnO2, and its labels are rows up and down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from spin_dp.demo.structure import label_of, layered_limno2, striped_moments
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def distances(a: str, b: str) -> np.ndarray:
    atoms = layered_limno2((2, 3, 2))
    symbols = np.array(atoms.get_chemical_symbols())
    table = atoms.get_all_distances(mic=True) + 99.0 * np.eye(len(atoms))
    return np.asarray(np.sort(table[np.ix_(symbols == a, symbols == b)], axis=1))


def test_cell_has_96_atoms() -> None:
    atoms = layered_limno2((2, 3, 2))
    assert atoms.get_chemical_formula(mode="hill") == "Li24Mn24O48"
    assert atoms.pbc.all()


def test_bonds_are_those_of_limno2() -> None:
    # Jahn-Teller Mn3+: four bonds of 1.92 Å and two of 2.30 Å (Armstrong and Bruce).
    manganese = distances("Mn", "O")[:, :7]
    assert manganese[:, :4] == pytest.approx(1.92, abs=0.02)
    assert manganese[:, 4:6] == pytest.approx(2.30, abs=0.02)
    assert manganese[:, 6].min() > 3.0
    # Octahedral lithium.
    assert distances("Li", "O")[:, :6] == pytest.approx(2.2, abs=0.15)


def test_rows_alternate_along_a_and_not_along_b() -> None:
    atoms = layered_limno2((2, 2, 1))
    moments = striped_moments(atoms, "Mn", 3.7)
    symbols = np.array(atoms.get_chemical_symbols())
    assert not moments[symbols != "Mn"].any()
    manganese = moments[symbols == "Mn"]
    assert np.abs(manganese) == pytest.approx(3.7)
    assert manganese.sum() == pytest.approx(0.0)
    table = atoms.get_all_distances(mic=True)[np.ix_(symbols == "Mn", symbols == "Mn")]
    same = np.sign(manganese)[:, None] == np.sign(manganese)[None, :]
    assert same[np.isclose(table, 2.81)].all()
    assert not same[np.isclose(table, 3.06, atol=0.01)].any()


def test_label_is_the_mean_of_the_state(tmp_path: Path) -> None:
    system = tmp_path / "LiMnO2" / "level" / "key"
    (system / "set.000").mkdir(parents=True)
    (system / "type.raw").write_text("0\n1\n1\n")
    (system / "type_map.raw").write_text("O\nMn\n")
    # Frames x 3 atoms along z: the oxygen and the low-spin Mn are no high-spin Mn.
    moments = np.zeros((2, 3, 3))
    moments[:, :, 2] = [[4.0, 3.6, -3.8], [0.1, 1.9, 3.7]]
    np.save(system / "set.000" / "spin.npy", moments.reshape(2, 9))
    assert label_of(tmp_path, "Mn", 4) == pytest.approx((3.6 + 3.8 + 3.7) / 3)
    with pytest.raises(DataError, match="Mn atoms with moments near 3 μB, found none"):
        label_of(tmp_path, "Mn", 3)
