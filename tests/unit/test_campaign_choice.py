# SPDX-License-Identifier: LGPL-3.0-or-later
"""Candidates for DFT: what is known or unphysical stays out, states get their share."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from spin_dp.campaign import choice, screening
from spin_dp.campaign.candidate import Candidate
from spin_dp.campaign.choice import Choice, choose
from spin_dp.campaign.choice_settings import METHODS, ChoiceSettings
from spin_dp.campaign.screening import check_cells, shortest_contact
from spin_dp.data_tools.selection.choice import farthest_points
from spin_dp.data_tools.selection.features import frame_fingerprint
from spin_dp.errors import ConfigError, DataError
from spin_dp.spin_states.catalogue import Catalogue, SpinState
from spin_dp.spin_states.frame_name import name_frame, reduced_key

if TYPE_CHECKING:
    from collections.abc import Sequence

CATALOGUE = Catalogue(
    [
        SpinState("Mn3+HS", 3.7, 3.5, 3.9, 9),
        SpinState("Mn3+LS", 1.9, 1.8, 2.0, 5),
        SpinState("Ni2+", 1.7, 1.6, 1.8, 7),
        SpinState("Ni3+LS", 1.2, 1.0, 1.3, 6),
    ]
)
IN_BAND = 0.3


def oxide(metals: str = "MnMn", moments: Sequence[float] = (3.7, 3.7)) -> Atoms:
    """Return rocksalt M2O2."""
    cell: Atoms = bulk("NiO", "rocksalt", a=4.3).repeat((2, 1, 1))
    metal = [i for i, s in enumerate(cell.symbols) if s == "Ni"]
    cell.symbols[metal] = [metals[:2], metals[2:]]
    labels = np.zeros(len(cell))
    labels[metal] = moments
    cell.set_initial_magnetic_moments(labels)
    return cell


def candidate(
    atoms: Atoms, run: str = "run", step: int = 0, **values: Any
) -> Candidate:
    given: dict[str, Any] = {
        "temperature": 300.0,
        "force_deviation": IN_BAND,
        "magnetic_deviation": 0.0,
        "reason": "band",
        **values,
    }
    return Candidate(atoms, run, step, **given)


def moved(atoms: Atoms, seed: int, amount: float = 0.05) -> Atoms:
    copy = atoms.copy()
    copy.rattle(amount, seed=seed)
    return copy


def many(number: int, **kinds: Atoms) -> list[Candidate]:
    """Return displaced frames of a run of each kind, far apart in time."""
    return [
        candidate(
            moved(atoms, seed),
            run,
            1000 * seed,
            force_deviation=0.15 + 0.3 * np.random.default_rng(seed).random(),
        )
        for run, atoms in kinds.items()
        for seed in range(number)
    ]


FOUR_STATES = {
    "mnhs": oxide(),
    "mnafm": oxide(moments=(3.7, -3.7)),
    "mnls": oxide(moments=(1.9, 1.9)),
    "ni": oxide("NiNi", (1.7, 1.7)),
}


def identity(found: Choice) -> list[tuple[str, int]]:
    return [(c.run, c.step) for c in found.candidates]


@pytest.mark.parametrize("method", METHODS)
def test_order_of_candidates_and_of_known_frames_does_not_matter(method):
    members = many(12, **FOUR_STATES)
    known = [moved(oxide(), seed) for seed in (101, 102)]
    settings = ChoiceSettings(method=method, seed=3)
    first = choose(members, known, 9, settings, catalogue=CATALOGUE)
    order = np.random.default_rng(0).permutation(len(members))
    second = choose(
        [members[i] for i in order], known[::-1], 9, settings, catalogue=CATALOGUE
    )
    assert identity(first) == identity(second)
    assert first.table.equals(second.table)
    assert first.left_out == second.left_out


@pytest.mark.parametrize("method", METHODS)
def test_every_candidate_is_chosen_or_counted(method):
    members = many(6, **FOUR_STATES)
    members += [replace(m, force_deviation=0.01, step=m.step + 500) for m in members]
    found = choose(members, [], 7, ChoiceSettings(method=method), catalogue=CATALOGUE)
    assert len(found.candidates) == 7 == len(found.table)
    assert found.left_out[screening.KNOWN] == 24
    assert len(found.candidates) + sum(found.left_out.values()) == len(members)
    assert found.states["chosen"].sum() == 7


def test_bands_say_what_is_known_and_what_must_be_physical():
    frame = oxide()
    close = frame.copy()
    close.positions[1] = close.positions[0] + [1.55, 0.0, 0.0]  # 0.76 of Mn-O
    settings = ChoiceSettings(force_band=(0.1, 0.5), magnetic_band=(0.2, 0.8))
    cases = {
        "low": (frame, 0.09, 0.19, False),
        "force": (moved(frame, 1), 0.1, 0.0, True),
        "magnetic": (moved(frame, 2), 0.0, 0.2, True),
        "close in the band": (close, 0.3, 0.0, True),
        "above": (moved(frame, 3), 9.0, 0.0, True),
        "infinite": (moved(frame, 4), np.inf, 0.0, True),
        "close above": (close, 0.51, 0.0, False),
        "close magnetic": (close, 0.3, 0.81, False),
    }
    for run, (atoms, force, magnetic, is_wanted) in cases.items():
        one = candidate(atoms, run, force_deviation=force, magnetic_deviation=magnetic)
        found = choose([one], [], 1, settings, catalogue=CATALOGUE)
        assert (len(found.candidates) == 1) is is_wanted, run


def test_above_the_band_the_volume_must_be_like_that_of_known_frames():
    swollen = oxide()
    swollen.set_cell(swollen.cell * 1.15, scale_atoms=True)
    far = [candidate(swollen, force_deviation=5.0)]
    assert len(choose(far, [], 1, catalogue=CATALOGUE).candidates) == 1
    found = choose(far, [oxide()], 1, catalogue=CATALOGUE)
    assert found.left_out == {screening.UNSOUND: 1}


def test_contact_is_the_shortest_distance_over_covalent_radii():
    atoms = Atoms("OO", [[0, 0, 0], [0, 0, 0.99]], cell=[9, 9, 9], pbc=True)
    assert shortest_contact(atoms) == pytest.approx(0.99 / 1.32)
    atoms.positions[1] = [0, 0, 8.4]  # the neighbour is an image
    assert shortest_contact(atoms) == pytest.approx(0.6 / 1.32)
    assert shortest_contact(oxide(), largest=0.9) == np.inf


def test_an_earlier_frame_stands_in_for_one_with_atoms_too_near():
    early, late = moved(oxide(), 1), moved(oxide(), 2)
    late.positions[1] = late.positions[0] + [1.0, 0.0, 0.0]
    members = [
        candidate(early, step=100, force_deviation=0.05, reason="last trusted"),
        candidate(late, step=200, force_deviation=3.0, reason="first doubtful"),
    ]
    found = choose(members, [], 2, catalogue=CATALOGUE)
    assert identity(found) == [("run", 100)]
    assert found.left_out == {screening.REPLACED: 1}
    assert "in place of step 200" in found.table["why"][0]
    # Not where that frame competes on its own, nor with a frame of another run.
    own = [replace(members[0], force_deviation=IN_BAND), members[1]]
    assert choose(own, [], 2, catalogue=CATALOGUE).left_out == {screening.CLOSE: 1}
    other = [replace(members[0], run="other"), members[1]]
    assert not choose(other, [], 2, catalogue=CATALOGUE).candidates


def test_copies_are_chosen_once():
    frame = moved(oxide(moments=(3.7, -3.7)), 1)
    turned = frame.copy()
    turned.rotate(35.0, (1, 2, 3), rotate_cell=True)
    turned.translate([0.3, 0.1, 0.7])
    reversed_ = frame.copy()
    reversed_.set_initial_magnetic_moments(-frame.get_initial_magnetic_moments())
    order = [2, 3, 0, 1]
    frames = [frame, turned, reversed_, frame[order], frame.repeat((1, 2, 1)), frame]
    members = [candidate(atoms, f"run{k}") for k, atoms in enumerate(frames)]
    found = choose(members, [], 6, catalogue=CATALOGUE)
    assert len(found.candidates) == 1
    assert found.left_out == {choice.COPY: 5}
    assert choose(members, [turned], 6, catalogue=CATALOGUE).left_out == {
        choice.COPY: 6
    }


def test_the_same_geometry_in_another_spin_state_is_no_copy():
    frame = moved(oxide(), 1)
    other = frame.copy()
    other.set_initial_magnetic_moments(
        [1.9 if m else 0.0 for m in frame.get_initial_magnetic_moments()]
    )
    members = [candidate(frame, "a"), candidate(other, "b")]
    assert len(choose(members, [], 2, catalogue=CATALOGUE).candidates) == 2


def test_neighbours_in_time_are_one_frame():
    members = [candidate(moved(oxide(), k), step=20 * k) for k in range(8)]
    found = choose(members, [], 8, ChoiceSettings(steps_apart=50), catalogue=CATALOGUE)
    steps = sorted(c.step for c in found.candidates)
    assert min(np.diff(steps)) >= 50
    assert found.left_out == {choice.NEIGHBOUR: 8 - len(steps)}
    others = [replace(m, run=f"run{m.step}") for m in members]
    assert len(choose(others, [], 8, catalogue=CATALOGUE).candidates) == 8


@pytest.mark.parametrize("method", ["both", "deviation", "farthest"])
def test_all_compositions_and_states_get_a_frame_where_there_are_enough(method):
    members = many(30, mnhs=FOUR_STATES["mnhs"])
    members += many(3, **{k: v for k, v in FOUR_STATES.items() if k != "mnhs"})
    settings = ChoiceSettings(method=method)
    two = choose(members, [], 2, settings, catalogue=CATALOGUE)
    assert set(two.table["formula"]) == {"MnO", "NiO"}
    three = choose(members, [], 3, settings, catalogue=CATALOGUE)
    assert "Mn3+LS" not in three.missing
    assert "Mn3+HS" not in three.missing
    four = choose(members, [], 4, settings, catalogue=CATALOGUE)
    assert {run for run, _ in identity(four)} == set(FOUR_STATES)
    assert four.missing == ("Ni3+LS",)


def test_rare_states_get_more_of_what_is_left():
    kinds = {"mnhs": FOUR_STATES["mnhs"], "mnls": FOUR_STATES["mnls"]}
    members = [replace(m, force_deviation=IN_BAND) for m in many(20, **kinds)]
    known = [moved(FOUR_STATES["mnhs"], 500 + k) for k in range(8)]
    found = choose(members, known, 12, catalogue=CATALOGUE)
    counts = found.table["state"].value_counts()
    # Weights 1/sqrt(1 + 8) and 1: a quarter of twelve and the rest.
    assert counts["Mn3+HS[1up]"] == 3
    assert counts["Mn3+LS[1up]"] == 9
    even = choose(members, [], 12, catalogue=CATALOGUE).table["state"].value_counts()
    assert even.tolist() == [6, 6]


def prints(frames: Sequence[Atoms]) -> np.ndarray:
    return np.stack(
        [
            frame_fingerprint(
                a.get_chemical_symbols(),
                a.positions,
                a.cell.array,
                np.outer(a.get_initial_magnetic_moments(), [0.0, 0.0, 1.0]),
            )
            for a in frames
        ]
    )


def test_each_frame_is_the_best_of_all_that_are_left():
    members = many(15, mnhs=FOUR_STATES["mnhs"])
    known = [moved(oxide(), 900), moved(oxide(), 901)]
    points, others = prints([m.atoms for m in members]), prints(known)
    doubt = np.array([m.force_deviation for m in members])
    for method, weights in (("farthest", np.ones(15)), ("both", doubt)):
        taken: list[int] = []
        for _ in range(5):  # brute force over all candidates and all references
            worth = {
                i: weights[i]
                * min(
                    np.linalg.norm(points[i] - p)
                    for p in [*others, *(points[j] for j in taken)]
                )
                for i in range(15)
                if i not in taken
            }
            taken.append(max(worth, key=lambda i: worth[i]))
        settings = ChoiceSettings(method=method)
        found = choose(members, known, 5, settings, catalogue=CATALOGUE)
        assert identity(found) == [(members[i].run, members[i].step) for i in taken]
    most = choose(
        members, known, 5, ChoiceSettings(method="deviation"), catalogue=CATALOGUE
    )
    expected = sorted(doubt, reverse=True)[:5]
    assert most.table["force_deviation"].tolist() == pytest.approx(expected)


def test_lots_depend_on_the_seed_only():
    members = many(20, mnhs=FOUR_STATES["mnhs"])
    draws = [
        identity(choose(members, [], 5, ChoiceSettings(method="random", seed=seed)))
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_farthest_points_keep_away_from_known_ones():
    rng = np.random.default_rng(5)
    points, known = rng.normal(size=(9, 3)), rng.normal(size=(4, 3))
    found = farthest_points(points, 2, [], known)

    def worst(i: int, *others: int) -> float:
        references = [*known, *points[list(others)]]
        return min(float(np.linalg.norm(points[i] - p)) for p in references)

    first = max(range(9), key=worst)
    second = max((i for i in range(9) if i != first), key=lambda i: worst(i, first))
    assert found == [first, second]


def test_a_key_is_reduced_to_its_smallest_cell():
    for key, expected in (
        ("Mn3+HS[2up,2dn]#8706b", "Mn3+HS[1up,1dn]#8706b"),
        ("Mn4+[2up]Ni2+[2up]", "Mn4+[1up]Ni2+[1up]"),
        ("Mn4+[3up]Ni2+[2up]#12345", "Mn4+[3up]Ni2+[2up]#12345"),
        ("Co3+LS[9]", "Co3+LS[1]"),
        ("Ni~1.5[4up]", "Ni~1.5[1up]"),
        ("no-metal", "no-metal"),
    ):
        assert reduced_key(key) == expected


def test_a_frame_is_named_by_the_nearest_states_in_any_cell():
    frame = oxide(moments=(3.5, -2.0))
    names = [
        name_frame(
            atoms.get_chemical_symbols(),
            atoms.cell.array,
            atoms.positions,
            atoms.get_initial_magnetic_moments(),
            CATALOGUE,
        )
        for atoms in (frame, frame.repeat((1, 2, 1)))
    ]
    assert names[0].states == ("Mn3+HS", "Mn3+LS")
    assert names[0].key.startswith("Mn3+HS[1up]Mn3+LS[1dn]#")
    assert names[0].per_cell == names[1].per_cell


def test_a_cell_too_large_for_dft_is_named():
    with pytest.raises(ConfigError, match=r"run7: its cell has 48 atoms.* at most 32"):
        check_cells({"run7": 48}, 32)
    large = candidate(oxide().repeat((3, 3, 1)), "big")
    with pytest.raises(ConfigError, match="big: its cell has 36 atoms"):
        choose([large], [], 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"force_band": (0.5, 0.5)}, r"force_band: .* 0 <= low < high"),
        ({"magnetic_band": (-0.1, 0.5)}, "magnetic_band"),
        ({"contact": 0.9, "sound_contact": 0.8}, "contact <= sound_contact"),
        ({"method": "farthst"}, "did you mean 'farthest'"),
        ({"steps_apart": -1}, "steps_apart: expected 0 or more"),
        ({"most_atoms": 0}, "most_atoms"),
    ],
)
def test_wrong_settings_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        ChoiceSettings(**values)


def test_wrong_candidates_are_refused():
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        choose([], [], 0)
    nan = candidate(oxide(), "r1", 20, force_deviation=np.nan)
    with pytest.raises(DataError, match="r1, step 20: expected a force deviation"):
        choose([nan], [], 1)
    tilted = bulk("NiO", "rocksalt", a=4.3)
    tilted.set_initial_magnetic_moments(np.ones((2, 3)))
    with pytest.raises(DataError, match="collinear"):
        choose([candidate(tilted)], [], 1)


def test_nothing_to_choose_from_is_an_empty_choice():
    found = choose([], [oxide()], 3, catalogue=CATALOGUE)
    assert found.candidates == ()
    assert found.table.empty
    assert list(found.table) == list(choice.COLUMNS)
    assert found.left_out == {}


def test_frames_of_different_spin_states_are_apart():
    points = prints(list(FOUR_STATES.values())[:3])
    assert all(
        np.linalg.norm(points[a] - points[b]) > 0.5
        for a, b in combinations(range(3), 2)
    )
