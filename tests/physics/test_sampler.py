# SPDX-License-Identifier: LGPL-3.0-or-later
"""Monte Carlo over labels against exact enumeration, and what each move keeps."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms
from scipy.stats import chi2

from spin_dp.errors import ConfigError
from spin_dp.sampling import LabelSet, MoveSettings, Sampler
from spin_dp.sampling.moves import Moves
from spin_dp.spin_states.catalogue import Catalogue
from spin_dp.spin_states.labels import Sites, parse_labels
from spin_dp.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spin_dp.inference.local_energies import Change

ALLOWED = {"Mn": ["2+HS", "3+HS", "4+"], "Ni": ["2+", "3+LS", "4+LS"]}
NI4 = 10  # the label of Ni4+LS
J, FIELD = 0.012, 0.02  # eV/μB², eV/μB²


class IsingEnergies:
    """E = J Σ m_i·m_j of neighbours + a field on squares, site by site, by hand.

    Takes the place of :class:`LocalEnergies`, so that all assignments can be
    enumerated.
    """

    def __init__(self, atoms: Atoms, moments: np.ndarray) -> None:
        distances = atoms.get_all_distances(mic=True)
        metals = np.array([symbol != "O" for symbol in atoms.symbols])
        near = (distances < 3.2) & (distances > 0.1) & np.outer(metals, metals)
        self.exchange = J * near
        self.field = FIELD * np.cos(np.arange(len(atoms)))
        self.moments = moments.copy()

    def energy_of(self, moments: np.ndarray) -> np.ndarray:
        pairs = 0.5 * np.einsum("...ia,ij,...ja->...", moments, self.exchange, moments)
        total: np.ndarray = pairs + (np.square(moments).sum(-1) * self.field).sum(-1)
        return total

    def seen(self, sites: Sequence[int]) -> frozenset[int]:
        near = self.exchange[list(sites)].any(axis=0).nonzero()[0]
        return frozenset([*sites, *near.tolist()])

    def differences(self, changes: Sequence[Change]) -> list[np.ndarray]:
        before = self.energy_of(self.moments)
        found = []
        for change in changes:
            moments = self.moments.copy()
            moments[list(change.sites)] = change.moments
            found.append(np.array([self.energy_of(moments) - before]))
        return found

    def accept(self, change: Change, difference: np.ndarray) -> None:
        self.moments[list(change.sites)] = change.moments


@pytest.fixture(scope="module")
def atoms() -> Atoms:
    """Return seven metals in a ring, all different, and two oxygens."""
    angle = 2.0 * np.pi * np.arange(7) / 7.0
    radius = 1.25 / np.sin(np.pi / 7.0)
    metals = np.stack([np.cos(angle), np.sin(angle), 0.02 * angle], axis=1) * radius
    positions = np.concatenate([metals, metals[:2] * 0.5]) + 6.0
    return Atoms("MnNiMnNiNiMnNiO2", positions=positions, cell=[14.0] * 3, pbc=True)


@pytest.fixture(scope="module")
def label_set() -> LabelSet:
    return LabelSet.of(Catalogue(), ["Mn", "Ni", "O"], ALLOWED)


def sampler_of(
    atoms, label_set, temperature, settings=None, seed=1, words="Mn=3+HS Ni=3+LS"
) -> Sampler:
    sites = Sites(atoms.get_chemical_symbols(), atoms.cell.array, atoms.positions)
    labels = parse_labels(words, sites, Catalogue())
    numbers = label_set.numbers(sites.symbols, labels)
    rng = np.random.default_rng(seed)
    settings = settings or MoveSettings()
    return Sampler(label_set, settings, temperature, sites.symbols, numbers, rng)


def visit(sampler: Sampler, atoms: Atoms, trials: int, times: int) -> np.ndarray:
    """Return the labels of the sites after so many trials, so many times."""
    energies = IsingEnergies(atoms, sampler.label_set.vectors(sampler.labels))
    moves = sampler.at(atoms.cell.array, atoms.positions)
    sampler.run(energies, moves, 2000)
    seen = []
    for _ in range(times):
        sampler.run(energies, moves, trials)
        seen.append(sampler.labels[sampler.sites])
    vectors = sampler.label_set.vectors(sampler.labels)
    np.testing.assert_array_equal(energies.moments, vectors)
    return np.array(seen)


@pytest.fixture(scope="module")
def everything(atoms, label_set) -> tuple[np.ndarray, np.ndarray]:
    """Return all assignments of that charge, and their energies, eV."""
    sites = [i for i, symbol in enumerate(atoms.symbols) if symbol != "O"]
    options = [label_set.of_element(atoms.symbols[i]) for i in sites]
    all_of_them = np.array(list(itertools.product(*options)))
    assert label_set.states[NI4].name == "Ni4+LS"
    charges = label_set.charges[all_of_them].sum(axis=1)
    fitting = all_of_them[charges == 3 * len(sites)]
    assert len(fitting) > 10_000
    moments = np.zeros((len(fitting), len(atoms), 3))
    moments[:, sites, 2] = label_set.moments[fitting]
    return fitting, IsingEnergies(atoms, moments[0]).energy_of(moments)


def misfit(seen, everything, temperature: float) -> tuple[float, int]:
    """Return χ² of what was seen in groups of like energy, and its freedom."""
    assignments, energies = everything
    weights = np.exp(-(energies - energies.min()) / (BOLTZMANN_EV_PER_K * temperature))
    weights /= weights.sum()
    number = {tuple(row): k for k, row in enumerate(assignments.tolist())}
    counts = np.zeros(len(assignments))
    for row in seen.tolist():
        counts[number[tuple(row)]] += 1  # KeyError: the charge is not kept
    # Four groups of like energy for each number of Ni4+, the state with one label.
    order = np.argsort(energies, kind="stable")
    quarter = np.minimum((np.cumsum(weights[order]) * 4).astype(int), 3)
    empty = (assignments[order] == NI4).sum(axis=1)
    group = 4 * empty + quarter
    size = int(group.max()) + 1
    expected = np.bincount(group, weights[order], size) * len(seen)
    found = np.bincount(group, counts[order], size)
    full = expected > 5.0
    value = (np.square(found - expected) / np.maximum(expected, 1e-9))[full].sum()
    return float(value), int(full.sum()) - 1


@pytest.mark.parametrize("temperature", [700.0, 1500.0, 5000.0])
def test_populations_are_those_of_all_assignments(
    atoms, label_set, everything, temperature
) -> None:
    sampler = sampler_of(atoms, label_set, temperature)
    seen = visit(sampler, atoms, 40, 800)
    value, freedom = misfit(seen, everything, temperature)
    assert freedom >= 4
    assert chi2.sf(value, freedom) > 1e-3
    assert all(one.accepted for k, one in sampler.counts.items() if k != "rotate")


def test_each_state_is_as_frequent_as_it_is_likely(
    atoms, label_set, everything
) -> None:
    assignments, energies = everything
    weights = np.exp(-(energies - energies.min()) / (BOLTZMANN_EV_PER_K * 1500.0))
    expected = np.zeros(len(label_set))
    for site in range(assignments.shape[1]):
        expected += np.bincount(assignments[:, site], weights, len(label_set))
    expected /= weights.sum()
    seen = visit(sampler_of(atoms, label_set, 1500.0, seed=2), atoms, 40, 800)
    found = np.bincount(seen.ravel(), minlength=len(label_set)) / len(seen)
    np.testing.assert_allclose(found, expected, atol=0.12)
    assert np.ptp(expected) > 0.5  # not all alike


@pytest.mark.parametrize("wrong", ["temperature", "ratio"])
def test_a_wrong_chain_is_noticed(
    atoms, label_set, everything, monkeypatch, wrong
) -> None:
    """The comparison above can fail."""
    temperature = 1500.0
    settings = None
    if wrong == "temperature":
        temperature = 2000.0
    else:
        settings = MoveSettings(exchange=0.0, flip=0.0, spin=0.0)
        made = Moves._transfer

        def without_ratio(self, *arguments):
            found = made(self, *arguments)
            return None if found is None else replace(found, log_ratio=0.0)

        monkeypatch.setattr(Moves, "_transfer", without_ratio)
    sampler = sampler_of(atoms, label_set, temperature, settings)
    seen = visit(sampler, atoms, 40, 800)
    value, freedom = misfit(seen, everything, 1500.0)
    assert chi2.sf(value, freedom) < 1e-4


def test_transfers_alone_sample_the_same(atoms, label_set, everything) -> None:
    settings = MoveSettings(exchange=0.0, flip=0.0, spin=0.0, reach=None)
    seen = visit(sampler_of(atoms, label_set, 1500.0, settings), atoms, 60, 800)
    value, freedom = misfit(seen, everything, 1500.0)
    assert chi2.sf(value, freedom) > 1e-3


def test_the_chain_does_not_hang_on_how_trials_are_grouped(
    atoms, label_set, monkeypatch
) -> None:
    chains = []
    for at_once in (1, 3, 16):
        monkeypatch.setattr("spin_dp.sampling.sampler._AT_ONCE", at_once)
        sampler = sampler_of(atoms, label_set, 2000.0, seed=5)
        chains.append(visit(sampler, atoms, 7, 50))
    np.testing.assert_array_equal(chains[0], chains[1])
    np.testing.assert_array_equal(chains[0], chains[2])


def test_a_restored_chain_goes_on_as_it_would_have(atoms, label_set) -> None:
    whole = sampler_of(atoms, label_set, 2000.0)
    first = visit(whole, atoms, 5, 10)
    record = json.loads(json.dumps(whole.record()))
    second = visit(whole, atoms, 5, 10)
    other = sampler_of(atoms, label_set, 2000.0, seed=99)
    other.restore(record)
    np.testing.assert_array_equal(visit(other, atoms, 5, 10), second)
    assert other.gained == pytest.approx(whole.gained, abs=1e-12)
    assert not np.array_equal(first, second)


def test_exchanges_keep_how_many_sites_are_in_each_state(atoms, label_set) -> None:
    settings = MoveSettings(flip=0.0, spin=0.0, transfer=0.0, reach=None)
    sampler = sampler_of(atoms, label_set, 5000.0, settings)
    symbols = sampler.symbols
    four = label_set.names.index("Mn4+")
    two = label_set.names.index("Ni2+")
    numbers = label_set.state_numbers
    first_mn, first_ni = symbols.index("Mn"), symbols.index("Ni")
    sampler.labels[first_mn] = int(np.flatnonzero(numbers == four)[0])
    sampler.labels[first_ni] = int(np.flatnonzero(numbers == two)[0])
    before = label_set.count(sampler.labels)
    seen = visit(sampler, atoms, 10, 100)
    assert label_set.count(sampler.labels) == before
    assert len(np.unique(seen, axis=0)) > 10


def test_rotations_sample_the_langevin_function() -> None:
    """One moment beside a fixed one: <cos> = coth x - 1/x, x = -J m M/kT."""
    atoms = Atoms("Mn2", positions=[[0, 0, 0], [2.5, 0, 0]], cell=[9.0] * 3, pbc=True)
    label_set = LabelSet.of(Catalogue(), ["Mn"], {"Mn": ["3+HS"]})
    settings = MoveSettings(
        exchange=0.0, flip=0.0, spin=0.0, transfer=0.0, rotate=1.0, turn=1.0
    )
    sampler = sampler_of(atoms, label_set, 1000.0, settings, words="Mn=3+HS")
    energies = IsingEnergies(atoms, label_set.vectors(sampler.labels))
    energies.field[:] = 0.0
    moves = sampler.at(atoms.cell.array, atoms.positions)
    cosines = []
    length = abs(float(energies.moments[0, 2]))
    for _ in range(3000):
        sampler.run(energies, moves, 6)
        a, b = energies.moments
        cosines.append(float(a @ b) / length**2)
        assert np.linalg.norm(a) == pytest.approx(length, abs=1e-12)
    x = J * length**2 / (BOLTZMANN_EV_PER_K * 1000.0)
    expected = -(1.0 / np.tanh(x) - 1.0 / x)
    assert np.mean(cosines) == pytest.approx(expected, abs=0.04)
    assert expected < -0.3


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"exchange": -1.0}, "at least 0"),
        (dict.fromkeys(("exchange", "flip", "spin", "transfer"), 0.0), "not all 0"),
        ({"rotate": 1.0}, "rotate goes with exchange only"),
        ({"reach": 0.0}, "reach: expected a positive"),
    ],
)
def test_settings_that_make_no_chain_are_refused(settings, says) -> None:
    with pytest.raises(ConfigError, match=says):
        MoveSettings(**settings)


def test_moves_that_can_change_nothing_are_refused(atoms) -> None:
    label_set = LabelSet.of(Catalogue(), ["Mn", "Ni"], {"Mn": ["3+HS"], "Ni": ["3+LS"]})
    only = dict.fromkeys(("exchange", "flip", "spin"), 0.0)
    with pytest.raises(ConfigError, match="transfer: no element has two charges"):
        sampler_of(atoms, label_set, 300.0, MoveSettings(**only))
    # With others that can, it is only never accepted.
    sampler = sampler_of(atoms, label_set, 3000.0)
    visit(sampler, atoms, 20, 20)
    assert sampler.counts["flip"].accepted
    assert sampler.counts["transfer"].possible == 0


def test_words_of_moves() -> None:
    made = MoveSettings.parse("exchange=2, flip", reach=4.0)
    assert (made.exchange, made.flip, made.spin, made.reach) == (2.0, 1.0, 0.0, 4.0)
    with pytest.raises(ConfigError, match="expected exchange, flip"):
        MoveSettings.parse("swap")
    with pytest.raises(ConfigError, match="number after flip="):
        MoveSettings.parse("flip=often")


def test_labels_that_cannot_move_are_refused(atoms, label_set) -> None:
    sites = Sites(atoms.get_chemical_symbols(), atoms.cell.array, atoms.positions)
    by_number = parse_labels("Mn=3.7 Ni=3+LS", sites, Catalogue())
    with pytest.raises(ConfigError, match=r"names of spin states, got 3.7 μB"):
        label_set.numbers(sites.symbols, by_number)
    other = parse_labels("Mn=3+LS Ni=3+LS", sites, Catalogue())
    with pytest.raises(ConfigError, match="not among those that Mn may be in"):
        label_set.numbers(sites.symbols, other)
    with pytest.raises(ConfigError, match="spin state of Mn"):
        LabelSet.of(Catalogue(), ["Mn"], {"Mn": ["9+"]})
    with pytest.raises(ConfigError, match="no atom has spin states"):
        Sampler(
            label_set,
            MoveSettings(),
            300.0,
            ["O"],
            np.array([-1]),
            np.random.default_rng(1),
        )
