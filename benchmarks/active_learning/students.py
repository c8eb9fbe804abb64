# SPDX-License-Identifier: LGPL-3.0-or-later
"""Students: small ensembles trained on some labels, what they doubt, how they err."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import ase.io
import numpy as np

from benchmarks.active_learning.forked import train_forked
from benchmarks.active_learning.teacher import MAGNETIC
from spin_dp.data_tools import Rules, collect
from spin_dp.files import replacing
from spin_dp.inference.engines import Geometries
from spin_dp.inference.potential import Potential
from spin_dp.training.folder import make_training_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.inference.engines import Predicted
    from spin_dp.training import TrainingSettings

    Floats = NDArray[np.float64]

METALS = ("Mn", "Co", "Ni")


def train_ensemble(
    labels: Sequence[Atoms],
    folder: Path,
    settings: TrainingSettings,
    *,
    models: int,
    seed: int,
    jobs: int,
) -> list[Path]:
    """Train models on frames with labels; go on where it was stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "frames.extxyz") as part:
        ase.io.write(part, list(labels), format="extxyz")
    data = folder / "data"
    collect([folder / "frames.extxyz"], data, rules=Rules(max_force=1000.0))
    inputs = [
        make_training_folder(
            data,
            folder / f"student{k}",
            settings=replace(settings, seed=100 * seed + k + 1),
            steps=settings.steps,
            magnetic=MAGNETIC,
            force=True,
        ).input_json
        for k in range(models)
    ]
    return train_forked(inputs, jobs=jobs)


def deviations(
    models: Sequence[Path], frames: Sequence[Atoms]
) -> tuple[Floats, Floats]:
    """Return the largest deviation of forces and magnetic forces of frames, (nf,) each.

    As in LAMMPS: of each atom the root mean square over the models of the distance
    from their mean; then the largest of the atoms. eV/Å and eV/μB.
    """
    forces, magnetic = np.zeros(len(frames)), np.zeros(len(frames))
    opened = [Potential(model) for model in models]
    for rows, symbols, geometries, moments in batches(frames, calculated=False):
        found = [p.predict(symbols, geometries, moments) for p in opened]
        forces[rows] = largest_spread([f.forces for f in found])
        magnetic[rows] = largest_spread([_magnetic(f) for f in found])
    return forces, magnetic


def errors(models: Sequence[Path], frames: Sequence[Atoms]) -> list[dict[str, float]]:
    """Return the errors of each model on frames that the teacher labelled.

    Energies are compared after the mean error of each composition is taken off, which
    no choice of frames is to blame for.
    """
    rows = []
    for model in models:
        potential = Potential(model)
        squares: dict[str, list[Floats]] = defaultdict(list)
        for places, symbols, geometries, moments in batches(frames, calculated=True):
            found = potential.predict(symbols, geometries, moments)
            here = [frames[i] for i in places]
            energy = found.energies - [a.get_potential_energy() for a in here]
            squares["energy"].append(((energy - energy.mean()) / len(symbols)) ** 2)
            force = found.forces - np.stack([a.get_forces() for a in here])
            squares["force"].append((force**2).mean(axis=(1, 2)))
            wanted = np.stack([a.arrays["magnetic_forces"] for a in here])
            metals = [symbol in METALS for symbol in symbols]
            apart = (_magnetic(found) - wanted)[:, metals]
            squares["magnetic"].append((apart**2).sum(axis=-1).mean(axis=-1))
        rows.append(
            {
                name: 1000.0 * float(np.sqrt(np.concatenate(parts).mean()))
                for name, parts in squares.items()
            }
        )
    return rows


def batches(
    frames: Sequence[Atoms], *, calculated: bool
) -> Iterator[tuple[list[int], list[str], Geometries, Floats]]:
    """Yield frames with the same atoms together, with calculated moments or labels."""
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, atoms in enumerate(frames):
        alike[tuple(atoms.get_chemical_symbols())].append(number)
    for symbols, places in alike.items():
        here = [frames[i] for i in places]
        geometries = Geometries(
            np.stack([a.positions for a in here]),
            np.stack([a.cell.array for a in here]),
        )
        moments = np.zeros((len(here), len(symbols), 3))
        moments[..., 2] = [
            a.get_magnetic_moments() if calculated else a.get_initial_magnetic_moments()
            for a in here
        ]
        yield places, list(symbols), geometries, moments


def _magnetic(found: Predicted) -> Floats:
    assert found.magnetic_forces is not None  # students read moments
    return found.magnetic_forces


def largest_spread(parts: Sequence[Floats]) -> Floats:
    """Return the largest deviation of an atom in each frame, (nf,), of (nf, n, 3)."""
    values = np.stack(parts)  # (models, nf, n, 3)
    apart = values - values.mean(axis=0)
    found: Floats = np.sqrt((apart**2).sum(axis=-1).mean(axis=0)).max(axis=-1)
    return found
