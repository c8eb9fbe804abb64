# SPDX-License-Identifier: LGPL-3.0-or-later
"""Exploration by real LAMMPS, with two models that differ by their exchange."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from spin_dp.campaign.exploration import Exploration, ExplorationRun, explore
from spin_dp.dynamics import Watch
from spin_dp.errors import ConfigError, DataError
from tests.lammps.heisenberg import crystal

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.lammps

RUN = ExplorationRun(
    name="mixed 300 K",
    structure=crystal(),
    labels="Mn=3.0 Ni=-1.3",
    temperature=300.0,
    steps=60,
    interval=2,
)
FAR = Watch(force_limits=(50.0, 100.0), magnetic_limits=(50.0, 100.0))


@pytest.fixture(scope="module")
def free(
    heisenberg: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Exploration:
    return explore(RUN, heisenberg, tmp_path_factory.mktemp("free") / "a", watch=FAR)


def test_run_among_known_frames_finds_nothing(free: Exploration) -> None:
    assert (free.steps, free.departure, free.candidates) == (60, None, [])
    assert free.deviation["step"].tolist() == list(range(0, 61, 2))


def limits(free: Exploration) -> tuple[float, float, int]:
    """Return limits of a band that the run goes through, and where it leaves."""
    sizes = free.deviation["force_eV_per_A"].to_numpy()
    highest = np.maximum.accumulate(sizes)
    place = 15 + int(np.flatnonzero(np.diff(highest[15:]))[0]) + 1
    low = float(np.quantile(sizes[:place], 0.7))
    high = float(highest[place - 1] + highest[place]) / 2.0
    return low, high, 2 * place


def test_candidates_are_those_of_the_band_and_around_the_departure(
    heisenberg: list[Path], free: Exploration, tmp_path: Path
) -> None:
    low, high, step = limits(free)
    watch = replace(FAR, force_limits=(low, high))
    found = explore(RUN, heisenberg, tmp_path / "a", watch=watch)
    assert found.steps == step
    assert found.departure is not None
    assert found.departure.step == step
    sizes = free.deviation.set_index("step")["force_eV_per_A"].loc[:step]
    trusted = sizes.index[sizes < low].max()
    doubted = sizes.index[sizes.index > trusted].min()
    expected = {int(k): "band" for k in sizes.index[(sizes >= low) & (sizes < high)]}
    expected |= {int(trusted): "last trusted", int(doubted): "first doubtful"}
    reasons = {one.step: one.reason for one in found.candidates}
    assert reasons == dict(sorted(expected.items()))
    for one in found.candidates:
        assert one.run == "mixed 300 K"
        assert one.temperature == 300.0
        assert one.force_deviation == pytest.approx(sizes[one.step], rel=1e-3)
        moments = one.atoms.get_initial_magnetic_moments()
        np.testing.assert_allclose(moments, [0, 3, 0, 0, -1.3, 0, 3, 0], atol=1e-8)
        assert one.atoms.calc is None
    # Read again, not run again.
    (tmp_path / "a" / "md").rename(tmp_path / "elsewhere")
    again = explore(RUN, heisenberg, tmp_path / "a", watch=watch)
    assert [one.step for one in again.candidates] == list(reasons)
    assert again.departure == found.departure
    warmer = replace(RUN, temperature=400.0)
    with pytest.raises(ConfigError, match=r"temperature 300\.0 there, 400\.0 now"):
        explore(warmer, heisenberg, tmp_path / "a", watch=watch)
    (tmp_path / "a" / "candidates.extxyz").unlink()
    with pytest.raises(DataError, match=r"candidates\.extxyz: missing"):
        explore(RUN, heisenberg, tmp_path / "a", watch=watch)


def test_single_model_gives_the_frames_of_the_departure(
    heisenberg: list[Path], tmp_path: Path
) -> None:
    watch = Watch(max_temperature=600.0)  # the start is far from equilibrium
    found = explore(RUN, heisenberg[0], tmp_path / "a", watch=watch)
    assert found.departure is not None
    assert found.departure.quantity == "temperature"
    assert 0 < found.steps < 60
    assert {one.step: one.reason for one in found.candidates} == {
        found.steps - 2: "last trusted",
        found.steps: "first doubtful",
    }
    assert all(np.isnan(one.force_deviation) for one in found.candidates)
    assert found.deviation.empty
