# SPDX-License-Identifier: LGPL-3.0-or-later
"""Time of an MD step in stock LAMMPS, by its own loop times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spin_dp.files import write_text
from spin_dp.lammps_interface.cell import lammps_frame
from spin_dp.lammps_interface.data_file import element_types, render_data
from spin_dp.lammps_interface.deck import DATA_FILE, Deck, render_setup
from spin_dp.lammps_interface.process import LammpsProcess
from spin_dp.lammps_interface.settings import MDSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray


def step_times(
    atoms: Atoms,
    moments: NDArray[np.float64] | None,
    model: Path,
    folder: Path,
    *,
    names: Mapping[str, str] | None = None,
    steps: int = 20,
    rounds: int = 1,
    warm_up: int = 5,
    ranks: int = 1,
    timestep: float = 1.0,
) -> list[float]:
    """Return the mean time of a step of each round, s, after some steps to warm up.

    The run is one of :class:`MDSettings` in the nve ensemble that writes nothing.

    Parameters
    ----------
    atoms
        What moves, at 300 K.
    moments
        Labels, (n, 3), μB; None: the model reads none.
    model
        The model's file.
    folder
        Where LAMMPS runs.
    names
        The model's name of an element's type where it is not the symbol.
    steps, rounds, warm_up, ranks
        Steps of a round; rounds; steps before; MPI processes.
    timestep
        fs.

    Raises
    ------
    BackendError
        If LAMMPS is not found or fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    symbols = atoms.get_chemical_symbols()
    frame = lammps_frame(atoms.cell.array)
    data = render_data(symbols, atoms.positions, moments, frame)
    write_text(folder / DATA_FILE, data)
    deck = Deck(
        settings=MDSettings(ensemble="nve", timestep=timestep),
        models=[model.resolve()],
        elements=[(names or {}).get(e, e) for e in element_types(symbols)],
        moments=moments is not None,
    )
    with LammpsProcess(folder, ranks=ranks) as lammps:
        lammps.execute(render_setup(deck, output=False))
        for count in (warm_up, *[steps] * rounds):
            lammps.execute(f"run {count}")
    return [seconds / done for seconds, done in lammps.thermo.loops[1:]]
