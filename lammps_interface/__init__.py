# SPDX-License-Identifier: LGPL-3.0-or-later
"""Labelled molecular dynamics with stock LAMMPS: structure in, trajectory out.

:func:`run_job` runs from start to end, :class:`LammpsSession` in segments between which
the caller may change moments.
"""

from spin_dp.lammps_interface.cell import LammpsFrame, lammps_frame
from spin_dp.lammps_interface.data_file import render_data
from spin_dp.lammps_interface.deck import Deck, render_deck
from spin_dp.lammps_interface.deviation import Deviation
from spin_dp.lammps_interface.frames import Frame, read_frames
from spin_dp.lammps_interface.job import MDJob, MDResult
from spin_dp.lammps_interface.program import find_program, lammps_command
from spin_dp.lammps_interface.run import run_job
from spin_dp.lammps_interface.session import LammpsSession, Progress
from spin_dp.lammps_interface.settings import MDSettings
from spin_dp.lammps_interface.timing import step_times
from spin_dp.lammps_interface.trajectory import (
    Snapshot,
    read_dump,
    write_trajectory,
)
from spin_dp.lammps_interface.watch import Departure, Watch

__all__ = [
    "Deck",
    "Departure",
    "Deviation",
    "Frame",
    "LammpsFrame",
    "LammpsSession",
    "MDJob",
    "MDResult",
    "MDSettings",
    "Progress",
    "Snapshot",
    "Watch",
    "find_program",
    "lammps_command",
    "lammps_frame",
    "read_dump",
    "read_frames",
    "render_data",
    "render_deck",
    "run_job",
    "step_times",
    "write_trajectory",
]
