# SPDX-License-Identifier: LGPL-3.0-or-later
"""An analytic model behind the interface of pair style deepspin, and by hand in NumPy.

E = sum over pairs of w(r) (A exp(-B r) + J m_i.m_j) + K sum |m_i|^2, with
w(r) = (1 - r^2 / R^2)^3 below the cutoff R.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

A, B, J, K, R = 150.0, 2.5, 0.05, 0.01, 4.0  # eV, 1/Å, eV/μB², eV/μB², Å


class HeisenbergModel(torch.nn.Module):
    """The analytic model behind the interface that pair style deepspin calls."""

    def __init__(self, exchange: float) -> None:
        super().__init__()
        self.exchange = exchange
        self.cutoff = R
        self.repulsion, self.decay, self.onsite = A, B, K

    @torch.jit.export
    def has_message_passing(self) -> bool:
        return False

    @torch.jit.export
    def get_rcut(self) -> float:
        return self.cutoff

    @torch.jit.export
    def get_ntypes(self) -> int:
        return 5

    @torch.jit.export
    def get_dim_fparam(self) -> int:
        return 0

    @torch.jit.export
    def get_dim_aparam(self) -> int:
        return 0

    @torch.jit.export
    def is_aparam_nall(self) -> bool:
        return False

    @torch.jit.export
    def get_type_map(self) -> list[str]:
        return ["Li", "Mn", "Co", "Ni", "O"]

    @torch.jit.export
    def has_spin(self) -> bool:
        return True

    @torch.jit.export
    def get_use_spin(self) -> list[bool]:
        return [False, True, True, True, False]

    @torch.jit.export
    def forward_lower(
        self,
        extended_coord: Tensor,
        extended_atype: Tensor,
        extended_spin: Tensor,
        nlist: Tensor,
        mapping: Tensor | None = None,
        fparam: Tensor | None = None,
        aparam: Tensor | None = None,
        do_atomic_virial: bool = False,
    ) -> dict[str, Tensor]:
        n_local = nlist.shape[1]
        coord = extended_coord.reshape(-1, 3).detach().requires_grad_(True)
        spin = extended_spin.reshape(-1, 3).detach().requires_grad_(True)
        is_pair = (nlist[0] >= 0).unsqueeze(-1)
        neighbour = nlist[0].clamp(min=0)
        vectors = coord[neighbour] - coord[:n_local].unsqueeze(1)
        far = torch.full_like(vectors, 2.0 * self.cutoff)
        distance = torch.where(is_pair, vectors, far).square().sum(-1).sqrt()
        weight = (1.0 - (distance / self.cutoff) ** 2).clamp(min=0.0) ** 3
        product = (spin[:n_local].unsqueeze(1) * spin[neighbour]).sum(-1)
        pair = self.repulsion * torch.exp(-self.decay * distance)
        pair = weight * (pair + self.exchange * product)
        onsite = self.onsite * (spin[:n_local] ** 2).sum(-1)
        atomic = 0.5 * pair.sum(-1) + onsite
        energy = atomic.sum()
        by_coord, by_spin = torch.autograd.grad([energy], [coord, spin])
        assert by_coord is not None
        assert by_spin is not None
        virial = -by_coord.unsqueeze(-1) * coord.detach().unsqueeze(-2)
        return {
            "energy": energy.reshape(1, 1),
            "atom_energy": atomic.reshape(1, n_local, 1),
            "extended_force": -by_coord.unsqueeze(0),
            "extended_force_mag": -by_spin.unsqueeze(0),
            "virial": virial.sum(0).reshape(1, 9),
            "extended_virial": virial.reshape(1, -1, 9),
        }


def analytic(
    atoms: Atoms, moments: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return energy, forces and magnetic forces of the model, by hand."""
    i, j, r, vector = neighbor_list("ijdD", atoms, R)
    x = 1.0 - (r / R) ** 2
    repulsion = A * np.exp(-B * r)
    bond = repulsion + J * (moments[i] * moments[j]).sum(-1)
    energy = 0.5 * (x**3 * bond).sum() + K * (moments**2).sum()
    slope = -6.0 * r / R**2 * x**2 * bond - x**3 * B * repulsion
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, i, (slope / r)[:, None] * vector)
    magnetic = -2.0 * K * moments
    np.add.at(magnetic, i, -J * (x**3)[:, None] * moments[j])
    return float(energy), forces, magnetic


def crystal() -> Atoms:
    """Return eight displaced atoms, elements in mixed order, some outside the cell."""
    cell = np.array([[5.6, 0.0, 0.1], [0.3, 5.8, -0.2], [0.2, -0.4, 4.1]])
    grid = np.array([[x, y, z] for x in (0, 0.5) for y in (0, 0.5) for z in (0, 0.5)])
    atoms = Atoms("OMnLiONiOMnO", scaled_positions=grid, cell=cell, pbc=True)
    atoms.positions += np.random.default_rng(7).normal(0.0, 0.08, (8, 3))
    atoms.positions[3] += 2.0 * cell[0] - cell[1]
    return atoms


def tilted_moments() -> NDArray[np.float64]:
    moments = np.zeros((8, 3))
    moments[1] = [1.0, -2.0, 3.0]
    moments[4] = [0.0, 0.0, -1.3]
    moments[6] = [-3.6, 0.4, 0.0]
    return moments
