# SPDX-License-Identifier: LGPL-3.0-or-later
"""Angular parts of the environment-matrix rows beyond the vector."""

from __future__ import annotations

import math

import torch

N_QUADRUPOLE = 5
"""Number of independent components of a quadrupole."""


def quadrupole(direction: torch.Tensor) -> torch.Tensor:
    """Return the five real spherical harmonics of rank 2 of unit vectors.

    √3 xy, √3 yz, √3 xz, (3z² - 1)/2, √3/2 (x² - y²): normalised so that their scalar
    product between two directions is the Legendre polynomial P₂ of the cosine, as that
    of the vectors is P₁.

    Parameters
    ----------
    direction
        Unit vectors, (..., 3).

    Returns
    -------
    torch.Tensor
        Components, (..., 5), dimensionless.
    """
    x, y, z = direction[..., 0], direction[..., 1], direction[..., 2]
    root = math.sqrt(3.0)
    return torch.stack(
        [
            root * x * y,
            root * y * z,
            root * x * z,
            1.5 * z * z - 0.5,
            0.5 * root * (x * x - y * y),
        ],
        dim=-1,
    )
