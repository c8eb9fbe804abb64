# SPDX-License-Identifier: LGPL-3.0-or-later
"""Real models over deepmd systems on disk, and the table made of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk

from spin_dp.errors import ConfigError, DataError
from spin_dp.evaluation import (
    LabelledSystem,
    evaluate,
    per_state,
    predict,
    read_system,
    read_systems,
    score,
)
from spin_dp.inference.potential import Potential
from spin_dp.inference.predictor import SpinDP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spin_dp.model.energy import SpinEnergyModel

N_FRAMES = 3


def make_system(n_frames: int = N_FRAMES, repeats: int = 1) -> LabelledSystem:
    """Return rattled NiO with one moment pattern a frame, labels of a simple rule."""
    rng = np.random.default_rng(3)
    atoms = bulk("NiO", "rocksalt", a=4.18, cubic=True).repeat((repeats, 1, 1))
    shape = (n_frames, len(atoms), 3)
    nickel = np.array([symbol == "Ni" for symbol in atoms.get_chemical_symbols()])
    moments = np.zeros(shape)
    moments[:, nickel, 2] = rng.choice([-1.7, 1.7], size=(n_frames, nickel.sum()))
    return LabelledSystem(
        name="validation/NiO/x",
        symbols=atoms.get_chemical_symbols(),
        positions=atoms.positions + 0.05 * rng.standard_normal(shape),
        cells=np.repeat(atoms.cell.array[None], n_frames, axis=0),
        energies=np.linspace(-40.0, -39.0, n_frames),
        forces=0.1 * rng.standard_normal(shape),
        moments=moments,
    )


def write(system: LabelledSystem, data: Path) -> Path:
    """Write the system as a deepmd system below ``data``."""
    folder = data / system.name
    part = folder / "set.000"
    part.mkdir(parents=True)
    names = sorted(set(system.symbols))
    (folder / "type_map.raw").write_text("\n".join(names))
    types = [str(names.index(symbol)) for symbol in system.symbols]
    (folder / "type.raw").write_text("\n".join(types))
    n = len(system.energies)
    np.save(part / "energy.npy", system.energies)
    np.save(part / "coord.npy", system.positions.reshape(n, -1))
    np.save(part / "box.npy", system.cells.reshape(n, -1))
    np.save(part / "force.npy", system.forces.reshape(n, -1))
    np.save(part / "spin.npy", system.moments.reshape(n, -1))
    return data


def manifest_of(system: LabelledSystem, **columns: Any) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "status": "kept",
            "system": system.name,
            "index": np.arange(len(system.energies)),
            "formula": "NiO",
            "key": ["AFM", "FM", "AFM"],
            "geometry": "NiO-0",
            "constrained": "false",
        }
    )
    return table.assign(**columns)


def test_systems_come_back_as_written(tmp_path: Path) -> None:
    system = make_system()
    data = write(system, tmp_path)
    (read,) = read_systems(data, "validation")
    mapped = read_system(data, system.name)
    for name in ("positions", "cells", "energies", "forces", "moments"):
        np.testing.assert_array_equal(getattr(read, name), getattr(system, name))
        np.testing.assert_array_equal(getattr(mapped, name), getattr(system, name))
    assert read.magnetic_forces is None
    assert list(read.symbols) == system.symbols
    np.testing.assert_allclose(read.mean_moment(), 1.7)
    # What is in memory keeps no file open.
    assert not any(
        isinstance(getattr(read, name), np.memmap) for name in ("positions", "moments")
    )


def test_virials_and_magnetic_forces_are_read_where_there_are_some(
    tmp_path: Path,
) -> None:
    system = make_system()
    data = write(system, tmp_path)
    labels = np.random.default_rng(0).standard_normal(system.forces.shape)
    part = data / system.name / "set.000"
    np.save(part / "force_mag.npy", labels.reshape(N_FRAMES, -1))
    virials = np.random.default_rng(1).standard_normal((N_FRAMES, 3, 3))
    np.save(part / "virial.npy", virials.reshape(N_FRAMES, 9))
    (read,) = read_systems(data, "validation")
    assert read.magnetic_forces is not None
    np.testing.assert_array_equal(read.magnetic_forces, labels)
    assert read.virials is not None
    np.testing.assert_array_equal(read.virials, virials)


def test_a_split_without_systems_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="training: expected deepmd systems"):
        read_systems(tmp_path, "training")


def test_a_model_gives_what_it_gives_frame_by_frame(frozen_model: Path) -> None:
    """Many frames of many atoms go in chunks; each frame is as it is alone."""
    from ase import Atoms

    system = make_system(n_frames=4, repeats=50)  # 400 atoms: two frames a chunk
    found = predict(Potential(frozen_model), system)
    model = SpinDP(frozen_model)
    assert found.magnetic_forces is not None
    for i in range(4):
        atoms = Atoms(
            system.symbols,
            positions=system.positions[i],
            cell=system.cells[i],
            pbc=True,
        )
        alone = model.evaluate(atoms, system.moments[i])
        assert found.energies[i] == pytest.approx(float(alone.energy), abs=1e-7)
        np.testing.assert_allclose(found.forces[i], alone.forces, atol=1e-8)
        np.testing.assert_allclose(found.virials[i], alone.virial, atol=1e-7)
        np.testing.assert_allclose(
            found.magnetic_forces[i], alone.magnetic_forces, atol=1e-8
        )
    assert np.abs(found.magnetic_forces).max() > 1e-6


def test_a_checkpoint_gives_what_its_frozen_model_gives(
    model: SpinEnergyModel, frozen_model: Path, tmp_path: Path
) -> None:
    path = save_checkpoint(model, tmp_path / "model.ckpt.pt")
    system = make_system()
    frozen, checkpoint = (predict(Potential(p), system) for p in (frozen_model, path))
    np.testing.assert_allclose(checkpoint.energies, frozen.energies, atol=1e-8)
    np.testing.assert_allclose(checkpoint.forces, frozen.forces, atol=1e-8)


def save_checkpoint(model: SpinEnergyModel, path: Path) -> Path:
    """Write what the trainer of deepmd-kit writes, as far as it is read."""
    import json

    import torch

    params = json.loads(model.get_model_def_script())
    state = {f"model.Default.{k}": v for k, v in model.state_dict().items()}
    state["_extra_state"] = {"model_params": params, "train_infos": {}}
    torch.save({"model": state}, path)
    return path


@pytest.mark.parametrize(
    ("symbol", "message"),
    [("Fe", r"unknown element for model .*model\.pth 'Fe'; known: Co, Li, Mn, Ni, O")],
)
def test_an_element_that_the_model_lacks(
    frozen_model: Path, symbol: str, message: str
) -> None:
    system = make_system()
    symbols = [symbol, *list(system.symbols)[1:]]
    with pytest.raises(ConfigError, match=message):
        predict(Potential(frozen_model), replace(system, symbols=symbols))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.pth: no such model file"):
        Potential(tmp_path / "none.pth")
    (tmp_path / "bad.pth").write_text("no model")
    with pytest.raises(DataError, match="expected a frozen Deep Potential"):
        Potential(tmp_path / "bad.pth")


def test_energies_that_are_no_numbers(
    make_model: Callable[..., SpinEnergyModel], tmp_path: Path
) -> None:
    import torch

    model = make_model()
    bias = model.get_out_bias()
    model.set_out_bias(torch.full_like(bias, float("nan")))
    path = tmp_path / "nan.pth"
    script: Any = torch.jit.script
    torch.jit.save(script(model), path)
    with pytest.raises(DataError, match="not a finite number for 3 of 3 frames"):
        predict(Potential(path), make_system())


def test_the_table_holds_labels_and_predictions(frozen_model: Path) -> None:
    system = make_system()
    held = ["true", "unknown", "false"]
    manifest = manifest_of(system, constrained=held)
    steps: list[tuple[int, int]] = []
    frames = evaluate(
        {"a": frozen_model},
        [system],
        manifest,
        progress=lambda done, total: steps.append((done, total)),
    )
    predicted = predict(Potential(frozen_model), system)
    np.testing.assert_array_equal(frames["energy_a"], predicted.energies)
    rms = np.sqrt(np.square(predicted.forces - system.forces).mean(axis=(1, 2)))
    np.testing.assert_allclose(frames["force_error_a"], rms)
    assert frames["virial_error_a"].isna().all()
    assert frames["magnetic_force_error_a"].isna().all()
    assert frames["key"].tolist() == ["AFM", "FM", "AFM"]
    assert frames["metal"].unique().tolist() == ["Ni"]
    assert frames["held"].tolist() == [True, False, False]
    assert frames["held"].dtype == bool
    assert steps == [(1, 1)]
    assert score(frames[~frames["held"]], "a").frames == 2


def test_errors_of_virials_and_magnetic_forces_where_there_are_labels(
    frozen_model: Path,
) -> None:
    """Zero is a label: of moments that were free; oxygen has no spin state."""
    bare = make_system()
    predicted = predict(Potential(frozen_model), bare)
    assert predicted.magnetic_forces is not None
    system = replace(
        bare,
        virials=predicted.virials + 0.8,
        magnetic_forces=np.zeros_like(bare.forces),
    )
    frames = evaluate({"a": frozen_model}, [system], manifest_of(system))
    n_atoms = len(system.symbols)
    np.testing.assert_allclose(frames["virial_error_a"], 0.8 / n_atoms)
    metals = [i for i, symbol in enumerate(system.symbols) if symbol != "O"]
    lengths = np.linalg.norm(predicted.magnetic_forces[:, metals], axis=-1)
    expected = np.sqrt((lengths**2).mean(axis=1))
    assert expected.min() > 0.0
    np.testing.assert_allclose(frames["magnetic_force_error_a"], expected)
    found = score(frames, "a")
    assert found.virial == pytest.approx(800.0 / n_atoms)
    assert found.magnetic_force == pytest.approx(np.sqrt((expected**2).mean()))


@pytest.mark.parametrize("values", [["true"] * 3, [True] * 3])
def test_held_frames_are_known_however_the_manifest_was_read(
    frozen_model: Path, values: list[object]
) -> None:
    system = make_system()
    manifest = manifest_of(system, constrained=values)
    assert evaluate({"a": frozen_model}, [system], manifest)["held"].all()


def test_a_frame_without_a_row_is_refused(frozen_model: Path) -> None:
    system = make_system()
    manifest = manifest_of(system).query("index != 1")
    with pytest.raises(DataError, match="no row for frame 1 of validation/NiO/x"):
        evaluate({"a": frozen_model}, [system], manifest)


def test_states_have_the_gaps_of_the_pairs_they_are_in() -> None:
    """Each pair of two states counts for both, a pair of one state once."""
    frames = pd.DataFrame(
        {
            "formula": ["A", "A", "A", "B"],
            "geometry": ["A-0", "A-0", "A-0", "B-0"],
            "key": ["x", "y", "z", "x"],
            "natoms": 2,
            "energy": [0.0, 1.0, 3.0, 5.0],
            "energy_m": [0.0, 1.1, 2.0, 5.0],
            "force_error_m": 0.1,
            "virial_error_m": math.nan,
            "magnetic_force_error_m": math.nan,
            "moment_error_m": [0.3, 0.1, math.nan, 0.4],
        },
        index=[7, 7, 8, 9],  # tables put together have no numbers of their own
    )
    table = per_state(frames, ["m"]).set_index(["formula", "key"])
    # Errors of the gaps: xy 0.1, xz -1.0, yz -1.1 eV.
    for key, errors in {"x": (0.1, 1.0), "y": (0.1, 1.1), "z": (1.0, 1.1)}.items():
        expected = 1000.0 * np.sqrt(np.mean(np.square(errors)))
        assert table.loc[("A", key), "gap_m"] == pytest.approx(expected)
        assert table.loc[("A", key), "order_m"] == 1.0
        assert table.loc[("A", key), "pairs"] == 2
    assert table.loc[("A", "z"), "energy_m"] == pytest.approx(500.0)
    assert table.loc[("B", "x"), "pairs"] == 0
    assert table["gap_m"].isna().tolist() == [False, False, False, True]
    assert table["moment_m"].tolist() == pytest.approx(
        [0.3, 0.1, math.nan, 0.4], nan_ok=True
    )


def test_predicted_moments_are_those_of_the_model(
    predicting_model: Path, frozen_model: Path
) -> None:
    """Errors count metals only, and are unknown without a guess or a moment net."""
    bare = make_system()
    system = replace(bare, initial_moments=1.1 * bare.moments)
    manifest = manifest_of(system)
    models = {"a": predicting_model, "b": frozen_model}
    frames = evaluate(models, [system], manifest)
    model = SpinDP(predicting_model)
    metals = [i for i, symbol in enumerate(system.symbols) if symbol != "O"]
    for index, error in enumerate(frames["moment_error_a"]):
        atoms = Atoms(
            system.symbols,
            positions=system.positions[index],
            cell=system.cells[index],
            pbc=True,
        )
        assert system.initial_moments is not None
        got = model.predict_moments(atoms, system.initial_moments[index])
        wrong = (got - system.moments[index])[metals]
        rms = np.sqrt(np.square(wrong).sum(-1).mean())
        assert error == pytest.approx(rms, rel=1e-10)
    assert frames["moment_error_b"].isna().all()
    unguessed = evaluate({"a": predicting_model}, [bare], manifest)
    assert unguessed["moment_error_a"].isna().all()
