# SPDX-License-Identifier: LGPL-3.0-or-later
"""Chains over ions and labels find what trying everything finds."""

from __future__ import annotations

import numpy as np
import pytest

from spin_dp import SpinDP
from spin_dp.crystals import layered_oxide, unit_cell
from spin_dp.deployment.cache import fast_models
from spin_dp.errors import ConfigError
from spin_dp.search.arrangements import ArrangementSearch, search_arrangements
from spin_dp.search.lowest import lowest_states
from spin_dp.search.vacancy_patterns import VacancyPatterns
from spin_dp.spin_states.balance import cell_charge
from spin_dp.spin_states.labels import Sites
from spin_dp.structures import SPIN_STATES

STATES = {"Ni": ["3+LS", "4+LS"]}
SHORT = ArrangementSearch(sweeps=15, chains=2)


@pytest.fixture(scope="module")
def model() -> SpinDP:
    return SpinDP(fast_models("lixmo2", 1))


@pytest.fixture(scope="module")
def half() -> VacancyPatterns:
    full = layered_oxide("LiNiO2", (1, 1, 1))
    del full.arrays[SPIN_STATES]
    return VacancyPatterns.of_share(full, "Li", 0.5)


def test_the_lowest_of_all_arrangements_and_states_is_found(
    model: SpinDP, half: VacancyPatterns
) -> None:
    """20 arrangements, each with up to 20 x 2^3 assignments."""
    tried = [
        float(lowest_states(one.atoms, model, states=STATES)["energy"].iloc[0])
        for one in half.choose(20)
    ]
    assert len(tried) == half.count_distinct() == 3
    for seed in (1, 2):
        settings = ArrangementSearch(sweeps=30, chains=2, seed=seed)
        found = search_arrangements(half, model, settings, states=STATES)
        # Sums over atoms in another order differ in the last digits of float32.
        assert found[0].energy == pytest.approx(min(tried), abs=1e-4)


def test_what_is_found_is_neutral_distinct_and_on_the_sites(
    model: SpinDP, half: VacancyPatterns
) -> None:
    found = search_arrangements(half, model, SHORT, states=STATES, keep=2)
    energies = [one.energy for one in found]
    assert energies == sorted(energies)
    assert len(found) == 2
    assert energies[1] - energies[0] > 1e-3
    for one in found:
        atoms = one.atoms
        labels = model.labels(atoms)
        assert all(
            s is not None for s in np.array(labels.states)[atoms.symbols == "Ni"]
        )
        sites = Sites(atoms.get_chemical_symbols(), atoms.cell.array, atoms.positions)
        assert cell_charge(labels, sites) == pytest.approx(0.0)
        assert one.energy == pytest.approx(
            float(model.evaluate(atoms).energy), abs=1e-4
        )
        places = half.full.positions[half.sites]
        for position in atoms.positions[atoms.symbols == "Li"]:
            way = np.linalg.solve(half.full.cell.T, (places - position).T)
            way -= way.round()
            assert np.linalg.norm(half.full.cell.T @ way, axis=0).min() < 1e-6


def test_ions_of_spinel_stay_on_tetrahedra(model: SpinDP) -> None:
    """Octahedra between the metals are empty, and no sites of the ion."""
    full = unit_cell("LiMn2O4", primitive=False)
    patterns = VacancyPatterns.of_share(full, "Li", 0.5)
    states = {"Mn": ["3+HS", "4+"]}
    settings = ArrangementSearch(sweeps=2, chains=1, hottest=9000.0, coldest=9000.0)
    found = search_arrangements(patterns, model, settings, states=states)
    assert len(found) > 1  # ions did move
    for one in found:
        pairs = one.atoms.get_all_distances(mic=True)
        lithium = one.atoms.symbols == "Li"
        nearest = np.sort(pairs[lithium][:, one.atoms.symbols == "O"], axis=1)
        bond = np.sqrt(3.0) * (0.2632 - 0.125) * 8.245
        np.testing.assert_allclose(nearest[:, :4], bond, atol=1e-6)
        assert (nearest[:, 4] > 3.0).all()


def test_one_seed_is_one_search(model: SpinDP, half: VacancyPatterns) -> None:
    done: list[tuple[int, int]] = []
    first, second = (
        search_arrangements(
            half,
            model,
            SHORT,
            states=STATES,
            progress=lambda part, parts: done.append((part, parts)),
        )
        for _ in range(2)
    )
    assert [one.energy for one in first] == [one.energy for one in second]
    np.testing.assert_array_equal(first[0].atoms.positions, second[0].atoms.positions)
    assert done[-1] == (29, 30)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sweeps": 0}, "at least one sweep and one chain, got 0 and 3"),
        ({"coldest": 0.0}, "0 < coldest <= hottest, got 0 and 2000 K"),
        ({"coldest": 3000.0}, "got 3000 and 2000 K"),
    ],
)
def test_bad_settings(changes: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ArrangementSearch(**changes)  # type: ignore[arg-type]


def test_no_neutral_state(model: SpinDP, half: VacancyPatterns) -> None:
    with pytest.raises(ConfigError):
        search_arrangements(half, model, SHORT, states={"Ni": ["3+LS"]})
