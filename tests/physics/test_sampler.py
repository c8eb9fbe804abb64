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
from ase.build import bulk
from scipy.stats import chi2

from spin_dp.crystals import layered_oxide
from spin_dp.errors import ConfigError
from spin_dp.sampling import LabelSet, MoveSettings, Sampler
from spin_dp.sampling.ion_sites import find_ion_sites
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
        self.positions = atoms.positions

    def nearest(self, sites: Sequence[int], positions: np.ndarray) -> float:
        return np.inf

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
    tried = ("exchange", "flip", "spin", "transfer")
    assert all(sampler.counts[kind].accepted for kind in tried)


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


class ColumnEnergies:
    """Energies of ions in places: a field for each element, and like ones repel.

    Places are what :func:`find_ion_sites` finds, so that all arrangements can be
    enumerated by hand.
    """

    def __init__(self, atoms: Atoms) -> None:
        self.cell, self.symbols = atoms.cell.array, atoms.get_chemical_symbols()
        self.positions, self.moments = atoms.positions.copy(), np.zeros((len(atoms), 3))
        self.centres = find_ion_sites(self.symbols, self.cell, self.positions).centres
        self.ions = [i for i, symbol in enumerate(self.symbols) if symbol != "O"]
        waves = np.cos(1.0 + np.arange(len(self.centres)))
        self.fields = {"Li": 0.05 * waves, "Ni": -0.03 * waves**2}
        table = Atoms("H" * len(self.centres), self.centres, cell=self.cell, pbc=True)
        distances = table.get_all_distances(mic=True) + 99.0 * np.eye(len(table))
        self.near = 0.04 * (distances < 3.2)

    def places(self, positions: np.ndarray) -> np.ndarray:
        ways = positions[self.ions][:, None] - self.centres
        ways -= (ways / self.cell.diagonal()).round() * self.cell.diagonal()
        nearest: np.ndarray = np.square(ways).sum(axis=-1).argmin(axis=1)
        return nearest

    def energy_of(self, places: Sequence[int] | np.ndarray) -> float:
        kinds = [self.symbols[i] for i in self.ions]
        total = sum(self.fields[k][p] for k, p in zip(kinds, places, strict=True))
        for a, b in itertools.combinations(range(len(places)), 2):
            if kinds[a] == kinds[b]:
                total += self.near[places[a], places[b]]
        return float(total)

    def seen(self, sites: Sequence[int]) -> frozenset[int]:
        return frozenset(sites)

    def nearest(self, sites: Sequence[int], positions: np.ndarray) -> float:
        return 2.0

    def differences(self, changes: Sequence[Change]) -> list[np.ndarray]:
        before = self.energy_of(self.places(self.positions))
        found = []
        for change in changes:
            positions = self.positions.copy()
            positions[list(change.sites)] = change.positions
            found.append(np.array([self.energy_of(self.places(positions)) - before]))
        return found

    def accept(self, change: Change, difference: np.ndarray) -> None:
        self.positions = self.positions.copy()
        self.positions[list(change.sites)] = change.positions


@pytest.fixture(scope="module")
def half_empty() -> Atoms:
    """Return rocksalt of eight places with two Ni and three Li, all displaced."""
    atoms = bulk("NiO", "rocksalt", a=4.2, cubic=True).repeat((2, 1, 1))
    metals = [i for i, symbol in enumerate(atoms.symbols) if symbol == "Ni"]
    for i in metals[2:5]:
        atoms.symbols[i] = "Li"
    del atoms[metals[5:]]
    atoms.rattle(0.06, seed=3)
    return atoms


def test_octahedra_of_displaced_crystals(half_empty) -> None:
    found = find_ion_sites(
        half_empty.get_chemical_symbols(), half_empty.cell.array, half_empty.positions
    )
    assert len(found.centres) == 8
    assert len(found.empty) == 3
    ions = np.array([symbol != "O" for symbol in half_empty.symbols])
    assert (found.site[ions] >= 0).all()
    assert (found.site[~ions] == -1).all()
    assert len(set(found.site[ions].tolist())) == 5
    assert np.linalg.norm(found.offset[ions], axis=1).max() < 0.4
    layered = layered_oxide("Li0.5NiO2", (2, 2, 1))
    layered.rattle(0.08, seed=4)
    symbols = layered.get_chemical_symbols()
    found = find_ion_sites(symbols, layered.cell.array, layered.positions)
    assert len(found.centres) == symbols.count("O")
    assert len(found.empty) == symbols.count("Ni") // 2
    turned = layered.copy()
    turned.rotate(33.0, (1, 2, 3), rotate_cell=True)
    again = find_ion_sites(symbols, turned.cell.array, turned.positions)
    assert len(again.empty) == len(found.empty)


@pytest.mark.parametrize("kinds", [("vacancy",), ("vacancy", "antisite")])
def test_ions_are_where_all_arrangements_say(half_empty, label_set, kinds) -> None:
    temperature = 900.0
    settings = MoveSettings.parse(",".join(kinds))
    sampler = sampler_of(half_empty, label_set, temperature, settings, words="Ni=3+LS")
    energies = ColumnEnergies(half_empty)
    moves = sampler.at(half_empty.cell.array, half_empty.positions)
    first = energies.places(energies.positions)
    counts: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}

    def arrangement(
        places: Sequence[int] | np.ndarray,
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        kinds = [half_empty.symbols[i] for i in energies.ions]
        of = {
            kind: tuple(
                sorted(int(p) for k, p in zip(kinds, places, strict=True) if k == kind)
            )
            for kind in ("Ni", "Li")
        }
        return of["Ni"], of["Li"]

    for _ in range(1500):
        sampler.run(energies, moves, 6)
        key = arrangement(energies.places(energies.positions))
        counts[key] = counts.get(key, 0) + 1
    weights = {}
    nickel = [k for k, i in enumerate(energies.ions) if half_empty.symbols[i] == "Ni"]
    for places in itertools.permutations(range(8), 5):
        if len(kinds) == 1 and any(places[k] != first[k] for k in nickel):
            continue
        key = arrangement(places)
        weights[key] = np.exp(
            -energies.energy_of(places) / (BOLTZMANN_EV_PER_K * temperature)
        )
    assert len(weights) == (20 if len(kinds) == 1 else 560)
    assert set(counts) <= set(weights)
    keys = sorted(weights, key=weights.__getitem__)
    expected = np.array([weights[key] for key in keys])
    expected *= 1500 / expected.sum()
    group = np.minimum((np.cumsum(expected) / 1500 * 10).astype(int), 9)
    found = np.bincount(group, [counts.get(key, 0) for key in keys], 10)
    wanted = np.bincount(group, expected, 10)
    full = wanted > 5.0
    value = float((np.square(found - wanted) / np.maximum(wanted, 1e-9))[full].sum())
    assert chi2.sf(value, int(full.sum()) - 1) > 1e-3
    assert np.ptp(list(weights.values())) > 0.5 * max(weights.values())
    # All are as far from their centres as before, and no ion is lost.
    after = find_ion_sites(energies.symbols, energies.cell, energies.positions).offset[
        energies.ions
    ]
    before = find_ion_sites(
        energies.symbols, energies.cell, half_empty.positions
    ).offset[energies.ions]
    np.testing.assert_allclose(after, before, atol=1e-9)
    for kind in kinds:
        assert sampler.counts[kind].accepted


def test_ions_that_cannot_move_are_refused(atoms, label_set) -> None:
    with pytest.raises(ConfigError, match="vacancy: there is no alkali ion"):
        sampler_of(atoms, label_set, 300.0, MoveSettings.parse("vacancy"))


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
