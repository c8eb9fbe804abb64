# SPDX-License-Identifier: LGPL-3.0-or-later
"""What was collected is read as it was written, and nothing else is taken for it."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from spin_dp.data_tools import Rules, collect
from spin_dp.data_tools.collection.collected import open_collected, read_manifest
from spin_dp.errors import DataError
from spin_dp.report import write_report
from tests.unit.collected import GPAW, NICKEL, text_frame, write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("opened") / "data"
    rules = Rules(validation=0.2, stationary_moments=True)
    collect([NICKEL, GPAW / "unconverged.extxyz"], folder, rules=rules)
    return folder


@pytest.fixture
def data(out: Path, tmp_path: Path) -> Path:
    return shutil.copytree(out, tmp_path / "data")


def test_manifest_is_read_without_loss(out: Path, tmp_path: Path) -> None:
    data = open_collected(out)
    assert set(data.manifest["status"]) == {"kept", "quarantined"}
    assert set(data.kept["status"]) == {"kept"}
    data.manifest.to_csv(tmp_path / "again.csv", index=False)
    assert (tmp_path / "again.csv").read_text() == (out / "manifest.csv").read_text()


def test_other_tables_fit_the_manifest(out: Path) -> None:
    data = open_collected(out)
    sites, states = data.sites(), data.states()
    assert len(sites) == len(data.kept)  # one Ni each
    assert set(sites["state"]) == set(states["state"])
    assert states["sites"].sum() == len(sites)
    lengths = sites["moment"].abs().groupby(sites["state"]).mean()
    means = states.set_index("state")["mean"]
    assert lengths.to_dict() == pytest.approx(means.to_dict(), abs=1e-6)
    assert set(data.levels()) == set(data.kept["level"])
    assert "arguments" in data.record()


@pytest.mark.parametrize("name", ["levels.json", "collect.json"])
def test_descriptions_that_are_no_objects_are_refused(data: Path, name: str) -> None:
    (data / name).write_text("[1, 2]")
    opened = open_collected(data)
    read = opened.levels if name == "levels.json" else opened.record
    with pytest.raises(DataError, match=f"{name}: not a JSON object"):
        read()


def test_a_formula_like_a_missing_value_or_a_number_stays(data: Path) -> None:
    table = pd.read_csv(data / "manifest.csv", keep_default_na=False)
    names = ["NaN", "007"] + ["Ni"] * (len(table) - 2)
    table.assign(formula=names).to_csv(data / "manifest.csv", index=False)
    assert open_collected(data).manifest["formula"].tolist() == names


def test_frames_of_no_system_and_of_no_row_are_refused(data: Path) -> None:
    table = pd.read_csv(data / "manifest.csv", keep_default_na=False)
    first = table.index[table["status"] == "kept"][0]
    table.drop(index=first).to_csv(data / "manifest.csv", index=False)
    with pytest.raises(DataError, match="expected the frames 0 to"):
        open_collected(data)
    table["system"] = table["system"].replace(table["system"][first], "training/none")
    table.to_csv(data / "manifest.csv", index=False)
    with pytest.raises(DataError, match="none: not a deepmd system"):
        open_collected(data)


def test_an_earlier_manifest_is_not_taken_over(data: Path) -> None:
    """Numbers of geometries and sides come from it, so it must be understood."""
    table = pd.read_csv(data / "manifest.csv", keep_default_na=False)
    table.drop(columns="max_force").to_csv(data / "manifest.csv", index=False)
    rules = Rules(validation=0.2, stationary_moments=True)
    with pytest.raises(DataError, match=r"found no max_force; collect .* --rebuild"):
        collect([NICKEL], data, rules=rules)
    collect([NICKEL], data, rules=rules, rebuild=True)
    assert math.isfinite(read_manifest(data)["max_force"].max())


def test_data_without_metals_are_whole(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", text_frame(element="Mg", spin=0.0))
    out = collect([source], tmp_path / "out").out
    data = open_collected(out)
    assert data.kept["key"].tolist() == ["no-metal"]
    assert data.sites().empty
    assert data.states().empty
    assert write_report(out).path.is_file()
