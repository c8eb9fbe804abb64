# SPDX-License-Identifier: LGPL-3.0-or-later
"""Deviations in Python are those that ``pair_style deepspin`` writes in LAMMPS."""

from __future__ import annotations

import warnings

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from spin_dp import Ensemble
from spin_dp.dynamics import run_md
from spin_dp.lammps_interface import MDSettings, Watch

pytestmark = pytest.mark.lammps


def test_deviations_are_those_of_lammps(make_model, tmp_path):
    """Three models: dividing by n - 1 instead of n would show as 22 %."""
    import torch

    script = torch.jit.script
    paths = [tmp_path / f"{seed}.pth" for seed in (1, 2, 3)]
    for seed, path in enumerate(paths):
        torch.jit.save(script(make_model(seed=seed + 1)), path)
    atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True).repeat((2, 1, 1))
    atoms.rattle(0.08, seed=3)
    atoms.symbols[:4] = "MnOLiO"
    moments = np.where(atoms.symbols == "Ni", 1.6, 0.0) * np.where(
        np.arange(len(atoms)) % 4, -1.0, 1.0
    )
    moments[0] = 3.7
    settings = MDSettings(
        ensemble="nve",
        temperature=300.0,
        steps=1,
        thermo_every=1,
        dump_every=1,
        watch_every=1,
    )
    run = run_md(
        atoms,
        paths,
        out=tmp_path / "md",
        moments=moments,
        settings=settings,
        watch=Watch(stop=False),
    )
    file = tmp_path / "md" / "run.0.model_devi"
    names = file.read_text().splitlines()[0].lstrip("#").split()
    rows = [dict(zip(names, row, strict=False)) for row in np.loadtxt(file, ndmin=2)]
    frames = ase.io.read(run.trajectory, ":")
    assert [row["step"] for row in rows] == [0, 1]
    ensemble = Ensemble(paths)
    for row, frame in zip(rows, frames, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = ensemble.evaluate(frame, frame.get_magnetic_moments())
        for ending, deviation in (
            ("fr", found.force_deviation),
            ("fm", found.magnetic_force_deviation),
        ):
            assert deviation.max() > 0.01
            for name, value in (
                ("max", deviation.max()),
                ("min", deviation.min()),
                ("avg", deviation.mean()),
            ):
                stated = row[f"{name}_devi_{ending}"]
                np.testing.assert_allclose(
                    value, stated, rtol=1e-5, atol=2e-6, err_msg=f"{name} {ending}"
                )
