# SPDX-License-Identifier: LGPL-3.0-or-later
"""A canonical name for the magnetic ordering of a frame.

Two frames have one tag if a symmetry of the undistorted metal sublattice, a renaming of
equal atoms or the reversal of all signs takes one ordering into the other. Only the
metal sites of the frame count, neither anions nor lithium.

For each site and each symmetry of the net of the sublattice
(:mod:`spin_dp.spin_states.net`) the surroundings are hashed shell by shell
until no more sites become distinct. The set of these hashes names the ordering,
whatever cell it was given in.
"""

from __future__ import annotations

from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import DataError
from spin_dp.spin_states.net import (
    Net,
    edge_keys,
    find_net,
    hash_surroundings,
    symmetry_frames,
)
from spin_dp.spin_states.sublattice import (
    Sublattice,
    copy_numbers,
    find_sublattice,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Hashes = npt.NDArray[np.uint64]

_MOST_POINTS = 8  # in a primitive cell; more are the sites of a disordered sublattice


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
    ordered = OrderedSites([symbols[i] for i in sites], cell, positions[sites])
    return ordered.tag([labels[i] for i in sites], signs[sites])


class OrderedSites:
    """Metal sites on which many orderings are named.

    Parameters
    ----------
    elements
        Of each site, (nsites,).
    cell, positions
        Cell vectors as rows, (3, 3), and positions of the sites, (nsites, 3), Å.
    """

    def __init__(
        self, elements: Sequence[str], cell: Floats, positions: Floats
    ) -> None:
        self.elements = elements
        self._cell, self._positions = cell, positions

    def tag(self, labels: Sequence[str], signs: Ints) -> str:
        """Return the tag of states and signs, (nsites,) each; see ordering_tag."""
        states = list(zip(self.elements, labels, strict=True))
        if len(set(states)) == len(set(self.elements)) and (
            len(set(signs[signs != 0].tolist())) < 2
        ):
            return ""
        seeds = [_seeds(states, signs), _seeds(states, -signs)]
        if self._net is None:
            return min(_digest(_shares(seed)) for seed in seeds)
        return min(
            _digest(np.unique(hash_surroundings(seed, *self._net))) for seed in seeds
        )

    @cached_property
    def _net(self) -> tuple[Hashes, Ints, Ints] | None:
        """Edge keys, ends and offsets of the net; None of a disordered sublattice."""
        sublattice = find_sublattice(self._cell, self._positions)
        if len(sublattice.points) > _MOST_POINTS:
            return None
        net = find_net(sublattice)
        ends, offsets, edges = _edges_of_sites(sublattice, net)
        keys = edge_keys(net, symmetry_frames(net, sublattice.basis))[edges]
        return keys, ends, offsets


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


def _edges_of_sites(sublattice: Sublattice, net: Net) -> tuple[Ints, Ints, Ints]:
    """Return the edges of all sites: end, first edge of each site, edge of the net."""
    counts = np.bincount(net.start)
    numbers = counts[sublattice.member]
    offsets = np.cumsum(numbers) - numbers
    origin = np.repeat(np.arange(len(numbers)), numbers)
    firsts = np.cumsum(counts) - counts
    edges = np.arange(len(origin)) - offsets[origin]
    edges += firsts[sublattice.member[origin]]
    own = copy_numbers(sublattice, sublattice.member, sublattice.shift)
    cells = sublattice.shift[origin] + net.cell[edges]
    ends = copy_numbers(sublattice, net.end[edges], cells)
    order = np.argsort(own)
    return order[np.searchsorted(own[order], ends)], offsets, edges
