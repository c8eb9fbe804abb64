# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp exchange`` on a shipped structure, and what may go wrong."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase.build import bulk

from spin_dp import SpinDP
from spin_dp.cli import main
from spin_dp.errors import ConfigError
from spin_dp.magnetism import fit_exchange
from spin_dp.magnetism.output import FILES

STRUCTURE = Path(__file__).resolve().parents[2] / "examples/gpaw/LiMnO2_8.extxyz"


@pytest.fixture
def frame(tmp_path: Path) -> Path:
    atoms = ase.io.read(STRUCTURE)
    atoms.calc = None
    atoms.arrays.pop("initial_magmoms", None)
    atoms.write(tmp_path / "LiMnO2.extxyz")
    return tmp_path / "LiMnO2.extxyz"


def test_exchange_prints_and_writes(label_model, frame, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    words = ["exchange", str(frame), "-m", str(label_model), "-o", str(out)]
    words += ["--labels", "Mn=3+HS", "--cutoff", "3.5"]
    assert main([*words, "--sizes", "2,3", "--sweeps", "40"]) == 0
    shown = capsys.readouterr().out
    assert "Mn3+HS-Mn3+HS" in shown
    assert "specific heat peaks at" in shown
    assert {path.name for path in out.iterdir()} == {*FILES, "transition.csv"}
    assert (out / "exchange.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((out / "exchange.json").read_text())
    table = pd.read_csv(out / "exchange.csv")
    assert len(record["shells"]) == len(table)
    assert record["patterns"] == len(pd.read_csv(out / "patterns.csv"))
    assert table["exchange_meV"].notna().all()
    again = [*words, "--biquadratic", "--patterns", "40", "--supercell", "2", "2", "1"]
    assert main(again) == 0
    assert " B " in capsys.readouterr().out


def test_constants_rank_patterns_that_they_have_not_seen(frozen_model) -> None:
    """Random weights also couple three moments, and pairs beyond the shells."""
    atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True).repeat((2, 2, 2))
    model = SpinDP(frozen_model)
    nickel = np.array([symbol == "Ni" for symbol in atoms.symbols])
    fit = fit_exchange(
        atoms, model, 0.5 * nickel, cutoff=4.3, supercell=(1, 1, 1), patterns=60
    )
    assert [shell.neighbours for shell in fit.shells] == [12, 6]
    assert fit.cross_validation_error < fit.range
    rng = np.random.default_rng(1)
    directions = np.zeros((30, 32, 3))
    directions[:, :, 2] = rng.choice([-1.0, 1.0], (30, 32))
    moments = np.zeros((30, len(atoms), 3))
    moments[:, nickel] = 0.5 * directions
    exact = model.predict(atoms, moments).energy
    values = [shell.exchange for shell in fit.shells]
    fitted = fit.constant - 1e-3 * fit.bonds.sums(directions) @ values
    assert np.corrcoef(fitted, exact)[0, 1] > 0.8


def test_a_smallest_supercell_is_found(label_model, monkeypatch) -> None:
    """One Ni in the cell: alone it tells nothing."""
    atoms = bulk("NiO", "rocksalt", a=4.17)
    model = SpinDP(label_model)
    fit = fit_exchange(atoms, model, "Ni=2+", cutoff=4.3)
    assert [shell.neighbours for shell in fit.shells] == [12, 6]
    assert fit.spin == 1.0
    assert len(fit.bonds.kinds) == 1  # constants of the cell as it was given
    assert all(shell.error < 5.0 for shell in fit.shells)
    monkeypatch.setattr("spin_dp.magnetism.exchange._LARGEST", 8)
    with pytest.raises(ConfigError, match="no supercell of up to 8 atoms"):
        fit_exchange(atoms, model, "Ni=2+", cutoff=9.0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--labels", "Mn=3.7", "--cutoff", "1.0"], "no two magnetic sites"),
        (["--labels", "Mn=0"], "no site of a metal has a moment"),
        (["--labels", "Mn=3+HS", "--supercell", "1", "1", "1"], "expected more pat"),
        ([], "has no labels"),
    ],
)
def test_what_cannot_be_fitted_is_one_sentence(
    label_model, frame, tmp_path, capsys, words, says
) -> None:
    out = tmp_path / "out"
    given = ["exchange", str(frame), "-m", str(label_model), "-o", str(out)]
    assert main([*given, *words]) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.strip().splitlines()[-1].startswith("spin-dp: ")
    assert not out.exists()


@pytest.mark.parametrize(
    "words", [["--sizes", "4"], ["--sizes", "a,b"], ["--temperatures", "1,2,3"]]
)
def test_wrong_usage_is_exit_code_2(label_model, frame, capsys, words) -> None:
    assert main(["exchange", str(frame), "-m", str(label_model), *words]) == 2
    assert "Traceback" not in capsys.readouterr().err
