# SPDX-License-Identifier: LGPL-3.0-or-later
"""A model of a few lines that keeps the contract, and places to break it at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import torch

CUTOFF = 3.0  # Å


@dataclass(frozen=True)
class Atoms:
    """Frames as the terms of the energy see them."""

    positions: torch.Tensor  # (nf, n, 3)
    cell: torch.Tensor | None  # (nf, 3, 3)
    types: torch.Tensor  # (nf, n)
    moments: torch.Tensor  # (nf, n, 3), zero for types without spin
    all_moments: torch.Tensor  # (nf, n, 3)
    edges: torch.Tensor  # (nf, n, n, images, 3), from the first atom to the second
    weight: torch.Tensor  # (nf, n, n, images), zero beyond the cutoff


Term: TypeAlias = Callable[[Atoms], torch.Tensor]  # atomic energies, (nf, n)


class ToyModel(torch.nn.Module):
    """Exchange, pair attraction, the square of a polar vector; derived by autograd.

    Parameters
    ----------
    term
        What is added to the atomic energies, to break a law.
    gain
        Factors of results that break what the energy cannot break.
    moments
        Factor of all moments.
    """

    def __init__(
        self,
        term: Term | None = None,
        gain: dict[str, float] | None = None,
        moments: float = 1.0,
    ) -> None:
        super().__init__()
        self.term = term
        self.gain = gain or {}
        self.moments = moments

    def get_rcut(self) -> float:
        """Return the cutoff radius, Å."""
        return CUTOFF

    def forward(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        spin: torch.Tensor,
        box: torch.Tensor | None = None,
        fparam: torch.Tensor | None = None,
        aparam: torch.Tensor | None = None,
        do_atomic_virial: bool = False,
    ) -> dict[str, torch.Tensor]:
        """Return what a model of type ``spin_dp`` returns."""
        nf, n = atype.shape
        positions = coord.clone().requires_grad_(True)
        moments = spin.clone().requires_grad_(True)
        strain = torch.zeros(nf, 3, 3, dtype=coord.dtype).requires_grad_(True)
        deform = (torch.eye(3, dtype=coord.dtype) + strain).transpose(1, 2)
        cell = None if box is None else box.view(nf, 3, 3) @ deform
        atoms = _atoms(positions @ deform, cell, atype, self.moments * moments)
        energy = _energy(atoms)
        if self.term is not None:
            energy = energy + self.term(atoms)
        slopes = torch.autograd.grad(energy.sum(), [positions, moments, strain])
        out = {
            "energy": energy.sum(1, keepdim=True),
            "atom_energy": energy,
            "force": -slopes[0],
            "force_mag": -slopes[1],
            "virial": -slopes[2],
            "atom_virial": -slopes[2].unsqueeze(1).expand(nf, n, 3, 3) / n,
        }
        return {name: self.gain.get(name, 1.0) * value for name, value in out.items()}


def _atoms(
    positions: torch.Tensor,
    cell: torch.Tensor | None,
    types: torch.Tensor,
    moments: torch.Tensor,
) -> Atoms:
    edges = (positions.unsqueeze(1) - positions.unsqueeze(2)).unsqueeze(3)
    if cell is not None:
        # Whole cell vectors away first, then all images that may lie in reach.
        lattice = cell.view(-1, 1, 1, 3, 3)
        inverse = torch.linalg.inv(cell.detach())
        whole = (edges.detach() @ inverse.view(-1, 1, 1, 3, 3)).round()
        reach = (CUTOFF * inverse.norm(dim=1).amax(0) + 0.5).int().tolist()
        steps = list(product(*(range(-k, k + 1) for k in reach)))
        edges = edges + (torch.tensor(steps, dtype=edges.dtype) - whole) @ lattice
    square = edges.square().sum(-1)
    inside = (square < CUTOFF**2) & (square > 1e-12)
    # As smooth at the cutoff as the switch of the environment matrix.
    weight = (1.0 - square / CUTOFF**2).pow(3) * inside
    magnetic = ((types > 0) & (types < 4)).unsqueeze(-1)
    return Atoms(positions, cell, types, moments * magnetic, moments, edges, weight)


def _energy(atoms: Atoms) -> torch.Tensor:
    size = atoms.moments.square().sum(-1)
    product_ = atoms.moments @ atoms.moments.transpose(1, 2)
    bonds = (atoms.weight.sum(-1) * (0.3 * product_ + 0.01 * product_.square())).sum(2)
    density = atoms.weight.sum((2, 3))
    pull = polar(atoms, 1).square().sum(-1)
    return bonds - density + pull - 0.1 * size + 0.01 * size.square() - atoms.types


def polar(atoms: Atoms, power: int) -> torch.Tensor:
    """Return Σ_j w^power (1 + t_j) r_ij, a polar vector (nf, n, 3)."""
    weight = atoms.weight.pow(power) * (1.0 + atoms.types)[:, None, :, None]
    return torch.einsum("fijk,fijkc->fic", weight, atoms.edges)
