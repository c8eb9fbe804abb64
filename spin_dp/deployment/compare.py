# SPDX-License-Identifier: LGPL-3.0-or-later
"""How far the fast form of a model is from the one that it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.errors import DataError
from spin_dp.evaluation import MEV_PER_EV, predict, read_systems
from spin_dp.inference.potential import Potential

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from spin_dp.pretrained import ModelName

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Deviation:
    """Largest differences between a compressed model and the one it was made from.

    Attributes
    ----------
    frames
        Number of frames compared.
    energy, virial
        meV/atom.
    force
        eV/Å.
    magnetic_force
        eV/μB; None where one of the models gives none, so that none were compared.
    """

    frames: int
    energy: float
    force: float
    virial: float
    magnetic_force: float | None


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
    model: ModelName,
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
    rows = []
    for done, system in enumerate(systems, 1):
        a, b = predict(first, system), predict(second, system)
        n_atoms = len(system.symbols)
        row = {
            "frames": len(a.energies),
            "energy": MEV_PER_EV * _largest(a.energies, b.energies) / n_atoms,
            "force": _largest(a.forces, b.forces),
            "virial": MEV_PER_EV * _largest(a.virials, b.virials) / n_atoms,
        }
        if a.magnetic_forces is not None and b.magnetic_forces is not None:
            row["magnetic_force"] = _largest(a.magnetic_forces, b.magnetic_forces)
        rows.append(row)
        if progress is not None:
            progress(done, len(systems))
    table = pd.DataFrame(rows)
    frames = int(table.pop("frames").sum())
    largest = table.max(skipna=False)  # one that is no number shall show
    return Deviation(
        frames=frames,
        energy=float(largest["energy"]),
        force=float(largest["force"]),
        virial=float(largest["virial"]),
        magnetic_force=largest.get("magnetic_force"),
    )


def _largest(first: Floats, second: Floats) -> float:
    return float(np.abs(first - second).max())
