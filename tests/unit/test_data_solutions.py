# SPDX-License-Identifier: LGPL-3.0-or-later
"""Solutions of one state and geometry that differ in energy."""

from __future__ import annotations

from pathlib import Path

import ase.io
import pandas as pd
import pytest

from spin_dp.cli import main
from spin_dp.data_tools import Rules, collect

FRAMES = Path(__file__).resolve().parents[2] / "examples" / "gpaw" / "Li05CoO2.extxyz"
KEY = "Co3+LS[1]Co4+LS[1up]#0fc4c"
"""Four SCF runs of one geometry end in it, up to 0.29 eV apart."""
LOWEST = Rules(lowest_solutions=True)


def manifest(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "manifest.csv", keep_default_na=False)


def spreads(frames: pd.DataFrame) -> pd.Series:
    energies = frames[frames["status"] == "kept"].groupby(["geometry", "key"])["energy"]
    return energies.max() - energies.min()


def test_the_lowest_of_each_name_is_kept(tmp_path: Path) -> None:
    collect([FRAMES], tmp_path / "all")
    report = collect([FRAMES], tmp_path / "lowest", rules=LOWEST)
    before, after = manifest(tmp_path / "all"), manifest(tmp_path / "lowest")
    assert spreads(before).max() == pytest.approx(0.288, abs=0.001)
    assert spreads(after).max() < 0.005
    one = before[(before["key"] == KEY) & (before["geometry"] == "LiCo2O4-0000")]
    higher = one[
        one["energy"].astype(float) > one["energy"].astype(float).min() + 0.005
    ]
    left_out = after[after["status"] != "kept"]
    assert sorted(left_out["step"]) == sorted(higher["step"])
    reasons = left_out["reason"].str
    assert reasons.startswith("higher solution of the state of ").all()
    (counted,) = report.reasons
    assert counted.startswith("higher solution of the state of another frame")
    assert set(after["geometry"]) - {""} == set(before["geometry"])


def test_a_lower_solution_that_comes_later_takes_the_place(tmp_path: Path) -> None:
    collect([FRAMES], tmp_path / "all")
    rows = manifest(tmp_path / "all")
    one = rows[(rows["key"] == KEY) & (rows["geometry"] == "LiCo2O4-0000")]
    steps = one.sort_values("energy")["step"].astype(int).to_list()
    folder, out = tmp_path / "frames", tmp_path / "data"
    folder.mkdir()
    for name, step in (("a", steps[-1]), ("b", steps[0])):
        frame = ase.io.read(FRAMES, index=step - 1)
        ase.io.write(folder / f"{name}.extxyz", frame)
        collect([folder], out, rules=LOWEST)
        grown = manifest(out)
        kept = grown[grown["status"] == "kept"]["source"]
        assert [Path(source).stem for source in kept] == [name]
    assert len(grown) == 2


def test_an_earlier_result_without_it_is_not_mixed_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collect([FRAMES], tmp_path / "data")
    arguments = ["collect", str(FRAMES), "-o", str(tmp_path / "data")]
    assert main([*arguments, "--lowest-solutions"]) != 0
    assert "lowest_solutions" in capsys.readouterr().err
    assert main([*arguments, "--lowest-solutions", "--rebuild"]) == 0
    assert (manifest(tmp_path / "data")["status"] != "kept").any()
