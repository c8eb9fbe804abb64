# SPDX-License-Identifier: LGPL-3.0-or-later
"""The accuracy benchmark: names of species, inputs, plan, tables."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.accuracy import results, species
from benchmarks.accuracy.data import prepare
from benchmarks.accuracy.inputs import WEIGHTS, Choice, read_tuned, write_training
from benchmarks.accuracy.models import DEFAULT, MODELS, OURS, find_models
from benchmarks.accuracy.plot import plot_accuracy
from benchmarks.accuracy.runs import Run, make_plan, read_plan, update_plan
from benchmarks.accuracy.tune import best_choices
from spin_dp.errors import ConfigError
from spin_dp.evaluation import read_systems

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "gpaw"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The shipped frames of LiMnO2 and LiNiO2, collected and merged."""
    source = tmp_path_factory.mktemp("source")
    for name in ("LiMnO2_4", "LiNiO2_4", "LiMnO2_8", "LiNi05Mn05O2"):
        file = EXAMPLES / f"{name}.extxyz"
        (source / file.name).write_bytes(file.read_bytes())
    return prepare(source, tmp_path_factory.mktemp("data"), seed=0)


def sites(*rows):
    columns = ["system", "element", "state", "moment"]
    return pd.DataFrame(rows, columns=columns)


def test_type_names_have_element_charge_and_spin():
    assert species.type_name("Mn3+HS") == "Mn_3HS"
    assert species.type_name("Mn4+") == "Mn_4"
    assert species.type_name("Ni~1") is None
    assert species.type_name("Ni~1.5") is None


def test_doubtful_and_unseen_sites_take_the_nearest_state_of_their_element():
    table = sites(
        ("training/a", "Ni", "Ni3+LS", 1.3),
        ("training/a", "Ni", "Ni4+LS", -0.1),
        ("training/a", "Ni", "Ni~1", -0.9),  # down: its size counts
        ("training/b", "Mn", "Mn3+HS", 3.7),
        ("validation/c", "Ni", "Ni3+HS", 2.1),  # in no training frame
        ("validation/c", "Co", "Co3+LS", 0.0),  # an element of no training frame
        ("validation/c", "Ni", "Ni4+LS", 1.2),  # a sure name beats its moment
    )
    named = species.name_sites(table).to_list()
    assert named[:4] == ["Ni_3LS", "Ni_4LS", "Ni_3LS", "Mn_3HS"]
    assert named[4:] == ["Ni_3LS", "Co", "Ni_4LS"]


def test_metals_of_an_element_keep_their_order():
    types = {"Mn": ["Mn_3HS", "Mn_4"], "Ni": ["Ni_2"]}
    got = species.symbols_of(["Li", "Mn", "Mn", "Ni", "O"], types)
    assert got == ("Li", "Mn_3HS", "Mn_4", "Ni_2", "O")


def test_every_type_has_the_moments_of_its_state(data):
    means = pd.read_csv(data.frames / "states.csv").set_index("state")["mean"]
    expected = {species.type_name(str(s)): m for s, m in means.items()}
    found: dict[str, list[float]] = {}
    root = data.of(states=True, fill=True)
    for folder in (file.parent for file in root.rglob("type_map.raw")):
        names = (folder / "type_map.raw").read_text().split()
        types = np.load(folder / "set.000" / "real_atom_types.npy")
        spin = np.load(folder / "set.000" / "spin.npy").reshape(*types.shape, 3)
        for number, size in zip(
            types.ravel(), np.linalg.norm(spin, axis=-1).ravel(), strict=True
        ):
            if number >= 0:  # not a place without an atom
                found.setdefault(names[number], []).append(size)
    metals = found.keys() - {"Li", "O"}
    assert {"Mn_3HS", "Mn_3LS", "Ni_3LS", "Ni_2"} <= metals
    for name in metals:
        assert np.mean(found[name]) == pytest.approx(expected[name], abs=0.15), name


def test_both_kinds_of_types_have_the_same_frames(data):
    def energies(root):
        files = sorted(root.rglob("energy.npy"))
        return np.sort(np.concatenate([np.load(file).ravel() for file in files]))

    expected = energies(data.of(states=False, fill=False))
    assert len(expected) > 40
    for states, fill in ((False, True), (True, False), (True, True)):
        found = energies(data.of(states=states, fill=fill))
        assert np.array_equal(found, expected)


def test_held_out_frames_get_types_that_training_has(data):
    known = next(data.merged.glob("states/*/type_map.raw")).read_text().split()
    found = species.read_sites(data.frames)
    for system in read_systems(data.frames, "validation"):
        frames = species.frames_of(system, found)
        assert len(frames) == len(system.energies)
        for index, frame in enumerate(frames):
            assert set(frame.symbols) <= set(known)
            assert not {"Mn", "Ni"} & set(frame.symbols)
            assert np.array_equal(frame.positions[0], system.positions[index])


