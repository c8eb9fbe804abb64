# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pairs of atoms against ASE's neighbour list."""

from __future__ import annotations

import numpy as np
import pytest
from ase.neighborlist import primitive_neighbor_list

from spin_dp.neighbours import find_pairs


@pytest.mark.parametrize("seed", range(4))
def test_pairs_are_those_of_ase(seed: int) -> None:
    """Skewed cells smaller than the cutoff, atoms outside the cell."""
    rng = np.random.default_rng(seed)
    cell = np.diag([3.0, 4.0, 6.0]) + rng.normal(size=(3, 3)) * 0.7
    positions = rng.uniform(-1.0, 2.0, size=(6, 3)) @ cell
    first, second, distances = primitive_neighbor_list(
        "ijd", [True] * 3, cell, positions, 4.0
    )
    pairs = find_pairs(cell, positions, 4.0)
    assert len(distances) > 50
    mine = sorted(zip(pairs.first, pairs.second, pairs.distances.round(8), strict=True))
    theirs = sorted(zip(first, second, distances.round(8), strict=True))
    np.testing.assert_allclose(mine, theirs, atol=2.0e-8)


def test_atoms_at_one_place_are_a_pair() -> None:
    pairs = find_pairs(np.eye(3) * 5.0, np.zeros((2, 3)), 1.0)
    assert sorted(zip(pairs.first, pairs.second, strict=True)) == [(0, 1), (1, 0)]
    assert not pairs.distances.any()
