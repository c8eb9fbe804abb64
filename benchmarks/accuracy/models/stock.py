# SPDX-License-Identifier: LGPL-3.0-or-later
"""The stock descriptor ``se_e2_a``: blind, with types for spin states, DeepSPIN.

Sizes are those of deepmd-kit's own examples, or those of spin-dp. With a type for each
spin state, nets for pairs of types would be some five hundred; those for the type of
the neighbour alone (``type_one_side``) are two dozen. DeepSPIN marks each moment by a
virtual atom at a distance of ``virtual_scale`` Å/μB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.accuracy.model import SPIN_ELEMENTS, STOCK_SIZES, Model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spin_dp.training.dp_input import TrainingSettings

VIRTUAL_SCALE = 0.314


def se_e2_a(type_map: Sequence[str], settings: TrainingSettings) -> dict[str, Any]:
    """Return the stock model, embedding nets for each pair of types."""
    return {
        "type_map": list(type_map),
        "descriptor": {
            "type": "se_e2_a",
            "rcut": settings.cutoff,
            "rcut_smth": settings.smooth_from,
            "sel": "auto",
            "neuron": list(settings.neuron),
            "axis_neuron": settings.axis_neuron,
            "seed": settings.seed,
        },
        "fitting_net": {
            "neuron": list(settings.fitting_neuron),
            "resnet_dt": True,
            "seed": settings.seed,
        },
    }


def one_sided(type_map: Sequence[str], settings: TrainingSettings) -> dict[str, Any]:
    """Return the stock model with one embedding net for each neighbour type."""
    model = se_e2_a(type_map, settings)
    model["descriptor"]["type_one_side"] = True
    return model


def deepspin(type_map: Sequence[str], settings: TrainingSettings) -> dict[str, Any]:
    """Return the stock model with virtual atoms for moments."""
    spin = {
        "use_spin": [name in SPIN_ELEMENTS for name in type_map],
        "virtual_scale": [VIRTUAL_SCALE] * len(set(SPIN_ELEMENTS) & set(type_map)),
    }
    return {**se_e2_a(type_map, settings), "spin": spin}


MODELS = (
    Model(
        name="se_e2_a",
        title="se_e2_a, spin-blind",
        section=se_e2_a,
        settings=STOCK_SIZES,
    ),
    Model(
        name="se_e2_a_states",
        title="se_e2_a, a species per spin state",
        section=one_sided,
        states=True,
        settings=STOCK_SIZES,
    ),
    Model(
        name="deepspin",
        title="DeepSPIN se_e2_a",
        section=deepspin,
        moments=True,
        files=("frozen",),  # dp compress refuses it
        settings=STOCK_SIZES,
    ),
    Model(
        name="deepspin_small",
        title="DeepSPIN se_e2_a, our widths",
        section=deepspin,
        moments=True,
        files=("frozen",),  # dp compress refuses it
    ),
)
