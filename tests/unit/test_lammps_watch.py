# SPDX-License-Identifier: LGPL-3.0-or-later
"""Limits of the known region, and deviations read while they are written."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from spin_dp.cli.md import md
from spin_dp.errors import ConfigError, DataError
from spin_dp.lammps_interface import Departure, Deviation, MDSettings, Snapshot, Watch
from spin_dp.lammps_interface.deviation import (
    DeviationFile,
    read_deviation_table,
    read_deviations,
    write_deviation_table,
)

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = MDSettings(ensemble="nvt", temperature=300.0)
QUIET = Deviation(
    step=0,
    force=0.1,
    mean_force=0.05,
    force_atom=2,
    magnetic_force=0.1,
    mean_magnetic_force=0.0,
    virial=0.01,
)


def state(**changes: Any) -> Snapshot:
    """Return three atoms in a cell of 4 Å, two of them near across its border."""
    values: dict[str, Any] = {
        "step": 40,
        "time_fs": 20.0,
        "symbols": ["Mn", "O", "O"],
        "positions": np.array([[0.0, 0, 0], [2.0, 0.1, 0], [2.0, 5.9, 0]]),
        "cell": 4.0 * np.eye(3),
        "velocities": np.diag([0.01, 0.02, -0.03]),
        "moments": np.zeros((3, 3)),
        "forces": np.zeros((3, 3)),
        "magnetic_forces": np.zeros((3, 3)),
        "potential_energy": -3.0,
        "temperature": 310.0,
    }
    return Snapshot(**values | changes)


def left(watch: Watch, deviation: Deviation | None = QUIET, **changes: Any) -> Any:
    return watch.departure(state(**changes), SETTINGS, deviation)


def test_within_the_limits() -> None:
    assert left(Watch()) is None
    assert left(Watch(), None) is None


def test_shortest_distance_counts_by_pair_and_across_the_border() -> None:
    """The oxygens at 0.1 and 5.9 Å are 1.8 Å apart in a cell of 4 Å, Mn-O 2.0 Å."""
    found = left(Watch(distances={"O-O": 2.0}))
    assert found.quantity == "distance"
    assert (found.atom, found.partner) == (1, 2)
    assert found.value == pytest.approx(1.8)
    assert "distance of atom 1 (O) and atom 2 (O) is 1.80 Å, less than 2.00 Å" in (
        found.sentence
    )
    assert "at step 40 (0.02 ps)" in found.sentence
    assert left(Watch(distances={"Mn-O": 2.0})) is None
    assert left(Watch(distances={"O-Mn": 2.05})).symbol == "Mn"
    assert left(Watch(shortest=2.05)).limit == 2.05
    assert left(Watch(shortest=2.05, distances={"O-O": 1.0})).partner_symbol == "O"


def test_worst_pair_is_that_farthest_below_its_limit() -> None:
    found = left(Watch(distances={"O-O": 1.85, "Mn-O": 2.9}))
    assert {found.symbol, found.partner_symbol} == {"Mn", "O"}


@pytest.mark.parametrize(
    ("change", "quantity", "text"),
    [
        ({"force": 1.6}, "force deviation", "forces on atom 2 (O) differ by 1.6 eV/Å"),
        ({"force": math.nan}, "force deviation", "differ by nan"),
        (
            {"magnetic_force": 1.25},
            "magnetic force deviation",
            "magnetic forces on an atom differ by 1.25 eV/μB, more than 1 eV/μB",
        ),
    ],
)
def test_deviations(change: dict[str, Any], quantity: str, text: str) -> None:
    watch = Watch(magnetic_limits=(0.3, 1.0))
    found = left(watch, replace(QUIET, **change))
    assert found.quantity == quantity
    assert text in found.sentence


def test_magnetic_forces_count_only_with_limits() -> None:
    large = replace(QUIET, magnetic_force=99.0)
    assert left(Watch(), large) is None
    assert Watch().zone(large) == "trusted"


def test_zones() -> None:
    watch = Watch(force_limits=(0.5, 1.5), magnetic_limits=(0.3, 1.0))
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "trusted"),
        ({"force": 0.5}, "doubtful"),
        ({"magnetic_force": 0.3}, "doubtful"),
        ({"force": 1.5}, "untrusted"),
        ({"magnetic_force": math.nan}, "untrusted"),
    ]
    for change, zone in cases:
        assert watch.zone(replace(QUIET, **change)) == zone, change


def test_temperature_names_the_atom_of_most_energy() -> None:
    """Mn at 0.01 has 55e-4, O at 0.03 has 144e-4 u Å²/fs²."""
    found = left(Watch(max_temperature=300.0))
    assert (found.quantity, found.atom, found.symbol) == ("temperature", 2, "O")
    assert "is 310 K, more than 300 K, and atom 2 (O) is the fastest" in found.sentence


def test_default_temperature_leaves_room_for_fluctuations() -> None:
    """2 T + 300 K and five times sqrt(2/3n) T: 4 atoms fluctuate by 41 %."""
    watch = Watch()
    assert watch.highest_temperature(SETTINGS, 10**9) == pytest.approx(900.0, abs=0.1)
    small = watch.highest_temperature(SETTINGS, 4)
    assert small == pytest.approx(900.0 + 1500.0 * math.sqrt(1.0 / 6.0))
    nve = replace(SETTINGS, ensemble="nve")
    assert watch.highest_temperature(nve, 4) == math.inf


@pytest.mark.parametrize("name", ["positions", "forces", "velocities"])
def test_numbers_that_are_none(name: str) -> None:
    values = getattr(state(), name).copy()
    values[1, 2] = math.nan
    found = left(Watch(), **{name: values})
    assert (found.quantity, found.atom) == ("numbers", 1)
    assert "of atom 1 (O) is no finite number" in found.sentence
    assert left(Watch(), potential_energy=math.inf).quantity == "numbers"


def test_departure_goes_through_json() -> None:
    found = left(Watch(distances={"O-O": 2.0}))
    assert Departure(**json.loads(json.dumps(asdict(found)))) == found
    json.dumps(Watch(distances={"O-O": 2.0}).limits, allow_nan=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"force_limits": (2.0, 1.0)}, "force_limits: expected the lower limit first"),
        ({"force_limits": 1.0}, "force_limits: expected a lower and an upper limit"),
        ({"magnetic_limits": (0.0, 1.0)}, "magnetic_limits: expected a positive"),
        ({"shortest": -1.0}, "shortest: expected a positive number of Å"),
        ({"max_temperature": math.inf}, "max_temperature: expected a positive number"),
        ({"distances": {"OO": 1.0}}, "expected pairs of elements like 'O-O', got 'OO'"),
        ({"distances": {"O-Ox": 1.0}}, "unknown element 'Ox'"),
        ({"distances": {"O-O": 0}}, "distances, O-O: expected a positive number of Å"),
    ],
)
def test_bad_limits(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Watch(**change)


def test_command_line_has_the_defaults_of_the_watch() -> None:
    parameters = signature(md).parameters
    for name in ("force_limits", "magnetic_limits", "shortest", "max_temperature"):
        assert parameters[name].default == getattr(Watch(), name), name


HEAD = "# step max_devi_v min_devi_v avg_devi_v max_devi_fr min_devi_fr avg_devi_fr "
HEAD += "max_devi_fm min_devi_fm avg_devi_fm\n"


def row(step: int, shift: float = 0.0) -> str:
    return f"{step} 0.3 0.1 0.2 {1.0 + shift} 0.1 0.5 0.7 0.0 0.2 0.1 {1.0 + shift} 0\n"


def test_a_file_that_grows_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "run.0.model_devi"
    file = DeviationFile(path)
    assert file.new_rows() == []
    path.write_text(HEAD + row(0) + row(10)[:20])
    assert [one.step for one in file.new_rows()] == [0]
    assert file.new_rows() == []
    with path.open("a") as out:
        out.write(row(10)[20:] + row(20))
    first, second = file.new_rows()
    assert (first.step, second.step) == (10, 20)
    assert first == Deviation(
        step=10,
        force=1.0,
        mean_force=0.5,
        force_atom=1,
        magnetic_force=0.7,
        mean_magnetic_force=0.2,
        virial=0.3,
    )


def test_later_part_replaces_what_it_redid(tmp_path: Path) -> None:
    texts = [row(0) + row(10) + row(20), "", row(10, 9.0) + row(20, 9.0) + row(30, 9.0)]
    parts = [tmp_path / f"run.{number}.model_devi" for number in range(3)]
    for part, text in zip(parts, texts, strict=True):
        part.write_text(HEAD + text)
    found = [(one.step, one.force) for one in read_deviations(parts)]
    assert found == [(0, 1.0), (10, 1.0), (20, 10.0), (30, 10.0)]
    table = tmp_path / "deviation.csv"
    write_deviation_table(table, parts, timestep_fs=2.0, until=20)
    back = list(read_deviation_table(table))
    assert back == list(read_deviations(parts))[:3]
    assert table.read_text().splitlines()[2].startswith("10,0.02,1,0.5,1,")


@pytest.mark.parametrize(
    ("text", "message"),
    [("# step other\n", "expected the columns step"), ("1 2 three\n", "expected 10")],
)
def test_other_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.0.model_devi"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"model_devi: {message}"):
        DeviationFile(path).new_rows()
