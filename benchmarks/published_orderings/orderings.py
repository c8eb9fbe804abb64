# SPDX-License-Identifier: LGPL-3.0-or-later
"""Orderings of one cell from a file of pymatgen's tests, all with their sites in line.

The file has ``energy_per_atom`` (eV) and ``structure`` by number, with ``magmom`` of
each site; each structure has its sites, and maybe its axes, in another order.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.core import Structure

from spin_dp.errors import DataError
from spin_dp.structures import as_atoms

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_SAME = 0.01
"""How far a site may be from where the first structure has it, Å."""


@dataclass(frozen=True, eq=False)
class Orderings:
    """Energies of orderings of one geometry.

    Attributes
    ----------
    atoms
        The geometry of the first one, without moments.
    magnetic
        Atoms with moments, (ns,).
    moments
        Of these in each ordering, (k, ns), μB.
    energies
        (k,), eV per cell.
    """

    atoms: Atoms
    magnetic: list[int]
    moments: Floats
    energies: Floats

    @property
    def directions(self) -> Floats:
        """Unit vectors of the moments, (k, ns, 3)."""
        found = np.zeros((*self.moments.shape, 3))
        found[..., 2] = np.sign(self.moments)
        return found


def read_orderings(path: Path, element: str) -> Orderings:
    """Read the file.

    Raises
    ------
    DataError
        If it is not such a file, or the structures are not one geometry.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        numbers = sorted(content["structure"], key=int)
        structures = [Structure.from_dict(content["structure"][k]) for k in numbers]
        energies = [float(content["energy_per_atom"][k]) for k in numbers]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: expected energy_per_atom and structure by number ({error!r})."
        ) from error
    first = as_atoms(structures[0])
    magnetic = [i for i, symbol in enumerate(first.symbols) if symbol == element]
    rows = []
    for structure in structures:
        places = _places(first, structure)
        moments = np.array(structure.site_properties["magmom"], dtype=np.float64)
        rows.append(moments[places][magnetic])
    first.set_initial_magnetic_moments(None)
    return Orderings(first, magnetic, np.array(rows), len(first) * np.array(energies))


def _places(first: Atoms, other: Structure) -> list[int]:
    """Return where the other structure has each atom of the first one."""
    if not np.allclose(first.cell.lengths(), other.lattice.abc, atol=_SAME):
        raise DataError("orderings: expected one cell of all structures.")
    symbols = np.array([site.specie.symbol for site in other])
    places = []
    for symbol, point in zip(first.symbols, first.get_scaled_positions(), strict=True):
        between = np.array([site.frac_coords for site in other]) - point
        between -= np.rint(between)
        distances = np.linalg.norm(between * first.cell.lengths(), axis=1)
        distances[symbols != symbol] = np.inf
        places.append(int(distances.argmin()))
        if distances.min() > _SAME:
            raise DataError(
                f"orderings: {symbol} at {point.round(3)} is in the first structure "
                "only; expected one geometry of all."
            )
    return places
