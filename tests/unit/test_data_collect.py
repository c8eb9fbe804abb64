# SPDX-License-Identifier: LGPL-3.0-or-later
"""Collecting: what is refused, what goes together, how a data set grows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from spin_dp.data_tools import CollectReport, ReadOptions, Rules, collect
from spin_dp.data_tools.dataset.output import check_output, locked, replaced_folder
from spin_dp.data_tools.dataset.systems import SystemWriter
from spin_dp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
GPAW = ROOT / "examples" / "gpaw"
NICKEL = GPAW / "NiO2_3.extxyz"


def folder_state(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def text_frame(
    *, energy: float = -10.0, element: str = "Ni", spin: float = 1.7, cell: float = 4.0
) -> str:
    return (
        "2\n"
        f'Lattice="{cell} 0 0 0 {cell} 0 0 0 {cell}" pbc="T T T" free_energy={energy} '
        "Properties=species:S:1:pos:R:3:forces:R:3:magmoms:R:1\n"
        f"{element} 0 0 0 0 0 0 {spin}\nO 2 2 2 0 0 0 0.1\n"
    )


def write(path: Path, *frames: str) -> Path:
    path.write_text("".join(frames))
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows(out: Path) -> list[dict[Any, Any]]:
    table = pd.read_csv(out / "manifest.csv", keep_default_na=False)
    return table.to_dict("records")


def column(out: Path, name: str) -> list[Any]:
    return [row[name] for row in rows(out)]


# --- what is refused


def test_missing_and_unreadable_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing here: no such file or folder"):
        collect([tmp_path / "nothing here"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: nothing to read in this folder"):
        collect([tmp_path / "empty"], tmp_path / "out")
    (tmp_path / "dangling.xyz").symlink_to(tmp_path / "gone.xyz")
    with pytest.raises(DataError, match=r"dangling\.xyz: no such file or folder"):
        collect([tmp_path / "dangling.xyz"], tmp_path / "out")
    for name in ("vasprun.xml", "OUTCAR"):
        (tmp_path / name).touch()
        with pytest.raises(DataError, match=name):
            collect([tmp_path / name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_broken_link_among_sources_is_one_quarantined_row(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    write(runs / "a.xyz", text_frame())
    for name in ("b.xyz", "OUTCAR"):
        (runs / name).symlink_to(runs / "gone")
    report = collect([runs], tmp_path / "out")
    assert (report.n_kept, report.n_quarantined) == (1, 2)
    assert all("No such file" in reason for reason in report.reasons)


def test_nothing_usable_gives_the_most_frequent_reason(tmp_path: Path) -> None:
    bad = text_frame().replace("magmoms:R:1", "others:R:1")
    source = write(tmp_path / "a.xyz", text_frame(energy=np.nan), bad, bad)
    with pytest.raises(DataError, match=r"a\.xyz: no per-atom magmoms .*2 of 3 frames"):
        collect([source], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.xyz"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nmc111-lisv-k0.6-truncated", "unfinished ionic step"),
        ("coni-no-lorbit", "rerun VASP with LORBIT=11"),
        ("nb16c8o8-ispin1-relax", r"ISPIN=2 and LORBIT=11 \(49 of 49 frames"),
        ("fe-monomer-collapsed", "absurd energy"),
    ],
)
def test_unusable_outcar_is_one_clear_error(
    vasp_data: Path, tmp_path: Path, name: str, reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        collect([vasp_data / name / "OUTCAR.gz"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"type_map": ["Ni", "Q"]}, "unknown element 'Q'"),
        ({"type_map": ["Ni", "O", "Ni"]}, "names an element twice"),
        ({"rules": Rules(validation=1.0)}, "at least 0 and below 1"),
        ({"rules": Rules(max_force=0.0)}, "force must be positive, got 0"),
    ],
)
def test_wrong_arguments_are_refused_before_reading(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    with pytest.raises(ConfigError, match=message):
        collect([source], tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_element_outside_the_type_map_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    with pytest.raises(ConfigError, match=r"unknown element .*'O'; known: Ni"):
        collect([source], tmp_path / "out", type_map=["Ni"])
    assert names_in(tmp_path / "out") == [".frames"]  # what was read is kept
    report = collect([source], tmp_path / "out", type_map=["Ni", "O"])
    assert report.n_read_now == 0


def test_output_with_foreign_files_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    out = tmp_path / "out"
    out.mkdir()
    collect([source], out)  # an empty folder is fine
    (out / "model.pth").touch()
    with pytest.raises(ConfigError, match=r"holds model\.pth besides"):
        collect([source], out)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"no earlier result of collect \(notes"):
        collect([source], foreign)
    with pytest.raises(ConfigError, match="is a file"):
        collect([source], source)
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match="is a link to nothing"):
        collect([source], tmp_path / "dangling")
    with pytest.raises(ConfigError, match=r"cannot be written .*; give another folder"):
        collect([source], "/proc/out")
    assert {path.name for path in foreign.iterdir()} == {"notes.txt"}


def test_folders_that_cannot_be_replaced_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    with pytest.raises(ConfigError, match="/: is a mount point"):
        check_output(Path("/"), {})
    (tmp_path / "here" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "deeper")
    for out in (".", ".."):
        with pytest.raises(ConfigError, match=r"\.: holds the current folder"):
            collect([source], out)
    assert collect([source], "out").n_kept == 1


def test_output_folder_is_no_source(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    out = tmp_path / "out"
    collect([source], out)
    with pytest.raises(ConfigError, match="lies in the output folder"):
        collect([out], out)
    again = collect([tmp_path], out)  # a search of all folders passes it over
    assert (again.n_sources, again.n_kept) == (1, 1)


def test_other_arguments_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    out = tmp_path / "out"
    collect([source], out)
    before = folder_state(out)
    for arguments, message in (
        ({"rules": Rules(seed=7)}, r"another seed \(0, now 7\)"),
        (
            {"rules": Rules(labels="nominal")},
            r"another labels \('dft', now 'nominal'\)",
        ),
        ({"options": ReadOptions(level="SCAN")}, r"another level \(None, now 'SCAN'\)"),
        ({"type_map": ["Ni", "O"]}, "another type_map"),
    ):
        with pytest.raises(ConfigError, match=message):
            collect([source], out, **arguments)
    assert folder_state(out) == before
    (out / "collect.json").write_text("{}")
    with pytest.raises(ConfigError, match="not a record of collect"):
        collect([source], out)


# --- what is written


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


def kept(table: Sequence[dict[Any, Any]]) -> list[dict[Any, Any]]:
    return [row for row in table if row["status"] == "kept"]


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


# --- a data set that grows


def content(out: Path) -> dict[tuple[str, int], tuple[Any, ...]]:
    """Return what is known of each frame, whatever its number, name and side are."""
    found = {}
    own = ("geometry", "split", "system", "index")
    for row in rows(out):
        arrays: dict[str, bytes] = {}
        if row["status"] == "kept":
            data = out / row["system"] / "set.000"
            arrays = {
                path.stem: np.load(path)[row["index"]].tobytes()
                for path in data.glob("*.npy")
            }
        rest = {name: value for name, value in row.items() if name not in own}
        system = row["system"].partition("/")[2]
        found[row["source"], row["step"]] = (rest, system, arrays)
    return found


def sides(out: Path) -> dict[tuple[str, int], tuple[str, str]]:
    return {
        (row["source"], row["step"]): (row["geometry"], row["split"])
        for row in rows(out)
    }


def test_grown_folder_gives_the_result_of_a_fresh_collection(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    reports = []
    for part in (["LiCoO2_4", "LiMnO2_4"], ["NiO2_3", "unconverged"], ["CoO2_3"]):
        for name in part:
            shutil.copy(GPAW / f"{name}.extxyz", runs)
        reports.append(collect([runs], tmp_path / "grown"))
    assert [report.n_read_now for report in reports] == [2, 2, 1]
    assert [report.n_sources for report in reports] == [2, 4, 5]
    fresh = collect([runs], tmp_path / "fresh")
    assert fresh.n_read_now == 5
    assert folder_state(tmp_path / "grown") == folder_state(tmp_path / "fresh")
    assert reports[-1].table.equals(fresh.table)
    again = collect([runs], tmp_path / "grown")
    assert again.n_read_now == 0
    assert folder_state(tmp_path / "grown") == folder_state(tmp_path / "fresh")


def frames_in(path: Path) -> list[str]:
    lines = path.read_text().splitlines(keepends=True)
    found = []
    while lines:
        count = 2 + int(lines[0])
        found.append("".join(lines[:count]))
        lines = lines[count:]
    return found


def test_frames_keep_geometry_and_side_in_a_growing_data_set(tmp_path: Path) -> None:
    """New frames come before, between and behind the old ones, in old and new files."""
    frames = frames_in(GPAW / "LiMnO2_4.extxyz") + frames_in(GPAW / "LiCoO2_4.extxyz")
    order = np.random.default_rng(2).permutation(len(frames))
    runs, out = tmp_path / "runs", tmp_path / "out"
    runs.mkdir()
    rules = Rules(validation=0.3, seed=1)
    known: dict[tuple[str, int], tuple[str, str]] = {}
    for stage, name in enumerate(["m", "z", "a", "m"]):
        part = [frames[i] for i in order[stage * 11 : (stage + 1) * 11]]
        path = runs / f"{name}.xyz"
        path.write_text((path.read_text() if path.exists() else "") + "".join(part))
        report = collect([runs], out, rules=rules)
        assert report.n_read_now == 1
        now = sides(out)
        assert now.keys() > known.keys()
        assert all(now[frame] == side for frame, side in known.items() if side[1])
        known = now
        held_out = [row for row in kept(rows(out)) if row["split"] == "validation"]
        geometries = {row["geometry"]: row["split"] for row in kept(rows(out))}
        for row in kept(rows(out)):
            assert geometries[row["geometry"]] == row["split"]
    assert 0 < len(held_out) < report.n_kept / 2
    fresh = collect([runs], tmp_path / "fresh", rules=rules)
    assert fresh.n_kept == report.n_kept
    grown, whole = content(out), content(fresh.out)
    for frame, (row, *rest) in whole.items():
        if row["status"] == "kept" == grown[frame][0]["status"]:
            assert grown[frame] == (row, *rest)
    statuses = [
        Counter(c[0]["status"] for c in found.values()) for found in (grown, whole)
    ]
    assert statuses[0] == statuses[1]


def test_copy_found_later_does_not_take_the_place_of_a_frame(tmp_path: Path) -> None:
    names = [f"n{i}.xyz" for i in range(6)]
    for index, name in enumerate(names):
        write(tmp_path / name, text_frame(cell=4.0 + index / 10))
    rules, out = Rules(validation=0.5), tmp_path / "out"
    collect([tmp_path / name for name in names], out, rules=rules)
    before = sides(out)
    assert {split for _, split in before.values()} == {"training", "validation"}
    copies = [
        write(tmp_path / f"a{name}", (tmp_path / name).read_text()) for name in names
    ]
    report = collect(copies, out, rules=rules)
    assert (report.n_kept, report.n_quarantined) == (6, 6)
    after = sides(out)
    assert {frame: after[frame] for frame in before} == before


def test_vanished_files_stay_until_they_are_pruned(tmp_path: Path) -> None:
    runs, out = tmp_path / "runs", tmp_path / "out"
    runs.mkdir()
    for index in range(3):
        write(runs / f"{index}.xyz", text_frame(cell=4.0 + index / 10))
    collect([runs], out)
    before = folder_state(out)
    (runs / "1.xyz").unlink()
    report = collect([runs], out)
    assert (report.n_sources, report.n_kept, report.n_read_now) == (3, 3, 0)
    assert folder_state(out) == before
    pruned = collect([runs], out, prune=True)
    assert (pruned.n_sources, pruned.n_kept, pruned.n_read_now) == (2, 2, 0)
    assert [Path(source).name for source in column(out, "source")] == ["0.xyz", "2.xyz"]
    assert len(list((out / ".frames").glob("*.npz"))) == 2
    collect([runs], tmp_path / "fresh")
    fresh, now = (content(folder) for folder in (tmp_path / "fresh", out))
    assert fresh == now


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame(), text_frame(cell=4.2))
    other = write(tmp_path / "b.xyz", text_frame(cell=4.4))
    out = tmp_path / "out"
    collect([source, other], out)
    write(source, text_frame(spin=0.0))
    report = collect([source, other], out)
    assert (report.n_read_now, report.n_kept) == (1, 2)
    assert column(out, "key") == ["Ni2+LS[1]", "Ni2+[1up]"]


def test_sources_may_be_added_later_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files of one name, each given by its name in its own folder."""
    out = tmp_path / "out"
    for index, name in enumerate(("first", "second")):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "a.xyz", text_frame(cell=4.0 + index))
        monkeypatch.chdir(tmp_path / name)
        report = collect(["a.xyz"], out)
        assert (report.n_read_now, report.n_sources) == (1, index + 1)
    assert column(out, "source") == [
        str(tmp_path / name / "a.xyz") for name in ("first", "second")
    ]
    assert len(set(column(out, "geometry"))) == 2
    assert collect([tmp_path / "first"], out).n_read_now == 0


