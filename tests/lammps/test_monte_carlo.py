# SPDX-License-Identifier: LGPL-3.0-or-later
"""Labels that move: states held with relaxed moments, and Monte Carlo between segments.

The model has random weights and learnt nothing; that it says so is all that counts.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from ase.io import read

from spin_dp import SpinDP
from spin_dp.cli.app import main
from spin_dp.dynamics import MonteCarlo, run_md
from spin_dp.dynamics.monte_carlo import LABEL_FILE, LabelVisitor
from spin_dp.errors import ConfigError
from spin_dp.sampling import MoveSettings
from tests.conftest import STATES_INFO, build_model
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

    from spin_dp.dynamics import MDResult

pytestmark = pytest.mark.lammps

HOT = MonteCarlo(every=10, trials=30, temperature=4000.0)
LABELS = "Mn=3+HS Ni=3+LS"
GIVEN: dict[str, Any] = {
    "moments": LABELS,
    "settings": settings(),
    "labels_move": HOT,
    "watch": BLIND,
}


@pytest.fixture(scope="module")
def model(label_model: Path) -> Path:
    return label_model


@pytest.fixture
def oxide() -> Atoms:
    return displaced_oxide(2)


def run(oxide: Atoms, model: Path, out: Path, **changes: Any) -> MDResult:
    return run_md(oxide, model, out=out, **(GIVEN | changes))


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> MDResult:
    return run(displaced_oxide(2), model, tmp_path_factory.mktemp("whole") / "md")


def test_states_held_by_name_have_the_energy_of_states(oxide, model, tmp_path) -> None:
    result = run(oxide, model, tmp_path / "md", labels_move="adiabatic")
    frames = read(result.trajectory, index=":")
    door = SpinDP(model)
    for atoms in (frames[0], frames[-1]):
        expected = door.evaluate(atoms, LABELS)
        assert atoms.get_potential_energy() == pytest.approx(expected.energy, abs=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=1e-6)
        # What LAMMPS carries, and what the states have at this geometry.
        labels = door.labels(atoms, LABELS).moments
        np.testing.assert_allclose(atoms.arrays["labels"], labels, atol=1e-9)
        moments = door.predict_moments(atoms, labels)
        np.testing.assert_allclose(atoms.get_magnetic_moments(), moments, atol=1e-6)
        assert np.abs(moments - labels).max() > 0.01
        assert set(atoms.arrays["spin_states"]) == {"Mn3+HS", "Ni3+LS", "none"}
    # It is the same without asking, and energy is kept.
    same = run(oxide, model, tmp_path / "md", labels_move="adiabatic")
    assert same.state == "finished"
    plain = run(oxide, model, tmp_path / "plain", labels_move=None)
    assert plain.thermo.read_text() == result.thermo.read_text()
    table = pd.read_csv(result.thermo)
    assert np.ptp(table["total_energy_eV"]) / len(oxide) < 1e-4


IONS = MonteCarlo(
    every=10,
    trials=12,
    temperature=2.0e4,
    moves=MoveSettings.parse("exchange,vacancy=2,antisite=2"),
)


@pytest.fixture
def half_empty(oxide: Atoms) -> Atoms:
    """Return that oxide with three Li and three empty places."""
    nickel = [i for i, symbol in enumerate(oxide.symbols) if symbol == "Ni"]
    for i in nickel[:3]:
        oxide.symbols[i] = "Li"
    del oxide[nickel[3:]]
    return oxide


@pytest.mark.parametrize("ranks", [1, 2])
def test_ions_move_and_the_energy_is_that_of_the_model(
    half_empty, model, tmp_path, ranks
) -> None:
    """Also over an interruption, of which nothing is seen."""
    given = {"moments": "Mn=3+HS", "labels_move": IONS, "ranks": ranks}
    whole = run(half_empty, model, tmp_path / "whole", **given)
    moved = pd.read_csv(whole.folder / LABEL_FILE)
    for kind in ("vacancy", "antisite"):
        assert 0 < moved[f"{kind} accepted"].iloc[-1] <= moved[f"{kind} tried"].iloc[-1]
    frames = read(whole.trajectory, index=":")
    steps = [np.abs(b.positions - a.positions).max() for a, b in pairwise(frames)]
    assert max(steps) > 2.0  # a jump to another octahedron
    door = SpinDP(model)
    for atoms in frames[::3]:
        assert atoms.get_chemical_symbols() == half_empty.get_chemical_symbols()
        expected = door.evaluate(atoms, "Mn=3+HS")
        assert atoms.get_potential_energy() == pytest.approx(expected.energy, abs=1e-7)
        np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=1e-6)
    thermo, kept = kept_energy(whole, moved, "gained_eV")
    assert np.ptp(kept) < 0.02 * np.ptp(thermo["total_energy_eV"])
    parts = run_interrupted(half_empty, model, tmp_path / "parts", **(GIVEN | given))
    again = pd.read_csv(parts.folder / LABEL_FILE)
    pd.testing.assert_frame_equal(again, moved, atol=1e-5, rtol=1e-6)
    for one, other in zip(read(parts.trajectory, ":"), frames, strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-5)


def test_moments_are_held_where_they_are_asked_for(oxide, model, tmp_path) -> None:
    held = run(oxide, model, tmp_path / "held", labels_move="held")
    frame = read(held.trajectory, index=-1)
    door = SpinDP(model)
    start = read(held.trajectory, index=0)
    moments = door.moments(start, LABELS)
    np.testing.assert_allclose(frame.get_magnetic_moments(), moments, atol=1e-6)


def test_what_moves_gain_is_what_the_total_energy_jumps_by(whole) -> None:
    moved = pd.read_csv(whole.folder / LABEL_FILE)
    thermo, kept = kept_energy(whole, moved, "gained_eV")
    assert moved["gained_eV"].iloc[-1] != 0.0
    assert np.ptp(thermo["total_energy_eV"]) > 0.02
    assert np.ptp(kept) < 0.02 * np.ptp(thermo["total_energy_eV"])
    assert whole.energy_drift == pytest.approx(
        1000.0 / 16 * np.polyfit(thermo["time_ps"], kept, 1)[0], rel=1e-3
    )


def test_the_charge_is_kept_and_states_are_told(whole) -> None:
    moved = pd.read_csv(whole.folder / LABEL_FILE)
    assert moved["step"].tolist() == [0, 10, 20, 30, 40, 50]
    charges = {"Mn3+HS": 3, "Mn3+LS": 3, "Mn4+": 4, "Ni2+": 2, "Ni3+LS": 3}
    states = moved[list(charges)].to_numpy()
    np.testing.assert_array_equal(states.sum(axis=1), 8)
    np.testing.assert_array_equal(states @ np.array(list(charges.values())), 24)
    assert len(np.unique(states, axis=0)) > 1
    for kind in ("exchange", "flip", "spin", "transfer"):
        assert (moved[f"{kind} accepted"] <= moved[f"{kind} tried"]).all()
    frames = read(whole.trajectory, index=":")
    last = frames[-1]
    names = [str(name).removeprefix("-") for name in last.arrays["spin_states"]]
    counts = {name: names.count(name) for name in charges}
    assert counts == moved[list(charges)].iloc[-1].to_dict()
    assert not np.allclose(frames[0].arrays["labels"], last.arrays["labels"])


def test_a_frame_says_itself_in_which_state_it_is(whole, model) -> None:
    """With its signs: labels of the frame give the energy of the frame."""
    door = SpinDP(model)
    frames = read(whole.trajectory, index=":")
    assert any("-" in str(name) for name in frames[-1].arrays["spin_states"])
    for atoms in frames[::2]:
        energy = atoms.get_potential_energy()
        assert door.evaluate(atoms).energy == pytest.approx(energy, abs=1e-7)


@pytest.mark.parametrize("visits", [1, 3, 4])
def test_an_interrupted_run_goes_on_as_it_would_have(
    oxide, model, tmp_path, whole, monkeypatch, visits
) -> None:
    seen: list[int] = []
    visit = LabelVisitor.visit

    def interrupted(self, session):
        if len(seen) == visits:
            raise KeyboardInterrupt
        seen.append(session.state.step)
        return visit(self, session)

    monkeypatch.setattr(LabelVisitor, "visit", interrupted)
    with suppress(KeyboardInterrupt):
        run(oxide, model, tmp_path / "cut")
    assert len(seen) == visits
    monkeypatch.setattr(LabelVisitor, "visit", visit)
    result = run(oxide, model, tmp_path / "cut")
    assert result.state == "finished"
    pd.testing.assert_frame_equal(
        pd.read_csv(result.folder / LABEL_FILE),
        pd.read_csv(whole.folder / LABEL_FILE),
        atol=1e-6,
    )
    mine, theirs = (read(one.trajectory, index=":") for one in (result, whole))
    assert len(mine) == len(theirs)
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-6)
        np.testing.assert_allclose(one.arrays["labels"], other.arrays["labels"])


def test_two_ranks_give_the_same_chain(oxide, model, tmp_path, whole) -> None:
    result = run(oxide, model, tmp_path / "two", ranks=2)
    pd.testing.assert_frame_equal(
        pd.read_csv(result.folder / LABEL_FILE),
        pd.read_csv(whole.folder / LABEL_FILE),
        atol=1e-6,
    )


def test_other_moves_are_another_run(oxide, model, tmp_path, whole) -> None:
    with pytest.raises(ConfigError, match="other settings: labels_move"):
        run(oxide, model, whole.folder, labels_move=MonteCarlo(every=5))


def test_rotations_turn_whole_moments(oxide, model, tmp_path) -> None:
    shares = {"exchange": 0.0, "flip": 0.0, "spin": 0.0, "transfer": 0.0}
    moves = MoveSettings(**shares, rotate=1.0)
    hot = MonteCarlo(every=10, trials=30, temperature=4000.0, moves=moves)
    result = run(oxide, model, tmp_path / "turned", labels_move=hot)
    first, last = (read(result.trajectory, index=i).arrays["labels"] for i in (0, -1))
    np.testing.assert_allclose(
        np.linalg.norm(first, axis=1), np.linalg.norm(last, axis=1), atol=1e-9
    )
    assert np.abs(last[:, :2]).max() > 0.3
    frame = read(result.trajectory, index=-1)
    energy = SpinDP(model).evaluate(frame).energy
    assert frame.get_potential_energy() == pytest.approx(energy, abs=1e-7)


def test_runs_start_from_directions_that_are_drawn(oxide, model, tmp_path) -> None:
    given = {"labels_move": "adiabatic", "order": "random-directions"}
    result = run(oxide, model, tmp_path / "md", **given)
    frame = read(result.trajectory, index=0)
    metals = [symbol != "O" for symbol in frame.symbols]
    vectors = frame.arrays["labels"][metals]
    lengths = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(np.sort(np.unique(lengths.round(6))), [1.2, 3.7])
    assert np.abs(vectors[:, :2]).max() > 0.5
    energy = SpinDP(model).evaluate(frame).energy
    assert frame.get_potential_energy() == pytest.approx(energy, abs=1e-7)


def test_the_command_line_moves_labels(oxide, model, tmp_path, capsys) -> None:
    structure = tmp_path / "oxide.extxyz"
    oxide.write(structure)
    words = [
        *("md", str(structure), "-m", str(model), "-o", str(tmp_path / "md")),
        *("--labels", LABELS, "--steps", "40", "--timestep", "0.5", "--no-stop"),
        *("--dump-every", "20", "--labels-move", "monte-carlo", "--mc-every", "10"),
        *("--mc-moves", "flip,transfer", "--mc-temperature", "3000"),
        *("--mc-states", "Mn=3+HS,4+ Ni=2+,3+LS"),
    ]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "flip:" in out
    assert "exchange:" not in out
    assert "states: Mn3+HS 2 ->" in out
    assert not pd.read_csv(tmp_path / "md" / LABEL_FILE)["transfer tried"].isna().any()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"moments": "Mn=3.7 Ni=3+LS"}, "labelled by a moment, 3.70"),
        ({"labels_move": "often"}, "often"),
        (
            {"labels_move": MonteCarlo(states={"Mn": ["4+"]})},
            "Mn3\\+HS is not among those that Mn may be in",
        ),
        ({"labels_move": MonteCarlo(states={"Ni": ["9+"]})}, "spin state of Ni"),
        ({"order": "random-directions"}, "point off the z axis"),
    ],
)
def test_what_cannot_move_is_refused(oxide, model, tmp_path, changes, says) -> None:
    with pytest.raises(ConfigError, match=says):
        run(oxide, model, tmp_path / "md", **changes)
    assert not (tmp_path / "md").exists()


def test_a_model_that_learnt_no_labels_is_refused(
    oxide, predicting_model, tmp_path
) -> None:
    with pytest.raises(ConfigError, match="has no energy of labels"):
        run(oxide, predicting_model, tmp_path / "md")
    assert not (tmp_path / "md").exists()


def test_models_of_other_catalogues_are_refused(oxide, model, tmp_path) -> None:
    script: Any = torch.jit.script
    states = [one for one in STATES_INFO["states"] if one["name"] != "Ni3+LS"]
    for name, info in (
        ("fewer", states),
        ("other", [*states, {"name": "Ni3+LS", "moment": 0.9, "sites": 3}]),
    ):
        section = {
            "moment_net": {"neuron": [8], "seed": 3},
            "spin": {"use_spin": ["Mn", "Co", "Ni", "O"]},
            "info": STATES_INFO | {"label_share": 0.5, "states": info},
        }
        torch.jit.save(script(build_model(section)), tmp_path / f"{name}.pth")
    for name, says in (("fewer", "does not know it"), ("other", r"has 0\.90")):
        with pytest.raises(ConfigError, match=f"Ni3.LS stands for 1.20 μB.*{says}"):
            run_md(
                oxide,
                [model, tmp_path / f"{name}.pth"],
                out=tmp_path / "md",
                moments=LABELS,
                labels_move="adiabatic",
            )


@pytest.mark.parametrize("name", ["every", "trials", "temperature"])
def test_settings_out_of_range_are_refused(name) -> None:
    wrong: dict[str, Any] = {name: 0}
    with pytest.raises(ConfigError, match="positive"):
        MonteCarlo(**wrong)
