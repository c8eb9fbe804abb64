# SPDX-License-Identifier: LGPL-3.0-or-later
"""From a padded neighbour list to edge vectors, without waste for padding."""

from __future__ import annotations

import torch


def compact_neighbours(
    coord: torch.Tensor, nlist: torch.Tensor, cutoff: float
) -> torch.Tensor:
    """Drop neighbours beyond the cutoff and the columns that become empty.

    Lists from LAMMPS hold the skin as well and are unsorted; what is left here are
    the pairs inside the cutoff, in their old order, none of them dropped.

    Parameters
    ----------
    coord
        Positions of local and ghost atoms, (nf, nall, 3), Å.
    nlist
        Neighbour indices, (nf, nloc, nnei), -1 where there is none.
    cutoff
        Cutoff radius, Å.

    Returns
    -------
    torch.Tensor
        Neighbour indices, (nf, nloc, nmax), -1 where there is none; nmax is the
        largest number of neighbours of any atom, at least 1.
    """
    nf, nloc, nnei = nlist.shape
    if nnei == 0:
        return torch.full([nf, nloc, 1], -1, dtype=nlist.dtype, device=nlist.device)
    diff = _differences(coord, nlist)
    inside = (nlist >= 0) & (diff.square().sum(-1) < cutoff * cutoff)
    count = inside.cumsum(-1)
    n_max = max(1, int(count[:, :, -1].max().item())) if nf * nloc > 0 else 1
    # Pairs outside go to one spare column that is cut off again.
    column = torch.where(inside, count - 1, torch.full_like(count, n_max))
    compact = torch.full(
        [nf, nloc, n_max + 1], -1, dtype=nlist.dtype, device=nlist.device
    )
    return compact.scatter(2, column, nlist)[:, :, :n_max].contiguous()


def edge_vectors(
    coord: torch.Tensor, nlist: torch.Tensor, cutoff: float
) -> torch.Tensor:
    """Return the vectors from each atom to its neighbours.

    Empty places get a vector of twice the cutoff: the radial weight and its
    derivative are exactly zero there, so no mask is needed further on and nothing
    divides by zero.

    Parameters
    ----------
    coord
        Positions of local and ghost atoms, (nf, nall, 3), Å.
    nlist
        Neighbour indices, (nf, nloc, nnei), -1 where there is none.
    cutoff
        Cutoff radius, Å.

    Returns
    -------
    torch.Tensor
        Edge vectors, (nf, nloc, nnei, 3), Å.
    """
    diff = _differences(coord, nlist)
    far = torch.zeros([3], dtype=coord.dtype, device=coord.device)
    far[0] = 2.0 * cutoff
    return torch.where((nlist >= 0).unsqueeze(-1), diff, far)


def gather_neighbours(values: torch.Tensor, nlist: torch.Tensor) -> torch.Tensor:
    """Return the values of each atom's neighbours; empty places get those of atom 0.

    Parameters
    ----------
    values
        Vectors of local and ghost atoms, (nf, nall, d).
    nlist
        Neighbour indices, (nf, nloc, nnei), -1 where there is none.

    Returns
    -------
    torch.Tensor
        Values, (nf, nloc, nnei, d).
    """
    nf, nloc, nnei = nlist.shape
    index = nlist.clamp(min=0).view(nf, nloc * nnei, 1).expand(-1, -1, values.shape[2])
    return torch.gather(values, 1, index).view(nf, nloc, nnei, values.shape[2])


def _differences(coord: torch.Tensor, nlist: torch.Tensor) -> torch.Tensor:
    nloc = nlist.shape[1]
    return gather_neighbours(coord, nlist) - coord[:, :nloc].unsqueeze(2)
