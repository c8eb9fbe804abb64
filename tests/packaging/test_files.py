# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is in the repository: licences, sizes, no path of any machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import ase.io
import pytest

if TYPE_CHECKING:
    from pathlib import Path

MB = 1_000_000
SPDX = "# SPDX-License-Identifier: LGPL-3.0-or-later"
# Built from parts: this file is looked at as well.
_ROOTS = "|".join(["work", "root", "home"])
MACHINE_PATH = re.compile(rf"(?<![\w.~-])/(?:{_ROOTS})/")


def test_pattern_of_machine_paths() -> None:
    assert MACHINE_PATH.search("see " + "/home" + "/someone/x")
    assert MACHINE_PATH.search('"' + "/work" + '/x"')
    assert not MACHINE_PATH.search("docs/home/index, ~/work/x, homework/2")


def test_every_module_names_its_licence(files: list[Path]) -> None:
    modules = [path for path in files if path.suffix == ".py"]
    assert len(modules) > 50
    bare = [p for p in modules if p.read_text().partition("\n")[0] != SPDX]
    assert not bare


def test_sizes(root: Path, files: list[Path]) -> None:
    sizes = {path: path.stat().st_size for path in files}
    assert not [path for path, size in sizes.items() if size > MB]
    shipped = [path for path in sizes if path.is_relative_to(root / "examples")]
    assert shipped
    assert sum(sizes[path] for path in shipped) < 6 * MB


def test_no_path_of_a_machine(files: list[Path]) -> None:
    found = []
    for path in files:
        content = path.read_bytes()
        if b"\0" not in content and MACHINE_PATH.search(content.decode("utf-8")):
            found.append(path)
    assert not found


def test_licence_of_the_code(root: Path, project: dict[str, Any]) -> None:
    assert project["project"]["license"] == SPDX.partition(": ")[2]
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in (root / "LICENSE").read_text()


def test_licence_of_the_data(root: Path) -> None:
    notice = (root / "examples" / "gpaw" / "LICENSE").read_text()
    assert "SPDX-License-Identifier: CC-BY-4.0" in notice
    assert "https://creativecommons.org/licenses/by/4.0/" in notice
    assert "The spin-dp developers" in notice
    assert "CC-BY-4.0" in (root / "examples" / "gpaw" / "README.md").read_text()


@pytest.fixture(scope="module")
def counts(root: Path) -> dict[str, tuple[int, int]]:
    """Return frames and geometries of each file of the example data."""
    found = {}
    for path in (root / "examples" / "gpaw").glob("*.extxyz"):
        frames = ase.io.read(path, ":")
        found[path.stem] = (len(frames), len({a.info["geometry_id"] for a in frames}))
    return found


def test_counts_of_the_data(root: Path, counts: dict[str, tuple[int, int]]) -> None:
    text = (root / "examples" / "gpaw" / "README.md").read_text()
    table = text.partition("## What kind of solution")[0]
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \|$", table, re.MULTILINE)
    stated = {row[0]: (int(row[1]), int(row[2])) for row in rows}
    unconverged, _ = counts["unconverged"]
    systems = {name: pair for name, pair in counts.items() if name != "unconverged"}
    total = tuple(sum(column) for column in zip(*systems.values(), strict=True))
    assert stated == {**systems, "total": total}
    assert sum(int(row[3]) for row in rows) == 2 * unconverged  # with the total
    assert f"{total[0]} frames at {total[1]} geometries" in text
    assert f"{unconverged} SCF runs" in " ".join(text.split())
