# SPDX-License-Identifier: LGPL-3.0-or-later
"""How far the fast form of a model is from the one that it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import DataError
from spin_dp.evaluation import Potential, read_systems

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Deviation:
    """Largest differences between a compressed model and the one it was made from.

    Attributes
    ----------
    frames
        Number of frames compared.
    energy, force, magnetic_force
        meV/atom, eV/Å, eV/μB.
    """

    frames: int
    energy: float
    force: float
    magnetic_force: float


def split_to_compare(data: Path) -> str:
    """Return the split of a result of ``spin-dp collect`` that is compared on.

    Raises
    ------
    DataError
        If the folder has none.
    """
    for split in ("validation", "training"):
        if (data / split).is_dir():
            return split
    raise DataError(
        f"{data}: expected a result of `spin-dp collect` with a folder training or "
        "validation, found neither."
    )


def compare(
    model: str | os.PathLike[str],
    compressed: str | os.PathLike[str],
    data: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Deviation:
    """Compare two models on frames, validation frames where there are some.

    Parameters
    ----------
    model, compressed
        Model files of deepmd-kit.
    data
        A result of ``spin-dp collect``.
    progress
        Called with systems done and their total number.

    Raises
    ------
    DataError
        If a model or the data cannot be read.
    """
    systems = read_systems(data, split_to_compare(data))
    first, second = Potential(model), Potential(compressed)
    frames, energy, force, magnetic_force = 0, 0.0, 0.0, 0.0
    for done, system in enumerate(systems, 1):
        a, b = first.predict(system), second.predict(system)
        frames += len(a.energies)
        per_atom = np.abs(a.energies - b.energies).max() / len(system.symbols)
        energy = max(energy, 1e3 * float(per_atom))
        force = max(force, float(np.abs(a.forces - b.forces).max()))
        if a.magnetic_forces is not None and b.magnetic_forces is not None:
            difference = np.abs(a.magnetic_forces - b.magnetic_forces).max()
            magnetic_force = max(magnetic_force, float(difference))
        if progress is not None:
            progress(done, len(systems))
    return Deviation(frames, energy, force, magnetic_force)
