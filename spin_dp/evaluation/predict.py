# SPDX-License-Identifier: LGPL-3.0-or-later
"""Running a model over labelled frames."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from spin_dp.inference.engines import Geometries, Predicted

if TYPE_CHECKING:
    from spin_dp.evaluation.systems import LabelledSystem
    from spin_dp.inference.potential import Potential


def predict(potential: Potential, system: LabelledSystem) -> Predicted:
    """Return energies and their derivatives for all frames of a system.

    Parameters
    ----------
    potential
        A spin model gets the moments of the frames, others do not.
    system
        The frames.

    Returns
    -------
    Predicted
        In the order of the frames; with moments where the model predicts them and the
        system has a guess.

    Raises
    ------
    ConfigError, DataError, BackendError
        As :meth:`spin_dp.inference.potential.Potential.predict`.
    """
    geometries = Geometries(system.positions, system.cells)
    predicted = potential.predict(system.symbols, geometries, system.moments)
    if system.initial_moments is None or not potential.predicts_moments:
        return predicted
    moments = potential.predict_moments(
        system.symbols, geometries, system.initial_moments
    )
    return replace(predicted, moments=moments)
