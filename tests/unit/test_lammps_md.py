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

from spin_dp import SpinDP
from spin_dp.cli import main
from spin_dp.cli.md import md
from spin_dp.dynamics import MDResult, MDSettings, run_md
from spin_dp.errors import ConfigError, DataError, ShapeError
from tests.conftest import build_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def other_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a model with other elements, and one without spin."""
    import torch
    from deepmd.pt.model.model import get_model

    other = build_model({"type_map": ["Ni", "Mn", "Co", "Li", "O"]})
    descriptor = {"type": "se_e2_a", "sel": [5] * 3, "rcut": 4.0, "rcut_smth": 1.0}
    blind = get_model(
        {
            "type_map": ["Li", "Ni", "O"],
            "descriptor": {**descriptor, "neuron": [2]},
            "fitting_net": {"neuron": [4]},
        }
    )
    paths = {}
    for name, module in (("other", other), ("blind", blind)):
        paths[name] = tmp_path_factory.mktemp(name) / f"{name}.pth"
        script: Any = torch.jit.script
        torch.jit.save(script(module.eval()), paths[name])
    return paths


def oxide(symbols: str = "LiNiO", *, moments: list[float] | None = None) -> Atoms:
    positions = np.diag([0.0, 2.1, 2.2])
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
    frozen_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "md"
    prepare(oxide(), frozen_model, out, moments="0,1.3,0", supercell=(1, 2, 1))
    assert sizes(out) == [0, 1.3, 0, 0, 1.3, 0]


def test_small_moments_of_a_file_on_elements_without_spin_are_dropped(
    frozen_model: Path, tmp_path: Path
) -> None:
    prepare(oxide(moments=[0.0, 1.3, 0.1]), frozen_model, tmp_path / "md")
    assert sizes(tmp_path / "md") == [0, 1.3, 0]


@pytest.mark.parametrize("moments", [[0.0, 1.3, 0.1], "Ni=1.3,O=0.1"])
def test_given_moments_on_elements_without_spin_are_refused(
    frozen_model: Path, tmp_path: Path, moments: Any
) -> None:
    message = r"O carries a moment, but the model reads moments of Mn, Co, Ni only; set"
    with pytest.raises(ConfigError, match=message):
        prepare(oxide(), frozen_model, tmp_path / "md", moments=moments)


def test_what_does_not_go_with_the_model(
    frozen_model: Path, other_models: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "md"
    with pytest.raises(ConfigError, match=r"unknown element for model .* 'Na'; known:"):
        prepare(oxide("NaNiO"), frozen_model, out, moments="Ni=1")
    with pytest.raises(ConfigError, match=r"blind\.pth is a model without spin"):
        prepare(oxide(), other_models["blind"], out, moments="Ni=1")
    with pytest.raises(ConfigError, match=r"other\.pth: expected the elements"):
        prepare(oxide(), [frozen_model, other_models["other"]], out, moments="Ni=1")
    with pytest.raises(ConfigError, match="at least one model file"):
        prepare(oxide(), [], out, moments="Ni=1")
    assert not out.exists()


def test_what_is_no_structure_to_run(frozen_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "md"
    atoms = oxide()
    with pytest.raises(ShapeError, match=r"expected \(3,\) or \(3, 3\)"):
        prepare(atoms, frozen_model, out, moments=[1.0, 2.0])
    with pytest.raises(ConfigError, match=r"supercell: expected three positive"):
        prepare(atoms, frozen_model, out, moments="Ni=1", supercell=(1, 0, 1))
    atoms.pbc = [True, True, False]
    with pytest.raises(DataError, match=r"LiNiO: expected a cell periodic in three"):
        prepare(atoms, frozen_model, out, moments="Ni=1")


def test_command_line_has_the_defaults_of_the_settings() -> None:
    parameters = signature(md).parameters
    for setting in fields(MDSettings):
        assert parameters[setting.name].default == setting.default, setting.name


def test_command_line(
    frozen_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structure = tmp_path / "POSCAR"
    write(structure, oxide())
    arguments = ["md", str(structure), "-m", str(frozen_model), "--moments", "Ni=1.3"]
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
    frozen_model: Path,
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

    monkeypatch.setattr("spin_dp.dynamics.run_md", run)
    arguments = ["md", str(structure), "-m", str(frozen_model), "-o", str(tmp_path)]
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
    atoms = oxide("LiNiO", moments=[0.0, 1.2, 0.0])
    expected = SpinDP(predicting_model).moments(atoms)[:, 2]
    assert expected[1] == 1.2
    assert expected[2] != 0.0
    prepare(atoms, predicting_model, tmp_path / "md", supercell=(2, 1, 1))
    np.testing.assert_allclose(
        sorted(sizes(tmp_path / "md")), sorted(np.abs(np.tile(expected, 2))), rtol=1e-6
    )
    write(tmp_path / "cell.extxyz", atoms)
    arguments = ["md", str(tmp_path / "cell.extxyz"), "-m", str(predicting_model)]
    arguments += ["--no-predict", "--dry-run", "-o", str(tmp_path / "bare")]
    assert main(arguments) == 0
    assert sorted(sizes(tmp_path / "bare")) == [0.0, 0.0, 1.2]


def test_states_by_name_with_an_ordering_of_the_supercell(
    predicting_model: Path, tmp_path: Path
) -> None:
    """One nickel in the cell: only the supercell can be antiferromagnetic."""
    options: dict[str, Any] = {"moments": "Ni=2+", "supercell": (2, 1, 1)}
    out = tmp_path / "md"
    prepare(oxide(), predicting_model, out, order="AFM", **options)
    rows = (out / "data.spin").read_text().split("Atoms # spin\n\n")[1].splitlines()
    moments = np.array([[float(x) for x in row.split()[5:9]] for row in rows])
    nickel = moments[np.abs(moments[:, 3]) > 0.5]
    assert sorted(np.sign(nickel[:, 2])) == [-1.0, 1.0]
    large = oxide().repeat((2, 1, 1))
    expected = SpinDP(predicting_model).moments(large, "Ni=2+", order="AFM")
    np.testing.assert_allclose(
        sorted(nickel[:, 2] * nickel[:, 3]), sorted(expected[[1, 4], 2]), rtol=1e-6
    )
    with pytest.raises(ConfigError, match="no planes of the 1 magnetic sites"):
        prepare(
            oxide(), predicting_model, tmp_path / "no", moments="Ni=2+", order="AFM"
        )


def test_what_the_model_cannot_know_is_refused_before_lammps_starts(
    predicting_model: Path, tmp_path: Path
) -> None:
    atoms = oxide()
    with pytest.raises(ConfigError, match="Ni has no label; the model knows Ni: Ni2"):
        prepare(atoms, predicting_model, tmp_path / "a", moments="2=0.1")
    with pytest.raises(DataError, match=r"9\.00 μB at atom 1 \(Ni\)"):
        prepare(atoms, predicting_model, tmp_path / "a", moments="Ni=9")
    atoms.positions[2] = atoms.positions[1] + 0.3
    with pytest.raises(DataError, match="They overlap"):
        prepare(atoms, predicting_model, tmp_path / "a", moments="Ni=2+")
    assert not (tmp_path / "a").exists()


def test_charges_of_labels_that_do_not_add_up_are_said(
    predicting_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """LiNiO with Ni2+ has a charge of +1, with Ni3+ of +2."""
    for moments, charge in (("Ni=2+", "+1"), ("Ni=3+LS", "+2"), ("Ni=1.2", None)):
        caplog.clear()
        prepare(oxide(), predicting_model, tmp_path / moments, moments=moments)
        expected = f"the labelled states add up to {charge} e"
        assert (expected in caplog.text) == (charge is not None)
        assert ("add up" in caplog.text) == (charge is not None)
