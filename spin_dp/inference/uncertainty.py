# SPDX-License-Identifier: LGPL-3.0-or-later
"""What several models say of spin states: mean, spread, and stated intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.inference.calibration import LEVELS, nominal_factor
from spin_dp.inference.deviation import deviation, spread, vector_spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from spin_dp.inference.calibration import Calibration
    from spin_dp.inference.prediction import Prediction

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Uncertainty:
    """Means and spreads over models, of one spin state or of k spin states.

    The leading axis (k) is there only when many were asked for. *Spread* divides by
    the number of models less one, *deviation* by their number, as LAMMPS does, see
    :mod:`spin_dp.inference.deviation`.

    Attributes
    ----------
    prediction
        Of the first model, the predicting one.
    energies
        Of each model, (n_models,) or (n_models, k), eV.
    energy, energy_spread
        Per cell, () or (k,), eV.
    forces, force_deviation
        Mean, (n, 3) or (k, n, 3); of each atom, (n,) or (k, n); eV/Å.
    magnetic_forces, magnetic_force_deviation
        The same of -dE/dm, eV/μB.
    moment_spread
        Of the moments that each model predicts of the same labels, (n,) or (k, n), μB;
        zero where they were given; None where nothing was predicted.
    calibration
        Factors between spread and error; None where there are none.
    why
        Where the calibration was found, or why there is none.
    """

    prediction: Prediction
    energies: Floats
    energy: Floats
    energy_spread: Floats
    forces: Floats
    force_deviation: Floats
    magnetic_forces: Floats
    magnetic_force_deviation: Floats
    moment_spread: Floats | None = None
    calibration: Calibration | None = None
    why: str = ""

    @classmethod
    def of(
        cls,
        predictions: Sequence[Prediction],
        moments: Sequence[Floats] | None = None,
        *,
        calibration: Calibration | None = None,
        why: str = "",
    ) -> Uncertainty:
        """Return it for what each model predicts.

        Parameters
        ----------
        predictions
            Of each model, for the same atoms and moments.
        moments
            That each model predicts of the same labels, (n, 3) or (k, n, 3), μB.
        calibration, why
            See the attributes.
        """
        energies = np.stack([p.energy for p in predictions])
        forces = np.stack([p.forces for p in predictions])
        magnetic = np.stack([p.magnetic_forces for p in predictions])
        return cls(
            prediction=predictions[0],
            energies=energies,
            energy=energies.mean(axis=0),
            energy_spread=spread(energies),
            forces=forces.mean(axis=0),
            force_deviation=deviation(forces),
            magnetic_forces=magnetic.mean(axis=0),
            magnetic_force_deviation=deviation(magnetic),
            moment_spread=None if moments is None else vector_spread(np.stack(moments)),
            calibration=calibration,
            why=why,
        )

    @property
    def n_models(self) -> int:
        """Number of models."""
        return len(self.energies)

    @property
    def energy_per_atom(self) -> Floats:
        """Mean energy, () or (k,), eV/atom."""
        return np.asarray(self.energy / self.forces.shape[-2])

    @property
    def energy_spread_per_atom(self) -> Floats:
        """Spread of the energy, () or (k,), eV/atom."""
        return np.asarray(self.energy_spread / self.forces.shape[-2])

    def gaps(self, reference: int = 0) -> tuple[Floats, Floats]:
        """Return energies above one of the spin states, and their spread.

        What all states have in common drops out of a difference before the spread is
        taken: it is mostly smaller than the spreads of the two energies.

        Parameters
        ----------
        reference
            Number of the state that the others are compared with.

        Returns
        -------
        tuple
            Mean and spread, (k,) each, eV per cell.
        """
        above = self.energies - self.energies[:, reference, None]
        return above.mean(axis=0), spread(above)

    def is_calibrated(self, quantity: str) -> bool:
        """Return whether intervals of a quantity hold what they state."""
        return self.calibration is not None and quantity in self.calibration.factors

    def interval(self, quantity: str, share: float = LEVELS[0]) -> Floats:
        """Return half the width of the interval about the first model's prediction.

        Calibrated where :meth:`is_calibrated`; else that of normal errors as wide as
        the spread, which is mostly too small.

        Parameters
        ----------
        quantity
            ``energy``, ``force`` or ``magnetic_force``; of gaps see
            :meth:`gap_interval`.
        share
            Of the true values in the interval, 0.68 or 0.95.

        Returns
        -------
        ndarray
            ``energy``: () or (k,), eV per cell; ``force`` and ``magnetic_force``: the
            length of the error of each atom, (n,) or (k, n), eV/Å and eV/μB.
        """
        if quantity == "energy":
            n_atoms = self.forces.shape[-2]
            per_atom = self._interval("energy", self.energy_spread_per_atom, share)
            return np.asarray(n_atoms * per_atom)
        deviations = {
            "force": self.force_deviation,
            "magnetic_force": self.magnetic_force_deviation,
        }
        return self._interval(quantity, deviations[quantity], share)

    def gap_interval(self, reference: int = 0, share: float = LEVELS[0]) -> Floats:
        """Return that of energies above one of the spin states, (k,), eV per cell."""
        return self._interval("gap", self.gaps(reference)[1], share)

    def _interval(self, quantity: str, spreads: Floats, share: float) -> Floats:
        if self.calibration is not None and self.is_calibrated(quantity):
            return self.calibration.interval(quantity, spreads, share)
        factor = nominal_factor(quantity, share, self.n_models)
        return np.asarray(factor * spreads)

    def describe(self, quantity: str = "gap", share: float = LEVELS[0]) -> str:
        """Return what ± stands for, in words."""
        what = f"the {100 * share:.0f} % interval"
        if self.calibration is not None and self.is_calibrated(quantity):
            return (
                f"{what}, calibrated on {self.calibration.frames} held-out frames of "
                f"{self.calibration.geometries} geometries"
            )
        why = f": {self.why}" if self.why and self.calibration is None else ""
        return f"{what} by the spread of {self.n_models} models, not calibrated{why}"
