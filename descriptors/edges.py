# SPDX-License-Identifier: LGPL-3.0-or-later
"""From a padded neighbour list to edge vectors, without waste for padding."""

from __future__ import annotations

import torch


def compact_neighbours(
    coord: torch.Tensor, nlist: torch.Tensor, cutoff: float
) -> torch.Tensor:
    """Drop neighbours beyond the cutoff and the columns that become empty.

    Lists from LAMMPS hold the skin as well and are unsorted; what is left here are
    the pairs inside the cutoff, in their old order, none of them dropped, and perhaps
    a few that are less than 0.01 Å outside.

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
    if nnei == 0 or nf * nloc == 0:
        return torch.full([nf, nloc, 1], -1, dtype=nlist.dtype, device=nlist.device)
    index = nlist.clamp(min=0)
    if nf > 1:
        frames = torch.arange(nf, device=nlist.device) * coord.shape[1]
        index = index + frames.view(nf, 1, 1)
    inside = (nlist >= 0) & inside_cutoff(coord, index, cutoff)
    count = inside.cumsum(-1)
    n_max = max(1, int(count[:, :, -1].max().item()))
    return first_columns(nlist, inside, count, n_max)


def inside_cutoff(
    coord: torch.Tensor, index: torch.Tensor, cutoff: float
) -> torch.Tensor:
    """Return which neighbours are inside the cutoff, or less than 0.01 Å outside.

    Parameters
    ----------
    coord
        Positions of local and ghost atoms, (nf, nall, 3), Å.
    index
        Neighbours, (nf, nloc, nnei), counted through the atoms of all frames.
    cutoff
        Cutoff radius, Å.

    Returns
    -------
    torch.Tensor
        Whether they are, (nf, nloc, nnei); they are, too, where a position is no
        number, which shall show in the energy.
    """
    nloc = index.shape[1]
    square = torch.zeros(index.shape, dtype=torch.float32, device=index.device)
    # One component after the other, in single precision: this is done at each step
    # for all pairs of the skin, some three times the number inside.
    for component in coord.to(torch.float32).unbind(-1):
        own = component[:, :nloc].unsqueeze(-1)
        difference = component.flatten()[index] - own
        square = square + difference * difference
    outer = cutoff + 0.01  # rounding of positions up to 10⁵ Å
    return ~(square >= outer * outer)


def first_columns(
    nlist: torch.Tensor, inside: torch.Tensor, count: torch.Tensor, n_columns: int
) -> torch.Tensor:
    """Return a neighbour list with the neighbours inside moved to its first columns.

    Parameters
    ----------
    nlist
        Neighbour indices, (nf, nloc, nnei), -1 where there is none.
    inside, count
        Which of them are kept, and how many up to each of them, (nf, nloc, nnei).
    n_columns
        The largest of these numbers, or more.

    Returns
    -------
    torch.Tensor
        Neighbour indices, (nf, nloc, n_columns), -1 where there is none.
    """
    # Pairs outside go to one spare column that is cut off again.
    column = torch.where(inside, count - 1, torch.full_like(count, n_columns))
    shape = [nlist.shape[0], nlist.shape[1], n_columns + 1]
    compact = torch.full(shape, -1, dtype=nlist.dtype, device=nlist.device)
    return compact.scatter(2, column, nlist)[:, :, :n_columns].contiguous()


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
    return away_where_empty(_differences(coord, nlist), nlist >= 0, cutoff)


def away_where_empty(
    edges: torch.Tensor, present: torch.Tensor, cutoff: float
) -> torch.Tensor:
    """Return edge vectors (..., 3) with one of twice the cutoff where none is present.

    Parameters
    ----------
    edges
        Edge vectors, (..., 3), Å.
    present
        Whether there is a neighbour, (...).
    cutoff
        Cutoff radius, Å.
    """
    along_x = torch.arange(3, device=edges.device) == 0
    far = along_x.to(edges.dtype) * (2.0 * cutoff)
    return torch.where(present.unsqueeze(-1), edges, far)


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
