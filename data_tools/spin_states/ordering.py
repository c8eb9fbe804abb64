# SPDX-License-Identifier: LGPL-3.0-or-later
"""A canonical name for the magnetic ordering of a frame.

Two frames have one tag if a symmetry of the undistorted metal sublattice, a renaming of
equal atoms or the reversal of all signs takes one ordering into the other. Nothing but
the frame is used, and anions, lithium and small displacements do not matter:

1. Translations that take the metal sites into one another, to within thermal
   displacements, give the primitive cell of the sublattice; its sites are averages.
2. Sites are neighbours when no third site sees the two under an obtuse angle (a Gabriel
   graph with slack). Angles are taken in the standard realisation of the graph [1]_,
   where every site is the centre of its neighbours and the edges favour no direction:
   it depends on the graph alone, so that strain and axial ratios do not count.
3. Triples of edges that see the same graph in the same coordinates differ by a symmetry
   of the graph; of these, the ones that the real metric tells apart are dropped.
4. For each site and triple, the surroundings are hashed shell by shell in the
   coordinates of the triple until no more sites become distinct. The smallest hash is
   the tag.

References
----------
.. [1] M. Kotani and T. Sunada, Trans. Amer. Math. Soc. 353, 1 (2001); for canonical
   forms of crystal nets O. Delgado-Friedrichs and M. O'Keeffe, Acta Cryst. A59, 351
   (2003).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from itertools import permutations, product
from typing import TYPE_CHECKING

import numpy as np
import spglib

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Hashes = npt.NDArray[np.uint64]

_DISPLACED_ANGSTROM = 0.5  # rms misfit of a translation that still counts as one
_STRETCH_LOG = 0.55
_OBTUSE_COSINE = float(np.cos(np.deg2rad(92.0)))  # cubic nets: 90, 109.5, 120 degrees
_REACHES = (2.6, 4.0, 6.0, 10.0)  # of candidate neighbours, in (volume per site)^(1/3)
_STRETCH = 1.12  # lengths nearer than this are taken for distorted equals
_GRID = 1234.567  # irregular, so that no simple fraction lies where rounding turns
_MODE = 1


@dataclass(frozen=True)
class _Sublattice:
    """Metal sites as copies of the sites of a primitive cell."""

    basis: Floats  # (3, 3) rows, Å
    points: Floats  # (np, 3), fractional
    member: Ints  # (nsites,) which point a site is a copy of
    shift: Ints  # (nsites, 3) its primitive cell
    supercell: Ints  # (3, 3) rows of the frame's cell in the primitive basis


@dataclass(frozen=True)
class _Net:
    """Edges of the primitive cell, sorted by start, in the standard realisation."""

    start: Ints  # (ne,)
    end: Ints  # (ne,)
    cell: Ints  # (ne, 3) cell of the end
    vectors: Floats  # (ne, 3), fractional
    lengths_sq: Floats  # (ne,), in units of their mean


def ordering_tag(
    symbols: Sequence[str],
    cell: npt.ArrayLike,
    positions: npt.ArrayLike,
    labels: Sequence[str],
    signs: npt.ArrayLike,
) -> str:
    sites = np.flatnonzero([bool(label) for label in labels])
    signs_i = np.asarray(signs, dtype=np.int64)[sites]
    names = [(symbols[i], labels[i]) for i in sites]
    if _is_trivial(names, signs_i):
        return ""
    sublattice = _sublattice(
        np.asarray(cell, dtype=np.float64),
        np.asarray(positions, dtype=np.float64)[sites],
    )
    net = _net(sublattice)
    frames = _frames(net, sublattice.basis)
    seeds = _seeds(names, signs_i)  # (nsites, 2): as given and reversed
    tag = min(_environments(sublattice, net, frames, seed).min() for seed in seeds)
    return f"{int(tag) & 0xFFFFF:05x}"


def _is_trivial(names, signs):
    return (
        len(set(names)) == len({s for s, _ in names})
        and len(set(signs[signs != 0].tolist())) < 2
    )


def _seeds(names, signs):
    return [
        np.array(
            [
                int.from_bytes(
                    blake2b(f"{e} {l} {f * s}".encode(), digest_size=8).digest(),
                    "little",
                )
                for (e, l), s in zip(names, signs, strict=True)
            ],
            dtype=np.uint64,
        )
        for f in (1, -1)
    ]


def _sublattice(cell, positions):
    cell = np.asarray(spglib.niggli_reduce(cell))
    frac = np.linalg.solve(cell.T, positions.T).T
    _, images, steps, _ = _mappings(frac[None], frac, cell @ cell.T)
    basis = _shortest_basis(steps, cell)
    if abs(np.linalg.det(basis)) * len(steps) < 0.999:
        images, basis = images[:1], np.eye(3)
    _, first, member = np.unique(images.min(axis=0), return_index=True, return_inverse=True)
    inverse = np.linalg.inv(basis)
    inner = frac @ inverse
    shift = np.rint(inner - inner[first][member]).astype(np.int64)
    points = np.zeros((len(first), 3))
    np.add.at(points, member, inner - shift)
    points /= len(images)
    basis, points = _symmetrised(basis @ cell, points)
    return _Sublattice(basis, points, member, shift, np.rint(inverse).astype(np.int64))


def _mappings(moved, frac, metric):
    """Moved (m, n, 3) -> which of m, images (k, n), steps (k, 3), misfits (k,n,3) by image"""
    n = len(frac)
    pairs = frac - moved[:, :, None]  # (m, n from, n to, 3)
    off = pairs[:, None] - pairs[:, 0][:, :, None, None]  # (m, step, from, to, 3)
    off -= np.rint(off)
    image = ((off @ metric) * off).sum(-1).argmin(-1)  # (m, step, from)
    misfit = np.take_along_axis(off, image[..., None, None], axis=3)[..., 0, :]
    drift = misfit.mean(axis=2)
    misfit -= drift[:, :, None]
    spread = ((misfit @ metric) * misfit).sum((-1, -2)) / n
    one_to_one = (np.sort(image, axis=-1) == np.arange(n)).all(-1)
    which, step = np.nonzero(one_to_one & (spread < _DISPLACED_ANGSTROM**2))
    return which, image[which, step], pairs[which, 0, step] + drift[which, step], misfit[which, step]


def _symmetrised(basis, points):
    metric = basis @ basis.T
    ops, far = _near_isometries(metric)
    which, images, _, misfits = _mappings(points @ ops, points, metric)
    ops, far = ops[which], far[which]
    group = _largest_group(ops, far)
    ops, images, misfits = ops[group], images[group], misfits[group]
    metric = (ops @ metric @ ops.transpose(0, 2, 1)).mean(axis=0)
    shift = np.zeros_like(points)
    np.add.at(shift, images, misfits)
    return np.linalg.cholesky(metric), points - shift / len(ops)


def _near_isometries(metric):
    grid = np.array(list(product((-1, 0, 1), repeat=3)))
    lengths = np.einsum("ij,jk,ik->i", grid, metric, grid)
    rows = [grid[np.abs(np.log(np.maximum(lengths, 1e-9) / metric[i, i])) < _STRETCH_LOG] for i in range(3)]
    a, b, c = (r.ravel() for r in np.meshgrid(*(np.arange(len(r)) for r in rows), indexing="ij"))
    ops = np.stack([rows[0][a], rows[1][b], rows[2][c]], axis=1)
    det = np.einsum("ij,ij->i", ops[:, 0], np.cross(ops[:, 1], ops[:, 2]))
    ops = ops[np.abs(det) == 1]
    inv = np.linalg.inv(metric)
    ratio = inv @ ops @ metric @ ops.transpose(0, 2, 1)
    trace = np.einsum("nii->n", ratio)
    ok = trace - 3 < 3
    ops, ratio = ops[ok], ratio[ok]
    far = np.sqrt((np.log(np.abs(np.linalg.eigvals(ratio)))**2).sum(-1))
    keep = far < _STRETCH_LOG
    return ops[keep], far[keep]


def _largest_group(ops, far):
    places = {op.tobytes(): i for i, op in enumerate(ops)}
    table = [[places.get(p.tobytes(), -1) for p in row] for row in ops[:, None] @ ops]
    if all(-1 not in row for row in table):
        return list(range(len(ops)))
    best: list[int] = []
    order = np.argsort(far, kind="stable").tolist()
    for first in order:
        group = _closure([first], table)
        for op in order:
            if group and op not in group:
                group = _closure([*group, op], table) or group
        key = (len(group), -max((far[i] for i in group), default=0.0))
        if key > (len(best), -max((far[i] for i in best), default=0.0)):
            best = sorted(group)
    return best


def _closure(generators, table):
    """Return the group, or an empty set if it leaves the table."""
    group = set(generators)
    fresh = list(group)
    while fresh:
        products = {table[i][g] for i in fresh for g in generators}
        if -1 in products:
            return set()
        fresh = list(products - group)
        group |= products
    return group


def _shortest_basis(steps, cell):
    grid = np.array(list(product((-1, 0, 1), repeat=3)))
    vectors = (steps[:, None] + grid).reshape(-1, 3)
    cart = vectors @ cell
    cart_len = np.linalg.norm(cart, axis=1)
    order = np.argsort(cart_len)
    order = order[cart_len[order] > 1e-3]
    cart, vectors = cart[order], vectors[order]
    unit = cart / np.linalg.norm(cart, axis=1)[:, None]
    second = int(
        np.flatnonzero(np.linalg.norm(np.cross(unit[0], unit), axis=1) > 1e-4)[0]
    )
    normal = np.cross(unit[0], unit[second])
    third = int(np.flatnonzero(np.abs(unit @ normal) > 1e-4)[0])
    return vectors[[0, second, third]]


def _net(sublattice):
    points = sublattice.points
    for reach in _REACHES:
        basis = sublattice.basis
        seen = []
        for _ in range(12 if _MODE else 1):
            edges = _neighbours(points, basis, reach)
            key = edges.tobytes()
            if key in seen:
                break
            seen.append(key)
            net = _realise(points, edges)
            if net is None:
                break
            net_, points_, _ = net
            if _MODE >= 1:
                points = points_
        if net is not None:
            break
    return net_


def _neighbours(points, basis, reach):
    """(ne, 5) start, end, cell"""
    volume = abs(np.linalg.det(basis))
    radius = reach * (volume / len(points)) ** (1 / 3)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(basis), axis=0)
    spread = np.ptp(points, axis=0)
    counts = np.ceil(radius / heights + spread).astype(int)
    grid = np.array(list(product(*(range(-n, n + 1) for n in counts))))
    found = []
    for start, point in enumerate(points):
        vectors = (points[:, None] + grid - point) @ basis  # (np, ncell, 3)
        squares = np.einsum("ijk,ijk->ij", vectors, vectors)
        end, image = np.nonzero((squares < radius**2) & (squares > 1e-6))
        near = vectors[end, image]
        gram = near @ near.T
        sq = np.diag(gram)
        # the angle at k between site and j
        dot = sq[None, :] - gram  # [j, k]
        apart = sq[:, None] + sq[None, :] - 2 * gram
        blocked = (
            dot < _OBTUSE_COSINE * np.sqrt(np.maximum(sq[None] * apart, 0.0))
        ).any(axis=1)
        keep = ~blocked
        n = int(keep.sum())
        found.append(np.column_stack([np.full(n, start), end[keep], grid[image[keep]]]))
    return np.concatenate(found)


def _realise(points, edges):
    start, end, cell = edges[:, 0], edges[:, 1], edges[:, 2:]
    n = len(points)
    laplacian = np.zeros((n, n))
    np.add.at(laplacian, (start, start), 1.0)
    np.add.at(laplacian, (start, end), -1.0)
    pull = np.zeros((n, 3))
    np.add.at(pull, start, cell.astype(float))
    placed = np.linalg.lstsq(laplacian, pull, rcond=1e-9)[0]
    vectors = placed[end] + cell - placed[start]
    tensor = vectors.T @ vectors
    if np.linalg.matrix_rank(tensor) < 3 or np.linalg.matrix_rank(laplacian) < n - 1:
        return None
    basis = np.linalg.cholesky(np.linalg.inv(tensor))
    sq = np.square(vectors @ basis).sum(axis=1)
    return _Net(start, end, cell, vectors, sq / sq.mean()), placed, basis


def _frames(net, basis):
    cands = []
    ranks = np.rint(net.lengths_sq * _GRID).astype(int)
    for p in range(int(net.start.max()) + 1):
        here = np.flatnonzero(net.start == p)
        groups = [here[ranks[here] == r] for r in np.unique(ranks[here])]
        full = [
            g for g in groups if np.linalg.matrix_rank(net.vectors[g], tol=1e-6) == 3
        ]
        if full:
            pool = min(full, key=len)
        else:
            m = 1
            while (
                np.linalg.matrix_rank(net.vectors[np.concatenate(groups[:m])], tol=1e-6)
                < 3
            ):
                m += 1
            pool = np.concatenate(groups[:m])
        triples = net.vectors[np.array(list(permutations(pool, 3)))]
        cands.append(triples[np.abs(np.linalg.det(triples)) > 1e-6])
    frames = np.concatenate(cands)
    n = len(set(net.start.tolist()))
    plain = _Sublattice(
        basis,
        np.zeros((n, 3)),
        np.arange(n),
        np.zeros((n, 3), int),
        np.eye(3, dtype=int),
    )
    marks = _environments(plain, net, frames, np.zeros(n, dtype=np.uint64)).min(axis=0)
    frames = frames[marks == marks.min()]
    for f in ([1, 0, 0], [0, 1, 0], [0, 0, 1], [1, -1, 0], [0, 1, -1], [-1, 0, 1]):
        lengths = np.linalg.norm(np.einsum("i,fij->fj", f, frames) @ basis, axis=1)
        frames = frames[lengths < _STRETCH * lengths.min()]
    return frames


def _environments(sublattice, net, frames, seed):
    coords = np.einsum("ek,fkl->efl", net.vectors, np.linalg.inv(frames))
    ints = np.rint(coords * _GRID).astype(np.int64).astype(np.uint64)
    keys = _mix(
        ints
        @ np.array(
            [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9],
            dtype=np.uint64,
        )
    )
    ends, offsets, edge = _copies(sublattice, net)
    keys = keys[edge]
    colours = np.repeat(_mix(seed)[:, None], len(frames), axis=1)
    distinct, grown = 0, len(np.unique(colours))
    while grown > distinct:
        distinct = grown
        colours = _step(colours, keys, ends, offsets)
        grown = len(np.unique(colours))
    return _step(colours, keys, ends, offsets)


def _step(colours, keys, ends, offsets):
    return _mix(
        _mix(colours) + np.add.reduceat(_mix(keys + colours[ends]), offsets, axis=0)
    )


def _copies(sub, net):
    """Edges of all sites: end site, offset of each site's first edge, primitive edge."""
    counts = np.bincount(net.start)
    firsts = np.cumsum(counts) - counts
    edge = np.concatenate(
        [np.arange(firsts[p], firsts[p] + counts[p]) for p in sub.member]
    )
    per = counts[sub.member]
    offsets = np.cumsum(per) - per
    origin = np.repeat(np.arange(len(sub.member)), per)
    det = int(round(np.linalg.det(sub.supercell)))
    adj = np.rint(np.linalg.inv(sub.supercell) * det).astype(np.int64)

    def key(member, shift):
        r = (shift @ adj) % abs(det)
        return ((member * abs(det) + r[:, 0]) * abs(det) + r[:, 1]) * abs(det) + r[:, 2]

    own = key(sub.member, sub.shift)
    order = np.argsort(own)
    want = key(net.end[edge], sub.shift[origin] + net.cell[edge])
    place = order[np.searchsorted(own[order], want).clip(max=len(own) - 1)]
    assert (own[place] == want).all()
    return place, offsets, edge


def _mix(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
