# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is kept in memory of each frame: all that decisions about it need.

A summary is a fraction of a frame, so that data sets much larger than the memory can be
collected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.geometry import fingerprint
from spin_dp.data_tools.naming.sites import REACH_ANGSTROM, Sites, find_sites
from spin_dp.neighbours import find_pairs

if TYPE_CHECKING:
    from spin_dp.data_tools.frame import Array, Frame
    from spin_dp.data_tools.level import Level

N_FORCES = 8


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Summary:
    """A frame without its arrays over all atoms.

    Attributes
    ----------
    source, step, formula, natoms, energy, level, energy_kind, constrained
        As in :class:`spin_dp.data_tools.Frame`.
    total_moment, geometry_id, note
        As there.
    elements
        The different elements.
    sites
        The metal sites.
    fingerprint
        Of the geometry, (29,), Å.
    force_print
        Lengths of the largest forces, descending, (8,) or fewer, eV/Å; equal in copies.
    shortest
        Shortest distance between two atoms, Å; inf if all are longer than 4 Å.
    has_virial, has_magnetic_forces
        Whether the frame has these labels.
    """

    source: str
    step: int
    formula: str
    natoms: int
    energy: float
    level: Level
    energy_kind: str
    constrained: bool | None
    total_moment: float
    geometry_id: str | None
    note: str
    elements: tuple[str, ...]
    sites: Sites
    fingerprint: Array
    force_print: Array
    shortest: float
    has_virial: bool
    has_magnetic_forces: bool

    @property
    def largest_force(self) -> float:
        """Length of the largest force, eV/Å."""
        return float(self.force_print[0])


def summarise(frame: Frame) -> Summary:
    """Return the summary of a frame."""
    forces = np.sort(np.linalg.norm(frame.forces, axis=1))[::-1]
    pairs = find_pairs(frame.cell, frame.positions, REACH_ANGSTROM)
    return Summary(
        source=frame.source,
        step=frame.step,
        formula=frame.formula,
        natoms=frame.natoms,
        energy=frame.energy,
        level=frame.level,
        energy_kind=frame.energy_kind,
        constrained=frame.constrained,
        total_moment=frame.total_moment,
        geometry_id=frame.geometry_id,
        note=frame.note,
        elements=tuple(sorted(set(frame.symbols))),
        sites=find_sites(
            frame.symbols,
            frame.cell,
            frame.positions,
            frame.moments,
            frame.total_moment,
            pairs,
        ),
        fingerprint=fingerprint(frame),
        force_print=forces[:N_FORCES].copy(),
        shortest=float(pairs.distances.min(initial=np.inf)),
        has_virial=frame.virial is not None,
        has_magnetic_forces=frame.magnetic_forces is not None,
    )
