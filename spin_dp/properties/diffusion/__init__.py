# SPDX-License-Identifier: LGPL-3.0-or-later
"""Diffusion of ions in runs of labelled molecular dynamics."""

from spin_dp.properties.diffusion.arrhenius import Arrhenius, fit_arrhenius
from spin_dp.properties.diffusion.displacements import Displacements, read_displacements
from spin_dp.properties.diffusion.measured import Diffusion, measure_diffusion

__all__ = [
    "Arrhenius",
    "Diffusion",
    "Displacements",
    "fit_arrhenius",
    "measure_diffusion",
    "read_displacements",
]
