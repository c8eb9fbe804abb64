# SPDX-License-Identifier: LGPL-3.0-or-later
"""Neighbours in whole cells against those that ASE finds."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list

from spin_dp.descriptors import neighbours_in_cells

CUTOFF = 4.0
CELLS = {
    "cubic": np.eye(3) * 5.1,
    "large": np.diag([11.0, 12.0, 13.0]),
    "thin": np.diag([2.3, 7.0, 2.9]),
    "skewed": np.array([[3.0, 0.0, 0.0], [2.7, 2.9, 0.0], [-1.4, 1.9, 3.3]]),
    "left-handed": np.array([[0.0, 3.1, 0.2], [3.0, 0.1, 0.0], [0.3, 0.2, 4.0]]),
}


def found_by_us(positions, cell, present=None):
    coord = torch.tensor(positions)
    box = None if cell is None else torch.tensor(cell).reshape(len(positions), 9)
    if present is None:
        present = np.ones(coord.shape[:2], dtype=bool)
    return neighbours_in_cells(coord, box, torch.tensor(present), CUTOFF)


def pairs(edges, nlist, frame):
    """Return centre, neighbour and edge of each pair, sorted."""
    rows = []
    for i, (vectors, others) in enumerate(zip(edges[frame], nlist[frame], strict=True)):
        for vector, j in zip(vectors.tolist(), others.tolist(), strict=True):
            if j >= 0:
                rows.append((i, j, *np.round(vector, 8)))
            else:
                assert vector == [2 * CUTOFF, 0.0, 0.0]
    return np.array(sorted(rows))


def pairs_of_ase(positions, cell):
    atoms = Atoms(f"H{len(positions)}", positions, cell=cell, pbc=cell is not None)
    found = neighbor_list("ijD", atoms, CUTOFF)
    return np.array(
        sorted((i, j, *np.round(d, 8)) for i, j, d in zip(*found, strict=True))
    )


def random_positions(cell, count, seed=0):
    """Some of them outside the cell."""
    generator = np.random.default_rng(seed)
    return generator.uniform(-1.5, 2.5, (count, 3)) @ cell


@pytest.mark.parametrize("name", CELLS)
def test_pairs_of_a_cell(name):
    positions = random_positions(CELLS[name], 5)
    edges, nlist = found_by_us(positions[None], CELLS[name][None])
    expected = pairs_of_ase(positions, CELLS[name])
    assert len(expected) >= 8
    np.testing.assert_allclose(pairs(edges, nlist, 0), expected, atol=1e-7)
    counts = (nlist[0] >= 0).sum(-1)
    assert nlist.shape[-1] == counts.max()


def test_a_batch_is_its_cells():
    cells = np.array(list(CELLS.values()))
    positions = np.array([random_positions(cell, 4, seed=3) for cell in cells])
    edges, nlist = found_by_us(positions, cells)
    for frame, (atoms, cell) in enumerate(zip(positions, cells, strict=True)):
        expected = pairs_of_ase(atoms, cell)
        np.testing.assert_allclose(pairs(edges, nlist, frame), expected, atol=1e-7)


def test_a_cluster_has_no_images():
    positions = np.random.default_rng(5).normal(0.0, 2.5, (9, 3))
    edges, nlist = found_by_us(positions[None], None)
    expected = pairs_of_ase(positions, None)
    np.testing.assert_allclose(pairs(edges, nlist, 0), expected, atol=1e-7)


def test_places_without_an_atom_are_no_neighbours():
    positions = random_positions(CELLS["thin"], 6, seed=1)
    present = np.array([[True, False, True, True, False, False]])
    edges, nlist = found_by_us(positions[None], CELLS["thin"][None], present)
    few_edges, few = found_by_us(positions[None][present][None], CELLS["thin"][None])
    assert (nlist[0][~present[0]] == -1).all()
    kept = np.flatnonzero(present[0])
    expected = pairs(few_edges, few, 0)
    expected[:, :2] = kept[expected[:, :2].astype(int)]
    np.testing.assert_allclose(pairs(edges, nlist, 0), expected, atol=1e-7)


def test_an_atom_alone_has_one_empty_place():
    edges, nlist = found_by_us(np.zeros((1, 1, 3)), None)
    assert nlist.tolist() == [[[-1]]]
    assert edges.tolist() == [[[[2 * CUTOFF, 0.0, 0.0]]]]


def test_many_atoms_are_done_in_parts():
    """More pairs than are looked at at once."""
    generator = np.random.default_rng(2)
    cell = np.diag([20.0, 21.0, 19.0])
    positions = generator.uniform(0, 20.0, (500, 3))
    edges, nlist = found_by_us(positions[None], cell[None])
    expected = pairs_of_ase(positions, cell)
    np.testing.assert_allclose(pairs(edges, nlist, 0), expected, atol=1e-7)
