# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp report`` on collected DFT frames, with and without models."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from spin_dp.cli import main
from spin_dp.data_tools import Rules, collect
from spin_dp.report import write_report

GPAW = Path(__file__).resolve().parents[2] / "examples" / "gpaw"
SOURCES = ("LiMnO2_4", "LiCoO2_4", "unconverged")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "data"
    sources = [GPAW / f"{name}.extxyz" for name in SOURCES]
    collect(sources, out, rules=Rules(stationary_moments=True))
    return out


def frozen_blind(path: Path, type_map: list[str]) -> Path:
    """Write a frozen stock model without spin."""
    import torch
    from deepmd.pt.model.model import get_model

    section = {
        "type_map": type_map,
        "descriptor": {
            "type": "se_e2_a",
            "sel": [10] * len(type_map),
            "rcut": 4.0,
            "rcut_smth": 1.0,
            "neuron": [2, 4],
            "axis_neuron": 2,
            "seed": 1,
        },
        "fitting_net": {"neuron": [4], "seed": 1},
    }
    torch.jit.save(torch.jit.script(get_model(section).eval()), path)
    return path


@pytest.fixture(scope="module")
def blind_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blind") / "blind.pth"
    return frozen_blind(path, ["Li", "Mn", "Co", "Ni", "O"])


def test_report_from_the_command_line(data, tmp_path, capsys) -> None:
    page = tmp_path / "page.html"
    assert main(["report", str(data), "-o", str(page)]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == f"page: {page}"
    assert "LiMnO2" in shown.out
    assert "composition fit: bands in" in shown.out
    assert shown.err == ""
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_gaps_are_those_of_the_data_description(data, tmp_path) -> None:
    """Compare with examples/gpaw/README.md, LiCoO2_4 and LiMnO2_4, meV per M."""
    report = write_report(data, tmp_path / "r.html")
    by_formula = report.gaps.groupby("formula")
    least, largest = by_formula["least"].min(), by_formula["largest"].max()
    # The table there has E0, the frames here hold the free energy.
    assert least["LiCoO2"] == pytest.approx(507, abs=15)
    assert largest["LiCoO2"] == pytest.approx(1101, abs=15)
    assert least["LiMnO2"] == pytest.approx(625, abs=15)
    assert largest["LiMnO2"] == pytest.approx(2766, abs=15)


def test_models_are_diagnosed(data, blind_model, frozen_model, tmp_path) -> None:
    report = write_report(data, tmp_path / "r.html", [blind_model, frozen_model])
    fit, blind, aware = report.diagnoses
    assert [d.residuals.reads_moments for d in (fit, blind, aware)] == [
        None,
        False,
        True,
    ]
    # A spin-blind model, however bad, leaves the gaps of equal geometries as they are.
    frames = pd.read_csv(data / "manifest.csv").query("status == 'kept'")
    per_atom = (frames["energy"] / frames["natoms"]).reset_index(drop=True)
    names = frames["geometry"].reset_index(drop=True)
    left = pd.Series(blind.residuals.values) / 1000.0 + per_atom
    assert left.groupby(names).std().max() < 1e-6
    assert fit.within is not None
    assert blind.within is not None
    assert blind.within.total == pytest.approx(fit.within.total)
    # The other one moves with the moments.
    moved = pd.Series(aware.residuals.values) / 1000.0 + per_atom
    assert moved.groupby(names).std().max() > 1e-5
    worst = next(f for f in blind.findings if f.formula == "LiMnO2")
    assert worst.outcome == "spin"
    name = f"{blind_model.parent.name}/blind.pth"
    assert f"{name}: bands in" in report.verdicts[2]
    page = report.path.read_text(encoding="utf-8")
    assert f"<h3>{name}</h3>" in page
    assert "This model reads moments." in page


def test_errors_of_models_are_told_by_state(
    data, blind_model, frozen_model, tmp_path
) -> None:
    report = write_report(data, tmp_path / "r.html", [blind_model, frozen_model])
    fit, blind, aware = (diagnosis.residuals for diagnosis in report.diagnoses)
    assert fit.errors.empty
    names = ["formula", "level", "key"]
    frames = pd.read_csv(data / "manifest.csv").query("status == 'kept'")
    for model in (blind, aware):
        squares = frames[names].assign(square=model.values**2)
        expected = squares.groupby(names)["square"].mean() ** 0.5
        energies = model.errors.set_index(names)["energy"]
        pd.testing.assert_series_equal(energies, expected, check_names=False)
        assert (model.errors[["force", "virial"]] > 0.0).all(axis=None)
    assert blind.errors["magnetic_force"].isna().all()
    # Frames whose moments were held have no label.
    free = frames[frames["constrained"].astype(str).str.lower() == "false"]
    with_label = aware.errors.set_index(names)["magnetic_force"].dropna()
    assert set(with_label.index) == set(free.groupby(names).groups)
    assert 0 < len(with_label) < len(aware.errors)
    assert with_label.max() > 0.0
    page = report.path.read_text(encoding="utf-8")
    assert page.count("<th>virial, meV/atom</th>") == 2
    assert page.count("<th>magnetic force, eV/μB</th>") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/nothing"], "found no manifest.csv; give another folder"),
        (["{data}", "-m", "{tmp}/none.pth"], "none.pth: no such model file"),
        (["{data}", "-m", "{tmp}/bad.pth"], "expected a frozen Deep Potential"),
        (["{data}", "-m", "{tmp}/bad.txt"], "expected a model that deepmd-kit reads"),
        (["{data}", "-m", "{tmp}/ni.pth"], "'Li'; known: Ni, O"),
        (["{data}", "-o", "{tmp}"], "is a folder; give a file with --output"),
    ],
)
def test_what_a_user_may_get_wrong(data, tmp_path, capsys, arguments, message) -> None:
    for name in ("bad.pth", "bad.txt"):
        (tmp_path / name).write_text("no model")
    if "ni.pth" in arguments[-1]:
        frozen_blind(tmp_path / "ni.pth", ["Ni", "O"])
    words = [word.format(data=data, tmp=tmp_path) for word in arguments]
    assert main(["report", *words]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert message in lines[-1]
    assert lines[-1].startswith("spin-dp: ")
    assert not (data / "report.html").exists()


def test_rebuilding_the_data_is_not_hindered_by_a_report(tmp_path) -> None:
    out = tmp_path / "data"
    sources = [GPAW / "LiMnO2_4.extxyz"]
    collect(sources, out)
    write_report(out)
    collect(sources, out)
