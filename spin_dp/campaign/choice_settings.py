# SPDX-License-Identifier: LGPL-3.0-or-later
"""What makes a candidate worth a DFT calculation: limits, units and checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

METHODS = ("both", "deviation", "farthest", "random")


@dataclass(frozen=True, kw_only=True)
class ChoiceSettings:
    """What makes a candidate worth a DFT calculation.

    Attributes
    ----------
    force_band, magnetic_band
        Deviations between which a frame is doubtful, eV/Å and eV/μB. A frame whose
        deviations are all below is known already; one with any of them above is taken
        only where it is physical.
    contact
        Shortest distance of two atoms with which DFT still converges, as a share of the
        sum of their covalent radii. The shortest of the shipped frames is 0.69.
    sound_contact, sound_volume
        Of frames above the band: shortest distance, as before, and largest departure
        of the volume per atom from that of known frames of the composition, as a share.
    steps_apart
        Steps of a run that are nearer in time count as one frame.
    least_distance
        Frames with fingerprints that are nearer count as one.
    most_atoms
        Largest cell that goes to DFT.
    method
        Which frame of a spin state is taken: the most doubtful (``deviation``), the one
        farthest from all that is known (``farthest``), the largest product of both
        (``both``). ``random`` draws lots among all that may be chosen.
    seed
        Seed of ``random``; the others draw no lots.
    """

    force_band: tuple[float, float] = (0.1, 0.6)
    magnetic_band: tuple[float, float] = (0.1, 0.6)
    contact: float = 0.65
    sound_contact: float = 0.8
    sound_volume: float = 0.3
    steps_apart: int = 50
    least_distance: float = 0.02
    most_atoms: int = 32
    method: str = "both"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("force_band", "magnetic_band"):
            low, high = getattr(self, name)
            if not 0.0 <= low < high:
                raise ConfigError(
                    f"{name}: expected two numbers, 0 <= low < high, got {low:g} and "
                    f"{high:g}."
                )
        if not 0.0 < self.contact <= self.sound_contact:
            raise ConfigError(
                "contact: expected 0 < contact <= sound_contact, got "
                f"{self.contact:g} and {self.sound_contact:g}."
            )
        for name in ("sound_volume", "steps_apart", "least_distance", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"{name}: expected 0 or more, got {getattr(self, name):g}."
                )
        if self.most_atoms < 1:
            raise ConfigError(f"most_atoms: expected 1 or more, got {self.most_atoms}.")
        if self.method not in METHODS:
            raise unknown("method of choice", self.method, METHODS)

    def doubt(self, force: Floats, magnetic: Floats) -> Floats:
        """Return the larger deviation, (n,), in units of the band's upper limit.

        Not more than 1: above the band the numbers say no more.
        """
        ratio = np.maximum(force / self.force_band[1], magnetic / self.magnetic_band[1])
        return np.minimum(ratio, 1.0)
