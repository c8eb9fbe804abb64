# SPDX-License-Identifier: LGPL-3.0-or-later
"""Limits of the known region, and where a run leaves it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from ase.data import atomic_masses, atomic_numbers

from spin_dp.errors import ConfigError, unknown
from spin_dp.lammps_interface.settings import positive
from spin_dp.neighbours import find_pairs, pair_name, values_of_pairs
from spin_dp.units import PS_PER_FS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spin_dp.lammps_interface.cell import Array
    from spin_dp.lammps_interface.deviation import Deviation
    from spin_dp.lammps_interface.settings import MDSettings
    from spin_dp.lammps_interface.trajectory import Snapshot

Quantity: TypeAlias = Literal[
    "numbers",
    "atoms",
    "distance",
    "force deviation",
    "magnetic force deviation",
    "temperature",
]
Zone: TypeAlias = Literal["trusted", "doubtful", "untrusted"]

SHORTEST = 1.0
"""No two atoms of an oxide come as near, Å."""
SHARE_OF_SHORTEST = 0.8
"""Limit of distances where a model tells the shortest one in its training data."""

# Where a run starts away from equilibrium, potential energy becomes heat before the
# thermostat takes it: twice its temperature and a few hundred kelvin are ordinary. The
# temperature of n atoms fluctuates by sqrt(2 / 3n) of itself.
_HOT, _HOT_DEVIATIONS, _HOT_KELVIN = 2.0, 5.0, 300.0

_UNITS = {
    "distance": "Å",
    "force deviation": "eV/Å",
    "magnetic force deviation": "eV/μB",
    "temperature": "K",
}
_STYLES = {"distance": ".2f", "temperature": ".0f"}


@dataclass(frozen=True, kw_only=True)
class Departure:
    """Where a run left the known region, and by what.

    Attributes
    ----------
    step
        Time step.
    time_fs
        Time, fs.
    quantity
        What left its limits: ``numbers`` (one is not finite), ``atoms`` (LAMMPS lost
        some), ``distance``, ``force deviation``, ``magnetic force deviation``,
        ``temperature``.
    value, limit
        What it was and may be, in Å, eV/Å, eV/μB or K; None of numbers and atoms.
    atom, symbol
        The atom, counted from 0, and its element: of the largest deviation, or the
        fastest one; None where it is not known.
    partner, partner_symbol
        The other atom of a distance.
    """

    step: int
    time_fs: float
    quantity: Quantity
    value: float | None = None
    limit: float | None = None
    atom: int | None = None
    symbol: str | None = None
    partner: int | None = None
    partner_symbol: str | None = None

    @property
    def reason(self) -> str:
        """What was exceeded, by which atom and how much; half a sentence."""
        who = _atom(self.atom, self.symbol)
        amounts = ""
        if self.value is not None and self.limit is not None:
            unit = _UNITS[self.quantity]
            style = _STYLES.get(self.quantity, ".3g")
            less = "less" if self.quantity == "distance" else "more"
            amounts = (
                f"{self.value:{style}} {unit}, {less} than {self.limit:{style}} {unit}"
            )
        match self.quantity:
            case "numbers":
                return f"position, velocity or force of {who} is no finite number"
            case "atoms":
                return "atoms fly apart, and LAMMPS lost some"
            case "distance":
                other = _atom(self.partner, self.partner_symbol)
                return f"the distance of {who} and {other} is {amounts}"
            case "temperature":
                return f"the temperature is {amounts}, and {who} is the fastest"
        kind = "magnetic forces" if "magnetic" in self.quantity else "forces"
        return f"the models' {kind} on {who} differ by {amounts}"

    @property
    def sentence(self) -> str:
        """Step, atom and reason."""
        picoseconds = self.time_fs * PS_PER_FS
        return (
            f"the run left what the model knows at step {self.step} "
            f"({picoseconds:.4g} ps): {self.reason}"
        )


def _atom(index: int | None, symbol: str | None) -> str:
    return "an atom" if index is None else f"atom {index} ({symbol})"


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Limits of the known region.

    Deviations count where several models run. A frame is *doubtful*, and worth a
    calculation by DFT, from the lower limit of one of them on; *untrusted* from the
    upper one.

    Attributes
    ----------
    force_limits
        Lower and upper limit of the largest deviation of a force, eV/Å.
    magnetic_limits
        The same of magnetic forces, eV/μB; None: they do not count. Models that
        learnt magnetic forces of converged frames only, where they are zero, differ by
        some tenths of eV/μB wherever labels are off their converged values.
    shortest
        Shortest distance of two atoms, Å; None: :data:`SHORTEST`, and in ``run_md`` at
        least 0.8 of the shortest one of each pair in the model's training data.
    distances
        Shortest distance of single pairs of elements, ``{"O-O": 1.9}``, Å.
    max_temperature
        K; None: twice that of the thermostat, five standard deviations of what it is
        to fluctuate, and 300 K; without a thermostat (nve) none.
    stop
        Whether a run that leaves the region is stopped; if not, it is said once.

    Raises
    ------
    ConfigError
        If a limit is no positive number, a lower limit is above the upper one, or a
        pair is none of two elements.
    """

    force_limits: tuple[float, float] = (0.5, 1.5)
    magnetic_limits: tuple[float, float] | None = None
    shortest: float | None = None
    distances: Mapping[str, float] = field(default_factory=dict)
    max_temperature: float | None = None
    stop: bool = True

    def __post_init__(self) -> None:
        self._set("force_limits", _band("force_limits", self.force_limits, "eV/Å"))
        if self.magnetic_limits is not None:
            band = _band("magnetic_limits", self.magnetic_limits, "eV/μB")
            self._set("magnetic_limits", band)
        for name, unit in (("shortest", "Å"), ("max_temperature", "K")):
            if getattr(self, name) is not None:
                self._set(name, positive(name, getattr(self, name), unit))
        limits = {
            _pair(name): positive(f"distances, {name}", value, "Å")
            for name, value in self.distances.items()
        }
        self._set("distances", limits)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # frozen from here on

    @property
    def limits(self) -> dict[str, Any]:
        """What counts as leaving the region, in JSON types."""
        limits = asdict(self)
        del limits["stop"]
        for name in ("force_limits", "magnetic_limits"):
            if limits[name] is not None:
                limits[name] = list(limits[name])
        return limits

    def zone(self, deviation: Deviation) -> Zone:
        """Return how far a frame with these deviations can be trusted."""
        pairs = [(deviation.force, self.force_limits)]
        if self.magnetic_limits is not None:
            pairs.append((deviation.magnetic_force, self.magnetic_limits))
        if any(not value < high for value, (_, high) in pairs):
            return "untrusted"
        if any(value >= low for value, (low, _) in pairs):
            return "doubtful"
        return "trusted"

    def highest_temperature(self, settings: MDSettings, n_atoms: int) -> float:
        """Return the limit of the temperature of a run, K; infinite for none."""
        if self.max_temperature is not None:
            return self.max_temperature
        if settings.ensemble == "nve":  # a start away from equilibrium stays warm
            return math.inf
        spread = _HOT_DEVIATIONS * math.sqrt(2.0 / (3.0 * n_atoms))
        return (_HOT + spread) * settings.highest_temperature + _HOT_KELVIN

    def departure(
        self, state: Snapshot, settings: MDSettings, deviation: Deviation | None
    ) -> Departure | None:
        """Return by what a run has left the region where it stands.

        Parameters
        ----------
        state
            Where it stands.
        settings
            The run's.
        deviation
            Of the models at this step; None if it is not known, or with one model.

        Returns
        -------
        Departure or None
            None within the limits. Of a magnetic deviation the atom is not known here.
        """
        found = (
            _not_finite(state)
            or self._near(state)
            or (self._deviating(deviation) if deviation is not None else None)
            or self._hot(state, settings)
        )
        if found is None:
            return None
        symbols = state.symbols
        names = {
            f"{'partner_' if name == 'partner' else ''}symbol": symbols[found[name]]
            for name in ("atom", "partner")
            if name in found
        }
        return Departure(step=state.step, time_fs=state.time_fs, **found, **names)

    def _near(self, state: Snapshot) -> dict[str, Any] | None:
        default = SHORTEST if self.shortest is None else self.shortest
        largest = max(default, *self.distances.values(), 0.0)
        pairs = find_pairs(state.cell, state.positions, largest)
        if not len(pairs.distances):
            return None
        limits = values_of_pairs(
            state.symbols, pairs.first, pairs.second, self.distances, default
        )
        worst = int((pairs.distances / limits).argmin())
        if pairs.distances[worst] >= limits[worst]:
            return None
        return {
            "quantity": "distance",
            "value": float(pairs.distances[worst]),
            "limit": float(limits[worst]),
            "atom": int(min(pairs.first[worst], pairs.second[worst])),
            "partner": int(max(pairs.first[worst], pairs.second[worst])),
        }

    def _deviating(self, deviation: Deviation) -> dict[str, Any] | None:
        limit = self.force_limits[1]
        if not deviation.force < limit:
            return {
                "quantity": "force deviation",
                "value": deviation.force,
                "limit": limit,
                "atom": deviation.force_atom,
            }
        if self.magnetic_limits is None:
            return None
        limit = self.magnetic_limits[1]
        if not deviation.magnetic_force < limit:
            return {
                "quantity": "magnetic force deviation",
                "value": deviation.magnetic_force,
                "limit": limit,
            }
        return None

    def _hot(self, state: Snapshot, settings: MDSettings) -> dict[str, Any] | None:
        limit = self.highest_temperature(settings, len(state.symbols))
        if state.temperature <= limit:
            return None
        masses = atomic_masses[[atomic_numbers[name] for name in state.symbols]]
        return {
            "quantity": "temperature",
            "value": state.temperature,
            "limit": limit,
            "atom": int((masses * (state.velocities**2).sum(axis=1)).argmax()),
        }


