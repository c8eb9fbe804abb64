# SPDX-License-Identifier: LGPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.geometry import cellpar_to_cell
from ase.neighborlist import neighbor_list

from spin_dp.errors import DataError, ShapeError
from spin_dp.lammps_interface import lammps_frame

HEXAGONAL = cellpar_to_cell([2.9, 2.9, 14.2, 90, 90, 120])
PRIMITIVE = cellpar_to_cell([5.0, 5.0, 5.0, 33.0, 33.0, 33.0])  # as of R-3m LiMO2
SKEWED = np.array([[3.0, 0.1, 0.0], [13.0, 4.0, 0.2], [-6.0, 9.0, 5.0]])
LEFT_HANDED = np.array([[0.0, 3.1, 0.0], [2.9, 0.2, 0.0], [0.1, 0.3, 5.0]])
CELLS = [np.diag([3.0, 4.0, 5.0]), HEXAGONAL, PRIMITIVE, SKEWED, LEFT_HANDED]


@pytest.mark.parametrize("cell", CELLS)
def test_box_is_the_lattice_turned_into_what_lammps_accepts(
    cell: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> None:
    frame = lammps_frame(cell)
    assert not np.triu(frame.box, 1).any()
    assert (np.diag(frame.box) > 0.0).all()
    edges = np.diag(frame.box)
    tilts = [frame.box[1, 0] / edges[0], *(frame.box[2, :2] / edges[:2])]
    assert np.abs(tilts).max() < 0.5001
    np.testing.assert_allclose(frame.rotation @ frame.rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(frame.rotation) == pytest.approx(1.0)
    assert abs(np.linalg.det(frame.basis)) == pytest.approx(1.0)
    np.testing.assert_array_equal(frame.basis, np.rint(frame.basis))
    turned = frame.basis @ cell @ frame.rotation
    np.testing.assert_allclose(turned, frame.box, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_distances_survive_the_change_of_frame(
    cell: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> None:
    frame = lammps_frame(cell)
    scaled = [[0.1, 0.2, 0.3], [0.4, 0.9, 0.6]]
    atoms = Atoms("LiO", scaled_positions=scaled, cell=cell, pbc=True)
    turned = Atoms(
        "LiO", positions=frame.to_lammps(atoms.positions), cell=frame.box, pbc=True
    )
    expected = np.sort(neighbor_list("d", atoms, 4.0))
    np.testing.assert_allclose(np.sort(neighbor_list("d", turned, 4.0)), expected)
    back = frame.from_lammps(turned.positions)
    np.testing.assert_allclose(back, atoms.positions, atol=1e-12)
    np.testing.assert_allclose(frame.cell_from_lammps(frame.box), cell, atol=1e-12)


def test_cell_of_moderate_tilt_keeps_its_vectors() -> None:
    np.testing.assert_array_equal(lammps_frame(HEXAGONAL).basis, np.eye(3))
    assert (lammps_frame(SKEWED).basis != np.eye(3)).any()


def test_strained_box_strains_the_cell_alike() -> None:
    frame = lammps_frame(SKEWED)
    strained = frame.cell_from_lammps(1.1 * frame.box)
    np.testing.assert_allclose(strained, 1.1 * SKEWED, atol=1e-12)


def test_bad_cells_are_refused() -> None:
    with pytest.raises(DataError, match=r"span no volume.*put vacuum"):
        lammps_frame([[3.0, 0, 0], [0, 3.0, 0], [3.0, 3.0, 0]])
    with pytest.raises(DataError, match="finite"):
        lammps_frame([[np.nan, 0, 0], [0, 3.0, 0], [0, 0, 3.0]])
    with pytest.raises(ShapeError, match=r"expected \(3, 3\), got \(3,\)"):
        lammps_frame([1.0, 2.0, 3.0])
