# SPDX-License-Identifier: LGPL-3.0-or-later
"""From slopes on edges to forces and virials on atoms."""

from __future__ import annotations

import torch


def forces_from_edges(
    edge_slope: torch.Tensor, nlist: torch.Tensor, nall: int
) -> torch.Tensor:
    """Return F_k = Σ_j ∂E/∂r_kj - Σ_i ∂E/∂r_ik.

    Parameters
    ----------
    edge_slope
        ∂E/∂r_ij, (nf, nloc, nnei, 3), eV/Å; zero where empty.
    nlist
        Neighbour indices, (nf, nloc, nnei), -1 where there is none.
    nall
        Number of local and ghost atoms.

    Returns
    -------
    torch.Tensor
        Forces on local and ghost atoms, (nf, nall, 3), eV/Å.
    """
    own = edge_slope.sum(2)
    force = torch.nn.functional.pad(own, [0, 0, 0, nall - own.shape[1]])
    return force.scatter_add(1, _index(nlist, 3), -edge_slope.flatten(1, 2))


def virial_from_edges(edge_slope: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """Return W = -Σ_ij ∂E/∂r_ij ⊗ r_ij; arguments as :func:`virials_from_edges`.

    Returns
    -------
    torch.Tensor
        Virials, (nf, 9), eV.
    """
    virial = -edge_slope.flatten(1, 2).transpose(1, 2) @ edges.flatten(1, 2)
    return virial.flatten(1)


def virials_from_edges(
    edge_slope: torch.Tensor, edges: torch.Tensor, nlist: torch.Tensor, nall: int
) -> torch.Tensor:
    """Return W_j = -Σ_i ∂E/∂r_ij ⊗ r_ij: each edge counts for its neighbour.

    Parameters
    ----------
    edge_slope, edges
        ∂E/∂r_ij in eV/Å and r_ij in Å, (nf, nloc, nnei, 3).
    nlist
        Neighbour indices, (nf, nloc, nnei), -1 where there is none.
    nall
        Number of local and ghost atoms.

    Returns
    -------
    torch.Tensor
        Atomic virials, (nf, nall, 9), eV.
    """
    pair = -edge_slope.unsqueeze(-1) * edges.unsqueeze(-2)
    zero = torch.zeros(
        [edges.shape[0], nall, 9], dtype=edges.dtype, device=edges.device
    )
    return zero.scatter_add(1, _index(nlist, 9), pair.flatten(3).flatten(1, 2))


def _index(nlist: torch.Tensor, width: int) -> torch.Tensor:
    return nlist.clamp(min=0).flatten(1).unsqueeze(-1).expand(-1, -1, width)