def written(tmp_path, data, name):
    model = MODELS[name]
    path = tmp_path / "input.json"
    choice = Choice("documented", "Adam", 5e-3)
    systems = data.training(model)
    write_training(path, model, systems, steps=300, seed=7, choice=choice)
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_gets_the_same_schedule_and_frames(tmp_path, data, name):
    content = written(tmp_path, data, name)
    rate = content["learning_rate"]
    assert rate["type"] == "cosine"
    assert (rate["start_lr"], rate["warmup_steps"]) == (5e-3, 30)
    training = content["training"]
    assert (training["numb_steps"], training["seed"]) == (300, 7)
    assert "validation_data" not in training
    assert math.isclose(sum(training["training_data"]["sys_probs"]), 1.0)
    force = "start_pref_fr" if MODELS[name].moments else "start_pref_f"
    assert content["loss"][force] == WEIGHTS["documented"]["force"][0]
    assert content["model"]["descriptor"]["rcut"] == 5.0
    assert content["model"]["descriptor"]["seed"] == 7


def test_inputs_differ_where_models_do(tmp_path, data):
    states = written(tmp_path, data, "se_e2_a_states")["model"]
    assert "Mn_3HS" in states["type_map"]
    assert states["descriptor"]["type_one_side"] is True
    assert "spin" not in states
    deepspin = written(tmp_path, data, "deepspin")["model"]
    assert set(deepspin["type_map"]) == {"Li", "Mn", "Ni", "O"}
    assert sum(deepspin["spin"]["use_spin"]) == 3  # oxygen, too
    assert len(deepspin["spin"]["virtual_scale"]) == 3
    dpa4c = written(tmp_path, data, "dpa4c")
    assert dpa4c["optimizer"]["type"] == "Adam"  # the choice given
    assert dpa4c["loss"]["type"] == "ener_spin"
    assert dpa4c["training"]["gradient_max_norm"] == 5.0
    assert dpa4c["training"]["numb_steps"] == 300
    ours = written(tmp_path, data, OURS)["model"]
    assert ours["type"] == "spin_dp"
    metals = written(tmp_path, data, "spin_dp_metals")["model"]
    assert metals["spin"]["use_spin"] == ["Mn", "Ni"]
    wide = written(tmp_path, data, "spin_dp_wide")["model"]
    assert wide["descriptor"]["neuron"] == [25, 50, 100]
    assert wide["descriptor"]["type"] == ours["descriptor"]["type"]


def test_an_unchanged_input_is_not_written_again(tmp_path, data):
    written(tmp_path, data, OURS)
    before = (tmp_path / "input.json").stat().st_mtime_ns
    written(tmp_path, data, OURS)
    assert (tmp_path / "input.json").stat().st_mtime_ns == before
    assert [file.name for file in tmp_path.iterdir()] == ["input.json"]


def test_names_are_registered_once_and_unknown_ones_refused():
    assert set(DEFAULT) <= MODELS.keys()
    assert [m.name for m in find_models(["dpa4c", "deepspin", "dpa4c"])] == [
        "dpa4c",
        "deepspin",
    ]
    with pytest.raises(ConfigError, match="did you mean 'deepspin'"):
        find_models(["deepspln"])


def test_rivals_train_as_long_as_ours_takes():
    times = {OURS: 0.02, "deepspin": 0.16, "dpa1": 0.01}
    plan = make_plan([OURS, "deepspin", "dpa1"], [0, 1], 4000, times)
    timed = {run.model: run.steps for run in plan if run.budget == "time"}
    assert timed == {OURS: 4000, "deepspin": 500, "dpa1": 8000}
    assert {run.steps for run in plan if run.budget == "steps"} == {4000}
    # Ours is the same training for both budgets.
    assert len({run.name for run in plan if run.model == OURS}) == 2


def test_a_plan_grows_but_keeps_its_steps(tmp_path):
    first, second = Run("steps", 0, "dpa1", 40), Run("steps", 0, "dpa4c", 40)
    update_plan(tmp_path, 40, [first])
    update_plan(tmp_path, 40, [second, first])
    assert read_plan(tmp_path) == [first, second]
    with pytest.raises(ConfigError, match="made with 40 steps, now 50"):
        update_plan(tmp_path, 50, [])


