# SPDX-License-Identifier: LGPL-3.0-or-later
"""Angular parts of the environment-matrix rows beyond the vector."""

from __future__ import annotations

import math

import torch

N_QUADRUPOLE = 5
"""Number of independent components of a quadrupole."""


def quadrupole(direction: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Return the five real spherical harmonics of rank 2 of unit vectors.

    √3 xy, √3 yz, √3 xz, (3z² - 1)/2, √3/2 (x² - y²): normalised so that their scalar
    product between two directions is the Legendre polynomial P₂ of the cosine, as that
    of the vectors is P₁.

    Parameters
    ----------
    direction
        Unit vectors, (..., 3), or with their components along ``dim``.
    dim
        Dimension of the components.

    Returns
    -------
    torch.Tensor
        Components, (..., 5), or along ``dim``, dimensionless.
    """
    x, y, z = direction.unbind(dim)
    root = math.sqrt(3.0)
    return torch.stack(
        [
            root * x * y,
            root * y * z,
            root * x * z,
            1.5 * z * z - 0.5,
            0.5 * root * (x * x - y * y),
        ],
        dim=dim,
    )


def quadrupole_slope(direction: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """Return Σ_k slope_k ∂Y_k/∂u, the components of u taken as independent.

    Parameters
    ----------
    direction
        Unit vectors u, (n, 3, k).
    slope
        Slopes in the five components of :func:`quadrupole`, (n, 5, k).

    Returns
    -------
    torch.Tensor
        Slopes in u, (n, 3, k).
    """
    x, y, z = direction.unbind(1)
    xy, yz, xz, zz, xx = slope.unbind(1)
    root = math.sqrt(3.0)
    return torch.stack(
        [
            root * (xy * y + xz * z + xx * x),
            root * (xy * x + yz * z - xx * y),
            root * (yz * y + xz * x) + 3.0 * zz * z,
        ],
        dim=1,
    )
