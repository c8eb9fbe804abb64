# SPDX-License-Identifier: LGPL-3.0-or-later
"""Orderings of a crystal counted as the literature does: by size of their own cell.

A *derivative structure* of index n has a primitive cell of n cells of the crystal
(G. L. W. Hart and R. W. Forcade, Phys. Rev. B 77, 224115 (2008)). It is found in one of
the supercells of that size that no symmetry takes into each other, as an assignment
that no translation within the supercell leaves alone.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from ase.build import make_supercell
from ase.build.supercells import lattice_points_in_supercell

from spin_dp.search.enumeration import Enumeration, Limit
from spin_dp.search.symmetry import site_permutations, space_group_operations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_WHOLE = 1e-8


def hermite_normal_forms(index: int) -> list[Ints]:
    """Return the vectors of each supercell of an index once, (3, 3) rows."""
    return [
        np.array([[a, d, e], [0, b, f], [0, 0, index // (a * b)]], dtype=np.int64)
        for a, b in product(range(1, index + 1), repeat=2)
        if index % (a * b) == 0
        for d, e, f in product(
            range(b), range(index // (a * b)), range(index // (a * b))
        )
    ]


def distinct_supercells(primitive: Atoms, index: int) -> list[Ints]:
    """Return supercells that no symmetry of the crystal takes into each other.

    Parameters
    ----------
    primitive
        A primitive cell.
    index
        Number of cells in the supercells.

    Returns
    -------
    list of ndarray
        Rows are vectors of the supercell in those of the cell, (3, 3).
    """
    rotations, _ = space_group_operations(primitive)
    kept: list[Ints] = []
    for form in hermite_normal_forms(index):
        turned = [form @ rotation.T for rotation in rotations]
        if not any(_is_same(one, other) for other in kept for one in turned):
            kept.append(form)
    return kept


def _is_same(one: Ints, other: Ints) -> bool:
    """Return whether two supercells have one lattice."""
    between = one @ np.linalg.inv(other)
    return bool(np.abs(between - np.rint(between)).max() < _WHOLE)


def count_derivatives(
    primitive: Atoms,
    element: str,
    index: int,
    codes: Sequence[int],
    reversal: Sequence[int] | None = None,
    *,
    balanced: bool = False,
) -> int:
    """Return the number of distinct orderings whose own cell has an index.

    Parameters
    ----------
    primitive
        A primitive cell.
    element
        Whose sites are ordered; all others stay as they are, and count for symmetry.
    index
        Number of cells.
    codes
        What each site may be.
    reversal
        Code of each code with its moment reversed, where that is the same ordering.
    balanced
        Only with as many sites of the first code as of the second one.
    """
    total = 0
    signs = [{0: 1.0, 1: -1.0}.get(code, 0.0) for code in codes]
    limits = [Limit.exactly(signs, 0.0)] if balanced else []
    for form in distinct_supercells(primitive, index):
        large = make_supercell(primitive, form)
        sites = [i for i, symbol in enumerate(large.symbols) if symbol == element]
        enumeration = Enumeration(
            [codes] * len(sites), site_permutations(large, sites), reversal, limits
        )
        shifts = translations(large, sites, form)
        for block, _ in enumeration.blocks():
            is_own = np.ones(len(block), dtype=np.bool_)
            for row in shifts:
                is_own &= (block[:, row] != block).any(axis=1)
            total += int(is_own.sum())
    return total


def translations(large: Atoms, sites: Sequence[int], form: Ints) -> list[Ints]:
    """Return how translations within a supercell permute sites, without the identity.

    Parameters
    ----------
    large, form
        The supercell, and its vectors in those of the cell, rows (3, 3).
    sites
        That are permuted, (ns,).
    """
    points = large.get_scaled_positions()[list(sites)]
    rows = []
    for shift in lattice_points_in_supercell(form):
        between = (points + shift)[:, None] - points[None]
        between -= np.rint(between)
        row = np.linalg.norm(between @ large.cell.array, axis=-1).argmin(axis=1)
        if (row != np.arange(len(row))).any():
            rows.append(row)
    return rows
