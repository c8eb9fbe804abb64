# SPDX-License-Identifier: LGPL-3.0-or-later
"""Fast forms of frozen models, and what is asked of them in vain."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch

from spin_dp import SpinDP
from spin_dp.cli.app import main
from spin_dp.deployment import fastest
from spin_dp.errors import DataError
from spin_dp.model_file import read_model_info

GPAW = Path(__file__).parents[2] / "examples" / "gpaw"


@pytest.mark.parametrize(
    ("precision", "force_error"), [("float32", 1e-5), ("float64", 1e-8)]
)
def test_compressed_says_the_same(
    predicting_model, collected, tmp_path, capsys, precision, force_error
):
    target = tmp_path / "fast.pth"
    arguments = [str(predicting_model), "-o", str(target), "--precision", precision]
    assert main(["compress", *arguments, "--check", str(collected)]) == 0
    assert 0.0 < printed_force_error(capsys.readouterr().out) < force_error

    atoms = ase.io.read(GPAW / "LiMnO2_4.extxyz", "0")
    moments = np.array([[0.0, 3.7, 0.1, -0.1], [0.0, -2.0, 0.0, 0.3]])
    plain, fast = SpinDP(predicting_model), SpinDP(target)
    a, b = (model.evaluate_many(atoms, moments) for model in (plain, fast))
    assert np.abs(a.forces).max() > 0.01
    for name in ("energy", "forces", "magnetic_forces", "virial"):
        np.testing.assert_allclose(
            getattr(b, name), getattr(a, name), atol=3 * force_error
        )
    np.testing.assert_allclose(
        fast.predict_moments(atoms, moments[0]),
        plain.predict_moments(atoms, moments[0]),
        atol=force_error,
    )
    info, expected = read_model_info(target), read_model_info(predicting_model)
    assert info.spin_elements == expected.spin_elements
    assert info.predicts_moments


def printed_force_error(text):
    found = re.search(r"meV/atom, ([\d.e+-]+) eV/Å", text)
    assert found is not None
    return float(found[1])


def test_compiled_says_the_same(predicting_model, compiled_model):
    """Python runs the machine code; one geometry in many states, moments predicted."""
    path, said = compiled_model
    assert 0.0 < printed_force_error(said) < 1e-5
    plain, fast = SpinDP(predicting_model), SpinDP(path)
    assert replace(fast.info, path=plain.info.path, slow=True) == plain.info
    atoms = ase.io.read(GPAW / "LiMnO2_4.extxyz", "0")
    atoms.calc = None
    patterns = np.array([[0.0, 3.7, 0.1, -0.1], [0.0, -2.0, 0.0, 0.0]])
    for structure in (atoms, atoms.repeat((2, 2, 1))):
        tiled = np.tile(patterns, len(structure) // 4)
        a, b = (model.evaluate_many(structure, tiled) for model in (plain, fast))
        assert np.abs(a.forces).max() > 0.01
        np.testing.assert_allclose(b.moments, a.moments, atol=1e-5)
        for name in ("forces", "magnetic_forces", "virial"):
            np.testing.assert_allclose(getattr(b, name), getattr(a, name), atol=3e-5)
        assert a.atomic_energies is not None
        assert b.atomic_energies is not None
        np.testing.assert_allclose(b.energy, a.energy, atol=1e-6 * len(structure))
        np.testing.assert_allclose(b.atomic_energies, a.atomic_energies, atol=1e-5)
        alone = fast.energies(structure, b.moments)
        np.testing.assert_allclose(alone, b.energy, atol=1e-7 * len(structure))
        guess = tiled[0]
        np.testing.assert_allclose(
            fast.predict_moments(structure, guess),
            plain.predict_moments(structure, guess),
            atol=1e-5,
        )
    cluster = atoms.copy()
    cluster.pbc = False
    a, b = (model.evaluate(cluster, patterns[0]) for model in (plain, fast))
    np.testing.assert_allclose(b.forces, a.forces, atol=3e-5)


def test_a_compiled_model_is_not_compressed_again(compiled_model, tmp_path, capsys):
    assert (
        main(["compress", str(compiled_model[0]), "-o", str(tmp_path / "a.pth")]) == 1
    )
    assert "expected a frozen Deep Potential (.pth)" in capsys.readouterr().err


def test_file_beside_the_model(frozen_model, tmp_path):
    model = tmp_path / "run.pth"
    model.write_bytes(frozen_model.read_bytes())
    assert main(["compress", str(model)]) == 0
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        "run.compressed.pth",
        "run.pth",
    ]


def test_deploy_keeps_the_fastest(
    predicting_model, compiled_model, collected, tmp_path, monkeypatch, capsys
):
    """Both forms run in LAMMPS; what was compiled for other tests is not made again."""
    made = []

    def compile_model(model, output, precision):
        made.append((model, precision))
        shutil.copy(compiled_model[0], output)
        return output

    monkeypatch.setattr(fastest, "compile_model", compile_model)
    arguments = [str(predicting_model), "-o", str(tmp_path), "--atoms", "60"]
    assert main(["deploy", *arguments, "--check", str(collected)]) == 0
    out = capsys.readouterr().out
    assert made == [(predicting_model, "float32")]
    found = re.findall(
        r"^(\w+): ([\d.e+]+) μs per atom and step, 64 atoms$", out, re.MULTILINE
    )
    assert sorted(form for form, _ in found) == ["compiled", "compressed"]
    assert 0.0 < float(found[0][1]) <= float(found[1][1])
    name = {"compiled": "model.pt2", "compressed": "model.compressed.pth"}
    assert [f.name for f in tmp_path.iterdir()] == [name[found[0][0]]]
    assert 0.0 < printed_force_error(out) < 1e-5


def test_deploy_without_a_compiler(predicting_model, tmp_path, capfd):
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("spin-dp"), "deploy", predicting_model),
            *("-o", tmp_path, "--atoms", "8", "--precision", "float64"),
        ],
        env={**os.environ, "CXX": "no-such-compiler"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "not compiled: no C++ compiler found" in done.stdout
    assert "model.compressed.pth (compressed, float64)" in done.stdout
    assert [f.name for f in tmp_path.iterdir()] == ["model.compressed.pth"]


def test_refusals_of_deploy(frozen_model, tmp_path, capsys):
    for arguments, message in (
        (["--atoms", "0"], "atoms: expected a positive integer"),
        (["-o", str(tmp_path / "none")], "no such folder"),
        (["--check", str(tmp_path)], "expected a result of `spin-dp collect`"),
    ):
        assert main(["deploy", str(frozen_model), *arguments]) == 1
        assert message in capsys.readouterr().err


def test_model_of_another_version(frozen_model, tmp_path, capsys):
    """Its weights fit, but mean something else: energies would be silently wrong."""
    path = tmp_path / "old.pth"
    old = torch.jit.load(frozen_model)
    old.atomic_model.descriptor.core.rcut_smth = 1.5
    torch.jit.save(old, path)
    assert main(["compress", str(path)]) == 1
    assert "version of spin-dp with another descriptor" in capsys.readouterr().err
    assert [f.name for f in tmp_path.iterdir()] == ["old.pth"]


def spin_blind(folder):
    from deepmd.pt.model.model import get_model

    section = {
        "type_map": ["Mn", "O"],
        "descriptor": {
            "type": "se_e2_a",
            "sel": [5, 5],
            "rcut": 4.0,
            "rcut_smth": 1.0,
            "seed": 1,
        },
        "fitting_net": {"neuron": [4], "seed": 1},
    }
    model = get_model(section)
    model.eval()
    path = folder / "blind.pth"
    torch.jit.save(torch.jit.script(model), path)
    return path


def test_refusals_of_compile(frozen_model, tmp_path, capsys):
    for wrong in ("fast.pth", "none/fast.pt2"):
        arguments = ["compile", str(frozen_model), "-o", str(tmp_path / wrong)]
        assert main(arguments) == 1
        error = capsys.readouterr().err
        assert ("must be named FILE.pt2" in error) == (wrong == "fast.pth")
        assert ("no such folder" in error) == (wrong != "fast.pth")
    target = tmp_path / "fast.pt2"
    done = subprocess.run(
        [
            Path(sys.executable).with_name("spin-dp"),
            "compile",
            frozen_model,
            "-o",
            target,
        ],
        env={**os.environ, "CXX": "no-such-compiler"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "no C++ compiler found" in done.stderr
    other = tmp_path / "other.pt2"
    other.write_text("not a package")
    with pytest.raises(DataError, match="expected a compiled Deep Potential"):
        SpinDP(other)
    assert [f.name for f in tmp_path.iterdir()] == ["other.pt2"]


def test_refusals(frozen_model, tmp_path, capsys):
    compressed, text = tmp_path / "fast.pth", tmp_path / "text.pth"
    assert main(["compress", str(frozen_model), "-o", str(compressed)]) == 0
    before = compressed.read_bytes()
    text.write_text("not a model")
    for model, message in (
        (compressed, "compressed already"),
        (text, "expected a frozen Deep Potential"),
        (tmp_path / "none.pth", "no such model file"),
        (spin_blind(tmp_path), "expected a model of type 'spin_dp'"),
    ):
        assert main(["compress", str(model), "-o", str(compressed)]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    nowhere = tmp_path / "none" / "fast.pth"
    assert main(["compress", str(frozen_model), "-o", str(nowhere)]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert compressed.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3
