# SPDX-License-Identifier: LGPL-3.0-or-later
"""A model as DFT: answers in milliseconds, for tests and benchmarks."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from spin_dp.data_tools.level import level_of_settings
from spin_dp.data_tools.readers.ase_files import read_extxyz
from spin_dp.dft.engine import FRAME, Engine
from spin_dp.errors import ConfigError, OutsideTrainingData
from spin_dp.files import file_digest, replacing
from spin_dp.spin_states.elements import carries_spin_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

    from spin_dp.data_tools.frame import Frame, Rejected
    from spin_dp.data_tools.level import Level
    from spin_dp.dft.request import Request
    from spin_dp.inference.predictor import SpinDP


@dataclass(frozen=True, kw_only=True)
class Teacher(Engine):
    """Settings of a model that stands for DFT.

    Attributes
    ----------
    model
        Model file.
    unconverged
        Share of the runs that do not converge, 0 to 1.
    flipped
        Share of the runs that end with one metal moment reversed, 0 to 1.
    seed
        Of the choice of these runs: the same runs each time, by name.
    """

    model: str
    unconverged: float = 0.0
    flipped: float = 0.0
    seed: int = 0

    name: ClassVar[str] = "teacher"
    paths: ClassVar[tuple[str, ...]] = ("model",)
    needs: ClassVar[tuple[str, ...]] = ("model",)

    def __post_init__(self) -> None:
        for key in ("unconverged", "flipped"):
            if not 0.0 <= getattr(self, key) <= 1.0:
                raise ConfigError(
                    f"teacher: {key} is a share from 0 to 1, got {getattr(self, key)}"
                )

    @property
    def settings(self) -> str:
        """Settings that a frame records; models that differ are different levels."""
        return f"teacher({_digest(self.model)})"

    def level(self, elements: Iterable[str]) -> Level:  # noqa: ARG002
        """Return the level of theory: the model."""
        return level_of_settings(self.settings)

    def check(self) -> None:
        """Make sure that there is such a model; the error says why not."""
        _open(self.model)

    def prepare(self, request: Request, folder: Path) -> None:
        """Write nothing: the model needs no input."""

    def run(
        self,
        request: Request,
        folder: Path,
        *,
        threads: int,  # noqa: ARG002
        keep: Sequence[int] = (),  # noqa: ARG002
    ) -> None:
        """Write ``frame.extxyz``."""
        from ase.calculators.singlepoint import SinglePointCalculator
        from ase.io import write

        model = _open(self.model)
        draws = self._draws(request)
        moments = self._final_moments(model, request, flip=draws[1] < self.flipped)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OutsideTrainingData)
            found = model.evaluate(request.atoms, moments)
        moments = found.moments[:, 2]
        atoms = request.atoms.copy()
        volume = atoms.get_volume()
        converged = bool(draws[0] >= self.unconverged)
        results: dict[str, object] = {
            "energy": float(found.energy),
            "magmom": float(moments.sum()),
            "magmoms": moments,
        }
        if converged:
            stress = -found.virial.ravel()[[0, 4, 8, 5, 2, 1]] / volume
            results |= {
                "free_energy": float(found.energy),
                "forces": found.forces,
                "stress": stress,
            }
        atoms.info = {
            **request.info,
            "converged": converged,
            "spin_constraint": "none",
            "settings": self.settings,
            "total_magmom": float(moments.sum()),
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        with replacing(folder / FRAME) as part:
            write(part, atoms, format="extxyz")

    def frame(self, request: Request, folder: Path) -> Frame | Rejected | None:  # noqa: ARG002
        """Return the frame in ``frame.extxyz``."""
        path = folder / FRAME
        return next(read_extxyz(path), None) if path.exists() else None

    def _draws(self, request: Request) -> tuple[float, float, int]:
        """Return two numbers in [0, 1) and an integer that belong to the run."""
        digest = hashlib.sha256(f"{self.seed} {request.name}".encode()).digest()
        words = [int.from_bytes(digest[i : i + 8], "big") for i in (0, 8, 16)]
        return words[0] / 2**64, words[1] / 2**64, words[2]

    def _final_moments(
        self, model: SpinDP, request: Request, *, flip: bool
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """Return what a start ends in: the model's moments of the state, (n,), μB."""
        guess = request.moments.copy()
        metals = [i for i, s in enumerate(request.symbols) if carries_spin_state(s)]
        if flip and metals:
            guess[metals[self._draws(request)[2] % len(metals)]] *= -1.0
        if not model.info.predicts_moments:
            return guess
        return model.predict_moments(request.atoms, guess)[:, 2]


@lru_cache(maxsize=4)
def _open(path: str) -> SpinDP:
    from spin_dp.inference.predictor import SpinDP  # torch: only where it is needed

    return SpinDP(path)


@lru_cache(maxsize=4)
def _digest(path: str) -> str:
    try:
        return file_digest(Path(path))[:8]
    except OSError:
        return "absent"
