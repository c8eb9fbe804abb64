# SPDX-License-Identifier: LGPL-3.0-or-later
"""Time of an MD step of frozen models: layered LiNiO2, one process, one thread."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from ase.io.lammpsdata import write_lammps_data

from benchmarks.accuracy.model import SINGLE
from spin_dp.demo.structure import layered_linio2, striped_moments
from spin_dp.deployment import compress
from spin_dp.errors import BackendError
from spin_dp.files import replacing
from spin_dp.lammps_interface.cell import lammps_frame
from spin_dp.lammps_interface.data_file import element_types, render_data
from spin_dp.lammps_interface.program import lammps_command
from spin_dp.lammps_interface.run import SCREEN_FILE, run_lammps
from spin_dp.training import freeze
from spin_dp.training.program import run_dp

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.accuracy.dp import Progress, Training
    from benchmarks.accuracy.model import Model

SPEEDS = "lammps.csv"
REPEATS = (2, 2, 1)
MOMENT, NICKEL_STATE = 1.3, "Ni_3LS"  # μB, low-spin Ni3+

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
timestep        0.001
thermo          100
run             5
run             20
"""


def read_speeds(out: Path) -> pd.DataFrame:
    """Return the table of MD step times, empty if there is none."""
    path = out / SPEEDS
    columns = ["model", "file", "atoms", "seconds_per_step"]
    return pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=columns)


def time_files(
    model: Model, training: Training, out: Path, progress: Progress
) -> dict[str, str]:
    """Add the times of the frozen and the compressed model to ``lammps.csv``.

    What was timed before is left alone. Returns the message of what failed.
    """
    failed: dict[str, str] = {}
    for kind in model.files:
        speeds = read_speeds(out)
        name = f"{model.name}, {kind}, in LAMMPS"
        if ((speeds["model"] == model.name) & (speeds["file"] == kind)).any():
            continue
        progress(name, 0, 1)
        try:
            file = freeze(training.checkpoint(), training.folder / "model.pth")
            if kind != "frozen":
                frozen, file = file, file.with_name(f"model.{kind}.pth")
                _compress(frozen, file, kind)
            n_atoms, seconds = time_step(
                model, file, out / "lammps" / f"{model.name}-{kind}"
            )
        except BackendError as error:
            failed[name] = str(error)
            continue
        row = {"model": model.name, "file": kind, "atoms": n_atoms}
        rows = [*speeds.to_dict("records"), {**row, "seconds_per_step": seconds}]
        with replacing(out / SPEEDS) as part:
            pd.DataFrame(rows).to_csv(part, index=False)
        progress(name, 1, 1)
    return failed


def _compress(frozen: Path, file: Path, kind: str) -> None:
    if kind == SINGLE:
        compress(frozen, file, precision="float32")
    else:
        run_dp("compress", "-i", str(frozen), "-o", str(file), threads=1)


def time_step(model: Model, frozen: Path, folder: Path) -> tuple[int, float]:
    """Return the number of atoms and the mean time of 20 MD steps, s."""
    folder.mkdir(parents=True, exist_ok=True)
    atoms = layered_linio2(REPEATS)
    symbols = atoms.get_chemical_symbols()
    elements = element_types(symbols)
    types = [NICKEL_STATE if model.states and e == "Ni" else e for e in elements]
    deck = _DECK.format(
        style="spin" if model.moments else "atomic",
        pair="deepspin" if model.moments else "deepmd",
        model=frozen.resolve(),
        types=" ".join(types),
    )
    (folder / "in.lammps").write_text(deck)
    data = folder / "data.lammps"
    if model.moments:
        moments = np.zeros((len(atoms), 3))
        moments[:, 2] = striped_moments(atoms, "Ni", MOMENT)
        frame = lammps_frame(atoms.cell.array)
        data.write_text(render_data(symbols, atoms.positions, moments, frame))
    else:
        write_lammps_data(data, atoms, specorder=elements, masses=True)
    run_lammps(lammps_command("in.lammps"), folder, on_row=lambda _: None)
    found = _LOOP.findall((folder / SCREEN_FILE).read_text())
    if len(found) != 2:
        raise BackendError(f"{folder / SCREEN_FILE}: expected two loop times.")
    seconds, steps = found[-1]
    return len(atoms), float(seconds) / int(steps)
