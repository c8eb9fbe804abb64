# SPDX-License-Identifier: LGPL-3.0-or-later
"""Speed in LAMMPS: peers, their model files, table and plot of the times."""
