# SPDX-License-Identifier: LGPL-3.0-or-later
"""The scripts in examples/ run as they stand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spin_dp.deployment import fast_models
from spin_dp.deployment.compress import compress
from spin_dp.dynamics.analysis_page import PAGE_FILE
from spin_dp.model_file import read_model_info
from spin_dp.pretrained import find_model
from spin_dp.properties import (
    ElasticitySettings,
    EquationOfStateSettings,
    PhononSettings,
    RelaxationSettings,
)
from tests.integration.scripts import load_script

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_every_example_has_a_page() -> None:
    folders = [path.parent for path in EXAMPLES.glob("*/run.py")]
    assert folders
    for folder in folders:
        assert (folder / "README.md").is_file()
        assert f"({folder.name}/README.md)" in (EXAMPLES / "README.md").read_text()


def test_from_a_vasp_folder_to_a_model(
    vasp_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two compositions at levels that do not go together: one of them is trained."""
    for name in ("feo-relax-spinflip", "limn8o16-ep0"):
        (tmp_path / "campaign" / name).mkdir(parents=True)
        for file in (vasp_data / name).iterdir():
            (tmp_path / "campaign" / name / file.name).symlink_to(file)
    example = load_script(EXAMPLES / "vasp_to_model" / "run.py")
    out = tmp_path / "out"
    model = example.main(out, tmp_path / "campaign", n_steps=2)
    assert "29 of 29 frames kept" in capsys.readouterr().out
    assert (out / "data" / "report.html").is_file()
    info = read_model_info(model)
    assert info.spin_elements == ["Fe", "O"]  # FeO has more frames
    assert info.moment_labels == "dft"
    used = json.loads((out / "model" / "input.json").read_text())["training"]
    systems = [out / "model" / name for name in used["training_data"]["systems"]]
    n_frames = [len(np.load(path / "set.000" / "energy.npy")) for path in systems]
    assert sum(n_frames) < 28
    types = [np.load(path / "set.000" / "real_atom_types.npy") for path in systems]
    names = (systems[0] / "type_map.raw").read_text().split()
    assert {names[t] for part in types for t in part.ravel()} == {"Fe", "O"}


@pytest.mark.lammps
def test_labels_move_side_by_side(tmp_path: Path) -> None:
    example = load_script(EXAMPLES / "moving_labels" / "run.py")
    fast = compress(find_model("lixmo2").files[0], tmp_path / "model.pth")
    table = example.main(tmp_path, fast, steps=40)
    assert set(table["mode"]) == set(example.MODES)
    for crystal, states in example.CRYSTALS.items():
        assert (tmp_path / f"{crystal}.png").is_file()
        for mode in example.MODES:
            assert (tmp_path / f"{crystal}-{mode}" / "analysis" / PAGE_FILE).is_file()
        named = table[(table["crystal"] == crystal) & (table["mode"] == "monte-carlo")]
        allowed = {f"{el}{name}" for el, names in states.items() for name in names}
        assert set(named["state"]) <= allowed


def test_hops_of_lithium(tmp_path: Path) -> None:
    example = load_script(EXAMPLES / "migration" / "run.py")
    table = example.main(
        tmp_path,
        fast_models("lixmo2", 1),
        crystals=("LiCoO2",),
        ways=(("staying", "adiabatic"),),
        width=4.5,
        images=1,
        max_force=0.1,
    ).set_index("vacancies")
    assert table.loc["one", "way"] == "dumbbell"
    assert table.loc["two", "way"] == "tetrahedron"
    # What nobody doubts: two vacancies open the easier way.
    assert 0.0 < table.loc["two", "barrier"] < 0.7 * table.loc["one", "barrier"]
    assert (tmp_path / "LiCoO2-one-0-dumbbell.png").is_file()
    assert len(list(tmp_path.glob("*.extxyz"))) == 2
    for name in example.CRYSTALS:
        assert "Li" in example.build(name).get_chemical_formula()


def test_questions_about_five_cathodes(tmp_path: Path) -> None:
    example = load_script(EXAMPLES / "spin_states" / "run.py")
    fast = compress(find_model("lixmo2").files[0], tmp_path / "model.pth")
    table = example.main(tmp_path / "out", [fast], sweeps=20).set_index("crystal")
    assert set(table.index) == set(example.CRYSTALS)
    for name in example.CRYSTALS:
        atoms = example.build(name)
        metals = sum(symbol in "MnCoNi" for symbol in atoms.symbols)
        assert atoms.get_chemical_formula(empirical=True)
        assert metals == 2
        assert (tmp_path / "out" / f"{name}-states.png").is_file()
    # What nobody doubts: the charges, and that excitations cost energy.
    assert "Ni2+" in table.loc["LiNi0.5Mn0.5O2", "lowest"]
    assert "Mn4+" in table.loc["LiNi0.5Mn0.5O2", "lowest"]
    assert table.loc["LiCoO2", "lowest"] == "Co3+LS[4]"
    assert (table["next_meV"] > 0.0).all()
    assert table.loc["LiCoO2", "spin_meV"] > 100.0
    assert (table["distinct"] < table["assignments"]).all()
    assert table["J1_meV"].notna().sum() == 4
    lines = (tmp_path / "out" / "summary.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        f"| {name}" for name in example.CRYSTALS
    ]
    cobalt = next(line for line in lines if "LiCoO2" in line)
    assert f" {table.loc['LiCoO2', 'spin_meV']:.0f} " in cobalt
    assert cobalt.endswith("| - | - |")


def test_properties_of_a_cathode_beside_measurements(tmp_path: Path) -> None:
    example = load_script(EXAMPLES / "properties" / "run.py")
    settings = {
        "relaxation": RelaxationSettings(max_force=0.03),
        "eos": EquationOfStateSettings(max_strain=0.01, points=5, max_force=0.03),
        "elasticity": ElasticitySettings(
            strains=(-0.01, 0.01), shears=(-0.01, 0.01), max_force=0.03
        ),
        "phonons": PhononSettings(min_length=5.0, mesh=10.0, max_force=0.03),
    }
    model = fast_models("lixmo2", 1)
    found = example.main(tmp_path, model, ["LiCoO2"], settings)
    assert found["state"].tolist() == ["Co3+LS[1]", "Co3+IS[1up]", "measured"]
    low, _, measured = (row for _, row in found.iterrows())
    for key, share in (
        ("a", 0.02),
        ("c", 0.02),
        ("volume", 0.04),
        ("highest_1/cm", 0.05),
    ):
        assert low[key] == pytest.approx(measured[key], rel=share)
    assert (tmp_path / "LiCoO2" / "report.html").is_file()
    assert len(found) == len((tmp_path / "summary.csv").read_text().splitlines()) - 1
    lines = (tmp_path / "summary.md").read_text().splitlines()
    assert len(lines) == len(found) + 2
    assert f"| {low['volume']:.2f} |" in lines[2]
    assert "| 2.816, 14.054 | 32.17 | 149 |  |  | 596 |" in lines[4]
