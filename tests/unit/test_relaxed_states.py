# SPDX-License-Identifier: LGPL-3.0-or-later
"""States that are ranked after their atoms have relaxed."""

from __future__ import annotations

import numpy as np
import pytest
from ase.io import read

from spin_dp import SpinDP, rank_states
from spin_dp.errors import ConfigError
from spin_dp.pretrained import resolve
from spin_dp.search import relax_states
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def model() -> SpinDP:
    return SpinDP(resolve("lixmo2")[0])


@pytest.fixture(scope="module")
def ranked(model):
    atoms = read(ROOT / "examples/gpaw/LiMnO2_4.extxyz", index=0).repeat((2, 1, 1))
    atoms.calc = None
    return atoms, rank_states(atoms, model, states={"Mn": ["3+HS"]})


@pytest.mark.parametrize("what", ["atoms", "cell"])
def test_states_relax_and_are_ranked_anew(model, ranked, what) -> None:
    atoms, table = ranked
    found, frames = relax_states(
        atoms, model, table, 2, what=what, max_force=0.05, max_steps=200
    )
    assert found["rank"].tolist() == [1, 2]
    assert found["converged"].all()
    assert (found["max_force"] <= 0.05).all()
    assert (found["relaxation"] < 0.0).all()
    assert found["above_lowest"].iloc[0] == 0.0
    assert set(found["state"]) == set(table["state"])
    for row, relaxed in zip(found.to_dict("records"), frames, strict=True):
        energy = model.evaluate(relaxed).energy
        assert energy == pytest.approx(row["energy"], abs=1e-6)
        assert np.abs(relaxed.positions - atoms.positions).max() > 0.01
        same_cell = np.allclose(relaxed.cell.array, atoms.cell.array)
        assert same_cell == (what == "atoms")
        volume = relaxed.get_volume() / 2
        assert row["volume_per_fu"] == pytest.approx(volume)


def test_few_steps_are_not_called_converged(model, ranked) -> None:
    atoms, table = ranked
    found, _ = relax_states(atoms, model, table, 1, max_force=1e-6, max_steps=2)
    assert not found["converged"].any()


def test_what_makes_no_sense_is_refused(model, ranked) -> None:
    atoms, table = ranked
    with pytest.raises(ConfigError, match="volume"):
        relax_states(atoms, model, table, what="volume")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="positive force"):
        relax_states(atoms, model, table, max_force=0.0)
