# SPDX-License-Identifier: LGPL-3.0-or-later
"""Spin states get the names of chemistry, and the same state gets one name."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from math import inf, isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from ase import Atoms
from ase.spacegroup import crystal

from spin_dp.data_tools import Frame, read_extxyz, read_outcar
from spin_dp.data_tools.dataset.decide import site_levels
from spin_dp.data_tools.dataset.summary import summarise
from spin_dp.data_tools.neighbours import find_pairs
from spin_dp.data_tools.spin_states.classify import FrameState, SpinStates
from spin_dp.data_tools.spin_states.cluster_pattern import FrameMoments
from spin_dp.data_tools.spin_states.clusters import find_clusters
from spin_dp.data_tools.spin_states.ions import ion_charge
from spin_dp.data_tools.spin_states.key import key_text, slug, sorted_labels
from spin_dp.data_tools.spin_states.naming import (
    AMBIGUOUS_BELOW,
    ClusterOfFrame,
    name_clusters,
    prior,
    update,
)
from spin_dp.data_tools.spin_states.nominal import (
    NominalState,
    nominal_states,
    usual_moment,
)
from spin_dp.data_tools.spin_states.sites import find_sites

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spin_dp.data_tools.dataset.summary import Summary

GPAW = Path(__file__).resolve().parents[2] / "examples" / "gpaw"
METALS = ("Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu")
GROUP_NUMBER = dict(zip(METALS, range(4, 12), strict=True))


def frames_of(*names: str) -> list[Frame]:
    paths = [GPAW / f"{name}.extxyz" for name in names]
    found = [frame for path in paths for frame in read_extxyz(path)]
    assert all(isinstance(frame, Frame) for frame in found)
    return [frame for frame in found if isinstance(frame, Frame)]


class Named(NamedTuple):
    frame: Frame
    summary: Summary
    state: FrameState


def named(frames: Sequence[Frame]) -> list[Named]:
    summaries = [summarise(frame) for frame in frames]
    known = [
        FrameMoments(
            group=(summary.formula, summary.level.id),
            site_levels=site_levels(summary.level, summary.elements),
            sites=summary.sites,
            is_held=summary.constrained is True,
        )
        for summary in summaries
    ]
    states = SpinStates(known).frames()
    return [Named(*parts) for parts in zip(frames, summaries, states, strict=True)]


@pytest.fixture(scope="module")
def gpaw() -> list[Named]:
    names = sorted(path.stem for path in GPAW.glob("*.extxyz"))
    names.remove("unconverged")
    found = named(frames_of(*names))
    assert len(found) == 221  # examples/gpaw/README.md
    return found


# --- nominal states


@pytest.mark.parametrize(
    ("element", "oxidation", "unpaired"),
    [  # t2g and eg of an octahedron filled by hand
        ("Ti", 4, {"": 0}),
        ("Ti", 3, {"": 1, "NM": 0}),
        ("V", 3, {"": 2, "LS": 0}),
        ("Cr", 3, {"": 3, "LS": 1, "NM": 0}),
        ("Mn", 4, {"": 3, "LS": 1, "NM": 0}),
        ("Mn", 3, {"HS": 4, "LS": 2, "NM": 0}),
        ("Mn", 2, {"HS": 5, "IS": 3, "LS": 1, "NM": 0}),
        ("Fe", 3, {"HS": 5, "IS": 3, "LS": 1, "NM": 0}),
        ("Fe", 2, {"HS": 4, "IS": 2, "LS": 0}),
        ("Co", 4, {"HS": 5, "IS": 3, "LS": 1, "NM": 0}),
        ("Co", 3, {"HS": 4, "IS": 2, "LS": 0}),
        ("Co", 2, {"HS": 3, "LS": 1, "NM": 0}),
        ("Ni", 4, {"HS": 4, "IS": 2, "LS": 0}),
        ("Ni", 3, {"HS": 3, "LS": 1, "NM": 0}),
        ("Ni", 2, {"": 2, "LS": 0}),
        ("Cu", 2, {"": 1, "NM": 0}),
        ("Cu", 1, {"": 0}),
    ],
)
def test_octahedral_ions_have_the_spins_of_ligand_field_theory(
    element: str, oxidation: int, unpaired: dict[str, int]
) -> None:
    found = [s for s in nominal_states(element) if s.oxidation == oxidation]
    assert {state.spin: state.unpaired for state in found} == unpaired
    assert [s.unpaired for s in found] == sorted(unpaired.values(), reverse=True)


@pytest.mark.parametrize("element", METALS)
@pytest.mark.parametrize("tetrahedral", [False, True])
def test_states_obey_hund_and_the_parity_of_the_electrons(
    element: str, tetrahedral: bool
) -> None:
    by_ion: dict[int, list[NominalState]] = {}
    for state in nominal_states(element, tetrahedral=tetrahedral):
        by_ion.setdefault(state.oxidation, []).append(state)
    for oxidation, states in by_ion.items():
        electrons = GROUP_NUMBER[element] - oxidation
        assert max(s.unpaired for s in states) == min(electrons, 10 - electrons)
        for state in states:
            assert state.spin == "NM" or (state.unpaired - electrons) % 2 == 0
            assert usual_moment(state) <= state.unpaired + 0.25  # Ni3+ polarises its O
            assert (usual_moment(state) == 0.0) is (state.unpaired == 0)
        assert min(s.rarity for s in states) == 0.0


def test_permanganate_needs_a_tetrahedron() -> None:
    octahedral = {s.name for s in nominal_states("Mn")}
    tetrahedral = {s.name for s in nominal_states("Mn", tetrahedral=True)}
    assert "Mn7+" in tetrahedral - octahedral
    assert "Mn3+HS" in octahedral & tetrahedral


@pytest.mark.parametrize(
    ("name", "moment"), [("Mn3+HS", 3.7), ("Co3+HS", 3.1), ("Ni2+", 1.7)]
)
def test_usual_moments_are_those_of_pbe_u(name: str, moment: float) -> None:
    """examples/gpaw/README.md: Mn3+ 3.6-3.8, Co3+ 3.1, Ni2+ 1.7 μB."""
    (state,) = [s for s in nominal_states(name[:2]) if s.name == name]
    assert usual_moment(state) == pytest.approx(moment, abs=0.1)


# --- charges and coordination of the ions


def charge_of(atoms: Atoms) -> float:
    pairs = find_pairs(atoms.cell.array, atoms.get_positions(), 4.0)
    return ion_charge(atoms.get_chemical_symbols(), pairs)


def in_a_box(symbols: str, *positions: tuple[float, float, float]) -> Atoms:
    return Atoms(symbols, positions, cell=[9.0, 9.0, 9.0], pbc=True)


@pytest.mark.parametrize(("n_oxygens", "charge"), [(2, -6), (3, -2), (4, -2)])
def test_sulfur_in_oxoanions_is_a_cation(n_oxygens: int, charge: int) -> None:
    """Sulfite is SO3 2-, sulfate SO4 2-; two oxygens are no oxoanion."""
    corners = np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
    oxygens = 4.5 + 1.47 / np.sqrt(3.0) * corners[:n_oxygens]  # S-O 1.47 Å
    atoms = in_a_box(f"SO{n_oxygens}", (4.5, 4.5, 4.5), *map(tuple, oxygens))
    assert charge_of(atoms) == charge


@pytest.mark.parametrize(
    ("distance", "charge"),
    [
        (1.21, 2 - 2),  # dioxygen, still two bound atoms
        (1.55, 2 - 2),  # Li2O2, L. G. Cota & P. de la Mora, Acta Cryst. B61, 133 (2005)
        (2.22, 2 - 4),  # shortest O-O of examples/gpaw
        (2.80, 2 - 4),
    ],
)
def test_oxygen_pairs_are_peroxide_also_across_the_cell_edge(
    distance: float, charge: float
) -> None:
    atoms = in_a_box("Li2O2", (3, 3, 3), (6, 6, 6), (0.3, 0, 0), (0.3, 0, 0))
    atoms.positions[3, 0] += 9.0 - distance
    assert charge_of(atoms) == charge


def test_charges_of_real_cells(vasp_data: Path) -> None:
    def charge(name: str) -> float:
        frame = next(iter(read_outcar(vasp_data / name / "OUTCAR.gz")))
        assert isinstance(frame, Frame)
        return ion_charge(frame.symbols, find_pairs(frame.cell, frame.positions, 4.0))

    assert charge("fes2-broken-step") == -32  # pyrite: S2(2-) dumbbells, 2.2 Å
    assert charge("batio3-nonmagnetic-relax") == 2 - 6
    assert charge("nagds2-dfpt-truncated") == 12 + 36 - 48
    assert not isfinite(charge("fe4-static"))
    assert not isfinite(charge("fe3pt-config1/vol_00"))


def test_unknown_oxidation_states_and_anion_free_cells_have_no_charge() -> None:
    assert not isfinite(charge_of(in_a_box("RuO2", (0, 0, 0), (2, 0, 0), (0, 2, 0))))
    assert not isfinite(charge_of(in_a_box("LiMn", (0, 0, 0), (3, 0, 0))))
    corners = (0, 0, 0), (4, 0, 0), (0, 4, 0), (0, 0, 4), (4, 4, 0)
    assert charge_of(in_a_box("MnLaO3", *corners)) == 3 - 6
    assert charge_of(in_a_box("MnPSO", *corners[:4])) == 5 - 2 - 2


def spinel() -> Atoms:
    """Co3O4: tetrahedral 8a and octahedral 16d, Acta Cryst. B29, 362 (1973)."""
    sites = [(1 / 8, 1 / 8, 1 / 8), (1 / 2, 1 / 2, 1 / 2), (0.2631, 0.2631, 0.2631)]
    atoms: Atoms = crystal(
        ("Co", "Co", "O"),
        sites,
        spacegroup=227,
        setting=2,
        cellpar=[8.084] * 3 + [90] * 3,
        primitive_cell=True,
    )
    return atoms


@pytest.mark.parametrize("rattle", [0.0, 0.05, 0.1])
def test_coordination_of_the_spinel(rattle: float) -> None:
    atoms = spinel()
    rng = np.random.default_rng(4)
    positions = atoms.positions + rng.normal(size=atoms.positions.shape) * rattle
    symbols = atoms.get_chemical_symbols()
    assert symbols.count("Co") == 6
    moments = np.zeros_like(positions)
    sites = find_sites(symbols, atoms.cell.array, positions, moments)
    assert sorted(sites.coordination.tolist()) == [4, 4, 6, 6, 6, 6]
    assert sites.ion_charge == -16


def test_metals_of_all_layered_cells_are_octahedral(gpaw: list[Named]) -> None:
    for frame, summary, _ in gpaw:
        sites = summary.sites
        assert set(sites.coordination.tolist()) == {6}
        assert [frame.symbols[i] for i in sites.indices] == list(sites.elements)
        np.testing.assert_array_equal(frame.moments[sites.indices], sites.moments)


@pytest.mark.parametrize(
    ("total", "kept"), [(7.4, 7.4), (-7.9, 7.9), (0.0, nan), (3.0, nan), (nan, nan)]
)
def test_total_that_contradicts_the_local_moments_is_not_used(
    total: float, kept: float
) -> None:
    atoms = in_a_box("Mn2O2", *np.eye(4, 3) * 4)
    moments = np.zeros((4, 3))
    moments[:2, 2] = 3.7
    sites = find_sites(
        atoms.get_chemical_symbols(), atoms.cell.array, atoms.positions, moments, total
    )
    np.testing.assert_equal(sites.total_moment, kept)


# --- clusters of moments


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("means", "sigma"), [((0.0, 1.8, 3.1), 0.05), ((2.6, 3.3), 0.1)]
)
def test_states_that_are_apart_become_clusters(
    means: tuple[float, ...], sigma: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    states = rng.integers(len(means), size=60)
    lengths = np.abs(np.array(means)[states] + rng.normal(size=60) * sigma)
    clusters = find_clusters(lengths)
    np.testing.assert_array_equal(clusters.assign(lengths), states)
    for low, edge, high in zip(
        clusters.means, clusters.boundaries, clusters.means[1:], strict=False
    ):
        assert low < edge < high
        assert lengths[lengths < edge].max() < edge < lengths[lengths > edge].min()
    found = [lengths[states == s].mean() for s in range(len(means))]
    np.testing.assert_allclose(clusters.means, found, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("mean", "sigma"), [(0.0, 0.05), (3.7, 0.08), (1.3, 0.15)])
def test_one_state_stays_one_cluster(mean: float, sigma: float, seed: int) -> None:
    lengths = np.abs(np.random.default_rng(seed).normal(mean, sigma, size=200))
    clusters = find_clusters(lengths, 0.08 if sigma < 0.1 else 0.2)
    assert len(clusters.means) == 1
    assert len(clusters.boundaries) == 0
    assert (clusters.margins(lengths) == inf).all()


@pytest.mark.parametrize("length", [0.0, 1e-7, 0.004, 0.006, 3.7])
@pytest.mark.parametrize("count", [1, 7])
def test_equal_moments_are_one_cluster(length: float, count: int) -> None:
    clusters = find_clusters(np.full(count, length))
    assert clusters.means == pytest.approx([length])
    assert (clusters.assign(np.full(count, length)) == 0).all()


def test_lonely_site_far_from_the_others_is_a_cluster_of_its_own() -> None:
    lengths = np.array([3.7] * 50 + [4.3])
    assert find_clusters(lengths).assign(lengths).tolist() == [0] * 50 + [1]


def test_margin_is_the_distance_to_the_nearest_boundary() -> None:
    clusters = find_clusters(np.array([1.0, 1.0, 3.0, 3.0]))
    assert clusters.boundaries == pytest.approx([2.0], abs=0.02)
    lengths = np.array([0.0, 1.5, 2.5, 9.0])
    expected = np.abs(lengths - clusters.boundaries[0])
    np.testing.assert_allclose(clusters.margins(lengths), expected)


def test_moments_of_exactly_zero_weigh_as_much_as_tiny_ones() -> None:
    """Half of the sites of a state lie at 0, the others at 0.3: are they parted?"""
    exact, tiny = (
        find_clusters(np.array([zero] * 5 + [0.3] * 10)) for zero in (0.0, 0.006)
    )
    np.testing.assert_allclose(exact.boundaries, tiny.boundaries, atol=0.011)


# --- naming a pattern of clusters


def own_cost(cluster: ClusterOfFrame, state: NominalState) -> float:
    of_state = prior(state)
    return ((cluster.moment - of_state.mean) / of_state.sigma) ** 2 + state.rarity


def all_namings(
    clusters: Sequence[ClusterOfFrame], ion_charge: float, total: float
) -> list[tuple[float, tuple[NominalState, ...]]]:
    """Cost of every way to name the clusters, by the formula of the module."""
    found = []
    candidates = [
        nominal_states(c.element, tetrahedral=c.tetrahedral) for c in clusters
    ]
    for states in product(*candidates):
        pairs = list(zip(clusters, states, strict=True))
        cost = sum(own_cost(c, s) for c, s in pairs)
        charge = sum(c.count * s.oxidation for c, s in pairs) + ion_charge
        cost += (charge / 0.35) ** 2
        if isfinite(total):
            moment = abs(sum(c.signed * s.unpaired for c, s in pairs))
            cost += ((moment - total) / 0.7) ** 2
        found.append((cost, states))
    return sorted(found, key=lambda way: way[0])


def random_cell(
    rng: np.random.Generator,
) -> tuple[list[ClusterOfFrame], float, float]:
    """Return clusters, ion charge and total moment near those of real states."""
    clusters, charge, total = [], 0, 0
    for count in rng.integers(1, 5, size=rng.integers(1, 4)):
        element, tetrahedral = str(rng.choice(["Mn", "Fe", "Co", "Ni"])), rng.random()
        states = nominal_states(element, tetrahedral=tetrahedral < 0.2)
        state = states[rng.integers(len(states))]
        moment = abs(usual_moment(state) + rng.normal() * 0.3)
        signed = int(rng.integers(-count, count + 1))
        clusters.append(
            ClusterOfFrame(element, tetrahedral < 0.2, moment, int(count), signed)
        )
        charge += int(count) * state.oxidation
        total += signed * state.unpaired
    known = abs(total) + rng.normal() * 0.3 if rng.random() < 0.7 else nan
    return clusters, -float(charge + rng.integers(2) * (rng.random() < 0.3)), known


@pytest.mark.parametrize("block", range(6))
def test_naming_is_the_best_of_all(block: int) -> None:
    for seed in range(100 * block, 100 * block + 100):
        clusters, charge, total = random_cell(np.random.default_rng(seed))
        ways = all_namings(clusters, charge, total)
        cost, best = ways[0]
        pairs = list(zip(clusters, best, strict=True))
        naming = name_clusters(clusters, charge, total, {})
        lead = ways[1][0] - cost  # hopeless states need not be weighed
        assert min(naming.lead, 20.0) == pytest.approx(min(lead, 20.0), abs=1e-9)
        if lead > 1e-9:
            assert naming.charge == charge + sum(
                c.count * s.oxidation for c, s in pairs
            )
        doubtful = {
            cluster.element
            for other, states in ways[1:]
            if other - cost < AMBIGUOUS_BELOW
            for (cluster, state), second in zip(pairs, states, strict=True)
            if state != second
        }
        doubtful |= {c.element for c, s in pairs if own_cost(c, s) > 16.0}
        assert naming.states == tuple(
            None if c.element in doubtful else s for c, s in pairs
        )


def cluster(element: str, moment: float, count: int = 1) -> ClusterOfFrame:
    return ClusterOfFrame(element, False, moment, count, count)


def names(*clusters: ClusterOfFrame, charge: float, **more: Any) -> list[str | None]:
    total = more.pop("total", nan)
    naming = name_clusters(clusters, charge, total, {}, **more)
    return [None if state is None else state.name for state in naming.states]


def test_total_moment_tells_states_apart_that_look_alike_in_the_sphere() -> None:
    """Co4+ with five and three unpaired electrons: 3.3 and 2.6 μB in the sphere."""
    assert names(cluster("Co", 2.95), charge=-4, total=5.0) == ["Co4+HS"]
    assert names(cluster("Co", 2.95), charge=-4, total=3.0) == ["Co4+IS"]


def test_charge_tells_oxidation_states_apart() -> None:
    assert names(cluster("Mn", 3.4), charge=-3, total=4.0) == ["Mn3+HS"]
    assert names(cluster("Mn", 3.4), charge=-4, total=3.0) == ["Mn4+"]
    mixed = names(cluster("Mn", 3.1), cluster("Ni", 1.7), charge=-6, total=5.0)
    assert mixed == ["Mn4+", "Ni2+"]


def test_held_total_that_the_states_do_not_give_leaves_sites_unnamed() -> None:
    """A moment of 1 cannot belong to Ni4+, which has 4, 2 or 0 unpaired electrons."""
    assert names(cluster("Ni", 1.3), charge=-4, total=2.0, is_held=True) == ["Ni4+IS"]
    assert names(cluster("Ni", 1.0), charge=-4, total=1.0, is_held=True) == [None]


def test_metals_and_elements_without_nominal_states_get_no_names() -> None:
    assert names(cluster("Fe", 2.4), charge=nan, total=2.2) == [None]
    pair = [cluster("Pt", 0.3), cluster("Mn", 3.7)]
    assert names(*pair, charge=-3) == [None, "Mn3+HS"]
    assert names(charge=-2) == []


def test_expected_moment_moves_from_the_prior_to_the_data() -> None:
    (state,) = [s for s in nominal_states("Co") if s.name == "Co3+HS"]
    before = prior(state)
    few, many = update(state, 1, 2.9, 0.0), update(state, 10_000, 2.9, 0.3)
    assert before.mean > few.mean > many.mean
    assert (many.mean, many.sigma) == pytest.approx((2.9, 0.3), abs=1e-3)
    assert few.mean == pytest.approx((2.9 + 4 * before.mean) / 5)  # prior: four sites


# --- keys


@pytest.mark.parametrize(
    ("labels", "signs", "key", "folder"),
    [
        (["Mn3+HS"] * 2, [1, -1], "Mn3+HS[1up,1dn]", "Mn3+HS-1up,1dn"),
        (["Ni2+", "Mn4+"], [1, 1], "Mn4+[1up]Ni2+[1up]", "Mn4+-1up_Ni2+-1up"),
        (["Co3+LS"] * 9, [0] * 9, "Co3+LS[9]", "Co3+LS-9"),
        (["Fe~2.5", "Fe~1"], [1, 0], "Fe~2.5[1up]Fe~1[1off]", "Fe~2.5-1up_Fe~1-1off"),
        (["Mn4+", "Mn3+LS", "Mn3+HS"], [1, 1, -1], None, None),
        ([], [], "no-metal", "no-metal"),
    ],
)
def test_keys_and_folder_names(
    labels: list[str], signs: list[int], key: str | None, folder: str | None
) -> None:
    text = key_text(labels, signs, frozenset({"Co3+LS"}), "")
    assert key is None or (text, slug(text)) == (key, folder)
    tagged = key_text(labels, signs, frozenset({"Co3+LS"}), "3fa2c")
    assert not labels or tagged == f"{text}#3fa2c"
    assert not re.search(r"[/\\\[\]#\s]", slug(tagged))


def test_labels_stand_by_element_oxidation_and_spin() -> None:
    ordered = ["Mn2+HS", "Mn3+HS", "Mn3+LS", "Mn4+", "Mn~3", "Mn~0", "Ni2+", "Pt~0.5"]
    rng = np.random.default_rng(1)
    for _ in range(20):
        assert sorted_labels(list(rng.permutation(ordered))) == ordered


# --- names of real frames

ONE_METAL = {  # formula: {total moment, μB: state}; README.md of examples/gpaw
    "LiMnO2": {4: "Mn3+HS", 2: "Mn3+LS", 0: "Mn3+NM"},
    "MnO2": {3: "Mn4+", 1: "Mn4+LS", 0: "Mn4+NM"},
    "LiCoO2": {0: "Co3+LS", 2: "Co3+IS", 4: "Co3+HS"},
    "CoO2": {5: "Co4+HS", 3: "Co4+IS", 1: "Co4+LS", 0: "Co4+NM"},
    "LiNiO2": {1: "Ni3+LS", 3: "Ni3+HS", 0: "Ni3+NM"},
}


def without_tag(key: str) -> str:
    return key.partition("#")[0]


def test_one_metal_cells_have_the_state_that_their_total_moment_says(
    gpaw: list[Named],
) -> None:
    seen = set()
    for frame, _, state in gpaw:
        if frame.formula in ONE_METAL:
            name = ONE_METAL[frame.formula][round(abs(frame.total_moment))]
            assert state.key in {f"{name}[1]", f"{name}[1up]"}
            assert (state.naming, state.charge) == ("certain", 0.0)
            seen.add((frame.formula, name))
    assert len(seen) == sum(map(len, ONE_METAL.values()))


def test_held_states_of_nio2_are_not_one_state(
    gpaw: list[Named],
) -> None:
    """No Ni4+ has one unpaired electron: the constraint made a moment of 1 μB."""
    keys: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}
    for frame, _, state in gpaw:
        if frame.formula == "NiO2":
            keys[round(frame.total_moment)].add(state.key)
    assert keys[0] == {"Ni4+LS[1]"}
    assert keys[2] == {"Ni4+IS[1up]"}
    assert keys[1] == {"Ni~1[1up]"}


TWO_METALS = {  # formula, total moment and whether moments are opposed: state
    ("Li2Mn2O4", 8, False): "Mn3+HS[2up]",
    ("Li2Mn2O4", 0, True): "Mn3+HS[1up,1dn]",
    ("Li2Mn2O4", 6, False): "Mn3+HS[1up]Mn3+LS[1up]",
    ("Li2Mn2O4", 4, False): "Mn3+LS[2up]",
    ("Li2Co2O4", 0, False): "Co3+LS[2]",
    ("Li2Co2O4", 2, False): "Co3+IS[1up]Co3+LS[1]",
    ("Li2Co2O4", 4, False): "Co3+HS[1up]Co3+LS[1]",
    ("Li2Co2O4", 8, False): "Co3+HS[2up]",
    ("Li2Co2O4", 0, True): "Co3+HS[1up,1dn]",
    ("Li2Ni2O4", 2, False): "Ni3+LS[2up]",
    ("Li2Ni2O4", 0, True): "Ni3+LS[1up,1dn]",
    ("Li2Ni2O4", 4, False): "Ni3+HS[1up]Ni3+LS[1up]",
    ("LiMn2O4", 7, False): "Mn3+HS[1up]Mn4+[1up]",
    ("LiMn2O4", 1, True): "Mn3+HS[1up]Mn4+[1dn]",
    ("LiMn2O4", 5, False): "Mn3+LS[1up]Mn4+[1up]",
    ("LiCo2O4", 1, False): "Co3+LS[1]Co4+LS[1up]",
    ("LiCo2O4", 5, False): "Co3+HS[1up]Co4+LS[1up]",
    ("Li2MnNiO4", 5, False): "Mn4+[1up]Ni2+[1up]",
    ("Li2MnNiO4", 1, True): "Mn4+[1up]Ni2+[1dn]",
}
"""Moments of the ions, added up; Mn4+ and Ni2+ in LiNi0.5Mn0.5O2 are known from
X-ray absorption (W.-S. Yoon et al., Electrochem. Solid-State Lett. 5, A263 (2002))."""


def test_two_metal_cells_have_the_states_that_add_up_to_their_moment(
    gpaw: list[Named],
) -> None:
    seen = set()
    for frame, summary, state in gpaw:
        moments = summary.sites.moments[:, 2]
        opposed = bool(moments.min() < -0.5 < 0.5 < moments.max())
        known = (frame.formula, round(abs(frame.total_moment)), opposed)
        if known in TWO_METALS and state.naming == "certain":
            assert without_tag(state.key) == TWO_METALS[known]
            seen.add(known)
    assert seen == TWO_METALS.keys()


def test_nominal_charges_and_moments_of_certain_frames_add_up(
    gpaw: list[Named],
) -> None:
    n_certain = 0
    for frame, _, state in gpaw:
        if state.naming != "certain":
            continue
        n_certain += 1
        ions = frame.symbols.count("Li") - 2 * frame.symbols.count("O")
        parts = [re.fullmatch(r"[A-Z][a-z](\d)\+\w*", label) for label in state.labels]
        assert sum(int(part[1]) for part in parts if part) + ions == 0
        by_name = {s.name: s.unpaired for m in METALS for s in nominal_states(m)}
        up = sum(
            sign * by_name[label]
            for label, sign in zip(state.labels, state.signs, strict=True)
        )
        assert abs(up) == pytest.approx(abs(frame.total_moment), abs=0.75)
    assert n_certain > 190


def test_cells_that_cannot_be_neutral_are_unbalanced(
    gpaw: list[Named],
) -> None:
    """Two equal nonmagnetic Co share seven positive charges in Li0.5CoO2."""
    found = [
        state.naming
        for frame, _, state in gpaw
        if frame.formula == "LiCo2O4" and abs(frame.moments).max() < 1e-3
    ]
    assert len(found) == 3  # README.md: Co0,Co0;M+0.0
    assert set(found) == {"unbalanced"}


@pytest.mark.parametrize("seed", range(2))
def test_key_ignores_reversal_order_of_atoms_and_periodic_images(
    gpaw: list[Named], seed: int, tmp_path: Path
) -> None:
    import ase.io

    rng = np.random.default_rng(seed)
    images = []
    for frame, _, _ in gpaw:
        order = rng.permutation(frame.natoms)
        shifts = rng.integers(-1, 2, size=(frame.natoms, 3)) @ frame.cell
        atoms = Atoms(
            np.array(frame.symbols)[order],
            (frame.positions + shifts)[order],
            cell=frame.cell,
            pbc=True,
        )
        sign = rng.choice([-1.0, 1.0])
        atoms.arrays["forces"] = frame.forces[order]
        atoms.arrays["magmoms"] = sign * frame.moments[order, 2]
        atoms.info = {
            "free_energy": frame.energy,
            "total_magmom": sign * frame.total_moment,
            "settings": frame.level.description["settings"],
            "spin_constraint": "held" if frame.constrained else "none",
        }
        images.append(atoms)
    path = tmp_path / "moved.extxyz"
    ase.io.write(path, images, format="extxyz")
    moved = [frame for frame in read_extxyz(path) if isinstance(frame, Frame)]
    states = [item.state for item in named(moved)]
    assert [state.key for state in states] == [state.key for _, _, state in gpaw]
    assert [s.naming for s in states] == [s.naming for _, _, s in gpaw]


def test_signs_and_labels_belong_to_the_sites(
    gpaw: list[Named],
) -> None:
    for _, summary, state in gpaw:
        sites = summary.sites
        along = sites.moments[:, 2] * state.signs
        has_sign = state.signs != 0
        assert (along[has_sign] > 0).all() or (along[has_sign] < 0).all()
        assert len(state.labels) == len(sites.elements)
        assert all(
            label.startswith(element)
            for label, element in zip(state.labels, sites.elements, strict=True)
        )
        assert (state.margins > 0.0).all()
        assert state.margin == state.margins.min()


def test_slugs_of_different_keys_differ(gpaw: list[Named]) -> None:
    keys = {state.key for _, _, state in gpaw}
    assert len({slug(key) for key in keys}) == len(keys) > 30


def test_a_metal_is_named_by_its_moments(vasp_data: Path) -> None:
    (frame,) = read_outcar(vasp_data / "fe4-static" / "OUTCAR.gz")
    assert isinstance(frame, Frame)
    ((_, _, state),) = named([frame])
    assert state.key == "Fe~2.5[4up]"  # four equal moments of 2.31, in steps of 0.5
    assert state.naming == "moments"
    assert not isfinite(state.charge)
    assert state.margin == inf


def test_moments_of_one_level_do_not_name_those_of_another() -> None:
    """Clusters are of one site level: a shifted copy elsewhere changes nothing."""
    frames = frames_of("LiMnO2_4")
    shifted = [
        replace(
            frame,
            moments=frame.moments * 0.9,
            level=replace(frame.level, description={"settings": "other"}),
        )
        for frame in frames
    ]
    alone = [item.state.margin for item in named(frames)]
    together = [item.state.margin for item in named([*frames, *shifted])]
    assert together[: len(frames)] == alone
