# SPDX-License-Identifier: LGPL-3.0-or-later
"""Collecting: what is written, and what of real runs goes together."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from spin_dp.data_tools import ReadOptions, Rules, collect
from tests.unit.collected import (
    NICKEL,
    ROOT,
    column,
    folder_state,
    kept,
    rows,
    text_frame,
    write,
)


def test_type_map_of_the_user_is_kept_in_full(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    report = collect([source], tmp_path / "out", type_map=["O", "Li", "Ni"])
    (system,) = report.training
    assert (system / "type_map.raw").read_text().split() == ["O", "Li", "Ni"]
    assert (system / "type.raw").read_text().split() == ["0", "2"]


def test_level_named_by_the_user(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    report = collect(
        [source], tmp_path / "out", options=ReadOptions(level="r2SCAN tight")
    )
    (level,) = json.loads((report.out / "levels.json").read_text())
    assert level.startswith("r2SCAN-tight-")
    assert report.training[0].parts[-2] == level


def test_states_and_levels_of_one_composition_are_kept_apart(tmp_path: Path) -> None:
    other = text_frame().replace("free_energy", 'settings="PBE" free_energy')
    source = write(
        tmp_path / "a.xyz",
        *(text_frame(), text_frame(spin=-1.6), text_frame(spin=0.1), other),
    )
    report = collect([source], tmp_path / "out")
    table = pd.read_csv(report.manifest)
    up = "Ni2+[1up]"  # NiO
    assert list(table["key"]) == [up, up, "Ni2+LS[1]", up]
    assert table["system"].nunique() == 3
    assert table["system"][0] == table["system"][1]  # a global flip is the same state
    assert list(table["index"]) == [0, 1, 0, 0]
    assert list(table["charge"]) == [0.0] * 4
    assert 0.1 < table["margin"][2] < 1.5  # to a boundary between 0.1 and 1.6 μB
    assert table["margin"][0] - table["margin"][1] == pytest.approx(0.1)
    assert np.isnan(table["margin"][3])  # the other level has this state only


def test_report_counts_frames_and_energies(tmp_path: Path) -> None:
    source = write(
        tmp_path / "a.xyz",
        *(text_frame(energy=-10.0), text_frame(energy=-9.9), text_frame(energy=np.nan)),
        text_frame(energy=-9.0, spin=0.0),
    )
    report = collect([source], tmp_path / "out")
    assert (report.n_read, report.n_kept, report.n_quarantined) == (4, 3, 1)
    table = report.table.set_index("key")
    assert list(table.index) == ["Ni2+[1up]", "Ni2+LS[1]"]
    assert list(table["frames"]) == [2, 1]
    assert list(table["lowest"]) == pytest.approx([0.0, 500.0])  # meV per atom
    assert list(table["highest"]) == pytest.approx([50.0, 500.0])
    assert list(report.states["state"]) == ["Ni2+", "Ni2+LS"]
    assert list(report.states["sites"]) == [2, 1]
    assert column(report.out, "status") == ["kept", "kept", "quarantined", "kept"]
    assert column(report.out, "step") == [1, 2, 3, 4]
    assert report.n_doubtful == 0


def test_files_are_found_once_in_folders_and_subfolders(tmp_path: Path) -> None:
    deep = tmp_path / "in" / "deeper"
    deep.mkdir(parents=True)
    write(deep / "a.xyz", text_frame())
    write(tmp_path / "in" / "b.extxyz", text_frame(cell=4.1))
    (tmp_path / "in" / "notes.txt").touch()
    seen: list[tuple[str, int, int]] = []
    report = collect(
        [tmp_path / "in", deep / "a.xyz"],
        tmp_path / "out",
        progress=lambda path, number, count: seen.append((path.name, number, count)),
    )
    assert report.n_sources == report.n_kept == report.n_read_now == 2
    assert seen == [("b.extxyz", 1, 2), ("a.xyz", 2, 2)]


def test_result_does_not_depend_on_where_and_when_it_is_written(tmp_path: Path) -> None:
    rules = Rules(validation=0.3, seed=3)
    collect([NICKEL], tmp_path / "a", rules=rules)
    shutil.move(tmp_path / "a", tmp_path / "moved")
    collect([NICKEL], tmp_path / "b", rules=rules)
    assert folder_state(tmp_path / "b") == folder_state(tmp_path / "moved")


def test_import_is_light() -> None:
    code = (
        "import sys, spin_dp.data_tools as d; "
        "heavy = {'torch', 'deepmd', 'matplotlib', 'pymatgen', 'pandas', 'dask'}; "
        "print(sorted(heavy & set(sys.modules)), set(d.__all__) <= set(dir(d)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split("\n")[0] == "[] True"


# --- real runs: one state in one system, different states apart


def collected(vasp_data: Path, tmp_path: Path, *names: str) -> list[dict[Any, Any]]:
    report = collect([vasp_data / name for name in names], tmp_path / "out")
    return rows(report.out)


def test_two_relaxations_to_one_state_share_a_system(
    vasp_data: Path, tmp_path: Path
) -> None:
    """README: equal positions, moments apart by 0.04 at most; all Mn4+."""
    table = kept(collected(vasp_data, tmp_path, "limn8o16-im1"))
    assert len(table) == 2
    assert len({(row["system"], row["geometry"]) for row in table}) == 1
    assert {row["key"] for row in table} == {"Mn4+[8up]"}
    assert {row["naming"] for row in table} == {"unbalanced"}  # one electron more


def test_repeated_run_is_a_copy_and_other_potentials_are_another_system(
    vasp_data: Path, tmp_path: Path
) -> None:
    """README: k1.0 and k1.2 are one frame; lisv is 4.7 eV higher in the same state."""
    names = ("nmc111-li-nupdown81-k1.0", "nmc111-li-nupdown81-k1.2")
    first, second, fine, other = collected(
        vasp_data, tmp_path, *names, "nmc111-lisv-k0.2", "nmc111-lisv-k0.6"
    )
    assert (first["status"], second["status"]) == ("kept", "quarantined")
    assert second["reason"] == f"duplicate of {first['source']}, step 1"
    assert second["level"] == first["level"]
    assert first["key"] == other["key"] == "Mn4+[9up]Co3+HS[9up]Ni2+[9up]"
    assert first["level"] != other["level"]
    assert first["system"] != other["system"]
    assert fine["system"] == other["system"]  # 5 meV apart: a denser k-mesh, no copy


def test_spin_flip_during_a_relaxation_is_seen(vasp_data: Path, tmp_path: Path) -> None:
    """README: steps 1-3 (2.8, -3.8), 4-8 (3.3, 0.6), 9-28 (3.0, 1.8 to 1.4) μB."""
    table = collected(vasp_data, tmp_path, "feo-relax-spinflip/OUTCAR.gz")
    assert [row["status"] for row in table] == ["kept"] * 28
    keys = [row["key"] for row in table]
    assert len(set(keys)) == 3
    assert len(set(keys[:3])) == len(set(keys[3:8])) == len(set(keys[8:])) == 1
    assert keys[3].startswith("Fe2+HS[1up]Fe2+LS[1]")  # four unpaired electrons


def test_total_moment_of_zero_is_not_one_state(vasp_data: Path, tmp_path: Path) -> None:
    """README: vol_00 is antiferromagnetic, in vol_01 and vol_06 moments collapsed."""
    names = [f"fese-config18/vol_{n}/OUTCAR.gz" for n in ("00", "01", "06")]
    table = collected(vasp_data, tmp_path, *names)
    assert [abs(float(row["total_moment"])) < 0.1 for row in table] == [True] * 3
    first, second, third = (row["key"] for row in table)
    assert first != second == third == "Fe2+LS[8]"
    assert first.count("up") == first.count("dn") > 0


def test_jump_along_the_volume_is_seen(vasp_data: Path, tmp_path: Path) -> None:
    """README: Fe atom 7 has +2.46 at vol_04, 0.03 at vol_05, -2.38 at vol_06."""
    table = collected(vasp_data, tmp_path, "fe3pt-config1")
    assert {row["naming"] for row in table} == {"moments"}
    keys = {Path(row["source"]).parent.name: row["key"] for row in table}
    high, jump, low = keys["vol_04"], keys["vol_05"], keys["vol_06"]
    assert len({high, jump, low}) == 3
    for name, key in keys.items():
        volume = int(name.removeprefix("vol_"))
        assert key == (high if volume < 5 else jump if volume == 5 else low)
    assert "[8up,1dn]" in high
    assert "[7up,2dn]" in low


def test_pyrite_holds_divalent_iron(vasp_data: Path, tmp_path: Path) -> None:
    table = kept(collected(vasp_data, tmp_path, "fes2-broken-step/OUTCAR.gz"))
    assert len(table) == 2
    for row in table:
        assert (row["naming"], float(row["charge"])) == ("certain", 0.0)
        assert row["key"].startswith("Fe2+IS[1up]Fe2+LS[15]")
