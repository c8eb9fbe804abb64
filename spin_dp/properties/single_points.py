# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energies at geometries that something else has found, in the states that they have.

Relaxing by DFT takes hours where one energy takes a minute. What a model found, another
calculator can be asked about where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spin_dp.structures import freeze

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from spin_dp.properties.settings import Progress
    from spin_dp.properties.subject import Subject


@dataclass(frozen=True, eq=False)
class SinglePoint:
    """One structure, calculated.

    Attributes
    ----------
    atoms
        Labelled, with energy, forces and moments where there are any.
    subject
        What was asked.
    becomes
        Key of the state that was found, where it is another one; else empty.
    """

    atoms: Atoms
    subject: Subject
    becomes: str

    @property
    def energy(self) -> float:
        """Energy, eV."""
        return float(self.atoms.get_potential_energy())


def single_point(other: Subject, structure: Atoms) -> SinglePoint:
    """Return what another one says of a structure in the state that it carries.

    Parameters
    ----------
    other
        What gives energies; its structure and labels do not count.
    structure
        With ``spin_states`` or initial moments.

    Raises
    ------
    BackendError
        If DFT fails.
    """
    own = other.relabelled(structure)
    atoms = own.calculated()
    atoms.get_potential_energy()
    becomes = own.becomes(atoms)
    freeze(atoms)
    return SinglePoint(atoms, own, becomes)


def single_points(
    other: Subject, structures: Sequence[Atoms], tell: Progress, what: str
) -> list[SinglePoint]:
    """Return :func:`single_point` of each structure, one after the other.

    Parameters
    ----------
    other, structures
        As for :func:`single_point`.
    tell
        Called as ``tell(what, done, total)``.
    what
        They are.

    Raises
    ------
    BackendError
        If DFT fails.
    """
    found = []
    for done, structure in enumerate(structures):
        tell(what, done, len(structures))
        found.append(single_point(other, structure))
    tell(what, len(structures), len(structures))
    return found
