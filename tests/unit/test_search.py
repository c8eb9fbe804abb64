# SPDX-License-Identifier: LGPL-3.0-or-later
"""Chains that search spin states, against trying all assignments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk

from spin_dp import SpinDP, rank_states
from spin_dp.errors import ConfigError
from spin_dp.sampling import MoveSettings
from spin_dp.search import SearchSettings, search_states

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

QUICK = SearchSettings(sweeps=25, chains=4, hottest=2.0e4)


@pytest.fixture(scope="module")
def model(label_model: Path) -> SpinDP:
    return SpinDP(label_model)


def oxide(
    symbols: dict[int, str], repeats: tuple[int, int, int], rattle: float
) -> Atoms:
    """Return rocksalt NiO with other metals and lithium on some sites."""
    atoms: Atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True).repeat(repeats)
    for site, symbol in symbols.items():
        atoms.symbols[site] = symbol
    atoms.rattle(rattle, seed=4)
    return atoms


CELLS = {
    "MnNi3Li4O8": oxide(
        {0: "Mn", **dict.fromkeys((4, 6, 12, 14), "Li")}, (2, 1, 1), 0.08
    ),
    "MnNiLi2O4": oxide({0: "Mn", 4: "Li", 6: "Li"}, (1, 1, 1), 0.05),
    "Mn2Ni2Li4O8": oxide(
        {0: "Mn", 8: "Mn", 2: "Li", 4: "Li", 10: "Li", 12: "Li"}, (2, 1, 1), 0.05
    ),
    "perfect": oxide({4: "Li", 12: "Li"}, (2, 1, 1), 0.0),
}
STATES = {"Mn": ["3+HS", "4+"], "Ni": ["2+", "3+LS"]}


def states_of(atoms: Atoms) -> dict[str, list[str]]:
    return {name: STATES[name] for name in STATES if name in atoms.symbols}


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("method", ["tempering", "annealing"])
def test_the_ground_state_of_all_assignments_is_found(model, cell, method) -> None:
    atoms = CELLS[cell]
    every = rank_states(atoms, model, states=states_of(atoms))
    assert every.attrs["evaluated"] == every.attrs["distinct"] > 1
    settings = SearchSettings(
        method=method, sweeps=25, chains=4, coldest=50.0, hottest=2.0e4
    )
    found = search_states(atoms, model, states=states_of(atoms), settings=settings)
    assert found.table["energy"].iloc[0] == pytest.approx(
        every["energy"].iloc[0], abs=1e-7
    )
    assert found.table["state"].iloc[0] == every["state"].iloc[0]
    # Rows are rows of all; a row of all may stand for several that are equal by chance.
    for row in found.table.to_dict("records"):
        twin = every[np.abs(every["energy"] - row["energy"]) < 1e-6]
        assert 1 <= row["degeneracy"] <= twin["degeneracy"].max()
    lowest = found.history["lowest"].to_numpy()
    assert (np.diff(lowest) <= 0.0).all()
    assert lowest[-1] == pytest.approx(every["energy"].iloc[0], abs=1e-7)
    assert 0 <= found.found_at < 25
    assert found.history["lowest"].iloc[found.found_at] == pytest.approx(lowest[-1])


def test_hot_chains_find_all_states_of_a_small_cell(model) -> None:
    atoms = CELLS["MnNiLi2O4"]
    hot = SearchSettings(sweeps=60, chains=2, coldest=1.0e5, hottest=2.0e5)
    found = search_states(atoms, model, settings=hot, keep=1000)
    every = rank_states(atoms, model)
    np.testing.assert_allclose(found.table["energy"], every["energy"], atol=1e-7)
    assert found.table["state"].tolist() == every["state"].tolist()


def test_the_seed_decides_alone(model) -> None:
    given: dict[str, Any] = {"states": STATES, "settings": QUICK}
    atoms = CELLS["Mn2Ni2Li4O8"]
    one, same = (search_states(atoms, model, **given) for _ in range(2))
    pd.testing.assert_frame_equal(one.history, same.history)
    other = search_states(
        atoms,
        model,
        states=STATES,
        settings=SearchSettings(sweeps=25, chains=4, hottest=2.0e4, seed=2),
    )
    assert not one.history.equals(other.history)


@pytest.mark.parametrize("cut", [1, 7, 24])
def test_an_interrupted_search_goes_on(model, tmp_path, cut) -> None:
    atoms, file = CELLS["Mn2Ni2Li4O8"], tmp_path / "search.json"
    whole = search_states(atoms, model, states=STATES, settings=QUICK)

    def stop(sweep: int, *_: object) -> None:
        if sweep == cut:
            raise KeyboardInterrupt

    given: dict[str, Any] = {
        "states": STATES,
        "settings": QUICK,
        "checkpoint": file,
    }
    with pytest.raises(KeyboardInterrupt):
        search_states(atoms, model, progress=stop, **given)
    assert file.exists() == (cut >= 5)
    again = search_states(atoms, model, **given)
    pd.testing.assert_frame_equal(again.history, whole.history, atol=1e-6)
    np.testing.assert_allclose(again.table["energy"], whole.table["energy"], atol=1e-7)
    assert list(tmp_path.iterdir()) == [file]
    # A finished one is told anew, without a sweep.
    seen: list[int] = []
    search_states(atoms, model, progress=lambda *a: seen.append(a[0]), **given)
    assert seen == []


def test_other_searches_are_refused(model, tmp_path) -> None:
    atoms, file = CELLS["MnNiLi2O4"], tmp_path / "search.json"
    short = SearchSettings(sweeps=2, chains=2)
    search_states(atoms, model, settings=short, checkpoint=file)
    moved = atoms.copy()
    moved.rattle(0.01)
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="is of another search"):
        search_states(moved, model, settings=short, checkpoint=file)
    with pytest.raises(ConfigError, match="is of another search"):
        search_states(atoms, model, settings=QUICK, checkpoint=file)
    assert file.read_bytes() == before
    file.write_text("{}")
    with pytest.raises(ConfigError, match="expected a search to go on with"):
        search_states(atoms, model, settings=short, checkpoint=file)


def test_held_metals_keep_their_labels(model) -> None:
    atoms = CELLS["MnNiLi2O4"]
    found = search_states(
        atoms,
        model,
        ["Ni"],
        states={"Ni": ["2+"]},
        moments="Mn=-4+",
        settings=SearchSettings(
            sweeps=3, chains=2, moves=MoveSettings.parse("flip", reach=None)
        ),
    )
    assert found.table["state"].str.startswith("Mn4+[").all()
    for moments in found.table["moments"]:
        assert moments[0, 2] < 0.0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"method": "genetic"}, "genetic"),
        ({"sweeps": 0}, "at least 1"),
        ({"coldest": 500.0, "hottest": 300.0}, "0 < coldest < hottest"),
        ({"moves": MoveSettings.parse("exchange,vacancy")}, "ions stay"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, says) -> None:
    with pytest.raises(ConfigError, match=says):
        SearchSettings(**changes)


def test_nothing_to_change_is_refused(model) -> None:
    atoms = CELLS["MnNiLi2O4"]
    with pytest.raises(ConfigError, match=r"no neutral assignment|nothing can change"):
        search_states(atoms, model, states={"Mn": ["3+HS"], "Ni": ["2+"]})