def test_a_good_and_fast_choice_is_made_and_read_back(tmp_path):
    columns = ["model", "weights", "optimizer", "start_lr", "steps"]
    table = pd.DataFrame(
        [
            ("dpa1", "ours", "Adam", 1e-3, 100, 0.1, 30.0),  # the fastest
            ("dpa1", "documented", "Adam", 2e-2, 100, 0.2, 20.0),
            ("dpa1", "ours", "HybridMuon", 2e-2, 100, 0.3, 19.0),  # the lowest score
            ("dpa1", "documented", "HybridMuon", 2e-2, 100, 0.1, math.nan),  # diverged
        ],
        columns=[*columns, "seconds_per_step", "score"],
    )
    path = tmp_path / "tuned.json"
    path.write_text(json.dumps(best_choices(table)))
    assert read_tuned(path) == {"dpa1": Choice("documented", "Adam", 0.02)}
    row = {"weights": "heavy", "optimizer": "Adam", "start_lr": 1}
    path.write_text(json.dumps({"dpa1": row}))
    with pytest.raises(ConfigError, match="unknown weights 'heavy'"):
        read_tuned(path)
    path.write_text('{"dpa1": {"weights": "ours"}}')
    with pytest.raises(ConfigError, match="expected weights, optimizer and start_lr"):
        read_tuned(path)


def test_the_committed_choices_are_of_registered_models():
    assert read_tuned().keys() <= MODELS.keys()


FRAMES = pd.DataFrame(
    {
        "formula": "NiO2",
        "key": ["LS", "HS", "HS"],
        "geometry": ["a", "a", "b"],
        "held": [False, True, False],
        "natoms": 3,
        "metals": [1, 1, 3],
        "energy": [0.0, 0.3, 1.0],
        "energy_model": [0.0, 0.6, 1.0],
        "force_error_model": [0.0, 0.2, 0.0],
        "virial_error_model": float("nan"),
        "magnetic_force_error_model": float("nan"),
        "moment_error_model": [0.1, 0.2, float("nan")],
        "magnetic_model": [2.0, 9.0, 0.0],
    }
)


def test_scores_count_magnetic_forces_of_free_moments_only():
    found = results.scores(FRAMES)
    assert found["gap"] == pytest.approx(300.0)
    assert found["order"] == 1.0
    assert found["energy"] == pytest.approx(100.0 / math.sqrt(3))
    assert found["energy_mae"] == pytest.approx(100.0 / 3)
    # One metal with 2 and three with 0; the held frame does not count.
    assert found["magnetic_force"] == pytest.approx(1.0)
    expected = (found["energy"] * found["force"] * 300.0) ** (1 / 3)
    assert found["score"] == pytest.approx(expected)


def test_scores_of_a_blind_model_have_no_magnetic_force():
    blind = FRAMES.assign(magnetic_model=math.nan)
    assert math.isnan(results.scores(blind)["magnetic_force"])
    assert math.isnan(results.scores(FRAMES[FRAMES["held"]])["magnetic_force"])


def result_table():
    rows = []
    for model, error in (("deepspin", 2.0), (OURS, 1.0)):
        for seed in (0, 1):
            frames = FRAMES.assign(energy_model=FRAMES["energy"] + error * (seed + 1))
            about = {
                "model": model,
                "seed": seed,
                "budget": "steps",
                "steps": 40,
                "parameters": 10,
                "seconds_per_step": 0.5,
            }
            rows += results.result_rows(frames, about)
    return pd.DataFrame(rows)


def test_results_have_a_row_for_each_subset():
    table = result_table()
    assert len(table) == 2 * 2 * 5
    subsets = table.loc[table["model"] == OURS, "subset"].unique()
    assert subsets.tolist() == [
        "all",
        "unconstrained",
        "held",
        "state: NiO2 HS",
        "state: NiO2 LS",
    ]


def test_the_table_has_mean_and_spread_and_marks_the_best():
    speeds = pd.DataFrame(
        [(OURS, "frozen", 96, 0.02)],
        columns=["model", "file", "atoms", "seconds_per_step"],
    )
    text = results.render_table(result_table(), speeds, ["deepspin"])
    # Offsets of 1 and 2 eV on three atoms: 333 and 667 meV/atom.
    row = next(line for line in text.splitlines() if line.startswith("| spin-dp | 10"))
    assert "**500.0 ± 235.7**" in row
    rival = next(line for line in text.splitlines() if line.startswith("| DeepSPIN"))
    assert "| 1000.0 ± 471.4 |" in rival
    assert "| spin-dp | frozen | 96 | 0.0200 |" in text
    assert "Not tuned: deepspin." in text


def test_the_picture_is_drawn(tmp_path):
    path = plot_accuracy(tmp_path / "accuracy.png", result_table())
    assert path.read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 1
