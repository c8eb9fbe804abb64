# SPDX-License-Identifier: LGPL-3.0-or-later
"""A picosecond of MD with the shipped model: crystals hold, energy is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.stability.runs import CONDITIONS, Run, run_one
from spin_dp.deployment.compress import compress
from spin_dp.pretrained import find_model

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.lammps


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the answering model of lixmo2 in the fast form that needs no compiler."""
    folder = tmp_path_factory.mktemp("lixmo2")
    return compress(find_model("lixmo2").files[0], folder / "lixmo2.pth")


@pytest.mark.parametrize(
    ("crystal", "condition"),
    [("LiNiO2", "nvt-600"), ("Li0.5MnO2", "nvt-600"), ("NMC111", "nve-300")],
)
def test_crystals_hold(fast: Path, tmp_path: Path, crystal: str, condition: str):
    run = Run(fast, crystal, "small", CONDITIONS[condition], ps=1.0)
    found = run_one(run, tmp_path / "md")
    assert found.broken_ps is None, found.broken_by
    assert found.ps == pytest.approx(1.0)
    assert found.lost_end == 0
    assert min(found.shortest.values()) > 1.3
    if found.drift is not None:
        assert abs(found.drift) < 0.5  # meV/atom/ps, of one picosecond
