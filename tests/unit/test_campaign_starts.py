# SPDX-License-Identifier: LGPL-3.0-or-later
"""Spin states that DFT starts from, and where it ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk

from spin_dp.campaign.candidate import Candidate
from spin_dp.campaign.starts import StartSettings, find_starts, landed
from spin_dp.errors import ConfigError
from spin_dp.search import rank_states

if TYPE_CHECKING:
    from ase import Atoms

    from spin_dp import SpinDP


def frame(seed: int, moments: tuple[float, float] = (1.7, 1.7)) -> Candidate:
    """Return displaced Ni2O2 with labels."""
    atoms: Atoms = bulk("NiO", "rocksalt", a=4.2).repeat((2, 1, 1))
    atoms.rattle(0.05, seed=seed)
    labels = np.zeros(len(atoms))
    labels[atoms.symbols == "Ni"] = moments
    atoms.set_initial_magnetic_moments(labels)
    return Candidate(atoms, "run", seed, 300.0, 0.2, 0.1, "band")


@pytest.fixture(scope="module")
def geometries() -> list[Candidate]:
    return [frame(seed) for seed in range(4)]


def test_every_second_geometry_gets_another_state(predicting: SpinDP, geometries):
    found = find_starts(geometries, [], predicting)
    assert len(found) == 6
    labels = [s for s in found if s.state == "Ni2+[2up]"]
    assert [s.candidate.step for s in labels] == [0, 1, 2, 3]
    places = [s.candidate.step for s in found]
    assert places == sorted(places)
    for place in set(places):  # the label of the run comes first, nothing twice
        mine = [s for s in found if s.candidate.step == place]
        given = mine[0].candidate.atoms.get_initial_magnetic_moments()
        assert np.array_equal(mine[0].moments, given)
        assert len({s.state for s in mine}) == len(mine)


@pytest.mark.parametrize(("share", "further"), [(0.0, 1), (1.0, 1), (1.0, 3)])
def test_share_and_number_are_kept(predicting: SpinDP, geometries, share, further):
    settings = StartSettings(share=share, further=further)
    found = find_starts(geometries, [], predicting, settings)
    others = {
        row["state"]
        for row in rank_states(geometries[0].atoms, predicting).to_dict("records")
    } - {"Ni2+[2up]"}
    assert len(others) >= 1
    extra = min(further, len(others)) if share else 0
    assert len(found) <= 4 * (1 + extra)
    assert len(found) >= 4 * (1 + min(extra, 1))


def test_starts_are_neutral_states_with_moments_of_the_catalogue(
    predicting: SpinDP, geometries
):
    settings = StartSettings(share=1.0, further=9)
    for start in find_starts(geometries[:1], [], predicting, settings)[1:]:
        symbols = start.candidate.atoms.get_chemical_symbols()
        metals = [i for i, symbol in enumerate(symbols) if symbol == "Ni"]
        assert not np.delete(start.moments, metals).any()
        known = {s.moment for s in predicting.states.of("Ni")}
        assert {abs(m) for m in start.moments[metals]} <= known
        charges = [
            state.charge or 0
            for i in metals
            for state in predicting.states.of("Ni")
            if state.moment == abs(start.moments[i])
        ]
        assert sum(charges) == 4


def test_a_state_that_is_known_well_is_passed_over(predicting: SpinDP):
    # Two metals of an element each: other orders and other states compete.
    atoms: Atoms = bulk("NiO", "rocksalt", a=4.2, cubic=True)
    atoms.rattle(0.05, seed=1)
    labels = np.zeros(len(atoms))
    labels[atoms.symbols == "Ni"] = 1.7
    atoms.set_initial_magnetic_moments(labels)
    one = Candidate(atoms, "run", 0, 300.0, 0.2, 0.1, "band")
    settings = StartSettings(share=1.0, gap=100.0)  # energies hardly count
    first = find_starts([one], [], predicting, settings)[1]
    known = atoms.copy()
    known.set_initial_magnetic_moments(first.moments)
    second = find_starts([one], [known] * 5, predicting, settings)[1]
    assert second.state != first.state


def test_low_states_come_first(predicting: SpinDP, geometries):
    settings = StartSettings(share=1.0, gap=1.0e-4)  # only energies count
    one = geometries[0]
    found = find_starts([one], [], predicting, settings)
    table = rank_states(one.atoms, predicting)
    others = table[(table["state"] != "Ni2+[2up]") & (table["becomes"] != "Ni2+[2up]")]
    assert [s.state for s in found[1:]] == others["state"].head(1).tolist()


def test_without_neutral_states_there_is_the_label(
    predicting: SpinDP, geometries, caplog
):
    atoms: Atoms = geometries[0].atoms.copy()
    atoms.symbols[atoms.symbols == "O"] = ["Li", "O"]
    odd = Candidate(atoms, "odd", 7, 300.0, 0.2, 0.1, "band")
    with caplog.at_level(logging.WARNING):
        found = find_starts([odd], [], predicting, StartSettings(share=1.0))
    assert len(found) == 1
    assert "odd, step 7: starts from its label only" in caplog.text


@pytest.mark.parametrize(
    ("wanted", "found", "kind"),
    [
        ("Mn3+HS[2up]", "Mn3+HS[2up]", "same"),
        ("Mn3+HS[2up]", "Mn3+HS[1up,1dn]#8706b", "flipped sign"),
        ("Ni3+LS[2up,2dn]#9e084", "Ni3+LS[2up,2dn]#aaaaa", "flipped sign"),
        ("Mn3+HS[1up]Mn4+[1up]#b2093", "Mn3+HS[1up]Mn4+[1dn]#6d5f2", "flipped sign"),
        ("Mn3+HS[2up]", "Mn3+HS[1up]Mn3+LS[1up]#0ddc0", "other state"),
        ("Mn3+HS[2up]Mn4+[2up]#11111", "Mn3+HS[2up]Mn4+[2up]#22222", "other state"),
        ("Co3+HS[2up]", "Co3+LS[2]", "unpolarised"),
        ("Mn3+HS[1up]", "Mn3+NM[1]", "unpolarised"),
        ("Co3+LS[2]", "Co3+LS[2]", "same"),
        ("Co3+LS[2]", "Co4+NM[2]", "other state"),
        ("Ni3+LS[1up]Ni4+LS[1]#63ccb", "Ni~1[2up]", "other state"),
        ("Mn3+HS[2up]", "Mn3+HS[2off]", "other state"),
        ("no-metal", "no-metal", "same"),
    ],
)
def test_where_dft_ended(wanted, found, kind):
    assert landed(wanted, found) == kind


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": 1.5}, "expected 0 to 1, got 1.5"),
        ({"further": 0}, "set the share to 0"),
        ({"max_patterns": 0}, "max_patterns"),
        ({"gap": 0.0}, "gap: expected more than 0"),
    ],
)
def test_wrong_settings_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        StartSettings(**values)
