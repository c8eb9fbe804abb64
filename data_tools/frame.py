# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a reader returns: a usable frame, or a rejected one with the reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import nan
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from spin_dp.spin_states.elements import formula

if TYPE_CHECKING:
    import numpy.typing as npt
    from pymatgen.core import Structure

    from spin_dp.data_tools.level import Level

    Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One calculated structure with its moments.

    Attributes
    ----------
    source
        File that the frame was read from.
    step
        Number of the frame (ionic step) in that file, from 1.
    symbols
        Element of each atom, (nloc,).
    cell
        Cell vectors as rows, (3, 3), Å.
    positions
        Cartesian positions, (nloc, 3), Å.
    energy
        Energy that belongs to the forces, eV.
    forces
        Forces, (nloc, 3), eV/Å.
    moments
        Moments, (nloc, 3), μB; collinear ones along z.
    virial
        Virial, (3, 3), eV, positive under compression; None where there was no stress.
    level
        Level of theory.
    magnetic_forces
        -dE/dm, (nloc, 3), eV/μB, where the source has them.
    energy_kind
        Which energy was read: ``free_energy`` or ``energy``.
    constrained
        Whether moments were held in the calculation; None where the file is silent.
    total_moment
        Moment of the whole cell, μB (its length for noncollinear runs); nan if absent.
    geometry_id
        Name of the geometry where the file gives one.
    note
        What a reader of the manifest should know.
    """

    source: str
    step: int
    symbols: tuple[str, ...]
    cell: Array
    positions: Array
    energy: float
    forces: Array
    moments: Array
    virial: Array | None
    level: Level
    magnetic_forces: Array | None = None
    energy_kind: str = "free_energy"
    constrained: bool | None = None
    total_moment: float = nan
    geometry_id: str | None = None
    note: str = ""

    @cached_property
    def formula(self) -> str:
        """Formula of the cell."""
        return formula(self.symbols)

    @property
    def natoms(self) -> int:
        """Number of atoms."""
        return len(self.symbols)

    @property
    def volume(self) -> float:
        """Volume of the cell, Å³."""
        return float(abs(np.linalg.det(self.cell)))

    def to_structure(self) -> Structure:
        """Return the frame as a pymatgen Structure.

        Returns
        -------
        pymatgen.core.Structure
            With site properties ``magmom`` (μB; a number along z where all moments are
            collinear, else a ``Magmom``) and ``forces`` (eV/Å), and ``energy`` (eV) and
            ``level`` among its properties.
        """
        from pymatgen.core import Lattice, Structure
        from pymatgen.electronic_structure.core import Magmom

        is_collinear = not self.moments[:, :2].any()
        moments = self.moments[:, 2] if is_collinear else map(Magmom, self.moments)
        return Structure(
            Lattice(self.cell),
            self.symbols,
            self.positions,
            coords_are_cartesian=True,
            site_properties={"magmom": list(moments), "forces": self.forces.tolist()},
            properties={"energy": self.energy, "level": self.level.id},
        )


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A frame that cannot be used, and why.

    Attributes
    ----------
    source, step
        As in :class:`Frame`; step 0 stands for the whole file.
    reason
        One sentence, equal for equal causes so that reasons can be counted.
    formula, natoms, energy, total_moment, level
        What is known of the frame.
    """

    source: str
    step: int
    reason: str
    formula: str = ""
    natoms: int = 0
    energy: float = nan
    total_moment: float = nan
    level: str = ""
    constrained: bool | None = field(default=None)


def flaw(frame: Frame) -> str | None:
    """Return why the numbers of a frame cannot be used, or None.

    Shapes must fit the number of atoms, all numbers must be finite and the cell must
    have a volume.
    """
    shape = (frame.natoms, 3)
    for name in ("positions", "forces", "moments", "magnetic_forces"):
        array = getattr(frame, name)
        if array is None:
            continue
        name = name.replace("_", " ")
        if array.shape != shape:
            return f"{name} do not have three components for each atom"
        if not np.isfinite(array).all():
            return f"{name} contain NaN or infinite numbers"
    if not np.isfinite(frame.energy):
        return "the energy is not a finite number"
    if frame.cell.shape != (3, 3) or not np.isfinite(frame.cell).all():
        return "the cell is not a finite 3 x 3 matrix"
    if frame.volume < 1.0e-6:
        return "the cell has no volume"
    if frame.virial is not None and not np.isfinite(frame.virial).all():
        return "the stress contains NaN or infinite numbers"
    return None


class Identified(Protocol):
    """What a frame and its summary both tell of themselves; see :class:`Frame`."""

    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def step(self) -> int: ...  # noqa: D102
    @property
    def formula(self) -> str: ...  # noqa: D102
    @property
    def natoms(self) -> int: ...  # noqa: D102
    @property
    def energy(self) -> float: ...  # noqa: D102
    @property
    def total_moment(self) -> float: ...  # noqa: D102
    @property
    def level(self) -> Level: ...  # noqa: D102
    @property
    def constrained(self) -> bool | None: ...  # noqa: D102


def reject(frame: Identified, reason: str) -> Rejected:
    """Return the rejected form of a frame that was read in full."""
    return Rejected(
        source=frame.source,
        step=frame.step,
        reason=reason,
        formula=frame.formula,
        natoms=frame.natoms,
        energy=frame.energy,
        total_moment=frame.total_moment,
        level=frame.level.id,
        constrained=frame.constrained,
    )
