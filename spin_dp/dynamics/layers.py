# SPDX-License-Identifier: LGPL-3.0-or-later
"""Layers of metals: how far they are apart, and how thick their slabs are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from spin_dp.neighbours import Pairs

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

REACH = 7.0
"""Å; metals of the next layer are nearer, those of the one after it are not."""
_IN_LAYER, _BOND = 3.3, 2.7  # Å
_BETWEEN = 2.5  # Å; layers of metals are farther apart, atoms of one layer are not
_FLAT = 0.15
"""Mean square cosine between the normal and the way to metals next to each other:
some hundredths at most in a layer with vibrations, up to a tenth with one metal of
sixteen between the layers, a third in rocksalt and spinel."""


@dataclass(frozen=True)
class Layers:
    """Layers of a crystal.

    Attributes
    ----------
    spacing
        From one layer of metals to the next, Å.
    slab
        Between the oxygens below and above a layer of metals, Å; the gallery of the
        alkali atoms is what is left of the spacing.
    """

    spacing: float
    slab: float


def find_layers(
    cell: Floats, positions: Floats, pairs: Pairs, metals: Mask, ligands: Mask
) -> Layers | None:
    """Return the layers of a crystal; None where its metals are not in layers.

    The normal is the direction that is most perpendicular to the ways from each metal
    to those next to it, so that any cell will do.

    Parameters
    ----------
    cell, positions
        (3, 3) and (n, 3), Å.
    pairs
        Of atoms up to :data:`REACH`.
    metals, ligands
        Which atoms they are, (n,).
    """
    first, second, distances = pairs.first, pairs.second, pairs.distances
    ways = positions[second] + pairs.shifts @ cell - positions[first]
    both = metals[first] & metals[second]
    near = both & (distances < _IN_LAYER)
    if not near.any():
        return None
    units = ways[near] / distances[near, None]
    flatness, directions = np.linalg.eigh(units.T @ units / len(units))
    if flatness[0] > _FLAT:
        return None
    heights = np.abs(ways @ directions[:, 0])
    between = both & (heights > _BETWEEN)
    bonds = metals[first] & ligands[second] & (distances < _BOND)
    if not (between.any() and bonds.any()):
        return None
    return Layers(float(heights[between].mean()), 2.0 * float(heights[bonds].mean()))
