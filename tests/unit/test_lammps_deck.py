# SPDX-License-Identifier: LGPL-3.0-or-later
from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spin_dp.errors import ConfigError
from spin_dp.lammps_interface import (
    Deck,
    MDSettings,
    lammps_frame,
    render_data,
    render_deck,
)
from spin_dp.lammps_interface.deck import render_setup


def commands(text: str) -> dict[str, str]:
    """Return the last argument string of each command, continuations joined."""
    plain = "\n".join(line.split("#")[0].rstrip() for line in text.splitlines())
    lines = plain.replace("&\n", "").splitlines()
    pairs = (line.split(maxsplit=1) for line in lines if line)
    return {name: " ".join(words.split()) for name, words in pairs}


def deck(models: int = 1, restart: str | None = None, **settings: Any) -> str:
    paths = [Path(f"/models/{number}.pth") for number in range(models)]
    part = 0 if restart is None else 3
    return render_deck(
        Deck(
            settings=MDSettings(**settings),
            models=paths,
            elements=["Li", "Ni", "O"],
            restart=restart,
            part=part,
        )
    )


def test_new_run() -> None:
    found = commands(deck(ensemble="nvt", temperature=450, steps=70, seed=9))
    assert found["units"] == "metal"
    assert found["atom_style"] == "spin"
    assert found["read_data"] == "data.spin"
    assert found["pair_style"] == "deepspin /models/0.pth"
    assert found["pair_coeff"] == "* * Li Ni O"
    assert found["compute"] == "moment all property/atom sp spx spy spz fmx fmy fmz"
    assert found["timestep"] == "0.001"
    assert found["velocity"] == "all create 450 9 mom yes rot no dist gaussian"
    assert found["fix"] == "integrate all nvt temp 450 450 0.1"
    assert found["run"] == "70 upto"
    assert "sort id element Li Ni O" in found["dump_modify"]


def test_resumed_run_reads_the_restart_file_and_keeps_the_velocities() -> None:
    found = commands(deck(restart="restart.b"))
    assert found["read_restart"] == "restart.b"
    assert found["log"] == "run.3.log"
    assert "run.3.lammpstrj" in found["dump"]
    assert not {"read_data", "velocity", "units", "atom_style"} & found.keys()


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ({"ensemble": "nve"}, "nve"),
        (
            {"ensemble": "npt", "timestep": 0.5},
            "npt temp 300 300 0.05 tri 0 0 0.5 flip no",
        ),
        (
            {"ensemble": "npt", "pressure": 200.0, "cell_change": "iso"},
            "npt temp 300 300 0.1 iso 200 200 1 flip no",
        ),
        ({"final_temperature": 900.0}, "nvt temp 300 900 0.1"),
    ],
)
def test_integrators(settings: dict[str, Any], fix: str) -> None:
    found = commands(deck(**settings))
    assert found["fix"] == f"integrate all {fix}"
    assert found["thermo_style"].endswith("lx ly lz xy xz yz") == ("npt" in fix)


def test_a_ramp_is_one_over_all_parts_of_a_run() -> None:
    settings: dict[str, Any] = {
        "temperature": 100.0,
        "final_temperature": 500.0,
        "steps": 400,
    }
    assert commands(deck(**settings))["run"] == "400 upto start 0 stop 400"
    made = MDSettings(**settings)
    assert [made.temperature_at(step) for step in (0, 100, 400)] == [100, 200, 500]
    assert made.highest_temperature == 500.0
    assert MDSettings().temperature_at(7) == 300.0


def test_more_models_give_model_deviation() -> None:
    text = deck(models=2, watch_every=5)
    expected = "deepspin /models/0.pth /models/1.pth"
    expected += " out_file run.0.model_devi out_freq 5 atomic"
    assert commands(text)["pair_style"] == expected


def test_start_at_rest_creates_no_velocities() -> None:
    assert "velocity" not in commands(deck(ensemble="nve", temperature=0.0))


