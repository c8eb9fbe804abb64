# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which frames show the same geometry.

Frames are of one geometry if the source says so (``geometry_id``), or if cell and
positions agree within the rounding of an OUTCAR, whatever the order of the atoms and
the periodic image they are written in. Ionic steps of one run are different geometries.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.spin_states.elements import type_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spin_dp.data_tools.frame import Array, Frame

_WAVES = np.array(
    [
        *([1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]),
        *([1, 2, 3], [2, 3, 1], [3, 1, 2], [1, -2, 1]),
    ],
    dtype=np.float64,
)
_ROUNDING_ANGSTROM = 2.0e-5  # an OUTCAR gives positions to 1e-5 Å


def fingerprint(frame: Frame) -> Array:
    """Return cell and structure factors, scaled so that differences are lengths in Å.

    A structure factor does not depend on the order of the atoms or on periodic images.
    Rounding of all positions by d changes its scaled value by less than d, a move of
    one atom among a hundred by d/30.

    Parameters
    ----------
    frame
        The frame; only cell, positions and elements count.

    Returns
    -------
    Array
        Fingerprint to be compared within one composition, (29,), Å.
    """
    order = type_order(frame.symbols)
    weights = np.array([1.0 + 0.1 * order.index(symbol) for symbol in frame.symbols])
    fractional = np.linalg.solve(frame.cell.T, frame.positions.T).T
    phases = 2.0 * np.pi * fractional @ _WAVES.T  # (nloc, waves)
    factors = weights @ np.exp(1j * phases)
    slopes = 2.0 * np.pi * np.linalg.norm(np.linalg.solve(frame.cell, _WAVES.T), axis=0)
    scale = 3.0 * slopes * np.sqrt(np.square(weights).sum())
    scaled = factors / scale
    return np.concatenate([frame.cell.ravel(), scaled.real, scaled.imag])


def same_geometry(
    fingerprints: Sequence[Array], geometry_ids: Sequence[str | None]
) -> list[int]:
    """Give each different geometry a number.

    Parameters
    ----------
    fingerprints
        What :func:`fingerprint` gives for frames of one composition, (nf, 29), Å.
    geometry_ids
        Name of the geometry where the source gives one, (nf,).

    Returns
    -------
    list of int
        For each frame the number of its geometry, from 0 in order of appearance.
    """
    pairs = [*_same_name(geometry_ids), *_same_shape(fingerprints)]
    return connected(len(fingerprints), pairs)


def connected(n_items: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return group numbers, equal where pairs connect, in order of appearance."""
    parent = list(range(n_items))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for first, second in pairs:
        a, b = sorted((root(first), root(second)))
        parent[b] = a
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(i), len(numbers)) for i in range(n_items)]


def _same_name(geometry_ids: Sequence[str | None]) -> list[tuple[int, int]]:
    members: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(geometry_ids):
        if name is not None:
            members[name].append(index)
    return [(group[0], other) for group in members.values() for other in group[1:]]


def _same_shape(fingerprints: Sequence[Array]) -> list[tuple[int, int]]:
    """Return pairs with equal fingerprints, found along one sorted combination."""
    if len(fingerprints) < 2:
        return []
    prints = np.stack(fingerprints)  # (nf, 29), Å
    weights = np.cos(np.arange(prints.shape[1]) + 0.5)
    combined = prints @ weights
    window = _ROUNDING_ANGSTROM * np.abs(weights).sum()
    order = np.argsort(combined, kind="stable")
    ends = np.searchsorted(combined[order], combined[order] + window, side="right")
    pairs = []
    for place, index in enumerate(order):
        others = order[place + 1 : ends[place]]
        apart = np.abs(prints[others] - prints[index]).max(axis=1, initial=0.0)
        pairs += [(int(index), int(o)) for o in others[apart < _ROUNDING_ANGSTROM]]
    return pairs
