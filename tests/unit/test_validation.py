# SPDX-License-Identifier: LGPL-3.0-or-later
"""The learning curve by spin state: checkpoints that come and go, and the table."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from rich.console import Console

from spin_dp.cli.display import score_table
from spin_dp.errors import DataError
from spin_dp.evaluation import validation
from spin_dp.evaluation.validation import (
    StatesCurve,
    ValidationFrames,
    read_states_curve,
)
from spin_dp.evaluation.validation_plot import plot_curves

if TYPE_CHECKING:
    from pathlib import Path


def frames_of(step: int) -> pd.DataFrame:
    """Return two states of one geometry, wrong by the step in meV."""
    return pd.DataFrame(
        {
            "formula": ["MnO2"] * 2,
            "key": ["Mn4+", "Mn4+LS"],
            "geometry": ["g"] * 2,
            "natoms": [2, 2],
            "energy": [0.0, 1.0],
            "energy_model": [0.002 * step, 1.0],
            "force_error_model": [0.1, 0.1],
            "virial_error_model": [0.03, 0.03],
            "magnetic_force_error_model": [0.2, float("nan")],
            "moment_error_model": [0.05, float("nan")],
        }
    )


def write_checkpoint(folder: Path, step: int) -> Path:
    path = folder / f"model.ckpt-{step}.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("step", str(step))
    return path


@pytest.fixture
def curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StatesCurve:
    """Return a curve whose models read their step; 13 cannot be evaluated."""

    def evaluate(models: dict[str, Path], *_: Any, **__: Any) -> pd.DataFrame:
        with zipfile.ZipFile(models["model"]) as archive:
            step = int(archive.read("step"))
        if step == 13:
            raise DataError("its energy is not a finite number")
        # While this one runs dp goes on.
        for old in tmp_path.glob("model.ckpt-1.pt"):
            write_checkpoint(tmp_path, 2)
            __["progress"](1, 1)
            (tmp_path / "model.ckpt-2.pt").unlink()
            old.unlink()
        return frames_of(step)

    monkeypatch.setattr(validation, "evaluate", evaluate)
    return StatesCurve(tmp_path, ValidationFrames([], pd.DataFrame()))


def test_checkpoints_outlive_their_removal(curve: StatesCurve, tmp_path: Path) -> None:
    with curve:
        write_checkpoint(tmp_path, 1)
        curve.look()
        curve.look()
    table = read_states_curve(tmp_path / "lcurve_states.csv")
    assert sorted(set(table["step"])) == [1, 2]
    assert not list(tmp_path.glob(".*"))


def test_rows_are_the_errors(curve: StatesCurve, tmp_path: Path) -> None:
    with curve:
        write_checkpoint(tmp_path, 20)
        curve.look()
    table = read_states_curve(tmp_path / "lcurve_states.csv")
    assert table["key"].tolist() == ["all", "Mn4+", "Mn4+LS"]
    assert table["frames"].tolist() == [2, 1, 1]
    assert table["energy_meV_per_atom"].tolist() == pytest.approx(
        [20 / 2**0.5, 20.0, 0.0], rel=1e-4
    )
    assert table["force_meV_per_A"].tolist() == pytest.approx([100.0] * 3)
    assert table["gap_meV"].tolist() == pytest.approx([40.0] * 3)
    assert table["order"].tolist() == [1.0] * 3
    assert curve.newest()["gap"] == pytest.approx(40.0)
    assert table["virial_meV_per_atom"].tolist() == pytest.approx([30.0] * 3)
    assert table["magnetic_force_eV_per_muB"].tolist() == pytest.approx(
        [0.2, 0.2, float("nan")], nan_ok=True
    )


def test_a_diverged_checkpoint_has_no_row(curve: StatesCurve, tmp_path: Path) -> None:
    with curve:
        write_checkpoint(tmp_path, 13)
        curve.look()
        assert curve.newest() == {}
        write_checkpoint(tmp_path, 14)
        curve.look()
    assert set(curve.table["step"]) == {14}


def test_a_restart_measures_steps_that_run_again(
    curve: StatesCurve, tmp_path: Path
) -> None:
    with curve:
        for step in (10, 30):
            write_checkpoint(tmp_path, step)
        curve.look()
    (tmp_path / "model.ckpt-30.pt").unlink()
    again = StatesCurve(tmp_path, ValidationFrames([], pd.DataFrame()))
    assert set(again.table["step"]) == {10}
    with again:
        write_checkpoint(tmp_path, 30)
        again.look()
    assert again.table["step"].tolist() == [10] * 3 + [30] * 3


def test_half_a_checkpoint_is_left_alone(curve: StatesCurve, tmp_path: Path) -> None:
    with curve:
        (tmp_path / "model.ckpt-5.pt").write_bytes(b"PK half")
        curve.look()
    assert curve.table.empty


def test_a_broken_table(tmp_path: Path) -> None:
    path = tmp_path / "lcurve_states.csv"
    path.write_text("step,formula\n1,MnO2\n")
    with pytest.raises(DataError, match="remove it"):
        read_states_curve(path)


@pytest.mark.parametrize("force", ["rmse_fr", "rmse_f"])
def test_picture_with_and_without_states(tmp_path: Path, force: str) -> None:
    names = [
        f"{name}_{split}" for name in ("rmse_e", force) for split in ("val", "trn")
    ]
    curve = pd.DataFrame({"step": [1, 2], **{name: [0.2, 0.1] for name in names}})
    states = read_states_curve(tmp_path / "none")
    rows = [validation.state_rows(frames_of(step), step) for step in (1, 2)]
    small = plot_curves(tmp_path / "a.png", curve, states)
    large = plot_curves(tmp_path / "b.png", curve, pd.concat(rows))
    assert 1000 < small.stat().st_size < large.stat().st_size


def test_errors_fit_a_terminal_of_eighty_columns() -> None:
    """Names of states give way, numbers do not; unknown quantities are left out."""
    frames = frames_of(20).replace("Mn4+", "Mn3+HS[1up]Mn4+LS[1dn]#8706b")
    lines = shown(validation.state_rows(frames, 1))
    headings = "spin state frames energy force virial gap order % -dE/dm moment"
    assert " ".join(lines[2].split()) == headings
    (row,) = (line for line in lines if line.startswith("   Mn3+HS[1up]"))
    assert " ".join(row.split()[1:]) == "1 20.0 100 30 40 100 0.200 0.050"
    assert not any("…" in line for line in lines)
    blind = frames.assign(moment_error_model=float("nan"))
    blind["magnetic_force_error_model"] = float("nan")
    assert shown(validation.state_rows(blind, 1))[2].split()[-2:] == ["order", "%"]


def shown(rows: pd.DataFrame) -> list[str]:
    """Return the lines of the table in a terminal."""
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(score_table(rows, title="title"))
    return console.export_text().splitlines()
