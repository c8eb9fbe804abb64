# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pages of the shipped model have the tables that their commands make."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from benchmarks.against_dft import barriers, gamma, volumes
from benchmarks.universal.compare import markdown as of_universal
from benchmarks.voltages.__main__ import side_by_side
from examples.base_model import numbers
from examples.base_model.numbers import PAGES, Numbers, make_numbers, of_dft
from examples.pages import part_names
from spin_dp.errors import BackendError, ConfigError
from tests.conftest import ROOT
from tests.integration.scripts import load_script

if TYPE_CHECKING:
    from pathlib import Path

ALL = (*PAGES, *of_dft("python3"))


def test_each_page_has_a_place_for_each_of_its_tables() -> None:
    places: dict[str, list[str]] = {}
    for one in ALL:
        places.setdefault(one.page, []).extend(one.tables)
    for page, tables in places.items():
        assert part_names((ROOT / page).read_text()) == tables
    assert len({one.name for one in ALL}) == len(ALL)


def test_commands_are_there() -> None:
    for one in ALL:
        for command in one.commands:
            if command[0] == "-m":
                assert find_spec(command[1]) is not None
            elif command[0] != "-c":
                assert (ROOT / command[0]).is_file()


def page_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> Path:
    """Return a page whose one table is made by a line of Python."""
    page = tmp_path / "PAGE.md"
    page.write_text("<!-- mine: generated -->\nold\n<!-- end -->\n")
    one = Numbers("mine", str(page), (("-c", code, "{out}"),), ("mine",))
    monkeypatch.setattr(numbers, "PAGES", (one,))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "record.json").write_text("{}")
    return page


def test_a_page_is_filled_once_for_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys; from pathlib import Path; p = Path(sys.argv[1], 'n'); "
        "p.write_text(p.read_text() + 'x' if p.exists() else 'x'); "
        "Path(sys.argv[1], 'mine.md').write_text('made ' + p.read_text())"
    )
    page = page_of(tmp_path, monkeypatch, code)
    for _ in range(2):
        make_numbers(tmp_path, tmp_path / "out", tmp_path / "model")
    assert page.read_text() == "<!-- mine: generated -->\n\nmade x\n\n<!-- end -->\n"
    # Of another model nothing is left.
    (tmp_path / "model" / "record.json").write_text('{"name": "other"}')
    (tmp_path / "out" / "mine" / "mine.md").write_text("of the old model")
    make_numbers(tmp_path, tmp_path / "out", tmp_path / "model")
    assert "made x\n" in page.read_text()
    with pytest.raises(ConfigError, match="unknown page 'yours'"):
        make_numbers(tmp_path, tmp_path / "out", tmp_path / "model", only="yours")


def test_a_command_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = page_of(tmp_path, monkeypatch, "raise ValueError('no numbers today')")
    with pytest.raises(BackendError, match="ValueError: no numbers today"):
        make_numbers(tmp_path, tmp_path / "out", tmp_path / "model")
    assert "old" in page.read_text()


def cells(text: str) -> list[list[str]]:
    """Return the cells of the rows of a table, without its head."""
    rows = [
        [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
        for line in text.splitlines()
    ]
    assert len({len(row) for row in rows}) == 1
    return rows[2:]


def test_tables_against_dft() -> None:
    nan = float("nan")
    row = {
        "crystal": "LiCoO2",
        "labels": "Co=3+LS",
        "volumes": 7,
        "V0 DFT": 33.5,
        "V0 model": 33.0,
        "V0 ±": 0.02,
        "V0 error": -1.5,
        "B0 DFT": 150.0,
        "B0 model": 160.0,
        "B0 ±": nan,
        "B0 error": 6.7,
        "gap DFT": 0.0,
        "gap model": 0.0,
    }
    table = pd.DataFrame(
        [row, {"crystal": "LiMnO2", "labels": "Mn=3+LS", "volumes": 0}]
    )
    first, second = cells(volumes.markdown(table))
    assert first == [
        *("LiCoO2, Co=3+LS", "7", "33.50", "33.00 ± 0.02 (-1.5 %)"),
        *("150", "160 (+7 %)", "0", "0"),
    ]
    assert second[:3] == ["LiMnO2, Mn=3+LS", "0", "-"]
    modes = pd.DataFrame({"crystal": "LiCoO2", "model": [1.0, 2.0], "dft": [1.4, 2.6]})
    assert cells(gamma.markdown(modes)) == [
        ["LiCoO2, DFT", "1", "3"],
        ["LiCoO2, model", "1", "2"],
    ]
    hop = pd.DataFrame(
        {
            "crystal": "LiCoO2",
            "vacancies": "one",
            "electron": "staying",
            "spread": 0.05,
            "energy": [0.0, 0.6, 0.1],
            "dft": [0.0, 0.7, 0.2],
            "becomes": "",
        }
    )
    (only,) = cells(barriers.markdown(hop))
    assert only == [
        *("LiCoO2", "one", "staying", "0.70", "0.60 ± 0.05"),
        *("0.20", "0.10", "the same state"),
    ]


def test_tables_of_potentials() -> None:
    keys = {"metal": ["Co", "Ni"], "x": ["0 to 1", "0 to 1"], "geometries": "1, 2"}
    ours = pd.DataFrame({**keys, "mean": [-0.014, 0.2], "deviation": [0.02, 0.0]})
    held_out = ours.iloc[1:].assign(mean=0.5)
    text = side_by_side({"a, all": ours, "a, held out": held_out}, ["metal", "x"], 2)
    assert cells(text) == [
        ["Co", "0 to 1", "1, 2", "-0.01 (0.02)", "-"],
        ["Ni", "0 to 1", "1, 2", "0.20 (0.00)", "0.50 (0.00)"],
    ]
    table = pd.DataFrame(
        {
            "potential": ["by name"],
            "energy_lowest": 8.42,
            "force_lowest": 246.2,
            "energy_all": 8.5,
            "force_all": 231.0,
            "ms a step": np.nan,
        }
    )
    assert cells(of_universal(table))[0][:5] == ["by name", "8.4", "246", "8.5", "231"]


def test_table_of_hops() -> None:
    """One row a hop, its ways side by side; one that was not run is left empty."""
    example = load_script(ROOT / "examples" / "migration" / "run.py")
    hop = {
        "crystal": "LiCoO2",
        "vacancies": "one",
        "hop": 0,
        "way": "dumbbell",
        "distance": 2.84,
        "Li-O": 1.78,
        "Li-M": 2.22,
    }
    ways = [("staying", "adiabatic", 0.63), ("staying", "held", 0.65)]
    ways.append(("lowest", "adiabatic", 0.64))
    table = pd.DataFrame(
        [
            {**hop, "electron": who, "labels": how, "barrier": height, "spread": 0.05}
            for who, how, height in ways
        ]
    )
    assert cells(example.markdown(table)) == [
        [
            *("LiCoO2", "one", "dumbbell, 2.84", "0.63 ± 0.05", "0.65", "", "0.64"),
            *("1.78", "2.22"),
        ]
    ]
