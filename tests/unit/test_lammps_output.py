# SPDX-License-Identifier: LGPL-3.0-or-later
from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.io import read

from spin_dp.errors import DataError
from spin_dp.lammps_interface import lammps_frame, read_dump, write_trajectory
from spin_dp.lammps_interface.thermo import (
    energy_drift,
    mean_temperature,
    ns_per_day,
    read_thermo,
    render_csv,
)
from spin_dp.lammps_interface.trajectory import read_binary_dump
from spin_dp.structures import carried_moments

if TYPE_CHECKING:
    from pathlib import Path

    from spin_dp.lammps_interface.thermo import ThermoRow

LOG = """\
Some text of 2 words
   Step          Temp          PotEng         KinEng         TotEng
         0   300            -10.5          0.5            -10
WARNING: something in between
        10   200            -10.4          0.5            -9.9
        20   100            -10.3          0.5            -9.8
Loop time of 1.5 on 1 procs for 20 steps with 4 atoms
1 2 3 4 5
"""


def thermo_rows(tmp_path: Path, *logs: str, every: int = 10) -> list[ThermoRow]:
    files = [tmp_path / f"run.{part}.log" for part in range(len(logs))]
    for file, text in zip(files, logs, strict=True):
        file.write_text(text)
    return read_thermo(files, every=every)[0]


def steps(rows: list[ThermoRow]) -> list[float]:
    return [row["step"] for row in rows]


def test_thermo_rows_and_speed_of_logs(tmp_path: Path) -> None:
    (tmp_path / "run.0.log").write_text(LOG)
    rows, loops = read_thermo([tmp_path / "run.0.log"] * 2, every=10)
    assert steps(rows) == [0, 10, 20]
    assert rows[1]["potential_energy_eV"] == -10.4
    assert loops == [(1.5, 20), (1.5, 20)]
    # 40 steps of 2 fs in 3 s; a day has 86400 s
    assert ns_per_day(loops, timestep_fs=2.0) == pytest.approx(80e-6 / 3 * 86400)
    assert ns_per_day([], timestep_fs=2.0) is None


def test_thermo_leaves_out_a_cut_off_line(tmp_path: Path) -> None:
    cut = LOG[: LOG.index("-9.8") + 3]
    assert steps(thermo_rows(tmp_path, cut)) == [0, 10]


def test_thermo_leaves_out_where_a_segment_ended_but_not_the_last(
    tmp_path: Path,
) -> None:
    assert steps(thermo_rows(tmp_path, LOG, every=20)) == [0, 20]
    assert steps(thermo_rows(tmp_path, LOG, every=15)) == [0, 20]


def test_thermo_averages(tmp_path: Path) -> None:
    rows = thermo_rows(tmp_path, LOG)
    assert mean_temperature(rows) == 150.0  # of 200 and 100
    # 0.1 eV in 10 steps of 2 fs for 4 atoms: 25 meV/atom in 0.02 ps
    drift = energy_drift(rows, n_atoms=4, timestep_fs=2.0)
    assert drift == pytest.approx(1250.0)
    assert energy_drift(rows[:1], n_atoms=4, timestep_fs=2.0) is None
    assert mean_temperature([]) is None


def test_later_part_replaces_what_it_redid_after_its_first_step(
    tmp_path: Path,
) -> None:
    """At its first step moments may be new: the row is that of arriving there."""
    redone = LOG.replace("         0   300", "").replace("200 ", "7 ")
    joined = thermo_rows(tmp_path, LOG, "", redone.replace("100 ", "8 "))
    assert [row["temperature_K"] for row in joined] == [300.0, 200.0, 8.0]
    within = LOG + LOG.replace("         0 ", "        20 ").split("WARNING")[0]
    joined = thermo_rows(tmp_path, within)
    assert [row["temperature_K"] for row in joined] == [300.0, 200.0, 100.0]


def test_table_has_the_time(tmp_path: Path) -> None:
    rows = thermo_rows(tmp_path, LOG)
    lines = render_csv(rows, 2.0).splitlines()
    assert lines[0].startswith("step,time_ps,temperature_K,potential_energy_eV")
    assert lines[2].startswith("10,0.02,200,-10.4")
    assert render_csv([], 2.0) == ""


def dump(step: int, shift: float = 0.0, *, direction: str = "0 0 1") -> str:
    """Return a dump frame of a box with xy = 0.5 and corner (1, 0, 0), ids reversed."""
    columns = "c_moment[1] c_moment[2] c_moment[3] c_moment[4] "
    columns += "c_moment[5] c_moment[6] c_moment[7]"
    return (
        f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n2\n"
        "ITEM: BOX BOUNDS xy xz yz pp pp pp\n1 4.5 0.5\n0 4 0\n0 5 0\n"
        f"ITEM: ATOMS id element xu yu zu vx vy vz fx fy fz {columns}\n"
        f"2 O {2 + shift} 1 1 0 0 0 0 0 0 0 0 0 1 0 0 0\n"
        f"1 Mn {1 + shift} 0 0 1 0 0 0 2 0 4 {direction} 0 0 100\n"
    )


