# SPDX-License-Identifier: LGPL-3.0-or-later
"""Collecting: what is refused, what is kept, and that nothing is half-written."""

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
from spin_dp.errors import ConfigError, DataError

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


def test_missing_and_unreadable_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing here: no such file or folder"):
        collect([tmp_path / "nothing here"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: nothing to read in this folder"):
        collect([tmp_path / "empty"], tmp_path / "out")
    xml = tmp_path / "vasprun.xml"
    xml.touch()
    with pytest.raises(DataError, match=r"xml: not a vasprun\.xml, or cut off"):
        collect([xml], tmp_path / "out")
    assert not (tmp_path / "out").exists()


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
        ({"type_map": ["Ni"]}, "unknown element .*'O'; known: Ni"),
        ({"type_map": ["Ni", "Q"]}, "unknown element 'Q'"),
        ({"type_map": ["Ni", "O", "Ni"]}, "names an element twice"),
        ({"rules": Rules(validation=1.0)}, "at least 0 and below 1"),
    ],
)
def test_wrong_arguments_are_refused(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    with pytest.raises(ConfigError, match=message):
        collect([source], tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_type_map_of_the_user_is_kept_in_full(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    report = collect([source], tmp_path / "out", type_map=["O", "Li", "Ni"])
    (system,) = report.training
    assert (system / "type_map.raw").read_text().split() == ["O", "Li", "Ni"]
    assert (system / "type.raw").read_text().split() == ["0", "2"]


def test_outlier_is_quarantined(tmp_path: Path) -> None:
    frames = [text_frame(energy=e, cell=4 + e / 1e3) for e in (-10.0, -10.1, -10.2)]
    source = write(tmp_path / "a.xyz", *frames, text_frame(energy=-500.0))
    report = collect([source], tmp_path / "out")
    assert (report.n_kept, report.n_quarantined) == (3, 1)
    assert next(iter(report.reasons)).startswith("absurd energy: over 50 eV/atom")


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
    assert list(table["key"]) == ["Ni[+2]", "Ni[+2]", "Ni[0]", "Ni[+2]"]
    assert table["system"].nunique() == 3
    assert table["system"][0] == table["system"][1]  # a global flip is the same state
    assert list(table["index"]) == [0, 1, 0, 0]
    assert list(table["margin"]) == pytest.approx([0.2, 0.1, 0.4, 0.2])


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
    assert {path.name for path in foreign.iterdir()} == {"notes.txt"}


def test_same_arguments_rebuild_and_others_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame())
    out = tmp_path / "out"
    collect([source], out)
    before = folder_state(out)
    with pytest.raises(ConfigError, match=r"another seed \(0, now 7\)"):
        collect([source], out, rules=Rules(seed=7))
    with pytest.raises(ConfigError, match="another sources"):
        collect([source, NICKEL], out)
    assert folder_state(out) == before
    collect([source], out)
    assert folder_state(out) == before
    write(source, text_frame(), text_frame(spin=0.0))  # the file has grown
    assert collect([source], out).n_kept == 2
    assert len(pd.read_csv(out / "manifest.csv")) == 2
    (out / "collect.json").write_text("{}")
    with pytest.raises(ConfigError, match="not a record of collect"):
        collect([source], out)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interruption_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    source = write(tmp_path / "a.xyz", text_frame(), text_frame(spin=0.0))
    out = tmp_path / "out"
    collect([source], out)
    before = folder_state(tmp_path)
    calls = []

    def fail(path: Path, array: object) -> None:
        calls.append(path)
        if len(calls) == 7:  # inside the second system
            raise error
        path.write_bytes(b"x")

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(error):
        collect([source], out)
    calls.clear()
    with pytest.raises(error):
        collect([source], tmp_path / "new")
    assert folder_state(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.xyz", "out"}


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
    assert report.n_sources == report.n_kept == 2
    assert seen == [("b.extxyz", 0, 2), ("a.xyz", 1, 2)]


def test_held_and_free_moments_are_separate_systems(
    vasp_data: Path, tmp_path: Path
) -> None:
    """NUPDOWN holds the total moment: those frames get no magnetic forces."""
    names = ("nmc111-li-nupdown81-k1.2", "nmc111-lisv-k0.6", "feo-relax-spinflip")
    sources = [vasp_data / name / "OUTCAR.gz" for name in names]
    report = collect(sources, tmp_path / "out", rules=Rules(stationary_moments=True))
    free = [path for path in report.training if path.name.endswith("-free")]
    held = [path for path in report.training if path.name.endswith("-held")]
    assert len(held) == 1
    assert len(free) + len(held) == len(report.training)
    assert all((path / "set.000/force_mag.npy").exists() for path in free)
    assert not (held[0] / "set.000/force_mag.npy").exists()
    table = pd.read_csv(report.manifest)
    rows = table[table["formula"] == "Li27Mn9Co9Ni9O54"]
    assert rows["key"].nunique() == 1
    assert rows["level"].nunique() == rows["system"].nunique() == 2


def test_report_counts_frames_and_energies(tmp_path: Path) -> None:
    source = write(
        tmp_path / "a.xyz",
        *(text_frame(energy=-10.0), text_frame(energy=-9.9), text_frame(energy=np.nan)),
        text_frame(energy=-9.0, spin=0.0),
    )
    report = collect([source], tmp_path / "out")
    assert (report.n_read, report.n_kept, report.n_quarantined) == (4, 3, 1)
    table = report.table.set_index("key")
    assert list(table.index) == ["Ni[+2]", "Ni[0]"]
    assert list(table["frames"]) == [2, 1]
    assert list(table["lowest"]) == pytest.approx([0.0, 500.0])  # meV per atom
    assert list(table["highest"]) == pytest.approx([50.0, 500.0])
    rows = pd.read_csv(report.manifest)
    assert list(rows["status"]) == ["kept", "kept", "quarantined", "kept"]
    assert list(rows["step"]) == [1, 2, 3, 4]


def test_import_is_light() -> None:
    code = (
        "import sys, spin_dp.data_tools as d; "
        "heavy = {'torch', 'deepmd', 'matplotlib', 'pymatgen', 'pandas'}; "
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


def test_result_does_not_depend_on_where_it_is_written(tmp_path: Path) -> None:
    collect([NICKEL], tmp_path / "a", rules=Rules(validation=0.3, seed=3))
    shutil.move(tmp_path / "a", tmp_path / "moved")
    collect([NICKEL], tmp_path / "a", rules=Rules(validation=0.3, seed=3))
    assert folder_state(tmp_path / "a") == folder_state(tmp_path / "moved")
