# SPDX-License-Identifier: LGPL-3.0-or-later
"""A periodic network of sites: how high one has to go to get far, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Edge:
    """A hop between two sites of a periodic network.

    Attributes
    ----------
    start, end
        Sites.
    shift
        Cell of the end, with the start in cell zero.
    forward, back
        Barriers, eV.
    """

    start: int
    end: int
    shift: tuple[int, int, int]
    forward: float
    back: float


@dataclass(frozen=True)
class Percolation:
    """Least heights of a network that leads on without end.

    Attributes
    ----------
    dimensions
        In one, two and three dimensions, eV; inf where it does not.
    along
        With a component along each cell vector, eV.
    """

    dimensions: tuple[float, float, float]
    along: tuple[float, float, float]


def site_energies(sites: int, edges: Sequence[Edge]) -> Floats:
    """Return energies of sites from the differences of barriers, (ns,), eV.

    Parameters
    ----------
    sites
        Number of them.
    edges
        Between them; where rings do not close, least squares.

    Returns
    -------
    ndarray
        The lowest site of each connected part is at zero.
    """
    import networkx as nx

    graph = nx.MultiGraph()
    graph.add_nodes_from(range(sites))
    graph.add_edges_from((one.start, one.end) for one in edges)
    energies = np.zeros(sites)
    links = [one for one in edges if one.start != one.end]
    if links:
        matrix = np.zeros((len(links), sites))
        rows = np.arange(len(links))
        matrix[rows, [one.end for one in links]] = 1.0
        matrix[rows, [one.start for one in links]] = -1.0
        steps = [one.forward - one.back for one in links]
        energies = np.linalg.lstsq(matrix, np.array(steps), rcond=None)[0]
    for part in nx.connected_components(graph):
        places = list(part)
        energies[places] -= energies[places].min()
    return energies


def percolation(
    cell: Floats, edges: Sequence[Edge], energies: Floats | None = None
) -> Percolation:
    """Return the least heights at which a network percolates.

    Edges are taken in the order of their saddle points. A ring of hops that ends in
    another image of where it began leads on without end.

    Parameters
    ----------
    cell
        Vectors as rows, (3, 3), Å.
    edges
        Of the network.
    energies
        Of the sites, eV: heights are those of saddle points above the lowest site.
        None: heights are barriers, the larger one of both directions.
    """
    heights = np.array(
        [
            max(one.forward, one.back)
            if energies is None
            else energies[one.start] + one.forward
            for one in edges
        ]
    )
    parts = _Parts()
    directions = cell / np.linalg.norm(cell, axis=1, keepdims=True)
    dimensions, along = np.full(3, np.inf), np.full(3, np.inf)
    for k in np.argsort(heights, kind="stable"):
        parts.link(edges[k].start, edges[k].end, np.array(edges[k].shift))
        for windings in parts.windings.values():
            rank = np.linalg.matrix_rank(windings)
            dimensions[:rank] = np.minimum(dimensions[:rank], heights[k])
            reached = np.abs(windings @ cell @ directions.T).max(axis=0) > 1e-6
            along[reached] = np.minimum(along[reached], heights[k])
        if np.isfinite(dimensions).all():
            break
    a, b, c = dimensions.tolist()
    d, e, f = along.tolist()
    return Percolation((a, b, c), (d, e, f))


class _Parts:
    """Connected parts of a periodic network, and the rings that leave the cell."""

    def __init__(self) -> None:
        self._root: dict[int, int] = {}
        self._cell: dict[int, Ints] = {}
        self.windings: dict[int, Ints] = {}

    def _find(self, site: int) -> tuple[int, Ints]:
        """Return the root of a site, and the cell of the site seen from it."""
        cell = np.zeros(3, dtype=np.int64)
        while self._root.setdefault(site, site) != site:
            cell = cell + self._cell[site]
            site = self._root[site]
        return site, cell

    def link(self, start: int, end: int, shift: Ints) -> None:
        first, first_cell = self._find(start)
        second, second_cell = self._find(end)
        way = first_cell + shift - second_cell
        if first != second:
            self._root[second], self._cell[second] = first, way
            own = self.windings.pop(second, None)
            if own is not None:
                self._add(first, own)
        elif way.any():
            self._add(first, way[None])

    def _add(self, root: int, ways: Ints) -> None:
        known = self.windings.get(root)
        every = ways if known is None else np.concatenate([known, ways])
        # Those that lead no further than others are not needed.
        kept: list[Ints] = []
        for way in every:
            if np.linalg.matrix_rank(np.array([*kept, way])) > len(kept):
                kept.append(way)
        self.windings[root] = np.array(kept)


def vacancy_diffusivity(
    positions: Floats,
    cell: Floats,
    edges: Sequence[Edge],
    rates: Sequence[tuple[float, float]],
    weights: Floats,
) -> Floats:
    """Return the diffusivity of one walker on a periodic network, (3, 3), m²/s.

    Exact, with the correlations of hops that lead back: the uncorrelated part and what
    biased steps between the sites of a cell take from it (D. R. Trinkle, Philos. Mag.
    96, 2714 (2016), for interstitials).

    Parameters
    ----------
    positions, cell
        Of the sites, (ns, 3), and vectors as rows, (3, 3), Å.
    edges
        Hops of the walker.
    rates
        Of each, forward and back, 1/s.
    weights
        Share of time on each site, (ns,).
    """
    n = len(positions)
    change, bias = np.zeros((n, n)), np.zeros((n, 3))
    bare = np.zeros((3, 3))
    for edge, (forward, back) in zip(edges, rates, strict=True):
        shift = np.array(edge.shift) @ cell
        way = (positions[edge.end] + shift - positions[edge.start]) * 1e-10
        for i, j, rate, step in (
            (edge.start, edge.end, forward, way),
            (edge.end, edge.start, back, -way),
        ):
            change[i, j] += rate
            change[i, i] -= rate
            bias[i] += rate * step
            bare += 0.5 * weights[i] * rate * np.outer(step, step)
    # How far the walker goes later from where a step has led it, all steps together. In
    # equilibrium each step is as likely as the one back, which turns the sign.
    later = np.linalg.lstsq(change, -bias, rcond=None)[0]
    correction = (weights[:, None] * bias).T @ later
    diffusivity: Floats = bare - 0.5 * (correction + correction.T)
    return diffusivity
