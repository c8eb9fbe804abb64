# SPDX-License-Identifier: LGPL-3.0-or-later
"""DPA4C with native spin, as deepmd-kit's example ``spin/dpa4c`` sets it up.

Sizes and gradient clipping are those of the example; the cutoff is that of all models
here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.accuracy.model import SPIN_ELEMENTS, Model
from benchmarks.forms import COMPILED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spin_dp.training.dp_input import TrainingSettings


def dpa4c(type_map: Sequence[str], settings: TrainingSettings) -> dict[str, Any]:
    """Return the model at its published default sizes."""
    return {
        "type_map": list(type_map),
        "descriptor": {
            "type": "dpa4c",
            "rcut": settings.cutoff,
            "channels": 32,
            "seed": settings.seed,
        },
        "fitting_net": {
            "neuron": [192, 192, 192],
            "resnet_dt": False,
            "activation_function": "silu",
            "precision": "float32",
            "seed": settings.seed,
        },
        "spin": {
            "scheme": "native",
            "use_spin": [name in SPIN_ELEMENTS for name in type_map],
        },
    }


MODELS = (
    Model(
        name="dpa4c",
        title="DPA4C native spin",
        section=dpa4c,
        moments=True,
        backend="--pt-expt",
        files=(COMPILED,),
        overrides={
            "training": {"gradient_max_norm": 5.0},
        },
        optimizer="HybridMuon",
    ),
)
