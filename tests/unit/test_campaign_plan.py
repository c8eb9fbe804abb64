# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which runs explore: every combination in its turn, none twice before all had one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk

from spin_dp.campaign.known import known_frames
from spin_dp.campaign.plan import plan_runs
from spin_dp.campaign.settings import CampaignSettings
from spin_dp.errors import ConfigError, DataError


def settings(exploration: dict[str, Any], *structures: dict[str, Any]) -> Any:
    return CampaignSettings.model_validate(
        {
            "start": {"data": ["frames"]},
            "exploration": exploration,
            "structure": list(structures),
            "dft": {"engine": "gpaw"},
        }
    )


@pytest.fixture(scope="module")
def crystal(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("crystal") / "NiO.cif"
    bulk("NiO", "rocksalt", a=4.17, cubic=True).write(path)
    return str(path)


def test_every_combination_has_its_turn(crystal: str) -> None:
    plan = settings(
        {"temperatures": [300.0, 600.0], "pressures": [0.0, 5.0], "runs": 3},
        {"file": crystal, "labels": ["Ni=2+", "Ni=1.0"], "orders": ["FM", "AFM"]},
    )
    rounds = [plan_runs(plan, Path(), number) for number in range(16)]
    assert all(len({run.name for run in runs}) == 3 for runs in rounds)
    turns = Counter(run.name for runs in rounds for run in runs)
    assert len(turns) == 16
    assert set(turns.values()) == {3}
    seeds = [run.seed for runs in rounds for run in runs]
    assert len(set(seeds)) == len(seeds)  # velocities of their own
    again = plan_runs(plan, Path(), 2)
    assert [(r.name, r.seed) for r in again] == [(r.name, r.seed) for r in rounds[2]]


def test_known_frames_start_in_their_lowest_states(collected: Path) -> None:
    plan = settings({"from_data": "all", "states": 1, "temperatures": [300.0]})
    (run,) = plan_runs(plan, collected, 0)
    frames = known_frames(collected)
    lowest = min(frames, key=lambda atoms: float(atoms.info["energy_per_atom"]))
    assert isinstance(run.structure, Atoms)
    assert run.structure.info["key"] == lowest.info["key"] == "Mn3+HS[1up]"
    assert len(run.structure) == 2 * len(lowest) == 8
    moments = run.structure.get_initial_magnetic_moments()
    assert moments[:4] == pytest.approx(lowest.get_initial_magnetic_moments())
    assert moments[4:] == pytest.approx(moments[:4])


def test_what_cannot_be_explored_is_refused(crystal: str, collected: Path) -> None:
    one = {"file": crystal, "labels": ["Ni=2+"]}
    with pytest.raises(ConfigError, match="most_atoms"):
        plan_runs(settings({"most_atoms": 4}, one), Path(), 0)
    with pytest.raises(ConfigError, match="another name"):
        plan_runs(settings({}, one, one), Path(), 0)
    with pytest.raises(ConfigError, match=r"LiMnO3.*LiMnO2"):
        plan_runs(settings({"from_data": ["LiMnO3"]}), collected, 0)
    with pytest.raises(DataError, match="absent"):
        plan_runs(settings({}, {**one, "file": "absent.cif"}), Path(), 0)
