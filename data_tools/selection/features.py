# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Numbers that say how far two frames of one composition are apart.

Four blocks stand in one vector; the distance of two frames is its Euclidean distance.
With :math:`g(x) = \exp(-x^2 / 2)` and bins as far apart as they are wide (w):

pairs
    For elements A, B the bins r = 1 ... 6 Å (16) of
    :math:`\sum_{i \in A, j \in B} s(r_{ij})\, g((r_{ij} - r)/w) / \sqrt{N_A N_B}`
    with :math:`s(r) = (1 + \cos(\pi r / r_c)) / 2` below :math:`r_c` = 6 Å: neighbours
    per atom.
moments
    For each element the bins m = 0 ... 8 μB (17) of
    :math:`\sum_i [g((|m_i| - m)/w) + g((|m_i| + m)/w)] / N_A`: share of the atoms (the
    second term is the mirror image at zero, without which it would have an edge there).
products
    For elements A, B of the d and f block the bins x = -5 ... 5 (11) of
    :math:`\sum_{i \in A, j \in B} s(r_{ij})\, g((x_{ij} - x)/w) / 4 \sqrt{N_A N_B}`
    with :math:`x_{ij} = \operatorname{asinh}(m_i \cdot m_j / \mu_B^2)`: share of the
    neighbours (in a layered oxide the weights s of the metals around a metal add up to
    about 4) that are parallel or opposed.
volume
    Volume per atom, Å³.

All blocks are means over the atoms: each atom with one neighbour in another shell,
each in another spin state, all neighbours turned over, or 1 Å³ per atom are distances
of about one. The vector does not change when the frame is translated, rotated (moments
with it or alone) or repeated, when atoms of an element change places or all moments
change sign. It is smooth in positions, cell and moments.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.neighbours import find_pairs
from spin_dp.spin_states.elements import carries_spin_state, type_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from spin_dp.data_tools.frame import Array

CUTOFF = 6.0  # Å
_DISTANCES = np.linspace(1.0, CUTOFF, 16)  # Å
_MOMENTS = np.linspace(0.0, 8.0, 17)  # μB
_PRODUCTS = np.linspace(-5.0, 5.0, 11)  # asinh of μB²
_METAL_NEIGHBOURS = 4.0


def frame_fingerprint(
    symbols: Sequence[str], positions: Array, cell: Array, moments: Array
) -> Array:
    """Return the fingerprint of one periodic frame.

    Parameters
    ----------
    symbols
        Element of each atom, (nloc,).
    positions
        Cartesian positions, (nloc, 3), Å.
    cell
        Cell vectors as rows, (3, 3), Å.
    moments
        Moments, (nloc, 3), μB.

    Returns
    -------
    Array
        The blocks of the module's docstring, elements in the order of
        :func:`spin_dp.spin_states.elements.type_order`; its length is the same for all
        frames of the same elements.
    """
    elements = type_order(symbols)
    types = np.array([elements.index(symbol) for symbol in symbols])
    counts = np.bincount(types).astype(float)
    pairs = find_pairs(cell, positions, CUTOFF)
    ordered = types[pairs.first] <= types[pairs.second]  # A before B, once
    first, second = pairs.first[ordered], pairs.second[ordered]
    distances = pairs.distances[ordered]
    weights = 0.5 * (1.0 + np.cos(np.pi * distances / CUTOFF))
    weights /= np.sqrt(counts[types[first]] * counts[types[second]])
    products = np.arcsinh((moments[first] * moments[second]).sum(axis=1))
    sizes = np.linalg.norm(moments, axis=1)

    def sums(members: npt.NDArray[np.bool_], values: Array, bins: Array) -> Array:
        return np.asarray(weights[members] @ _smeared(values[members], bins))

    blocks = []
    for a, b in combinations_with_replacement(range(len(elements)), 2):
        members = (types[first] == a) & (types[second] == b)
        blocks.append(sums(members, distances, _DISTANCES))
        if carries_spin_state(elements[a]) and carries_spin_state(elements[b]):
            blocks.append(sums(members, products, _PRODUCTS) / _METAL_NEIGHBOURS)
    for a in range(len(elements)):
        of_element = sizes[types == a]
        both = _smeared(of_element, _MOMENTS) + _smeared(-of_element, _MOMENTS)
        blocks.append(both.mean(axis=0))
    blocks.append(np.array([abs(np.linalg.det(cell)) / len(symbols)]))
    return np.concatenate(blocks)


def _smeared(values: Array, bins: Array) -> Array:
    """Return the weight of each value in each bin, (n, bins)."""
    width = bins[1] - bins[0]
    weights: Array = np.exp(-0.5 * ((values[:, None] - bins) / width) ** 2)
    return weights
