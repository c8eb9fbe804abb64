# SPDX-License-Identifier: LGPL-3.0-or-later
"""Molecular dynamics of atoms with spin labels, in stock LAMMPS.

Labels are held (:func:`run_md`), or between segments of the run moved by Monte Carlo
(:class:`MonteCarlo`) or relaxed (:class:`MomentRelaxation`).
"""

from spin_dp.dynamics.monte_carlo import MonteCarlo
from spin_dp.dynamics.relaxed_moments import MomentRelaxation
from spin_dp.dynamics.run import MDResult, MDSettings, Watch, run_md

__all__ = [
    "MDResult",
    "MDSettings",
    "MomentRelaxation",
    "MonteCarlo",
    "Watch",
    "run_md",
]
