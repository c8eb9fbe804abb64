# SPDX-License-Identifier: LGPL-3.0-or-later
"""Frames by composition, spin state and fingerprint."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import gcd, isnan
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.selection.features import frame_fingerprint
from spin_dp.errors import DataError
from spin_dp.spin_states.elements import formula
from spin_dp.spin_states.frame_name import FrameName, name_frame
from spin_dp.structures import carried_moments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.campaign.candidate import Candidate
    from spin_dp.spin_states.catalogue import Catalogue

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Description:
    """What a choice sees of a frame.

    Attributes
    ----------
    formula
        Formula unit.
    state
        Key of the spin state, in the smallest cell with these shares of states.
    sites
        State of each metal site.
    point
        Fingerprint, (d,).
    volume
        Volume per atom, Å³.
    """

    formula: str
    state: str
    sites: tuple[str, ...]
    point: Floats
    volume: float

    @property
    def group(self) -> tuple[str, str]:
        """Composition and spin state."""
        return self.formula, self.state


def canonical(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates in an order that does not depend on how they came.

    Raises
    ------
    DataError
        If a deviation is not a number.
    """
    for c in candidates:
        for name in ("force_deviation", "magnetic_deviation"):
            if isnan(getattr(c, name)):
                raise DataError(
                    f"{c.run}, step {c.step}: expected a {name.replace('_', ' ')}, got "
                    "NaN; it takes at least two models."
                )
    return sorted(
        candidates,
        key=lambda c: (
            *(c.run, c.step, c.temperature, c.force_deviation, c.magnetic_deviation),
            *(c.reason, c.atoms.positions.tobytes(), labels_of(c.atoms).tobytes()),
        ),
    )


def labels_of(atoms: Atoms) -> Floats:
    """Return the labels of a candidate, its initial moments, (n,), μB.

    Raises
    ------
    DataError
        If they are not collinear or not finite.
    """
    return _along_z(atoms.get_initial_magnetic_moments(), atoms)


def _along_z(moments: Floats, atoms: Atoms) -> Floats:
    name = atoms.get_chemical_formula()
    if moments.ndim == 2:
        if np.abs(moments[:, :2]).max(initial=0.0) > 1.0e-6:
            raise DataError(
                f"{name}: expected collinear moments along z, got vectors; DFT starts "
                "of campaigns are collinear."
            )
        moments = moments[:, 2]
    if not np.isfinite(moments).all():
        raise DataError(f"{name}: expected finite moments, got {moments.tolist()}.")
    return np.asarray(moments, dtype=np.float64)


def describe_candidates(
    members: Sequence[Candidate], catalogue: Catalogue
) -> list[Description]:
    """Describe candidates; the labels of a run have one name in all its frames."""
    names: dict[tuple[object, ...], FrameName] = {}
    found = []
    for member in members:
        atoms, labels = member.atoms, labels_of(member.atoms)
        key = (member.run, tuple(atoms.numbers.tolist()), labels.tobytes())
        if key not in names:
            names[key] = _name(atoms, labels, catalogue)
        found.append(_describe(atoms, labels, names[key]))
    return found


def describe_known(frames: Sequence[Atoms], catalogue: Catalogue) -> list[Description]:
    """Describe labelled frames by the moments that they carry, zero without any."""
    found = []
    for atoms in frames:
        carried = carried_moments(atoms)
        moments = np.zeros(len(atoms)) if carried is None else _along_z(carried, atoms)
        found.append(_describe(atoms, moments, _name(atoms, moments, catalogue)))
    return found


def formula_unit(symbols: Sequence[str]) -> str:
    """Return the formula unit of a cell, ``LiNiO2`` of ``Li2Ni2O4``."""
    counts = Counter(symbols)
    divisor = gcd(*counts.values())
    return formula(
        symbol for symbol, number in counts.items() for _ in range(number // divisor)
    )


def _name(atoms: Atoms, moments: Floats, catalogue: Catalogue) -> FrameName:
    symbols = atoms.get_chemical_symbols()
    return name_frame(symbols, atoms.cell.array, atoms.positions, moments, catalogue)


def _describe(atoms: Atoms, moments: Floats, name: FrameName) -> Description:
    symbols = atoms.get_chemical_symbols()
    vectors = np.zeros((len(atoms), 3))
    vectors[:, 2] = moments
    return Description(
        formula=formula_unit(symbols),
        state=name.per_cell,
        sites=name.states,
        point=frame_fingerprint(symbols, atoms.positions, atoms.cell.array, vectors),
        volume=float(abs(np.linalg.det(atoms.cell.array))) / len(atoms),
    )
