# SPDX-License-Identifier: LGPL-3.0-or-later
"""Hops of an ion between neighbouring sites of a crystal, and which of them are alike.

A site is where an ion sits, or an empty octahedron of anions. In close-packed oxides a
hop between two octahedra that share an edge takes one of two ways (A. Van der Ven and
G. Ceder, Electrochem. Solid-State Lett. 3, 301 (2000)): straight through the two anions
of that edge, the oxygen dumbbell, where all sites around it are full; or round them,
through a tetrahedron that shares faces with both and with a third octahedron, where
that one is empty as well. In a spinel ions go from a tetrahedron through an octahedron
to the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from spin_dp.errors import ConfigError, unknown
from spin_dp.neighbours import find_pairs
from spin_dp.properties.migration.sites import IonPlaces
from spin_dp.properties.migration.symmetry import labelled_operations, site_images

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

Vacancies: TypeAlias = Literal["present", "one", "two"]
"""Sites that are empty: those of the structure, or one or two made for each hop."""

VACANCIES: tuple[Vacancies, ...] = ("present", "one", "two")

REACH = 4.0
"""Å: sites that share an edge are 2.8 to 3.2 apart, tetrahedra of a spinel 3.6."""

_CELLS = 16  # cells that a hop may reach, in each direction, and the base of its code


@dataclass(frozen=True, eq=False)
class Hop:
    """A hop between two sites; of all that symmetry makes equal, one.

    Attributes
    ----------
    start, end
        Numbers of the two sites.
    shift
        Cell of the end, with the start in cell zero.
    third, third_shift
        A third site that is empty and shares a tetrahedron with both, and its cell;
        None where there is none.
    way
        What the ion passes: ``dumbbell``, ``tetrahedron``, ``octahedron``, or
        ``N anions``.
    passes
        Where that is, with the start in cell zero, (3,), Å.
    distance
        Between the sites, Å.
    copies
        How many hops of the cell, in either direction counted once, are like it.
    is_symmetric
        Whether a symmetry of the crystal takes it into its reverse.
    """

    start: int
    end: int
    shift: tuple[int, int, int]
    third: int | None
    third_shift: tuple[int, int, int]
    way: str
    passes: Floats
    distance: float
    copies: int
    is_symmetric: bool


@dataclass(frozen=True, eq=False)
class Step:
    """One of the hops that are alike: an edge of the network of sites.

    Attributes
    ----------
    hop
        Number of the hop that stands for it.
    start, end, shift
        As of :class:`Hop`, in the direction of that hop.
    """

    hop: int
    start: int
    end: int
    shift: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class HopNetwork:
    """Sites of an ion in a crystal and the hops between them.

    Attributes
    ----------
    atoms
        The crystal.
    ion
        Element that hops.
    vacancies
        Which sites are empty.
    positions
        Of the sites, (ns, 3), Å.
    occupant
        Atom on each site, -1 on empty ones, (ns,).
    hops
        Distinct ones: first short ones.
    steps
        All of them.
    """

    atoms: Atoms
    ion: str
    vacancies: Vacancies
    positions: Floats
    occupant: Ints
    hops: tuple[Hop, ...]
    steps: tuple[Step, ...]


def find_hops(
    atoms: Atoms,
    *,
    ion: str = "Li",
    vacancies: Vacancies | None = None,
    reach: float = REACH,
    kinds: Sequence[str] | None = None,
    signs: Sequence[int] | None = None,
) -> HopNetwork:
    """Find the hops of an ion that no symmetry makes equal.

    Parameters
    ----------
    atoms
        The crystal, periodic in three directions; left as it is.
    ion
        Element that hops.
    vacancies
        ``present``: into the empty sites that the crystal has. ``one``: from each ion
        to the site of another one, which is taken out. ``two``: the same with a third
        one taken out whose site shares a tetrahedron with both. None: ``present`` where
        an empty site is in reach of an ion, else ``one``.
    reach
        Largest distance between two sites, Å.
    kinds, signs
        Of each atom, (n,): names of states and the signs of their moments. Symmetry has
        to keep the names, and all signs or none of them. None: elements alone count.

    Raises
    ------
    ConfigError
        If there is no such ion or hop, or it is not known what is empty.
    DataError
        If spglib finds no symmetry.
    """
    symbols = atoms.get_chemical_symbols()
    if ion not in symbols:
        raise unknown("ion that hops", ion, set(symbols))
    if vacancies is not None and vacancies not in VACANCIES:
        raise unknown("vacancies", str(vacancies), VACANCIES)
    if not 0.0 < reach < np.inf:
        raise ConfigError(f"reach: expected a positive distance in Å, got {reach}.")
    sites = IonPlaces.of(atoms, ion)
    if vacancies is None:
        vacancies = "present" if sites.pairs(reach, mixed=True) else "one"
    found = list(_candidates(sites, vacancies, reach))
    if not found:
        raise ConfigError(
            f"{atoms.get_chemical_formula()}: no hop of {ion} within {reach:g} Å "
            f"(vacancies: {vacancies}); the nearest sites are "
            f"{sites.nearest():.2f} Å apart. Choose other vacancies or a longer reach."
        )
    operations = labelled_operations(atoms, kinds, signs)
    return _sorted_out(sites, vacancies, found, operations)


@dataclass(frozen=True, eq=False)
class _Candidate:
    start: int
    end: int
    shift: Ints
    third: int
    third_shift: Ints
    passes: Floats


def _candidates(
    sites: IonPlaces, vacancies: Vacancies, reach: float
) -> Iterator[_Candidate]:
    """Return hops in both directions, through each tetrahedron that is open."""
    every = find_pairs(sites.atoms.cell.array, sites.positions, reach)
    around: dict[int, list[tuple[int, Ints]]] = {}
    for first, second, shift in zip(
        every.first.tolist(), every.second.tolist(), every.shifts, strict=True
    ):
        around.setdefault(first, []).append((second, shift))
    none = np.zeros(3, dtype=np.int64)
    for start, end, shift in sites.pairs(reach, mixed=vacancies == "present"):
        ends = [sites.place(start, none), sites.place(end, shift)]
        beside = {(site, *(move + shift)) for site, move in around[end]}
        ways = 0
        for third, move in around[start]:
            may_empty = sites.occupant[third] < 0 or vacancies == "two"
            if (third, *move) not in beside or not may_empty:
                continue
            centre = sites.tetrahedron([*ends, sites.place(third, move)])
            if centre is not None:
                yield _Candidate(start, end, shift, third, move, centre)
                ways += 1
        if not ways and vacancies != "two":
            yield _Candidate(start, end, shift, -1, none, np.mean(ends, axis=0))


def _sorted_out(
    sites: IonPlaces,
    vacancies: Vacancies,
    found: list[_Candidate],
    operations: tuple[NDArray[np.intc], Floats],
) -> HopNetwork:
    """Return one hop of those that are alike."""
    cell = sites.atoms.cell.array
    codes = _Codes(found)
    fractions = sites.positions @ np.linalg.inv(cell)
    images = [np.arange(len(found))]
    for rotation, translation in zip(*operations, strict=True):
        moved = site_images(fractions, rotation, translation, cell)
        if moved is not None:
            images.append(codes.images(rotation, *moved))
    back = codes.reversed()
    orbit, whole = _groups(images), _groups([*images, back])
    full = sites.occupant >= 0
    # An ion starts where one is; of two full sites take one direction.
    lengths = np.array([_distance(sites, one) for one in found])
    order = np.lexsort((np.arange(len(found)), lengths.round(4)))
    forward = [i for i in order if full[found[i].start]]
    chosen = list({int(whole[i]): int(i) for i in reversed(forward)}.values())[::-1]
    hops, steps = [], []
    for number, one in enumerate(chosen):
        alike = np.flatnonzero(whole == whole[one])
        is_symmetric = bool(orbit[back[one]] == orbit[one])
        same = [i for i in alike if orbit[i] == orbit[one]]
        once = [i for i in same if not is_symmetric or i <= back[i]]
        hop = found[one]
        hops.append(
            Hop(
                start=hop.start,
                end=hop.end,
                shift=_triple(hop.shift),
                third=None if hop.third < 0 else hop.third,
                third_shift=_triple(hop.third_shift),
                way=sites.way(hop.passes) if hop.third < 0 else "tetrahedron",
                passes=hop.passes,
                distance=float(lengths[one]),
                copies=len(once),
                is_symmetric=is_symmetric,
            )
        )
        steps += [
            Step(number, found[i].start, found[i].end, _triple(found[i].shift))
            for i in once
        ]
    return HopNetwork(
        sites.atoms,
        sites.ion,
        vacancies,
        sites.positions,
        sites.occupant,
        tuple(hops),
        tuple(steps),
    )


class _Codes:
    """Hops as whole numbers, to find one among many."""

    def __init__(self, found: Sequence[_Candidate]) -> None:
        self._start = np.array([one.start for one in found])
        self._end = np.array([one.end for one in found])
        self._shift = np.array([one.shift for one in found])
        self._third = np.array([one.third for one in found])
        self._third_shift = np.array([one.third_shift for one in found])
        codes = self._encode(
            self._start, self._end, self._shift, self._third, self._third_shift
        )
        self._order = np.argsort(codes)
        self._sorted = codes[self._order]

    def images(self, rotation: Floats, image: Ints, cells: Ints) -> Ints:
        """Return the hop that each comes to by an operation."""
        has_third = self._third >= 0
        moved = self._shift @ rotation.T.astype(np.int64)
        shift = moved + cells[self._end] - cells[self._start]
        moved = self._third_shift @ rotation.T.astype(np.int64)
        third_shift = moved + cells[self._third] - cells[self._start]
        return self._find(
            image[self._start],
            image[self._end],
            shift,
            np.where(has_third, image[self._third], -1),
            np.where(has_third[:, None], third_shift, 0),
        )

    def reversed(self) -> Ints:
        """Return the reverse of each hop."""
        has_third = self._third[:, None] >= 0
        third_shift = np.where(has_third, self._third_shift - self._shift, 0)
        return self._find(
            self._end, self._start, -self._shift, self._third, third_shift
        )

    def _find(self, *arrays: Ints) -> Ints:
        codes = self._encode(*arrays)
        places = np.searchsorted(self._sorted, codes).clip(max=len(self._sorted) - 1)
        found: Ints = self._order[places]
        # What the tolerance of symmetry leaves out stays by itself.
        return np.where(self._sorted[places] == codes, found, np.arange(len(found)))

    @staticmethod
    def _encode(start: Ints, end: Ints, shift: Ints, third: Ints, other: Ints) -> Ints:
        code = start.astype(np.int64)
        for column in (end, third + 1):
            code = code * 4096 + column
        for column in (*shift.T, *other.T):
            code = code * _CELLS + column % _CELLS
        return code


def _groups(links: Sequence[Ints]) -> Ints:
    """Return a number for each hop, the same for hops that are linked, (n,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(links[0])
    columns = np.concatenate(links)
    rows = np.tile(np.arange(n), len(links))
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    groups: Ints = connected_components(graph, directed=False)[1]
    return groups


def _distance(sites: IonPlaces, hop: _Candidate) -> float:
    way = sites.place(hop.end, hop.shift) - sites.positions[hop.start]
    return float(np.linalg.norm(way))


def _triple(shift: Ints) -> tuple[int, int, int]:
    a, b, c = (int(one) for one in shift)
    return a, b, c
