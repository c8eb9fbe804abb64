# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp collect`` on the shipped GPAW frames, and deepmd-kit reading the result."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pandas as pd
import pytest

from spin_dp.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms

GPAW = Path(__file__).resolve().parents[2] / "examples" / "gpaw"
N_KEPT, N_UNCONVERGED = 221, 16  # examples/gpaw/README.md and unconverged.extxyz


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("collect") / "data"
    arguments = ["collect", str(GPAW), "-o", str(out), "--validation", "0.1"]
    assert main([*arguments, "--stationary-moments"]) == 0
    return out


@pytest.fixture(scope="module")
def manifest(collected: Path) -> pd.DataFrame:
    return pd.read_csv(collected / "manifest.csv", keep_default_na=False)


@pytest.fixture(scope="module")
def kept(manifest: pd.DataFrame) -> pd.DataFrame:
    return manifest[manifest["status"] == "kept"]


def images(kept: pd.DataFrame) -> Iterator[tuple[pd.Series, Atoms]]:
    files = {
        name: ase.io.read(name, index=":", format="extxyz")
        for name in kept["source"].unique()
    }
    for _, row in kept.iterrows():
        yield row, files[row["source"]][row["step"] - 1]


def test_every_frame_is_in_the_manifest(manifest: pd.DataFrame) -> None:
    counts = manifest["status"].value_counts()
    assert counts.to_dict() == {"kept": N_KEPT, "quarantined": N_UNCONVERGED}
    quarantined = manifest[manifest["status"] == "quarantined"]
    assert set(quarantined["reason"]) == {"SCF not converged (converged=F)"}
    assert set(quarantined["source"]) == {str(GPAW / "unconverged.extxyz")}
    assert manifest["level"].nunique() == 1  # one Hamiltonian, README.md


def test_keys_agree_with_the_states_recorded_in_the_frames(kept: pd.DataFrame) -> None:
    """``final_state`` holds the rounded moments of the metal atoms in their order."""
    for row, atoms in images(kept):
        words = atoms.info["final_state"].split(";")[0].split(",")
        recorded = sorted(abs(int(word.lstrip("MnCoNi"))) for word in words)
        named = row["key"].replace("]", ",").split(",")
        found = [abs(int(word.split("[")[-1])) for word in named if word]
        assert sorted(found) == recorded


def test_arrays_come_back_from_the_systems(collected: Path, kept: pd.DataFrame) -> None:
    for row, atoms in images(kept):
        data = collected / row["system"] / "set.000"
        map_ = (collected / row["system"] / "type_map.raw").read_text().split()
        assert map_ == ["Li", "Mn", "Co", "Ni", "O"]
        types = np.loadtxt(collected / row["system"] / "type.raw", dtype=int)
        order = np.argsort(
            [map_.index(symbol) for symbol in atoms.get_chemical_symbols()],
            kind="stable",
        )
        assert [map_[t] for t in types] == [atoms[int(i)].symbol for i in order]
        stored = {path.stem: np.load(path)[row["index"]] for path in data.glob("*.npy")}
        stress = atoms.get_stress(voigt=False)
        expected = {
            "coord": atoms.positions[order],
            "force": atoms.get_forces()[order],
            "box": atoms.cell.array,
            "energy": atoms.calc.results["free_energy"],
            "virial": -atoms.get_volume() * stress,
        }
        for name, array in expected.items():
            np.testing.assert_allclose(
                stored[name].ravel(), np.ravel(array), atol=1e-12
            )
        spins = stored["spin"].reshape(-1, 3)
        np.testing.assert_array_equal(spins[:, 2], atoms.calc.results["magmoms"][order])
        np.testing.assert_array_equal(spins[:, :2], 0.0)
        is_free = atoms.info["spin_constraint"] == "none"
        assert ("force_mag" in stored) is is_free
        assert row["system"].endswith("-free" if is_free else "-held")
        if is_free:
            np.testing.assert_array_equal(stored["force_mag"], 0.0)


def test_no_geometry_is_on_both_sides(kept: pd.DataFrame) -> None:
    sides = kept.groupby("geometry")["split"].nunique()
    assert sides.max() == 1
    recorded: dict[str, set[str]] = {}
    for row, atoms in images(kept):
        recorded.setdefault(atoms.info["geometry_id"], set()).add(row["split"])
    assert len(recorded) == 68  # README.md
    assert all(len(splits) == 1 for splits in recorded.values())
    held_out = kept[kept["split"] == "validation"]
    assert set(held_out["formula"]) == set(kept["formula"])
    per_formula = kept.groupby("formula")["geometry"].nunique()
    assert held_out["geometry"].nunique() == len(per_formula)  # one of 3 to 8 each


def test_deepmd_reads_the_systems(collected: Path, kept: pd.DataFrame) -> None:
    from deepmd.utils.data import DeepmdData

    systems = kept.groupby("system").size()
    for name, n_frames in systems.head(6).items():
        data = DeepmdData(str(collected / str(name)))
        data.add("energy", 1, atomic=False, must=True, high_prec=True)
        for key in ("force", "spin"):
            data.add(key, 3, atomic=True, must=True, high_prec=False)
        data.add("virial", 9, atomic=False, must=True, high_prec=False)
        assert data.get_type_map() == ["Li", "Mn", "Co", "Ni", "O"]
        assert data.get_numb_batch(1, 0) == n_frames
        batch = data.get_test()
        rows = kept[kept["system"] == name].sort_values("energy")
        order = np.argsort(batch["energy"].ravel())  # deepmd-kit shuffles
        np.testing.assert_allclose(
            batch["energy"].ravel()[order], rows["energy"], rtol=1e-12
        )
        assert batch["find_spin"] == 1.0
        moments = np.load(collected / str(name) / "set.000" / "spin.npy")
        np.testing.assert_allclose(
            batch["spin"][order], moments[rows["index"]], atol=1e-6
        )


def test_tables_name_states_reasons_and_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    sources = [str(GPAW / f"{name}.extxyz") for name in ("NiO2_3", "unconverged")]
    assert main(["collect", *sources, "-o", str(out)]) == 0
    printed, errors = capsys.readouterr()
    assert "Ni[+1]" in printed
    assert "SCF not converged" in printed
    assert "kept 17 of 33 frames from 2 files" in printed
    assert "manifest.csv" in printed
    assert errors == ""
    assert not (out / "validation").exists()
    assert not list(out.rglob("force_mag.npy"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.extxyz"], "no such file or folder"),
        ([str(GPAW / "unconverged.extxyz")], "converged=F.*16 of 16 frames"),
        ([str(GPAW / "NiO2_3.extxyz"), "--type-map", "Ni,C"], "unknown element"),
        ([str(GPAW / "NiO2_3.extxyz"), "--validation", "2"], "below 1"),
    ],
)
def test_errors_are_one_sentence_and_an_exit_code(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert main(["collect", *arguments, "-o", str(tmp_path / "out")]) == 1
    errors = capsys.readouterr().err
    assert re.search(message, errors)
    assert errors.startswith("spin-dp: ")
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()
