# SPDX-License-Identifier: LGPL-3.0-or-later
"""Folders and pyproject agree, and what is installed works outside the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

import spin_dp
from spin_dp.pretrained import find_model

if TYPE_CHECKING:
    from pathlib import Path

# Builds and installs as pip does, but with the setuptools at hand, offline.
DATA_FILES = {
    "spin_dp/py.typed",
    "spin_dp/campaign/generation.html.j2",
    "spin_dp/campaign/overview.html.j2",
    "spin_dp/campaign/template.toml",
    "spin_dp/deployment/kernel/descriptor.h",
    "spin_dp/dynamics/analysis.html.j2",
    "spin_dp/properties/metals.json",
    "spin_dp/properties/properties.html.j2",
    "spin_dp/report/base.html.j2",
    "spin_dp/report/page.html.j2",
    "spin_dp/report/parts.html.j2",
    *(
        f"spin_dp/pretrained/lixmo2/{name}"
        for name in (
            *("README.md", "calibration.json", "record.json"),
            *(file.name for file in find_model("lixmo2").files),
        )
    ),
}
_BUILD_PY = """
import json, sys
from setuptools import Distribution
options = json.loads(sys.argv[1])
built = Distribution({"name": "spin-dp", "script_name": "setup.py", **options})
command = built.get_command_obj("build_py")
command.build_lib = sys.argv[2]
command.ensure_finalized()
command.run()
"""
_WHEEL = (
    "import sys; from setuptools.build_meta import build_wheel as b; b(sys.argv[1])"
)
_IMPORT = """
import importlib.util, sys
sys.path.insert(0, sys.argv[1])
import spin_dp, spin_dp.cli, spin_dp.data_tools, spin_dp.lammps_interface
places = [importlib.util.find_spec(name).origin for name in sys.argv[2:]]
outside = [place for place in places if not place.startswith(sys.argv[1])]
assert not outside, outside
"""


def _modules(root: Path, project: dict[str, Any]) -> set[str]:
    """Return the modules that belong to the packages, as installed paths."""
    setup = project["tool"]["setuptools"]
    found = set()
    for package in setup["packages"]:
        parts = package.split(".")
        folder = setup["package-dir"].get(package)
        source = root / folder if folder else root.joinpath(*parts)
        found |= {"/".join([*parts, file.name]) for file in source.glob("*.py")}
    return found


def _copy(root: Path, project: dict[str, Any], target: Path) -> None:
    """Copy what a build needs, so that it leaves nothing in the checkout."""
    for folder in project["tool"]["setuptools"]["package-dir"].values():
        shutil.copytree(
            root / folder,
            target / folder,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, target)


def _python(code: str, *arguments: str, cwd: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_every_package_is_listed(root: Path, project: dict[str, Any]) -> None:
    setup = project["tool"]["setuptools"]
    found = {
        ".".join([name, *file.parent.relative_to(root / folder).parts])
        for name, folder in setup["package-dir"].items()
        for file in (root / folder).rglob("__init__.py")
        if not any(parent.is_symlink() for parent in file.parents)
    }
    assert found == set(setup["packages"])


def test_links_lead_to_the_folders(root: Path, project: dict[str, Any]) -> None:
    mapped = project["tool"]["setuptools"]["package-dir"]
    for name, folder in mapped.items():
        link = root / name.replace(".", "/")
        if name == folder:
            assert not link.is_symlink()
            continue
        assert link.is_symlink(), link
        assert not link.readlink().is_absolute()
        assert link.resolve() == (root / folder).resolve()


def test_installed_files_work_outside_the_checkout(
    root: Path, project: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    source, lib = tmp_path / "source", tmp_path / "lib"
    source.mkdir()
    _copy(root, project, source)
    setup = project["tool"]["setuptools"]
    options = {
        "packages": setup["packages"],
        "package_dir": setup["package-dir"],
        "package_data": setup["package-data"],
    }
    _python(_BUILD_PY, json.dumps(options), str(lib), cwd=source)
    installed = {p.relative_to(lib).as_posix() for p in lib.rglob("*") if p.is_file()}
    assert installed == _modules(root, project) | DATA_FILES
    _python(_IMPORT, str(lib), *setup["packages"], cwd=tmp_path)


def test_wheel_holds_our_packages(
    root: Path, project: dict[str, Any], tmp_path: Path
) -> None:
    needed = project["build-system"]["requires"]
    assert needed == ["setuptools>=77"]
    setuptools = pytest.importorskip("setuptools", reason="setuptools is not installed")
    if int(setuptools.__version__.partition(".")[0]) < 77:
        pytest.skip(f"needs {needed[0]}, has {setuptools.__version__}")
    source = tmp_path / "source"
    source.mkdir()
    _copy(root, project, source)
    _python(_WHEEL, str(tmp_path), cwd=source)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = next(n.partition("/")[0] for n in names if ".dist-info/" in n)
        entries = archive.read(f"{info}/entry_points.txt").decode()
    packages = {name for name in names if not name.startswith(f"{info}/")}
    assert packages == _modules(root, project) | DATA_FILES
    assert f"{info}/licenses/LICENSE" in names
    assert "spin-dp = spin_dp.cli:main" in entries
    assert "[deepmd.pt]" in entries
    assert "[dpdata.plugins]" in entries


def test_public_names() -> None:
    names = spin_dp.__all__
    assert names == sorted(names)  # the order that ruff keeps: classes, functions
    assert len(set(names)) == len(names)
    assert set(names) <= set(dir(spin_dp))
    for name in names:
        assert getattr(spin_dp, name).__name__ == name
    with pytest.raises(AttributeError, match="'Spin'"):
        spin_dp.Spin  # noqa: B018


def test_installed_version(project: dict[str, Any]) -> None:
    assert version("spin-dp") == project["project"]["version"]
