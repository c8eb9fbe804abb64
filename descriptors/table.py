# SPDX-License-Identifier: LGPL-3.0-or-later
"""Functions of the distance as tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from spin_dp.descriptors.radial import radial_weight

if TYPE_CHECKING:
    from collections.abc import Callable

N_POWERS = 6


class RadialTable(torch.nn.Module):
    """Quintic Hermite spline through functions of the distance, and its slope.

    Value, first and second derivative are exact at each knot. What is stored are
    coefficients of powers of the distance to the left knot, for the slope as for the
    value: in single precision, too, one is as exact as the other. One knot is where the
    smooth switch begins, the last is the cutoff; the functions are constant from there
    on. Below the first knot its polynomial goes on.

    Parameters
    ----------
    function
        From radial weights s(r), (n, 1), float64, to C channels, (n, C).
    inner
        Where the table begins, Å, or a little below.
    switch, cutoff
        Radii of the smooth switch, Å.
    stride
        Largest distance of the knots, Å.
    dtype
        Precision of the table.
    """

    if TYPE_CHECKING:  # buffers; TorchScript cannot read these as annotations
        values: torch.Tensor
        slopes: torch.Tensor
        place: torch.Tensor

    def __init__(
        self,
        function: Callable[[torch.Tensor], torch.Tensor],
        inner: float,
        switch: float,
        cutoff: float,
        stride: float,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        stride = (cutoff - switch) / math.ceil((cutoff - switch) / stride)
        self.n_intervals = math.ceil((cutoff - inner) / stride)
        self.start = cutoff - self.n_intervals * stride
        self.stride, self.cutoff = stride, cutoff
        steps = torch.arange(self.n_intervals + 1, dtype=torch.float64)
        knots = self.start + steps * stride

        def of_distance(distance: torch.Tensor) -> torch.Tensor:
            return function(radial_weight(distance, switch, cutoff))

        values = _hermite(of_distance, knots, stride)  # (n, 6, C)
        power = torch.arange(1.0, N_POWERS, dtype=torch.float64).view(1, -1, 1)
        slopes = torch.zeros_like(values)
        slopes[:, :-1] = values[:, 1:] * power / stride
        self.register_buffer("values", values.flatten(0, 1).to(dtype))
        self.register_buffer("slopes", slopes.flatten(0, 1).to(dtype))
        self.register_buffer("place", torch.arange(N_POWERS))

    def forward(self, distance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return values and slopes in 1/Å, (..., C) each, at distances (...), Å."""
        x = (distance.clamp(max=self.cutoff) - self.start) * (1.0 / self.stride)
        interval = x.floor().clamp(0.0, self.n_intervals - 1.0)
        t = (x - interval).flatten()
        square = t * t
        cube = square * t
        powers = torch.stack(
            [torch.ones_like(t), t, square, cube, square * square, square * cube],
            dim=-1,
        )
        first = interval.flatten().to(torch.int64) * self.place.shape[0]
        index = first.unsqueeze(-1) + self.place
        values = torch.nn.functional.embedding_bag(
            index, self.values, per_sample_weights=powers, mode="sum"
        )
        slopes = torch.nn.functional.embedding_bag(
            index, self.slopes, per_sample_weights=powers, mode="sum"
        )
        shape = list(distance.shape)
        shape.append(values.shape[-1])
        return values.view(shape), slopes.view(shape)


def _hermite(
    function: Callable[[torch.Tensor], torch.Tensor], knots: torch.Tensor, h: float
) -> torch.Tensor:
    """Return coefficients of powers of (x - left knot)/h, (n, 6, C)."""
    x = knots.clone().unsqueeze(-1).requires_grad_(True)
    with torch.enable_grad():
        value = function(x)
        firsts, seconds = [], []
        for channel in value.unbind(-1):
            (first,) = torch.autograd.grad(channel.sum(), x, create_graph=True)
            (second,) = torch.autograd.grad(first.sum(), x, retain_graph=True)
            firsts.append(first)
            seconds.append(second)
    v = value.detach()
    d = torch.cat(firsts, dim=-1).detach() * h
    c = torch.cat(seconds, dim=-1).detach() * h**2
    rise = v[1:] - v[:-1] - d[:-1] - 0.5 * c[:-1]
    slope = d[1:] - d[:-1] - c[:-1]
    bend = c[1:] - c[:-1]
    coefficients = [
        v[:-1],
        d[:-1],
        0.5 * c[:-1],
        10.0 * rise - 4.0 * slope + 0.5 * bend,
        -15.0 * rise + 7.0 * slope - bend,
        6.0 * rise - 3.0 * slope + 0.5 * bend,
    ]
    return torch.stack(coefficients, dim=1)
