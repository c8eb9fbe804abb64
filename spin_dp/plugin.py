# SPDX-License-Identifier: LGPL-3.0-or-later
"""Entry point of the group ``deepmd.pt``: makes deepmd-kit know our model.

deepmd-kit imports this while it starts, for every ``dp --pt`` command. It registers
what is ours, and repairs how HybridMuon goes on; nothing else.
"""

from __future__ import annotations

from dataclasses import MISSING, fields

from dargs import Argument
from deepmd.utils.argcheck import (
    descrpt_args_plugin,
    descrpt_variant_type_args,
    fitting_variant_type_args,
    loss_args_plugin,
    loss_ener_spin,
    model_args_plugin,
    modifier_args_plugin,
)

from spin_dp.descriptors.config import SpinDescriptorConfig
from spin_dp.model.energy import SpinEnergyModel
from spin_dp.model.loss import SpinLoss
from spin_dp.model.memory import FramesInMemory
from spin_dp.model.optimizer import keep_precision_of_state
from spin_dp.model.repulsion import INNER, OUTER

__all__ = ["FramesInMemory", "SpinEnergyModel", "SpinLoss"]

keep_precision_of_state()

_INPUT_TYPES = {"sel": [int, str, list], "seed": [int, None]}
_PLAIN_TYPES = {
    "float": float,
    "int": int,
    "str": str,
    "bool": bool,
    "tuple[int, ...]": list,
}


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
                "moment_net",
                dict,
                [
                    Argument(
                        "neuron",
                        list,
                        optional=True,
                        default=[32],
                        doc="Widths of its hidden layers.",
                    ),
                    Argument(
                        "seed",
                        [int, None],
                        optional=True,
                        default=None,
                        doc="Seed of the initial weights.",
                    ),
                ],
                optional=True,
                doc="Predicts converged moments from a guess; trained by loss spin_dp "
                "on data with initial_spin. Left out: the model predicts none.",
            ),
            Argument(
                "repulsion",
                dict,
                [
                    Argument(
                        "inner",
                        [float, int],
                        optional=True,
                        default=INNER,
                        doc="Radius below which it counts fully, in units of the sum "
                        "of the covalent radii of both elements.",
                    ),
                    Argument(
                        "outer",
                        [float, int],
                        optional=True,
                        default=OUTER,
                        doc="Radius from which on there is none, in the same units.",
                    ),
                    Argument(
                        "radii",
                        dict,
                        optional=True,
                        default={},
                        doc="Both radii of single pairs instead, in Å: "
                        "{'Ni-O': [0.9, 1.7]}.",
                    ),
                ],
                optional=True,
                doc="Repulsion of nuclei at short range (ZBL) as a term of the energy. "
                "Left out: none.",
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


@loss_args_plugin.register("spin_dp")  # type: ignore[untyped-decorator]
def _loss_args() -> list[Argument]:
    """Return the settings of the loss for deepmd-kit's input check."""
    moments = [
        Argument(
            f"{when}_pref_m",
            [float, int],
            optional=True,
            default=0.0,
            doc=f"Prefactor of predicted moments at the {when} of the training, 1/μB².",
        )
        for when in ("start", "limit")
    ]
    share = Argument(
        "label_share",
        [float, int],
        optional=True,
        default=0.0,
        doc="Share of the steps in which the model reads initial_spin, the mean "
        "moments of the spin states, instead of converged moments: so it learns the "
        "energy of labels.",
    )
    return [*loss_ener_spin(), *moments, share]


@modifier_args_plugin.register(  # type: ignore[untyped-decorator]
    "frames_in_memory",
    doc="Reads all frames once, before the training, and keeps them in memory.",
)
def _modifier_args() -> list[Argument]:
    """Return the settings of the modifier, of which there are none."""
    return []
