# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reading data sets, and the page made of them: what it shows and what is refused."""

from __future__ import annotations

import gzip
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from ase import Atoms

from spin_dp.data_tools.collection.manifest import COLUMNS, SITE_COLUMNS
from spin_dp.data_tools.naming.classify import STATE_COLUMNS
from spin_dp.errors import ConfigError, DataError
from spin_dp.evaluation import LabelledSystem
from spin_dp.report import write_report
from spin_dp.report.dataset import read_dataset, shortest_bond
from spin_dp.report.statistics.gaps import state_gaps
from spin_dp.report.statistics.residuals import composition_residuals
from spin_dp.report.summary import warnings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MOMENTS = {"HS": 3.7, "LS": 1.9}
VOID = {"meta", "link", "br", "hr", "img", "input"}


def write_data(
    folder: Path, geometries: int = 6, formula: str = "LiMnO2", level: str = "PBE-1"
) -> Path:
    """Write a data set by hand: each geometry of one cell in high and low spin."""
    rng = np.random.default_rng(0)
    symbols = ["Li", "Mn", "O", "O"]
    rows = []
    for number, (state, moment) in enumerate(MOMENTS.items()):
        key = f"Mn3+{state}[1up]"
        system = f"training/{formula}/{level}/Mn3+{state}-1up"
        part = folder / system / "set.000"
        part.mkdir(parents=True)
        sides = 4.0 + 0.05 * np.arange(geometries)
        lattice = sides[:, None, None] * np.eye(3)
        scaled = np.array([[0, 0, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.47, 0]])
        spin = np.zeros((geometries, 4, 3))
        spin[:, 1, 2] = moment + 0.05 * rng.standard_normal(geometries)
        energy = -26.0 + 0.02 * np.arange(geometries) + 1.2 * number
        force = np.zeros((geometries, 12))
        force[:, 0] = 1.5
        arrays = {
            "coord": (scaled @ lattice).reshape(geometries, -1),
            "box": lattice.reshape(geometries, -1),
            "force": force,
            "spin": spin.reshape(geometries, -1),
            "energy": energy,
        }
        for name, array in arrays.items():
            np.save(part / f"{name}.npy", array)
        (folder / system / "type.raw").write_text("0\n1\n2\n2\n")
        (folder / system / "type_map.raw").write_text("Li\nMn\nO\n")
        rows += [
            {
                "source": f"/calc/runs/{state}/OUTCAR",
                "step": i + 1,
                "formula": formula,
                "natoms": len(symbols),
                "energy": energy[i],
                "total_moment": round(float(spin[i, 1, 2]), 6),
                "level": level,
                "key": key,
                "system": system,
                "index": i,
                "geometry": f"{formula}-{i:04d}",
                "max_force": 1.5,
            }
            for i in range(geometries)
        ]
    sites = [
        {
            "system": row["system"],
            "index": row["index"],
            "atom": 1,
            "element": "Mn",
            "site_level": f"Mn-{level}",
            "moment": -row["total_moment"],
            "state": row["key"].removesuffix("[1up]"),
        }
        for row in rows
    ]
    states = [
        {
            "element": "Mn",
            "site_level": f"Mn-{level}",
            "state": f"Mn3+{state}",
            "sites": geometries,
            "mean": moment,
            "std": 0.05,
            "lowest": moment - 0.1,
            "highest": moment + 0.1,
        }
        for state, moment in MOMENTS.items()
    ]
    rejected = {"status": "quarantined", "reason": "SCF not converged", "index": -1}
    rows.append({**rows[0], **rejected, "key": "", "system": "", "geometry": ""})
    write_tables(folder, rows, sites, states)
    (folder / "levels.json").write_text(json.dumps({level: {"settings": "PBE <+U>"}}))
    return folder


