# SPDX-License-Identifier: LGPL-3.0-or-later
"""The crystal that a structure is: conventional cell, bonds of its metals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import spglib

from spin_dp.neighbours import find_pairs
from spin_dp.search.symmetry import ask_spglib
from spin_dp.spin_states.elements import carries_spin_state

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_BOND_REACH, _OCTAHEDRON = 3.2, 6
_WHOLE = 0.02  # how far from whole numbers a matrix may be


def conventional_matrix(atoms: Atoms, tolerance: float) -> Ints:
    """Return the vectors of the conventional cell in those of the given one, (3, 3).

    Parameters
    ----------
    atoms
        Whose positions count, moments do not.
    tolerance
        Of spglib, Å.

    Returns
    -------
    ndarray
        Whole numbers, rows; ones on the diagonal where the conventional cell does not
        hold the given one a whole number of times, as with moments that alternate.
    """
    unit = np.eye(3, dtype=np.int64)
    found = _dataset(atoms, tolerance)
    if found is None:
        return unit
    # Columns of the cells: given = conventional @ transformation.
    matrix = np.linalg.inv(found.transformation_matrix).T
    whole = np.round(matrix).astype(np.int64)
    if np.abs(matrix - whole).max() > _WHOLE or round(np.linalg.det(whole)) < 1:
        return unit
    return whole


def conventional_cell(atoms: Atoms, tolerance: float) -> tuple[Floats, str]:
    """Return lengths (Å) and angles (°) of the conventional cell, and its space group.

    Parameters
    ----------
    atoms
        Whose positions count, moments do not.
    tolerance
        Of spglib, Å.
    """
    found = _dataset(atoms, tolerance)
    if found is None:
        return np.asarray(atoms.cell.cellpar()), ""
    from ase.cell import Cell

    standard = Cell(found.std_lattice).cellpar()
    return np.asarray(standard), f"{found.international} ({found.number})"


def _dataset(atoms: Atoms, tolerance: float) -> Any:  # noqa: ANN401 - spglib's
    """Return spglib's dataset of the positions; None where it finds none."""
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    return ask_spglib(spglib.get_symmetry_dataset, cell, symprec=tolerance)


def metal_bonds(atoms: Atoms) -> list[tuple[str, Floats]]:
    """Return element and six shortest bonds to oxygen, Å, of each site with states."""
    symbols = np.array(atoms.get_chemical_symbols())
    pairs = find_pairs(
        atoms.cell.array, atoms.positions, _BOND_REACH, periodic=atoms.pbc.tolist()
    )
    to_oxygen = symbols[pairs.second] == "O"
    found = []
    for site, symbol in enumerate(symbols.tolist()):
        near = np.sort(pairs.distances[(pairs.first == site) & to_oxygen])
        if carries_spin_state(symbol) and len(near) >= _OCTAHEDRON:
            found.append((symbol, near[:_OCTAHEDRON]))
    return found
