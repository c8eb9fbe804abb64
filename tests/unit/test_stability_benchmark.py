# SPDX-License-Identifier: LGPL-3.0-or-later
"""The stability benchmark: its crystals, its runs, and its table."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import spglib

from benchmarks.stability import runs as stability
from benchmarks.stability.results import render, tabulate, write_results
from benchmarks.stability.runs import CONDITIONS, RECORD, Run, run_all
from benchmarks.stability.structures import STRUCTURES, build, compressed
from spin_dp.demo.contacts import Contacts
from spin_dp.demo.watched import Outcome
from spin_dp.errors import ConfigError
from spin_dp.spin_states.nominal import find_nominal_state

if TYPE_CHECKING:
    from pathlib import Path

# spglib 2.8 announces another way to tell errors with every call.
pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING")

SPACE_GROUPS = {
    "LiCoO2": "R-3m (166)",
    "LiNiO2": "R-3m (166)",
    "LiMnO2": "C2/m (12)",
    "NMC111": "P3_112 (151)",
    "spinel": "P4_332 (212)",
}
BONDS = {"Mn-O": (1.90, 1.99), "Co-O": (1.89, 1.99), "Ni-O": (1.92, 1.99)}


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("size", ["small", "full"])
def test_crystals_are_neutral_and_made_of_octahedra(name: str, size: str) -> None:
    atoms = build(name, size)
    symbols = atoms.get_chemical_symbols()
    states = [str(state) for state in atoms.arrays["spin_states"]]
    charge = 0
    for symbol, state in zip(symbols, states, strict=True):
        assert (symbol in ("Mn", "Co", "Ni")) == bool(state)
        if state:
            found = find_nominal_state(state.removeprefix("-"))
            assert found is not None
            assert found.element == symbol
            charge += found.oxidation
        else:
            charge += {"Li": 1, "O": -2}[symbol]
    assert charge == 0
    contacts = Contacts(symbols)
    for time in (0.0, 0.2):
        contacts.add(time, atoms.cell.array, atoms.positions)
    assert contacts.lost == [0]
    for pair, (least, most) in BONDS.items():
        if pair in contacts.shortest:
            assert least < contacts.shortest[pair] < most
    assert len(atoms) >= {"small": 42, "full": 168}[size]


@pytest.mark.parametrize(("name", "group"), SPACE_GROUPS.items())
def test_space_groups(name: str, group: str) -> None:
    atoms = build(name, "small")
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    assert spglib.get_spacegroup(cell, symprec=1e-2) == group


def test_bonds_of_the_jahn_teller_distorted_octahedra() -> None:
    # Armstrong and Bruce: four Mn-O bonds of 1.93 Å, two of 2.31 Å.
    atoms = build("LiMnO2", "full")
    symbols = np.array(atoms.get_chemical_symbols())
    table = atoms.get_all_distances(mic=True)[np.ix_(symbols == "Mn", symbols == "O")]
    nearest = np.sort(table, axis=1)
    assert nearest[:, :4] == pytest.approx(1.93, abs=0.02)
    assert nearest[:, 4:6] == pytest.approx(2.31, abs=0.03)


def test_anti_sites_are_exchanged_pairs() -> None:
    perfect, exchanged = build("LiNiO2", "full"), build("anti-site", "full")
    moved = perfect.numbers != exchanged.numbers
    assert moved.sum() == 4
    assert exchanged.symbols.formula.count() == perfect.symbols.formula.count()
    np.testing.assert_array_equal(perfect.positions, exchanged.positions)


def test_a_squeezed_start_has_less_volume() -> None:
    atoms = build("LiCoO2", "small")
    small = compressed(atoms, 0.15)
    assert small.get_volume() == pytest.approx(0.85 * atoms.get_volume())
    assert list(small.arrays["spin_states"]) == list(atoms.arrays["spin_states"])


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"structure.*LiCoO2"):
        build("LiCoO3")
    with pytest.raises(ConfigError, match="size"):
        build("LiCoO2", "huge")


def outcome(broken: str = "", **changes: object) -> Outcome:
    values = {
        "atoms": 192,
        "ps": 0.71 if broken else 5.0,
        "broken_ps": 0.71 if broken else None,
        "broken_by": broken,
        "shortest": {"Li-O": 1.8, "Ni-O": 1.65, "O-O": 2.2},
        "lost_most": 3,
        "lost_end": 1,
        "temperature": 598.0,
        "drift": None,
    }
    return Outcome(**(values | changes))  # type: ignore[arg-type]


def planned(tmp_path: Path) -> list[Run]:
    model = tmp_path / "lixmo2.pt2"
    model.write_bytes(b"model")
    first = Run(model, "LiNiO2", "full", CONDITIONS["nvt-600"], 5.0)
    return [
        first,
        replace(first, structure="Li0.5MnO2"),
        replace(first, condition=CONDITIONS["nve-300"]),
    ]


def test_table_and_picture(tmp_path: Path) -> None:
    runs = planned(tmp_path)
    found = [outcome(), outcome("O-O 0.74 Å"), outcome(drift=0.002, lost_most=0)]
    for run, result in zip(runs, found, strict=True):
        folder = tmp_path / "runs" / run.folder
        folder.mkdir(parents=True)
        (folder / RECORD).write_text(json.dumps(result.record()))
    text = write_results(runs, tmp_path).read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == "| structure | NVT 600 K, 5 ps | NVE 300 K, 5 ps |"
    assert rows[2].startswith("| LiNiO2 | 1.65 / 1.80 / 2.20, lost 3, 1 |")
    assert rows[2].endswith("| 1.65 / 1.80 / 2.20, +0.002 |")
    assert rows[3] == "| Li0.5MnO2 | **0.71 ps: O-O 0.74 Å** | - |"
    assert "2 of 3 runs hold" in text
    table = pd.read_csv(tmp_path / "results.csv")
    assert table["shortest O-O"].tolist() == [2.2] * 3
    assert (tmp_path / "stability.png").read_bytes().startswith(b"\x89PNG")
    pd.testing.assert_frame_equal(
        tabulate(runs, tmp_path)[["ps"]], table[["ps"]], check_dtype=False
    )
    assert "NVT 600 K" in render(tabulate(runs[:1], tmp_path))


def test_finished_runs_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def pretend(run: Run, folder: Path, progress: object) -> Outcome:
        done.append(run.folder)
        if run.structure == "Li0.5MnO2" and len(done) < 4:
            raise KeyboardInterrupt
        return outcome()

    monkeypatch.setattr(stability, "run_one", pretend)
    runs = planned(tmp_path)

    def go(chosen: list[Run]) -> None:
        run_all(
            chosen,
            tmp_path,
            jobs=1,
            progress=lambda *_: None,
            on_done=lambda: None,
        )

    with pytest.raises(KeyboardInterrupt):
        go(runs)
    go(runs)
    assert sorted(done)[:2] == [runs[1].folder] * 2
    assert done.count(runs[0].folder) == 1
    before = len(done)
    go(runs)
    assert len(done) == before
    go([replace(runs[0], ps=7.0)])  # other settings: anew
    assert len(done) == before + 1


@pytest.mark.lammps
def test_a_model_runs(compiled_model: tuple[Path, str], tmp_path: Path) -> None:
    """Random weights: what becomes of the crystal does not matter."""
    runs = [
        Run(compiled_model[0], "Li0.5MnO2", "small", CONDITIONS[name], 0.05)
        for name in ("nvt-300", "nvt-300-squeezed")
    ]
    seen: list[tuple[str, int, int]] = []
    run_all(
        runs,
        tmp_path,
        jobs=2,
        progress=lambda *report: seen.append(report),
        on_done=lambda: write_results(runs, tmp_path),
    )
    table = pd.read_csv(tmp_path / "results.csv")
    assert table["atoms"].tolist() == [42, 42]
    assert ((table["ps"] == 0.05) | table["broken_ps"].notna()).all()
    assert table["shortest Mn-O"].between(0.3, 2.0).all()
    assert (runs[0].folder, 50, 50) in seen
