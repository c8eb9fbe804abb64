# SPDX-License-Identifier: LGPL-3.0-or-later
"""Time of an MD step in stock LAMMPS, by its own loop times."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ase.io.lammpsdata import write_lammps_data

from spin_dp.errors import BackendError
from spin_dp.lammps_interface.cell import lammps_frame
from spin_dp.lammps_interface.data_file import element_types, render_data
from spin_dp.lammps_interface.program import lammps_command
from spin_dp.lammps_interface.run import SCREEN_FILE, run_lammps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray

_LOOP = re.compile(r"Loop time of ([\d.eE+-]+) on \d+ procs for (\d+) steps")

_DECK = """\
units           metal
atom_style      {style}
atom_modify     map yes
boundary        p p p
read_data       data.lammps
pair_style      {pair} {model}
pair_coeff      * * {types}
neighbor        2.0 bin
velocity        all create 300 1 mom yes rot no dist gaussian
fix             integrate all nve
timestep        {timestep}
thermo          1000
run             {warm_up}
"""


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
    timestep: float = 0.001,
) -> list[float]:
    """Return the mean time of a step of each round, s, after some steps to warm up.

    Parameters
    ----------
    atoms
        What moves, at 300 K.
    moments
        Labels, (n, 3), μB; None: the model reads none.
    model
        The model's file.
    folder
        Where the deck and the output go.
    names
        The model's name of an element's type where it is not the symbol.
    steps, rounds, warm_up, ranks
        Steps of a round; rounds; steps before; MPI processes.
    timestep
        ps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    symbols = atoms.get_chemical_symbols()
    elements = element_types(symbols)
    deck = _DECK.format(
        style="atomic" if moments is None else "spin",
        pair="deepmd" if moments is None else "deepspin",
        model=model.resolve(),
        types=" ".join((names or {}).get(e, e) for e in elements),
        timestep=timestep,
        warm_up=warm_up,
    )
    (folder / "in.lammps").write_text(deck + f"run {steps}\n" * rounds)
    data = folder / "data.lammps"
    if moments is None:
        write_lammps_data(data, atoms, specorder=elements, masses=True)
    else:
        frame = lammps_frame(atoms.cell.array)
        data.write_text(render_data(symbols, atoms.positions, moments, frame))
    run_lammps(lammps_command("in.lammps", ranks=ranks), folder, on_row=lambda _: None)
    found = _LOOP.findall((folder / SCREEN_FILE).read_text())
    if len(found) != rounds + 1:
        raise BackendError(
            f"{folder / SCREEN_FILE}: expected {rounds + 1} loop times, "
            f"found {len(found)}."
        )
    return [float(seconds) / int(done) for seconds, done in found[1:]]
