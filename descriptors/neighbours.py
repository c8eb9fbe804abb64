# SPDX-License-Identifier: LGPL-3.0-or-later
"""Neighbours of the atoms of whole cells, without ghost atoms."""

from __future__ import annotations

import torch


def neighbours_in_cells(
    coord: torch.Tensor, box: torch.Tensor | None, present: torch.Tensor, cutoff: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all pairs closer than the cutoff, periodic images included.

    An atom may be a neighbour of another, and of itself, many times. Each pair is
    looked at: made for batches of small cells, and right for large ones.

    Parameters
    ----------
    coord
        Positions, (nf, nloc, 3), Å, inside the cell or not.
    box
        Cell vectors as rows, (nf, 9), Å, of either handedness; None for clusters.
    present
        Where there is an atom, (nf, nloc).
    cutoff
        Cutoff radius, Å.

    Returns
    -------
    tuple
        Edge vectors (nf, nloc, nnei, 3), Å, of twice the cutoff where there is no
        neighbour, and indices of the neighbours (nf, nloc, nnei), -1 there; nnei is the
        largest number of neighbours of any atom, at least 1.
    """
    nf, nloc = present.shape
    device = coord.device
    shifts = torch.zeros([nf, 1, 3], dtype=coord.dtype, device=device)
    cell, inverse = shifts, shifts
    if box is not None:
        cell = box.view(nf, 3, 3)
        inverse = torch.linalg.inv(cell)
        # Columns of the inverse are reciprocal vectors: one over a distance of faces.
        # Differences in units of the cell are at most a half before they are shifted.
        reach = cutoff * inverse.square().sum(1).sqrt().amax(0) + 0.5
        na, nb, nc = int(reach[0].item()), int(reach[1].item()), int(reach[2].item())
        shifts = _lattice(na, nb, nc, device).to(cell.dtype).matmul(cell)
    n_shifts = shifts.shape[1]
    sx, sy, sz = shifts.view(nf, 1, 1, n_shifts, 3).unbind(-1)
    rows: list[torch.Tensor] = []
    columns: list[torch.Tensor] = []
    others: list[torch.Tensor] = []
    vectors: list[torch.Tensor] = []
    # So many distances at a time fit into memory.
    size = max(1, 4_000_000 // max(1, nf * nloc * n_shifts))
    for start in range(0, nloc, size):
        end = min(nloc, start + size)
        pair = coord.unsqueeze(1) - coord[:, start:end].unsqueeze(2)
        if box is not None:
            fractional = pair.flatten(1, 2) @ inverse
            wrapped = (fractional - fractional.round()) @ cell
            pair = wrapped.view(nf, end - start, nloc, 3)
        px, py, pz = pair.unsqueeze(-2).unbind(-1)
        x, y, z = px + sx, py + sy, pz + sz
        inside = x * x + y * y + z * z < cutoff * cutoff
        both = present[:, start:end].unsqueeze(-1) & present.unsqueeze(1)
        inside = inside & both.unsqueeze(-1)
        own = torch.arange(start, end, device=device)
        # No atom is its own neighbour, but where a position is no number: with an edge
        # that is none either, this shows in the energy.
        inside[:, own - start, own, n_shifts // 2] = present[:, start:end] & ~coord[
            :, start:end
        ].isfinite().all(-1)
        frame, i, j, k = torch.nonzero(inside).unbind(-1)
        rows.append(frame * nloc + i + start)
        columns.append((inside.flatten(2).cumsum(-1) - 1)[inside.flatten(2)])
        others.append(j)
        vectors.append(pair[frame, i, j] + shifts[frame, k])
    row, column = torch.cat(rows), torch.cat(columns)
    n_most = int(column.max().item()) + 1 if column.numel() > 0 else 1
    nlist = torch.full([nf * nloc, n_most], -1, dtype=torch.int64, device=device)
    edges = torch.zeros([nf * nloc, n_most, 3], dtype=coord.dtype, device=device)
    edges[:, :, 0] = 2.0 * cutoff
    nlist[row, column] = torch.cat(others)
    edges[row, column] = torch.cat(vectors)
    return edges.view(nf, nloc, n_most, 3), nlist.view(nf, nloc, n_most)


def _lattice(na: int, nb: int, nc: int, device: torch.device) -> torch.Tensor:
    """Return all triples from (-na, -nb, -nc) to (na, nb, nc), zero in the middle."""
    n_all = (2 * na + 1) * (2 * nb + 1) * (2 * nc + 1)
    number = torch.arange(n_all, device=device)
    first = number // ((2 * nb + 1) * (2 * nc + 1)) - na
    second = number // (2 * nc + 1) % (2 * nb + 1) - nb
    third = number % (2 * nc + 1) - nc
    return torch.stack([first, second, third], dim=-1)
