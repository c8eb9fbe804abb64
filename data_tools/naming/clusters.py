# SPDX-License-Identifier: LGPL-3.0-or-later
"""Clusters of moments: where the moments of one element pile up, and where they part.

The density of |m| over all sites of one element (at one level of theory) is estimated
with a Gaussian kernel. Clusters are parted at its minima that are clearly lower than
the maxima on both sides. Small clusters are meant: two that belong to one spin state
get one name later, but a cluster that holds two states cannot be mended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

FINE_MUB, COARSE_MUB = 0.08, 0.2
"""Widths of the kernel: to find states, and to name moments that have none."""
_DEPTH = 0.6  # a minimum parts two maxima if it is below this share of the lower one
_STEP_MUB = 0.01
_PADDING_MUB = 1.0


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters of the moments of one element.

    Attributes
    ----------
    boundaries
        Lengths of moments at which clusters part, ascending, (nc - 1,), μB.
    means
        Mean length of each cluster, (nc,), μB.
    """

    boundaries: Array
    means: Array

    def assign(self, lengths: Array) -> npt.NDArray[np.int64]:
        """Return the cluster of each moment, (ns,)."""
        return np.searchsorted(self.boundaries, lengths).astype(np.int64)

    def margins(self, lengths: Array) -> Array:
        """Return the distance of each moment to the nearest boundary, (ns,), μB."""
        if not len(self.boundaries):
            return np.full(len(lengths), np.inf)
        apart: Array = np.abs(lengths[:, None] - self.boundaries).min(axis=1)
        return apart


def find_clusters(lengths: Array, bandwidth: float = FINE_MUB) -> Clusters:
    """Find the clusters of moments.

    Parameters
    ----------
    lengths
        Lengths of the moments of all sites, (ns,), μB; at least one.
    bandwidth
        Standard deviation of the Gaussian kernel, μB.

    Returns
    -------
    Clusters
        In ascending order.
    """
    grid = np.arange(0.0, lengths.max() + _PADDING_MUB, _STEP_MUB)
    density = _density(lengths, grid, bandwidth)
    boundaries = grid[_valleys(density)]
    members = np.searchsorted(boundaries, lengths)
    found, places = np.unique(members, return_inverse=True)
    means = np.bincount(places, weights=lengths) / np.bincount(places)
    return Clusters(boundaries[found[1:] - 1], means)


def _density(lengths: Array, grid: Array, bandwidth: float) -> Array:
    """Return the kernel density; mirrored at zero, so that the peak there is whole."""
    counts = np.bincount(np.rint(lengths / _STEP_MUB).astype(int), minlength=len(grid))
    half = round(4.0 * bandwidth / _STEP_MUB)
    reach = np.arange(-half, half + 1) * _STEP_MUB
    kernel = np.exp(-0.5 * np.square(reach / bandwidth))
    mirrored = np.concatenate([counts[:0:-1], counts]).astype(np.float64)
    mirrored[len(counts) - 1] *= 2.0  # zero is its own mirror image
    smooth: Array = np.convolve(mirrored, kernel, mode="same")[len(counts) - 1 :]
    return smooth


def _valleys(density: Array) -> list[int]:
    """Return the minima that part two maxima, the middle one of a flat minimum."""
    rises = np.diff(density) > 0.0
    falls = np.diff(density) < 0.0
    inner = np.flatnonzero(
        (density[1:-1] >= density[:-2]) & (density[1:-1] > density[2:])
    )
    peaks = [0] if falls[0] else []
    peaks += [int(i) + 1 for i in inner if density[i + 1] > 0.0]
    if rises.size and not peaks:
        peaks = [int(density.argmax())]
    valleys: list[int] = []
    kept = peaks[:1]
    for peak in peaks[1:]:
        low = _lowest(density, kept[-1], peak)
        lower_peak = min(density[kept[-1]], density[peak])
        if density[low] < _DEPTH * lower_peak:
            valleys.append(low)
            kept.append(peak)
        elif density[peak] > density[kept[-1]]:
            kept[-1] = peak
    return valleys


def _lowest(density: Array, start: int, end: int) -> int:
    section = density[start : end + 1]
    flat = np.flatnonzero(section <= section.min() + 1.0e-9)
    return start + int(flat[len(flat) // 2])