def _not_finite(state: Snapshot) -> dict[str, Any] | None:
    arrays: Sequence[Array] = (state.positions, state.velocities, state.forces)
    is_bad = np.any([~np.isfinite(one).all(axis=1) for one in arrays], axis=0)
    scalars = (state.potential_energy, state.temperature, *state.cell.ravel())
    if is_bad.any():
        return {"quantity": "numbers", "atom": int(is_bad.argmax())}
    return None if np.isfinite(scalars).all() else {"quantity": "numbers"}


def _band(name: str, limits: Sequence[float], unit: str) -> tuple[float, float]:
    try:
        low, high = limits
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{name}: expected a lower and an upper limit in {unit}, got {limits!r}"
        ) from error
    band = (positive(name, low, unit), positive(name, high, unit))
    if any(first > second for first, second in pairwise(band)):
        raise ConfigError(
            f"{name}: expected the lower limit first, got {band[0]:g} and {band[1]:g} "
            f"{unit}"
        )
    return band


def _pair(name: str) -> str:
    elements = name.split("-")
    if len(elements) != 2:
        raise ConfigError(
            f"distances: expected pairs of elements like 'O-O', got {name!r}"
        )
    for element in elements:
        if element not in atomic_numbers:
            raise unknown("element", element, atomic_numbers)
    return pair_name(*elements)
