# SPDX-License-Identifier: LGPL-3.0-or-later
"""The compressed model as one function of tensors, for the compiler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from spin_dp.descriptors import edge_vectors
from spin_dp.descriptors.edges import first_columns, inside_cutoff

if TYPE_CHECKING:
    from spin_dp.model.energy import SpinEnergyModel


class LowerModel(torch.nn.Module):
    """Energies and derivatives where the caller brings the neighbours.

    What :meth:`SpinEnergyModel.forward_lower` computes, without a branch that depends
    on numbers: such a function can be exported. Names and shapes of arguments and
    results are those that deepmd-kit has for exported spin models.

    Parameters
    ----------
    model
        A compressed model without frame and atomic parameters.
    """

    def __init__(self, model: SpinEnergyModel) -> None:
        super().__init__()
        self.model = model
        self.cutoff = float(model.get_rcut())

    def forward(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        spin: torch.Tensor,
        nlist: torch.Tensor,
        mapping: torch.Tensor,
        fparam: None = None,
        aparam: None = None,
        charge_spin: None = None,
    ) -> dict[str, torch.Tensor]:
        """Return energies and derivatives.

        Parameters
        ----------
        coord, atype, spin
            Positions (nf, nall, 3) in Å, types (nf, nall) and moments (nf, nall, 3) in
            μB of local and ghost atoms.
        nlist
            Neighbours, (nf, nloc, nnei), -1 where there is none.
        mapping, fparam, aparam, charge_spin
            Not used.

        Returns
        -------
        dict
            ``energy`` (nf, nloc, 1), ``energy_redu`` (nf, 1), ``energy_derv_r`` and
            ``energy_derv_r_mag`` (nf, nall, 1, 3), ``energy_derv_c`` (nf, nall, 1, 9),
            ``energy_derv_c_redu`` (nf, 1, 9): energies, forces, magnetic forces,
            virials; eV, eV/Å, eV/μB.
        """
        atoms = self.model.atomic_model
        nf, nloc = nlist.shape[0], nlist.shape[1]
        nall = coord.shape[1]
        first = torch.arange(nf, device=coord.device) * nall
        nlist = self._inside(coord, nlist, first)
        edges = edge_vectors(coord, nlist, self.cutoff)
        edges, nlist = atoms.exclude_pairs(edges, nlist, atype)
        edges = edges.flatten(0, 1)
        index = (nlist.clamp(min=0) + first.view(nf, 1, 1)).flatten(0, 1)
        centres = (torch.arange(nloc, device=coord.device) + first.view(nf, 1)).view(-1)
        types = atype.clamp(min=0).view(-1)
        leaf = spin.detach().clone().view(nf * nall, 3).requires_grad_(True)
        scaled = atoms.descriptor.scaled_moments(leaf, types)
        moments = scaled.detach()
        part = atoms.slopes_of_atoms(
            edges,
            types[centres],
            types[index],
            moments[centres],
            moments[index],
            None,
            None,
        )
        is_atom = (atype[:, :nloc] >= 0).reshape(nf * nloc, 1).to(torch.float64)
        energy = part["energy"] * is_atom
        slope, neighbour = part["edge_slope"], index.view(-1)
        by_edge = torch.zeros_like(leaf).index_add(0, neighbour, slope.view(-1, 3))
        by_edge = by_edge.index_add(0, centres, -slope.sum(1))
        by_moment = torch.zeros_like(leaf).index_add(
            0, neighbour, part["other_slope"].reshape(-1, 3)
        )
        by_moment = by_moment.index_add(0, centres, part["own_slope"] * is_atom)
        (by_spin,) = torch.autograd.grad((scaled * by_moment).sum(), leaf)
        pairs = (slope.unsqueeze(-1) * edges.unsqueeze(-2)).view(-1, 9)
        zero = torch.zeros([nf * nall, 9], dtype=pairs.dtype, device=pairs.device)
        virial = -zero.index_add(0, neighbour, pairs).view(nf, nall, 9)
        energy = energy.view(nf, nloc, 1)
        return {
            "energy": energy,
            "energy_redu": energy.sum(1),
            "energy_derv_r": -by_edge.view(nf, nall, 1, 3),
            "energy_derv_r_mag": -by_spin.view(nf, nall, 1, 3),
            "energy_derv_c": virial.unsqueeze(2),
            "energy_derv_c_redu": virial.sum(1, keepdim=True),
        }

    def _inside(
        self, coord: torch.Tensor, nlist: torch.Tensor, first: torch.Tensor
    ) -> torch.Tensor:
        """Return the neighbours inside the cutoff, in as few columns as possible."""
        index = nlist.clamp(min=0) + first.view(-1, 1, 1)
        inside = (nlist >= 0) & inside_cutoff(coord, index, self.cutoff)
        count = inside.cumsum(-1)
        n_columns: Any = count[:, :, -1].max().clamp(min=2).item()
        # The compiler knows nothing of this number but what is said here.
        torch.ops.aten.sym_constrain_range_for_size.default(
            n_columns, min=2, max=1 << 20
        )
        return first_columns(nlist, inside, count, n_columns)
