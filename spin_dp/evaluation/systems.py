# SPDX-License-Identifier: LGPL-3.0-or-later
"""The frames of a collected data set with their labels, one deepmd system each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.collection.collected import LABELS
from spin_dp.data_tools.systems.system import find_systems, open_system
from spin_dp.spin_states.elements import carries_spin_state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FILES = {
    "positions": "coord",
    "cells": "box",
    "energies": "energy",
    "forces": "force",
    "virials": "virial",
    "moments": "spin",
    "magnetic_forces": "force_mag",
    "initial_moments": "initial_spin",
}


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSystem:
    """The frames of one deepmd system.

    Attributes
    ----------
    name
        Path below the data folder, as the manifest has it.
    symbols
        Elements, natoms of them.
    positions, cells, energies, forces, moments
        (nf, natoms, 3) Å; (nf, 3, 3) Å; (nf,) eV; (nf, natoms, 3) eV/Å;
        (nf, natoms, 3) μB.
    virials
        -dE/dstrain, (nf, 3, 3) eV; None where the system has none.
    magnetic_forces
        -dE/dm, (nf, natoms, 3) eV/μB; None where the system has none.
    initial_moments
        Guess of the moments from their spin states, (nf, natoms, 3) μB; None where the
        system has none.
    """

    name: str
    symbols: Sequence[str]
    positions: Floats
    cells: Floats
    energies: Floats
    forces: Floats
    moments: Floats
    virials: Floats | None = None
    magnetic_forces: Floats | None = None
    initial_moments: Floats | None = None

    @property
    def metals(self) -> list[int]:
        """Indices of the atoms that have spin states."""
        return [i for i, s in enumerate(self.symbols) if carries_spin_state(s)]

    def mean_moment(self) -> Floats:
        """Return the mean length of the metals' moments of each frame, (nf,), μB.

        NaN without metals.
        """
        lengths = np.linalg.norm(self.moments[:, self.metals], axis=-1)
        if lengths.shape[1] == 0:
            return np.full(len(lengths), np.nan)
        mean: Floats = lengths.mean(axis=1)
        return mean


def read_systems(data: Path, split: str) -> list[LabelledSystem]:
    """Read all deepmd systems below ``data/split``.

    Parameters
    ----------
    data
        A folder written by ``spin-dp collect``.
    split
        ``"training"`` or ``"validation"``.

    Returns
    -------
    list of LabelledSystem
        Sorted by name.

    Raises
    ------
    DataError
        If there is none, or a file is missing or cannot be read.
    """
    names = (path.relative_to(data).as_posix() for path in find_systems(data / split))
    return [read_system(data, name, in_memory=True) for name in names]


def read_system(data: Path, name: str, *, in_memory: bool = False) -> LabelledSystem:
    """Open one deepmd system, be it larger than the memory.

    Parameters
    ----------
    data
        A folder written by ``spin-dp collect``.
    name
        Path of the system below it.
    in_memory
        Read all arrays now; otherwise they are mapped, each keeps a file open, and they
        are read from disk when used.

    Returns
    -------
    LabelledSystem
        All its frames.

    Raises
    ------
    DataError
        If a file is missing or cannot be read.
    """
    system = open_system(data / name, LABELS)
    arrays = {
        field: system.label(label)
        for field, label in _FILES.items()
        if label in system.labels
    }
    if in_memory:
        arrays = {field: np.array(array) for field, array in arrays.items()}
    return LabelledSystem(name=name, symbols=system.symbols, **arrays)
