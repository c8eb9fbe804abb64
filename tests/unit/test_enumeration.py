# SPDX-License-Identifier: LGPL-3.0-or-later
"""Distinct assignments of states to sites, against going through all of them."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from benchmarks.enumeration.supercells import count_derivatives
from spin_dp.search.enumeration import Enumeration, Limit
from spin_dp.search.symmetry import site_permutations

if TYPE_CHECKING:
    from collections.abc import Sequence

# Codes of up, down, and a state without moment; their charges and moments.
UP, DOWN, NONE = 0, 1, 2
REVERSAL = (DOWN, UP, NONE)
CHARGES, MOMENTS = (3.0, 3.0, 4.0), (1.0, -1.0, 0.0)


def layered(x: int, y: int, z: int) -> Atoms:
    """Return O3 LiNiO2 in a supercell of the primitive rhombohedral cell."""
    hexagonal = crystal(
        ["Ni", "Li", "O"],
        basis=[(0, 0, 0), (0, 0, 0.5), (0, 0, 0.2585)],
        spacegroup=166,
        cellpar=[2.88, 2.88, 14.2, 90, 90, 120],
        primitive_cell=True,
    )
    made: Atoms = hexagonal.repeat((x, y, z))
    return made


def spinel() -> Atoms:
    return crystal(
        ["Li", "Mn", "O"],
        basis=[(1 / 8, 1 / 8, 1 / 8), (1 / 2, 1 / 2, 1 / 2), (0.2632,) * 3],
        spacegroup=227,
        setting=2,
        cellpar=[8.24, 8.24, 8.24, 90, 90, 90],
        primitive_cell=True,
    )


def rutile() -> Atoms:
    return crystal(
        ["Mn", "O"],
        basis=[(0, 0, 0), (0.3046, 0.3046, 0)],
        spacegroup=136,
        cellpar=[4.4, 4.4, 2.87, 90, 90, 90],
    )


def rattled() -> Atoms:
    atoms: Atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


CELLS = {
    "rocksalt cubic": bulk("NiO", "rocksalt", a=4.17, cubic=True),
    "rocksalt doubled": bulk("NiO", "rocksalt", a=4.17).repeat((2, 2, 1)),
    "rocksalt chain": bulk("NiO", "rocksalt", a=4.17).repeat((6, 1, 1)),
    "displaced": rattled(),
    "layered 2x1x1": layered(2, 1, 1),
    "layered 2x2x1": layered(2, 2, 1),
    "layered 3x1x2": layered(3, 1, 2),
    "layered 2x2x2": layered(2, 2, 2),
    "spinel": spinel(),
    "rutile": rutile().repeat((1, 1, 3)),
    "body-centred": bulk("Fe", "bcc", a=2.87, cubic=True).repeat((2, 2, 1)),
    "one atom": bulk("Fe", "bcc", a=2.87),
}


def sites_of(atoms: Atoms) -> list[int]:
    return [i for i, symbol in enumerate(atoms.symbols) if symbol in ("Ni", "Mn", "Fe")]


def orbits(
    options: Sequence[tuple[int, ...]],
    permutations: np.ndarray,
    reversal: tuple[int, ...] | None,
    limits: tuple[Limit, ...],
) -> dict[tuple[int, ...], int]:
    """Return the smallest of each set of equal assignments, and the set's size."""
    found: dict[tuple[int, ...], int] = {}
    for codes in product(*options):
        sums = [sum(limit.values[code] for code in codes) for limit in limits]
        if all(
            limit.lowest <= total <= limit.highest
            for limit, total in zip(limits, sums, strict=True)
        ):
            images = [tuple(codes[k] for k in row) for row in permutations]
            if reversal is not None:
                images += [tuple(reversal[code] for code in one) for one in images]
            smallest = min(images)
            found[smallest] = found.get(smallest, 0) + 1
    return found