def test_text_is_plain_ascii_and_says_that_moments_are_held() -> None:
    text = deck(ensemble="npt", models=2)
    assert text.isascii()
    assert "every moment keeps its size" in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ensemble": "nvp"}, r"unknown ensemble 'nvp'; did you mean"),
        (
            {"cell_change": "full"},
            r"unknown cell change 'full'; known: aniso, iso, tri",
        ),
        ({"steps": 0}, r"steps: expected a positive integer, got 0"),
        ({"steps": 10.5}, r"steps: expected a positive integer, got 10\.5"),
        ({"steps": 10.0}, r"steps: expected a positive integer, got 10\.0"),
        ({"steps": True}, r"steps: expected a positive integer, got True"),
        ({"steps": "10"}, r"steps: expected a positive integer, got '10'"),
        ({"seed": -1}, r"seed: expected a positive integer, got -1"),
        ({"thermo_every": math.nan}, r"thermo_every: expected a positive integer"),
        ({"dump_every": math.inf}, r"dump_every: expected a positive integer, got inf"),
        ({"relax": "all"}, "unknown relaxation 'all'"),
        ({"relax": "atoms", "steps": -1}, "steps: expected a positive integer"),
        ({"relax_force": 0}, "relax_force: expected a positive number of eV/Å"),
        ({"strain": {"zx": 0.1}}, "unknown component of the strain 'zx'"),
        ({"strain": {"zz": 2}}, r"strain, zz: expected a number from -0\.5 to 0\.5"),
        ({"strain": {"zz": 0.1}, "ensemble": "npt"}, "without barostat, got ensemble"),
        ({"strain": {"zz": 0.1}, "relax": "cell"}, "relax the cell in a run of its"),
        ({"restart_every": None}, r"restart_every: expected .* integer, got None"),
        ({"timestep": math.nan}, r"timestep: expected a positive number of fs, got n"),
        ({"timestep": True}, r"timestep: expected a positive number of fs, got True"),
        ({"timestep": "1"}, r"timestep: expected a positive number of fs, got '1'"),
        ({"temperature": -1.0}, r"temperature: expected a positive number of K"),
        ({"temperature": None}, r"temperature: expected a positive number of K, got N"),
        ({"temperature": math.inf}, r"temperature: expected a positive number of K"),
        ({"ensemble": 3}, r"unknown ensemble '3'"),
        (
            {"ensemble": "npt", "pressure": "1"},
            r"pressure: expected a finite number of bar, got '1'",
        ),
        ({"temperature": 0.0}, r"temperature: expected a positive number of K"),
        ({"final_temperature": 0.0}, r"final_temperature: expected a positive number"),
        (
            {"ensemble": "nve", "final_temperature": 400.0},
            r"final_temperature is for a thermostat, got ensemble nve",
        ),
        ({"pressure": 1.0}, r"pressure is for the npt ensemble or a relaxed cell, got"),
        (
            {"ensemble": "npt", "pressure": float("inf")},
            r"pressure: expected a finite number of bar, got inf",
        ),
        ({"dump_every": 15}, r"multiple of thermo_every=10, got 15"),
        ({"seed": 10**9}, r"seed: expected at most 900000000"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MDSettings(**settings)


def test_numbers_of_numpy_become_plain_ones() -> None:
    settings = MDSettings(steps=np.int64(30), timestep=np.float32(0.5), temperature=9)  # type: ignore[arg-type]
    assert json.loads(json.dumps(asdict(settings))) == asdict(
        MDSettings(steps=30, timestep=0.5, temperature=9.0)
    )


@pytest.mark.parametrize(("moments", "style"), [(True, "spin"), (False, "atomic")])
def test_setup_without_output(moments: bool, style: str) -> None:
    text = render_setup(
        Deck(settings=MDSettings(), models=[], elements=["O"], moments=moments),
        output=False,
    )
    found = commands(text)
    assert found["atom_style"] == style
    assert found["pair_style"] == ("deepspin" if moments else "deepmd")
    assert found["timestep"] == "0.001"
    assert not {"log", "thermo", "dump", "compute", "restart", "run"} & found.keys()


def test_data_file_without_moments() -> None:
    cell = lammps_frame(np.eye(3))
    text = render_data(["O"], np.array([[0.0, 0, 0.5]]), None, cell)
    assert text.endswith("Atoms # atomic\n\n1 1 0 0 0.5\n")


def test_data_file() -> None:
    text = render_data(
        ["O", "Mn", "O"],
        np.array([[0.0, 0, 0], [1.5, 0, 0], [0, 2.5, 0]]),
        np.array([[0.0, 0, 0], [3.0, 0, -4.0], [0, 0, 0.5]]),
        lammps_frame(np.diag([3.0, 4.0, 5.0])),
    )
    head, atoms = text.split("Atoms # spin\n\n")
    assert "3 atoms\n2 atom types\n" in head
    assert "0.0 4 ylo yhi\n" in head
    assert "1 15.999000  # O\n2 54.938044  # Mn\n" in head  # ASE's table of masses
    rows = [[float(word) for word in line.split()] for line in atoms.splitlines()]
    expected = """
        1 1  0 0 0    0 0 1       0
        2 2  1.5 0 0  0.6 0 -0.8  5
        3 1  0 2.5 0  0 0 1       0.5
    """
    numbers = np.array(expected.split(), dtype=float).reshape(3, 9)
    np.testing.assert_allclose(np.array(rows), numbers, atol=1e-15)
    assert text.isascii()
