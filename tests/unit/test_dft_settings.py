# SPDX-License-Identifier: LGPL-3.0-or-later
"""Engines from tables of settings; what is wrong in them is one sentence."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from spin_dp.dft import open_engine
from spin_dp.dft.gpaw import Gpaw
from spin_dp.dft.teacher import Teacher
from spin_dp.dft.vasp import Vasp
from spin_dp.errors import BackendError, ConfigError, DataError

if TYPE_CHECKING:
    from pathlib import Path

    from spin_dp.dft import Engine


def test_toml_table_becomes_an_engine() -> None:
    text = """
    engine = "gpaw"
    cutoff_ev = 400
    hubbard_ev = { Mn = 3.9 }
    """
    engine = open_engine(tomllib.loads(text))
    assert engine == Gpaw(cutoff_ev=400, hubbard_ev={"Mn": 3.9})


def test_paths_start_from_the_folder_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "m.pth").touch()
    teacher = open_engine({"engine": "teacher", "model": "m.pth"}, tmp_path)
    assert teacher == Teacher(model=str(tmp_path / "m.pth"))
    gpaw = open_engine({"engine": "gpaw", "python": "venv/bin/python"}, tmp_path)
    assert gpaw == Gpaw(python=str(tmp_path / "venv/bin/python"))
    assert open_engine({"engine": "gpaw", "python": "python3"}, tmp_path) == Gpaw(
        python="python3"
    )


def test_engines_need_no_torch() -> None:
    """Workers that wait for GPAW would each load it."""
    code = "import sys, spin_dp.dft; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "settings of DFT: expected engine, one of gpaw, teacher, vasp; got none"),
        ({"engine": "gpav"}, "unknown DFT engine 'gpav'; did you mean 'gpaw'"),
        ({"engine": "gpaw", "cutoff": 1.0}, "unknown setting of the .* 'cutoff_ev'"),
        ({"engine": "gpaw", "cutoff_ev": "high"}, "expected a number, got 'high'"),
        ({"engine": "gpaw", "cutoff_ev": True}, "expected a number, got True"),
        ({"engine": "gpaw", "max_iterations": 1.5}, "expected a whole number"),
        ({"engine": "gpaw", "hubbard_ev": [1]}, "expected a table"),
        ({"engine": "gpaw", "hubbard_ev": {"Xx": 1.0}}, "number for each element"),
        ({"engine": "gpaw", "cutoff_ev": -1.0}, "cutoff_ev must be positive"),
        ({"engine": "gpaw", "cpu_limit_s": -1.0}, "must not be negative"),
        ({"engine": "gpaw", "thresholds": {"energy": 1}}, "thresholds: expected"),
        ({"engine": "teacher"}, "teacher: expected the setting model; got none"),
        ({"engine": "teacher", "model": "m", "flipped": 2.0}, "a share from 0 to 1"),
        ({"engine": "vasp", "incar": {"MAGMOM": [1]}}, "MAGMOM is set here"),
        ({"engine": "vasp", "incar": {"NLEM": 9}}, "NLEM"),
        ({"engine": "vasp", "reciprocal_density": 0}, "must be positive"),
        ({"engine": "vasp", "potcar": {"Xx": "Xx"}}, "'Xx' is not an element"),
        (
            {"engine": "vasp", "hubbard_ev": {"Mn": 4.0}, "incar": {"LDAUU": [4]}},
            "say the same",
        ),
    ],
)
def test_wrong_settings_are_one_sentence(
    settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence) as raised:
        open_engine(settings)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("engine", "sentence"),
    [
        (Gpaw(python="/no/such/python"), "/no/such/python: cannot be run"),
        (Vasp(command="no_such_vasp -x"), "there is no program 'no_such_vasp' here"),
        (Teacher(model="absent.pth"), "absent.pth"),
    ],
)
def test_what_is_not_installed_says_so(engine: Engine, sentence: str) -> None:
    with pytest.raises((BackendError, DataError), match=sentence):
        engine.check()
