# SPDX-License-Identifier: LGPL-3.0-or-later
"""A canonical name for the magnetic ordering of a frame.

Two frames have one tag if a symmetry of the undistorted metal sublattice, a renaming of
equal atoms or the reversal of all signs takes one ordering into the other. Only the
metal sites of the frame count, neither anions nor lithium:

1. Translations that take the sites into one another, to within thermal displacements,
   give the primitive cell of the sublattice; its sites are averages over the copies.
2. The largest point group that this cell obeys but for a moderate strain gives the
   undistorted metric.
3. Two sites are neighbours if no third site sees them under an obtuse angle (a Gabriel
   graph). Sites then move to the centre of their neighbours (the barycentric placement
   of the net [1]_), and neighbours are sought again until they stay.
4. Triples of edges in whose coordinates the net looks alike are its symmetries; those
   that the undistorted metric forbids are dropped. For each site and triple the
   surroundings are hashed shell by shell until no more sites become distinct. The set
   of these hashes names the ordering, whatever cell it was given in.

Where the metals share their sublattice with lithium at random, displacements hide which
sites are neighbours: if more than eight sites are left in the primitive cell, the tag
stands for the shares of the states and signs alone.

References
----------
.. [1] O. Delgado-Friedrichs and M. O'Keeffe, Acta Cryst. A 59, 351 (2003); for the
   metric in which equal edges are told, M. Kotani and T. Sunada, Trans. Amer. Math.
   Soc. 353, 1 (2001).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import combinations_with_replacement, permutations, product
from typing import TYPE_CHECKING, cast

import numpy as np

from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Hashes = npt.NDArray[np.uint64]

_DISPLACED_ANGSTROM = 0.5  # rms misfit with which an operation still counts as one
# Strain between a cell and its image under an operation, norm of the logarithm of the
# metric: 0.2 for a strain of 3 % alone, 0.4 for C2/m LiMnO2 against R-3m (0.53 with 3 %
# on top), 0.98 for bcc against fcc. Tags of strained frames fail from 0.75 on.
_STRAIN = 0.64
# Symmetry makes 90 degrees common; cubic, layered and spinel nets have no angle from
# there to 104.
_OBTUSE_COSINE = float(np.cos(np.deg2rad(92.0)))
_REACHES = (2.6, 4.0, 6.0, 10.0)  # of candidate neighbours, in (volume per site)^(1/3)
_ROUNDS = 8
_MOST_POINTS = 8  # in a primitive cell; more are the sites of a disordered sublattice
_LENGTH_RATIO = 1.12  # edges nearer than this in length are not told apart
_GRID = 1234.567  # irregular, so that no simple fraction lies where rounding turns
_CELLS = np.array(list(product((-1, 0, 1), repeat=3)), dtype=np.int64)
_SPREAD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], "u8")


@dataclass(frozen=True)
class _Sublattice:
    """Metal sites as copies of the sites of a primitive cell.

    ``basis`` (3, 3) rows, Å, undistorted; ``points`` (np, 3), fractional; ``member``
    (nsites,) the point and ``shift`` (nsites, 3) the primitive cell of each site;
    ``supercell`` (3, 3) rows of a cell of the frame in the primitive basis.
    """

    basis: Floats
    points: Floats
    member: Ints
    shift: Ints
    supercell: Ints


@dataclass(frozen=True)
class _Mappings:
    """Operations that take sites into sites.

    ``which`` (nm,) the operation; ``images`` (nm, nsites) the site each site comes to;
    ``steps`` (nm, 3) the translation; ``misfits`` (nm, nsites, 3) from the moved site
    to its image, of zero mean. Fractional.
    """

    which: Ints
    images: Ints
    steps: Floats
    misfits: Floats


@dataclass(frozen=True)
class _Net:
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


def ordering_tag(
    symbols: Sequence[str],
    cell: npt.ArrayLike,
    positions: npt.ArrayLike,
    labels: Sequence[str],
    signs: npt.ArrayLike,
) -> str:
    """Name the magnetic ordering of one frame.

    Parameters
    ----------
    symbols
        Element of each atom, (nloc,).
    cell
        Cell, (3, 3) rows, Å.
    positions
        Positions, (nloc, 3), Å; any periodic image.
    labels
        State of each atom without its sign, (nloc,); empty for all but metal sites.
    signs
        Sign of the moment of each atom, (nloc,): 1, -1, or 0 where it has none.

    Returns
    -------
    str
        Five hexadecimal digits, of the ordering or, for a disordered sublattice, of
        the shares of the states and signs. Empty if all signs are alike and each
        element has one state, so that there is nothing to order.

    Raises
    ------
    DataError
        If the arrays do not fit the number of atoms, or the cell has no volume.
    """
    cell = np.asarray(cell, dtype=np.float64)
    positions = np.asarray(positions, dtype=np.float64)
    signs = np.asarray(signs, dtype=np.int64)
    _check(len(symbols), cell, positions, len(labels), signs)
    sites = [i for i, label in enumerate(labels) if label]
    states = [(symbols[i], labels[i]) for i in sites]
    signs = signs[sites]
    if len(set(states)) == len({symbol for symbol, _ in states}) and (
        len(set(signs[signs != 0].tolist())) < 2
    ):
        return ""
    sublattice = _sublattice(cell, positions[sites])
    seeds = [_seeds(states, signs), _seeds(states, -signs)]
    if len(sublattice.points) > _MOST_POINTS:
        return min(_digest(_shares(seed)) for seed in seeds)
    net = _net(sublattice)
    ends, offsets, edges = _edges_of_sites(sublattice, net)
    keys = _keys(net, _frames(net, sublattice.basis))[edges]
    return min(
        _digest(np.unique(_refined(seed, keys, ends, offsets))) for seed in seeds
    )


def _check(
    natoms: int, cell: Floats, positions: Floats, nlabels: int, signs: Ints
) -> None:
    if positions.shape != (natoms, 3) or (nlabels, signs.shape) != (natoms, (natoms,)):
        raise DataError(
            f"ordering of {natoms} atoms: expected positions ({natoms}, 3), {natoms} "
            f"labels and signs ({natoms},), got {positions.shape}, {nlabels} and "
            f"{signs.shape}. Pass one entry for each atom, metal or not."
        )
    if not np.isin(signs, (-1, 0, 1)).all():
        raise DataError(
            "ordering: signs must be 1, -1 or 0, got "
            f"{sorted(set(signs.tolist()))}. Pass numpy.sign of the moments."
        )
    finite = np.isfinite(cell).all() and np.isfinite(positions).all()
    if cell.shape != (3, 3) or not finite or abs(np.linalg.det(cell)) < 1.0e-6:
        raise DataError(
            "ordering: expected finite positions and a (3, 3) cell with a volume, got "
            f"the cell {cell.tolist()}. Check the frame."
        )


def _seeds(states: list[tuple[str, str]], signs: Ints) -> Hashes:
    """Return a hash of the element, state and sign of each site, (nsites,)."""
    words = [
        f"{symbol} {label} {sign}".encode()
        for (symbol, label), sign in zip(states, signs.tolist(), strict=True)
    ]
    digests = b"".join(blake2b(word, digest_size=8).digest() for word in words)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _shares(seeds: Hashes) -> Hashes:
    """Return the different seeds and their numbers without a common factor."""
    values, counts = np.unique(seeds, return_counts=True)
    return np.stack([values, (counts // np.gcd.reduce(counts)).astype(np.uint64)])


def _digest(hashes: Hashes) -> str:
    return blake2b(hashes.tobytes()).hexdigest()[:5]


# --- the undistorted sublattice


def _sublattice(cell: Floats, positions: Floats) -> _Sublattice:
    from ase.geometry import minkowski_reduce

    cell = minkowski_reduce(cell)[0]
    fractional: Floats = positions @ np.linalg.inv(cell)
    found = _mappings(fractional[None], fractional, cell @ cell.T)
    basis = _shortest_basis(found.steps, cell)
    sublattice = _folded(fractional, cell, found.images, basis)
    if not _is_whole(sublattice, basis):
        # Strong displacements hide some of the translations and leave no group.
        identity = np.arange(len(positions))[None]
        sublattice = _folded(fractional, cell, identity, np.eye(3))
    basis, points = _undistorted(sublattice.basis, sublattice.points)
    return replace(sublattice, basis=basis, points=points)


def _is_whole(sublattice: _Sublattice, basis: Floats) -> bool:
    """Return whether each point has one copy in each primitive cell of the frame."""
    if not np.allclose(basis @ sublattice.supercell, np.eye(3), atol=1.0e-6):
        return False
    names = _names(sublattice, sublattice.member, sublattice.shift)
    ncells = abs(round(np.linalg.det(sublattice.supercell)))
    return bool(len(np.unique(names)) == len(names) == ncells * len(sublattice.points))


def _folded(
    fractional: Floats, cell: Floats, images: Ints, basis: Floats
) -> _Sublattice:
    """Average the sites that translations take into one another."""
    _, first, member = np.unique(
        images.min(axis=0), return_index=True, return_inverse=True
    )
    inverse = np.linalg.inv(basis)
    inner = fractional @ inverse
    chosen = inner[first]
    shift = np.rint(inner - chosen[member]) + np.rint(chosen)[member]
    points = np.zeros((len(first), 3))
    np.add.at(points, member, (inner - shift) / np.bincount(member)[member, None])
    return _Sublattice(
        basis @ cell,
        points,
        member,
        shift.astype(np.int64),
        np.rint(inverse).astype(np.int64),
    )


def _mappings(moved: Floats, fractional: Floats, metric: Floats) -> _Mappings:
    """Return the translations that take moved sites, (nm, nsites, 3), to sites.

    The drift of a translation from the mean of what its sites ask for is taken off, so
    that pure translations come out as exact fractions.
    """
    nmoved, nsites = moved.shape[:2]
    which, target = (index.ravel() for index in np.indices((nmoved, nsites)))
    blocks = 1 + len(which) * nsites**2 // 300_000
    found = []
    for rows in np.array_split(np.arange(len(which)), blocks):
        steps = fractional[target[rows]] - moved[which[rows], 0]
        arrived = moved[which[rows]] + steps[:, None]
        apart = fractional - arrived[:, :, None]  # (rows, from, to, 3)
        apart -= np.rint(apart)
        images = ((apart @ metric) * apart).sum(-1).argmin(-1)
        misfits = np.take_along_axis(apart, images[..., None, None], axis=2)[:, :, 0]
        drift = misfits.mean(axis=1)
        misfits -= drift[:, None]
        spread = ((misfits @ metric) * misfits).sum(axis=(1, 2)) / nsites
        good = (np.sort(images, axis=1) == np.arange(nsites)).all(axis=1)
        good &= spread < _DISPLACED_ANGSTROM**2
        found.append(
            (which[rows][good], images[good], (steps + drift)[good], misfits[good])
        )
    return _Mappings(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _shortest_basis(steps: Floats, cell: Floats) -> Floats:
    """Return the shortest independent vectors, a basis of the lattice of the steps."""
    vectors = ((steps - np.rint(steps))[:, None] + _CELLS).reshape(-1, 3)
    lengths = np.linalg.norm(vectors @ cell, axis=1)
    order = np.argsort(lengths)
    order = order[lengths[order] > 1.0e-3]
    unit = vectors[order] @ cell / lengths[order, None]
    areas = np.linalg.norm(np.cross(unit[0], unit), axis=1)
    second = int(np.argmax(areas > 1.0e-4))
    volumes = np.abs(unit @ np.cross(unit[0], unit[second]))
    third = int(np.argmax(volumes > 1.0e-4))
    return cast("Floats", vectors[order[[0, second, third]]])


def _undistorted(basis: Floats, points: Floats) -> tuple[Floats, Floats]:
    """Average the metric and the points over the point group of the cell."""
    metric = basis @ basis.T
    operations, strains = _near_isometries(metric)
    found = _mappings(points @ operations, points, metric)
    operations = operations[found.which]
    group = _largest_group(operations, strains[found.which])
    operations = operations[group]
    metric = (operations @ metric @ operations.transpose(0, 2, 1)).mean(axis=0)
    shift = np.zeros_like(points)
    np.add.at(shift, found.images[group], found.misfits[group] / len(operations))
    return np.linalg.cholesky(metric), points - shift


def _near_isometries(metric: Floats) -> tuple[Ints, Floats]:
    """Return integer matrices that keep the metric but for a strain, and the strains.

    With W G Wᵀ the metric after an operation and l the eigenvalues of its ratio to G,
    the strain is the root of sum (l + 1/l - 2), close to that of sum ln² l.
    """
    squares = np.einsum("ij,jk,ik->i", _CELLS, metric, _CELLS)
    squares[squares < 1.0e-9] = np.inf  # no row is zero
    logs = np.abs(np.log(squares / np.diag(metric)[:, None]))
    rows = [_CELLS[near] for near in logs < _STRAIN]
    places = np.indices([len(row) for row in rows]).reshape(3, -1)
    operations = np.stack([row[at] for row, at in zip(rows, places, strict=True)], 1)
    volumes = (operations[:, 0] * np.cross(operations[:, 1], operations[:, 2])).sum(-1)
    operations = operations[np.abs(volumes) == 1]
    ratio = np.linalg.inv(metric) @ operations @ metric @ operations.transpose(0, 2, 1)
    trace = np.einsum("nii->n", ratio)
    inverse_trace = (trace**2 - np.einsum("nij,nji->n", ratio, ratio)) / 2.0
    strains = np.sqrt(np.maximum(trace + inverse_trace - 6.0, 0.0))
    return operations[strains < _STRAIN], strains[strains < _STRAIN]


def _largest_group(operations: Ints, strains: Floats) -> npt.NDArray[np.bool_]:
    """Return which operations form the largest group, inversion put aside.

    Of equal groups the one with the smallest strain counts. Rotations of a lattice form
    groups of at most two generators.
    """
    volumes = np.rint(np.linalg.det(operations)).astype(np.int64)
    rotations, first, kind = np.unique(
        operations * volumes[:, None, None],
        axis=0,
        return_index=True,
        return_inverse=True,
    )
    places = {rotation.tobytes(): i for i, rotation in enumerate(rotations)}
    products = rotations[:, None] @ rotations
    table = [[places.get(entry.tobytes(), -1) for entry in row] for row in products]
    if all(-1 not in row for row in table):
        return np.ones(len(operations), dtype=np.bool_)
    strain = strains[first]
    pairs = combinations_with_replacement(range(len(rotations)), 2)
    groups = {_generated(pair, table) for pair in pairs} - {frozenset()}
    largest = max(groups, key=lambda group: (len(group), -strain[list(group)].max()))
    return np.isin(kind.ravel(), list(largest))


def _generated(generators: tuple[int, int], table: list[list[int]]) -> frozenset[int]:
    """Return the group of the generators, or nothing if it leaves the table."""
    group = fresh = frozenset(generators)
    while fresh:
        products = {table[i][generator] for i in fresh for generator in generators}
        if -1 in products:
            return frozenset()
        fresh = frozenset(products) - group
        group |= fresh
    return group


# --- its net


def _net(sublattice: _Sublattice) -> _Net:
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
            return _Net(start, end, cell, vectors, squares / squares.mean())
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


def _frames(net: _Net, basis: Floats) -> Floats:
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
    views = _refined(blank, _keys(net, frames), net.end, firsts).min(axis=0)
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


def _triples(net: _Net, pool: Ints) -> Floats:
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


# --- hashes of surroundings


def _names(sublattice: _Sublattice, member: Ints, shift: Ints) -> Ints:
    """Return numbers of copies of points, equal where a period of the frame joins."""
    volume = np.linalg.det(sublattice.supercell)
    ncells = abs(round(volume))
    adjugate = np.rint(volume * np.linalg.inv(sublattice.supercell)).astype(np.int64)
    inside = (shift @ adjugate) % ncells
    shape = (len(sublattice.points), *[ncells] * 3)
    return np.ravel_multi_index((member, *inside.T), shape)


def _edges_of_sites(sublattice: _Sublattice, net: _Net) -> tuple[Ints, Ints, Ints]:
    """Return the edges of all sites: end, first edge of each site, edge of the net."""
    counts = np.bincount(net.start)
    numbers = counts[sublattice.member]
    offsets = np.cumsum(numbers) - numbers
    origin = np.repeat(np.arange(len(numbers)), numbers)
    firsts = np.cumsum(counts) - counts
    edges = np.arange(len(origin)) - offsets[origin]
    edges += firsts[sublattice.member[origin]]
    own = _names(sublattice, sublattice.member, sublattice.shift)
    cells = sublattice.shift[origin] + net.cell[edges]
    ends = _names(sublattice, net.end[edges], cells)
    order = np.argsort(own)
    return order[np.searchsorted(own[order], ends)], offsets, edges


def _keys(net: _Net, frames: Floats) -> Hashes:
    """Return a hash of each edge in the coordinates of each frame, (ne, nframes)."""
    coordinates = np.einsum("ek,fkl->efl", net.vectors, np.linalg.inv(frames))
    grid = np.rint(coordinates * _GRID).astype(np.int64).astype(np.uint64)
    return _mixed(grid @ _SPREAD)


def _refined(seeds: Hashes, keys: Hashes, ends: Ints, offsets: Ints) -> Hashes:
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
