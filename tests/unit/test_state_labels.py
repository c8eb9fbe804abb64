# SPDX-License-Identifier: LGPL-3.0-or-later
"""The vocabulary: names of states, labels, orderings, keys."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ase.build import bulk

from spin_dp.errors import ConfigError, ShapeError
from spin_dp.spin_states.catalogue import Catalogue, SpinState, total_charge
from spin_dp.spin_states.key import is_key, key_text, parse_key
from spin_dp.spin_states.labels import (
    Sites,
    disordered,
    labels_of_moments,
    labels_of_states,
    parse_labels,
    write_labels,
)
from spin_dp.spin_states.nominal import find_nominal_state, nominal_states, usual_moment
from spin_dp.spin_states.orderings import find_ordering, named_orderings, order_name

CATALOGUE = Catalogue.from_records(
    [
        {"name": "Mn4+", "moment": 3.2, "lowest": 3.0, "highest": 3.3, "sites": 8},
        {"name": "Mn3+HS", "moment": 3.7, "lowest": 3.5, "highest": 3.9, "sites": 20},
        {"name": "Mn3+LS", "moment": 1.9, "lowest": 1.7, "highest": 2.1, "sites": 4},
        {"name": "Mn3+NM", "moment": 0.0, "sites": 2},
        {"name": "Co3+LS", "moment": 0.0, "sites": 9},
        {"name": "Co3+HS", "moment": 3.1, "sites": 3},
    ],
    {"Mn": 3.9, "O": 0.2},
)


def rocksalt(metals: str = "Mn Mn Mn Mn") -> Sites:
    cell = bulk("NiO", "rocksalt", a=4.2, cubic=True)
    names = iter(metals.split())
    symbols = [s if s == "O" else next(names) for s in cell.get_chemical_symbols()]
    return Sites(symbols, cell.cell.array, cell.positions)


SITES = rocksalt()
MN = [i for i, s in enumerate(SITES.symbols) if s == "Mn"]


def lengths(text: str, sites: Sites = SITES, **options: str) -> list[float]:
    moments = parse_labels(text, sites, CATALOGUE, **options).moments
    assert not moments[:, :2].any()
    metals = [i for i, s in enumerate(sites.symbols) if s != "O"]
    return [float(moments[i, 2]) for i in metals]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mn=3+HS", [3.7] * 4),
        ("Mn=Mn3+HS", [3.7] * 4),
        ("Mn=-4+", [-3.2] * 4),
        ("Mn=1.5", [1.5] * 4),
        (f"Mn=3+HS {MN[1]}=-3+LS", [3.7, -1.9, 3.7, 3.7]),
        (f"Mn=3+HS,{MN[3]}=0.5", [3.7, 3.7, 3.7, 0.5]),
        ("Mn3+HS[4up]", [3.7] * 4),
        ("1,0,2,0,-3,0,4,0", [1.0, 2.0, -3.0, 4.0]),
    ],
)
def test_what_labels_stand_for(text: str, expected: list[float]) -> None:
    assert lengths(text) == expected


def test_labels_by_name_know_their_states() -> None:
    labels = parse_labels(f"Mn=3+HS {MN[0]}=2.5", SITES, CATALOGUE)
    names = [None if state is None else state.name for state in labels.states]
    assert [names[i] for i in MN] == [None, *["Mn3+HS"] * 3]
    assert labels.is_number.tolist() == [i == MN[0] for i in range(8)]
    assert labels.is_labelled.tolist() == [s == "Mn" for s in SITES.symbols]


def test_labels_of_two_elements() -> None:
    sites = rocksalt("Mn Co Mn Co")
    assert lengths("Mn=4+ Co=-3+HS", sites) == [3.2, -3.1, 3.2, -3.1]
    assert lengths("Mn=4+ Co=3+LS", sites, order="FM") == [3.2, 0.0, 3.2, 0.0]


def test_an_element_without_states_is_unlabelled_where_it_has_no_moment() -> None:
    moments = np.zeros((8, 3))
    moments[MN, 2] = 3.7
    labels = labels_of_moments(moments, SITES.symbols, CATALOGUE)
    assert labels.is_labelled.tolist() == [s == "Mn" for s in SITES.symbols]
    moments[1, 2] = 0.1  # one oxygen: then all of them count
    assert labels_of_moments(moments, SITES.symbols, CATALOGUE).is_labelled.all()


def test_states_of_all_atoms_one_by_one() -> None:
    names = ["" if s == "O" else "-Mn3+LS" for s in SITES.symbols]
    labels = labels_of_states(names, SITES, CATALOGUE)
    assert labels.moments[MN, 2].tolist() == [-1.9] * 4
    with pytest.raises(ShapeError, match="one for each of the 8 atoms, got 7"):
        labels_of_states(names[:7], SITES, CATALOGUE)


def test_written_labels_are_read_back() -> None:
    text = write_labels([(MN[0], "Mn3+HS", 1), (MN[1], "Mn4+", -1)])
    assert text == f"{MN[0]}=3+HS {MN[1]}=-4+"
    assert lengths(text) == [3.7, -3.2, 0.0, 0.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Mn=3+", "Mn3+ could be Mn3+LS or Mn3+HS"),
        ("Mn=5+", "unknown spin state of Mn 'Mn5+'; did you mean 'Mn4+'?"),
        ("Fe=3+HS", "unknown element 'Fe'"),
        ("Mn=3+HS Mn=4+", "Mn is given twice"),
        ("8=3+HS", "expected an atom from 0 to 7, got 8"),
        ("O=2+", "no spin states of O are known"),
        ("high", "'high' are not understood, and there is no such file"),
        ("Mn=", "label 'Mn=' is not understood"),
        ("Mn3+HS[2up]", "is of 2 Mn sites, but the structure has 4"),
        ("Mn3+HS[2up,2off]", "sites off the axis"),
    ],
)
def test_labels_that_are_not_understood(text: str, message: str) -> None:
    pattern = message if "could be" not in message else "could be"
    with pytest.raises(ConfigError, match=re.escape(pattern)):
        parse_labels(text, SITES, CATALOGUE)


def test_one_number_for_each_atom() -> None:
    with pytest.raises(ShapeError, match=r"expected 8 moments.*got 2"):
        parse_labels("1,2", SITES, CATALOGUE)


def test_an_ordering_or_signs_not_both() -> None:
    with pytest.raises(ConfigError, match="some labels of 'Mn=-4\\+' are down already"):
        parse_labels("Mn=-4+", SITES, CATALOGUE, order="FM")
    with pytest.raises(ConfigError, match="no labelled site has a moment"):
        parse_labels("Mn=3+NM", SITES, CATALOGUE, order="AFM")
    plain = parse_labels("Mn=3+NM", SITES, CATALOGUE)
    alike = parse_labels("Mn=3+NM", SITES, CATALOGUE, order="FM")
    assert alike.states == plain.states


# ---- orderings ----------------------------------------------------------------------


def metal_sites(
    sites: Sites, repeats: tuple[int, int, int] = (1, 1, 1)
) -> tuple[list[str], np.ndarray, np.ndarray]:
    from ase import Atoms

    atoms = Atoms(sites.symbols, sites.positions, cell=sites.cell, pbc=True)
    atoms = atoms[[s != "O" for s in sites.symbols]].repeat(repeats)
    return atoms.get_chemical_symbols(), atoms.cell.array, atoms.positions


def test_a_fcc_cube_has_one_order_of_alternating_planes() -> None:
    """AFM-I: the planes 100, 010 and 001 of the cube are equal by symmetry."""
    orderings = named_orderings(*metal_sites(SITES))
    assert list(orderings) == ["FM", "AFM-001"]
    assert orderings["FM"].tolist() == [1] * 4
    symbols, cell, positions = metal_sites(SITES)
    signs = find_ordering("AFM", symbols, cell, positions)
    height = positions[:, 2]
    assert signs[0] == 1
    assert (signs == np.where(np.isclose(height, height[0]), 1, -1)).all()


def test_a_paramagnet_is_drawn_by_the_seed() -> None:
    labels = parse_labels("Mn=3+HS", SITES, CATALOGUE)
    signs = disordered(labels, SITES, CATALOGUE, "random", seed=1)
    assert sorted(signs.moments[MN, 2]) == [-3.7, -3.7, 3.7, 3.7]
    assert signs.states == labels.states
    drawn = [
        disordered(labels, SITES, CATALOGUE, "random-directions", seed=seed).moments
        for seed in (1, 1, 2)
    ]
    np.testing.assert_allclose(np.linalg.norm(drawn[0][MN], axis=1), 3.7)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.allclose(drawn[0], drawn[2])
    assert not drawn[0][[i for i in range(8) if i not in MN]].any()
    many = rocksalt("Mn Mn Mn Mn")
    rows = np.concatenate(
        [
            disordered(labels, many, CATALOGUE, "random-directions", seed=k).moments[MN]
            for k in range(500)
        ]
    )
    # Evenly over the sphere: no mean, and each component has a third of the square.
    np.testing.assert_allclose(rows.mean(axis=0) / 3.7, 0.0, atol=0.05)
    np.testing.assert_allclose((rows**2).mean(axis=0) / 3.7**2, 1 / 3, atol=0.03)
    with pytest.raises(ConfigError, match="no labelled site has a moment"):
        disordered(
            parse_labels("Mn=3+NM", SITES, CATALOGUE),
            SITES,
            CATALOGUE,
            "random",
            seed=1,
        )


def test_names_that_could_be_several_orderings() -> None:
    sites = metal_sites(SITES, (2, 2, 2))
    names = list(named_orderings(*sites))
    assert len(names) > 2
    assert all(o.sum() == 0 for n, o in named_orderings(*sites).items() if n != "FM")
    with pytest.raises(ConfigError, match="AFM of 32 sites could be AFM-"):
        find_ordering("AFM", *sites)
    with pytest.raises(ConfigError, match="unknown magnetic ordering 'AFM-1'"):
        find_ordering("AFM-1", *sites)


def test_one_site_cannot_alternate() -> None:
    symbols, cell, positions = ["Mn"], np.eye(3) * 4.0, np.zeros((1, 3))
    assert list(named_orderings(symbols, cell, positions)) == ["FM"]
    with pytest.raises(ConfigError, match="no planes of the 1 magnetic sites"):
        find_ordering("AFM", symbols, cell, positions)


@pytest.mark.parametrize(
    ("moments", "name"),
    [
        ([1, 1], "FM"),
        ([1, -1], "AFM"),
        ([2, -1], "FiM"),
        ([0, 0], "NM"),
        ([0, 2], "single"),
    ],
)
def test_order_names(moments: list[float], name: str) -> None:
    assert order_name(np.array(moments, float)) == name


# ---- keys ---------------------------------------------------------------------------


def test_keys_are_parsed_as_they_are_written() -> None:
    labels = ["Mn3+HS", "Mn3+HS", "Mn3+HS", "Co3+LS", "Fe~2.5"]
    signs = [1, 1, -1, 0, -1]
    key = key_text(labels, signs, frozenset({"Co3+LS"}), "0a1b2")
    assert is_key(key)
    sites, tag = parse_key(key)
    assert sorted(sites) == sorted(zip(labels, signs, strict=True))
    assert tag == "0a1b2"
    assert not is_key("Mn=3+HS")
    with pytest.raises(ConfigError, match="expected a spin-state key"):
        parse_key("Mn=3+HS")


def test_a_key_labels_the_sites_where_only_one_arrangement_is_possible() -> None:
    """Two of four up in the cube: all pairs are equal by symmetry."""
    moments = lengths("Mn3+HS[2up,2dn]")
    assert sorted(moments) == [-3.7, -3.7, 3.7, 3.7]


def test_a_key_needs_its_tag_where_several_arrangements_are_possible() -> None:
    from spin_dp.spin_states.ordering import OrderedSites

    chain = np.array([[0, 0, z] for z in (0.0, 3.0, 6.0, 9.0)])
    sites = Sites(["Mn"] * 4, np.diag([9.0, 9.0, 12.0]), chain)
    key = "Mn3+HS[2up,2dn]"
    with pytest.raises(ConfigError, match="can be arranged in 2 ways"):
        parse_labels(key, sites, CATALOGUE)
    ordered = OrderedSites(sites.symbols, sites.cell, chain)
    for signs in ([1, -1, 1, -1], [1, 1, -1, -1]):
        tag = ordered.tag(["Mn3+HS"] * 4, np.array(signs))
        moments = parse_labels(f"{key}#{tag}", sites, CATALOGUE).moments[:, 2]
        turned = [np.roll(signs, k).tolist() for k in range(4)]
        assert np.sign(moments).tolist() in turned
    with pytest.raises(ConfigError, match="no way that has its tag"):
        parse_labels(f"{key}#00000", sites, CATALOGUE)


# ---- catalogue ----------------------------------------------------------------------


def test_states_of_the_data_come_before_the_nominal_ones() -> None:
    assert [state.name for state in CATALOGUE.of("Mn")] == [
        *("Mn3+HS", "Mn3+LS", "Mn3+NM", "Mn4+"),
    ]
    assert CATALOGUE.of("Ni") == [
        SpinState(state.name, usual_moment(state)) for state in nominal_states("Ni")
    ]
    assert CATALOGUE.of("O") == []
    assert CATALOGUE.has_states("Ni")
    assert not CATALOGUE.has_states("O")
    assert CATALOGUE.find("Co", "3+HS").charge == 3


@pytest.mark.parametrize(
    ("element", "moment", "name"),
    [("Mn", 3.6, "Mn3+HS"), ("Mn", -3.3, "Mn4+"), ("Mn", 0.1, "Mn3+LS")],
)
def test_the_nearest_state(element: str, moment: float, name: str) -> None:
    """Solutions without any moment are nobody's nearest while there are others."""
    state = CATALOGUE.nearest(element, moment)
    assert state is not None
    assert state.name == name


