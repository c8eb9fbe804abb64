# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which model of an ensemble answers is found by MD, then by errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.base_model.answering import Candidate, choose, ranked, read_choice
from examples.base_model.frames import collect_frames
from spin_dp.deployment.compress import compress
from spin_dp.pretrained import find_model

pytestmark = pytest.mark.lammps

FRAMES = Path(__file__).resolve().parents[2] / "examples" / "gpaw"


def test_md_that_holds_goes_before_small_errors() -> None:
    one, two, three = (
        Candidate(seed=1, held=16, runs=18, force=200.0),
        Candidate(seed=2, held=18, runs=18, force=230.0),
        Candidate(seed=3, held=18, runs=18, force=220.0),
    )
    assert ranked([one, two, three]) == [three, two, one]


def test_the_model_that_holds_answers(label_model: Path, tmp_path: Path) -> None:
    """Beside one of random weights."""
    source = tmp_path / "gpaw"
    source.mkdir()
    (source / "hot.extxyz").symlink_to(FRAMES / "hotLiNiO2_8.extxyz")
    data = tmp_path / "data"
    collect_frames([source], data, held_out=0.5)
    good = compress(find_model("lixmo2").files[0], tmp_path / "good.pth")
    random = compress(label_model, tmp_path / "random.pth")
    seen: list[str] = []
    choose(
        {1: random, 2: good},
        data,
        tmp_path / "md",
        jobs=2,
        progress=lambda name, _step, _steps: seen.append(name),
        crystals=("LiNiO2",),
        size="small",
        ps=0.1,
    )
    first, second = read_choice(tmp_path / "md")
    assert (first.seed, first.held, first.runs) == (2, 2, 2)
    assert first.force < 300.0 < second.force  # meV/Å; random weights know nothing
    assert second.held < 2
    assert len(set(seen)) == 4
