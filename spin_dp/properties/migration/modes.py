# SPDX-License-Identifier: LGPL-3.0-or-later
"""Vibrations of an ion and its neighbours, and which of them lead downhill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import units

from spin_dp.neighbours import find_near
from spin_dp.properties.migration.surface import ROUNDING, rounded_lowest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.properties.migration.surface import Surface

    Floats = NDArray[np.float64]

RADIUS = 2.6
"""Å; of the atoms that vibrate with an ion: the anions around it."""

THZ = 1.0e-12

_STEP = 0.01  # Å
_HERTZ = units.second / (2.0 * np.pi)
"""Hz of ASE's unit of angular frequency, (eV / Å² / u)^1/2."""


@dataclass(frozen=True, eq=False)
class Modes:
    """Vibrations around a point where forces vanish, all other atoms held.

    Attributes
    ----------
    frequencies
        Ascending, those of unstable modes negative, (3 m,), THz.
    displacements
        Of all atoms in each mode, the longest one an Å, (3 m, n, 3).
    """

    frequencies: Floats
    displacements: Floats

    @property
    def unstable(self) -> int:
        """Number of unstable modes: one at a saddle point, none at a minimum."""
        return int((self.frequencies < 0.0).sum())


def atoms_around(atoms: Atoms, ion: int, radius: float = RADIUS) -> list[int]:
    """Return an atom and those within a radius, Å, in order."""
    cell, points = atoms.cell.array, atoms.positions
    _, near, _ = find_near(
        cell, points[[ion]], points, max(radius, _STEP), periodic=atoms.pbc.tolist()
    )
    return sorted({ion, *near.tolist()})


def modes_of(
    surface: Surface,
    atoms: Atoms,
    moving: Sequence[int],
    *,
    rounding: float = ROUNDING,
) -> Modes:
    """Return the vibrations of some atoms, by finite differences of forces.

    Parameters
    ----------
    surface
        Energies; of several states the lowest, see :func:`rounded_lowest`.
    atoms
        A structure at rest.
    moving
        Atoms that vibrate, (m,).
    rounding
        Of kinks where states cross, eV.

    Raises
    ------
    DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    chosen = list(moving)
    both = np.repeat(atoms.positions[None], 6 * len(chosen), axis=0)
    places = [(atom, axis) for atom in chosen for axis in range(3)]
    for row, (atom, axis) in enumerate(places):
        both[2 * row : 2 * row + 2, atom, axis] += (_STEP, -_STEP)
    _, forces = rounded_lowest(*surface.evaluate(both), rounding)
    slopes = (forces[1::2] - forces[::2]) / (2.0 * _STEP)
    hessian = slopes[:, chosen].reshape(len(places), -1)
    root = np.sqrt(np.repeat(atoms.get_masses()[chosen], 3))
    squares, vectors = np.linalg.eigh(
        0.5 * (hessian + hessian.T) / np.outer(root, root)
    )
    displacements = np.zeros((len(places), len(atoms), 3))
    displacements[:, chosen] = (vectors / root[:, None]).T.reshape(
        len(places), len(chosen), 3
    )
    longest = np.linalg.norm(displacements, axis=2).max(axis=1)
    return Modes(
        np.sign(squares) * np.sqrt(np.abs(squares)) * _HERTZ * THZ,
        displacements / longest[:, None, None],
    )
