# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp states`` and what a user may get wrong with models."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from spin_dp.cli import main

STRUCTURE = Path(__file__).resolve().parents[2] / "examples/gpaw/LiMnO2_8.extxyz"


@pytest.fixture(scope="module")
def blind_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a frozen stock model without spin."""
    import torch
    from deepmd.pt.model.model import get_model

    section = {
        "type_map": ["Li", "Mn", "Co", "Ni", "O"],
        "descriptor": {
            "type": "se_e2_a",
            "sel": [10] * 5,
            "rcut": 4.0,
            "rcut_smth": 1.0,
            "neuron": [2, 4],
            "axis_neuron": 2,
        },
        "fitting_net": {"neuron": [4]},
    }
    path = tmp_path_factory.mktemp("blind") / "blind.pth"
    torch.jit.save(torch.jit.script(get_model(section).eval()), path)
    return path


def test_states_prints_and_writes_a_ranking(frozen_model, tmp_path, capsys):
    table = tmp_path / "states.csv"
    code = main(
        [
            "states",
            str(STRUCTURE),
            "-m",
            str(frozen_model),
            "--elements",
            "Mn",
            "--levels",
            "Mn=3.7,1.9",
            "-o",
            str(table),
        ]
    )
    assert code == 0
    shown = capsys.readouterr().out
    assert "AFM" in shown
    assert "Li2Mn2O4" in shown
    states = pd.read_csv(table)
    # Two sites, ±3.7 and ±1.9 each, one of each pair under reversal.
    assert states["degeneracy"].sum() == 8
    assert states["energy"].is_monotonic_increasing
    assert list(tmp_path.iterdir()) == [table]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--elements", "Fe"], "unknown element of the structure"),
        (["--elements", "O"], "reads no moments of O"),
    ],
)
def test_states_of_wrong_elements(frozen_model, capsys, arguments, message):
    code = main(["states", str(STRUCTURE), "-m", str(frozen_model), *arguments])
    assert code == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().count("\n") == 0


@pytest.mark.parametrize("verb", ["states", "md"])
def test_a_model_without_spin_is_refused(blind_model, tmp_path, capsys, verb):
    out = tmp_path / "out"
    arguments = [verb, str(STRUCTURE), "-m", str(blind_model)]
    if verb == "md":
        arguments += ["--moments", "Mn=3.7", "--steps", "1", "-o", str(out)]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "is a model without spin" in error
    assert error.strip().count("\n") == 0
    assert not out.exists()


def test_a_file_that_is_no_model(tmp_path, capsys):
    wrong = tmp_path / "model.pth"
    wrong.write_text("nothing")
    assert main(["states", str(STRUCTURE), "-m", str(wrong)]) == 1
    assert "expected a frozen Deep Potential" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["collect"],
        ["states", str(STRUCTURE)],
        ["state"],
        ["states", str(STRUCTURE), "-m", "x.pth", "--levels", "Mn"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "Usage" in captured.err + captured.out
    assert "Traceback" not in captured.err


def test_version(capsys):
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"spin-dp {version('spin-dp')}\n"
