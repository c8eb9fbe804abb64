# SPDX-License-Identifier: LGPL-3.0-or-later
"""The teacher: a model of the shipped frames, and the MD that it drives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pandas as pd
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from spin_dp import SpinDP
from spin_dp.campaign.screening import shortest_contact
from spin_dp.data_tools import Rules, collect
from spin_dp.data_tools.collection.collected import open_collected
from spin_dp.dynamics import MDSettings, run_md
from spin_dp.training import train
from spin_dp.training.folder import make_training_folder

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.active_learning.plan import Plan

LEVEL = "teacher"
MAGNETIC = ("Mn", "Co", "Ni", "O")
_SHORTEST = 0.6  # of the covalent distance; a run ends there
_HOT_SEED = 1000


def collect_examples(examples: Path, out: Path) -> None:
    """Collect all shipped frames."""
    sources = sorted(examples.glob("gpaw*"))
    collect(sources, out / "data", rules=Rules(stationary_moments=True))


def train_teacher(out: Path, plan: Plan) -> Path:
    """Train a model on all shipped frames; return it."""
    folder = make_training_folder(
        out / "data", out / "teacher", settings=plan.teacher, force=True
    )
    return train(folder.input_json)


def starts(out: Path, plan: Plan) -> dict[str, Atoms]:
    """Return frames to start MD from, with the moments of DFT, by name."""
    manifest = open_collected(out / "data").kept
    found: dict[str, Atoms] = {}
    for system in plan.systems:
        frames = manifest[manifest["source"].str.endswith(f"/{system}.extxyz")]
        sizes = frames.groupby("key").size().reset_index(name="frames")
        sizes = sizes[~sizes["key"].str.contains("NM")]
        sizes = sizes.sort_values(["frames", "key"], ascending=[False, True])
        for number, key in enumerate(sizes["key"].head(plan.states)):
            first = frames[frames["key"] == key].iloc[0]
            atoms = ase.io.read(first["source"], index=int(first["step"]) - 1)
            assert isinstance(atoms, Atoms)
            found[f"{system}-{number}"] = labelled(atoms, atoms.get_magnetic_moments())
    return found


def labelled(atoms: Atoms, moments: np.ndarray) -> Atoms:
    """Return bare atoms with labels, of elements whose moments the teacher reads."""
    moments = np.where(np.isin(atoms.get_chemical_symbols(), MAGNETIC), moments, 0.0)
    bare = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)
    bare.set_initial_magnetic_moments(moments)
    return bare


def run_all_md(model: Path, out: Path, plan: Plan, *, jobs: int) -> None:
    """Run the teacher's MD: the pool's runs, and hot ones of other seeds to test on."""
    runs = [
        (f"{name}-{kelvin:.0f}K", atoms, kelvin, seed)
        for seed, (name, atoms) in enumerate(starts(out, plan).items(), start=1)
        for kelvin in plan.pool_temperatures
    ]
    runs += [
        (f"test-{name}", atoms, plan.test_temperature, _HOT_SEED + seed)
        for seed, (name, atoms) in enumerate(starts(out, plan).items(), start=1)
    ]

    def one(run: tuple[str, Atoms, float, int]) -> None:
        name, atoms, kelvin, seed = run
        settings = MDSettings(
            temperature=kelvin,
            steps=plan.steps,
            timestep=plan.timestep,
            thermo_every=plan.every,
            dump_every=plan.every,
            restart_every=plan.steps,
            seed=seed,
        )
        run_md(
            atoms,
            model,
            out=out / "md" / name,
            # Given, as moments that are all zero do not count as carried labels.
            moments=atoms.get_initial_magnetic_moments(),
            settings=settings,
            predict=False,
        )

    with ThreadPoolExecutor(jobs) as threads:
        for _ in threads.map(one, runs):
            pass


def read_runs(out: Path, plan: Plan) -> tuple[pd.DataFrame, list[Atoms]]:
    """Return rattled frames and those of all runs: one row and one label for each.

    A run is read up to the first frame with atoms too near each other: the teacher,
    too, has limits.
    """
    rows: list[dict[str, object]] = []
    frames: list[Atoms] = []
    for seed, (name, atoms) in enumerate(starts(out, plan).items()):
        rng = np.random.default_rng(seed)
        for step in range(plan.rattled):
            moved = atoms.copy()
            moved.positions += rng.normal(0.0, plan.amplitude, (len(atoms), 3))
            rows.append({"run": f"{name}-rattled", "step": step * plan.steps})
            frames.append(moved)
    for folder in sorted((out / "md").iterdir()):
        for atoms in ase.io.iread(folder / "trajectory.extxyz"):
            if shortest_contact(atoms) < _SHORTEST:
                break
            if atoms.info["step"] == 0:  # of every temperature the same
                continue
            rows.append({"run": folder.name, "step": int(atoms.info["step"])})
            moments = np.asarray(atoms.get_magnetic_moments())
            frames.append(
                labelled(atoms, moments[:, 2] if moments.ndim > 1 else moments)
            )
    return pd.DataFrame(rows), frames


def label(model: Path, frames: list[Atoms]) -> list[Atoms]:
    """Return what the teacher says of frames: converged moments, energy, forces."""
    teacher = SpinDP(model)
    found = []
    for atoms in frames:
        guess = atoms.get_initial_magnetic_moments()
        moments = teacher.predict_moments(atoms, guess)
        result = teacher.evaluate(atoms, moments)
        answer = atoms.copy()
        answer.set_array("magnetic_forces", result.magnetic_forces)
        answer.info["settings"] = LEVEL
        answer.calc = SinglePointCalculator(
            answer,
            energy=float(result.energy),
            forces=result.forces,
            stress=-_voigt(result.virial) / atoms.get_volume(),
            magmoms=moments[:, 2],
        )
        found.append(answer)
    return found


def _voigt(tensor: np.ndarray) -> np.ndarray:
    return tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
