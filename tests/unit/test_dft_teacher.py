# SPDX-License-Identifier: LGPL-3.0-or-later
"""A model as DFT: its own energies and moments, states that flip or do not converge."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from spin_dp import SpinDP
from spin_dp.data_tools import Frame, collect
from spin_dp.dft import Outcome, Request, Status, run_requests
from spin_dp.dft.teacher import Teacher
from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

_LARGEST = 1e-7  # digits of extended XYZ


@pytest.fixture
def requests(cell: Atoms) -> list[Request]:
    """Return twenty displaced cells of metals up and down."""
    found = []
    for number in range(20):
        atoms = cell.copy()
        atoms.rattle(0.02, seed=number)
        signs = np.where(np.arange(len(atoms)) % 4 < 2, 1.0, -1.0)
        moments = np.select(
            [atoms.symbols == "Mn", atoms.symbols == "Ni"], [3.7, 1.7], 0.0
        )
        found.append(
            Request.of(atoms, signs * moments, geometry_id=f"cell-{number:03d}")
        )
    return found


def run(requests: list[Request], engine: Teacher, folder: Path) -> list[Outcome]:
    with ThreadPoolExecutor(1) as pool:
        return run_requests(requests, engine, folder, executor=pool)


def test_answers_are_those_of_the_model(
    predicting_model: Path, requests: list[Request], tmp_path: Path
) -> None:
    model = SpinDP(predicting_model)
    engine = Teacher(model=str(predicting_model))
    found = run(requests[:2], engine, tmp_path)
    for request, outcome in zip(requests, found, strict=False):
        moments = model.predict_moments(request.atoms, request.moments)[:, 2]
        expected = model.evaluate(request.atoms, moments)
        assert outcome.status is Status.CONVERGED
        assert outcome.energy == pytest.approx(float(expected.energy), abs=_LARGEST)
        assert outcome.moments == pytest.approx(moments, abs=_LARGEST)
        frame = engine.frame(request, outcome.folder)
        assert isinstance(frame, Frame)
        assert frame.virial is not None
        np.testing.assert_allclose(frame.forces, expected.forces, atol=_LARGEST)
        np.testing.assert_allclose(frame.virial, expected.virial, atol=1e-5)
        assert frame.constrained is False


def test_model_that_predicts_no_moments_keeps_the_start(
    frozen_model: Path, requests: list[Request], tmp_path: Path
) -> None:
    (found,) = run(requests[:1], Teacher(model=str(frozen_model)), tmp_path)
    assert found.moments == pytest.approx(requests[0].moments)


def test_unpolarised_start_stays_unpolarised(
    predicting_model: Path, requests: list[Request], tmp_path: Path
) -> None:
    atoms = requests[0].atoms
    zero = Request("zero", atoms, np.zeros(len(atoms)))
    (found,) = run([zero], Teacher(model=str(predicting_model)), tmp_path)
    assert found.moments == (0.0,) * len(atoms)


def test_collect_reads_one_level(
    predicting_model: Path, requests: list[Request], tmp_path: Path
) -> None:
    engine = Teacher(model=str(predicting_model), unconverged=0.3, seed=2)
    found = run(requests, engine, tmp_path / "runs")
    report = collect([tmp_path / "runs"], tmp_path / "data")
    n_converged = sum(outcome.status is Status.CONVERGED for outcome in found)
    assert 8 <= n_converged <= 19
    assert (report.n_read, report.n_kept) == (20, n_converged)
    assert set(report.level_groups) == {engine.level(()).id}
    assert engine.level(()).label == "teacher"
    assert list(report.reasons) == ["SCF not converged (converged=F)"]


def test_flipped_and_unconverged_runs_are_the_same_each_time(
    predicting_model: Path, requests: list[Request], tmp_path: Path
) -> None:
    engine = Teacher(model=str(predicting_model), unconverged=0.3, flipped=0.4, seed=1)
    first = run(requests, engine, tmp_path / "first")
    second = run(requests[::-1], engine, tmp_path / "second")[::-1]
    assert [o.status for o in first] == [o.status for o in second]
    assert [o.moments for o in first] == [o.moments for o in second]
    flipped = 0
    for request, outcome in zip(requests, first, strict=True):
        if outcome.moments is not None:
            metals = request.moments != 0
            reversed_ = np.sign(outcome.moments) != np.sign(request.moments)
            assert (reversed_ & metals).sum() <= 1
            flipped += bool((reversed_ & metals).any())
    assert 2 <= flipped <= 12
    other = Teacher(model=str(predicting_model), unconverged=0.3, flipped=0.4, seed=9)
    third = run(requests, other, tmp_path / "third")
    assert [o.status for o in first] != [o.status for o in third]


def test_other_models_are_other_levels(
    predicting_model: Path, frozen_model: Path
) -> None:
    one, two = (Teacher(model=str(path)) for path in (predicting_model, frozen_model))
    one.check_level([one.level(())], ["Ni", "O"])
    with pytest.raises(ConfigError, match="the engine teacher would add"):
        one.check_level([two.level(())], ["Ni", "O"])


def test_refused_geometry_is_a_failure_with_its_reason(
    predicting_model: Path, requests: list[Request], tmp_path: Path
) -> None:
    atoms = requests[0].atoms.copy()
    atoms.symbols[0] = "Fe"
    request = Request("iron", atoms, requests[0].moments)
    (found,) = run([request], Teacher(model=str(predicting_model)), tmp_path)
    assert found.status is Status.FAILED
    assert found.failures == 2
    assert "Fe" in found.reason
