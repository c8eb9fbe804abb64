# SPDX-License-Identifier: LGPL-3.0-or-later
"""Running a model over labelled frames."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from spin_dp.errors import ConfigError
from spin_dp.inference.engines import Geometries, Predicted

if TYPE_CHECKING:
    from spin_dp.evaluation.systems import LabelledSystem
    from spin_dp.inference.potential import Potential


def predict(
    potential: Potential, system: LabelledSystem, *, labels: bool = False
) -> Predicted:
    """Return energies and their derivatives for all frames of a system.

    Parameters
    ----------
    potential
        A spin model gets the moments of the frames, others do not.
    system
        The frames.
    labels
        Whether a spin model reads what is known without DFT, the mean moments of the
        spin states, instead of the moments of DFT; there are no magnetic forces then.

    Returns
    -------
    Predicted
        In the order of the frames; with moments where the model predicts them and the
        system has a guess.

    Raises
    ------
    ConfigError
        If labels are to be read, and the frames have none or the model learnt none.
    ConfigError, DataError, BackendError
        As :meth:`spin_dp.inference.potential.Potential.predict`.
    """
    geometries = Geometries(system.positions, system.cells)
    moments = system.moments
    labels = labels and potential.reads_moments
    if labels:
        if not potential.info.reads_labels:
            raise ConfigError(
                f"{potential.info.path} learnt no labels; train with label_share in "
                "section loss, as spin-dp init writes it, or test it with moments."
            )
        if system.initial_moments is None:
            raise ConfigError(
                f"{system.name}: has no labels (initial_spin.npy); collect the frames "
                "with spin-dp, or test with moments."
            )
        moments = system.initial_moments
    predicted = potential.predict(system.symbols, geometries, moments)
    if labels:
        predicted = replace(predicted, magnetic_forces=None)
    if system.initial_moments is None or not potential.predicts_moments:
        return predicted
    moments = potential.predict_moments(
        system.symbols, geometries, system.initial_moments
    )
    return replace(predicted, moments=moments)
