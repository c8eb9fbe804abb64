# SPDX-License-Identifier: LGPL-3.0-or-later
"""An ASE calculator that reads moments and returns them with the energy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from spin_dp.predictor import SpinDP

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms


class SpinDPCalculator(Calculator):  # type: ignore[misc]
    """ASE calculator of a frozen spin-aware Deep Potential.

    Moments are read from ``atoms.get_initial_magnetic_moments()`` and held fixed;
    they come back as ``magmoms`` and ``magmom`` (μB). Beyond ASE's properties,
    ``results["magnetic_forces"]`` holds -dE/dm, (n, 3), eV/μB.

    Parameters
    ----------
    model
        ``.pth`` file, or a loaded :class:`spin_dp.SpinDP`.
    **kwargs
        Passed on to ASE's Calculator.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        "magmom",
        "magmoms",
    ]

    def __init__(self, model: str | Path | SpinDP, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self.model = model if isinstance(model, SpinDP) else SpinDP(model)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute all properties of the atoms in the spin state that they carry."""
        super().calculate(atoms, properties, system_changes)
        moments = self.atoms.get_initial_magnetic_moments()
        found = self.model.evaluate(self.atoms, moments)
        self.results = {
            "energy": float(found.energy),
            "free_energy": float(found.energy),
            "energies": found.atomic_energies,
            "forces": found.forces,
            "magmoms": moments,
            "magmom": float(moments.sum()) if moments.ndim == 1 else moments.sum(0),
            "magnetic_forces": found.magnetic_forces,
        }
        if self.atoms.pbc.all():
            stress = -found.virial / self.atoms.get_volume()
            symmetric = 0.5 * (stress + np.transpose(stress))
            self.results["stress"] = full_3x3_to_voigt_6_stress(symmetric)
