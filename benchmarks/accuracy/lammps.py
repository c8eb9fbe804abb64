# SPDX-License-Identifier: LGPL-3.0-or-later
"""Time of an MD step of frozen models: layered LiNiO2, one process, one thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.forms import FROZEN, exported, fast_form
from spin_dp.crystals import by_rows, layered_oxide
from spin_dp.errors import BackendError
from spin_dp.files import replacing
from spin_dp.lammps_interface import step_times
from spin_dp.training import freeze

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.accuracy.dp import Progress, Training
    from benchmarks.accuracy.model import Model

SPEEDS = "lammps.csv"
REPEATS = (2, 2, 1)
MOMENT, NICKEL_STATE = 1.3, "Ni_3LS"  # μB, low-spin Ni3+


def read_speeds(out: Path) -> pd.DataFrame:
    """Return the table of MD step times, empty if there is none."""
    path = out / SPEEDS
    columns = ["model", "file", "atoms", "seconds_per_step"]
    return pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=columns)


def time_files(
    model: Model, training: Training, out: Path, progress: Progress
) -> dict[str, str]:
    """Add the times of the forms of a model to ``lammps.csv``.

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
            file = _model_file(model, training, kind)
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


def _model_file(model: Model, training: Training, kind: str) -> Path:
    if model.backend == "--pt-expt":
        return exported(training.folder)
    file = freeze(training.checkpoint(), training.folder / "model.pth")
    return file if kind == FROZEN else fast_form(file, kind)


def time_step(model: Model, frozen: Path, folder: Path) -> tuple[int, float]:
    """Return the number of atoms and the mean time of 20 MD steps, s."""
    atoms = layered_oxide("LiNiO2", REPEATS)
    moments = None
    if model.moments:
        moments = np.zeros((len(atoms), 3))
        moments[:, 2] = by_rows(atoms, "Ni", (MOMENT, -MOMENT), other=0.0)
    names = {"Ni": NICKEL_STATE} if model.states else None
    (seconds,) = step_times(atoms, moments, frozen, folder, names=names)
    return len(atoms), seconds
