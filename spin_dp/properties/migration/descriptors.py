# SPDX-License-Identifier: LGPL-3.0-or-later
"""What surrounds an ion on its way: anions, their polyhedron, the nearest metal.

Barriers in layered oxides go with the size of the tetrahedron that the ion passes, and
with the metal across its face, which repels the ion (K. Kang and G. Ceder, Phys. Rev. B
74, 094105 (2006)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.neighbours import find_near
from spin_dp.spin_states.elements import carries_spin_state
from spin_dp.spin_states.ions import is_anion

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_REACH = 4.5  # Å
_BONDED = 2.6  # Å; lithium to oxygen 1.8 to 2.3


@dataclass(frozen=True)
class Surroundings:
    """What is around an ion.

    Attributes
    ----------
    nearest_anion
        Å.
    coordination
        Anions within 2.6 Å.
    volume
        Of the polyhedron of these anions, Å³; zero of three or fewer.
    nearest_metal
        Nearest ion that has spin states, Å; nan without one within 4.5 Å.
    """

    nearest_anion: float
    coordination: int
    volume: float
    nearest_metal: float


def surroundings(atoms: Atoms, ion: int) -> Surroundings:
    """Return what is around an ion.

    Parameters
    ----------
    atoms
        The structure.
    ion
        Number of the atom.
    """
    symbols = atoms.get_chemical_symbols()
    _, other, ways = find_near(
        atoms.cell.array,
        atoms.positions[[ion]],
        atoms.positions,
        _REACH,
        periodic=atoms.pbc.tolist(),
    )
    distances = np.linalg.norm(ways, axis=1)
    anions = np.array([is_anion(symbols[k]) for k in other], dtype=bool)
    metals = np.array([carries_spin_state(symbols[k]) for k in other], dtype=bool)
    bound = anions & (distances < _BONDED)
    return Surroundings(
        _least(distances[anions]),
        int(bound.sum()),
        _hull_volume(ways[bound]),
        _least(distances[metals]),
    )


def _least(distances: Floats) -> float:
    return float(distances.min()) if len(distances) else float("nan")


def _hull_volume(corners: Floats) -> float:
    from scipy.spatial import ConvexHull, QhullError

    if len(corners) < 4:
        return 0.0
    try:
        return float(ConvexHull(corners).volume)
    except QhullError:  # all in a plane
        return 0.0
