# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp states`` and what a user may get wrong with models."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from spin_dp.cli import main

STRUCTURE = Path(__file__).resolve().parents[2] / "examples/gpaw/LiMnO2_8.extxyz"


@pytest.fixture(scope="module")
def blind_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a frozen stock model without spin."""
    import torch
    from deepmd.pt.model.model import get_model

    section = {
        "type_map": ["Li", "Mn", "Co", "Ni", "O"],
        "descriptor": {
            "type": "se_e2_a",
            "sel": [10] * 5,
            "rcut": 4.0,
            "rcut_smth": 1.0,
            "neuron": [2, 4],
            "axis_neuron": 2,
        },
        "fitting_net": {"neuron": [4]},
    }
    path = tmp_path_factory.mktemp("blind") / "blind.pth"
    torch.jit.save(torch.jit.script(get_model(section).eval()), path)
    return path


def test_states_prints_and_writes_a_ranking(predicting_model, tmp_path, capsys):
    table = tmp_path / "states.csv"
    arguments = ["states", str(STRUCTURE), "-m", str(predicting_model)]
    assert main([*arguments, "--states", "Mn=3+HS,3+LS", "-o", str(table)]) == 0
    shown = capsys.readouterr().out
    assert "Mn3+HS[1up,1dn]" in shown
    assert "Li2Mn2O4" in shown
    states = pd.read_csv(table)
    # Two sites, up and down, HS and LS each, one of each pair under reversal.
    assert states["degeneracy"].sum() == 8
    assert states["energy"].is_monotonic_increasing
    assert set(states["charge"]) == {0.0}
    assert list(tmp_path.iterdir()) == [table]
    # Moments are numbers, one for each atom, and labels name the state to other verbs.
    moments = [float(word) for word in states["moments"].iloc[0].split()]
    assert len(moments) == 8
    assert sum(moments) == pytest.approx(states["total_moment"].iloc[0], abs=1e-3)
    lowest = states["labels"].iloc[0]
    assert f"--moments '{lowest}'" in shown
    assert main([*arguments, "--elements", "Mn", "--any-charge"]) == 0
    assert "Mn4+[2up]" in capsys.readouterr().out


def test_states_writes_what_other_verbs_read(predicting_model, tmp_path, capsys):
    import ase.io

    names = {"-o": "s.json", "--plot": "s.png", "--structures": "s.extxyz"}
    words = [word for k, v in names.items() for word in (k, str(tmp_path / v))]
    arguments = ["states", str(STRUCTURE), "-m", str(predicting_model)]
    limits = ["--states", "Mn=3+HS", "--total-moment", "0", "--max-excited", "0"]
    assert main([*arguments, *limits, *words, "--top", "1"]) == 0
    captured = capsys.readouterr()
    assert "2 assignments, 1 of them distinct" in captured.err
    assert set(names.values()) == {path.name for path in tmp_path.iterdir()}
    table = pd.read_json(tmp_path / "s.json")
    assert set(table["order"]) == {"AFM"}
    (frame,) = ase.io.read(tmp_path / "s.extxyz", ":")
    assert sorted(set(frame.arrays["spin_states"])) == ["-Mn3+HS", "Mn3+HS", "none"]
    out = tmp_path / "md"
    run = ["md", str(tmp_path / "s.extxyz"), "-m", str(predicting_model)]
    assert main([*run, "-o", str(out), "--steps", "1", "--dry-run"]) == 0


def test_states_are_searched_and_a_search_goes_on(label_model, tmp_path, capsys):
    table = tmp_path / "s.csv"
    words = ["states", str(STRUCTURE), "-m", str(label_model), "-o", str(table)]
    words += ["--search", "annealing", "--sweeps", "6", "--chains", "2"]
    assert main(words) == 0
    first = capsys.readouterr()
    assert "lowest since sweep" in first.out
    assert "flip" in first.out
    names = {"s.csv", "s.search.csv", "s.search.json"}
    assert names == {path.name for path in tmp_path.iterdir()}
    assert pd.read_csv(tmp_path / "s.search.csv")["sweep"].tolist() == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    assert main(words) == 0
    again = capsys.readouterr()
    assert "going on after sweep 6" in again.err
    assert again.out == first.out
    assert main([*words[:-2], "--chains", "3"]) == 1
    assert "is of another search" in capsys.readouterr().err
    assert main([*words, "--total-moment", "0"]) == 2
    assert main([*words[:6], "--search", "genetic"]) == 1
    assert "genetic" in capsys.readouterr().err


def test_lowest_states_are_relaxed(tmp_path, capsys):
    from spin_dp.pretrained import resolve

    words = ["states", str(STRUCTURE), "-m", str(resolve("lixmo2")[0])]
    words += ["--states", "Mn=3+HS", "--relax", "atoms", "--relax-number", "1"]
    names = {"-o": "s.csv", "--structures": "s.extxyz"}
    files = [word for k, v in names.items() for word in (k, str(tmp_path / v))]
    assert main([*words, *files, "--relax-force", "0.2"]) == 0
    assert "relaxed, lowest first" in capsys.readouterr().out
    found = pd.read_csv(tmp_path / "s.relaxed.csv")
    assert found["converged"].all()
    assert len(found) == 1
    assert (tmp_path / "s.extxyz").read_text().startswith("8\n")
    assert main([*words[:-4], "--relax", "volume"]) == 1
    assert "volume" in capsys.readouterr().err


def test_excitations_are_printed_and_written(label_model, tmp_path, capsys):
    table = tmp_path / "changes.csv"
    words = ["excitations", str(STRUCTURE), "-m", str(label_model), "-o", str(table)]
    assert main([*words, "--labels", "Mn=3+HS", "--order", "AFM"]) == 0
    shown = capsys.readouterr().out
    rows = pd.read_csv(table)
    assert set(rows["kind"]) == {"flip", "spin"}  # no Mn2+ to give an electron to
    assert "Mn3+HS → -Mn3+HS" in shown
    assert main([*words, "--labels", "Mn=3.7"]) == 1
    assert "names of spin" in capsys.readouterr().err


def test_what_the_file_holds_does_not_count(predicting_model, tmp_path, capsys):
    """The frame with its results, without them, and with absurd leftovers."""
    import ase.io

    frame = ase.io.read(STRUCTURE)
    bare = frame.copy()
    bare.calc = None
    bare.arrays.pop("initial_magmoms", None)
    strange = bare.copy()
    strange.set_initial_magnetic_moments([0, 5, 0.4, -0.4, 0, 5, 0.4, 0.4])
    shown = []
    for name, atoms in (("frame", frame), ("bare", bare), ("strange", strange)):
        path = tmp_path / f"{name}.extxyz"
        ase.io.write(path, atoms)
        assert main(["states", str(path), "-m", str(predicting_model)]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] == shown[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--elements", "Fe"], "unknown element of the structure"),
        (["--elements", "O"], "reads no moments of O"),
    ],
)
def test_states_of_wrong_elements(frozen_model, capsys, arguments, message):
    code = main(["states", str(STRUCTURE), "-m", str(frozen_model), *arguments])
    assert code == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().count("\n") == 0


@pytest.mark.parametrize("verb", ["states", "md"])
def test_a_model_without_spin_is_refused(blind_model, tmp_path, capsys, verb):
    out = tmp_path / "out"
    arguments = [verb, str(STRUCTURE), "-m", str(blind_model)]
    if verb == "md":
        arguments += ["--moments", "Mn=3.7", "--steps", "1", "-o", str(out)]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "is a model without spin" in error
    assert error.strip().count("\n") == 0
    assert not out.exists()


def test_a_file_that_is_no_model(tmp_path, capsys):
    wrong = tmp_path / "model.pth"
    wrong.write_text("nothing")
    assert main(["states", str(STRUCTURE), "-m", str(wrong)]) == 1
    assert "expected a frozen Deep Potential" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["collect"],
        ["states", str(STRUCTURE)],
        ["state"],
        ["states", str(STRUCTURE), "-m", "x.pth", "--states", "Mn"],
        ["states", str(STRUCTURE), "-m", "x.pth", "-o", "states.txt"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "Usage" in captured.err + captured.out
    assert "Traceback" not in captured.err


def test_version(capsys):
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"spin-dp {version('spin-dp')}\n"


def test_redox_is_followed(label_model, tmp_path, capsys):
    import ase.io
    from ase.build import bulk

    atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True)
    atoms.symbols[0] = "Mn"
    atoms.symbols[[4, 6]] = "Li"
    atoms.rattle(0.05, seed=3)
    atoms.write(tmp_path / "full.extxyz")
    words = ["redox", str(tmp_path / "full.extxyz"), "-m", str(label_model)]
    words += ["-o", str(tmp_path / "out"), "--shares", "1,0.5", "--arrangements", "2"]
    assert main([*words, "--states", "Ni=2+,3+LS", "--states", "Mn=3+HS,4+"]) == 0
    assert "lowest states while Li leaves" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "redox.csv")
    assert table["x"].tolist() == [1.0, 0.5, 0.5]
    assert len(ase.io.read(tmp_path / "out" / "structures.extxyz", ":")) == 3
    assert (tmp_path / "out" / "redox.png").is_file()
    assert main([*words, "--ion", "Na"]) == 1
    assert "Na" in capsys.readouterr().err
    assert main([*words[:-4], "--shares", "many"]) == 2
