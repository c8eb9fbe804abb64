# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin_se_e2_a`` with its radial nets tabulated, for inference.

The contraction Σ_j (G(s_j) + G(s_j) g_j) ⊗ R_j is deepmd-kit's own operator
``tabulate_fusion_se_atten``: a quintic Hermite table of G, the pair dressing g as
its second factor. The spin rows take the same operator with s m_j for R, the five
columns of the quadrupoles two calls of it.

References
----------
Lu et al., J. Chem. Theory Comput. 18, 5559 (2022) (tabulated embedding nets).
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from spin_dp.descriptors.embedding import EmbeddingNet
    from spin_dp.descriptors.spin_se_e2_a import SpinDescriptor


def quintic_table(net: EmbeddingNet, knots: torch.Tensor) -> torch.Tensor:
    """Return the coefficients of a quintic Hermite spline through a radial net.

    Value, first and second derivative are exact at each knot.

    Parameters
    ----------
    net
        Net from one number to M channels.
    knots
        Increasing inputs, (n + 1,), float64.

    Returns
    -------
    torch.Tensor
        Coefficients a0..a5 of powers of the distance to the left knot, channel by
        channel: (n, 6 M), float64.
    """
    x = knots.clone().unsqueeze(-1).requires_grad_(True)
    with torch.enable_grad():
        value = net(x)
        firsts, seconds = [], []
        for channel in value.split(1, dim=-1):
            (first,) = torch.autograd.grad(channel.sum(), x, create_graph=True)
            (second,) = torch.autograd.grad(first.sum(), x, retain_graph=True)
            firsts.append(first)
            seconds.append(second)
    v = value.detach()
    d = torch.cat(firsts, dim=-1).detach()
    c = torch.cat(seconds, dim=-1).detach()
    h = (knots[1:] - knots[:-1]).unsqueeze(-1)
    rise = v[1:] - v[:-1] - d[:-1] * h - 0.5 * c[:-1] * h**2
    slope = d[1:] - d[:-1] - c[:-1] * h
    bend = c[1:] - c[:-1]
    coefficients = [
        v[:-1],
        d[:-1],
        0.5 * c[:-1],
        (10.0 * rise - 4.0 * slope * h + 0.5 * bend * h**2) / h**3,
        (-15.0 * rise + 7.0 * slope * h - bend * h**2) / h**4,
        (6.0 * rise - 3.0 * slope * h + 0.5 * bend * h**2) / h**5,
    ]
    return torch.stack(coefficients, dim=-1).flatten(1)


class TabulatedSpinDescriptor(torch.nn.Module):
    """Same features as :class:`SpinDescriptor`, radial nets read from tables.

    Needs deepmd-kit's operator library to be loaded when it runs.

    Parameters
    ----------
    descriptor
        The trained descriptor.
    min_distance
        Shortest distance to be tabulated finely, Å; the table goes on, more
        coarsely, to ``extrapolate`` times its radial weight.
    stride, coarse_stride
        Distance of the knots in the scaled radial weight, in the fine and in the
        extrapolated range.
    extrapolate
        Reach of the table in units of the largest fine input.
    """

    if TYPE_CHECKING:  # buffers; TorchScript cannot read these as annotations
        table: torch.Tensor
        spin_table: torch.Tensor
        quad_table: torch.Tensor

    def __init__(
        self,
        descriptor: SpinDescriptor,
        min_distance: float,
        *,
        stride: float = 0.01,
        coarse_stride: float = 0.1,
        extrapolate: float = 5.0,
    ) -> None:
        super().__init__()
        self.net = descriptor
        self.n_channels = descriptor.n_channels
        self.n_spin_channels = descriptor.n_spin_channels
        self.dtype = descriptor.dtype
        scale = float(descriptor.row_scale[0].item())
        upper = math.ceil(scale / min_distance)
        n_fine = round(upper / stride)
        n_coarse = round((extrapolate - 1.0) * upper / coarse_stride)
        knots = torch.cat(
            [
                torch.arange(n_fine, dtype=torch.float64) * stride,
                upper + torch.arange(n_coarse + 1, dtype=torch.float64) * coarse_stride,
            ]
        )
        nets = copy.deepcopy(descriptor).double()
        table = quintic_table(nets.radial, knots)
        spin_table = quintic_table(nets.spin_radial, knots)
        self.register_buffer("table", table.to(self.dtype).contiguous())
        self.register_buffer("spin_table", spin_table.to(self.dtype).contiguous())
        quad_table = torch.zeros(0)
        if nets.quad_radial is not None:
            quad_table = quintic_table(nets.quad_radial, knots)
        self.register_buffer("quad_table", quad_table.to(self.dtype).contiguous())
        # The operator reads its ranges on the host, whatever the device.
        self.ranges: list[float] = [
            0.0,
            float(upper),
            float(upper + n_coarse * coarse_stride),
            stride,
            coarse_stride,
            -1.0,
        ]

    def typical_moments(self) -> torch.Tensor:
        """Return the root mean square moment of each type, (nt,), μB."""
        return self.net.typical_moments()

    def forward(
        self,
        edges: torch.Tensor,
        type_i: torch.Tensor,
        type_ij: torch.Tensor,
        moments_i: torch.Tensor,
        moments_ij: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return D and V of each atom; arguments as :class:`SpinDescriptor`."""
        net = self.net
        rows, quadrupoles = net.rows(edges)
        own = net.scaled_moments(moments_i, type_i)
        other = net.scaled_moments(moments_ij, type_ij)
        weight = rows[:, :, :, :1]
        dressings = net.dressing(type_i, type_ij, own, other)
        fourth = torch.zeros_like(weight)
        spin_columns = torch.cat([weight * other, fourth], dim=-1)
        real = self._sum(self.table, weight, rows, dressings[0])
        spin = self._sum(self.spin_table, weight, spin_columns, dressings[1])
        quad = quadrupoles
        if net.quad_axis > 0:
            fifth = torch.cat([quadrupoles[..., 4:], fourth, fourth, fourth], dim=-1)
            dressing = dressings[2]
            first = self._sum(self.quad_table, weight, quadrupoles[..., :4], dressing)
            second = self._sum(self.quad_table, weight, fifth, dressing)
            quad = torch.cat([first, second[..., :1]], dim=-1)
        return net.contract(real, spin[..., :3], quad, type_i, own)

    def _sum(
        self,
        table: torch.Tensor,
        weight: torch.Tensor,
        rows: torch.Tensor,
        dressing: torch.Tensor,
    ) -> torch.Tensor:
        nf, nloc, nnei, channels = dressing.shape
        # One by one: TorchScript makes a tensor of a list by way of float32.
        info = torch.cat([torch.full([1], x, dtype=self.dtype) for x in self.ranges])
        result: list[torch.Tensor] = torch.ops.deepmd.tabulate_fusion_se_atten(
            table,
            info,
            weight.reshape(nf * nloc * nnei, 1).contiguous(),
            rows.reshape(nf * nloc, nnei, 4).contiguous(),
            dressing.reshape(nf * nloc * nnei, channels).contiguous(),
            channels,
            False,
        )
        return result[0].view(nf, nloc, 4, channels).transpose(-1, -2)
