# SPDX-License-Identifier: LGPL-3.0-or-later
"""Assignments of states to sites against brute force, and their ranking."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from spin_dp import rank_states
from spin_dp.errors import ConfigError, DataError
from spin_dp.sampling import LabelSet
from spin_dp.search.choices import Choices
from spin_dp.search.enumeration import Limit
from spin_dp.search.symmetry import magnetic_space_group, space_group_operations
from spin_dp.spin_states.catalogue import Catalogue
from spin_dp.spin_states.key import parse_key
from tests.conftest import STATES_INFO

CATALOGUE = Catalogue.from_records(STATES_INFO["states"])


@pytest.fixture
def oxide(cell) -> Atoms:
    """Return MnNiLi2O4: neutral with Mn4+ and Ni2+, or with Mn3+ and Ni3+."""
    cell.symbols[[4, 6]] = "Li"
    return cell


NUMBERS = {"Mn": [3.7, 1.9], "Ni": [1.3, 0.0]}


def choices(
    n: int, names: tuple[str, ...], charge: float | None, *, held: int = 0
) -> Choices:
    """Return a displaced chain of Mn sites; the first ones are held, up."""
    states = [CATALOGUE.find("Mn", name) for name in names]
    free = [(state, sign) for state in states for sign in (1, -1)]
    chain = Atoms(
        f"Mn{n}",
        cell=[9.0, 9.0, 3.0 * n],
        positions=[(0.0, 0.1 * i**2, 3.0 * i) for i in range(n)],
        pbc=True,
    )
    moments = np.zeros((n, 3))
    moments[:held, 2] = states[0].moment
    label_set = LabelSet(
        tuple(state for state, _ in free), np.array([sign for _, sign in free])
    )
    return Choices(
        atoms=chain,
        sites=list(range(n)),
        label_set=label_set,
        options=[[0] if i < held else list(range(len(free))) for i in range(n)],
        held=moments,
        others=0.0,
        limits=(
            []
            if charge is None
            else [Limit.exactly(label_set.charges.tolist(), charge)]
        ),
    )


@pytest.mark.parametrize("charge", [None, 12.0, 13.0, 15.0])
@pytest.mark.parametrize("held", [0, 1])
def test_assignments_are_those_of_brute_force(charge: float | None, held: int) -> None:
    some = choices(4, ("3+HS", "3+LS", "4+"), charge, held=held)
    charges = some.label_set.charges
    every = {
        codes
        for codes in product(*some.options)
        if charge is None or charges[list(codes)].sum() == charge
    }
    assert some.enumeration.count_all() == len(every)
    found = [tuple(codes.tolist()) for codes, _ in some.enumeration]
    assert len(set(found)) == len(found) == len(every) / (1 if held else 2)
    turned = some.label_set.turned.tolist()
    both = set(found)
    if not held:
        both |= {tuple(turned[code] for code in codes) for codes in found}
    assert both == every


def test_no_assignment_at_a_charge_that_cannot_be() -> None:
    none = choices(3, ("3+HS", "4+"), 20.0)
    assert none.enumeration.count_all() == none.enumeration.count_distinct() == 0
    assert list(none.enumeration) == []
    assert len(none.likely(10)) == 0


def test_likely_assignments_keep_charge_and_held_sites() -> None:
    some = choices(12, ("3+HS", "3+LS", "4+"), 41.0, held=2)
    likely = some.likely(100)
    assert 10 < len(np.unique(likely, axis=0)) == len(likely) <= 100
    np.testing.assert_array_equal(some.label_set.charges[likely].sum(axis=1), 41)
    assert (likely[:, :2] == 0).all()
    for pattern in some.moments(likely):
        np.testing.assert_array_equal(pattern[:2], some.held[:2])
    states = {state.name for codes in likely for state, _ in some.labelled(codes)}
    assert states == {"Mn3+HS", "Mn3+LS", "Mn4+"}


def test_the_lowest_of_all_patterns_is_found(potential, cell):
    table = rank_states(cell, potential, states=NUMBERS, any_charge=True)
    sites = [i for i, s in enumerate(cell.get_chemical_symbols()) if s in NUMBERS]
    rng = np.random.default_rng(3)
    for _ in range(50):
        pattern = np.zeros(8)
        for site in sites:
            size = rng.choice(NUMBERS[cell.get_chemical_symbols()[site]])
            pattern[site] = size * rng.choice([-1, 1])
        energy = potential.evaluate(cell, pattern).energy
        assert energy >= table["energy"].iloc[0] - 1e-9
        assert np.min(np.abs(table["energy"] - energy)) < 1e-6
    # (2 x 2) x 3³ signed choices, one of each pair under reversal.
    assert table["degeneracy"].sum() == 4 * 27 / 2
    assert list(table["rank"]) == list(range(1, len(table) + 1))
    assert table["above_lowest"].iloc[0] == 0.0
    assert table["energy"].is_monotonic_increasing


def test_only_neutral_states_unless_any_charge_is_asked_for(predicting, oxide):
    neutral = rank_states(oxide, predicting)
    everything = rank_states(oxide, predicting, any_charge=True)
    assert set(neutral["charge"]) == {0.0}
    assert set(everything["charge"]) > {0.0}
    rows = everything[everything["charge"] == 0.0]
    np.testing.assert_allclose(neutral["energy"], rows["energy"], rtol=1e-12)
    pairs = {("Mn4+" in key, "Ni2+" in key) for key in neutral["state"]}
    assert pairs == {(True, True), (False, False)}


def test_no_neutral_assignment_is_an_error(predicting, oxide):
    with pytest.raises(
        ConfigError, match="no assignment of the states of Mn, Ni makes"
    ):
        rank_states(oxide, predicting, states={"Ni": ["3+LS"], "Mn": ["4+"]})


def test_labels_of_a_row_name_its_state(predicting, oxide):
    table = rank_states(oxide, predicting)
    for row in table.head(5).to_dict("records"):
        again = predicting.evaluate(oxide, row["labels"])
        assert float(again.energy) == pytest.approx(row["energy"], rel=1e-12)
        np.testing.assert_allclose(again.moments, row["moments"], atol=1e-12)


def test_what_the_structure_carries_does_not_count(predicting, oxide):
    """Stray moments of a file, on oxygen and on varied metals."""
    plain = rank_states(oxide, predicting)
    oxide.set_initial_magnetic_moments([0.4, 0.2, 0.1, -0.2, 1.0, 0.2, 0.3, 0.1])
    again = rank_states(oxide, predicting)
    np.testing.assert_array_equal(again["energy"], plain["energy"])


def test_metals_that_are_not_varied_keep_their_labels(predicting, cell):
    with pytest.raises(ConfigError, match="has no labels"):
        rank_states(cell, predicting, ["Mn"])
    table = rank_states(cell, predicting, ["Mn"], moments="Ni=2+", any_charge=True)
    assert table["state"].str.contains("Ni2+[3", regex=False).all()
    assert table["degeneracy"].sum() == 6  # three states, up and down: Ni is held
    same = rank_states(cell, predicting, ["Mn"], moments={"Ni": "2+"}, any_charge=True)
    np.testing.assert_array_equal(same["energy"], table["energy"])
    cell.set_initial_magnetic_moments([5.0, 0, 1.7, 0, 1.7, 0, 1.7, 0])
    carried = rank_states(cell, predicting, ["Mn"], any_charge=True)
    np.testing.assert_allclose(carried["energy"], table["energy"], rtol=1e-12)


def test_held_moments_keep_all_their_components(predicting, cell):
    held = np.zeros((8, 3))
    held[[2, 4, 6]] = [1.2, 0.9, 0.5]
    cell.set_initial_magnetic_moments(held)
    table = rank_states(cell, predicting, ["Mn"], any_charge=True, converge=False)
    for row in table.to_dict("records"):
        np.testing.assert_array_equal(row["moments"][[2, 4, 6]], held[[2, 4, 6]])


def test_ranking_per_formula_unit_is_extensive(potential, cell):
    states = {"Mn": [3.7], "Ni": [1.3]}
    small = rank_states(cell, potential, states=states, any_charge=True)
    double = cell.repeat((2, 1, 1))
    large = rank_states(double, potential, states=states, any_charge=True)
    ferro = large[large["order"] == "FM"].iloc[0]
    expected = small[small["order"] == "FM"].iloc[0]
    np.testing.assert_allclose(
        ferro["energy_per_fu"], expected["energy_per_fu"], rtol=1e-12
    )


def test_equal_patterns_are_counted_as_one(potential):
    """Four equivalent sites: one flipped of four is the same state whichever it is."""
    perfect = bulk("NiO", "rocksalt", a=4.17, cubic=True)
    table = rank_states(perfect, potential, states={"Ni": [1.5]}, any_charge=True)
    assert list(table["degeneracy"].sort_values()) == [1, 3, 4]
    assert sorted(table["order"]) == ["AFM", "FM", "FiM"]


def test_symmetry_saves_evaluations_and_loses_no_state(predicting, monkeypatch):
    """Of a supercell, against all assignments one by one."""
    perfect = bulk("NiO", "rocksalt", a=4.17).repeat((2, 2, 1))
    given: dict[str, Any] = {
        "states": {"Ni": ["2+", "3+LS"]},
        "any_charge": True,
    }
    table = rank_states(perfect, predicting, **given)
    assert table.attrs["assignments"] == 4**4
    assert table.attrs["distinct"] == table.attrs["evaluated"] < 4**4 / 8
    monkeypatch.setattr(
        "spin_dp.search.choices.site_permutations",
        lambda _, sites, *__: np.arange(len(sites))[None],
    )
    every = rank_states(perfect, predicting, **given)
    assert every.attrs["distinct"] == 4**4 / 2
    assert table["degeneracy"].sum() == every["degeneracy"].sum() == 4**4 / 2
    assert len(table) == len(every)
    np.testing.assert_allclose(table["energy"], every["energy"], atol=1e-7)
    np.testing.assert_array_equal(table["degeneracy"], every["degeneracy"])


@pytest.mark.parametrize("old", [True, False])
def test_spglib_finds_no_group_in_either_way_of_telling(old, monkeypatch) -> None:
    """It returns None, or raises once phonopy is imported."""
    monkeypatch.setattr(spglib.error, "OLD_ERROR_HANDLING", old)
    atoms = bulk("NiO", "rocksalt", a=4.17).repeat((2, 2, 1))
    moments = np.zeros((len(atoms), 3))
    moments[::2, 2] = [1.7, 1.7, 1.7, -1.7]
    assert magnetic_space_group(atoms, moments) == ""
    overlapping = Atoms("Ni2", positions=[[0, 0, 0], [0, 0, 1e-4]], cell=np.eye(3) * 4)
    overlapping.pbc = True
    with pytest.raises(DataError, match="finds no symmetry"):
        space_group_operations(overlapping)


def test_only_the_lowest_are_kept(predicting, oxide):
    everything = rank_states(oxide, predicting, any_charge=True)
    seen: list[tuple[int, int]] = []
    few = rank_states(
        oxide,
        predicting,
        any_charge=True,
        keep=7,
        progress=lambda done, number: seen.append((done, number)),
    )
    assert len(everything) > len(few)
    head = everything.head(len(few))
    np.testing.assert_allclose(few["energy"], head["energy"], rtol=1e-12)
    assert few["state"].tolist() == head["state"].tolist()
    number = everything.attrs["evaluated"]
    assert seen[-1] == (number, number)


@pytest.mark.parametrize("total", [1.0, 5.0, -5.0])
def test_the_total_moment_can_be_asked_for(predicting, oxide, total):
    """Mn4+ and Ni2+ have 3 and 2 unpaired electrons, Mn3+HS and Ni3+LS 4 and 1."""
    table = rank_states(oxide, predicting, total_moment=total)
    unpaired = {"Mn3+HS": 4, "Mn3+LS": 2, "Mn4+": 3, "Ni2+": 2, "Ni3+LS": 1}
    assert len(table)
    for key in table["state"]:
        sites, _ = parse_key(key)
        assert abs(sum(sign * unpaired[name] for name, sign in sites)) == abs(total)
    every = rank_states(oxide, predicting)
    fits = [
        abs(sum(sign * unpaired[name] for name, sign in parse_key(key)[0]))
        == abs(total)
        for key in every["state"]
    ]
    assert sum(fits) == len(table)


def test_few_sites_may_be_excited(predicting, oxide):
    """The catalogue has more sites of Mn3+HS than of Mn3+LS."""
    table = rank_states(oxide, predicting, max_excited=0)
    assert 0 < len(table) < len(rank_states(oxide, predicting))
    assert not table["state"].str.contains("Mn3+LS", regex=False).any()


def test_magnetic_space_groups_of_scalars() -> None:
    """R-3m: ferromagnetic without primes, nonmagnetic with reversal for itself."""
    layered = crystal(
        ["Ni", "Li", "O"],
        basis=[(0, 0, 0), (0, 0, 0.5), (0, 0, 0.2585)],
        spacegroup=166,
        cellpar=[2.88, 2.88, 14.2, 90, 90, 120],
        primitive_cell=True,
    )
    moments = np.zeros((4, 3))
    assert magnetic_space_group(layered, moments) == "166.98"
    moments[0] = [0.0, 0.6, 0.8]
    assert magnetic_space_group(layered, moments) == "166.97"
    doubled = layered.repeat((2, 1, 1))
    rows = np.zeros((8, 3))
    rows[[0, 4], 2] = [1.0, -1.0]
    number = magnetic_space_group(doubled, rows)
    assert number.startswith("12.")  # rows of moments leave C2/m, with anti-translation
    rows[0] = [1.0, 0.0, 0.0]
    assert magnetic_space_group(doubled, rows) == ""


def test_ranking_of_a_large_cell_is_bounded(potential, cell):
    table = rank_states(cell.repeat((2, 2, 1)), potential, max_patterns=40)
    assert 2 < table["degeneracy"].sum() <= 40
    assert set(table["charge"]) == {0.0}
    assert "FM" in set(table["order"])


def test_states_that_do_not_hold_say_what_they_become(predicting, oxide):
    """A net with random weights predicts moments far from the states."""
    table = rank_states(oxide, predicting)
    assert table["becomes"].any()
    means = {state.name: state.moment for state in CATALOGUE.states}
    for row in table[table["becomes"] != ""].to_dict("records"):
        (name,) = (
            name for name in means if name[:2] == "Mn" and name in row["becomes"]
        )
        reached = abs(row["moments"][0, 2])
        nearest = min(
            (n for n in means if n[:2] == "Mn"), key=lambda n: abs(means[n] - reached)
        )
        assert name == nearest or name in row["state"]
    held = rank_states(oxide, predicting, converge=False)
    assert not held["becomes"].any()


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        (["Fe"], "unknown element"),
        (["M"], "did you mean|known"),
        (["O"], "O has no spin states of its own; its moments follow those of Mn"),
    ],
)
def test_ranking_of_elements_that_carry_no_spin(predicting, cell, elements, message):
    with pytest.raises(ConfigError, match=message):
        rank_states(cell, predicting, elements)


def test_ranking_of_an_element_that_is_not_read(potential, cell):
    with pytest.raises(ConfigError, match="reads no moments of O"):
        rank_states(cell, potential, ["O"])


def test_one_spin_state_only(potential):
    oxide = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    oxide.symbols[:] = "Li"
    with pytest.raises(ConfigError, match="has no element with spin states"):
        rank_states(oxide, potential)


def test_labels_that_nobody_asked_for_are_refused(predicting, oxide):
    with pytest.raises(ConfigError, match="labels are for metals that are not varied"):
        rank_states(oxide, predicting, moments="Ni=2+ Mn=4+")
