# SPDX-License-Identifier: LGPL-3.0-or-later
"""The undistorted sublattice of the metal sites of a displaced, strained frame.

1. Translations that take the sites into one another, to within thermal displacements,
   give the primitive cell of the sublattice; its sites are averages over the copies.
2. The largest point group that this cell obeys but for a moderate strain gives the
   undistorted metric.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, product
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

_DISPLACED_ANGSTROM = 0.5  # rms misfit with which an operation still counts as one
# Strain between a cell and its image under an operation, norm of the logarithm of the
# metric: 0.2 for a strain of 3 % alone, 0.4 for C2/m LiMnO2 against R-3m (0.53 with 3 %
# on top), 0.98 for bcc against fcc. Tags of strained frames fail from 0.75 on.
_STRAIN = 0.64
_CELLS = np.array(list(product((-1, 0, 1), repeat=3)), dtype=np.int64)


@dataclass(frozen=True)
class Sublattice:
    """Metal sites as copies of the sites of a primitive cell.

    ``basis`` (3, 3) rows, Å, undistorted; ``points`` (np, 3), fractional; ``member``
    (nsites,) the point and ``shift`` (nsites, 3) the primitive cell of each site;
    ``supercell`` (3, 3) rows of a cell of the frame in the primitive basis.
    """

    basis: Floats
    points: Floats
    member: Ints
    shift: Ints
    supercell: Ints


@dataclass(frozen=True)
class _Mappings:
    """Operations that take sites into sites.

    ``which`` (nm,) the operation; ``images`` (nm, nsites) the site each site comes to;
    ``steps`` (nm, 3) the translation; ``misfits`` (nm, nsites, 3) from the moved site
    to its image, of zero mean. Fractional.
    """

    which: Ints
    images: Ints
    steps: Floats
    misfits: Floats


def find_sublattice(cell: Floats, positions: Floats) -> Sublattice:
    """Find the undistorted sublattice of sites.

    Parameters
    ----------
    cell, positions
        Cell vectors, (3, 3), and positions of the sites, (nsites, 3), Å.

    Returns
    -------
    Sublattice
        Each site as a copy of a site of the primitive cell.
    """
    from ase.geometry import minkowski_reduce

    cell = minkowski_reduce(cell)[0]
    fractional: Floats = positions @ np.linalg.inv(cell)
    found = _mappings(fractional[None], fractional, cell @ cell.T)
    basis = _shortest_basis(found.steps, cell)
    sublattice = _folded(fractional, cell, found.images, basis)
    if not _is_whole(sublattice, basis):
        # Strong displacements hide some of the translations and leave no group.
        identity = np.arange(len(positions))[None]
        sublattice = _folded(fractional, cell, identity, np.eye(3))
    basis, points = _undistorted(sublattice.basis, sublattice.points)
    return replace(sublattice, basis=basis, points=points)


def _is_whole(sublattice: Sublattice, basis: Floats) -> bool:
    """Return whether each point has one copy in each primitive cell of the frame."""
    if not np.allclose(basis @ sublattice.supercell, np.eye(3), atol=1.0e-6):
        return False
    names = copy_numbers(sublattice, sublattice.member, sublattice.shift)
    ncells = abs(round(np.linalg.det(sublattice.supercell)))
    return bool(len(np.unique(names)) == len(names) == ncells * len(sublattice.points))


def _folded(
    fractional: Floats, cell: Floats, images: Ints, basis: Floats
) -> Sublattice:
    """Average the sites that translations take into one another."""
    _, first, member = np.unique(
        images.min(axis=0), return_index=True, return_inverse=True
    )
    inverse = np.linalg.inv(basis)
    inner = fractional @ inverse
    chosen = inner[first]
    shift = np.rint(inner - chosen[member]) + np.rint(chosen)[member]
    points = np.zeros((len(first), 3))
    np.add.at(points, member, (inner - shift) / np.bincount(member)[member, None])
    return Sublattice(
        basis @ cell,
        points,
        member,
        shift.astype(np.int64),
        np.rint(inverse).astype(np.int64),
    )


def _mappings(moved: Floats, fractional: Floats, metric: Floats) -> _Mappings:
    """Return the translations that take moved sites, (nm, nsites, 3), to sites.

    The drift of a translation from the mean of what its sites ask for is taken off, so
    that pure translations come out as exact fractions.
    """
    nmoved, nsites = moved.shape[:2]
    which, target = (index.ravel() for index in np.indices((nmoved, nsites)))
    blocks = 1 + len(which) * nsites**2 // 300_000
    found = []
    for rows in np.array_split(np.arange(len(which)), blocks):
        steps = fractional[target[rows]] - moved[which[rows], 0]
        arrived = moved[which[rows]] + steps[:, None]
        apart = fractional - arrived[:, :, None]  # (rows, from, to, 3)
        apart -= np.rint(apart)
        images = ((apart @ metric) * apart).sum(-1).argmin(-1)
        misfits = np.take_along_axis(apart, images[..., None, None], axis=2)[:, :, 0]
        drift = misfits.mean(axis=1)
        misfits -= drift[:, None]
        spread = ((misfits @ metric) * misfits).sum(axis=(1, 2)) / nsites
        good = (np.sort(images, axis=1) == np.arange(nsites)).all(axis=1)
        good &= spread < _DISPLACED_ANGSTROM**2
        found.append(
            (which[rows][good], images[good], (steps + drift)[good], misfits[good])
        )
    return _Mappings(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _shortest_basis(steps: Floats, cell: Floats) -> Floats:
    """Return the shortest independent vectors, a basis of the lattice of the steps."""
    vectors = ((steps - np.rint(steps))[:, None] + _CELLS).reshape(-1, 3)
    lengths = np.linalg.norm(vectors @ cell, axis=1)
    order = np.argsort(lengths)
    order = order[lengths[order] > 1.0e-3]
    unit = vectors[order] @ cell / lengths[order, None]
    areas = np.linalg.norm(np.cross(unit[0], unit), axis=1)
    second = int(np.argmax(areas > 1.0e-4))
    volumes = np.abs(unit @ np.cross(unit[0], unit[second]))
    third = int(np.argmax(volumes > 1.0e-4))
    return cast("Floats", vectors[order[[0, second, third]]])


def _undistorted(basis: Floats, points: Floats) -> tuple[Floats, Floats]:
    """Average the metric and the points over the point group of the cell."""
    metric = basis @ basis.T
    operations, strains = _near_isometries(metric)
    found = _mappings(points @ operations, points, metric)
    operations = operations[found.which]
    group = _largest_group(operations, strains[found.which])
    operations = operations[group]
    metric = (operations @ metric @ operations.transpose(0, 2, 1)).mean(axis=0)
    shift = np.zeros_like(points)
    np.add.at(shift, found.images[group], found.misfits[group] / len(operations))
    return np.linalg.cholesky(metric), points - shift


def _near_isometries(metric: Floats) -> tuple[Ints, Floats]:
    """Return integer matrices that keep the metric but for a strain, and the strains.

    With W G Wᵀ the metric after an operation and l the eigenvalues of its ratio to G,
    the strain is the root of sum (l + 1/l - 2), close to that of sum ln² l.
    """
    squares = np.einsum("ij,jk,ik->i", _CELLS, metric, _CELLS)
    squares[squares < 1.0e-9] = np.inf  # no row is zero
    logs = np.abs(np.log(squares / np.diag(metric)[:, None]))
    rows = [_CELLS[near] for near in logs < _STRAIN]
    places = np.indices([len(row) for row in rows]).reshape(3, -1)
    operations = np.stack([row[at] for row, at in zip(rows, places, strict=True)], 1)
    volumes = (operations[:, 0] * np.cross(operations[:, 1], operations[:, 2])).sum(-1)
    operations = operations[np.abs(volumes) == 1]
    ratio = np.linalg.inv(metric) @ operations @ metric @ operations.transpose(0, 2, 1)
    trace = np.einsum("nii->n", ratio)
    inverse_trace = (trace**2 - np.einsum("nij,nji->n", ratio, ratio)) / 2.0
    strains = np.sqrt(np.maximum(trace + inverse_trace - 6.0, 0.0))
    return operations[strains < _STRAIN], strains[strains < _STRAIN]


def _largest_group(operations: Ints, strains: Floats) -> npt.NDArray[np.bool_]:
    """Return which operations form the largest group, inversion put aside.

    Of equal groups the one with the smallest strain counts. Rotations of a lattice form
    groups of at most two generators.
    """
    volumes = np.rint(np.linalg.det(operations)).astype(np.int64)
    rotations, first, kind = np.unique(
        operations * volumes[:, None, None],
        axis=0,
        return_index=True,
        return_inverse=True,
    )
    places = {rotation.tobytes(): i for i, rotation in enumerate(rotations)}
    products = rotations[:, None] @ rotations
    table = [[places.get(entry.tobytes(), -1) for entry in row] for row in products]
    if all(-1 not in row for row in table):
        return np.ones(len(operations), dtype=np.bool_)
    strain = strains[first]
    pairs = combinations_with_replacement(range(len(rotations)), 2)
    groups = {_generated(pair, table) for pair in pairs} - {frozenset()}
    largest = max(groups, key=lambda group: (len(group), -strain[list(group)].max()))
    return np.isin(kind.ravel(), list(largest))


def _generated(generators: tuple[int, int], table: list[list[int]]) -> frozenset[int]:
    """Return the group of the generators, or nothing if it leaves the table."""
    group = fresh = frozenset(generators)
    while fresh:
        products = {table[i][generator] for i in fresh for generator in generators}
        if -1 in products:
            return frozenset()
        fresh = frozenset(products) - group
        group |= fresh
    return group


def copy_numbers(sublattice: Sublattice, member: Ints, shift: Ints) -> Ints:
    """Return numbers of copies of points, equal where a period of the frame joins."""
    volume = np.linalg.det(sublattice.supercell)
    ncells = abs(round(volume))
    adjugate = np.rint(volume * np.linalg.inv(sublattice.supercell)).astype(np.int64)
    inside = (shift @ adjugate) % ncells
    shape = (len(sublattice.points), *[ncells] * 3)
    return np.ravel_multi_index((member, *inside.T), shape)