BOX = np.array([[3.0, 0, 0], [0.5, 4, 0], [0, 0, 5]])


def test_dump_frame_is_sorted_and_its_box_restored(tmp_path: Path) -> None:
    file = tmp_path / "a.lammpstrj"
    file.write_text(dump(0))
    (frame,) = read_dump(file)
    assert frame.symbols == ["Mn", "O"]
    np.testing.assert_allclose(frame.box, BOX)
    np.testing.assert_allclose(frame.origin, [1.0, 0, 0])
    np.testing.assert_allclose(frame.moments(), np.diag([0.0, 0, 4])[[2, 0]])


def test_magnetic_forces_in_ev_per_mub(tmp_path: Path) -> None:
    file = tmp_path / "a.lammpstrj"
    file.write_text(dump(0))
    (frame,) = read_dump(file)
    # fm = |m|/hbar (-dE/dm) in LAMMPS; hbar = 6.5821e-4 eV ps
    expected = np.zeros((2, 3))
    expected[0, 2] = 100.0 * 6.5821e-4 / 4.0
    np.testing.assert_allclose(frame.magnetic_forces(), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", r"cut off"),
        (struct.pack("=q10sii", -10, b"DUMPCUSTOM", 1, 9) + bytes(20), "format 2"),
        (struct.pack("=q10sii", -10, b"DUMPCUSTOM", 1, 2) + bytes(20), "cut off"),
    ],
)
def test_damaged_binary_dump(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "state.bin"
    file.write_bytes(content)
    with pytest.raises(DataError, match=rf"state\.bin: .*{message}"):
        read_binary_dump(file, ["O"])


@pytest.mark.parametrize("keep", [30, 200, -5])
def test_cut_off_frame_is_left_out(tmp_path: Path, keep: int) -> None:
    file = tmp_path / "a.lammpstrj"
    file.write_text(dump(0) + dump(10)[:keep])
    assert [frame.step for frame in read_dump(file)] == [0]


def test_other_files_are_no_dumps(tmp_path: Path) -> None:
    file = tmp_path / "a.lammpstrj"
    file.write_text("hello\n" * 20)
    with pytest.raises(DataError, match=r"a\.lammpstrj: expected a frame"):
        list(read_dump(file))
    file.write_text(dump(4).replace("2 O 2.0 1 1 0", "2 O 2.0 1 1"))
    with pytest.raises(DataError, match=r"step 4: expected 18 columns"):
        list(read_dump(file))


THERMO = {"potential_energy_eV": -7.5, "temperature_K": 300.0}


@pytest.mark.parametrize(
    ("direction", "moments"),
    [
        ("0 0 -1", [[0, 0, -4.0], [0, 0, 0]]),
        ("0.6 0 0.8", [[2.4, 0, 3.2], [0, 0, 0]]),
    ],
    ids=["collinear", "noncollinear"],
)
def test_trajectory_reads_back_in_the_frame_of_the_structure(
    tmp_path: Path, direction: str, moments: list[list[float]]
) -> None:
    turn = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])  # x to y, y to z, z to x
    frame = lammps_frame(BOX @ turn)
    file = tmp_path / "a.lammpstrj"
    file.write_text(dump(0, direction=direction))
    out = tmp_path / "t.extxyz"
    assert write_trajectory(out, [file], frame, thermo={0: THERMO}, timestep_fs=2.0)
    atoms = read(out)
    np.testing.assert_allclose(atoms.cell.array, BOX @ turn, atol=1e-12)
    np.testing.assert_allclose(atoms.positions, [[0, 0, 0], [1, 1, 1]], atol=1e-8)
    np.testing.assert_allclose(atoms.get_forces(), [[0, 0, 2], [0, 0, 0]], atol=1e-8)
    # 1 Å/ps in eV and u: u (Å/ps)² = 1.0364e-4 eV
    assert atoms.get_kinetic_energy() == pytest.approx(
        0.5 * 54.938 * 1.0364e-4, rel=1e-4
    )
    assert atoms.get_potential_energy() == -7.5
    np.testing.assert_allclose(atoms.get_magnetic_moments(), moments, atol=1e-8)
    found = carried_moments(atoms)
    assert found is not None
    np.testing.assert_allclose(found, moments, atol=1e-8)


def test_parts_are_joined_and_frames_without_energy_left_out(tmp_path: Path) -> None:
    later = [dump(step, 0.25) for step in (10, 20, 30)]
    texts = [dump(0) + dump(10) + dump(20), "", "".join(later)]
    files = [tmp_path / f"run.{part}.lammpstrj" for part in range(3)]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    out = tmp_path / "t.extxyz"
    thermo = dict.fromkeys((0, 10, 20), THERMO)
    count = write_trajectory(
        out, files, lammps_frame(BOX), thermo=thermo, timestep_fs=1.0
    )
    assert count == 3
    frames = read(out, ":")
    assert [frame.info["step"] for frame in frames] == [0, 10, 20]
    assert [frame.positions[0, 0] for frame in frames] == [0.0, 0.0, 0.25]
    assert not list(tmp_path.glob(".*"))
