# SPDX-License-Identifier: LGPL-3.0-or-later
"""The net of a metal sublattice: neighbours, symmetries, hashes of surroundings.

Two sites are neighbours if no third site sees them under an obtuse angle (a Gabriel
graph). Sites then move to the centre of their neighbours (the barycentric placement of
the net [1]_), and neighbours are sought again until they stay. Triples of edges in
whose coordinates the net looks alike are its symmetries; those that the undistorted
metric forbids are dropped.

References
----------
.. [1] O. Delgado-Friedrichs and M. O'Keeffe, Acta Cryst. A 59, 351 (2003); for the
   metric in which equal edges are told, M. Kotani and T. Sunada, Trans. Amer. Math.
   Soc. 353, 1 (2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, cast

import numpy as np

from spin_dp.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

    from spin_dp.spin_states.sublattice import Sublattice

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Hashes = npt.NDArray[np.uint64]

# Symmetry makes 90 degrees common; cubic, layered and spinel nets have no angle from
# there to 104.
_OBTUSE_COSINE = float(np.cos(np.deg2rad(92.0)))
_REACHES = (2.6, 4.0, 6.0, 10.0)  # of candidate neighbours, in (volume per site)^(1/3)
_ROUNDS = 8
_LENGTH_RATIO = 1.12  # edges nearer than this in length are not told apart
_GRID = 1234.567  # irregular, so that no simple fraction lies where rounding turns
_SPREAD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], "u8")


@dataclass(frozen=True)
class Net:
    """Edges of the primitive cell, sorted by their start.

    ``start``, ``end`` (ne,) points; ``cell`` (ne, 3) of the end; ``vectors`` (ne, 3) in
    the barycentric placement, fractional; ``lengths_sq`` (ne,) in the standard
    realisation, where the edges favour no direction, in units of their mean.
    """

    start: Ints
    end: Ints
    cell: Ints
    vectors: Floats
    lengths_sq: Floats


def find_net(sublattice: Sublattice) -> Net:
    """Find the net of a sublattice.

    Parameters
    ----------
    sublattice
        What :func:`spin_dp.spin_states.sublattice.find_sublattice` gives.

    Returns
    -------
    Net
        In the barycentric placement.

    Raises
    ------
    DataError
        If the sites have no net.
    """
    for reach in _REACHES:
        points, before = sublattice.points, b""
        for _ in range(_ROUNDS):
            start, end, cell = _neighbours(points, sublattice.basis, reach)
            placed = _placed(len(points), start, end, cell)
            now = np.column_stack([start, end, cell]).tobytes()
            if placed is None or now == before:
                break
            points, before = placed, now
        if placed is not None:
            vectors = placed[end] + cell - placed[start]
            whitening = np.linalg.inv(vectors.T @ vectors)
            squares = ((vectors @ whitening) * vectors).sum(axis=1)
            return Net(start, end, cell, vectors, squares / squares.mean())
    raise DataError(
        f"ordering: {len(sublattice.points)} metal sites in the primitive cell form no "
        "connected net. Check the cell for missing metals or a large vacuum."
    )


def _neighbours(points: Floats, basis: Floats, reach: float) -> tuple[Ints, Ints, Ints]:
    """Return start, end and cell of the end of each edge, sorted by start."""
    radius = reach * (abs(np.linalg.det(basis)) / len(points)) ** (1.0 / 3.0)
    counts = np.ceil(
        radius * np.linalg.norm(np.linalg.inv(basis), axis=0) + np.ptp(points, axis=0)
    ).astype(int)
    cells = np.indices(2 * counts + 1).reshape(3, -1).T - counts
    found = []
    for start, point in enumerate(points):
        vectors = (points[:, None] + cells - point) @ basis  # (np, ncells, 3)
        squares = (vectors * vectors).sum(-1)
        end, image = np.nonzero((squares < radius**2) & (squares > 1.0e-6))
        gram = vectors[end, image] @ vectors[end, image].T
        seen = np.diag(gram)  # the site that sees start and end, along the columns
        sides = np.maximum(seen[:, None] + seen - 2.0 * gram, 0.0) * seen
        clear = (seen - gram >= _OBTUSE_COSINE * np.sqrt(sides)).all(axis=1)
        found.append((np.full(clear.sum(), start), end[clear], cells[image[clear]]))
    starts, ends, shifts = (np.concatenate(part) for part in zip(*found, strict=True))
    return starts, ends, shifts


def _placed(npoints: int, start: Ints, end: Ints, cell: Ints) -> Floats | None:
    """Put each point in the centre of its neighbours; None if they do not connect."""
    laplacian = np.zeros((npoints, npoints))
    np.add.at(laplacian, (start, start), 1.0)
    np.add.at(laplacian, (start, end), -1.0)
    pull = np.zeros((npoints, 3))
    np.add.at(pull, start, cell.astype(np.float64))
    placed, _, rank, _ = np.linalg.lstsq(laplacian, pull, rcond=1.0e-9)
    vectors = placed[end] + cell - placed[start]
    if rank < npoints - 1 or not _spans(vectors):
        return None
    return cast("Floats", placed)


def symmetry_frames(net: Net, basis: Floats) -> Floats:
    """Return triples of edges that differ by a symmetry of the net, (nframes, 3, 3)."""
    firsts = np.flatnonzero(np.diff(net.start, prepend=-1))
    pools = np.split(np.arange(len(net.start)), firsts[1:])
    frames = np.concatenate([_triples(net, pool) for pool in pools])
    if not len(frames):  # all edges of each site lie in a plane
        frames = _triples(net, np.arange(len(net.start)))
    volumes = np.abs(np.linalg.det(frames))
    frames = frames[volumes > 1.0e-6]
    rounded = np.rint(frames * _GRID).reshape(-1, 9)
    frames = frames[np.unique(rounded, axis=0, return_index=True)[1]]
    blank = np.zeros(len(firsts), dtype=np.uint64)
    views = hash_surroundings(blank, edge_keys(net, frames), net.end, firsts).min(
        axis=0
    )
    frames = frames[views == views.min()]
    for weights in (
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
        [1, -1, 0],
        [0, 1, -1],
        [1, 0, -1],
    ):
        lengths = np.linalg.norm(np.array(weights) @ frames @ basis, axis=1)
        frames = frames[lengths < _LENGTH_RATIO * lengths.min()]
    return cast("Floats", frames)


def _triples(net: Net, pool: Ints) -> Floats:
    """Return the triples of the smallest set of equal edges that spans space."""
    ranks = np.rint(net.lengths_sq[pool] * _GRID)
    shells = [net.vectors[pool[ranks == rank]] for rank in np.unique(ranks)]
    unions = [np.concatenate(shells[: i + 1]) for i in range(len(shells))]
    spanning = [s for s in (*sorted(shells, key=len), *unions) if _spans(s)]
    if not spanning:
        return np.zeros((0, 3, 3))
    chosen = spanning[0]
    triples = np.array(list(permutations(range(len(chosen)), 3)))
    return cast("Floats", chosen[triples])


def _spans(vectors: Floats) -> bool:
    return bool(np.linalg.matrix_rank(vectors, tol=1.0e-6) == 3)


def edge_keys(net: Net, frames: Floats) -> Hashes:
    """Return a hash of each edge in the coordinates of each frame, (ne, nframes)."""
    coordinates = np.einsum("ek,fkl->efl", net.vectors, np.linalg.inv(frames))
    grid = np.rint(coordinates * _GRID).astype(np.int64).astype(np.uint64)
    return _mixed(grid @ _SPREAD)


def hash_surroundings(seeds: Hashes, keys: Hashes, ends: Ints, offsets: Ints) -> Hashes:
    """Hash growing surroundings of each site in each frame, (nsites, nframes).

    Ends when a further shell no longer splits the sites. Seeds are (nsites,), keys
    (edges, nframes), ends (edges,) sites, offsets (nsites,) the first edge of a site.
    """
    colours = np.repeat(_mixed(seeds)[:, None], keys.shape[1], axis=1)
    before, now = 0, len(np.unique(colours))
    while now > before:
        shells = np.add.reduceat(_mixed(keys + colours[ends]), offsets, axis=0)
        colours = _mixed(_mixed(colours) + shells)
        before, now = now, len(np.unique(colours))
    return colours


def _mixed(values: Hashes) -> Hashes:
    """Scramble the bits (the finaliser of the SplitMix64 generator)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