def compare(enumeration: Enumeration, expected: dict[tuple[int, ...], int]) -> None:
    made = {tuple(codes.tolist()): number for codes, number in enumeration}
    assert made == expected
    assert enumeration.count_distinct() == len(expected)
    assert enumeration.count_all() == sum(expected.values())


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("has_reversal", [True, False])
@pytest.mark.parametrize("limited", ["no", "charge", "moment", "both"])
def test_distinct_assignments_are_the_orbits(cell, has_reversal, limited) -> None:
    atoms = CELLS[cell]
    sites = sites_of(atoms)
    permutations = site_permutations(atoms, sites)
    options = [(UP, DOWN, NONE)] * len(sites)
    charge = Limit.exactly(CHARGES, 3.0 * len(sites) + len(sites) // 2)
    moment = Limit.exactly(MOMENTS, 0.0)
    limits = {"no": (), "charge": (charge,), "moment": (moment,)}.get(
        limited, (charge, moment)
    )
    reversal = REVERSAL if has_reversal else None
    compare(
        Enumeration(options, permutations, reversal, limits),
        orbits(options, permutations, reversal, limits),
    )


def test_sites_with_other_options_stay_apart() -> None:
    atoms = CELLS["layered 2x2x1"]
    sites = sites_of(atoms)
    options = [(UP, DOWN), (UP, DOWN, NONE), (UP, DOWN), (NONE,)]
    kinds = [tuple(one) for one in options]
    permutations = site_permutations(atoms, sites, kinds)
    assert len(permutations) < len(site_permutations(atoms, sites))
    compare(
        Enumeration(options, permutations, REVERSAL),
        orbits(options, permutations, REVERSAL, ()),
    )


def test_many_rows_are_gone_through_in_parts(monkeypatch) -> None:
    monkeypatch.setattr("spin_dp.search.enumeration._ROWS_AT_ONCE", 7)
    atoms = CELLS["layered 2x2x2"]
    permutations = site_permutations(atoms, sites_of(atoms))
    options = [(UP, DOWN, NONE)] * 8
    compare(
        Enumeration(options, permutations, REVERSAL),
        orbits(options, permutations, REVERSAL, ()),
    )


def test_a_large_cell_is_counted_without_making_any() -> None:
    """Colourings of a chain: necklaces, whose number is known."""
    n = 24
    atoms = Atoms("H" * n, cell=[4.0 * n, 9.0, 9.0], pbc=True)
    atoms.positions[:, 0] = 4.0 * np.arange(n)
    permutations = site_permutations(atoms, list(range(n)))
    assert len(permutations) == 2 * n  # translations, turned around or not
    counted = Enumeration([(UP, DOWN)] * n, permutations).count_distinct()
    totients = {d: sum(np.gcd(d, k) == 1 for k in range(1, d + 1)) for d in range(1, n)}
    totients[n] = 8
    necklaces = sum(totients[d] * 2 ** (n // d) for d in totients if n % d == 0) // n
    assert counted == (necklaces + 3 * 2 ** (n // 2) // 2) // 2  # bracelets
    assert Enumeration([(UP, DOWN)] * n, permutations).count_all() == 2**n


def test_permutations_are_those_of_the_group() -> None:
    atoms = CELLS["layered 2x2x1"]
    rows = site_permutations(atoms, sites_of(atoms))
    known = {tuple(row) for row in rows.tolist()}
    assert len(known) == len(rows)
    assert tuple(rows[0]) == tuple(range(4))
    for one in known:
        assert sorted(one) == list(range(4))
        for other in known:
            assert tuple(one[k] for k in other) in known
    assert len(site_permutations(CELLS["displaced"], range(4))) == 1
    # Translations of a supercell are symmetries, too.
    chain = CELLS["rocksalt chain"]
    assert len(site_permutations(chain, sites_of(chain))) == 12


@pytest.mark.parametrize(
    ("primitive", "element", "codes", "reversal", "numbers"),
    [
        # Up to exchange of the two labels; those with one label only are not counted
        # there, of which there is one, of size 1.
        (bulk("Ni", "fcc", a=3.5), "Ni", (UP, DOWN), (DOWN, UP), [1, 2, 3, 12, 14]),
        (bulk("Fe", "bcc", a=2.87), "Fe", (UP, DOWN, NONE), None, [3, 6, 21, 96]),
        (layered(1, 1, 1), "Ni", (UP, DOWN), None, [2, 3, 10]),
        (layered(1, 1, 1), "Ni", (UP, DOWN, NONE), None, [3, 9, 35]),
        (rutile(), "Mn", (UP, DOWN), None, [3, 15]),
        (spinel(), "Mn", (UP, DOWN, NONE), None, [15]),
    ],
)
def test_there_are_as_many_as_enumlib_finds(
    primitive, element, codes, reversal, numbers
) -> None:
    """By size of their own cell: G. L. W. Hart and R. W. Forcade, Phys. Rev. B 77,
    224115 (2008) and 80, 014120 (2009).

    Recorded from enum.x 2.0.6 by benchmarks/enumeration.
    """
    found = [
        count_derivatives(primitive, element, index, codes, reversal)
        for index in range(1, len(numbers) + 1)
    ]
    assert found == numbers
