# SPDX-License-Identifier: LGPL-3.0-or-later
"""Cells without some of their lithium, and labels that make them neutral again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.geometry import get_distances

from spin_dp.crystals import layered_oxide
from spin_dp.errors import ConfigError
from spin_dp.spin_states.balance import balanced, cell_charge
from spin_dp.spin_states.catalogue import Catalogue
from spin_dp.spin_states.labels import Labels, Sites, parse_labels
from spin_dp.vacancies import with_vacancies

if TYPE_CHECKING:
    from ase import Atoms

ATOMS = layered_oxide("LiNiO2", (3, 2, 1))  # 36 formula units
STATES = [("Ni2+", 1.7), ("Ni3+LS", 1.0), ("Ni4+LS", 0.0), ("Mn4+", 3.1)]
CATALOGUE = Catalogue.from_records(
    [
        {"name": name, "moment": m, "lowest": m, "highest": m, "sites": 1}
        for name, m in STATES
    ],
    {},
)


def nearest(atoms: Atoms, kept: Atoms) -> float:
    """Return the shortest distance between two lithium atoms that are missing."""
    here = {tuple(p) for p in kept.positions.round(6).tolist()}
    gone = [p for p in atoms.positions if tuple(p.round(6).tolist()) not in here]
    _, table = get_distances(np.array(gone), cell=atoms.cell, pbc=True)
    return float((table + 99.0 * np.eye(len(gone))).min())


@pytest.mark.parametrize(("amount", "left"), [(0.5, 18), (1, 35), (30, 6), (0.25, 27)])
@pytest.mark.parametrize("spread", [False, True])
def test_so_many_atoms_are_taken_out(amount: float, left: int, spread: bool) -> None:
    found = with_vacancies(ATOMS, {"Li": amount}, spread=spread, seed=3)
    assert Counter(found.symbols) == {"Li": left, "Ni": 36, "O": 72}
    assert len(ATOMS) == 144
    assert list(found.arrays["spin_states"]).count("Ni3+LS") == 18  # labels go along


def test_the_seed_tells_which() -> None:
    def taken(**how: Any) -> list[list[float]]:
        found = with_vacancies(ATOMS, {"Li": 0.25}, **how).positions.tolist()
        return [list(position) for position in found]

    assert taken(seed=1) == taken(seed=1) != taken(seed=2)
    assert taken(seed=1) != taken(seed=1, spread=True)


def test_vacancies_that_are_spread_are_farther_apart() -> None:
    rest = {
        spread: [
            nearest(ATOMS, with_vacancies(ATOMS, {"Li": 6}, spread=spread, seed=seed))
            for seed in range(5)
        ]
        for spread in (True, False)
    }
    assert min(rest[True]) > max(rest[False])


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"Na": 1}, "the structure has no Na"),
        ({"Li": 0.3}, r"a share below 1 that comes to one, got 0\.3, 10\.8 atoms"),
        ({"Li": 37}, "a whole number of the 36 Li atoms"),
        ({"Li": 1.5}, r"got 1\.5\."),
        ({"Li": 0.0}, r"got 0\."),
        ({"Li": -1}, "got -1"),
    ],
)
def test_what_cannot_be_taken_out(missing: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_vacancies(ATOMS, missing)


def labelled(text: str, **missing: float) -> tuple[Labels, Sites]:
    atoms = with_vacancies(ATOMS, missing) if missing else ATOMS
    sites = Sites(atoms.get_chemical_symbols(), atoms.cell.array, atoms.positions)
    return parse_labels(text, sites, CATALOGUE), sites


def counts(labels: Labels) -> Counter[str]:
    return Counter(state.name for state in labels.states if state is not None)


def test_as_many_sites_change_as_lithium_is_missing() -> None:
    labels, sites = labelled("Ni=-3+LS", Li=0.5)
    assert cell_charge(labels, sites) == pytest.approx(-18.0)
    found = balanced(labels, sites, CATALOGUE, {"Ni": "4+LS"}, seed=5)
    assert counts(found) == {"Ni3+LS": 18, "Ni4+LS": 18}
    assert cell_charge(found, sites) == pytest.approx(0.0)
    assert set(found.moments[:, 2].round(6)) == {0.0, -1.0}  # down stays down
    again = balanced(labels, sites, CATALOGUE, {"Ni": "4+LS"}, seed=5)
    other = balanced(labels, sites, CATALOGUE, {"Ni": "4+LS"}, seed=6)
    assert again.states == found.states != other.states
    assert counts(labels) == {"Ni3+LS": 36}


def test_a_neutral_cell_stays_and_electrons_go_either_way() -> None:
    labels, sites = labelled("Ni=3+LS")
    assert balanced(labels, sites, CATALOGUE, {"Ni": "2+"}) is labels
    labels, sites = labelled("Ni=4+LS", Li=9)
    assert cell_charge(labels, sites) == pytest.approx(27.0)
    assert counts(balanced(labels, sites, CATALOGUE, {"Ni": "3+LS"})) == {
        "Ni3+LS": 27,
        "Ni4+LS": 9,
    }


@pytest.mark.parametrize(
    ("text", "missing", "to", "message"),
    [
        ("Ni=3+LS", 0.5, {"Ni": "2+"}, r"-18 e, and -18 e are left"),
        ("Ni=2+", 17, {"Ni": "4+LS"}, r"-53 e, and -1 e are left"),
        ("Ni=1.0", 0.5, {"Ni": "4+LS"}, "the charge of the cell is not known"),
        ("Ni=3+LS", 0.5, {"Mn": "4+"}, "unknown element to balance 'Mn'"),
        ("Ni=3+LS", 0.5, {"Ni": "5+"}, "5+"),
    ],
)
def test_what_cannot_be_balanced(
    text: str, missing: float, to: dict[str, str], message: str
) -> None:
    labels, sites = labelled(text, Li=missing)
    with pytest.raises(ConfigError, match=message):
        balanced(labels, sites, CATALOGUE, to)
