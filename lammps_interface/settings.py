# SPDX-License-Identifier: LGPL-3.0-or-later
"""The settings of a molecular-dynamics run: defaults, units and checks in one place."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from spin_dp.errors import ConfigError, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

Ensemble: TypeAlias = Literal["nve", "nvt", "npt"]
CellChange: TypeAlias = Literal["iso", "aniso", "tri"]
Relax: TypeAlias = Literal["no", "atoms", "cell"]

STRAINS = ("xx", "yy", "zz", "yz", "xz", "xy")
"""Components of a strain in Voigt's order."""

_COUNTS = ("thermo_every", "dump_every", "restart_every", "watch_every", "seed")
MAX_SEED = 900_000_000
"""Limit of the LAMMPS random number generators."""
_MOST_STRAIN = 0.5


@dataclass(frozen=True, kw_only=True)
class MDSettings:
    """What is simulated, and how often it is written.

    Attributes
    ----------
    ensemble
        ``nve``, ``nvt`` or ``npt``.
    temperature
        Of the thermostat and of the initial velocities, K; 0 starts at rest (nve only).
    final_temperature
        Of the thermostat at the end, K, towards which it goes evenly; None: it stays
        (not in nve).
    steps
        Number of time steps; may be 0 with ``relax``.
    timestep
        Time step, fs.
    pressure
        Of the barostat and of a relaxed cell, bar (npt or relax="cell"; 0 when not
        given).
    cell_change
        What the barostat may change: ``iso`` the size, ``aniso`` three lengths,
        ``tri`` lengths and angles; the same of a relaxation.
    relax
        What is relaxed before the first step, at the moments of the start: ``no``,
        ``atoms``, or ``cell``, which is atoms and cell (what ``cell_change`` allows, at
        ``pressure``).
    relax_force
        Largest component of a force where a relaxation ends, eV/Å.
    strain
        What the cell is strained by at the end of the run, towards which it goes
        evenly: components ``{"zz": 0.02}`` of a symmetric tensor in the structure's
        frame, shears as half of the change of the angle (nve and nvt only). The cell
        before is that of the structure.
    thermo_every
        Steps between lines of energies and temperature.
    dump_every
        Steps between frames of the trajectory, a multiple of ``thermo_every``.
    restart_every
        Steps between restart files, from which an interrupted run goes on.
    watch_every
        Steps between checks of the limits of the known region, and of model
        deviations.
    seed
        Seed of the initial velocities.
    """

    ensemble: Ensemble = "nvt"
    temperature: float = 300.0
    final_temperature: float | None = None
    steps: int = 1000
    timestep: float = 1.0
    pressure: float | None = None
    cell_change: CellChange = "tri"
    relax: Relax = "no"
    relax_force: float = 0.01
    strain: Mapping[str, float] | None = None
    thermo_every: int = 10
    dump_every: int = 100
    restart_every: int = 1000
    watch_every: int = 10
    seed: int = 1

    def __post_init__(self) -> None:
        _check_choice("ensemble", self.ensemble, get_args(Ensemble))
        _check_choice("cell change", self.cell_change, get_args(CellChange))
        _check_choice("relaxation", self.relax, get_args(Relax))
        for name in _COUNTS:
            # As built-in numbers: the settings go into a JSON file.
            self._set(name, positive_integer(name, getattr(self, name)))
        if self.relax == "no" or self.steps != 0:
            self._set("steps", positive_integer("steps", self.steps))
        self._set("relax_force", positive("relax_force", self.relax_force, "eV/Å"))
        self._check_strain()
        if self.seed > MAX_SEED:
            raise ConfigError(f"seed: expected at most {MAX_SEED}, got {self.seed}")
        self._set("timestep", positive("timestep", self.timestep, "fs"))
        at_rest = self.ensemble == "nve" and _number(self.temperature) == 0.0
        kelvin = 0.0 if at_rest else positive("temperature", self.temperature, "K")
        self._set("temperature", kelvin)
        if self.final_temperature is not None:
            if self.ensemble == "nve":
                raise ConfigError(
                    "final_temperature is for a thermostat, got ensemble nve. Choose "
                    "nvt or npt, or leave it out."
                )
            final = positive("final_temperature", self.final_temperature, "K")
            self._set("final_temperature", final)
        self._check_pressure()
        if self.dump_every % self.thermo_every:
            raise ConfigError(
                f"dump_every: expected a multiple of thermo_every={self.thermo_every}, "
                f"got {self.dump_every}. Frames take their energy from the thermo "
                "lines; change one of the two."
            )

    def temperature_at(self, step: int) -> float:
        """Return what the thermostat aims at, K."""
        if self.final_temperature is None:
            return self.temperature
        change = self.final_temperature - self.temperature
        return self.temperature + change * step / self.steps

    @property
    def highest_temperature(self) -> float:
        """The larger of the first and the last temperature, K."""
        return max(self.temperature, self.final_temperature or 0.0)

    @property
    def span(self) -> str:
        """What a ``run`` command needs to know of a ramp over all segments."""
        is_ramp = self.final_temperature is not None or self.strain is not None
        return f" start 0 stop {self.steps}" if is_ramp else ""

    @property
    def cell_changes(self) -> bool:
        """Whether the cell changes during the run."""
        return self.ensemble == "npt" or self.strain is not None

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # frozen from here on

    def _check_strain(self) -> None:
        if self.strain is None:
            return
        for name, value in self.strain.items():
            if name not in STRAINS:
                raise unknown("component of the strain", name, STRAINS)
            if not abs(_number(value)) <= _MOST_STRAIN:
                raise ConfigError(
                    f"strain, {name}: expected a number from -{_MOST_STRAIN:g} to "
                    f"{_MOST_STRAIN:g} (0.02 is 2 %), got {value!r}"
                )
        if self.ensemble == "npt":
            raise ConfigError(
                "strain is for a cell without barostat, got ensemble npt. Choose nvt "
                "or nve, or leave it out."
            )
        if self.relax == "cell" or self.steps == 0:
            raise ConfigError(
                "strain is counted from the structure's own cell and reached in the "
                "run: relax the cell in a run of its own, and strain what it leaves."
            )
        self._set("strain", {name: float(x) for name, x in self.strain.items()})

    def _check_pressure(self) -> None:
        if self.pressure is None:
            return
        if self.ensemble != "npt" and self.relax != "cell":
            raise ConfigError(
                f"pressure is for the npt ensemble or a relaxed cell, got ensemble "
                f"{self.ensemble!r}. Choose one or leave the pressure out."
            )
        bar = _number(self.pressure)
        if not math.isfinite(bar):
            raise ConfigError(
                f"pressure: expected a finite number of bar, got {self.pressure!r}"
            )
        self._set("pressure", bar)


def _check_choice(kind: str, name: object, choices: tuple[str, ...]) -> None:
    if name not in choices:
        raise unknown(kind, str(name), choices)


def positive_integer(name: str, value: object) -> int:
    """Return a count as an integer; ConfigError if it is none, or not positive."""
    try:
        if isinstance(value, bool):
            raise TypeError
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if count < 1:
        raise ConfigError(f"{name}: expected a positive integer, got {value!r}")
    return count


def _number(value: object) -> float:
    """Return a number as float, NaN if it is none."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return float(value) if is_number else math.nan  # type: ignore[arg-type]


def positive(name: str, value: object, unit: str) -> float:
    """Return a positive finite number as float; ConfigError if it is none."""
    number = _number(value)
    if not (math.isfinite(number) and number > 0.0):
        raise ConfigError(
            f"{name}: expected a positive number of {unit}, got {value!r}"
        )
    return number