def write_tables(
    folder: Path,
    rows: Sequence[Mapping[Any, Any]],
    sites: Sequence[Mapping[str, Any]] = (),
    states: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the tables of a data set whose systems are there."""
    usual = {"status": "kept", "reason": "", "split": "training", "charge": 0.0}
    usual |= {"constrained": "false", "energy_kind": "free_energy", "margin": 0.5}
    usual |= {"naming": "certain", "step": 1}
    table = pd.DataFrame([{**usual, **row} for row in rows], columns=list(COLUMNS))
    table.to_csv(folder / "manifest.csv", index=False)
    with gzip.open(folder / "sites.csv.gz", "wt") as file:
        pd.DataFrame(list(sites), columns=list(SITE_COLUMNS)).to_csv(file, index=False)
    table = pd.DataFrame(list(states), columns=list(STATE_COLUMNS))
    table.to_csv(folder / "states.csv", index=False)
    (folder / "levels.json").write_text("{}")
    (folder / "collect.json").write_text(json.dumps({"arguments": {"seed": 0}}))


def change_manifest(folder: Path, **columns: Any) -> None:
    table = pd.read_csv(folder / "manifest.csv")
    table.assign(**columns).to_csv(folder / "manifest.csv", index=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


def test_frames_have_what_the_arrays_say(data: Path) -> None:
    frames = read_dataset(data).frames
    assert len(frames) == 12
    first = frames.iloc[0]
    assert first["volume"] == pytest.approx(4.0**3 / 4)
    assert first["shortest"] == pytest.approx(0.47 * 4.0)  # Mn to the second O
    assert first["max_force"] == 1.5
    assert first["mean_moment"] == pytest.approx(3.7, abs=0.2)
    assert first["states"] == "Mn3+HS ×1"
    assert frames["above"].iloc[6] == pytest.approx(300.0)  # 1.2 eV for 4 atoms


def test_shortest_bonds_cross_the_sides_of_skewed_cells() -> None:
    """Compare with ASE, which looks for the nearest image in another way."""
    rng = np.random.default_rng(4)
    symbols = ["Mn", "Ni", "O", "F", "Li"]
    for _ in range(8):
        cell = 3.0 * np.eye(3) + rng.uniform(-1.3, 1.3, (3, 3))
        atoms = Atoms(symbols, rng.random((5, 3)) @ cell, cell=cell, pbc=True)
        system = LabelledSystem(
            name="x",
            symbols=symbols,
            positions=atoms.positions[None],
            cells=cell[None],
            energies=np.zeros(1),
            forces=np.zeros((1, 5, 3)),
            moments=np.zeros((1, 5, 3)),
        )
        expected = atoms.get_all_distances(mic=True)[:2, 2:4].min()
        assert shortest_bond(system, 0) == pytest.approx(expected)
    alone = replace(system, symbols=["Mn", "Ni", "Li", "Li", "Li"])
    assert np.isnan(shortest_bond(alone, 0))


def test_states_are_those_of_the_sites(data: Path) -> None:
    found = read_dataset(data)
    assert found.sites["length"].min() > 0.0  # a length, though signs were negative
    page = write_report(data).path.read_text()
    assert "Mn3+HS (6)" in page


def test_composition_fit_needs_independent_compositions(tmp_path: Path) -> None:
    """One formula cannot tell elements apart: its mean energy is fitted."""
    found = composition_residuals(read_dataset(write_data(tmp_path / "a")).frames)
    assert found.values.mean() == pytest.approx(0.0, abs=1e-9)
    assert found.values[0] == pytest.approx((1.2 + 0.02 * 5) / 2 / 4 * 1000)


def test_energies_per_element_are_found(tmp_path: Path) -> None:
    """Energies made of three numbers leave no residual, whatever the formulas."""
    folder = tmp_path / "data"
    per_element = {"Li": -2.0, "Mn": -9.0, "O": -5.0}
    rows = []
    for formula, symbols in {
        "LiMnO2": ["Li", "Mn", "O", "O"],
        "MnO2": ["Mn", "O", "O"],
        "Li2MnO3": ["Li", "Li", "Mn", "O", "O", "O"],
        "Li2O": ["Li", "Li", "O"],
    }.items():
        system = f"training/{formula}/PBE/x"
        part = folder / system / "set.000"
        part.mkdir(parents=True)
        n = 3 * len(symbols)
        coordinates = np.random.default_rng(1).random((1, n)) * 5.0
        for name, array in {
            "coord": coordinates,
            "box": 5.0 * np.eye(3).reshape(1, 9),
            "energy": np.zeros(1),
            "force": np.zeros((1, n)),
            "spin": np.zeros((1, n)),
        }.items():
            np.save(part / f"{name}.npy", array)
        types = ["Li", "Mn", "O"]
        (folder / system / "type_map.raw").write_text("Li Mn O")
        (folder / system / "type.raw").write_text(
            "\n".join(str(types.index(s)) for s in symbols)
        )
        energy = sum(per_element[symbol] for symbol in symbols)
        rows.append((formula, len(symbols), energy, system, f"{formula}-0"))
    columns = ["formula", "natoms", "energy", "system", "geometry"]
    table = pd.DataFrame(rows, columns=columns).assign(
        source="x", level="PBE", key="x", index=0
    )
    write_tables(folder, table.to_dict("records"))
    found = composition_residuals(read_dataset(folder).frames)
    assert found.values == pytest.approx(np.zeros(4), abs=1e-8)


def test_report_says_what_is_in_the_data(data: Path) -> None:
    report = write_report(data)
    assert report.path == data / "report.html"
    summary = dict(report.summary)
    assert (summary["frames read"], summary["kept"]) == ("13", "12")
    assert summary["gaps between states"] == "1200 to 1200 meV per cell"
    assert report.verdicts[0].startswith(
        "No model without moments can have an energy RMSE below 150 meV/atom"
    )
    assert "bands in 1 of 1 formula" in report.verdicts[1]
    assert report.keys["frames"].tolist() == [6, 6]
    assert report.quarantine["reason"].tolist() == ["SCF not converged"]
    assert report.quarantine["examples"].tolist() == ["HS/OUTCAR"]
    assert report.warnings == (
        "There are no validation frames; collect with --validation 0.1.",
    )


@pytest.mark.parametrize(
    ("columns", "warning"),
    [
        ({"naming": "ambiguous"}, "12 frames with sites whose state is ambiguous"),
        ({"charge": 1.0}, "12 frames off charge neutrality"),
        ({"margin": 0.05}, "12 frames with a moment within 0.1 μB"),
        ({"constrained": "true"}, "12 frames whose moments were held"),
        ({"level": "unspecified-0"}, "12 frames without a record of the level"),
        ({"level": ["A"] * 6 + ["B"] * 7}, "2 levels of theory are NOT comparable"),
        ({"key": ["x"] * 12 + [""]}, "6 geometries with different energies of one"),
        ({"geometry": [f"g{i}" for i in range(13)]}, "12 of 12 geometries have one"),
        ({"reason": "duplicate of HS/OUTCAR, step 1"}, "1 frame left out as dupl"),
        (
            {"split": ["training"] * 6 + ["validation"] * 7},
            "6 frames for validation in states that training does not have: "
            "e.g. LiMnO2 Mn3+LS[1up]",
        ),
        (
            {"split": (["training"] * 5 + ["validation"]) * 2 + [""]},
            "Validation goes beyond training in volume for 2 frames",
        ),
    ],
)
def test_warnings(data: Path, columns: dict[str, Any], warning: str) -> None:
    change_manifest(data, **columns)
    found = read_dataset(data)
    texts = warnings(found, state_gaps(found.frames))
    assert [text for text in texts if warning in text]


class _Checker(HTMLParser):
    """Collects what a page refers to, and checks that its elements nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href") and value is not None:
                self.references.append(value)
            if name == "id" and value is not None:
                self.ids.append(value)
            self.references += re.findall(r"url\(([^)]+)\)", value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_stands_alone(data: Path) -> None:
    page = write_report(data).path.read_text()
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    outside = [r for r in checker.references if not r.startswith(("#", "data:"))]
    assert outside == []
    ids = set(checker.ids)
    assert {r[1:] for r in checker.references if r.startswith("#")} <= ids
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page
    for drawing in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ET.fromstring(drawing)
        assert "currentColor" in drawing
        assert "#010203" not in drawing
    assert "PBE &lt;+U&gt;" in page
    assert len(re.findall("<h2", page)) == 8


def test_page_is_the_same_for_the_same_data(data: Path, tmp_path: Path) -> None:
    one = write_report(data, tmp_path / "one.html").path.read_bytes()
    assert write_report(data, tmp_path / "two.html").path.read_bytes() == one


def test_hundreds_of_keys_do_not_fill_the_page(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", geometries=400)
    change_manifest(data, key=[f"Mn~4[{i}up]" for i in range(800)] + [""])
    report = write_report(data)
    page = report.path.read_text()
    assert len(report.keys) == 800
    assert "760 more spin states are not shown" in page  # of the table's 40
    assert "776 more spin states are not shown" in page  # of the figure's 24
    assert len(page) < 1_000_000


def test_many_frames_are_drawn_as_an_image(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", geometries=1000)
    page = write_report(data).path.read_text()
    assert "data:image/png;base64" in page
    assert len(page) < 3_000_000


def test_data_without_metals(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    for file in data.rglob("type_map.raw"):
        file.write_text("Li\nAl\nO\n")
    change_manifest(data, key="no-metal", formula="LiAlO2")
    for name, columns in (
        ("sites.csv.gz", SITE_COLUMNS),
        ("states.csv", STATE_COLUMNS),
    ):
        pd.DataFrame(columns=list(columns)).to_csv(data / name, index=False)
    report = write_report(data)
    assert report.gaps.empty
    assert "No geometry has two spin states" in report.path.read_text()


@pytest.mark.parametrize(
    "name",
    ["manifest.csv", "collect.json", "levels.json", "states.csv", "sites.csv.gz"],
)
def test_a_folder_that_was_not_collected_is_one_clear_error(
    data: Path, name: str
) -> None:
    (data / name).unlink()
    message = f"data: expected a folder written by spin-dp collect, found no {name};"
    with pytest.raises(DataError, match=re.escape(message)):
        write_report(data)


@pytest.mark.parametrize(
    "column", ["naming", "charge", "pattern", "magnetic_forces", "max_force"]
)
def test_columns_of_an_earlier_version_are_not_enough(data: Path, column: str) -> None:
    table = pd.read_csv(data / "manifest.csv").drop(columns=column)
    table.to_csv(data / "manifest.csv", index=False)
    with pytest.raises(DataError, match=rf"found no {column}; collect the data again"):
        write_report(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "manifest.csv").write_text(""), "not a readable table"),
        (
            lambda d: (d / "manifest.csv").write_text("source,energy\na,1\n"),
            "found no step, formula, .* max_force; collect",
        ),
        (
            lambda d: change_manifest(d, status="quarantined"),
            "none of the 13 frames was kept",
        ),
        (
            lambda d: change_manifest(d, energy=np.inf),
            "energy of a kept frame of .* is not",
        ),
        (lambda d: change_manifest(d, energy="x"), "expected numbers as energy .*'x'"),
        (
            lambda d: change_manifest(d, index=40),
            "expected the frames 0 to 5 of .*got 6 rows up to 40",
        ),
        (
            lambda d: next(d.rglob("*HS*/set.000/spin.npy")).unlink(),
            r"no spin\.npy in set\.000",
        ),
        (
            lambda d: np.save(
                next(d.rglob("*HS*/set.000/coord.npy")), np.zeros((6, 9))
            ),
            r"coord\.npy has shape \(6, 9\), expected \(6, 12\) .* 4 atoms",
        ),
        (
            lambda d: np.save(next(d.rglob("*HS*/set.000/box.npy")), np.zeros((5, 9))),
            r"box\.npy has shape \(5, 9\), expected \(6, 9\)",
        ),
        (
            lambda d: next(d.rglob("*HS*/set.000/force.npy")).write_bytes(b"x"),
            r"force\.npy cannot be read",
        ),
        (
            lambda d: next(d.rglob("*HS*/type_map.raw")).write_text("Li"),
            "a type number is outside type_map.raw",
        ),
        (
            lambda d: [f.rename(f.with_name("x")) for f in d.rglob("*HS*/set.000")],
            r"no folder set\.\* beside type\.raw",
        ),
        (lambda d: (d / "levels.json").write_text("{"), r"levels\.json: not a JSON"),
        (
            lambda d: (d / "states.csv").write_text("element,mean\nMn,3\n"),
            r"states\.csv: expected the columns .*, found no site_level, state",
        ),
        (
            lambda d: (d / "sites.csv.gz").write_bytes(b"not gzip"),
            r"sites\.csv\.gz: not a readable table",
        ),
        (
            lambda d: pd.DataFrame(
                [dict.fromkeys(SITE_COLUMNS, 0) | {"moment": "x"}]
            ).to_csv(d / "sites.csv.gz", index=False),
            r"sites\.csv\.gz: expected numbers as moment",
        ),
    ],
)
def test_damaged_data_is_one_clear_error(data: Path, damage, message: str) -> None:
    damage(data)
    with pytest.raises(DataError, match=message):
        write_report(data)
    assert not (data / "report.html").exists()


def test_page_that_cannot_be_written(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        write_report(data, tmp_path)
    with pytest.raises(ConfigError, match="its folder does not exist"):
        write_report(data, tmp_path / "no" / "report.html")
