# SPDX-License-Identifier: LGPL-3.0-or-later
"""A frame that may be worth a DFT calculation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class Candidate:
    """A frame of a labelled MD run, and how far models disagree about it.

    Attributes
    ----------
    atoms
        The frame; its labels are the initial magnetic moments, μB.
    run
        Name of the run.
    step
        Time step in the run.
    temperature
        Of the run's thermostat, K.
    force_deviation, magnetic_deviation
        Largest deviation of an atom's force between the models, eV/Å, and of its
        magnetic force, eV/μB.
    reason
        ``band``: the deviations are in the band of doubtful frames; ``last trusted``
        and ``first doubtful``: where the run left the known region.
    """

    atoms: Atoms
    run: str
    step: int
    temperature: float
    force_deviation: float
    magnetic_deviation: float
    reason: str
