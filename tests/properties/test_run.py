# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp run``: files, resuming, comparing, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase.io import read, write

from spin_dp import SpinDP
from spin_dp.cli.app import main
from spin_dp.dft import EngineCalculator, open_engine
from spin_dp.errors import BackendError
from spin_dp.properties import PROPERTIES, read_results, side_by_side
from spin_dp.properties.migration import BarrierSettings
from spin_dp.properties.settings import recorded
from spin_dp.stages import seconds_spent
from spin_dp.structures import SPIN_STATES


@pytest.fixture(scope="module")
def structure(nickel_oxide, tmp_path_factory):
    path = tmp_path_factory.mktemp("structure") / "NiO.cif"
    write(path, nickel_oxide)
    return path


def run(*words) -> int:
    return main(["run", *map(str, words)])


@pytest.fixture(scope="module")
def finished(structure, model_files, tmp_path_factory):
    """Return the folder of a run of two properties in two orders, one against DFT."""
    folder = tmp_path_factory.mktemp("run")
    settings = folder / "teacher.toml"
    settings.write_text(f'[dft]\nengine = "teacher"\nmodel = "{model_files[1]}"\n')
    out = folder / "out"
    words = (
        *("relaxation,eos", structure, "-m", model_files[0], "-o", out),
        *("--labels", "0=2+ 1=2+", "--labels", "0=2+ 1=-2+", "--against", settings),
        *("--set", "max_force=0.1", "--set", "eos.points=5"),
        *("--set", "eos.max_strain=0.01"),
    )
    # ASE's reader of CIF keeps the order of elements in the file.
    symbols = read(structure).get_chemical_symbols()
    nickel = [k for k, symbol in enumerate(symbols) if symbol == "Ni"]
    swapped = [
        word.replace("0=", f"{nickel[0]}=").replace("1=", f"{nickel[1]}=")
        if isinstance(word, str) and "2+" in word
        else word
        for word in words
    ]
    assert run(*swapped) == 0
    return out, swapped


def test_each_property_has_its_files(finished) -> None:
    out, _ = finished
    names = {path.name for path in out.iterdir()}
    assert {
        *("relaxation.json", "relaxation.csv", "relaxation.png", "relaxation.extxyz"),
        *("eos.json", "eos.csv", "eos.png", "eos.points.csv", "report.html", "dft"),
    } <= names
    table = pd.read_csv(out / "eos.csv")
    assert set(table["model"]) == {"teacher", table["model"][0]}
    assert set(table["property"]) == {"eos"}
    assert table["spin_state"].nunique() == 2
    nickel = SpinDP("lixmo2").states.nearest("Ni", 1.7)
    assert nickel is not None
    frames = read(out / "relaxation.extxyz", index=":")
    assert len(frames) == 4
    for atoms in frames:
        assert set(atoms.arrays[SPIN_STATES]) <= {"Ni2+", "-Ni2+", "none"}
        moments = atoms.get_initial_magnetic_moments()
        assert np.abs(moments).max() == pytest.approx(nickel.moment, abs=1e-4)
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "Ni2+[2up]" in page
    assert "bulk modulus B0" in page
    assert page.count("time, s") == 2


def test_model_and_rival_stand_in_one_table(finished, model_files) -> None:
    out, _ = finished
    results: list[Any] = list(read_results(out)["relaxation"])
    assert [one.label_mode for one in results] == ["adiabatic", "free"] * 2
    table = side_by_side(results)
    volumes = table.xs("value", axis=1, level=-1).loc[("volume", "Å³/f.u.")]
    assert volumes.notna().sum() == 4  # type: ignore[union-attr]
    spent = seconds_spent(out)
    assert {one.seconds for one in results} <= set(spent.values())
    assert min(one.seconds for one in results) > 0.0
    # The rival is the second model, asked for the energies of predicted moments.
    relaxed = results[1].structure
    rival = SpinDP(model_files[1])
    moments = rival.predict_moments(relaxed, relaxed.get_initial_magnetic_moments())
    energy = rival.evaluate(relaxed, moments).energy / 2
    assert results[1].energy == pytest.approx(energy, abs=1e-5)


