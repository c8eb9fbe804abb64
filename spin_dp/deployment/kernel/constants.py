# SPDX-License-Identifier: LGPL-3.0-or-later
"""Weights and definitions of a compressed descriptor as ``descriptor.h`` reads them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from spin_dp.descriptors.angular import N_QUADRUPOLE
from spin_dp.model.repulsion import SCREENING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spin_dp.descriptors import CompressedSpinDescriptor
    from spin_dp.descriptors.compressed import DressingNet

_WHOLE = 16  # numbers; vectors of all processors divide it


class Channels:
    """Channels of the three kinds of rows, each filled up to whole vectors.

    Parameters
    ----------
    core
        The descriptor.

    Attributes
    ----------
    used, axes
        Channels of T, V and Q, and rows of each that they are contracted with.
    padded
        Channels with those that fill up.
    """

    def __init__(self, core: CompressedSpinDescriptor) -> None:
        both = [core.n_channels, core.n_spin_channels]
        self.used = [*both, core.table.values.shape[1] - sum(both)]
        self.axes = [core.net.axis, core.net.spin_axis, core.quad_axis]
        self.padded = [_filled(width) for width in self.used]

    @property
    def n_sums(self) -> int:
        """Sums over neighbours of one atom."""
        t, v, q = self.padded
        return 4 * t + 3 * v + N_QUADRUPOLE * q

    @property
    def n_features(self) -> int:
        """Invariants of them."""
        return sum(a * b for a, b in zip(self.used, self.axes, strict=True))

    def pad(self, x: torch.Tensor) -> torch.Tensor:
        """Fill up the channels along the last axis, each kind by itself."""
        parts = [_pad(part, -1) for part in torch.split(x, self.used, dim=-1)]
        return torch.cat(parts, dim=-1)


def read_weights(
    core: CompressedSpinDescriptor, channels: Channels, repulsion: torch.Tensor | None
) -> list[torch.Tensor]:
    """Return the tensors in the order of ``Weights`` in ``descriptor.h``.

    Parameters
    ----------
    core, channels
        The descriptor and its channels.
    repulsion
        Table of :class:`spin_dp.model.repulsion.Repulsion`, or None.
    """
    dressing = core.dressing
    hidden = [torch.zeros(1, dtype=core.dtype)]
    for layer in _linear(dressing):
        forth = _pad(_pad(layer.weight.t(), -1), 0)
        hidden += [forth, _pad(layer.bias, 0), forth.t()]
    head = _pad(channels.pad(dressing.head.t()), 0)
    weights = [
        channels.pad(core.table.values),
        channels.pad(core.table.slopes),
        _pad(dressing.typed, -1),
        channels.pad(dressing.bare),
        _pad(dressing.first.t(), -1),
        torch.cat([x.flatten() for x in hidden[1:] or hidden]),
        head,
        head.t(),
        channels.pad(dressing.head_bias),
        _pad(core.net.on_site.to(core.dtype), -1),
    ]
    if repulsion is not None:
        weights.append(repulsion)
    return [x.detach().contiguous() for x in weights]


def definitions(
    core: CompressedSpinDescriptor, channels: Channels, repulsion: torch.Tensor | None
) -> str:
    """Return what stands before ``descriptor.h``; arguments as above."""
    dressing, table = core.dressing, core.table
    widths = [dressing.first.shape[0]]
    widths += [layer.out_features for layer in _linear(dressing)]
    # Sums are averages over the mean number of neighbours.
    scale = (core.row_scale.double() / core.net.n_neighbours.double()).tolist()
    numbers = {
        "LAYERS": len(widths),
        "TYPES": dressing.n_types,
        "INTERVALS": table.n_intervals,
    }
    for kind, padded, used, axis in zip(
        "TVQ", channels.padded, channels.used, channels.axes, strict=True
    ):
        numbers |= {
            f"CHANNELS_{kind}": padded,
            f"USED_{kind}": used,
            f"AXIS_{kind}": axis,
        }
    values = {
        "CUTOFF": core.rcut,
        "SWITCH": core.rcut_smth,
        "TABLE_START": table.start,
        "TABLE_STRIDE": table.stride,
        "SCALE_V": scale[4],
        "SCALE_Q": scale[-1],
        "REPULSION_REACH": 0.0 if repulsion is None else float(repulsion[:, 3].max()),
    }
    return "\n".join(
        [
            f"using real = {'float' if core.dtype == torch.float32 else 'double'};",
            *(f"constexpr int {name} = {value};" for name, value in numbers.items()),
            *(f"constexpr double {k} = {v!r};" for k, v in values.items()),
            f"constexpr double SCALE_T[] = {{{_listed(scale[:4])}}};",
            f"constexpr double SCREENING[] = {{{_listed(sum(SCREENING, ()))}}};",
            f"#define HIDDEN_WIDTHS {_listed([_filled(width) for width in widths])}",
        ]
    )


def _linear(dressing: DressingNet) -> list[torch.nn.Linear]:
    """Return the hidden layers behind the first."""
    return [layer for layer in dressing.hidden if isinstance(layer, torch.nn.Linear)]


def _filled(width: int) -> int:
    return math.ceil(width / _WHOLE) * _WHOLE


def _pad(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Fill an axis up with zeros."""
    shape = list(x.shape)
    shape[dim] = _filled(shape[dim]) - shape[dim]
    return torch.cat([x, x.new_zeros(shape)], dim=dim)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(repr(value) for value in values)
