# SPDX-License-Identifier: LGPL-3.0-or-later
"""Named magnetic orderings of sites: ferromagnetic, or planes that alternate."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError, unknown
from spin_dp.spin_states.ordering import OrderedSites

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

FERROMAGNETIC, ANTIFERROMAGNETIC = "FM", "AFM"
_SAME_PLANE = 0.1  # of the mean distance of sites along a direction
_ROUNDING = 0.02  # fractional; so that a plane at 0 is not split between 0 and 1


def named_orderings(
    symbols: Sequence[str], cell: Floats, positions: Floats
) -> dict[str, Ints]:
    """Return the named orderings of magnetic sites.

    Parameters
    ----------
    symbols
        Elements of the sites, (ns,).
    cell, positions
        Cell vectors as rows, (3, 3), and positions of the sites, (ns, 3), Å.

    Returns
    -------
    dict
        Signs, (ns,), by name: ``FM``, all up, and ``AFM-hkl``, planes normal to the
        reciprocal vector hkl of the cell alternating, where as many sites are up as
        down. Of those that a symmetry of the sites or reversal makes equal only the
        first is kept.
    """
    n_sites = len(symbols)
    orderings = {FERROMAGNETIC: np.ones(n_sites, dtype=np.int64)}
    tags: set[str] = set()
    ordered = OrderedSites(symbols, cell, positions)
    fractional = np.linalg.solve(cell.T, positions.T).T
    for direction in sorted(product((0, 1), repeat=3), key=sum):
        signs = _alternating(fractional @ np.array(direction, dtype=float))
        if signs.sum() != 0:
            continue
        tag = ordered.tag(symbols, signs)
        if tag not in tags:
            tags.add(tag)
            name = "".join(map(str, direction))
            orderings[f"{ANTIFERROMAGNETIC}-{name}"] = signs
    return orderings


def _alternating(heights: Floats) -> Ints:
    """Return signs that alternate between planes, (ns,), by heights in periods."""
    height = np.mod(heights + _ROUNDING, 1.0)
    order = np.argsort(height)
    gaps = np.diff(height[order]) > _SAME_PLANE / len(heights) ** (1 / 3)
    plane = np.zeros(len(heights), dtype=np.int64)
    plane[order] = np.concatenate([[0], np.cumsum(gaps)])
    return np.where(plane % 2 == plane[0] % 2, 1, -1)


def find_ordering(
    name: str, symbols: Sequence[str], cell: Floats, positions: Floats
) -> Ints:
    """Return the signs of a named ordering, (ns,).

    Parameters
    ----------
    name
        ``FM``, ``AFM-hkl``, or ``AFM`` where only one such ordering is known.
    symbols, cell, positions
        As for :func:`named_orderings`.

    Raises
    ------
    ConfigError
        If there is no such ordering, or ``AFM`` could be several.
    """
    if name == FERROMAGNETIC:
        return np.ones(len(symbols), dtype=np.int64)
    orderings = named_orderings(symbols, cell, positions)
    if name in orderings:
        return orderings[name]
    alternating = [known for known in orderings if known != FERROMAGNETIC]
    if name == ANTIFERROMAGNETIC and len(alternating) == 1:
        return orderings[alternating[0]]
    if name == ANTIFERROMAGNETIC and alternating:
        raise ConfigError(
            f"ordering AFM of {len(symbols)} sites could be {', '.join(alternating)}; "
            "give one of these names, or the sites one by one."
        )
    if name == ANTIFERROMAGNETIC:
        raise ConfigError(
            f"ordering AFM: no planes of the {len(symbols)} magnetic sites can "
            "alternate in this cell; give a supercell, or the sites one by one."
        )
    raise unknown("magnetic ordering", name, orderings)


def order_name(moments: Floats) -> str:
    """Name a collinear order: FM, AFM (total zero), FiM, single or NM.

    Parameters
    ----------
    moments
        Collinear moments of the magnetic sites, (n,), μB.
    """
    big = moments[np.abs(moments) > 1e-8]
    if len(big) == 0:
        return "NM"
    if np.all(big > 0) or np.all(big < 0):
        return FERROMAGNETIC if len(big) > 1 else "single"
    balanced = abs(big.sum()) < 1e-6 * np.abs(big).sum()
    return ANTIFERROMAGNETIC if balanced else "FiM"
