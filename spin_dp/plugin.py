# SPDX-License-Identifier: LGPL-3.0-or-later
"""Entry point of the group ``deepmd.pt``: makes deepmd-kit know our model.

deepmd-kit imports this while it starts, for every ``dp --pt`` command. It registers
and does nothing else.
"""

from __future__ import annotations

from dataclasses import MISSING, fields

from dargs import Argument
from deepmd.utils.argcheck import (
    descrpt_args_plugin,
    descrpt_variant_type_args,
    fitting_variant_type_args,
    model_args_plugin,
)

from spin_dp.descriptors.spin_se_e2_a import SpinDescriptorConfig
from spin_dp.model.energy import SpinEnergyModel

__all__ = ["SpinEnergyModel"]

_INPUT_TYPES = {
    "sel": [int, str, list],
    "neuron": list,
    "spin_neuron": list,
    "pair_neuron": list,
    "seed": [int, None],
}
_PLAIN_TYPES = {"float": float, "int": int, "str": str, "bool": bool}


@descrpt_args_plugin.register(  # type: ignore[untyped-decorator]
    "spin_se_e2_a",
    doc="Spin-dressed environment matrix in product form; in model type 'spin_dp'.",
)
def _descriptor_args() -> list[Argument]:
    """Return the settings of the descriptor for deepmd-kit's input check."""
    arguments = []
    for setting in fields(SpinDescriptorConfig):
        default = setting.default
        assert default is not MISSING
        arguments.append(
            Argument(
                setting.name,
                _INPUT_TYPES.get(setting.name) or _PLAIN_TYPES[str(setting.type)],
                optional=True,
                default=_input_default(setting.name, default),
                doc=setting.metadata["help"],
            )
        )
    return arguments


def _input_default(name: str, default: object) -> object:
    if name == "sel":
        return "auto"
    return list(default) if isinstance(default, tuple) else default


@model_args_plugin.register("spin_dp")  # type: ignore[untyped-decorator]
def _model_args() -> Argument:
    """Return the sections of the model for deepmd-kit's input check."""
    return Argument(
        "spin_dp",
        dict,
        [
            Argument(
                "descriptor",
                dict,
                [],
                [descrpt_variant_type_args()],
                doc="The descriptor: spin_se_e2_a.",
            ),
            Argument(
                "fitting_net",
                dict,
                [],
                [fitting_variant_type_args()],
                optional=True,
                default={"type": "ener"},
                doc="The fitting net: ener.",
            ),
            Argument(
                "info",
                dict,
                optional=True,
                default={},
                doc="Anything that shall be kept with the model.",
            ),
        ],
        doc="Spin-aware Deep Potential: moments as input, no virtual atoms.",
    )
