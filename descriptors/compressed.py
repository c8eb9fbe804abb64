# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin_se_e2_a`` for inference: radial nets as tables, slopes by hand.

The same features as :class:`SpinDescriptor`. Two things make it fast. The radial nets
of all channels are one table of the distance, read by ``embedding_bag``. And the
slopes of the sums over neighbours in edges and moments are written out, so that no
graph of operations is recorded where the work is: only contraction and fitting net,
which cost nothing for each neighbour, are differentiated by PyTorch.

References
----------
Lu et al., J. Chem. Theory Comput. 18, 5559 (2022) (tabulated embedding nets).
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from spin_dp.descriptors.angular import N_QUADRUPOLE, quadrupole, quadrupole_slope
from spin_dp.descriptors.embedding import pair_of_types
from spin_dp.descriptors.radial import smooth_switch, smooth_switch_slope
from spin_dp.descriptors.table import RadialTable

if TYPE_CHECKING:
    from spin_dp.descriptors.embedding import PairNet
    from spin_dp.descriptors.spin_se_e2_a import SpinDescriptor


class NeighbourSums(NamedTuple):
    """Sums over neighbours, and what their slopes need; n atoms, k neighbours.

    ``sums`` is (n, 12, C), rows of R, s m and s Y against the channels of all radial
    nets; its blocks on the diagonal are T, V and Q (times N).
    """

    sums: torch.Tensor
    rows: torch.Tensor  # (n, 12, k)
    values: torch.Tensor  # (n, k, C): radial nets
    dressed: torch.Tensor  # (n, k, C): the same times 1 + g
    slopes: torch.Tensor  # (n, k, C): their derivatives, 1/Å
    dressing: torch.Tensor  # (n, k, C): 1 + g
    hidden: list[torch.Tensor]  # layers of the pair net; none without moments
    unit: torch.Tensor  # (n, 12, k): 1, direction, moments, Y: rows without weight
    inverse: torch.Tensor  # (n, k): 1/r, 1/Å
    weight: torch.Tensor  # (n, k): s, 1/Å
    weight_slope: torch.Tensor  # (n, k): ds/dr, 1/Å²
    moments_i: torch.Tensor  # (n, 3)


