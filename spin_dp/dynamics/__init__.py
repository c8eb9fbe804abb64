# SPDX-License-Identifier: LGPL-3.0-or-later
"""Molecular dynamics of atoms with spin labels, in stock LAMMPS.

Labels are held (:func:`run_md`), or moved by Monte Carlo between segments of the run
(:class:`MonteCarlo`).
"""

from spin_dp.dynamics.monte_carlo import MonteCarlo
from spin_dp.dynamics.run import MDResult, MDSettings, Watch, run_md

__all__ = ["MDResult", "MDSettings", "MonteCarlo", "Watch", "run_md"]
