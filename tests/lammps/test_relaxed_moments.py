# SPDX-License-Identifier: LGPL-3.0-or-later
"""Moments that are relaxed between segments of a run.

A shipped model has valleys within the range of its states; one of random weights has
none, and moments run to the edges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from ase.io import read

from spin_dp import SpinDP
from spin_dp.cli.app import main
from spin_dp.dynamics import MomentRelaxation, run_md
from spin_dp.dynamics.relaxed_moments import MOMENT_FILE
from spin_dp.dynamics.visits import GAINED
from spin_dp.errors import ConfigError
from spin_dp.pretrained import resolve
from tests.conftest import ROOT
from tests.lammps.moving_labels import (
    BLIND,
    displaced_oxide,
    kept_energy,
    run_interrupted,
    settings,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

pytestmark = pytest.mark.lammps

OFTEN = MomentRelaxation(every=10, tolerance=1e-3)
GIVEN: dict[str, Any] = {
    "moments": "Ni=3+LS",
    "settings": settings(temperature=900.0, dump_every=5),
    "labels_move": OFTEN,
    "watch": BLIND,
}


@pytest.fixture
def oxide() -> Atoms:
    return displaced_oxide(1)


@pytest.fixture
def nickelate() -> Atoms:
    """Return LiNiO2, four formula units."""
    (path,) = ROOT.glob("examples/gpaw/LiNiO2_8.extxyz")
    atoms: Atoms = read(path, index=0)
    atoms.calc = None
    return atoms.repeat((1, 1, 2))


@pytest.fixture(scope="module")
def shipped() -> Path:
    return resolve("lixmo2")[0]


def test_moments_follow_and_energy_is_kept_but_for_what_is_told(
    nickelate, shipped, tmp_path
) -> None:
    result = run_md(nickelate, shipped, out=tmp_path / "md", **GIVEN)
    table = pd.read_csv(result.folder / MOMENT_FILE)
    assert table["step"].tolist() == [0, 10, 20, 30, 40, 50]
    assert (table["residual_eV_per_muB"] <= OFTEN.tolerance).all()
    # Relaxing takes energy out, never puts it in.
    assert (table[GAINED].diff().iloc[1:] < 0.0).all()
    frames = read(result.trajectory, index=":")
    assert set(frames[-1].arrays["spin_states"]) == {"Ni3+LS", "none"}
    door = SpinDP(shipped)
    (state,) = (s for s in door.states.states if s.name == "Ni3+LS")
    is_nickel = np.array([symbol == "Ni" for symbol in nickelate.symbols])
    largest = {}
    for atoms, step in zip(frames, range(0, 61, 5), strict=True):
        moments = atoms.get_magnetic_moments()
        found = door.evaluate(atoms, moments)
        # Frames have the moments before a visit, and the energy of these.
        assert atoms.get_potential_energy() == pytest.approx(found.energy, abs=1e-6)
        lengths = np.linalg.norm(moments[is_nickel], axis=1)
        assert lengths.min() >= state.range[0]
        assert lengths.max() <= state.range[1]
        largest[step] = np.abs(found.magnetic_forces[is_nickel, 2]).max()
    # After ten steps they are behind, after five half of that.
    assert largest[0] <= OFTEN.tolerance
    assert largest[5] < largest[10]
    first, last = (frames[k].get_magnetic_moments() for k in (0, -1))
    assert np.abs(first - last)[is_nickel].max() > 0.01
    thermo, kept = kept_energy(result, table, GAINED)
    assert np.ptp(kept) < 0.2 * np.ptp(thermo["total_energy_eV"])
    assert result.energy_drift == pytest.approx(
        1000.0 / len(nickelate) * np.polyfit(thermo["time_ps"], kept, 1)[0], rel=1e-3
    )


def test_an_interrupted_run_goes_on_as_it_would_have(
    nickelate, shipped, tmp_path
) -> None:
    whole = run_md(nickelate, shipped, out=tmp_path / "whole", **GIVEN)
    parts = run_interrupted(nickelate, shipped, tmp_path / "parts", **GIVEN)
    pd.testing.assert_frame_equal(
        pd.read_csv(parts.folder / MOMENT_FILE),
        pd.read_csv(whole.folder / MOMENT_FILE),
        atol=1e-6,
    )
    for one, other in zip(
        read(parts.trajectory, ":"), read(whole.trajectory, ":"), strict=True
    ):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-6)
        assert one.get_magnetic_moments() == pytest.approx(
            other.get_magnetic_moments(), abs=1e-5
        )


def test_the_command_line_relaxes_moments(
    oxide, frozen_model, tmp_path, capsys
) -> None:
    """Also of a model that predicts no moments and knows no states."""
    structure = tmp_path / "oxide.extxyz"
    oxide.write(structure)
    words = [
        *("md", str(structure), "-m", str(frozen_model), "-o", str(tmp_path / "md")),
        *("--labels", "Mn=1.6 Ni=0.9", "--steps", "20", "--timestep", "0.5"),
        *("--no-stop", "--labels-move", "relaxed", "--relaxed-every", "5"),
    ]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "moments: relaxed 3 times, largest magnetic force left 0.0" in out
    assert MOMENT_FILE in out


def test_a_state_that_does_not_hold_is_told(
    oxide, predicting_model, tmp_path, caplog
) -> None:
    """The model has random weights: some moment runs to the edge of its valley."""
    given = GIVEN | {"moments": "Mn=3+HS Ni=3+LS"}
    run_md(oxide, predicting_model, out=tmp_path / "md", **given)
    table = pd.read_csv(tmp_path / "md" / MOMENT_FILE)
    said = [one for one in caplog.messages if "the edge of its state" in one]
    assert table["at_edge"].max() > 0
    assert len(said) == 1


@pytest.mark.parametrize("name", ["every", "tolerance", "max_evaluations"])
def test_settings_out_of_range_are_refused(name) -> None:
    wrong: dict[str, Any] = {name: 0}
    with pytest.raises(ConfigError, match="positive"):
        MomentRelaxation(**wrong)
