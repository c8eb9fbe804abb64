# SPDX-License-Identifier: LGPL-3.0-or-later
"""The small nets of the descriptor: radial embedding net and pair net."""

from __future__ import annotations

from itertools import pairwise

import torch


def _linear(
    n_in: int, n_out: int, dtype: torch.dtype, generator: torch.Generator
) -> torch.nn.Linear:
    layer = torch.nn.Linear(n_in, n_out, dtype=dtype)
    with torch.no_grad():
        # Weights of variance 1/(n_in + n_out), unit normal biases: as deepmd-kit.
        scale = (n_in + n_out) ** -0.5
        layer.weight.normal_(0.0, scale, generator=generator)
        layer.bias.normal_(0.0, 1.0, generator=generator)
    return layer


class EmbeddingNet(torch.nn.Module):
    """Radial embedding net: from one number to channels, tanh layers with skips.

    A layer as wide as its input adds it, a layer twice as wide adds it doubled
    (the ResNet form of DeepPot-SE).

    Parameters
    ----------
    neuron
        Widths of the layers; the last is the number of channels.
    dtype
        Type of weights and input.
    generator
        Source of the random initial weights.
    """

    def __init__(
        self, neuron: list[int], dtype: torch.dtype, generator: torch.Generator
    ) -> None:
        super().__init__()
        widths = [1, *neuron]
        self.layers = torch.nn.ModuleList(
            _linear(a, b, dtype, generator) for a, b in pairwise(widths)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., 1) to (..., channels)."""
        for layer in self.layers:
            y = torch.tanh(layer(x))
            if y.shape[-1] == x.shape[-1]:
                x = x + y
            elif y.shape[-1] == 2 * x.shape[-1]:
                x = torch.cat([x, x], dim=-1) + y
            else:
                x = y
        return x


def pair_of_types(
    type_i: torch.Tensor, type_ij: torch.Tensor, n_types: int
) -> torch.Tensor:
    """Return the number of each pair of types, (..., nnei), as ``of_types`` counts."""
    return type_i.unsqueeze(-1) * n_types + type_ij


class PairNet(torch.nn.Module):
    """The net g that dresses rows by what both atoms of the pair are.

    Reads the type embeddings of both atoms and the even spin invariants of the pair.
    The first layer is linear in the three inputs, so the parts of the two types are
    computed once a type, not once a pair. One head for each kind of rows.

    Parameters
    ----------
    tebd_dim
        Width of the type embedding.
    n_invariants
        Number of spin invariants of a pair.
    neuron
        Widths of the hidden tanh layers.
    channels
        Number of channels of each head.
    dtype
        Type of weights and input.
    generator
        Source of the random initial weights.
    """

    def __init__(
        self,
        tebd_dim: int,
        n_invariants: int,
        neuron: list[int],
        channels: list[int],
        dtype: torch.dtype,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.tebd_dim = tebd_dim
        self.first = _linear(2 * tebd_dim + n_invariants, neuron[0], dtype, generator)
        self.hidden = torch.nn.ModuleList(
            _linear(a, b, dtype, generator) for a, b in pairwise(neuron)
        )
        self.heads = torch.nn.ModuleList(
            _linear(neuron[-1], width, dtype, generator) for width in channels
        )
        with torch.no_grad():
            for head in self.heads:
                # A dressing of zero is the bare radial net: start near it.
                assert isinstance(head, torch.nn.Linear)
                head.bias.zero_()

    def of_types(self, tebd: torch.Tensor) -> torch.Tensor:
        """Return the first layer's sum over the type embeddings, (nt², n_hidden)."""
        weight, d = self.first.weight, self.tebd_dim
        centre = tebd @ weight[:, :d].t() + self.first.bias
        neighbour = tebd @ weight[:, d : 2 * d].t()
        pairs = centre.unsqueeze(1) + neighbour.unsqueeze(0)
        return pairs.view(tebd.shape[0] * tebd.shape[0], weight.shape[0])

    def forward(
        self,
        tebd: torch.Tensor,
        type_i: torch.Tensor,
        type_ij: torch.Tensor,
        invariants: torch.Tensor,
    ) -> list[torch.Tensor]:
        """Return g of each pair for each kind of rows.

        Parameters
        ----------
        tebd
            Type embedding, (nt, tebd_dim).
        type_i
            Types of the central atoms, (nf, nloc).
        type_ij
            Types of the neighbours, (nf, nloc, nnei).
        invariants
            Even spin invariants, (nf, nloc, nnei, n_invariants), dimensionless.

        Returns
        -------
        list
            For each head (nf, nloc, nnei, channels), dimensionless.
        """
        index = pair_of_types(type_i, type_ij, tebd.shape[0])
        typed = torch.nn.functional.embedding(index, self.of_types(tebd))
        invariant_weight = self.first.weight[:, 2 * self.tebd_dim :]
        x = torch.tanh(typed + invariants @ invariant_weight.t())
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        dressings: list[torch.Tensor] = []
        for head in self.heads:
            dressings.append(head(x))  # noqa: PERF401 (TorchScript)
        return dressings
