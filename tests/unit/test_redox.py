# SPDX-License-Identifier: LGPL-3.0-or-later
"""Redox bookkeeping against trying all states by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk

from spin_dp import SpinDP, rank_states
from spin_dp.errors import ConfigError
from spin_dp.search import SearchSettings, draw_redox, follow_redox

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms


@pytest.fixture(scope="module")
def model(label_model: Path) -> SpinDP:
    return SpinDP(label_model)


@pytest.fixture
def oxide() -> Atoms:
    """Return displaced MnNiLi2O4 twice: neutral with Mn4+ and Ni2+, or 3+ and 3+."""
    atoms: Atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True)
    atoms.symbols[0] = "Mn"
    atoms.symbols[[4, 6]] = "Li"
    atoms = atoms.repeat((2, 1, 1))
    atoms.rattle(0.05, seed=3)
    return atoms


STATES = {"Mn": ["3+HS", "4+"], "Ni": ["2+", "3+LS"]}


def test_the_lowest_state_of_each_arrangement_is_told(model, oxide) -> None:
    seen: list[tuple[int, int]] = []
    found = follow_redox(
        oxide,
        model,
        shares=(0.5, 1.0),
        arrangements=2,
        states=STATES,
        progress=lambda *a: seen.append(a),
    )
    table = found.table
    assert table["x"].tolist() == [1.0, 0.5, 0.5]
    assert table["removed"].tolist() == [0, 2, 2]
    assert seen[-1] == (3, 3)
    for row, atoms in zip(table.to_dict("records"), found.frames, strict=True):
        every = rank_states(atoms, model, states=STATES)
        assert row["energy"] == pytest.approx(every["energy"].iloc[0], abs=1e-9)
        assert row["state"] == every["state"].iloc[0]
        assert model.evaluate(atoms).energy == pytest.approx(row["energy"], abs=1e-9)
        assert row["evaluated"] == every.attrs["evaluated"]
        assert row["oxygen_moment"] > 0.0
        # Lithium that is gone has left its electrons' holes on metals, all of them.
        assert row["oxidised"] - row["reduced"] == row["removed"]
        counts = [row[f"n {name}"] for name in found.states]
        assert sum(counts) == 4
    assert table["lowest"].tolist().count(True) == 2
    half = table[table["x"] == 0.5]
    assert half.loc[half["lowest"], "energy"].item() == half["energy"].min()
    assert found.lowest["x"].tolist() == [1.0, 0.5]


def test_many_assignments_are_searched(model, oxide) -> None:
    """And the search ends where trying all of them does."""
    short = SearchSettings(sweeps=15, chains=3, hottest=2.0e4)
    given = {"shares": (1.0,), "states": STATES}
    every = follow_redox(oxide, model, **given)  # type: ignore[arg-type]
    found = follow_redox(oxide, model, max_patterns=3, search=short, **given)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.table["energy"], every.table["energy"], atol=1e-7)


def test_relaxed_energies_are_lower(model, oxide) -> None:
    given = {"shares": (1.0,), "states": STATES}
    plain = follow_redox(oxide, model, **given)  # type: ignore[arg-type]
    relaxed = follow_redox(oxide, model, relax="atoms", **given)  # type: ignore[arg-type]
    assert relaxed.table["energy"].item() < plain.table["energy"].item()


def test_it_is_drawn(model, oxide, tmp_path) -> None:
    found = follow_redox(oxide, model, shares=(0.5, 1.0), arrangements=1, states=STATES)
    draw_redox(found, tmp_path / "redox.png")
    assert (tmp_path / "redox.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ion": "Na"}, "Na"),
        ({"shares": ()}, "expected 0 to 1"),
        ({"shares": (1.5,)}, "expected 0 to 1"),
        ({"arrangements": 0}, "at least 1"),
        ({"shares": (0.6,)}, "0.6 of the 4 Li ions is no whole number"),
        ({"shares": (0.0,), "states": {"Ni": ["2+"]}}, "no assignment"),
    ],
)
def test_what_cannot_be_is_refused(model, oxide, changes, says) -> None:
    with pytest.raises(ConfigError, match=says):
        follow_redox(oxide, model, **changes)
