# SPDX-License-Identifier: LGPL-3.0-or-later
"""From the ``model`` section of ``input.json`` to the parts of the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from deepmd.pt.model.task.base_fitting import BaseFitting
from deepmd.utils.spin import Spin

from spin_dp.errors import ConfigError, unknown
from spin_dp.model.descriptor import DescrptSpinSeA
from spin_dp.model.moment_net import MomentNet
from spin_dp.model.repulsion import Repulsion


def model_parts(params: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``SpinEnergyModel`` for a ``model`` section.

    Parameters
    ----------
    params
        The section, as deepmd-kit's input check leaves it.

    Returns
    -------
    dict
        Descriptor, fitting net, type map, spin and the host's further settings.

    Raises
    ------
    ConfigError
        If the section asks for something that this model does not have.
    """
    type_map = params["type_map"]
    use_spin = _use_spin(params, type_map)
    section = params["descriptor"]
    if section.get("type") != "spin_se_e2_a":
        raise ConfigError(
            "model of type 'spin_dp' takes descriptor 'spin_se_e2_a'; got "
            f"{section.get('type')!r}."
        )
    descriptor = DescrptSpinSeA(
        **{**section, "use_spin": use_spin, "type_map": type_map}
    )
    return {
        "descriptor": descriptor,
        "fitting": _fitting_net(
            params.get("fitting_net", {}), type_map, descriptor.get_dim_out()
        ),
        "type_map": type_map,
        "spin": Spin(use_spin=use_spin),
        "moment_net": _moment_net(params.get("moment_net"), descriptor),
        "repulsion": _repulsion(params.get("repulsion"), type_map, descriptor),
        "atom_exclude_types": params.get("atom_exclude_types", []),
        "pair_exclude_types": params.get("pair_exclude_types", []),
        "data_stat_protect": params.get("data_stat_protect", 1e-2),
        "preset_out_bias": _preset_bias(params.get("preset_out_bias"), type_map),
    }


def _fitting_net(section: dict[str, Any], type_map: list[str], n_features: int) -> Any:
    kind = section.get("type", "ener")
    if kind != "ener":
        raise ConfigError(
            f"model of type 'spin_dp' takes fitting_net 'ener'; got {kind!r}."
        )
    return BaseFitting(
        **{
            **section,
            "type": "ener",
            "ntypes": len(type_map),
            "type_map": list(type_map),
            "mixed_types": True,
            "dim_descrpt": n_features,
        }
    )


def _moment_net(
    section: dict[str, Any] | None, descriptor: DescrptSpinSeA
) -> MomentNet | None:
    if section is None:
        return None
    neuron = section.get("neuron", [32])
    if not all(isinstance(width, int) and width > 0 for width in neuron):
        raise ConfigError(
            f"moment_net: neuron must be a list of positive widths; got {neuron}."
        )
    return MomentNet(
        descriptor.get_dim_out(),
        descriptor.get_dim_spin(),
        neuron,
        getattr(torch, descriptor.config["precision"]),
        section.get("seed"),
    )


def _repulsion(
    section: dict[str, Any] | None, type_map: list[str], descriptor: DescrptSpinSeA
) -> Repulsion | None:
    if section is None:
        return None
    known = ("inner", "outer", "radii")
    for name in section:
        if name not in known:
            raise unknown("setting of repulsion", name, known)
    made = Repulsion(type_map, **section)
    reach, cutoff = float(made.reach()), descriptor.get_rcut()
    if reach > cutoff:
        raise ConfigError(
            f"repulsion: the largest outer radius, {reach:.3g} Å, must not be beyond "
            f"the cutoff of the descriptor, rcut = {cutoff:g} Å."
        )
    return made


def _use_spin(params: dict[str, Any], type_map: list[str]) -> list[bool]:
    """Return for each type whether its moments are read."""
    given = params.get("spin", {}).get("use_spin")
    if not given:
        raise ConfigError(
            "model of type 'spin_dp' needs the magnetic elements; add e.g. "
            '"spin": {"use_spin": ["Mn", "Co", "Ni"]} to the model section.'
        )
    if isinstance(given[0], str):
        for name in given:
            if name not in type_map:
                raise unknown("element in spin.use_spin", name, type_map)
        return [name in given for name in type_map]
    if isinstance(given[0], bool):
        if len(given) != len(type_map):
            raise ConfigError(
                f"spin.use_spin: expected {len(type_map)} flags, one for each of "
                f"type_map {type_map}; got {len(given)}."
            )
        return [bool(flag) for flag in given]
    return [number in given for number in range(len(type_map))]


def _preset_bias(
    preset: dict[str, list[Any]] | None, type_map: list[str]
) -> dict[str, list[Any]] | None:
    if preset is None:
        return None
    for key, values in preset.items():
        if len(values) != len(type_map):
            raise ConfigError(
                f"preset_out_bias[{key!r}]: expected {len(type_map)} values, one for "
                f"each of type_map {type_map}; got {len(values)}."
            )
    return {
        key: [
            None if v is None else np.atleast_1d(np.asarray(v, float)) for v in values
        ]
        for key, values in preset.items()
    }
