# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is asked of DFT: one geometry, one set of starting moments."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from spin_dp.errors import ConfigError, DataError
from spin_dp.spin_states.elements import carries_spin_state, formula
from spin_dp.structures import moment_vectors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

Floats: TypeAlias = NDArray[np.float64]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,199}")
_OF_RESULTS = {
    "converged",
    "error",
    "fermi_split",
    "final_state",
    "initial_M",
    "scf_iterations",
    "scf_seconds",
    "settings",
    "spin_constraint",
    "total_magmom",
}
"""What a frame says of an earlier calculation, which does not hold for the next."""
_DIGITS = 6  # of what makes two requests the same, Å and μB


@dataclass(frozen=True, eq=False)
class Request:
    """One DFT run.

    Attributes
    ----------
    name
        Of the run and its folder: letters, digits and ``. _ + = -``.
    atoms
        Geometry, periodic in three directions; a copy without calculator. What its
        ``info`` says in single words and numbers (``geometry_id``, ``system``,
        ``temperature``) goes into the frame.
    moments
        Starting moment of every atom, (n,), μB; DFT is collinear here.

    Raises
    ------
    ConfigError
        If the name is not safe or the moments are not collinear.
    DataError, ShapeError
        If the geometry or the moments cannot be calculated.
    """

    name: str
    atoms: Atoms
    moments: Floats

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"name of a DFT run: expected up to 200 letters, digits and . _ + = - "
                f"that begin with a letter or digit, got {self.name!r}"
            )
        given = self.atoms
        atoms = Atoms(
            given.symbols,
            positions=given.positions,
            cell=given.cell,
            pbc=given.pbc,
            info=dict(given.info),
        )
        if len(atoms) == 0 or not atoms.pbc.all() or abs(atoms.cell.volume) < 1.0e-6:
            raise DataError(f"{self.name}: expected atoms in a cell, periodic in three")
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell).all()):
            raise DataError(f"{self.name}: positions or cell are not finite")
        vectors = moment_vectors(self.moments, len(atoms), name=f"{self.name}: moments")
        if vectors[:, :2].any():
            raise ConfigError(
                f"{self.name}: the DFT engines are collinear; give moments along z"
            )
        moments = vectors[:, 2].copy()
        moments.setflags(write=False)
        atoms.set_initial_magnetic_moments(moments)
        object.__setattr__(self, "atoms", atoms)
        object.__setattr__(self, "moments", moments)

    @classmethod
    def of(
        cls,
        atoms: Atoms,
        moments: ArrayLike,
        *,
        geometry_id: str,
        system: str | None = None,
    ) -> Request:
        """Return a request that is named after its geometry and its start.

        Parameters
        ----------
        atoms, moments
            As above.
        geometry_id
            Name of the geometry, the same for all its starts.
        system
            Name of the system; None: what ``atoms.info`` says, else the formula.

        Returns
        -------
        Request
            ``GEOMETRY_+4_-4``: the starts of the metal atoms in their order.
        """
        atoms = atoms.copy()
        atoms.info |= {"geometry_id": geometry_id}
        if system is not None:
            atoms.info["system"] = system
        numbers = _metal_starts(atoms, np.asarray(moments, dtype=np.float64))
        return cls("_".join([geometry_id, *numbers]), atoms, np.asarray(moments))

    @property
    def symbols(self) -> tuple[str, ...]:
        """Element of each atom."""
        return tuple(self.atoms.get_chemical_symbols())

    @property
    def start(self) -> str:
        """Starting moments of the metal atoms, ``init:+4,-4``."""
        return "init:" + ",".join(_metal_starts(self.atoms, self.moments))

    @property
    def info(self) -> dict[str, Any]:
        """What a frame says of the request: system, geometry and start first."""
        info: Mapping[str, Any] = self.atoms.info
        plain = {
            str(key): value.item() if isinstance(value, np.generic) else value
            for key, value in info.items()
            if isinstance(value, (str, int, float, np.generic))
            and key not in _OF_RESULTS
        }
        return {
            "system": plain.pop("system", formula(self.symbols)),
            "geometry_id": plain.pop("geometry_id", self.name),
            **plain,
            "initial_M": self.start,
        }

    @cached_property
    def digest(self) -> str:
        """Of elements, geometry and moments; equal for equal runs."""
        digest = hashlib.sha256(",".join(self.symbols).encode())
        for array in (self.atoms.cell.array, self.atoms.positions, self.moments):
            digest.update(
                np.ascontiguousarray(np.round(array, _DIGITS) + 0.0).tobytes()
            )
        return digest.hexdigest()[:16]


def _metal_starts(atoms: Atoms, moments: Floats) -> list[str]:
    metals = [carries_spin_state(symbol) for symbol in atoms.get_chemical_symbols()]
    if len(metals) != len(moments):  # told in full where the request is checked
        return []
    return [f"{moment:+.4g}" for moment in moments[metals]]
