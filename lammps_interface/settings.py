# SPDX-License-Identifier: LGPL-3.0-or-later
"""The settings of a molecular-dynamics run: defaults, units and checks in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from spin_dp.errors import ConfigError, unknown

Ensemble: TypeAlias = Literal["nve", "nvt", "npt"]
CellChange: TypeAlias = Literal["iso", "aniso", "tri"]

_MAX_SEED = 900_000_000  # limit of the LAMMPS random number generators


@dataclass(frozen=True, kw_only=True)
class MDSettings:
    """What is simulated, and how often it is written.

    Attributes
    ----------
    ensemble
        ``nve``, ``nvt`` or ``npt``.
    temperature
        Of the thermostat and of the initial velocities, K; 0 starts at rest (nve only).
    steps
        Number of time steps.
    timestep
        Time step, fs.
    pressure
        Of the barostat, bar (npt only; 0 when not given).
    cell_change
        What the barostat may change: ``iso`` the size, ``aniso`` three lengths,
        ``tri`` lengths and angles.
    thermo_every
        Steps between lines of energies and temperature.
    dump_every
        Steps between frames of the trajectory, a multiple of ``thermo_every``.
    restart_every
        Steps between restart files, from which an interrupted run goes on.
    seed
        Seed of the initial velocities.
    """

    ensemble: Ensemble = "nvt"
    temperature: float = 300.0
    steps: int = 1000
    timestep: float = 1.0
    pressure: float | None = None
    cell_change: CellChange = "tri"
    thermo_every: int = 10
    dump_every: int = 100
    restart_every: int = 1000
    seed: int = 1

    def __post_init__(self) -> None:
        _check_choice("ensemble", self.ensemble, get_args(Ensemble))
        _check_choice("cell change", self.cell_change, get_args(CellChange))
        for name in ("steps", "thermo_every", "dump_every", "restart_every", "seed"):
            _check_positive(name, getattr(self, name))
        if self.seed > _MAX_SEED:
            raise ConfigError(f"seed: expected at most {_MAX_SEED}, got {self.seed}")
        _check_positive("timestep", self.timestep, "fs")
        self._check_temperature()
        self._check_pressure()
        if self.dump_every % self.thermo_every:
            raise ConfigError(
                f"dump_every: expected a multiple of thermo_every={self.thermo_every}, "
                f"got {self.dump_every}. Frames take their energy from the thermo "
                "lines; change one of the two."
            )

    def _check_temperature(self) -> None:
        if self.ensemble == "nve" and self.temperature == 0.0:
            return
        _check_positive("temperature", self.temperature, "K")

    def _check_pressure(self) -> None:
        if self.pressure is None:
            return
        if self.ensemble != "npt":
            raise ConfigError(
                f"pressure is for the npt ensemble, got ensemble {self.ensemble!r}. "
                "Choose npt or leave the pressure out."
            )
        if not math.isfinite(self.pressure):
            raise ConfigError(
                f"pressure: expected a finite number of bar, got {self.pressure}"
            )


def _check_choice(kind: str, name: str, choices: tuple[str, ...]) -> None:
    if name not in choices:
        raise unknown(kind, name, choices)


def _check_positive(name: str, value: float, unit: str = "") -> None:
    if not (math.isfinite(value) and value > 0):
        wanted = f"a positive number of {unit}" if unit else "a positive integer"
        raise ConfigError(f"{name}: expected {wanted}, got {value}")
