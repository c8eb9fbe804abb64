# SPDX-License-Identifier: LGPL-3.0-or-later
"""README, CHANGELOG, CITATION and CONTRIBUTING say what is true."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
import typer
import yaml

from spin_dp.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path

PAGES = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md"),
    *("examples/README.md", "examples/gpaw/README.md"),
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_ENVIRONMENT = re.compile(r"^[A-Z_]+=\S*$")


def command_lines(block: str, program: str) -> list[list[str]]:
    """Return the arguments of each line of a shell block that calls the program."""
    found = []
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and _ENVIRONMENT.match(words[0]):
            words = words[1:]
        if words and words[0].rpartition("/")[2] == program:
            found.append(words[1:])
    return found


def shell_blocks(root: Path) -> list[tuple[str, str]]:
    """Return page and text of each shell block."""
    pattern = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        (page, block)
        for page in PAGES
        for block in pattern.findall((root / page).read_text(encoding="utf-8"))
    ]


def table(text: str, first: str) -> list[list[str]]:
    """Return the cells of the rows of the table with that first header cell."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(f"| {first} |"):
            break
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def verbs() -> dict[str, Any]:
    """Return the verbs of the command line."""
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_command_lines_are_found() -> None:
    block = "A=1 spin-dp md x \\\n  --steps 5  # why\n.venv/bin/spin-dp demo\ndp a\n"
    assert command_lines(block, "spin-dp") == [["md", "x", "--steps", "5"], ["demo"]]


@pytest.mark.parametrize("page", PAGES)
def test_links(root: Path, page: str) -> None:
    path = root / page
    for target in _LINK.findall(path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        assert not target.startswith("/"), target
        place, _, anchor = target.partition("#")
        linked = (path.parent / place).resolve() if place else path
        assert linked.is_relative_to(root), target
        assert linked.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            slugs = {
                re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads
            }
            assert anchor in slugs, target


def test_spin_dp_command_lines(root: Path) -> None:
    """Each is accepted by the parser of its verb, without being run."""
    known = verbs()
    seen = set()
    for page, block in shell_blocks(root):
        for words in command_lines(block, "spin-dp"):
            assert words[0] in known, (page, words)
            known[words[0]].make_context(words[0], words[1:])  # raises what it refuses
            seen.add(words[0])
    assert {"collect", "init", "train", "test", "merge", "md", "states"} <= seen


def test_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(Exception, match="No such option: --step"):
        verbs()["md"].make_context("md", ["a", "-m", "b", "-o", "c", "--step", "1"])


def test_options_in_the_text(readme: str) -> None:
    text = re.sub(r"```.*?```", "", readme, flags=re.DOTALL)
    named = set(re.findall(r"`(?:spin-dp \w+ )?(--[a-z-]+)[^`]*`", text))
    accepted = {
        name
        for verb in verbs().values()
        for parameter in verb.params
        for name in parameter.opts
    }
    of_dp_or_all = {"--restart", "--init-model", "--help"}
    assert named - of_dp_or_all
    assert named - of_dp_or_all <= accepted


def test_table_of_verbs(readme: str) -> None:
    rows = {row[0].strip("`") for row in table(readme, "verb")}
    assert rows == {f"spin-dp {name}" for name in verbs()}


def test_dp_command_lines(root: Path) -> None:
    from deepmd.main import main_parser

    lines = [
        words for _, block in shell_blocks(root) for words in command_lines(block, "dp")
    ]
    assert {words[1] for words in lines} >= {"train", "freeze"}
    for words in lines:
        assert words[0] == "--pt"
        main_parser().parse_args(words)  # leaves with status 2 at what it refuses


def test_make_targets(root: Path) -> None:
    makefile = (root / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = {
        target
        for _, block in shell_blocks(root)
        for words in command_lines(block, "make")
        for target in words
    }
    assert {"demo", "test", "lint", "bench"} <= named <= targets


@pytest.fixture(scope="module")
def normalize() -> Any:
    """Return deepmd-kit's input check with our plug-in loaded."""
    import deepmd.pt  # noqa: F401
    from deepmd.utils.argcheck import normalize

    return normalize


def test_input_json(fences: dict[str, list[str]], normalize: Any) -> None:
    (block,) = fences["json"]
    checked = normalize(json.loads(block))
    assert checked["model"]["descriptor"]["type"] == "spin_se_e2_a"
    with pytest.raises(Exception, match="rcutt"):
        normalize(json.loads(block.replace('"rcut"', '"rcutt"')))


def test_input_json_builds_a_model(fences: dict[str, list[str]]) -> None:
    from spin_dp.model.energy import SpinEnergyModel

    section = json.loads(fences["json"][0])["model"]
    section["descriptor"]["sel"] = 60  # dp fills in "auto"
    model = SpinEnergyModel.get_model(section)
    assert model.get_type_map() == section["type_map"]


def test_table_of_descriptor_settings(
    readme: str, fences: dict[str, list[str]], normalize: Any
) -> None:
    """Names, defaults as dp fills them in, and help are those of the settings."""
    from spin_dp.descriptors import SpinDescriptorConfig

    content = json.loads(fences["json"][0])
    content["model"]["descriptor"] = {"type": "spin_se_e2_a"}
    defaults = normalize(content)["model"]["descriptor"]
    stated = {
        row[0].strip("`"): (json.loads(row[1].strip("`")), row[2])
        for row in table(readme, "setting")
    }
    assert stated == {
        setting.name: (defaults[setting.name], setting.metadata["help"])
        for setting in fields(SpinDescriptorConfig)
    }


def test_table_of_python_names(readme: str) -> None:
    import importlib

    for row in table(readme, "name"):
        path = row[0].strip("`").partition("(")[0]
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))


