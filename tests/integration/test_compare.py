# SPDX-License-Identifier: LGPL-3.0-or-later
"""How far two models are apart: largest differences, and what was not compared."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import pytest

from spin_dp.cli.deployment import _print_difference
from spin_dp.deployment import compare
from spin_dp.evaluation import LabelledSystem, predict, read_systems
from tests.integration.test_report import frozen_blind

if TYPE_CHECKING:
    from pathlib import Path

    from spin_dp.inference.engines import Predicted
    from spin_dp.inference.potential import Potential


@pytest.fixture
def blind_model(tmp_path: Path) -> Path:
    return frozen_blind(tmp_path / "blind.pth", ["Li", "Mn", "Co", "Ni", "O"])


def test_differences_are_the_largest_of_all_frames(
    frozen_model: Path,
    collected: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second model is the first one, wrong by known amounts in the last frame."""

    def shifted(potential: Potential, system: LabelledSystem) -> Predicted:
        predicted = predict(potential, system)
        if potential.info.path.name == "wrong.pth" and system.name == last.name:
            predicted.energies[-1] += 0.002 * len(system.symbols)
            predicted.forces[-1, 0, 1] -= 0.3
            predicted.virials[-1, 2, 0] += 0.005 * len(system.symbols)
            assert predicted.magnetic_forces is not None
            predicted.magnetic_forces[-1, -1, 2] += wrong_by
        return predicted

    module = import_module("spin_dp.deployment.compare")
    monkeypatch.setattr(module, "predict", shifted)
    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(frozen_model.read_bytes())
    last = read_systems(collected, "validation")[-1]
    wrong_by = 0.7
    found = compare(frozen_model, wrong, collected)
    wanted = (2.0, 0.3, 5.0, 0.7)
    got = (found.energy, found.force, found.virial, found.magnetic_force)
    assert got == pytest.approx(wanted)
    wrong_by = np.nan
    assert np.isnan(compare(frozen_model, wrong, collected).magnetic_force or 0.0)


def test_magnetic_forces_that_one_model_lacks_are_not_compared(
    blind_model: Path,
    frozen_model: Path,
    collected: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = compare(blind_model, frozen_model, collected)
    assert found.magnetic_force is None
    assert min(found.energy, found.force, found.virial) > 0.0
    _print_difference(blind_model, blind_model, collected)
    assert "virial 0 meV/atom, magnetic forces not compared" in capsys.readouterr().out
