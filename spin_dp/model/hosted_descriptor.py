# SPDX-License-Identifier: LGPL-3.0-or-later
"""What deepmd-kit asks every descriptor about itself, answered for ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from deepmd.pt.model.descriptor.base_descriptor import BaseDescriptor


class HostedDescriptor(BaseDescriptor, torch.nn.Module):  # type: ignore[misc]
    """A strictly local descriptor of mixed types, as deepmd-kit sees it."""

    if TYPE_CHECKING:  # set by the descriptor
        rcut: float
        sel: list[int]
        type_map: list[str]
        dim_out: int
        config: dict[str, Any]

    def get_rcut(self) -> float:
        """Return the cutoff radius, Å."""
        return self.rcut

    def get_rcut_smth(self) -> float:
        """Return where the smooth switch begins, Å."""
        return float(self.config["rcut_smth"])

    def get_sel(self) -> list[int]:
        """Return the size hint for neighbour lists."""
        return self.sel

    def get_nsel(self) -> int:
        """Return the size hint for neighbour lists."""
        return self.sel[0]

    def get_nnei(self) -> int:
        """Return the size hint for neighbour lists."""
        return self.sel[0]

    def get_ntypes(self) -> int:
        """Return the number of types."""
        return len(self.type_map)

    def get_type_map(self) -> list[str]:
        """Return the element of each type."""
        return self.type_map

    def get_dim_out(self) -> int:
        """Return the number of features."""
        return self.dim_out

    def get_dim_spin(self) -> int:
        """Return the number of spin vectors of an atom."""
        return int(self.config["spin_neuron"][-1])

    def get_dim_emb(self) -> int:
        """Return the number of channels of the radial net."""
        return int(self.config["neuron"][-1])

    def mixed_types(self) -> bool:
        """Return True: one net for all types."""
        return True

    def has_message_passing(self) -> bool:
        """Return False: strictly local."""
        return False

    def has_message_passing_across_ranks(self) -> bool:
        """Return False: strictly local."""
        return False

    def need_sorted_nlist_for_lower(self) -> bool:
        """Return False: sums over neighbours do not ask for an order."""
        return False

    def get_env_protection(self) -> float:
        """Return 0: distances are not shifted."""
        return 0.0
