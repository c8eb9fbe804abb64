# SPDX-License-Identifier: LGPL-3.0-or-later
"""The frames that are labelled already, as structures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ase import Atoms

from spin_dp.data_tools.collection.collected import open_collected
from spin_dp.data_tools.systems.system import TRAINING, VALIDATION
from spin_dp.evaluation import read_system
from spin_dp.structures import shortest_moments
from spin_dp.training.data import look_through

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def known_frames(
    data: Path, splits: Sequence[str] = (TRAINING, VALIDATION)
) -> list[Atoms]:
    """Return the kept frames of a collected data set.

    Parameters
    ----------
    data
        Result of ``spin-dp collect``.
    splits
        The parts of it.

    Returns
    -------
    list of ase.Atoms
        With DFT's moments as initial ones, μB; ``info`` has ``formula``, ``key``,
        ``geometry``, ``split`` and ``energy_per_atom`` (eV).

    Raises
    ------
    DataError
        If the data cannot be read.
    """
    kept = open_collected(data).kept
    rows = kept[["system", "index", "formula", "key", "geometry", "split"]]
    names = rows.set_index(["system", "index"]).to_dict(orient="index")
    frames = []
    for part in look_through(data).systems:
        if part.split not in splits:
            continue
        name = part.folder.relative_to(data).as_posix()
        system = read_system(data, name)
        for index in range(len(system.energies)):
            atoms = Atoms(
                system.symbols,
                positions=system.positions[index],
                cell=system.cells[index],
                pbc=True,
            )
            moments = shortest_moments(system.moments[index])
            atoms.set_initial_magnetic_moments(moments)
            energy = float(system.energies[index]) / len(atoms)
            atoms.info = {**names[name, index], "energy_per_atom": energy}
            frames.append(atoms)
    return frames