def test_what_is_done_is_not_done_again(finished, capsys) -> None:
    out, words = finished
    record = json.loads((out / "state.json").read_text())
    runs = sorted(path.name for path in (out / "dft" / "teacher").iterdir())
    assert len(runs) > 10
    assert run(*words) == 0
    assert capsys.readouterr().err.count("already done") == 4 * 2
    assert json.loads((out / "state.json").read_text()) == record
    assert sorted(p.name for p in (out / "dft" / "teacher").iterdir()) == runs
    # Of other settings only what they belong to is calculated anew.
    assert run(*words, "--set", "relaxation.symmetry=0.03") == 0
    said = capsys.readouterr().err
    assert said.count("already done") == 4
    assert said.count("done in") == 4
    # Geometries that DFT has calculated are read.
    assert sorted(p.name for p in (out / "dft" / "teacher").iterdir()) == runs


def test_energies_at_the_geometries_of_the_model(
    structure, model_files, tmp_path, capsys
) -> None:
    out, settings = tmp_path / "out", tmp_path / "teacher.toml"
    settings.write_text(f'engine = "teacher"\nmodel = "{model_files[1]}"\n')
    words = (
        *(structure, "-m", model_files[0], "-o", out),
        *("--labels", "Ni=2+", "--against", settings, "--single-points"),
        *("--set", "max_force=0.1"),
    )
    points = ("--set", "eos.points=5")
    assert run("relaxation,phonons", *words) == 1
    assert "phonons: no geometries are kept for" in capsys.readouterr().err
    assert not out.exists()
    assert run("relaxation,eos", *words, *points) == 0
    assert "at the geometries of" in " ".join(capsys.readouterr().out.split())
    results = read_results(out)
    numbers = {name: len(found) for name, found in results.items()}
    assert numbers == {"relaxation": 2, "eos": 2}
    curves: list[Any] = list(results["eos"])
    own, other = curves
    assert other.model == "teacher"
    assert other.geometries == own.model
    np.testing.assert_allclose(other.points["volume"], own.points["volume"])
    # One run of DFT for each volume and one at rest, which is one of them or not.
    runs = sorted(path.name for path in (out / "dft" / "teacher").iterdir())
    assert len(runs) in (5, 6)
    assert run("relaxation,eos", *words, *points) == 0
    assert capsys.readouterr().err.count("already done") == 4
    # Of all that are asked for the others have what can be had.
    quick = ("phonons.min_length=3", "phonons.mesh=5", "defect.min_length=3")
    given = [word for setting in quick for word in ("--set", setting)]
    assert run("all", *words, *points, *given, "-o", tmp_path / "all") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "--single-points: elasticity, phonons, qha: of the model only" in said
    assert "no phonons" not in said
    assert len(read_results(tmp_path / "all")["phonons"]) == 1
    # Of a model that fails there are no geometries.
    bad = ("--set", "eos.max_steps=0", "-o", tmp_path / "other")
    assert run("relaxation,eos", *words, *bad) == 1
    assert "has found no geometries" in " ".join(capsys.readouterr().err.split())


def test_lowest_states_of_a_ranking(structure, model_files, tmp_path) -> None:
    out = tmp_path / "out"
    words = ("relaxation", structure, "-m", model_files[0], "--lowest", "2")
    assert run(*words, "--set", "max_force=0.05", "-o", out, "--no-report") == 0
    results = read_results(out)["relaxation"]
    assert len({one.spin_state for one in results}) == 2
    assert not (out / "report.html").exists()


def test_what_fails_is_told_and_the_rest_done(
    structure, model_files, tmp_path, capsys
) -> None:
    out = tmp_path / "out"
    words = (structure, "-m", model_files[0], "--labels", "Ni=2+", "-o", out)
    quick = ("--set", "max_force=0.05")
    assert run("relaxation,defect", *words, *quick) == 1
    captured = capsys.readouterr()
    assert "no defect of Ni2O2 Ni2+[2up]" in captured.err
    assert (out / "relaxation.json").is_file()
    assert not (out / "defect.json").exists()
    assert "No defect of" in (out / "report.html").read_text()


