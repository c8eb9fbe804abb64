# SPDX-License-Identifier: LGPL-3.0-or-later
"""Real VASP runs: each ionic step gets its own moments, energy and virial."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from monty.io import zopen

from spin_dp.data_tools import (
    Frame,
    ReadOptions,
    Rejected,
    find_sources,
    moment_pattern,
    read_outcar,
    read_source,
)
from spin_dp.data_tools.readers.vasp import outcar, outcar_step
from spin_dp.data_tools.readers.vasp import step as reasons
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

FEO = "feo-relax-spinflip/OUTCAR.gz"


def unpacked(path: Path) -> str:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return stream.read()


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "OUTCAR"
    path.write_text(text, encoding="utf-8")
    return path


def usable(path: Path) -> list[Frame]:
    return [frame for frame in read_outcar(path) if isinstance(frame, Frame)]


def rejected(path: Path) -> list[Rejected]:
    return [frame for frame in read_outcar(path) if isinstance(frame, Rejected)]


def steps_read_line_by_line(text: str, natoms: int) -> list[dict[str, np.ndarray]]:
    """Read a collinear run with string operations only, one line after another."""
    steps: list[dict[str, np.ndarray]] = []
    lines = iter(text.splitlines())
    converged = False
    moments: list[float] = []
    cell: list[list[float]] = []
    pressure = 0.0
    for line in lines:
        if "aborting loop because EDIFF" in line:
            converged = True
        elif line.strip() == "magnetization (x)" and converged:
            for _ in range(3):
                next(lines)
            moments = [float(next(lines).split()[-1]) for _ in range(natoms)]
        elif line.strip().startswith("direct lattice vectors"):
            cell = [[float(w) for w in next(lines).split()[:3]] for _ in range(3)]
        elif "external pressure" in line:
            pressure = float(line.split()[3])
        elif "TOTAL-FORCE" in line:
            next(lines)
            table = [[float(w) for w in next(lines).split()] for _ in range(natoms)]
            steps.append(
                {
                    "moments": np.array(moments),
                    "table": np.array(table),
                    "cell": np.array(cell),
                    "pressure": np.array(pressure),
                }
            )
            converged = False
        elif line.startswith("  free  energy   TOTEN"):
            steps[-1]["energy"] = np.array(float(line.split()[4]))
    return steps


@pytest.mark.parametrize(
    ("name", "natoms", "n_steps"),
    [
        (FEO, 4, 28),
        ("fese-config21/vol_01/OUTCAR.1relax.gz", 16, 7),
        ("fe-bcc-vasp620-relax/OUTCAR.gz", 1, 4),
        ("batio3-nonmagnetic-relax/OUTCAR.gz", 5, 3),
    ],
)
def test_every_ionic_step_agrees_with_a_line_reader(
    vasp_data: Path, name: str, natoms: int, n_steps: int
) -> None:
    frames = usable(vasp_data / name)
    steps = steps_read_line_by_line(unpacked(vasp_data / name), natoms)
    assert len(frames) == len(steps) == n_steps
    assert [frame.step for frame in frames] == list(range(1, n_steps + 1))
    for frame, step in zip(frames, steps, strict=True):
        assert frame.energy == step["energy"]
        np.testing.assert_array_equal(frame.moments[:, 2], step["moments"])
        np.testing.assert_array_equal(frame.moments[:, :2], 0.0)
        np.testing.assert_array_equal(frame.positions, step["table"][:, :3])
        np.testing.assert_array_equal(frame.forces, step["table"][:, 3:])
        np.testing.assert_array_equal(frame.cell, step["cell"])
        assert frame.virial is not None
        # Positive pressure (compression) is a positive virial; 1 eV/Å³ = 1602.18 kbar.
        pressure = np.trace(frame.virial) / 3.0 / frame.volume * 1602.1766
        assert pressure == pytest.approx(float(step["pressure"]), abs=0.006)


def test_spin_state_changes_during_the_relaxation_of_feo(vasp_data: Path) -> None:
    """The values are those stated for this run in the README of the data."""
    frames = usable(vasp_data / FEO)
    iron = np.array([frame.moments[:2, 2] for frame in frames])  # (steps, 2)
    totals = [frame.total_moment for frame in frames]
    np.testing.assert_allclose(iron[:3], [[2.8, -3.8]] * 3, atol=0.3)  # rounded there
    np.testing.assert_allclose(iron[3], [3.17, 0.64], atol=0.005)
    assert np.all((iron[4:8, 1] > 0.45) & (iron[4:8, 1] < 0.76))
    np.testing.assert_allclose(iron[8:, 0], 3.0, atol=0.1)
    assert totals[:3] == pytest.approx([-2.0] * 3, abs=0.02)
    assert totals[3] == pytest.approx(2.05, abs=0.01)
    assert totals[4:] == pytest.approx([4.0] * 24, abs=0.01)
    keys = [moment_pattern(frame.symbols, frame.moments) for frame in frames]
    assert keys[:3] == ["Fe[+4,-3]"] * 3
    assert keys[3] == "Fe[+3,+1]"


@pytest.mark.parametrize(
    ("outcar", "vasprun"),
    [
        (FEO, "feo-relax-spinflip/vasprun.xml.gz"),
        ("limn8o16-im1/OUTCAR.relax1.gz", "limn8o16-im1/vasprun.xml.relax1.gz"),
    ],
)
def test_energies_forces_and_virials_agree_with_vasprun(
    vasp_data: Path, outcar: str, vasprun: str
) -> None:
    from pymatgen.io.vasp.outputs import Vasprun

    run = Vasprun(
        str(vasp_data / vasprun),
        parse_dos=False,
        parse_eigen=False,
        parse_potcar_file=False,
        exception_on_bad_xml=True,
    )
    frames = usable(vasp_data / outcar)
    assert len(frames) == len(run.ionic_steps)
    for frame, step in zip(frames, run.ionic_steps, strict=True):
        assert frame.virial is not None
        assert frame.energy == pytest.approx(step["e_fr_energy"], abs=1e-6)
        np.testing.assert_allclose(frame.forces, step["forces"], atol=1e-6)
        np.testing.assert_allclose(
            frame.cell, step["structure"].lattice.matrix, atol=2e-8
        )
        kbar = np.array(step["stress"])  # same sign as in OUTCAR: pressure
        expected = kbar * frame.volume / 1602.1766
        np.testing.assert_allclose(frame.virial, expected, atol=2e-4)


def test_virial_is_minus_the_energy_slope_of_an_isotropic_strain(
    vasp_data: Path,
) -> None:
    """Volumes 172 and 169 Å³ of one alloy: -dE/d(ln V) = trace(virial)."""
    larger, smaller = (
        usable(vasp_data / f"fe3pt-config28/vol_{v}/OUTCAR.gz")[0] for v in ("00", "01")
    )
    assert larger.volume > smaller.volume
    assert larger.virial is not None
    assert smaller.virial is not None
    slope = (larger.energy - smaller.energy) / np.log(larger.volume / smaller.volume)
    pressure_volume = np.trace(larger.virial + smaller.virial) / 6.0
    assert slope == pytest.approx(-pressure_volume, rel=0.25)


def test_noncollinear_moments_are_vectors_of_the_converged_table(
    vasp_data: Path,
) -> None:
    """NiO with spin-orbit coupling; tables are also printed inside the SCF cycle."""
    (frame,) = usable(vasp_data / "nio-soc-noncollinear/OUTCAR.gz")
    assert frame.symbols == ("Ni", "Ni", "O", "O")
    np.testing.assert_allclose(np.abs(frame.moments[:2, 2]), 1.671, atol=1e-9)
    assert frame.moments[0, 2] == -frame.moments[1, 2]
    np.testing.assert_allclose(frame.moments[:, :2], 0.0, atol=0.002)
    assert frame.level.description["spin_orbit"] is True
    assert frame.level.description["noncollinear"] is True


def test_each_component_comes_from_its_own_table(
    vasp_data: Path, tmp_path: Path
) -> None:
    text = unpacked(vasp_data / "nio-soc-noncollinear/OUTCAR.gz")
    place = text.index("magnetization (y)", text.index("aborting loop"))
    lines = text[place:].split("\n", 10)
    for index in (4, 9):  # d and tot of the first atom and of the last line
        words = lines[index].split()
        lines[index] = "  ".join([*words[:-2], "0.731", "0.731"])
    path = written(tmp_path, text[:place] + "\n".join(lines))
    (frame,) = usable(path)
    assert frame.moments[0, 1] == 0.731
    assert abs(frame.moments[0, 2]) == 1.671


def test_ferrous_selenide_antiferromagnet_and_collapsed_state(vasp_data: Path) -> None:
    (magnetic,) = usable(vasp_data / "fese-config18/vol_00/OUTCAR.gz")
    (collapsed,) = usable(vasp_data / "fese-config18/vol_01/OUTCAR.gz")
    assert magnetic.total_moment == pytest.approx(0.0, abs=0.01)
    assert collapsed.total_moment == pytest.approx(0.0, abs=0.01)
    assert np.sort(np.abs(magnetic.moments[:8, 2]))[-1] == pytest.approx(2.7, abs=0.1)
    assert np.abs(collapsed.moments[:8, 2]).max() < 0.15
    assert magnetic.level.id == collapsed.level.id


@pytest.mark.parametrize(
    ("name", "n_usable", "why"),
    [
        # Facts of each run from the README of the data.
        ("coni-no-lorbit", 0, [outcar.NO_MOMENTS]),
        ("nb16c8o8-ispin1-relax", 0, [reasons.UNPOLARISED] * 49),
        ("nmc111-lisv-k0.6-truncated", 0, [reasons.UNFINISHED]),
        ("fe-monomer-collapsed", 0, [reasons.POSITIVE]),
        ("fes2-broken-step", 2, [reasons.POSITIVE, reasons.UNFINISHED]),
        ("nagds2-dfpt-truncated", 1, [reasons.UNFINISHED]),
        # The table gives one W atom 36 μB although the cell has 2 in all.
        ("li8sc8w16o63h-merged-numbers", 0, [reasons.ABSURD_MOMENT]),
        ("fe31-vacancy-neb-endpoint", 5, []),
        ("mn8o16-host", 1, []),
    ],
)
def test_unusable_steps_are_rejected_with_their_reason(
    vasp_data: Path, name: str, n_usable: int, why: list[str]
) -> None:
    path = vasp_data / name / "OUTCAR.gz"
    assert len(usable(path)) == n_usable
    assert [frame.reason for frame in rejected(path)] == why


def test_run_without_stress_has_no_virial(vasp_data: Path) -> None:
    frames = usable(vasp_data / "fe31-vacancy-neb-endpoint/OUTCAR.gz")
    assert [frame.virial for frame in frames] == [None] * 5


def test_step_that_hit_nelm_is_rejected_and_its_neighbours_kept(
    vasp_data: Path, tmp_path: Path
) -> None:
    text = unpacked(vasp_data / FEO)
    line = "aborting loop because EDIFF is reached"
    second = text.index(line, text.index(line) + 1)
    for other in ("", "aborting loop EDIFF was not reached (unconverged)"):
        broken = text[:second] + other + text[second + len(line) :]
        path = written(tmp_path, broken)
        assert [(f.step, f.reason) for f in rejected(path)] == [
            (2, reasons.UNCONVERGED)
        ]
        whole = usable(vasp_data / FEO)
        assert [f.energy for f in usable(path)] == [
            f.energy for f in whole if f.step != 2
        ]


@pytest.mark.parametrize(
    ("marker", "offset"),
    [
        ("magnetization (x)", 120),
        ("TOTAL-FORCE", 0),
        ("TOTAL-FORCE", 250),
        ("TOTAL-FORCE", 420),
        ("free  energy   TOTEN", 30),
    ],
)
def test_cut_off_step_is_the_only_one_lost(
    vasp_data: Path, tmp_path: Path, marker: str, offset: int
) -> None:
    text = unpacked(vasp_data / FEO)
    starts = [match.start() for match in re.finditer(re.escape(marker), text)]
    path = written(tmp_path, text[: starts[10] + offset])
    assert [frame.step for frame in usable(path)] == list(range(1, 11))
    assert [(f.step, f.reason) for f in rejected(path)] == [(11, reasons.UNFINISHED)]
    whole = usable(vasp_data / FEO)
    for frame, same in zip(usable(path), whole, strict=False):
        np.testing.assert_array_equal(frame.moments, same.moments)


def test_run_stopped_between_ionic_steps_has_nothing_unfinished(
    vasp_data: Path, tmp_path: Path
) -> None:
    text = unpacked(vasp_data / FEO)
    path = written(tmp_path, text[: text.index("- Iteration    4(   1)") - 60])
    assert len(usable(path)) == 3
    assert rejected(path) == []


def test_overflowing_moment_spoils_its_own_step_only(
    vasp_data: Path, tmp_path: Path
) -> None:
    text = unpacked(vasp_data / FEO)
    place = text.index("   2.833\n")
    path = written(tmp_path, text[:place] + "********\n" + text[place + 9 :])
    assert len(usable(path)) == 27
    (frame,) = rejected(path)
    assert frame.step == 1
    assert "moments contain NaN" in frame.reason


def test_energy_far_from_its_own_scf_cycle_is_rejected(
    vasp_data: Path, tmp_path: Path
) -> None:
    text = unpacked(vasp_data / FEO)
    place = text.index("free  energy   TOTEN")  # of the first ionic step
    changed = text[place:].replace("-20.66323714", "-90.66323714", 3)
    path = written(tmp_path, text[:place] + changed)
    assert [(f.step, f.reason) for f in rejected(path)] == [(1, reasons.INCONSISTENT)]


def test_step_without_its_table_of_moments_is_the_only_one_lost(
    vasp_data: Path, tmp_path: Path
) -> None:
    text = unpacked(vasp_data / FEO)
    first = text.index("magnetization (x)")
    place = text.index("# of ion", first)
    path = written(tmp_path, text[:place] + "# garbage" + text[place + 8 :])
    assert [(f.step, f.reason) for f in rejected(path)] == [
        (1, outcar_step.DAMAGED_MOMENTS)
    ]
    path = written(tmp_path, text[:first] + text[first + 14 :])
    assert [(f.step, f.reason) for f in rejected(path)] == [(1, outcar.NO_MOMENTS)]
    assert [frame.step for frame in usable(path)] == list(range(2, 29))


def test_step_without_its_table_of_forces_is_reported(
    vasp_data: Path, tmp_path: Path
) -> None:
    text = unpacked(vasp_data / FEO)
    place = text.index("TOTAL-FORCE", text.index("TOTAL-FORCE") + 1)
    path = written(tmp_path, text[:place] + text[place + 11 :])
    assert [(f.step, f.reason) for f in rejected(path)] == [(2, outcar.NO_TABLE)]
    whole = {frame.step: frame.energy for frame in usable(vasp_data / FEO)}
    del whole[2]
    assert {frame.step: frame.energy for frame in usable(path)} == whole


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a VASP OUTCAR"),
        (b"\x1f\x8b\x08broken", "cannot be read"),
        (b"\xff\xfe\xfa", "not a VASP OUTCAR"),
        (b" vasp.6.4.2\n TITEL  = PAW_PBE Fe 06Sep2000\n", "cut off before its list"),
        (
            b" TITEL  = PAW_PBE Qq 1\n VRHFIN =Qq:\n ZVAL   =   8.000    mass\n"
            b"   ions per type =   2\n",
            "no element can be read from the POTCAR title 'PAW_PBE Qq 1'",
        ),
        (
            b" TITEL  = PAW_PBE Fe 1\n   ions per type =   2  2\n",
            "names 1 POTCARs but 2 kinds of atoms",
        ),
    ],
)
def test_file_that_is_no_outcar_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "OUTCAR"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_outcar(path))


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".lzma"])
@pytest.mark.parametrize("name", ["OUTCAR", "vasprun.xml"])
@pytest.mark.parametrize("is_renamed", [False, True])
def test_packed_and_plain_files_read_alike(
    vasp_data: Path, tmp_path: Path, name: str, suffix: str, is_renamed: bool
) -> None:
    """What pymatgen opens is opened; first bytes, not names, tell how it is packed."""
    text = unpacked(vasp_data / f"nb16c8o8-ispin1-relax/{name}.gz")
    path = tmp_path / f"{name}{suffix}"
    with zopen(path, "wb") as stream:
        stream.write(text.encode())
    if is_renamed:
        path = path.rename(tmp_path / (name if suffix else f"{name}.gz"))
    (source,) = find_sources([tmp_path])
    assert source.files == (path,)
    options = ReadOptions(missing_moments="zero")
    frames = [f for f in read_source(source, options) if isinstance(f, Frame)]
    lines = re.findall(r"free  energy   TOTEN  = +(\S+)", text)
    assert len(frames) == 48
    if lines:
        assert [f.energy for f in frames] == [float(lines[f.step - 1]) for f in frames]


@pytest.mark.parametrize("name", ["OUTCAR.zst", "vasprun.xml.zst"])
def test_zstd_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x28\xb5\x2f\xfd rest")
    (source,) = find_sources([tmp_path])
    (item,) = read_source(source)
    assert isinstance(item, Rejected)
    assert item.reason.endswith("it is packed by zstd, unpack it (zstd -d)")


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_packed_file_that_is_cut_off_is_refused(
    vasp_data: Path, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"OUTCAR{suffix}"
    with zopen(path, "wb") as stream:
        stream.write(unpacked(vasp_data / FEO).encode())
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(DataError, match="the file cannot be read: "):
        list(read_outcar(path))


def test_line_ends_of_windows_change_nothing(vasp_data: Path, tmp_path: Path) -> None:
    plain = usable(vasp_data / FEO)
    path = tmp_path / "OUTCAR"
    path.write_bytes(unpacked(vasp_data / FEO).replace("\n", "\r\n").encode())
    for frame, same in zip(usable(path), plain, strict=True):
        np.testing.assert_array_equal(frame.forces, same.forces)
        np.testing.assert_array_equal(frame.moments, same.moments)
        assert frame.total_moment == same.total_moment
        assert frame.level.id == same.level.id


# Each damage as (text, what stands there instead), the step it is in, and the reason.
# The places are in the first ionic step of the FeO run.
@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        # -1.611234 + 1.611234 = 0, so a changed digit shows in the sum of the forces
        ("     -1.611234     -0.0", "     -1.511234     -0.0", reasons.FORCE_SUM),
        (
            "      1.80837      1.16785",
            "      1.90837      1.16785",
            reasons.NOT_AT_START,
        ),
        (
            "      1.80837      1.16785",
            "      1.8083x      1.16785",
            "forces cannot be",
        ),
        (
            "-2.659783000  0.000000000 -1.529",
            "-2.659783000  0.100000000 -1.529",
            "latt",
        ),
        # 0.001 + ... = tot for each atom, and over the atoms
        ("   2.833\n", "   2.733\n", outcar_step.MOMENT_SUM),
        ("-25.15548", "-26.15548", outcar_step.DAMAGED_STRESS),
        (
            "energy  without entropy=      -20.66323714",
            "energy  without entropy=      -21.66323714",
            reasons.DAMAGED_ENERGY,
        ),
    ],
)
def test_changed_digit_is_found_by_what_the_file_prints_twice(
    vasp_data: Path, tmp_path: Path, old: str, new: str, reason: str
) -> None:
    text = unpacked(vasp_data / FEO)
    place = text.index(old, text.index("aborting loop"))
    assert place < text.index("- Iteration    2(   1)")
    path = written(tmp_path, text[:place] + new + text[place + len(old) :])
    (frame,) = rejected(path)
    assert frame.step == 1
    assert reason in frame.reason
    assert len(usable(path)) == 27


@pytest.mark.parametrize("step", [1, 5])
def test_rows_of_two_atoms_exchanged_are_found(
    vasp_data: Path, tmp_path: Path, step: int
) -> None:
    """Two oxygen atoms trade places in the table of forces, not in that of moments."""
    text = unpacked(vasp_data / FEO)
    places = [match.start() for match in re.finditer("TOTAL-FORCE", text)]
    lines = text[places[step - 1] :].split("\n", 7)
    lines[4], lines[5] = lines[5], lines[4]
    path = written(tmp_path, text[: places[step - 1]] + "\n".join(lines))
    assert [(f.step, f.reason) for f in rejected(path)] == [(step, reasons.EXCHANGED)]
    assert len(usable(path)) == 27


def test_rows_exchanged_at_the_head_cost_one_step(
    vasp_data: Path, tmp_path: Path
) -> None:
    text = unpacked(vasp_data / FEO)
    place = text.index("position of ions in cartesian")
    lines = text[place:].split("\n", 5)
    lines[3], lines[4] = lines[4], lines[3]
    path = written(tmp_path, text[:place] + "\n".join(lines))
    assert [(f.step, f.reason) for f in rejected(path)] == [(1, reasons.EXCHANGED)]
    assert len(usable(path)) == 27


def test_atoms_out_of_order_in_the_table_of_moments_are_found(
    vasp_data: Path, tmp_path: Path
) -> None:
    text = unpacked(vasp_data / FEO)
    place = text.index("# of ion", text.index("magnetization (x)"))
    lines = text[place:].split("\n", 4)
    lines[2], lines[3] = lines[3], lines[2]
    path = written(tmp_path, text[:place] + "\n".join(lines))
    assert [(f.step, f.reason) for f in rejected(path)] == [
        (1, outcar_step.DAMAGED_MOMENTS)
    ]


def test_columns_without_a_blank_between_them_are_told_apart(
    vasp_data: Path, tmp_path: Path
) -> None:
    """A position of ten places fills its column; the neighbour follows at once."""
    text = unpacked(vasp_data / "fe-bcc-vasp620-relax" / "OUTCAR.gz")
    row = "      0.00000      0.00000      0.00000 "
    assert row in text
    merged = "0.000000.000000.00000"
    path = written(tmp_path, text.replace(row, merged))
    whole = usable(vasp_data / "fe-bcc-vasp620-relax" / "OUTCAR.gz")
    assert [f.energy for f in usable(path)] == [f.energy for f in whole]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ISPIN  =      2", "ISPIN  =      #", "does not state ISPIN"),
        ("ENCUT  =  520.0", "ENCUT  =  5#0.0", "does not state ENCUT"),
        ("   LASPH  =      F", "", "does not state LASPH"),
        ("TITEL  = PAW_PBE Fe 06Sep2000", "TITEL  = PAW_PBE Co 06Sep2000", "POTCARs"),
        ("VRHFIN =O:", "VRHFIN =S:", "contradicts itself on its POTCARs"),
        ("NIONS =      4", "NIONS =      5", "NIONS = 5, but .* add to 4"),
        ("LDAUU =   4.0  0.0", "LDAUU =   4.0", "does not state LDAUU"),
        (" LDA+U is selected", " LDA", "does not state LDAUTYPE"),
    ],
)
def test_damaged_head_is_refused(
    vasp_data: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = unpacked(vasp_data / FEO)
    assert old in text
    with pytest.raises(DataError, match=message):
        list(read_outcar(written(tmp_path, text.replace(old, new, 1))))


def test_run_without_spin_is_taken_with_zero_moments_on_demand(
    vasp_data: Path,
) -> None:
    path = vasp_data / "nb16c8o8-ispin1-relax" / "OUTCAR.gz"
    items = list(read_outcar(path, missing_moments="zero"))
    kept = [item for item in items if isinstance(item, Frame)]
    assert [item.step for item in items if isinstance(item, Rejected)] == [2]
    assert len(kept) == 48
    assert not any(frame.moments.any() for frame in kept)
    assert {frame.note for frame in kept} == {reasons.NO_SPIN_NOTE}


def test_zero_moments_are_not_given_to_spin_polarised_runs(
    vasp_data: Path, tmp_path: Path
) -> None:
    path = vasp_data / "coni-no-lorbit" / "OUTCAR.gz"
    (frame,) = read_outcar(path, missing_moments="zero")
    assert isinstance(frame, Rejected)
    assert frame.reason == outcar.NO_MOMENTS
    text = unpacked(path).replace("ISPIN  =      2", "ISPIN  =      1")
    (frame,) = read_outcar(written(tmp_path, text), missing_moments="zero")
    assert isinstance(frame, Rejected)
    assert frame.reason == outcar.HIDDEN_SPIN
