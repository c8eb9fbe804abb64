# SPDX-License-Identifier: LGPL-3.0-or-later
"""All pages, CITATION and the versions say what is true."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
import yaml

from spin_dp.cli.app import app

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in (
        *("*.md", "docs/*.md", "examples/**/*.md", "benchmarks/**/*.md"),
        "spin_dp/pretrained/*/*.md",
    )
    for path in ROOT.glob(pattern)
)
# Pages that say what is so in this version of the programs, and not in an earlier
# one (changes) or in programs of their own (benchmarks).
REFERENCE = [
    page
    for page in PAGES
    if page != "CHANGELOG.md" and not page.startswith("benchmarks")
]
MAX_README = 12_000  # bytes
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
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


def text_of(page: str) -> str:
    """Return the text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(language: str) -> list[tuple[str, str]]:
    """Return page and text of each code block in that language."""
    return [
        (page, text)
        for page in PAGES
        for found, text in _FENCE.findall(text_of(page))
        if found == language
    ]


def inline_code(pages: list[str]) -> Iterator[tuple[str, str]]:
    """Yield page and text of each piece of code within a sentence or table."""
    for page in pages:
        for code in _INLINE.findall(_FENCE.sub("", text_of(page))):
            yield page, code


def table(first: str) -> list[list[str]]:
    """Return the rows of the only table whose first header cell is that."""
    head = f"| {first} |"
    places = [
        page
        for page in PAGES
        for line in text_of(page).splitlines()
        if line.startswith(head)
    ]
    assert len(places) == 1, (first, places)
    lines = iter(text_of(places[0]).splitlines())
    while not next(lines).startswith(head):
        pass
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


def test_pages_are_found() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/README.md", "docs/data.md"} <= {
        *PAGES
    }
    assert {"examples/gpaw/README.md", "benchmarks/accuracy/README.md"} <= {*PAGES}


def test_readme_is_short() -> None:
    """It is for a first visit; reference belongs into docs."""
    assert (ROOT / "README.md").stat().st_size <= MAX_README


@pytest.mark.parametrize("index", ["README.md", "docs/README.md"])
def test_every_page_of_docs_is_listed(index: str) -> None:
    path = ROOT / index
    linked = {
        (path.parent / target.partition("#")[0]).resolve()
        for target in _LINK.findall(text_of(index))
    }
    assert {*(ROOT / "docs").glob("*.md")} - {path} <= linked


@pytest.mark.parametrize("page", PAGES)
def test_links(page: str) -> None:
    path = ROOT / page
    for target in _LINK.findall(text_of(page)):
        if target.startswith("https://"):
            continue
        assert not target.startswith("/"), target
        place, _, anchor = target.partition("#")
        linked = (path.parent / place).resolve() if place else path
        assert linked.is_relative_to(ROOT), target
        assert linked.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            slugs = {
                re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads
            }
            assert anchor in slugs, target


def test_spin_dp_command_lines() -> None:
    """Each is accepted by the parser of its verb, without being run."""
    known = verbs()
    seen = set()
    for page, block in blocks("sh"):
        for words in command_lines(block, "spin-dp"):
            assert words[0] in known, (page, words)
            known[words[0]].make_context(words[0], words[1:])  # raises what it refuses
            seen.add(words[0])
    assert {"collect", "init", "train", "test", "merge", "md", "states"} <= seen


def test_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(Exception, match="No such option: --step"):
        verbs()["md"].make_context("md", ["a", "-m", "b", "-o", "c", "--step", "1"])


