# SPDX-License-Identifier: LGPL-3.0-or-later
"""How often an ion hops, by harmonic transition-state theory.

The prefactor is the product of the frequencies at the start over that of the real ones
at the top (G. H. Vineyard, J. Phys. Chem. Solids 3, 121 (1957)), of the atoms around
the ion, all others held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import units

from spin_dp.errors import ConfigError
from spin_dp.properties.migration.modes import (
    RADIUS,
    THZ,
    Modes,
    atoms_around,
    modes_of,
)

if TYPE_CHECKING:
    from spin_dp.properties.migration.result import Barrier
    from spin_dp.properties.migration.surface import Surface

ATTEMPT_FREQUENCY = 1.0e13
"""Hz; usual for lithium in oxides, where none is calculated."""


def hop_rate(
    barrier: float, temperature: float, frequency: float = ATTEMPT_FREQUENCY
) -> float:
    """Return the rate of a hop, 1/s.

    Parameters
    ----------
    barrier
        eV.
    temperature
        K.
    frequency
        Attempt frequency, Hz.

    Raises
    ------
    ConfigError
        If temperature or frequency are not positive.
    """
    if not temperature > 0.0 or not frequency > 0.0:
        raise ConfigError(
            "rate: expected a positive temperature and frequency, got "
            f"{temperature:g} K and {frequency:g} Hz."
        )
    return float(frequency * np.exp(-barrier / (units.kB * temperature)))


def attempt_frequency(
    barrier: Barrier, surface: Surface, *, radius: float = RADIUS
) -> tuple[float, Modes, Modes]:
    """Return the prefactor of harmonic transition-state theory, Hz.

    Parameters
    ----------
    barrier
        Whose first and highest image are taken.
    surface
        Energies of its spin states.
    radius
        Of the atoms that vibrate, those around either point, Å.

    Returns
    -------
    tuple
        Prefactor; modes at the start and at the top.

    Raises
    ------
    ConfigError
        If the start is no minimum, or the top no saddle point of first order.
    """
    start, top = barrier.images[0], barrier.images[barrier.top]
    near = (atoms_around(atoms, barrier.ion, radius) for atoms in (start, top))
    moving = sorted({atom for around in near for atom in around})
    low, high = (modes_of(surface, atoms, moving) for atoms in (start, top))
    if low.unstable or high.unstable != 1:
        raise ConfigError(
            f"{barrier.formula}: a prefactor needs a minimum and a saddle point with "
            f"one unstable mode, got {low.unstable} and {high.unstable} unstable modes "
            "of the atoms around the ion; converge the path further."
        )
    logarithm = np.log(low.frequencies).sum() - np.log(high.frequencies[1:]).sum()
    return float(np.exp(logarithm) / THZ), low, high
