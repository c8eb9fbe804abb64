# SPDX-License-Identifier: LGPL-3.0-or-later
"""The checks of ``run_md`` and ``spin-dp md`` before LAMMPS starts."""

from __future__ import annotations

from dataclasses import fields
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from spin_dp.cli import main
from spin_dp.cli.md import md
from spin_dp.errors import ConfigError, DataError, ShapeError
from spin_dp.md import MDResult, MDSettings, run_md
from spin_dp.model_file import ModelInfo
from spin_dp.predictor import SpinDP

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file that passes for a model, by its name."""

    def describe(path: Path) -> ModelInfo:
        type_map = ["Ni", "Li", "O"] if "other" in path.name else ["Li", "Ni", "O"]
        use_spin = [name == "Ni" for name in type_map]
        return ModelInfo(path, type_map, use_spin, 5.0, "blind" not in path.name)

    monkeypatch.setattr("spin_dp.model_file.read_model_info", describe)
    for name in ("model.pth", "other.pth", "blind.pth"):
        (tmp_path / name).write_text(name)
    return tmp_path / "model.pth"


def oxide(symbols: str = "LiNiO", *, moments: list[float] | None = None) -> Atoms:
    positions = np.diag([0.0, 1.0, 2.0])
    atoms = Atoms(symbols, positions, cell=np.diag([4.0, 4.2, 4.4]), pbc=True)
    if moments is not None:
        atoms.set_initial_magnetic_moments(moments)
    return atoms


def prepare(atoms: Atoms, model: Any, out: Path, **kwargs: Any) -> MDResult:
    return run_md(atoms, model, out=out, dry_run=True, **kwargs)


def sizes(out: Path) -> list[float]:
    lines = (out / "data.spin").read_text().split("Atoms # spin\n\n")[1].splitlines()
    return [float(line.split()[-1]) for line in lines]


def test_labels_are_those_of_the_primitive_cell_tiled(
    model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "md"
    prepare(oxide(), model, out, moments="0,1.3,0", supercell=(1, 2, 1))
    assert sizes(out) == [0, 1.3, 0, 0, 1.3, 0]


def test_small_moments_of_a_file_on_elements_without_spin_are_dropped(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(oxide(moments=[0.0, 1.3, 0.1]), model, tmp_path / "md")
    assert sizes(tmp_path / "md") == [0, 1.3, 0]
    assert "moments of O (up to 0.10 μB) set to 0" in caplog.text


@pytest.mark.parametrize("moments", [[0.0, 1.3, 0.1], "Ni=1.3,O=0.1"])
def test_given_moments_on_elements_without_spin_are_refused(
    model: Path, tmp_path: Path, moments: Any
) -> None:
    message = r"O carries a moment, but .*model\.pth reads moments of Ni only\. Set it"
    with pytest.raises(ConfigError, match=message):
        prepare(oxide(), model, tmp_path / "md", moments=moments)


def test_what_does_not_go_with_the_model(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "md"
    with pytest.raises(ConfigError, match=r"unknown element 'Mn'; known: Li, Ni, O"):
        prepare(oxide("LiMnO"), model, out, moments="Mn=1")
    with pytest.raises(ConfigError, match=r"blind\.pth is a model without spin"):
        prepare(oxide(), model.with_name("blind.pth"), out, moments="Ni=1")
    with pytest.raises(ConfigError, match=r"other\.pth: expected the elements"):
        prepare(oxide(), [model, model.with_name("other.pth")], out, moments="Ni=1")
    with pytest.raises(ConfigError, match="at least one model file"):
        prepare(oxide(), [], out, moments="Ni=1")
    assert not out.exists()


def test_what_is_no_structure_to_run(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "md"
    atoms = oxide()
    with pytest.raises(ShapeError, match=r"expected \(3,\) or \(3, 3\)"):
        prepare(atoms, model, out, moments=[1.0, 2.0])
    with pytest.raises(ConfigError, match=r"supercell: expected three positive"):
        prepare(atoms, model, out, moments="Ni=1", supercell=(1, 0, 1))
    atoms.pbc = [True, True, False]
    with pytest.raises(DataError, match=r"LiNiO: expected a cell periodic in three"):
        prepare(atoms, model, out, moments="Ni=1")


def test_command_line_has_the_defaults_of_the_settings() -> None:
    parameters = signature(md).parameters
    for setting in fields(MDSettings):
        assert parameters[setting.name].default == setting.default, setting.name


def test_command_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structure = tmp_path / "POSCAR"
    write(structure, oxide())
    arguments = ["md", str(structure), "-m", str(model), "--moments", "Ni=1.3"]
    arguments += ["--ensemble", "npt", "--temperature", "450", "--pressure", "10"]
    arguments += ["--supercell", "2", "1", "1", "-o", str(tmp_path / "md")]
    assert main([*arguments, "--dry-run"]) == 0
    assert "lmp -in in.lammps" in capsys.readouterr().out.replace("\n", " ")
    deck = (tmp_path / "md" / "in.lammps").read_text()
    assert "npt temp 450 450 0.1 tri 10 10 1" in deck
    assert len(sizes(tmp_path / "md")) == 6
    assert main([*arguments, "--dry-run", "--steps", "7"]) == 1
    assert "steps 1000 there, 7 now" in capsys.readouterr().err


def test_result_of_a_finished_run_is_told(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    structure = tmp_path / "POSCAR"
    write(structure, oxide())
    result = MDResult(
        state="finished",
        folder=tmp_path,
        n_atoms=3,
        n_frames=11,
        temperature=301.25,
        energy_drift=0.0125,
        ns_per_day=1.5,
    )

    def run(*args: Any, progress: Any, **kwargs: Any) -> MDResult:
        progress(10, 1000, {"temperature_K": 300.0})
        return result

    monkeypatch.setattr("spin_dp.md.run_md", run)
    arguments = ["md", str(structure), "-m", str(model), "-o", str(tmp_path)]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    for expected in (
        "3 atoms, 11 frames",
        "301.2 K",
        "0.0125 meV/atom/ps",
        "1.5 ns/day",
    ):
        assert expected in text
    assert str(result.trajectory) in text


def test_labels_that_are_left_out_are_predicted(
    predicting_model: Path, tmp_path: Path
) -> None:
    """Before the cell is repeated, so that the copies have equal labels."""
    atoms = oxide("LiNiO", moments=[0.0, 1.2, 0.0])
    expected = SpinDP(predicting_model).complete_moments(atoms)[:, 2]
    assert expected[1] == 1.2
    assert expected[2] != 0.0
    prepare(atoms, predicting_model, tmp_path / "md", supercell=(2, 1, 1))
    found = sizes(tmp_path / "md")
    np.testing.assert_allclose(
        sorted(found), sorted(np.abs(np.tile(expected, 2))), rtol=1e-6
    )
    arguments = ["--no-complete", "--dry-run", "-o", str(tmp_path / "bare")]
    write(tmp_path / "cell.extxyz", atoms)
    assert (
        main(
            [
                "md",
                str(tmp_path / "cell.extxyz"),
                "-m",
                str(predicting_model),
                *arguments,
            ]
        )
        == 0
    )
    assert sorted(sizes(tmp_path / "bare")) == [0.0, 0.0, 1.2]