def spin_dp_options() -> dict[str, set[str]]:
    """Return the options of each verb of spin-dp."""
    return {
        name: {
            option
            for parameter in verb.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for name, verb in verbs().items()
    }


def dp_options() -> dict[str, set[str]]:
    """Return the options of each verb of dp, and of dp itself for an empty name."""
    from deepmd.main import main_parser

    parser = main_parser()
    found = {"": {option for a in parser._actions for option in a.option_strings}}
    for action in parser._actions:
        choices: dict[str, argparse.ArgumentParser] = (
            action.choices if isinstance(action.choices, dict) else {}
        )
        for name, verb in choices.items():
            found[name] = {o for a in verb._actions for o in a.option_strings}
    return found


def test_options_in_the_text() -> None:
    """Each is one of the verb it is named with, or of any verb if it stands alone."""
    of_spin_dp, of_dp = spin_dp_options(), dp_options()
    of_any = set().union(*of_spin_dp.values(), *of_dp.values())
    seen = set()
    for page, code in inline_code(REFERENCE):
        program, *words = code.split()
        options = set(_OPTION.findall(code))
        verb = next((word for word in words if not word.startswith("-")), "")
        if program == "spin-dp" and verb not in ("", "VERB"):
            accepted = of_spin_dp[verb]
        elif program == "dp":
            accepted = of_dp[verb] | of_dp[""]
        elif program.startswith("--"):
            accepted = of_any
        else:  # of another program
            continue
        assert options <= accepted, (page, code)
        seen |= options
    assert {"--check", "--rebuild", "--finetune", "--restart"} <= seen


def test_table_of_verbs() -> None:
    rows = {row[0].strip("`") for row in table("verb")}
    assert rows == {f"spin-dp {name}" for name in verbs()}


def test_dp_command_lines() -> None:
    from deepmd.main import main_parser

    lines = [words for _, block in blocks("sh") for words in command_lines(block, "dp")]
    assert {words[1] for words in lines} >= {"train", "freeze"}
    for words in lines:
        assert words[0] == "--pt"
        main_parser().parse_args(words)  # leaves with status 2 at what it refuses


def test_make_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {
        target
        for _, block in blocks("sh")
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


@pytest.fixture(scope="module")
def input_json() -> str:
    """Return the only complete input that a page shows."""
    ((_, block),) = blocks("json")
    return block


def test_input_json(input_json: str, normalize: Any) -> None:
    checked = normalize(json.loads(input_json))
    assert checked["model"]["descriptor"]["type"] == "spin_se_e2_a"
    with pytest.raises(Exception, match="rcutt"):
        normalize(json.loads(input_json.replace('"rcut"', '"rcutt"')))


def test_input_json_builds_a_model(input_json: str) -> None:
    from spin_dp.model.energy import SpinEnergyModel

    section = json.loads(input_json)["model"]
    section["descriptor"]["sel"] = 60  # dp fills in "auto"
    model = SpinEnergyModel.get_model(section)
    assert model.get_type_map() == section["type_map"]


def test_table_of_descriptor_settings(input_json: str, normalize: Any) -> None:
    """Names, defaults as dp fills them in, and help are those of the settings."""
    from spin_dp.descriptors import SpinDescriptorConfig

    content = json.loads(input_json)
    content["model"]["descriptor"] = {"type": "spin_se_e2_a"}
    defaults = normalize(content)["model"]["descriptor"]
    stated = {
        row[0].strip("`"): (json.loads(row[1].strip("`")), row[2])
        for row in table("setting")
    }
    assert stated == {
        setting.name: (defaults[setting.name], setting.metadata["help"])
        for setting in fields(SpinDescriptorConfig)
    }


def test_table_of_repulsion(input_json: str, normalize: Any) -> None:
    """Names and defaults as dp fills them in, help as dp shows it."""
    from deepmd.utils.argcheck import model_args_plugin

    import spin_dp.plugin  # noqa: F401 (registers)

    (section,) = (
        found
        for found in model_args_plugin.get_all_argument()
        if found.name == "spin_dp"
    )
    arguments = section.sub_fields["repulsion"].sub_fields
    defaults = normalize(json.loads(input_json))["model"]["repulsion"]
    stated = {
        row[0].strip("`"): (json.loads(row[1].strip("`")), row[2])
        for row in table("repulsion")
    }
    assert stated == {
        name: (defaults[name], argument.doc) for name, argument in arguments.items()
    }


@pytest.mark.parametrize(
    ("head", "section"),
    [
        ("[start]", "Start"),
        ("[budget]", "Budget"),
        ("[training]", "Training"),
        ("[exploration]", "Exploration"),
        ("[[structure]]", "Structure"),
        ("[choice]", "Selection"),
        ("[work]", "Work"),
    ],
)
def test_tables_of_the_campaign_file(head: str, section: str) -> None:
    """Keys and defaults are those that campaign files have."""
    from spin_dp.campaign import settings

    _, part = text_of("docs/learning.md").split(f"`{head}`\n\n")
    rows = part.split("\n\n")[0].splitlines()[2:]
    stated = {}
    for row in rows:
        key, default, _ = (cell.strip(" `") for cell in row.strip("|").split(" | "))
        stated[key] = default
    expected = {}
    for name, known in getattr(settings, section).model_fields.items():
        expected[name] = "(needed)"
        if not known.is_required():
            default = known.get_default(call_default_factory=True)
            expected[name] = "" if default is None else json.dumps(default)

    def values(table: dict[str, str]) -> dict[str, Any]:
        words = ("", "(needed)")
        return {k: v if v in words else json.loads(v) for k, v in table.items()}

    assert values(expected) == values(stated)


def named(path: str) -> Any:
    """Return what a dotted path names: a module, or something in one."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        return importlib.import_module(path)


def test_table_of_python_names() -> None:
    calls = [
        path
        for row in table("name")
        for path in re.findall(r"`(spin_dp\.[\w.]+)", row[0])
    ]
    assert len(calls) > 10
    for path in calls:
        assert callable(named(path)), path


def test_python_names_in_the_text() -> None:
    seen = 0
    for page, code in inline_code(REFERENCE):
        found = re.match(r"spin_dp(\.\w+)+", code)
        if found and not code.endswith(".json"):  # a file in each system
            assert named(found[0]) is not None, page
            seen += 1
    assert seen > 10
    with pytest.raises(ImportError):
        named("spin_dp.training.DpInput")


def test_paths_in_the_text() -> None:
    """Files and folders of the repository that the pages name are there."""
    folders = "data_tools|descriptors|lammps_interface|spin_dp|tests|docs|benchmarks"
    pattern = re.compile(rf"^((?:{folders})/[\w./]*)(?:::(\w+))?$")
    seen = 0
    for page, code in inline_code(PAGES):
        if found := pattern.match(code):
            path, name = found.groups()
            assert (ROOT / path).exists(), (page, path)
            assert name is None or f"class {name}" in (ROOT / path).read_text()
            seen += 1
    assert seen > 5


def test_python_blocks(
    label_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run as they stand, on a model with random weights."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.pth").symlink_to(label_model)
    (tmp_path / "model.pth").symlink_to(label_model)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    results = {}
    for page, block in blocks("python"):
        names: dict[str, Any] = {}
        # Compiling takes a minute; tests/integration/test_compress.py has that form.
        block = block.replace("model.pt2", "model.pth")
        block = block.replace('fast_models("lixmo2")', 'fast_models("lixmo2", 1)')
        exec(compile(block, page, "exec"), names)
        results[page] = names
    names = results["README.md"]
    assert names["moments"].shape == names["forces"].shape == (8, 3)
    assert names["up"] != names["down"]
    forces = names["atoms"].get_forces()
    assert forces == pytest.approx(names["forces"], abs=1e-12)
    sampled = results["docs/dynamics.md"]
    assert sampled["sampler"].counts["exchange"].tried > 30
    assert names["table"]["energy"].is_monotonic_increasing


def test_files_left_by_collect(tmp_path: Path) -> None:
    from spin_dp.data_tools import Rules, collect

    source = ROOT / "examples" / "gpaw" / "LiMnO2_4.extxyz"
    collect([source], tmp_path / "data", rules=Rules(validation=0.2))
    left = {path.name for path in (tmp_path / "data").iterdir()}
    rows = table("`collect` leaves")
    assert left == {
        name.strip("/") for row in rows for name in re.findall(r"`([^`]+)`", row[0])
    }


def test_files_left_by_md() -> None:
    """Names that the table gives are those that the run writes."""
    from spin_dp.dynamics.monte_carlo import LABEL_FILE
    from spin_dp.lammps_interface import Deck, MDSettings, deck, job, process, workspace

    made = Deck(settings=MDSettings(), models=[], elements=[])
    written = {
        *(job.DECK_FILE, job.TRAJECTORY_FILE, job.THERMO_FILE, deck.DATA_FILE),
        *(made.log, made.dump, process.SCREEN_FILE, workspace.RECORD_FILE),
        *(*deck.RESTART_FILES, LABEL_FILE),
    }
    rows = table("`md` leaves")
    assert {n for row in rows for n in re.findall(r"`([^`]+)`", row[0])} == written
    assert any(made.deviation in cell for row in rows for cell in row)


def test_changelog_and_version(project: dict[str, Any]) -> None:
    heads = re.findall(r"^## \[([^]]+)\]", text_of("CHANGELOG.md"), re.MULTILINE)
    assert heads[0] == "Unreleased"
    assert heads[1] == project["project"]["version"]
    assert len(set(heads)) == len(heads)


def test_citation(project: dict[str, Any]) -> None:
    cited = yaml.safe_load(text_of("CITATION.cff"))
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
