# SPDX-License-Identifier: LGPL-3.0-or-later
"""A campaign from end to end: real dp, real LAMMPS, a model in the place of DFT."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import ase.io
import pandas as pd
import pytest

from spin_dp.campaign import End, learn
from spin_dp.campaign.generation import Generation, Waiting
from spin_dp.campaign.record import CampaignFolder
from spin_dp.campaign.settings import read_campaign
from spin_dp.data_tools.collection.collected import open_collected
from spin_dp.dft import Request, open_engine, run_requests
from spin_dp.errors import ConfigError, SpinDPError
from spin_dp.stages import Reporter
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CAMPAIGN = """
seed = 3
[start]
data = ["frames"]
type_map = ["Li", "Mn", "Co", "Ni", "O"]
validation = 0.3
[budget]
dft_runs = 4
generations = 2
doubtful = 0.0
[training]
models = 2
steps = 12
later_steps = 6
[exploration]
from_data = "all"
states = 1
temperatures = [900.0]
picoseconds = 0.16
every = 10.0
shortest = 0.8
[choice]
frames = 3
force = [1e-6, 100.0]
magnetic_force = [1e-6, 100.0]
more_states = 0.5
"""
TEACHER = '[dft]\nengine = "teacher"\nmodel = "teacher.pth"\nunconverged = 0.2\n'


@pytest.fixture(scope="module")
def labelled(predicting_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with frames that a teacher has labelled, and the teacher."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "teacher.pth").write_bytes(predicting_model.read_bytes())
    engine = open_engine({"engine": "teacher", "model": "teacher.pth"}, folder)
    frames = ase.io.read(ROOT / "examples" / "gpaw" / "LiMnO2_4.extxyz", ":8")
    requests = [
        Request(f"frame-{number}", atoms, atoms.get_magnetic_moments())
        for number, atoms in enumerate(frames)
    ]
    run_requests(requests, engine, folder / "frames")
    return folder


def begin(labelled: Path, folder: Path, dft: str = TEACHER) -> Path:
    """Write a campaign file beside the frames it begins with."""
    folder.mkdir(exist_ok=True)
    for name in ("frames", "teacher.pth"):
        (folder / name).symlink_to(labelled / name)
    path = folder / "campaign.toml"
    path.write_text(CAMPAIGN + dft)
    return path


@pytest.fixture(scope="module")
def finished(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a campaign that was killed, gone on with, and has spent its DFT runs."""
    path = begin(labelled, tmp_path_factory.mktemp("campaign"))
    program = "import sys; from spin_dp.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "learn", str(path)]
    chosen = path.parent / "campaign" / "generation-00" / "tables" / "runs.csv"
    session = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 200
    while not chosen.exists() and time.monotonic() < deadline:
        assert session.poll() is None
        time.sleep(0.1)
    os.killpg(session.pid, signal.SIGKILL)
    session.wait()
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "the DFT runs of the budget are spent" in done.stdout
    return path.parent / "campaign"


@pytest.mark.slow
@pytest.mark.lammps
class TestFinished:
    """What a campaign that was killed in between has come to."""

    def test_its_last_models_know_all_frames(self, finished: Path) -> None:
        kept = open_collected(finished / "data").kept
        ours = kept["source"].str.contains("generation-00")
        outcomes = pd.read_csv(finished / "generation-00" / "outcomes.csv")
        assert len(outcomes) == 4
        assert ours.sum() == (outcomes["status"] == "converged").sum() > 0
        trained = pd.read_csv(finished / "generation-01" / "tables" / "training.csv")
        assert trained["frames"].item() == (kept["split"] == "training").sum()
        for number in (0, 1):
            model = finished / "models" / f"model-{number}.pth"
            trained_on = finished / "generation-01" / "training" / f"model-{number}"
            assert model.read_bytes() == (trained_on / "model.pth").read_bytes()

    def test_the_state_that_was_found_is_what_is_learnt(self, finished: Path) -> None:
        outcomes = pd.read_csv(finished / "generation-00" / "outcomes.csv")
        learnt = pd.read_csv(finished / "generation-00" / "tables" / "learnt.csv")
        converged = outcomes[outcomes["status"] == "converged"]
        assert set(learnt["request"]) == set(converged["request"])
        assert converged["found"].notna().all()
        assert learnt["force_deviation"].gt(0.0).all()
        # The share of geometries with more than one start.
        counts = outcomes.groupby("geometry").size()
        assert len(counts) == 3
        assert counts.max() == 2

    def test_nothing_was_calculated_twice(self, finished: Path) -> None:
        for curve in finished.glob("generation-00/training/model-*/lcurve.out"):
            steps = [
                int(line.split()[0])
                for line in curve.read_text().splitlines()
                if not line.startswith("#")
            ]
            assert steps == sorted(set(steps))
        state = json.loads((finished / "generation-00" / "state.json").read_text())
        assert all(record["done"] for record in state.values())

    def test_each_generation_has_a_page(self, finished: Path) -> None:
        overview = (finished / "report.html").read_text()
        assert "generation-01/report.html" in overview
        page = (finished / "generation-00" / "report.html").read_text()
        assert "Not there yet" not in page
        assert page.count("<svg") == 3
        table = pd.read_csv(finished / "generations.csv")
        assert list(table["dft_runs"]) == [0, 4]

    def test_the_same_command_adds_nothing(self, finished: Path) -> None:
        before = {f: f.stat().st_mtime_ns for f in finished.rglob("*.pth")}
        result = learn(finished.with_suffix(".toml"))
        assert result.end is End.RUNS
        assert result.dft_runs == 4
        kept = {f: t for f, t in before.items() if f.parent.name != "models"}
        assert {f: f.stat().st_mtime_ns for f in kept} == kept


@pytest.mark.slow
@pytest.mark.lammps
def test_vasp_by_hand_waits_for_results(finished: Path, tmp_path: Path) -> None:
    source = finished / "generation-00"
    campaign = CampaignFolder(tmp_path)
    place = campaign.generation(0)
    shutil.copytree(source, place.folder, ignore=shutil.ignore_patterns("dft", "*.csv"))
    settings = read_campaign(finished.with_suffix(".toml"))
    engine = open_engine({"engine": "vasp"})
    one = Generation(place, campaign, settings, engine)
    for _ in range(2):  # the second time it looks, and waits on
        with pytest.raises(Waiting):
            one.label(Reporter())
    assert len(list(place.dft.glob("*/INCAR"))) == 4
    assert not (place.folder / "outcomes.csv").exists()


def test_an_engine_that_is_not_there_is_said_first(tmp_path: Path) -> None:
    frames = ROOT / "examples" / "gpaw" / "LiMnO2_4.extxyz"
    path = tmp_path / "campaign.toml"
    absent = '[dft]\nengine = "gpaw"\npython = "/absent/python"\n'
    path.write_text(CAMPAIGN.replace('"frames"', f'"{frames}"') + absent)
    with pytest.raises(SpinDPError, match="/absent/python"):
        learn(path)
    assert not (tmp_path / "campaign" / "generation-00").exists()


def test_another_level_of_theory_is_refused(labelled: Path, tmp_path: Path) -> None:
    path = begin(labelled, tmp_path / "work", '[dft]\nengine = "gpaw"\n')
    with pytest.raises(ConfigError, match="level"):
        learn(path)
    assert not (path.parent / "campaign" / "generation-00").exists()