class DressingNet(torch.nn.Module):
    """A :class:`PairNet` with all heads in one, and its slope in the invariants."""

    if TYPE_CHECKING:  # buffers; TorchScript cannot read these as annotations
        typed: torch.Tensor
        bare: torch.Tensor
        first: torch.Tensor
        head: torch.Tensor
        head_bias: torch.Tensor

    def __init__(self, pair: PairNet, tebd: torch.Tensor) -> None:
        super().__init__()
        self.n_types = tebd.shape[0]
        heads = [head for head in pair.heads if isinstance(head, torch.nn.Linear)]
        with torch.no_grad():
            typed = pair.of_types(tebd)
            first = pair.first.weight[:, 2 * pair.tebd_dim :].clone()
            head = torch.cat([head.weight for head in heads])
            # Rows are multiplied by 1 + g.
            head_bias = torch.cat([head.bias for head in heads]) + 1.0
        self.register_buffer("typed", typed)
        self.register_buffer("first", first)
        self.register_buffer("head", head)
        self.register_buffer("head_bias", head_bias)
        self.hidden = copy.deepcopy(pair.hidden)
        self.reverse = torch.nn.ModuleList(list(self.hidden)[::-1])
        types = torch.arange(self.n_types, device=typed.device)
        zero = first.new_zeros(self.n_types, self.n_types, first.shape[1])
        with torch.no_grad():
            bare, _ = self(types, types.expand(self.n_types, -1), zero)
        self.register_buffer("bare", bare.flatten(0, 1))

    def forward(
        self, type_i: torch.Tensor, type_ij: torch.Tensor, invariants: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return 1 + g (n, k, C) and the hidden layers for :meth:`slope`."""
        index = pair_of_types(type_i, type_ij, self.n_types)
        typed = torch.nn.functional.embedding(index, self.typed)
        x = torch.tanh(typed + invariants @ self.first.t())
        layers = [x]
        for layer in self.hidden:
            x = torch.tanh(layer(x))
            layers.append(x)
        return torch.nn.functional.linear(x, self.head, self.head_bias), layers

    def without_moments(
        self, type_i: torch.Tensor, type_ij: torch.Tensor
    ) -> torch.Tensor:
        """Return 1 + g (n, k, C) where all moments are zero: by the types alone."""
        index = pair_of_types(type_i, type_ij, self.n_types)
        return torch.nn.functional.embedding(index, self.bare)

    def slope(
        self, layers: list[torch.Tensor], dressing_slope: torch.Tensor
    ) -> torch.Tensor:
        """Return the slope in the invariants (n, 3, k) from that in g (n, k, C)."""
        slope = dressing_slope @ self.head
        number = len(layers) - 1
        for layer in self.reverse:
            x = layers[number]
            weight: torch.Tensor = layer.weight  # type: ignore[assignment]
            slope = (slope * (1.0 - x * x)) @ weight
            number -= 1
        x = layers[0]
        return self.first.t() @ (slope * (1.0 - x * x)).transpose(1, 2)


class CompressedSpinDescriptor(torch.nn.Module):
    """Same features as :class:`SpinDescriptor`, for inference only.

    Parameters
    ----------
    descriptor
        The trained descriptor.
    inner
        Where the tables begin, Å; below, they are extrapolated.
    stride
        Distance of the knots, Å.
    dtype
        Precision; None: that of ``descriptor``.
    """

    if TYPE_CHECKING:  # buffers; TorchScript cannot read these as annotations
        row_scale: torch.Tensor

    def __init__(
        self,
        descriptor: SpinDescriptor,
        *,
        inner: float,
        stride: float,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        net = descriptor.with_precision(torch.float64)
        self.rcut, self.rcut_smth = net.rcut, net.rcut_smth
        self.dtype = descriptor.dtype if dtype is None else dtype
        self.n_channels = net.n_channels
        self.n_spin_channels = net.n_spin_channels
        self.quad_axis = net.quad_axis
        # What a block of atoms needs shall stay in the caches of a CPU core.
        self.block_on_cpu, self.block_on_gpu = 256, 16384
        radial = [net.radial, net.spin_radial]
        if net.quad_radial is not None:
            radial.append(net.quad_radial)
        first = float(net.row_scale[0].item())

        def channels(weight: torch.Tensor) -> torch.Tensor:
            return torch.cat([part(first * weight) for part in radial], dim=-1)

        self.table = RadialTable(
            channels, inner, self.rcut_smth, self.rcut, stride, self.dtype
        )
        self.dressing = DressingNet(net.pair, net.tebd).to(self.dtype)
        scale = net.row_scale.to(self.dtype)
        extra = (scale[:1] * math.sqrt(5.0)).expand(N_QUADRUPOLE)
        parts = [scale, scale[:1].expand(3)]
        if self.quad_axis > 0:
            parts.append(extra)
        self.register_buffer("row_scale", torch.cat(parts).contiguous())
        self.net = descriptor.with_precision(self.dtype)

    def block_size(self, n_atoms: int, on_cpu: bool) -> int:
        """Return the number of atoms to be done at a time, in blocks of equal size."""
        most = self.block_on_cpu if on_cpu else self.block_on_gpu
        n_blocks = max(1, (n_atoms + most - 1) // most)
        return max(1, (n_atoms + n_blocks - 1) // n_blocks)

    def typical_moments(self) -> torch.Tensor:
        """Return the root mean square moment of each type, (nt,), μB."""
        return self.net.typical_moments()

    def scaled_moments(
        self, moments: torch.Tensor, types: torch.Tensor
    ) -> torch.Tensor:
        """Return what is read of moments; see :class:`SpinDescriptor`."""
        return self.net.scaled_moments(moments, types)

    def sum_neighbours(
        self,
        edges: torch.Tensor,
        type_i: torch.Tensor,
        type_ij: torch.Tensor,
        moments_i: torch.Tensor,
        moments_ij: torch.Tensor,
        bare: bool = False,
    ) -> NeighbourSums:
        """Return the sums over the neighbours of n atoms.

        Parameters
        ----------
        edges
            Edge vectors, (n, nnei, 3), Å; beyond the cutoff where empty.
        type_i, type_ij
            Types of atoms (n,) and of their neighbours (n, nnei).
        moments_i, moments_ij
            Scaled moments (n, 3) and (n, nnei, 3), dimensionless.
        bare
            Whether all moments are zero: then g depends on the types alone.
        """
        edge = edges.to(self.dtype).transpose(1, 2).contiguous()
        distance = edge.square().sum(1).sqrt()
        inverse = 1.0 / distance
        direction = edge * inverse.unsqueeze(1)
        switch = smooth_switch(distance, self.rcut_smth, self.rcut)
        slope = smooth_switch_slope(distance, self.rcut_smth, self.rcut)
        weight = switch * inverse
        other = moments_ij.transpose(1, 2).contiguous()
        parts = [torch.ones_like(weight).unsqueeze(1), direction, other]
        if self.quad_axis > 0:
            parts.append(quadrupole(direction, dim=1))
        scale = self.row_scale.unsqueeze(-1)
        unit = torch.cat(parts, dim=1)
        rows = unit * (weight.unsqueeze(1) * scale)
        hidden: list[torch.Tensor] = []
        if bare:
            dressing = self.dressing.without_moments(type_i, type_ij)
        else:
            own_sq = moments_i.square().sum(-1, keepdim=True).expand_as(distance)
            other_sq = other.square().sum(1)
            product = (moments_i.unsqueeze(-1) * other).sum(1)
            invariants = torch.stack([own_sq, other_sq, product], dim=-1)
            dressing, hidden = self.dressing(type_i, type_ij, invariants)
        values, slopes = self.table(distance)
        dressed = values * dressing
        return NeighbourSums(
            sums=rows @ dressed,
            rows=rows,
            values=values,
            dressed=dressed,
            slopes=slopes,
            dressing=dressing,
            hidden=hidden,
            unit=unit,
            inverse=inverse,
            weight=weight,
            weight_slope=(slope - weight) * inverse,
            moments_i=moments_i,
        )

    def contract(
        self, sums: torch.Tensor, type_i: torch.Tensor, moments_i: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return D (n, dim_out) and V (n, M', 3) from the sums over neighbours.

        Parameters
        ----------
        sums
            As in :class:`NeighbourSums`, (n, 12, C).
        type_i
            Types, (n,).
        moments_i
            Scaled moments, (n, 3), dimensionless.
        """
        m = self.n_channels
        end = m + self.n_spin_channels
        sums = sums.transpose(1, 2).unsqueeze(0)
        features, vectors = self.net.contract(
            sums[:, :, :m, :4],
            sums[:, :, m:end, 4:7],
            sums[:, :, end:, 7:],
            type_i.unsqueeze(0),
            moments_i.unsqueeze(0),
        )
        return features[0], vectors[0]

    def slopes(
        self, found: NeighbourSums, sums_slope: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return slopes in edges and scaled moments from those in the sums.

        Parameters
        ----------
        found
            What :meth:`sum_neighbours` returned.
        sums_slope
            ∂E/∂sums, (n, 12, C), eV; zero outside the blocks that are read.

        Returns
        -------
        tuple
            ∂E/∂edges (n, 3, nnei) in eV/Å; slopes in the scaled moments of the atoms,
            (n, 3), and of their neighbours, (n, 3, nnei), in eV.
        """
        weight, inverse = found.weight, found.inverse
        direction, other = found.unit[:, 1:4], found.unit[:, 4:7]
        channel_slope = found.rows.transpose(1, 2) @ sums_slope  # (n, k, C)
        row_slope = sums_slope @ found.dressed.transpose(1, 2)  # (n, 12, k)
        row_slope = row_slope * self.row_scale.unsqueeze(-1)
        along = (channel_slope * found.dressing * found.slopes).sum(-1)
        by_weight = (row_slope * found.unit).sum(1)
        by_direction = row_slope[:, 1:4]
        if self.quad_axis > 0:
            by_direction = by_direction + quadrupole_slope(direction, row_slope[:, 7:])
        by_direction = by_direction * (weight * inverse).unsqueeze(1)
        along = along + by_weight * found.weight_slope
        along = along - (by_direction * direction).sum(1)
        edge_slope = by_direction + along.unsqueeze(1) * direction
        if len(found.hidden) == 0:
            # The energy is even in the moments: no slope where all are zero.
            none = torch.zeros_like(found.moments_i)
            return edge_slope, none, torch.zeros_like(other)
        phi = self.dressing.slope(found.hidden, channel_slope * found.values)
        own = found.moments_i.unsqueeze(-1)
        product = phi[:, 2:]
        other_slope = row_slope[:, 4:7] * weight.unsqueeze(1)
        other_slope = other_slope + 2.0 * phi[:, 1:2] * other + product * own
        own_slope = 2.0 * phi[:, 0].sum(-1, keepdim=True) * found.moments_i
        own_slope = own_slope + (product * other).sum(-1)
        return edge_slope, own_slope, other_slope

    def forward(
        self,
        edges: torch.Tensor,
        type_i: torch.Tensor,
        type_ij: torch.Tensor,
        moments_i: torch.Tensor,
        moments_ij: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return D and V of each atom; arguments as :class:`SpinDescriptor`."""
        nf, nloc = type_i.shape
        found = self.sum_neighbours(
            edges.flatten(0, 1),
            type_i.flatten(),
            type_ij.flatten(0, 1),
            moments_i.flatten(0, 1),
            moments_ij.flatten(0, 1),
        )
        features, vectors = self.contract(found.sums, type_i.flatten(), found.moments_i)
        return (
            features.view(nf, nloc, features.shape[1]),
            vectors.view(nf, nloc, vectors.shape[1], 3),
        )
