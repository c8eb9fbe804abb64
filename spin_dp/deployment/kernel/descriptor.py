# SPDX-License-Identifier: LGPL-3.0-or-later
"""A compressed descriptor whose work the compiled model does in ``descriptor.h``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from spin_dp.deployment.kernel.constants import Channels, definitions, read_weights
from spin_dp.deployment.kernel.operators import (
    describe,
    describe_states,
    register_lowerings,
    repulsion,
    slopes,
)

if TYPE_CHECKING:
    from spin_dp.descriptors import CompressedSpinDescriptor


class DescriptorKernel(torch.nn.Module):
    """Invariants of an atom's surroundings, and their slopes, in one function each.

    It can be exported and compiled, not run.

    Parameters
    ----------
    core
        The compressed descriptor.
    repulsion
        Table of :class:`spin_dp.model.repulsion.Repulsion`, (types², 4), or None.
    """

    def __init__(
        self, core: CompressedSpinDescriptor, repulsion: torch.Tensor | None
    ) -> None:
        super().__init__()
        register_lowerings()
        channels = Channels(core)
        self.definitions = definitions(core, channels, repulsion)
        self.n_features = channels.n_features
        self.n_sums = channels.n_sums
        t, v, _ = channels.padded
        self.spin_rows = (4 * t, v, channels.used[1])  # first number, width, used
        weights = read_weights(core, channels, repulsion)
        self.names = [f"weight_{number}" for number in range(len(weights))]
        for name, weight in zip(self.names, weights, strict=True):
            self.register_buffer(name, weight)

    def describe(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        moments: torch.Tensor,
        nlist: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what :meth:`slopes` reads, and the invariants of summed rows.

        Parameters
        ----------
        coord, atype, moments
            Positions (nf, nall, 3) in Å, types (nf, nall) and scaled moments
            (nf·nall, 3) of local and ghost atoms.
        nlist
            Neighbours, (nf, nloc, nnei), -1 where there is none; those beyond the
            cutoff are left out.

        Returns
        -------
        tuple
            Sums over neighbours with their invariants, (nf·nloc, n), and the invariants
            alone, (nf·nloc, m).
        """
        found = describe(
            coord,
            atype,
            moments,
            nlist,
            self._weights(),
            self.definitions,
            self.n_sums + self.n_features,
        )
        return found, found[:, self.n_sums :]

    def describe_states(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        moments: torch.Tensor,
        nlist: torch.Tensor,
    ) -> torch.Tensor:
        """Return the invariants of summed rows in many spin states of each frame.

        Parameters
        ----------
        coord, atype, nlist
            As for :meth:`describe`.
        moments
            Scaled, (nf, ns, nall, 3).

        Returns
        -------
        torch.Tensor
            (nf·ns·nloc, m).
        """
        found: torch.Tensor = describe_states(
            coord,
            atype,
            moments,
            nlist,
            self._weights(),
            self.definitions,
            self.n_features,
        )
        return found

    def spin_vectors(self, described: torch.Tensor) -> torch.Tensor:
        """Return V of what :meth:`describe` returned first, (nf·nloc, M', 3)."""
        first, padded, used = self.spin_rows
        rows = described[:, first : first + 3 * padded].view(-1, 3, padded)
        return rows[:, :, :used].transpose(1, 2)

    def slopes(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        moments: torch.Tensor,
        nlist: torch.Tensor,
        described: torch.Tensor,
        feature_slope: torch.Tensor,
    ) -> torch.Tensor:
        """Return slopes of the energy in positions and moments, virial and repulsion.

        Parameters
        ----------
        coord, atype, moments, nlist
            As for :meth:`describe`.
        described
            What :meth:`describe` returned first.
        feature_slope
            Slopes in the invariants, (nf·nloc, m), eV.

        Returns
        -------
        torch.Tensor
            Of local and ghost atoms, (nf·nall, 16), float64: slopes in the position,
            eV/Å, and in the scaled moment, eV, Σ slope ⊗ edge, eV, counted for the
            neighbour, and the energy of the repulsion, eV.
        """
        found: torch.Tensor = slopes(
            coord,
            atype,
            moments,
            nlist,
            described,
            feature_slope,
            self._weights(),
            self.definitions,
        )
        return found

    def repulsion(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        moments: torch.Tensor,
        nlist: torch.Tensor,
    ) -> torch.Tensor:
        """Return the energy of the repulsion alone, (nf·nloc, 1), eV, float64.

        Of a model that has one; arguments as for :meth:`describe`.
        """
        found: torch.Tensor = repulsion(
            coord, atype, moments, nlist, self._weights(), self.definitions
        )
        return found

    def _weights(self) -> list[torch.Tensor]:
        return [getattr(self, name) for name in self.names]
