# SPDX-License-Identifier: LGPL-3.0-or-later
"""Units: Å, eV, fs, μB inside; conversion factors for the borders.

Magnetic forces are -dE/dm in eV/μB. Virials follow deepmd-kit: eV, positive for a
system under compression (minus the ASE stress times the volume).
"""

from __future__ import annotations

HBAR_EV_PS = 6.5821191e-4
"""Reduced Planck constant as LAMMPS has it in ``units metal``, eV ps."""

EV_PER_ANGSTROM3_IN_KBAR = 1602.1766208
"""One eV/Å³ in kbar (CODATA 2014, the set VASP and LAMMPS use)."""

PS_PER_FS = 1.0e-3
BAR_PER_GPA = 1.0e4
BOLTZMANN_EV_PER_K = 8.617333262e-5
"""CODATA 2018, eV/K."""