def test_python_block(
    root: Path,
    fences: dict[str, list[str]],
    predicting_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Runs as it stands, on a model with random weights."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.pth").symlink_to(predicting_model)
    (tmp_path / "examples").symlink_to(root / "examples")
    monkeypatch.chdir(tmp_path)
    (block,) = fences["python"]
    names: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["moments"].shape == names["forces"].shape == (8, 3)
    assert names["up"] != names["down"]
    assert names["energy"] == pytest.approx(names["down"], rel=1e-12)
    assert names["table"]["energy"].is_monotonic_increasing


def test_files_left_by_collect(readme: str, root: Path, tmp_path: Path) -> None:
    from spin_dp.data_tools import Rules, collect

    source = root / "examples" / "gpaw" / "LiMnO2_4.extxyz"
    collect([source], tmp_path / "data", rules=Rules(validation=0.2))
    left = {path.name for path in (tmp_path / "data").iterdir()}
    rows = table(readme, "`collect` leaves")
    assert left == {
        name.strip("/") for row in rows for name in re.findall(r"`([^`]+)`", row[0])
    }


def test_files_left_by_md(readme: str) -> None:
    """Names that the table gives are those that the run writes."""
    from spin_dp.lammps_interface import Deck, MDSettings, deck, job, process, workspace

    made = Deck(settings=MDSettings(), models=[], elements=[])
    written = {
        *(job.DECK_FILE, job.TRAJECTORY_FILE, job.THERMO_FILE, deck.DATA_FILE),
        *(made.log, made.dump, process.SCREEN_FILE, workspace.RECORD_FILE),
        *deck.RESTART_FILES,
    }
    rows = table(readme, "`md` leaves")
    assert {n for row in rows for n in re.findall(r"`([^`]+)`", row[0])} == written
    assert made.deviation in readme


def test_changelog_and_version(root: Path, project: dict[str, Any]) -> None:
    heads = re.findall(
        r"^## \[([^]]+)\]", (root / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert heads[0] == "Unreleased"
    assert heads[1] == project["project"]["version"]
    assert len(set(heads)) == len(heads)


def test_citation(root: Path, project: dict[str, Any]) -> None:
    cited = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "preferred-citation"} <= set(cited)
    for entry in (cited, cited["preferred-citation"]):
        assert entry["version"] == project["project"]["version"]
        assert entry["license"] == project["project"]["license"]
        assert entry["authors"] == project["project"]["authors"]
    sources = [
        cited["preferred-citation"],
        *(reference for reference in cited["references"]),
    ]
    assert all({"type", "title", "authors"} <= set(source) for source in sources)
    assert "2309.01146" in str(cited["references"])