def test_a_catalogue_survives_json() -> None:
    import json

    records = json.loads(json.dumps(CATALOGUE.records()))
    assert Catalogue.from_records(records, CATALOGUE.largest) == CATALOGUE


def test_merged_catalogues_weigh_moments_by_sites() -> None:
    other = Catalogue.from_records(
        [{"name": "Mn4+", "moment": 3.0, "lowest": 2.9, "highest": 3.1, "sites": 24}],
        {"Mn": 4.5},
    )
    both = Catalogue.joined([CATALOGUE, other, CATALOGUE])
    state = both.find("Mn", "4+")
    assert state.moment == pytest.approx((8 * 3.2 + 24 * 3.0) / 32)
    assert (state.lowest, state.highest, state.sites) == (2.9, 3.3, 32)
    assert both.highest_moment("Mn") == 4.5
    assert both.highest_moment("O") == 0.2
    assert np.isnan(both.highest_moment("Ni"))


def test_charges_add_up() -> None:
    states = [CATALOGUE.find("Mn", "3+HS"), CATALOGUE.find("Mn", "4+")]
    assert total_charge(states, -7.0) == 0.0
    assert total_charge([*states, SpinState("Fe~2.5", 2.5)], -7.0) is None
    assert total_charge(states, float("nan")) is None


def test_nominal_states_by_name() -> None:
    state = find_nominal_state("Mn3+HS")
    assert state is not None
    assert (state.element, state.oxidation, state.unpaired) == ("Mn", 3, 4)
    for name in ("Mn9+", "Fe~2.5", "Xx3+", "Li1+"):
        assert find_nominal_state(name) is None


def test_a_moment_that_is_lost_is_no_longer_the_state() -> None:
    """However far its moments vary in the data; zero is one where some show none."""
    broad = SpinState("Ni3+LS", moment=1.3, lowest=0.5, highest=1.8, sites=200)
    narrow = SpinState("Mn3+HS", moment=3.7, lowest=3.5, highest=3.9, sites=200)
    closed = SpinState("Co3+LS", moment=0.0, lowest=0.0, highest=0.6, sites=200)
    assert broad.range == pytest.approx((0.25, 2.55))
    assert narrow.range == pytest.approx((3.2, 4.2))
    assert not broad.holds(0.0)
    assert broad.holds(-0.4)
    assert closed.holds(0.0)
