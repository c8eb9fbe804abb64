# SPDX-License-Identifier: LGPL-3.0-or-later
"""The spin-dressed environment matrix in product form, ``spin_se_e2_a``.

With s(r) the radial weight, R_ij = s_ij (1, x/r, y/r, z/r) the environment-matrix row
of neighbour j, Y_ij its five real spherical harmonics of rank 2, and m_i the moment of
atom i, scaled and bounded as μ/√(1 + μ²/2) with μ in units of its type's root mean
square:

    phi_ij = (m_i², m_j², m_i·m_j)                        even spin invariants
    G_ij   = G(s_ij) (1 + g(e_ti, e_tj, phi_ij))          spin-dressed embedding
    T_i    = Σ_j G_ij ⊗ R_ij / N                          (M, 4)
    V_i    = Σ_j G'_ij ⊗ s_ij m_j / N + w(t_i) ⊗ m_i      (M', 3), a spin vector
    Q_i    = Σ_j G"_ij ⊗ s_ij Y_ij / N                    (M", 5), a quadrupole
    D_i    = [T T_<ᵗ, V V_<ᵗ, Q Q_<ᵗ, m_i², e_ti]

Rows of T and Q rotate with space, rows of V with the moments; only contractions
within each are taken. So D is exactly invariant under rotation of space alone,
rotation of the moments alone (no spin-orbit coupling) and reversal of all moments.
The quadrupole sees what the vectors cannot where neighbours lie opposite each other,
as in an octahedron: Jahn-Teller stretches and rhombohedral shear. Without it and with
all moments zero this is the attention-free DPA-1 descriptor in strip form.

References
----------
Hu et al., arXiv 2309.01146 (moments in the DP descriptor);
Zhang et al., NeurIPS 31 (2018) (environment matrix and embedding net);
Zhang et al., npj Comput. Mater. 10, 94 (2024) (DPA-1, type embedding).
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from spin_dp.descriptors.angular import quadrupole
from spin_dp.descriptors.embedding import EmbeddingNet, PairNet
from spin_dp.descriptors.radial import radial_weight

if TYPE_CHECKING:
    from spin_dp.descriptors.config import SpinDescriptorConfig

N_INVARIANTS = 3
"""Number of even spin invariants of a pair: m_i², m_j², m_i·m_j."""


class Surroundings(NamedTuple):
    """What of the neighbours of atoms depends on positions alone.

    Attributes
    ----------
    rows, quadrupoles
        As :meth:`SpinDescriptor.rows` returns them.
    real, spin, quad
        Radial embedding nets of T, V and Q, (nf, nloc, nnei, ...); without
        quadrupoles the last has no meaning.
    """

    rows: torch.Tensor
    quadrupoles: torch.Tensor
    real: torch.Tensor
    spin: torch.Tensor
    quad: torch.Tensor


class SpinDescriptor(torch.nn.Module):
    """Features of atoms from edge vectors, types and scaled moments.

    Parameters
    ----------
    config
        Settings.
    use_spin
        For each type whether its moments are read; the others count as zero.
    """

    if TYPE_CHECKING:  # buffers; TorchScript cannot read these as annotations
        row_scale: torch.Tensor
        n_neighbours: torch.Tensor
        moment_gain: torch.Tensor

    def __init__(self, config: SpinDescriptorConfig, use_spin: list[bool]) -> None:
        super().__init__()
        self.rcut = config.rcut
        self.rcut_smth = config.rcut_smth
        self.axis = config.axis_neuron
        self.spin_axis = config.spin_axis_neuron
        self.quad_axis = config.quad_axis_neuron
        self.n_channels = config.neuron[-1]
        self.n_spin_channels = config.spin_neuron[-1]
        self.dtype = config.dtype
        n_types = len(use_spin)
        generator = torch.Generator()
        if config.seed is None:
            generator.seed()
        else:
            generator.manual_seed(config.seed)
        dtype = config.dtype
        self.radial = EmbeddingNet(list(config.neuron), dtype, generator)
        self.spin_radial = EmbeddingNet(list(config.spin_neuron), dtype, generator)
        channels = [self.n_channels, self.n_spin_channels]
        self.quad_radial: EmbeddingNet | None = None
        if self.quad_axis > 0:
            self.quad_radial = EmbeddingNet(list(config.quad_neuron), dtype, generator)
            channels.append(config.quad_neuron[-1])
        self.pair = PairNet(
            config.tebd_dim,
            N_INVARIANTS,
            list(config.pair_neuron),
            channels,
            dtype,
            generator,
        )
        self.tebd = torch.nn.Parameter(
            torch.randn(n_types, config.tebd_dim, dtype=dtype, generator=generator)
        )
        self.on_site = torch.nn.Parameter(
            torch.randn(n_types, self.n_spin_channels, dtype=dtype, generator=generator)
            * 0.3
        )
        # Statistics of the training data, set by `set_statistics`.
        self.register_buffer("row_scale", torch.ones(4, dtype=torch.float64))
        self.register_buffer("n_neighbours", torch.ones(1, dtype=torch.float64))
        gain = torch.tensor([float(used) for used in use_spin], dtype=torch.float64)
        self.register_buffer("moment_gain", gain)
        for parameter in self.parameters():
            parameter.requires_grad_(config.trainable)

    @torch.jit.unused
    def set_statistics(
        self,
        *,
        radial: float,
        angular: float,
        n_neighbours: float,
        moments: list[float],
    ) -> None:
        """Set the scales that make the inputs of the nets of order one.

        Parameters
        ----------
        radial, angular
            Root mean square of the first and of the other columns of R, 1/Å.
        n_neighbours
            Mean number of neighbours.
        moments
            Root mean square moment of each type, μB; zero or less leaves a type as
            it is.
        """
        with torch.no_grad():
            columns = torch.tensor([radial, angular, angular, angular])
            self.row_scale.copy_(1.0 / columns)
            self.n_neighbours.fill_(n_neighbours)
            for number, moment in enumerate(moments):
                if moment > 0.0 and bool(self.moment_gain[number] != 0.0):
                    self.moment_gain[number] = 1.0 / moment

    def typical_moments(self) -> torch.Tensor:
        """Return the root mean square moment of each type, (nt,), μB.

        Zero for types without spin; 1 μB for those without moments in the data.
        """
        gain = self.moment_gain
        return torch.where(gain > 0.0, 1.0 / gain.clamp(min=1e-300), gain)

    @torch.jit.unused
    def with_precision(self, dtype: torch.dtype) -> SpinDescriptor:
        """Return a copy whose nets have another precision; scales stay as they are."""
        other = copy.deepcopy(self)
        other.dtype = dtype
        for parameter in other.parameters():
            parameter.data = parameter.data.to(dtype)
        return other

    def rows(self, edges: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scaled environment matrix and its extension by quadrupoles.

        Parameters
        ----------
        edges
            Edge vectors, (nf, nloc, nnei, 3), Å.

        Returns
        -------
        tuple
            R (nf, nloc, nnei, 4) and s Y (nf, nloc, nnei, 5), dimensionless, in the
            precision of the nets; the second with no columns where it is not used.
        """
        distance = edges.square().sum(-1, keepdim=True).sqrt()
        weight = radial_weight(distance, self.rcut_smth, self.rcut)
        direction = edges / distance
        rows = torch.cat([weight, weight * direction], dim=-1) * self.row_scale
        quadrupoles = direction[..., :0]
        if self.quad_axis > 0:
            # A unit vector's components have mean square 1/3, these 1/5: brought to 1.
            scaled = weight * (self.row_scale[0] * math.sqrt(5.0))
            quadrupoles = scaled * quadrupole(direction)
        return rows.to(self.dtype), quadrupoles.to(self.dtype)

    def scaled_moments(
        self, moments: torch.Tensor, types: torch.Tensor
    ) -> torch.Tensor:
        """Return what the descriptor reads of moments: μ/√(1 + μ²/2).

        μ is the moment in units of its type's root mean square. The bound, √2, keeps
        the features of moments much larger than most, which few frames have, near
        those that the nets were trained on.

        Parameters
        ----------
        moments
            Moments, (..., 3), μB, in float64.
        types
            Types, (...).

        Returns
        -------
        torch.Tensor
            Scaled moments, (..., 3), dimensionless, in the precision of the nets;
            zero for types without spin.
        """
        scaled = moments * self.moment_gain[types].unsqueeze(-1)
        square = scaled.square().sum(-1, keepdim=True)
        return (scaled * torch.rsqrt(1.0 + 0.5 * square)).to(self.dtype)

    def dressing(
        self,
        type_i: torch.Tensor,
        type_ij: torch.Tensor,
        moments_i: torch.Tensor,
        moments_ij: torch.Tensor,
    ) -> list[torch.Tensor]:
        """Return g of each pair from types and scaled moments.

        Parameters
        ----------
        type_i, type_ij
            Types of atoms (nf, nloc) and of their neighbours (nf, nloc, nnei).
        moments_i, moments_ij
            Scaled moments (nf, nloc, 3) and (nf, nloc, nnei, 3), dimensionless.

        Returns
        -------
        list
            g for the channels of T, (nf, nloc, nnei, M), of V, (..., M'), and of Q,
            (..., M"), if there are quadrupoles.
        """
        own_sq = moments_i.square().sum(-1, keepdim=True).unsqueeze(2)
        other_sq = moments_ij.square().sum(-1, keepdim=True)
        product = (moments_i.unsqueeze(2) * moments_ij).sum(-1, keepdim=True)
        invariants = torch.cat([own_sq.expand_as(other_sq), other_sq, product], dim=-1)
        dressings: list[torch.Tensor] = self.pair(
            self.tebd, type_i, type_ij, invariants
        )
        return dressings

    def contract(
        self,
        real_rows: torch.Tensor,
        spin_rows: torch.Tensor,
        quad_rows: torch.Tensor,
        type_i: torch.Tensor,
        moments_i: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Contract summed rows to invariants.

        Parameters
        ----------
        real_rows
            Σ_j G_ij ⊗ R_ij, (nf, nloc, M, 4).
        spin_rows
            Σ_j G'_ij ⊗ s_ij m_j, (nf, nloc, M', 3).
        quad_rows
            Σ_j G"_ij ⊗ s_ij Y_ij, (nf, nloc, M", 5); not read without quadrupoles.
        type_i
            Types, (nf, nloc).
        moments_i
            Scaled moments, (nf, nloc, 3), dimensionless.

        Returns
        -------
        tuple
            D (nf, nloc, dim_out) and V (nf, nloc, M', 3).
        """
        norm = self.n_neighbours.to(self.dtype)
        real = real_rows / norm
        own = torch.nn.functional.embedding(type_i, self.on_site)  # (nf, nloc, M')
        spin = spin_rows / norm + own.unsqueeze(-1) * moments_i.unsqueeze(-2)
        real_sq = real @ real[:, :, : self.axis].transpose(-1, -2)
        spin_sq = spin @ spin[:, :, : self.spin_axis].transpose(-1, -2)
        parts = [real_sq.flatten(-2), spin_sq.flatten(-2)]
        if self.quad_axis > 0:
            quad = quad_rows / norm
            quad_sq = quad @ quad[:, :, : self.quad_axis].transpose(-1, -2)
            parts.append(quad_sq.flatten(-2))
        return self.with_site(parts, type_i, moments_i), spin

    def with_site(
        self,
        invariants: list[torch.Tensor],
        type_i: torch.Tensor,
        moments_i: torch.Tensor,
    ) -> torch.Tensor:
        """Return D from the invariants of the summed rows and the atom itself.

        Parameters
        ----------
        invariants
            Parts of D, (..., n) each.
        type_i
            Types, (...).
        moments_i
            Scaled moments, (..., 3), dimensionless.

        Returns
        -------
        torch.Tensor
            D, (..., dim_out).
        """
        own = [
            moments_i.square().sum(-1, keepdim=True),
            torch.nn.functional.embedding(type_i, self.tebd),
        ]
        return torch.cat(invariants + own, dim=-1)

    def surroundings(self, edges: torch.Tensor) -> Surroundings:
        """Return what of the neighbours depends on positions alone.

        Parameters
        ----------
        edges
            Edge vectors, (nf, nloc, nnei, 3), Å; beyond the cutoff where empty.
        """
        rows, quadrupoles = self.rows(edges)
        weight = rows[:, :, :, :1]
        quad = quadrupoles
        quad_net = self.quad_radial
        if quad_net is not None:
            quad = quad_net(weight)
        return Surroundings(
            rows=rows,
            quadrupoles=quadrupoles,
            real=self.radial(weight),
            spin=self.spin_radial(weight),
            quad=quad,
        )

    def describe(
        self,
        found: Surroundings,
        type_i: torch.Tensor,
        type_ij: torch.Tensor,
        moments_i: torch.Tensor,
        moments_ij: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features and the spin vectors of each atom.

        Parameters
        ----------
        found
            What :meth:`surroundings` returned.
        type_i, type_ij
            Types of atoms (nf, nloc) and of their neighbours (nf, nloc, nnei).
        moments_i, moments_ij
            Scaled moments (nf, nloc, 3) and (nf, nloc, nnei, 3), dimensionless.

        Returns
        -------
        tuple
            D (nf, nloc, dim_out) and V (nf, nloc, M', 3).
        """
        dressings = self.dressing(type_i, type_ij, moments_i, moments_ij)
        real = found.real * (1.0 + dressings[0])
        spin = found.spin * (1.0 + dressings[1])
        quad_rows = found.quadrupoles
        if self.quad_axis > 0:
            quad = found.quad * (1.0 + dressings[2])
            quad_rows = quad.transpose(-1, -2) @ found.quadrupoles
        return self.contract(
            real.transpose(-1, -2) @ found.rows,
            spin.transpose(-1, -2) @ (found.rows[:, :, :, :1] * moments_ij),
            quad_rows,
            type_i,
            moments_i,
        )

    def forward(
        self,
        edges: torch.Tensor,
        type_i: torch.Tensor,
        type_ij: torch.Tensor,
        moments_i: torch.Tensor,
        moments_ij: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return D and V of each atom; arguments as of the two methods above."""
        return self.describe(
            self.surroundings(edges), type_i, type_ij, moments_i, moments_ij
        )
