# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which hops an ion has in known crystals."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.geometry import find_mic

from spin_dp.errors import ConfigError
from spin_dp.properties.migration import find_hops, surroundings
from spin_dp.properties.migration.ends import supercell_of
from tests.properties.cathodes import layered, spinel


def summary(network):
    return [
        (hop.way, hop.copies, hop.is_symmetric, round(hop.distance, 3))
        for hop in network.hops
    ]


def test_a_layered_oxide_has_one_hop_of_each_kind() -> None:
    """Each of three sites has six neighbours, and two triangles on each edge."""
    assert summary(find_hops(layered())) == [("dumbbell", 9, True, 2.816)]
    assert summary(find_hops(layered(), vacancies="two")) == [
        ("tetrahedron", 18, True, 2.816)
    ]
    primitive = find_hops(layered(primitive=True))
    assert summary(primitive) == [("dumbbell", 3, True, 2.816)]
    assert len(primitive.steps) == 3
    large = find_hops(layered().repeat((2, 2, 1)))
    assert summary(large) == [("dumbbell", 36, True, 2.816)]


def test_a_spinel_has_one_hop_through_the_empty_octahedron() -> None:
    found = find_hops(spinel())
    assert summary(found) == [("octahedron", 16, True, 3.568)]
    # Its empty octahedra are on the way, and no sites.
    assert len(found.positions) == 8
    assert found.vacancies == "one"


def test_hops_do_not_depend_on_how_the_crystal_is_written() -> None:
    atoms = layered().repeat((3, 2, 1))
    del atoms[next(k for k, s in enumerate(atoms.symbols) if s == "Li")]
    expected = summary(find_hops(atoms))
    assert len(expected) > 1
    assert {way for way, *_ in expected} <= {"dumbbell", "tetrahedron"}
    other = atoms[np.random.default_rng(1).permutation(len(atoms))]
    other.rotate(37.0, (1, 2, 3), rotate_cell=True)
    other.positions += 0.37
    other.wrap()
    assert sorted(summary(find_hops(other))) == sorted(expected)


def test_ions_go_into_the_sites_that_are_empty() -> None:
    atoms = layered().repeat((2, 2, 1))
    lithium = [k for k, s in enumerate(atoms.symbols) if s == "Li"]
    gone = atoms.positions[lithium[0]].copy()
    del atoms[lithium[0]]
    found = find_hops(atoms)
    assert found.vacancies == "present"
    empty = np.flatnonzero(found.occupant < 0)
    assert len(empty) == 1
    way, _ = find_mic(found.positions[empty[0]] - gone, atoms.cell, atoms.pbc)
    np.testing.assert_allclose(way, 0.0, atol=1e-6)
    # In this cell the vacancy has three neighbours, each twice.
    assert sum(hop.copies for hop in found.hops) == 6
    assert all(found.occupant[hop.start] >= 0 for hop in found.hops)
    assert {hop.end for hop in found.hops} == {int(empty[0])}
    assert all(step.end == empty[0] for step in found.steps)


def test_two_empty_sites_open_a_tetrahedron() -> None:
    atoms = layered().repeat((3, 3, 1))
    hop = find_hops(atoms, vacancies="two").hops[0]
    network = find_hops(atoms, vacancies="two")
    gone = [network.occupant[site] for site in (hop.end, hop.third)]
    del atoms[[int(one) for one in gone]]
    ways = {one.way for one in find_hops(atoms).hops}
    assert ways == {"dumbbell", "tetrahedron"}
    ion = int(np.flatnonzero(np.array(atoms.symbols) == "Li")[0])
    moved = atoms.copy()
    moved.positions[ion] = hop.passes
    assert surroundings(moved, ion).coordination == 4


def test_spin_order_splits_hops() -> None:
    """Rows of up and down: along the rows and across them are no longer one."""
    atoms = layered().repeat((2, 2, 1))
    metals = np.array(atoms.symbols) == "Co"
    names = ["Co3+HS" if is_metal else "" for is_metal in metals]
    signs = metals.astype(int)
    assert len(find_hops(atoms, kinds=names, signs=signs.tolist()).hops) == 1
    x = atoms.get_scaled_positions()[:, 0]
    signs[metals & (x >= 0.5)] = -1
    rows = find_hops(atoms, kinds=names, signs=signs.tolist())
    reversed_rows = find_hops(atoms, kinds=names, signs=(-signs).tolist())
    assert len(rows.hops) > 1
    assert summary(rows) == summary(reversed_rows)
    assert sum(hop.copies for hop in rows.hops) == 36
    named = [name and f"{name}{sign}" for name, sign in zip(names, signs, strict=True)]
    # Up and down change places under reversal; as two kinds of ions they do not.
    assert len(find_hops(atoms, kinds=named).hops) > len(rows.hops)


def test_what_surrounds_an_ion() -> None:
    atoms = layered()
    ion = list(atoms.symbols).index("Li")
    around = surroundings(atoms, ion)
    oxygen = [k for k, s in enumerate(atoms.symbols) if s == "O"]
    bonds = np.sort(atoms.get_distances(ion, oxygen, mic=True))
    assert around.nearest_anion == pytest.approx(bonds[0])
    assert around.coordination == 6
    # Of a regular octahedron with this distance from the centre, nearly.
    assert around.volume == pytest.approx(4.0 / 3.0 * bonds[0] ** 3, rel=0.02)
    metals = [k for k, s in enumerate(atoms.symbols) if s == "Co"]
    nearest = atoms.get_distances(ion, metals, mic=True).min()
    assert around.nearest_metal == pytest.approx(nearest)
    bare = bulk("Li", "bcc", a=3.5)
    assert surroundings(bare, 0).coordination == 0
    assert np.isnan(surroundings(bare, 0).nearest_anion)


def test_supercells_are_wide_enough() -> None:
    for atoms, width in ((layered(), 7.0), (layered(primitive=True), 9.0)):
        large = atoms.repeat(supercell_of(atoms, width))
        lengths = np.linalg.norm(np.linalg.inv(large.cell.array), axis=0)
        assert (1.0 / lengths >= width - 1e-2).all()
    assert supercell_of(layered(), 0.0) == (1, 1, 1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ion": "Na"}, "Na"),
        ({"vacancies": "three"}, "three"),
        ({"reach": 0.0}, "positive distance"),
        ({"reach": 2.0}, "nearest sites are 2.82 Å apart"),
        ({"vacancies": "present"}, "no hop of Li"),
    ],
)
def test_what_cannot_be_is_refused(changes, says) -> None:
    with pytest.raises(ConfigError, match=says):
        find_hops(layered(), **changes)
