# SPDX-License-Identifier: LGPL-3.0-or-later
"""The frozen model in stock LAMMPS against the Python API, and 1 against 2 ranks."""

from __future__ import annotations

import subprocess

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from spin_dp import SpinDP
from spin_dp.dynamics import run_md
from spin_dp.lammps_interface import MDSettings, lammps_command
from spin_dp.structures import carried_moments
from spin_dp.threads import process_environment

pytestmark = pytest.mark.lammps

FORCE = {"frozen": 1e-6, "compressed": 1e-6, "compiled": 1e-5}  # eV/Å
RELATIVE = {"frozen": 1e-8, "compressed": 1e-8, "compiled": 1e-7}  # single precision


@pytest.fixture(scope="module")
def atoms():
    made = bulk("NiO", "rocksalt", a=4.17, cubic=True).repeat((2, 2, 1))
    rng = np.random.default_rng(5)
    made.rattle(0.08, seed=5)
    metals = [i for i, s in enumerate(made.get_chemical_symbols()) if s == "Ni"]
    for i in metals:
        made.symbols[i] = rng.choice(["Mn", "Co", "Ni", "Li"])
    made.symbols[metals[0]] = "Mn"
    return made


@pytest.fixture(scope="module")
def moments(atoms):
    rng = np.random.default_rng(6)
    sizes = {"Mn": 3.8, "Co": 3.0, "Ni": 1.7, "O": 0.25, "Li": 0.0}
    values = rng.uniform(-1, 1, len(atoms)) * [
        sizes[symbol] for symbol in atoms.symbols
    ]
    nickel = np.flatnonzero(atoms.symbols == "Ni")
    values[nickel[0]] = 0.0  # a magnetic element without a moment
    return values


@pytest.fixture(scope="module", params=["frozen", "compressed", "compiled"])
def form(request):
    return request.param


@pytest.fixture(scope="module")
def path(request, form, predicting_model, make_model, tmp_path_factory):
    if form == "frozen":
        return predicting_model
    if form == "compiled":
        return request.getfixturevalue("compiled_model")[0]
    import torch

    built = make_model(
        {
            "spin": {"use_spin": ["Mn", "Co", "Ni", "O"]},
            "repulsion": {"inner": 0.8, "outer": 1.25},
        }
    )
    built.enable_compression(5, 0.01, 0.1, -1)
    target = tmp_path_factory.mktemp("compressed") / "model.pth"
    torch.jit.save(torch.jit.script(built), target)
    return target


SETTINGS = MDSettings(
    ensemble="nve", temperature=300.0, steps=20, thermo_every=5, dump_every=5
)


@pytest.fixture(scope="module")
def runs(path, atoms, moments, tmp_path_factory):
    """The same short NVE run on one and on two ranks."""
    out = tmp_path_factory.mktemp("ranks")
    return {
        ranks: ase.io.read(
            run_md(
                atoms,
                path,
                out=out / f"ranks{ranks}",
                moments=moments,
                settings=SETTINGS,
                ranks=ranks,
            ).trajectory,
            ":",
        )
        for ranks in (1, 2)
    }


def test_energy_and_forces_are_those_of_the_python_api(form, path, runs):
    potential = SpinDP(path)
    for frame in runs[1]:
        found = potential.evaluate(frame, frame.get_magnetic_moments())
        energy = frame.get_potential_energy()
        assert abs(energy - found.energy) <= RELATIVE[form] * abs(found.energy)
        assert np.abs(frame.get_forces() - found.forces).max() < FORCE[form]
        magnetic = frame.get_magnetic_moments().any(axis=1)
        np.testing.assert_allclose(
            frame.arrays["magnetic_forces"][magnetic],
            found.magnetic_forces[magnetic],
            atol=1e-5,
        )


def test_two_ranks_agree_with_one(form, runs):
    assert len(runs[1]) == len(runs[2]) == 5
    for one, two in zip(runs[1], runs[2], strict=True):
        energy = one.get_potential_energy()
        assert abs(two.get_potential_energy() - energy) <= RELATIVE[form] * abs(energy)
        assert np.abs(two.get_forces() - one.get_forces()).max() < FORCE[form]
        assert np.abs(two.positions - one.positions).max() < 0.1 * FORCE[form]


def test_labels_come_back(runs, moments):
    """As three columns, whatever their directions."""
    for frame in runs[2]:
        expected = moments[:, None] * [0.0, 0.0, 1.0]
        found = carried_moments(frame)
        assert found is not None
        np.testing.assert_allclose(found, expected, atol=1e-8)
        assert frame.get_magnetic_moments().shape == (len(moments), 3)


def test_runs_where_spin_dp_is_not_installed(runs, path, atoms, moments, tmp_path):
    """lmp alone, with a spin_dp that may not be imported in the way."""
    run_md(
        atoms,
        path,
        out=tmp_path / "md",
        moments=moments,
        settings=SETTINGS,
        dry_run=True,
    )
    trap = tmp_path / "trap" / "spin_dp"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text("raise SystemExit('spin_dp was imported')\n")
    done = subprocess.run(
        lammps_command(tmp_path / "md" / "in.lammps", ranks=1),
        cwd=tmp_path / "md",
        env={**process_environment(), "PYTHONPATH": str(trap.parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Total wall time" in done.stdout
