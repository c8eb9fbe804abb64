# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is in the repository: licences, sizes, no path of any machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

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
    assert sum(sizes[path] for path in shipped) < 10 * MB


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
