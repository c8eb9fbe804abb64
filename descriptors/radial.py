# SPDX-License-Identifier: LGPL-3.0-or-later
"""The smooth radial weight s(r) of the Deep Potential environment matrix."""

from __future__ import annotations

import torch  # noqa: TC002 (TorchScript reads the annotations)


def smooth_switch(distance: torch.Tensor, inner: float, outer: float) -> torch.Tensor:
    """Return a weight falling smoothly from 1 to 0 between two radii.

    With u = (r - inner) / (outer - inner): 1 below ``inner``, u³(-6u² + 15u - 10) + 1
    between the radii, 0 (exactly) from ``outer`` on; C² at both radii.

    Parameters
    ----------
    distance
        Pair distances, any shape, Å.
    inner, outer
        Radii where the decay begins and ends, Å.

    Returns
    -------
    torch.Tensor
        Weights, same shape, dimensionless.

    References
    ----------
    Zhang et al., NeurIPS 31 (2018), eq. 5 (DeepPot-SE); the quintic of deepmd-kit.
    """
    u = ((distance - inner) / (outer - inner)).clamp(0.0, 1.0)
    return u * u * u * (u * (15.0 - 6.0 * u) - 10.0) + 1.0


def smooth_switch_slope(
    distance: torch.Tensor, inner: float, outer: float
) -> torch.Tensor:
    """Return the derivative of :func:`smooth_switch` in the distance, 1/Å."""
    u = ((distance - inner) / (outer - inner)).clamp(0.0, 1.0)
    return u * u * (u * (60.0 - 30.0 * u) - 30.0) / (outer - inner)


def radial_weight(distance: torch.Tensor, inner: float, outer: float) -> torch.Tensor:
    """Return s(r) = w(r) / r, the first column of the environment matrix.

    Parameters
    ----------
    distance
        Pair distances, any shape, Å, all positive.
    inner, outer
        Radii of :func:`smooth_switch`, Å.

    Returns
    -------
    torch.Tensor
        s(r), same shape, 1/Å.
    """
    return smooth_switch(distance, inner, outer) / distance