def test_a_calculator_that_fails_in_its_own_way_is_named(
    structure, model_files, tmp_path, capsys, monkeypatch
) -> None:
    (tmp_path / "only_copper.py").write_text(
        "from ase.calculators.calculator import Calculator\n"
        "class OnlyCopper(Calculator):\n"
        "    implemented_properties = ['energy', 'forces', 'stress']\n"
        "    def calculate(self, *args, **kwargs):\n"
        "        raise NotImplementedError('nothing but Cu')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = (structure, "-m", model_files[0], "--labels", "Ni=2+", "-o", tmp_path / "o")
    rival = ("--against", "only_copper:OnlyCopper", "--set", "max_force=0.1")
    for how in ((), ("--single-points",)):
        assert run("relaxation", *words, *rival, *how) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "no relaxation of Ni2O2 Ni2+[2up], OnlyCopper: OnlyCopper failed" in said
        assert "NotImplementedError: nothing but Cu" in said


def test_properties_and_settings_are_listed(capsys) -> None:
    assert run("--list") == 0
    said = capsys.readouterr().out
    for word in ("relaxation", "elasticity", "phonons", "max_strain", "0.03"):
        assert word in said
    assert run("eos", "--list") == 0
    assert "min_length" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["relaxation"], 2, "expected a property, a structure and a model"),
        (["hardness", "NiO.cif", "-m", "lixmo2"], 1, "unknown property 'hardness'"),
        (["relaxation", "NiO.cif", "-m", "lixmo2"], 1, "no such structure file"),
        (
            ["eos", "NiO.cif", "-m", "lixmo2", "--set", "pionts=3"],
            1,
            "did you mean 'points'",
        ),
        (
            ["eos", "NiO.cif", "-m", "lixmo2", "--set", "qha.mesh=3"],
            1,
            "qha is not asked for",
        ),
        (
            ["eos", "NiO.cif", "-m", "x", "--labels", "Ni=2+", "--lowest", "2"],
            2,
            "not both",
        ),
        (
            ["eos", "NiO.cif", "-m", "lixmo2", "--single-points"],
            2,
            "--single-points: expected --against",
        ),
    ],
)
def test_wrong_usage_is_one_sentence(words, code, said, capsys) -> None:
    assert run(*words) == code
    text = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert said in text


@pytest.mark.parametrize(
    ("rival", "said"),
    [
        ("nowhere.toml", "no such file of DFT settings"),
        ("no.such.module:Calculator", "no such ASE calculator"),
        ("ase.units:GPa", "expected a class"),
        ("lixmo3", "did you mean 'lixmo2'"),
    ],
)
def test_unknown_rivals_are_refused(
    rival, said, structure, model_files, tmp_path, capsys
) -> None:
    words = ("relaxation", structure, "-m", model_files[0], "--labels", "Ni=2+")
    assert run(*words, "--against", rival, "-o", tmp_path / "out") == 1
    assert said in capsys.readouterr().err


def test_folders_of_other_things_are_left_alone(
    structure, model_files, tmp_path, capsys
) -> None:
    (tmp_path / "thesis.tex").write_text("")
    words = ("relaxation", structure, "-m", model_files[0], "--labels", "Ni=2+")
    assert run(*words, "-o", tmp_path, "--fresh") == 1
    assert "holds other things (thesis.tex)" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").is_file()


def test_engine_is_a_calculator(model_files, nickel_oxide, tmp_path) -> None:
    engine = open_engine({"engine": "teacher", "model": str(model_files[0])})
    atoms = nickel_oxide.copy()
    atoms.set_initial_magnetic_moments([1.7, 0.0, -1.7, 0.0])
    atoms.calc = EngineCalculator(engine, tmp_path)
    forces = atoms.get_forces()
    step = 1e-3
    moved = atoms.copy()
    energies = []
    for sign in (1.0, -1.0):
        moved.positions = atoms.positions
        moved.positions[0, 0] += sign * step
        moved.calc = EngineCalculator(engine, tmp_path)
        energies.append(moved.get_potential_energy())
    assert len(list(tmp_path.iterdir())) == 3
    slope = (energies[1] - energies[0]) / (2.0 * step)
    assert forces[0, 0] == pytest.approx(slope, abs=0.02)
    assert atoms.get_magnetic_moments()[0] > 1.0
    assert atoms.get_stress().shape == (6,)
    failing = open_engine(
        {"engine": "teacher", "model": str(model_files[0]), "unconverged": 1.0}
    )
    atoms.calc = EngineCalculator(failing, tmp_path / "failing")
    with pytest.raises(BackendError, match="unconverged"):
        atoms.get_potential_energy()


def test_properties_of_ions_suit_crystals_with_ions() -> None:
    alone = [one.name for one in PROPERTIES.values() if not one.suits(["Ni", "O"])]
    assert alone == ["voltage", "barrier", "migration-network"]
    assert all(one.suits(["Li", "Ni", "O"]) for one in PROPERTIES.values())


def test_results_depend_on_what_a_file_of_the_settings_holds(tmp_path) -> None:
    after = tmp_path / "after.cif"
    after.write_text("one")
    first = recorded(BarrierSettings(final=str(after)))
    assert recorded(BarrierSettings(final=str(after))) == first
    after.write_text("another")
    assert recorded(BarrierSettings(final=str(after))) != first
    assert recorded(BarrierSettings())["final"] == ""
