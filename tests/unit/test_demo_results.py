# SPDX-License-Identifier: LGPL-3.0-or-later
"""Tables, pictures and the summary from frames whose scores are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from spin_dp import evaluation
from spin_dp.cli.app import main
from spin_dp.demo import ladder, plots, ranking, summary
from spin_dp.demo.pipeline import DemoSettings, run_demo
from spin_dp.demo.watched import Outcome
from spin_dp.errors import ConfigError, DataError
from spin_dp.evaluation.parity_plot import plot_parity

if TYPE_CHECKING:
    from pathlib import Path

MODELS = ("spin_aware", "spin_blind")


@pytest.fixture
def frames() -> pd.DataFrame:
    """Two geometries, one with a solution found twice; the blind model averages."""
    table = pd.DataFrame(
        {
            "system": "validation/x",
            "index": np.arange(5),
            "formula": ["CoO2", "CoO2", "CoO2", "LiMnO2", "LiMnO2"],
            "geometry": ["CoO2-0", "CoO2-0", "CoO2-0", "LiMnO2-0", "LiMnO2-0"],
            "key": ["Co[0]", "Co[+3]", "Co[0]", "Mn[+4]", "Mn[0]"],
            "metal": ["Co", "Co", "Co", "Mn", "Mn"],
            "moment": [0.0, 3.1, 0.0, 3.7, 0.0],
            "natoms": [3, 3, 3, 4, 4],
            "energy": [-18.0, -17.4, -17.999, -26.0, -24.0],
            "force_rms": 0.5,
        }
    )
    table["energy_spin_aware"] = table["energy"] + [0.03, -0.03, 0.03, 0.04, 0.0]
    table["energy_spin_blind"] = [-17.8, -17.8, -17.8, -25.0, -25.0]
    table["force_error_spin_aware"] = 0.1
    table["force_error_spin_blind"] = 0.4
    table["moment_error_spin_aware"] = 0.051
    table["moment_error_spin_blind"] = float("nan")
    # One frame has no stress; the moments of the first two were free.
    table["virial_error_spin_aware"] = [0.03, 0.04, 0.0, 0.0, float("nan")]
    table["virial_error_spin_blind"] = float("nan")
    table["magnetic_force_error_spin_aware"] = [0.3, 0.4, *[float("nan")] * 3]
    table["magnetic_force_error_spin_blind"] = float("nan")
    return table


def test_scores(frames: pd.DataFrame) -> None:
    aware = evaluation.score(frames, "spin_aware")
    assert (aware.frames, aware.pairs, aware.ordered_pairs) == (5, 3, 3)
    assert aware.energy == pytest.approx(1000 * np.sqrt(4 * 0.01**2 / 5))
    assert aware.force == pytest.approx(100.0)
    assert aware.gap == pytest.approx(1000 * np.sqrt((2 * 0.06**2 + 0.04**2) / 3))
    assert aware.order == 1.0
    assert aware.virial == pytest.approx(1000 * np.sqrt(0.05**2 / 4))
    assert aware.magnetic_force == pytest.approx(np.sqrt(0.25 / 2))
    assert aware.moment == pytest.approx(0.051)
    blind = evaluation.score(frames, "spin_blind")
    assert blind.order == 0.0
    assert np.isnan([blind.virial, blind.magnetic_force, blind.moment]).all()


def test_tables_by_state_and_composition(frames: pd.DataFrame) -> None:
    states = evaluation.per_state(frames, MODELS).set_index(["formula", "key"])
    assert states.loc[("CoO2", "Co[0]"), "frames"] == 2
    assert states.loc[("LiMnO2", "Mn[0]"), "energy_spin_blind"] == pytest.approx(250.0)
    formulas = evaluation.per_formula(frames, MODELS).set_index("formula")
    assert list(formulas.index) == ["CoO2", "LiMnO2", "all"]
    assert formulas.loc["LiMnO2", "gap_spin_blind"] == pytest.approx(2000.0)
    assert formulas.loc["CoO2", "pairs"] == 2
    assert formulas.loc["all", "pairs"] == 3
    force = formulas["magnetic_force_spin_aware"]
    assert np.isnan(force["LiMnO2"])
    assert force["all"] == force["CoO2"] == pytest.approx(np.sqrt(0.25 / 2))


def test_ladder_has_each_solution_once(frames: pd.DataFrame) -> None:
    assert ladder.choose_geometries(frames, 8) == ["CoO2-0", "LiMnO2-0"]
    rungs = ladder.rungs(frames, "CoO2-0", "spin_aware")
    assert rungs["key"].tolist() == ["Co[0]", "Co[+3]"]
    assert rungs["reference"].tolist() == pytest.approx([0.0, 0.6])
    assert rungs["predicted"].tolist() == pytest.approx([0.0, 0.54])


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and not list(
        path.parent.glob(".*.part")
    )


def test_pictures_are_drawn(frames: pd.DataFrame, tmp_path: Path) -> None:
    scores = {name: evaluation.score(frames, name) for name in MODELS}
    assert is_png(plot_parity(tmp_path / "a.png", frames, frames, scores))
    assert is_png(ladder.plot_spin_states(tmp_path / "b.png", frames, MODELS))
    steps = np.arange(1, 50)
    curves = {
        "spin_aware": pd.DataFrame(
            {"step": steps, "rmse_e_val": 1 / steps, "rmse_fr_val": 2 / steps}
        ),
        "spin_blind": pd.DataFrame(
            {"step": steps, "rmse_e_val": 1 / steps, "rmse_f_val": 2 / steps}
        ),
    }
    assert is_png(plots.plot_learning_curves(tmp_path / "c.png", curves))
    thermo = pd.DataFrame(
        {
            "time_ps": steps * 0.01,
            "temperature_K": 300.0 + np.sin(steps),
            "potential_energy_eV": -600.0 + 0.1 * np.sin(steps),
            "total_energy_eV": -596.0 + 0.01 * np.sin(steps),
        }
    )
    for runs in ({"a": thermo}, {"a": thermo, "b": thermo}):
        drawn = plots.plot_md(
            tmp_path / "d.png", runs, temperature=300.0, atoms=dict.fromkeys(runs, 96)
        )
        assert is_png(drawn)


def test_drawing_leaves_matplotlib_as_it_was(
    frames: pd.DataFrame, tmp_path: Path
) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    ladder.plot_spin_states(tmp_path / "b.png", frames, MODELS)
    assert dict(mpl.rcParams) == before


def test_summary_says_both_models_and_their_ratio(frames: pd.DataFrame) -> None:
    scores = {name: evaluation.score(frames, name) for name in MODELS}
    scores[summary.BY_NAME] = scores["spin_aware"]
    table = summary.score_table(scores)
    assert "| force RMSE, meV/Å | 100 | 100 | 400 | 0.25 |" in table
    assert "| right order, % of 3 pairs | 100 | 100 | 0 |  |" in table


def test_numbers_that_are_missing_are_dashes() -> None:
    table = pd.DataFrame(
        {"key": ["a", "b"], "value": [1.25, float("nan")], "n": [1, 2]}
    )
    lines = summary.frame_table(table, digits=2).splitlines()
    assert lines[2:] == ["| a | 1.25 | 1 |", "| b | - | 2 |"]


def test_settings_of_the_training_are_unfolded() -> None:
    table = summary.settings_table(DemoSettings())
    assert "| md_steps | 5000 |" in table
    assert "| training.cutoff | 5.0 |" in table


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (source / "a.extxyz").touch()
    out.mkdir()
    (out / "thesis.tex").touch()
    for fresh in (False, True):
        with pytest.raises(ConfigError, match=r"out: holds other things \(thesis"):
            run_demo(source, out, fresh=fresh)
    assert [item.name for item in out.iterdir()] == ["thesis.tex"]


def test_without_frames_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected the reference frames .* --data"):
        run_demo(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_command_says_what_is_wrong_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["demo", "-o", str(tmp_path / "out"), "--data", str(tmp_path)])
    assert code == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def outcome(**changes: object) -> Outcome:
    contacts = {"Li-O": 1.81, "Ni-O": 1.624, "Ni-Ni": 2.5}
    values: dict[str, Any] = {
        "atoms": 192,
        "ps": 5.0,
        "broken_ps": None,
        "broken_by": "",
        "shortest": contacts,
        "lost_most": 2,
        "lost_end": 0,
        "temperature": 601.2,
        "drift": None,
    }
    return Outcome(**(values | changes))


def test_summary_admits_that_a_crystal_fell_apart() -> None:
    holds = summary._md_text({"LiNiO2": outcome()}, 600.0)
    assert "| LiNiO2 | 192 | 5 | 601 | Li-O 1.81, Ni-O 1.62 | 2, 0 |" in holds
    assert "fell apart" not in holds
    broken = outcome(ps=0.71, broken_ps=0.71, broken_by="O-O 0.74 Å")
    text = summary._md_text({"LiNiO2": outcome(), "Li0.5MnO2": broken}, 600.0)
    assert "**Li0.5MnO2 fell apart after 0.71 ps (O-O 0.74 Å)" in text


def test_scores_of_origins_stand_apart(frames: pd.DataFrame) -> None:
    parts = {"hot": frames[:3], "rattled": frames[3:]}
    scores = {
        origin: {name: evaluation.score(rows, name) for name in MODELS}
        for origin, rows in parts.items()
    }
    lines = summary.origin_table(scores).splitlines()
    assert lines[2].startswith("| hot | 3 | 10.0 / ")
    assert lines[3].endswith("| 40 / 2000 |")


def test_agreement_of_rankings_with_dft() -> None:
    """Geometry a: one pair in order, two not or too close; b: DFT has one state."""
    nan = float("nan")
    rows = [
        ("Li2Mn2O4", "a", 1, 0.0, 0.0),
        ("Li2Mn2O4", "a", 2, 30.0, 25.0),
        ("Li2Mn2O4", "a", 3, 28.0, 40.0),
        ("Li2Mn2O4", "a", 4, 99.0, nan),
        ("LiCoO2", "b", 1, 0.0, 0.0),
        ("LiCoO2", "b", 2, 50.0, nan),
    ]
    columns = ["formula", "geometry", "rank", "above_lowest", "dft_above_lowest"]
    states = pd.DataFrame(rows, columns=columns)
    assert ranking.agreement(states) == {"geometries": 2, "pairs": 2, "ordered": 2}
    assert ranking.agreement(states, least=10.0)["pairs"] == 3
    assert ranking.agreement(states, least=10.0)["ordered"] == 2
    assert set(ranking.choose_shown(states)["geometry"]) == {"a"}
    others = states[states["formula"] == "LiCoO2"]
    assert set(ranking.choose_shown(others)["geometry"]) == {"b"}
