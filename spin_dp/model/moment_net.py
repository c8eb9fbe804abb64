# SPDX-License-Identifier: LGPL-3.0-or-later
"""The net that predicts converged moments from a guess of them.

With the features D_i and the spin vectors V_i of the descriptor at a guess m⁰,

    m_i = (1 + a(D_i)) m⁰_i + u(t_i) Σ_k c_k(D_i) V_ik

a and c from one small net, u the typical moment of the type. It turns with the guess
and changes sign with it; without any moment in the guess it predicts none. Moments
induced on oxygen come from V, the sum over neighbouring moments.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence


class MomentNet(torch.nn.Module):
    """Coefficients of the guess and of the spin vectors from the features.

    Parameters
    ----------
    n_features
        Width of D.
    n_vectors
        Number of spin vectors of an atom.
    neuron
        Widths of the hidden tanh layers.
    dtype
        Type of weights and input.
    seed
        Seed of the initial weights; random if None.
    """

    def __init__(
        self,
        n_features: int,
        n_vectors: int,
        neuron: Sequence[int],
        dtype: torch.dtype,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        self.config = {
            "n_features": n_features,
            "n_vectors": n_vectors,
            "neuron": list(neuron),
        }
        widths = [n_features, *neuron, 1 + n_vectors]
        self.layers = torch.nn.ModuleList(
            torch.nn.Linear(a, b, dtype=dtype) for a, b in pairwise(widths)
        )
        with torch.no_grad():
            for layer in self.layers:
                assert isinstance(layer, torch.nn.Linear)
                scale = (layer.in_features + layer.out_features) ** -0.5
                layer.weight.normal_(0.0, scale, generator=generator)
                layer.bias.zero_()

    def forward(
        self,
        features: torch.Tensor,
        vectors: torch.Tensor,
        guess: torch.Tensor,
        unit: torch.Tensor,
    ) -> torch.Tensor:
        """Return predicted moments.

        Parameters
        ----------
        features
            D, (nf, nloc, n_features).
        vectors
            V, (nf, nloc, n_vectors, 3), dimensionless.
        guess
            Moments that D and V were made with, (nf, nloc, 3), μB.
        unit
            Typical moment of each atom's type, zero where it has none, (nf, nloc),
            μB.

        Returns
        -------
        torch.Tensor
            Moments, (nf, nloc, 3), μB, in float64.
        """
        x = features
        last = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number < last:
                x = torch.tanh(x)
        x = x.to(torch.float64)
        mixed = (x[:, :, 1:].unsqueeze(-1) * vectors).sum(-2)  # (nf, nloc, 3)
        own = (1.0 + x[:, :, :1]) * guess
        carries = (unit > 0.0).to(own.dtype).unsqueeze(-1)
        return (own + unit.unsqueeze(-1) * mixed) * carries

    @torch.jit.unused
    def dump(self) -> dict[str, Any]:
        """Return widths and weights as plain numbers and arrays."""
        return {
            "config": self.config,
            "@variables": {
                name: value.detach().cpu().numpy()
                for name, value in self.state_dict().items()
            },
        }

    @classmethod
    def restore(cls, data: dict[str, Any]) -> MomentNet:
        """Rebuild what :meth:`dump` wrote."""
        weights = {n: torch.as_tensor(v) for n, v in data["@variables"].items()}
        made = cls(dtype=next(iter(weights.values())).dtype, **data["config"])
        made.load_state_dict(weights)
        return made
