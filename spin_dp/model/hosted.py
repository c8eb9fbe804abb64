# SPDX-License-Identifier: LGPL-3.0-or-later
"""What deepmd-kit asks of a spin model besides its energies."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from deepmd.dpmodel import ModelOutputDef
from deepmd.pt.model.model.dp_model import DPModelCommon
from deepmd.pt.model.model.make_model import make_model
from deepmd.utils.spin import Spin

from spin_dp.errors import ConfigError
from spin_dp.model.atomic import SpinAtomicModel

_HostModel = make_model(SpinAtomicModel)
_REPULSION = "atomic_model.repulsion.table"


class HostedSpinModel(DPModelCommon, _HostModel):  # type: ignore[misc, valid-type]
    """A model of the host around :class:`SpinAtomicModel`: its types and outputs.

    Parameters
    ----------
    spin
        Which types carry moments.
    *args, **kwargs
        Passed on to the host's model.
    """

    # What the host calls an energy model: `dp change-bias --bias-value` asks for it.
    model_type = "ener"

    if TYPE_CHECKING:  # a buffer; TorchScript cannot read it as an annotation
        use_spin: torch.Tensor

    def __init__(
        self,
        *args: Any,
        spin: Spin,
        **kwargs: Any,
    ) -> None:
        DPModelCommon.__init__(self)
        _HostModel.__init__(self, *args, **kwargs)
        self.spin = spin
        self.register_buffer(
            "use_spin", torch.tensor(spin.use_spin.tolist(), dtype=torch.bool)
        )

    @torch.jit.export
    def has_spin(self) -> bool:
        """Return True: moments are an input."""
        return True

    @torch.jit.export
    def get_use_spin(self) -> list[bool]:
        """Return for each type whether its moments are read."""
        flags: list[bool] = []
        for flag in self.use_spin:
            flags.append(bool(flag.item()))  # noqa: PERF401 (TorchScript)
        return flags

    @torch.jit.unused
    def model_output_def(self) -> ModelOutputDef:
        """Return the output definition, with magnetic forces."""
        atomic = self.atomic_output_def()
        atomic["energy"].magnetic = True
        return ModelOutputDef(atomic)

    @torch.jit.export
    def model_output_type(self) -> list[str]:
        """Return the fitted property."""
        return ["energy"]

    def translated_output_def(self) -> dict[str, Any]:
        """Return the output definition under the public names."""
        data = self.model_output_def().get_data()
        names = {
            "atom_energy": "energy",
            "energy": "energy_redu",
            "mask_mag": "mask_mag",
            "force": "energy_derv_r",
            "force_mag": "energy_derv_r_mag",
            "virial": "energy_derv_c_redu",
            "atom_virial": "energy_derv_c",
        }
        result = {public: copy.deepcopy(data[name]) for public, name in names.items()}
        for public in ("force", "force_mag", "virial", "atom_virial"):
            result[public].squeeze(-2)
        return result

    def change_type_map(
        self, type_map: list[str], model_with_new_type_stat: Any = None
    ) -> None:
        """Reorder, drop or add types; see :meth:`DescrptSpinSeA.change_type_map`."""
        super().change_type_map(type_map, model_with_new_type_stat)
        flags = self.get_descriptor().use_spin
        self.spin = Spin(use_spin=flags)
        self.use_spin = self.use_spin.new_tensor(flags)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        own, stored = self.use_spin.tolist(), state_dict.get(prefix + "use_spin")
        if stored is not None and len(stored) == len(own) and stored.tolist() != own:
            names = np.array(self.get_type_map())
            trained, asked = (
                ", ".join(names[np.array(flags)]) for flags in (stored.tolist(), own)
            )
            raise ConfigError(
                f"spin.use_spin: the model was trained with moments of {trained}, the "
                f"input asks for those of {asked}. An element keeps what it was "
                "trained with; only elements new in the type_map are free."
            )
        self._require_repulsion(state_dict.get(prefix + _REPULSION))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _require_repulsion(self, stored: torch.Tensor | None) -> None:
        """Refuse weights that were trained beside another short-range repulsion."""
        own = self.atomic_model.repulsion
        table = None if own is None else own.table
        if (stored is None) != (table is None):
            trained, asked = ("with", "none") if table is None else ("without", "one")
            raise ConfigError(
                f"repulsion: the model was trained {trained} it, the input asks for "
                f"{asked}; {'add' if table is None else 'remove'} section repulsion."
            )
        if stored is None or table is None or stored.shape != table.shape:
            return
        differs = (stored.to(table) != table).any(-1).nonzero()
        if len(differs):
            number = int(differs[0])
            elements = self.get_type_map()
            pair = [elements[n] for n in divmod(number, len(elements))]
            radii = [
                f"{x[number, 2]:.4g}..{x[number, 3]:.4g} Å" for x in (stored, table)
            ]
            raise ConfigError(
                f"repulsion: the model was trained with radii of {'-'.join(pair)} of "
                f"{radii[0]}, the input asks for {radii[1]}; keep what it was trained "
                "with."
            )

    def enable_compression(
        self,
        table_extrapolate: float = 5,
        table_stride_1: float = 0.01,
        table_stride_2: float = 0.1,
        check_frequency: int = -1,
    ) -> None:
        """Tabulate the radial nets."""
        shortest = self.get_min_nbor_dist()
        if shortest is None:
            raise ConfigError(
                "the model does not know the shortest distance of its training data; "
                "train without --skip-neighbor-stat or give `-t input.json`."
            )
        self.atomic_model.enable_compression(
            shortest, table_extrapolate, table_stride_1, table_stride_2, check_frequency
        )
        # For inference only, and a scripted graph derives by all that asks for it.
        self.requires_grad_(False)

    def _is_magnetic(self, atype: torch.Tensor) -> torch.Tensor:
        magnetic: torch.Tensor = self.use_spin[atype.clamp(min=0)] & (atype >= 0)
        return magnetic.unsqueeze(-1)

    def _counted_moments(self, atype: torch.Tensor) -> torch.Tensor:
        """Return where magnetic forces count in losses and tests, (nf, nloc, 1)."""
        magnetic = self._is_magnetic(atype)
        # The host takes means over these atoms, and a mean over none is NaN in a loss
        # and a division by zero in `dp test`. Where no atom is magnetic all count:
        # their magnetic forces are exactly zero, as is the label.
        return magnetic | ((atype >= 0).unsqueeze(-1) & ~magnetic.any())
