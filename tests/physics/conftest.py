# SPDX-License-Identifier: LGPL-3.0-or-later
"""Displaced frames with random moments, and the model as a function of arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

N_FRAMES = 20


@dataclass(frozen=True)
class Frame:
    """A cell with moments."""

    positions: Array  # (n, 3), Å
    cell: Array  # (3, 3), Å
    types: NDArray[np.int64]  # (n,)
    moments: Array  # (n, 3), μB


@dataclass(frozen=True)
class Result:
    """What a model says of a frame."""

    energy: float
    atom_energy: Array
    force: Array
    force_mag: Array
    virial: Array
    atom_virial: Array


def random_frame(seed: int) -> Frame:
    """Return a rocksalt cell of mixed cations, displaced, strained, with noncollinear
    moments on every atom (also those whose moments the model must not read)."""
    rng = np.random.default_rng(seed)
    atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True)
    n = len(atoms)
    strain = np.eye(3) + rng.normal(0, 0.02, (3, 3))
    cell = atoms.cell.array @ strain
    positions = atoms.positions @ strain + rng.normal(0, 0.12, (n, 3))
    types = np.where(atoms.numbers == 8, 4, rng.integers(0, 4, n))
    types[0] = 1  # at least one magnetic atom
    return Frame(positions, cell, types, rng.normal(0, 1.5, (n, 3)))


@pytest.fixture(scope="session")
def frames() -> list[Frame]:
    """Return 20 random displaced frames."""
    return [random_frame(seed) for seed in range(N_FRAMES)]


@pytest.fixture(scope="session")
def evaluate() -> Callable[[torch.nn.Module, Frame], Result]:
    """Return the function (model, frame) -> Result."""
    import torch

    def run(model: torch.nn.Module, frame: Frame) -> Result:
        n = len(frame.types)
        out = model(
            torch.tensor(frame.positions).view(1, n, 3),
            torch.tensor(frame.types).view(1, n),
            torch.tensor(frame.moments).view(1, n, 3),
            torch.tensor(frame.cell).reshape(1, 9),
            do_atomic_virial=True,
        )

        def array(name: str, *shape: int) -> Array:
            return np.asarray(out[name].detach().numpy().reshape(shape))

        return Result(
            float(out["energy"].item()),
            array("atom_energy", n),
            array("force", n, 3),
            array("force_mag", n, 3),
            array("virial", 3, 3),
            array("atom_virial", n, 3, 3),
        )

    return run


@pytest.fixture(scope="session")
def rotation() -> Callable[[int], Array]:
    """Return the function seed -> proper rotation matrix."""

    def make(seed: int) -> Array:
        q, _ = np.linalg.qr(np.random.default_rng(1000 + seed).normal(size=(3, 3)))
        return np.asarray(q * np.sign(np.linalg.det(q)))

    return make


@pytest.fixture(scope="session")
def change() -> Callable[..., Frame]:
    """Return dataclasses.replace, typed for frames."""

    def apply(frame: Frame, **values: Any) -> Frame:
        return replace(frame, **values)

    return apply
