# SPDX-License-Identifier: LGPL-3.0-or-later
"""Between a structure's cell and the lower triangular box that LAMMPS wants.

Two steps: another basis of the same lattice, short enough for LAMMPS not to complain
about the tilt and right-handed, then a proper rotation. Both are undone exactly when
a trajectory is read back, so that the user never sees the LAMMPS frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from spin_dp.errors import DataError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Array: TypeAlias = NDArray[np.float64]

_TILT_LIMIT = 0.5 + 1.0e-6  # of the edge; beyond it LAMMPS calls the box skewed
_FLAT = 1.0e-4  # volume over the product of the edges


@dataclass(frozen=True)
class LammpsFrame:
    """The LAMMPS box of a periodic cell and the way back.

    Attributes
    ----------
    box
        Lower triangular cell vectors in rows, (3, 3), Å; ``box = basis @ cell @
        rotation``.
    basis
        Integers that express the box vectors in the cell vectors, (3, 3).
    rotation
        Proper rotation; a row vector v of the structure is ``v @ rotation`` in
        LAMMPS, (3, 3).
    """

    box: Array
    basis: Array
    rotation: Array

    def to_lammps(self, vectors: Array) -> Array:
        """Return row vectors of the structure turned into the LAMMPS frame, (n, 3)."""
        return np.asarray(vectors @ self.rotation)

    def from_lammps(self, vectors: Array) -> Array:
        """Return row vectors of LAMMPS turned into the structure's frame, (n, 3)."""
        return np.asarray(vectors @ self.rotation.T)

    def cell_from_lammps(self, box: Array) -> Array:
        """Return the structure's cell vectors for a box that has changed.

        Parameters
        ----------
        box
            Lower triangular box in the same basis, (3, 3), Å.

        Returns
        -------
        Array
            Cell vectors in rows, (3, 3), Å.
        """
        inverse = np.rint(np.linalg.inv(self.basis))  # unimodular: integers again
        return self.from_lammps(inverse @ box)

    def strained(self, strain: Array) -> Array:
        """Return the box of the strained lattice.

        Parameters
        ----------
        strain
            Symmetric tensor in the structure's frame, (3, 3).

        Returns
        -------
        Array
            Lower triangular box in the same basis, (3, 3), Å. A lattice that is sheared
            is turned a little: LAMMPS keeps the first vector along x.
        """
        turned = self.rotation.T @ strain @ self.rotation
        return _lower_triangular(self.box @ (np.eye(3) + turned))[0]


def lammps_frame(cell: ArrayLike) -> LammpsFrame:
    """Return the LAMMPS frame of a cell.

    A right-handed cell of moderate tilt keeps its vectors; any other gets the
    shortest basis of its lattice.

    Parameters
    ----------
    cell
        Cell vectors in rows, (3, 3), Å.

    Returns
    -------
    LammpsFrame
        Box, change of basis and rotation.

    Raises
    ------
    ShapeError
        If the cell is not (3, 3).
    DataError
        If the cell has no volume or holds a value that is not finite.
    """
    vectors = np.asarray(cell, dtype=np.float64)
    if vectors.shape != (3, 3):
        raise ShapeError(f"cell: expected (3, 3), got {vectors.shape}")
    _check_volume(vectors)
    basis = np.eye(3)
    box, rotation = _lower_triangular(vectors)
    if np.linalg.det(vectors) < 0.0 or _tilt(box) > _TILT_LIMIT:
        basis = _short_basis(vectors)
        box, rotation = _lower_triangular(basis @ vectors)
    return LammpsFrame(box=box, basis=basis, rotation=rotation)


def _check_volume(cell: Array) -> None:
    if not np.isfinite(cell).all():
        raise DataError(f"cell: expected finite numbers, got {cell.tolist()}")
    edges = np.linalg.norm(cell, axis=1)
    if abs(np.linalg.det(cell)) <= _FLAT * edges.prod():
        raise DataError(
            f"cell: the vectors {cell.tolist()} Å span no volume. Molecular dynamics "
            "needs a cell in three directions; put vacuum around a slab or molecule."
        )


def _lower_triangular(cell: Array) -> tuple[Array, Array]:
    orthogonal, upper = np.linalg.qr(cell.T)  # cell = upper.T @ orthogonal.T
    rotation = orthogonal * np.where(np.diag(upper) < 0.0, -1.0, 1.0)
    return np.tril(cell @ rotation), rotation


def _tilt(box: Array) -> float:
    """Return the largest tilt in units of the edge it is compared with."""
    edges = np.diag(box)
    return float(max(abs(box[1, 0] / edges[0]), *np.abs(box[2, :2] / edges[:2])))


def _short_basis(cell: Array) -> Array:
    reduced, operation = minkowski_reduce(cell)
    basis = np.asarray(operation, dtype=np.float64)
    if np.linalg.det(reduced) < 0.0:
        basis = -basis  # the inverted vectors span the same lattice, right-handed
    box, _ = _lower_triangular(basis @ cell)
    for row, column in ((1, 0), (2, 1), (2, 0)):  # yz before xz, which it changes
        turns = np.rint(box[row, column] / box[column, column])
        box[row] -= turns * box[column]
        basis[row] -= turns * basis[column]
    return basis