def test_partner_that_comes_later_leaves_no_second_source(
    vasp_data: Path, tmp_path: Path
) -> None:
    """A vasprun.xml alone has no moments; with its OUTCAR it is one run with it."""
    runs, out = tmp_path / "runs", tmp_path / "out"
    runs.mkdir()
    shutil.copy(vasp_data / "fe4-static" / "vasprun.xml.gz", runs)
    write(runs / "a.xyz", text_frame())
    assert collect([runs], out).n_quarantined == 1
    shutil.copy(vasp_data / "fe4-static" / "OUTCAR.gz", runs)
    report = collect([runs], out)
    assert (report.n_sources, report.n_kept, report.n_quarantined) == (2, 2, 0)


# --- interruptions


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("n_flushes", [0, 1])
def test_interrupted_writing_leaves_everything_as_it_was(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    n_flushes: int,
) -> None:
    source = write(tmp_path / "a.xyz", text_frame(), text_frame(spin=0.0))
    out, new = tmp_path / "out", tmp_path / "new"
    collect([source], out)
    before = folder_state(out)
    flush, calls = SystemWriter.flush, []

    def fail(writer: SystemWriter) -> None:
        calls.append(writer)
        if len(calls) > n_flushes:
            raise error
        flush(writer)

    with monkeypatch.context() as patch:
        patch.setattr(SystemWriter, "flush", fail)
        for folder in (out, new):
            calls.clear()
            with pytest.raises(error):
                collect([source], folder)
    assert folder_state(out) == before
    assert names_in(new) == [".frames"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.xyz", "out", "new"}
    assert collect([source], new).n_read_now == 0
    assert folder_state(new) == before


def test_interrupted_reading_keeps_what_was_read(tmp_path: Path) -> None:
    sources = [
        write(tmp_path / f"{i}.xyz", text_frame(cell=4.0 + i / 10)) for i in range(4)
    ]
    out = tmp_path / "out"

    def stop(path: Path, number: int, count: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(sources, out, progress=stop)
    assert names_in(out) == [".frames"]
    report = collect(sources, out)
    assert (report.n_read_now, report.n_kept) == (2, 4)
    collect(sources, tmp_path / "fresh")
    assert folder_state(out) == folder_state(tmp_path / "fresh")


def test_frames_of_an_interrupted_run_with_other_sources_are_left_out(
    tmp_path: Path,
) -> None:
    wrong, right, later = (
        write(tmp_path / f"{name}.xyz", text_frame(cell=cell))
        for name, cell in (("wrong", 4.0), ("right", 4.5), ("later", 5.0))
    )
    out = tmp_path / "out"

    def stop(path: Path, number: int, count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect([wrong], out, options=ReadOptions(level="SCAN"), progress=stop)
    collect([right], out)
    assert column(out, "source") == [str(right)]
    with pytest.raises(KeyboardInterrupt):
        collect([wrong], out, progress=stop)
    collect([later], out)
    assert column(out, "source") == [str(later), str(right)]
    assert len(list((out / ".frames").glob("*.npz"))) == 2


def test_damaged_shard_is_read_again(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    out = tmp_path / "out"
    collect([source], out)
    before = folder_state(out)
    (shard,) = (out / ".frames").glob("*.npz")
    shard.write_bytes(b"")  # what a power failure may leave
    assert collect([source], out).n_read_now == 1
    assert folder_state(out) == before


def test_result_left_aside_by_a_kill_is_put_back(tmp_path: Path) -> None:
    """Where folders cannot be exchanged, a kill may strike between two renames."""
    source = write(tmp_path / "a.xyz", text_frame())
    out = tmp_path / "out"
    collect([source], out)
    before = folder_state(out)
    shutil.copytree(out, tmp_path / ".out.part")
    out.rename(tmp_path / ".out.old")
    assert collect([source], out).n_read_now == 0
    assert folder_state(out) == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.xyz", "out"}


def test_folders_are_replaced_where_they_cannot_be_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "spin_dp.data_tools.dataset.output._exchange", lambda *folders: False
    )
    source = write(tmp_path / "a.xyz", text_frame())
    out = tmp_path / "out"
    collect([source], out)
    write(source, text_frame(), text_frame(cell=4.2))
    assert collect([source], out).n_kept == 2
    assert {path.name for path in tmp_path.iterdir()} == {"a.xyz", "out"}


def test_one_collection_at_a_time(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    out = tmp_path / "out"
    collect([source], out)
    message = "out: another process collects into this folder; wait for it or give"
    with locked(out):
        with pytest.raises(ConfigError, match=message):
            collect([source], out)
        with replaced_folder(out) as fresh:
            (fresh / "manifest.csv").touch()
            (fresh / "collect.json").write_text('{"arguments": {}}')
        with pytest.raises(ConfigError, match=message), locked(out):
            pass  # also while the replaced folder is being removed
    with locked(out):
        pass


def test_output_may_be_a_link(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    link, real = tmp_path / "link", tmp_path / "disk" / "real"
    real.mkdir(parents=True)
    link.symlink_to(real)
    reports: list[CollectReport] = [collect([source], link) for _ in range(2)]
    assert [report.n_read_now for report in reports] == [1, 0]
    assert link.is_symlink()
    assert (real / "manifest.csv").exists()
    assert reports[0].manifest == link / "manifest.csv"
    assert {path.name for path in tmp_path.iterdir()} == {"a.xyz", "link", "disk"}
    assert names_in(tmp_path / "disk") == ["real"]


def test_rebuild_takes_other_rules_and_reads_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    collect([NICKEL], out, rules=Rules(validation=0.3, seed=3))
    with pytest.raises(ConfigError, match=r"another seed .*give --rebuild"):
        collect([NICKEL], out, rules=Rules(validation=0.3, seed=4))
    report = collect([NICKEL], out, rules=Rules(validation=0.3, seed=4), rebuild=True)
    assert report.n_read_now == 0
    fresh = collect([NICKEL], tmp_path / "new", rules=Rules(validation=0.3, seed=4))
    assert pd.read_csv(report.manifest).equals(pd.read_csv(fresh.manifest))
    collect([NICKEL], out, rules=Rules(validation=0.3, seed=4))  # its rules are kept
