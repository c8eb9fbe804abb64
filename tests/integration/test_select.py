# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp select`` on collected GPAW frames, and deepmd-kit reading the result."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spin_dp.cli import main

GPAW = Path(__file__).resolve().parents[2] / "examples" / "gpaw"


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("select") / "data"
    sources = [str(GPAW / f"{name}.extxyz") for name in ("LiMnO2_8", "NiO2_3")]
    assert main(["collect", *sources, "-o", str(out), "--validation", "0.2"]) == 0
    return out


def kept(folder: Path) -> pd.DataFrame:
    manifest = pd.read_csv(folder / "manifest.csv", keep_default_na=False)
    return manifest[manifest["status"] == "kept"]


def test_share_is_chosen_tabulated_and_recorded(
    collected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "smaller"
    n_training = int((kept(collected)["split"] == "training").sum())
    number = round(0.5 * n_training)
    arguments = ["select", str(collected), "-n", "0.5", "-o", str(out)]
    assert main([*arguments, "--method", "farthest", "--per-state-minimum", "1"]) == 0
    printed, errors = capsys.readouterr()
    assert errors == ""
    assert f"chose {number} of {n_training} training frames (farthest)" in printed
    assert "meV/atom" in printed
    assert "nearest chosen one: mean" in printed
    splits = kept(out)["split"].value_counts()
    assert splits["training"] == number
    assert splits["validation"] == len(kept(collected)) - n_training
    record = json.loads((out / "selection.json").read_text())
    assert record["arguments"]["number"] == 0.5
    assert record["arguments"]["method"] == "farthest"
    assert all(state["frames_after"] >= 1 for state in record["states"])


def test_deepmd_reads_the_chosen_frames(collected: Path, tmp_path: Path) -> None:
    from deepmd.utils.data import DeepmdData

    out = tmp_path / "smaller"
    assert main(["select", str(collected), "-n", "20", "-o", str(out)]) == 0
    chosen = kept(out)[kept(out)["split"] == "training"]
    assert len(chosen) == 20
    for name, rows in chosen.groupby("system"):
        data = DeepmdData(str(out / str(name)))
        data.add("energy", 1, atomic=False, must=True, high_prec=True)
        for key in ("force", "spin"):
            data.add(key, 3, atomic=True, must=True, high_prec=False)
        assert data.get_numb_batch(1, 0) == len(rows)
        energies = data.get_test()["energy"].ravel()
        np.testing.assert_allclose(np.sort(energies), np.sort(rows["energy"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "many"], "expected a number of frames or a share as -n, got 'many'"),
        (["-n", "1000"], "1000 frames cannot be chosen"),
        (["-n", "1.2"], "between 0 and 1"),
        (["-n", "5", "--method", "stratifed"], "did you mean 'stratified'"),
    ],
)
def test_errors_are_one_sentence_and_an_exit_code(
    collected: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    out = tmp_path / "out"
    assert main(["select", str(collected), *arguments, "-o", str(out)]) == 1
    errors = capsys.readouterr().err
    assert re.search(message, errors)
    assert errors.startswith("spin-dp: ")
    assert errors.count("\n") == 1
    assert not out.exists()


def test_folder_without_manifest_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["select", str(GPAW), "-n", "5", "-o", str(tmp_path / "out")]) == 1
    assert "found no manifest.csv" in capsys.readouterr().err
