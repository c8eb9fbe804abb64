# SPDX-License-Identifier: LGPL-3.0-or-later
"""Frames of a run with their labels and deviations, one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.io import iread

from spin_dp.lammps_interface.deviation import read_deviation_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spin_dp.lammps_interface.deviation import Deviation


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a run, ready for another calculation.

    Attributes
    ----------
    atoms
        Positions and cell; labels as initial magnetic moments, one number per atom if
        they lie along z, else three. Nothing that the model computed.
    step
        Time step.
    temperature
        Of the velocities, K.
    deviation
        Of the models at this step; None where it was not computed.
    """

    atoms: Atoms
    step: int
    temperature: float
    deviation: Deviation | None


def read_frames(trajectory: Path, deviations: Path | None = None) -> Iterator[Frame]:
    """Yield the frames of a trajectory, one at a time.

    Parameters
    ----------
    trajectory
        ``trajectory.extxyz`` or ``departure.extxyz`` of a run.
    deviations
        Its ``deviation.csv``; frames of steps that it does not have get none, as all
        do where there is no such file.
    """
    rows: Iterator[Deviation] = iter(())
    if deviations is not None and deviations.exists():
        rows = read_deviation_table(deviations)
    row = next(rows, None)
    for atoms in iread(trajectory, index=":", format="extxyz"):
        step = int(atoms.info["step"])
        while row is not None and row.step < step:
            row = next(rows, None)
        found = row if row is not None and row.step == step else None
        yield Frame(_bare(atoms), step, _temperature(atoms), found)


def _bare(atoms: Atoms) -> Atoms:
    moments = np.asarray(atoms.calc.results["magmoms"])
    bare = Atoms(
        atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc
    )
    is_collinear = moments.ndim == 1 or not moments[:, :2].any()
    if is_collinear and moments.ndim == 2:
        moments = moments[:, 2]
    bare.set_initial_magnetic_moments(moments)
    return bare


def _temperature(atoms: Atoms) -> float:
    """Return the temperature as LAMMPS has it: the centre of mass is at rest."""
    freedom = max(3 * len(atoms) - 3, 1)
    return float(2.0 * atoms.get_kinetic_energy() / (freedom * units.kB))
