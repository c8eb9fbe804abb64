# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where moments order: from fitted constants, with finite-size scaling."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.errors import ConfigError
from spin_dp.magnetism.lattice import MeanField, SpinLattice, mean_field
from spin_dp.magnetism.monte_carlo import MonteCarloSettings, sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from spin_dp.magnetism.bonds import Bonds

    Floats = NDArray[np.float64]

log = logging.getLogger(__name__)

_LOWEST, _HIGHEST = 0.45, 1.1  # of the mean-field temperature
_POINTS = 24
_DRAWS = 200
_COMMENSURATE = 1e-6


@dataclass(frozen=True, eq=False)
class Transition:
    """An ordering temperature.

    Attributes
    ----------
    temperature, error
        Where Binder's cumulants of two sizes cross (K. Binder, Z. Phys. B 43, 119
        (1981)), the mean over neighbouring sizes, and its standard error, K; nan where
        they do not cross in the range.
    peak
        Of the specific heat of the largest size, K.
    mean_field
        What a mean field says.
    curves
        Of :func:`spin_dp.magnetism.monte_carlo.sample`, with the column ``size``.
    spin
        Of the ions, for the factor of :attr:`quantum`; None where it is not known.
    """

    temperature: float
    error: float
    peak: float
    mean_field: MeanField
    curves: pd.DataFrame
    spin: float | None = None

    @property
    def quantum(self) -> float:
        """The temperature times (S+1)/S, K.

        Constants of unit vectors hold J S² of classical spins; quantum spins have
        S (S+1) in a mean field. Fits to ferromagnets and antiferromagnets alike, it is
        an upper estimate where S is small.
        """
        if not self.spin:
            return float("nan")
        return self.temperature * (self.spin + 1.0) / self.spin


def find_transition(
    bonds: Bonds,
    *,
    sizes: Sequence[int] = (4, 6, 8),
    temperatures: Sequence[float] | None = None,
    settings: MonteCarloSettings | None = None,
    spin: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Transition:
    """Find the temperature at which fitted constants order.

    Parameters
    ----------
    bonds
        Of :attr:`spin_dp.magnetism.fit.ExchangeFit.bonds`.
    sizes
        Spins along each direction, about: each cell vector is repeated to that many
        times the cube root of the volume of a spin, and as the order asks for. Two or
        more.
    temperatures
        K; None: a mesh around what the mean field says.
    settings
        Of the sampling.
    spin
        Of the ions, S.
    progress
        Called as ``progress(done, number)`` over all sizes.

    Raises
    ------
    ConfigError
        If there are fewer than two sizes; if the constants order nothing; if the order
        fits no cell of these sizes.
    """
    if len(set(sizes)) < 2:
        raise ConfigError(f"sizes: expected two or more, got {list(sizes)}.")
    settings = settings or MonteCarloSettings()
    field = mean_field(bonds)
    if not field.temperature > 0.0:
        raise ConfigError("the constants are all zero: nothing orders.")
    kelvin = (
        field.temperature * np.linspace(_LOWEST, _HIGHEST, _POINTS)
        if temperatures is None
        else np.array(sorted(temperatures), dtype=np.float64)
    )
    shapes = list(dict.fromkeys(_shape(bonds, field, size) for size in sorted(sizes)))
    if len(shapes) < 2:
        raise ConfigError(
            f"sizes {list(sizes)}: the order, {field.wave_vector} of the reciprocal "
            "vectors, fits the same cell for all; give sizes farther apart."
        )
    tables = []
    for number, shape in enumerate(shapes):
        lattice = SpinLattice.of(bonds, shape)
        signs = _signs(field, shape)
        log.info("%s cells, %d spins", " x ".join(map(str, shape)), len(lattice))

        def show(done: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(number * total + done, len(shapes) * total)

        table = sample(lattice, kelvin.tolist(), signs, settings, progress=show)
        tables.append(table.assign(size=len(lattice)))
    curves = pd.concat(tables, ignore_index=True)
    # Half way from no order to full order: crossings below are noise.
    free = 0.0 if settings.spins == "ising" else 4.0 / 9.0
    least = 0.5 * (free + 2.0 / 3.0)
    crossings = [
        _crossing(small, large, least=least, seed=settings.seed)
        for small, large in pairwise(tables)
    ]
    known = [(t, e) for t, e in crossings if np.isfinite(t)]
    temperature = float(np.mean([t for t, _ in known])) if known else float("nan")
    error = (
        float(np.sqrt(np.sum(np.square([e for _, e in known]))) / len(known))
        if known
        else float("nan")
    )
    last = tables[-1]
    peak = float(last["temperature"].iloc[int(last["specific_heat"].argmax())])
    return Transition(temperature, error, peak, field, curves, spin)


def _shape(bonds: Bonds, field: MeanField, size: int) -> tuple[int, int, int]:
    """Return repeats that make a cell of a size, and fit the order."""
    volume = abs(np.linalg.det(bonds.cell)) / len(bonds.kinds)
    length = size * volume ** (1.0 / 3.0)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(bonds.cell), axis=0)
    repeats = []
    for height, q in zip(heights, field.wave_vector, strict=True):
        period = _period(q)
        repeats.append(max(1, round(length / height / period)) * period)
    return repeats[0], repeats[1], repeats[2]


def _period(q: float) -> int:
    """Return after how many cells a wave comes back."""
    for period in range(1, 13):
        if abs(q * period - round(q * period)) < _COMMENSURATE:
            return period
    return 1


def _signs(field: MeanField, shape: tuple[int, int, int]) -> Floats:
    """Return the weights of the order, (N,): signs of a collinear one."""
    cells = np.array(list(np.ndindex(*shape)))
    phases = np.exp(2j * np.pi * cells @ np.array(field.wave_vector))
    waves = np.real(phases[:, None] * field.amplitudes[None]).reshape(-1)
    # Of a spiral the real part: where it vanishes, either sign will do.
    return np.where(waves >= -_COMMENSURATE, 1.0, -1.0)


def _crossing(
    small: pd.DataFrame, large: pd.DataFrame, *, least: float, seed: int
) -> tuple[float, float]:
    """Return where cumulants cross, and the scatter of that within their errors.

    Nan where they do not, or cross below a value that no ordered system has.
    """
    rng = np.random.default_rng(seed)
    kelvin = small["temperature"].to_numpy()
    found = []
    for draw in range(_DRAWS + 1):
        curves = []
        for table in (small, large):
            noise = rng.normal(size=len(kelvin)) * table["binder_error"].to_numpy()
            curves.append(table["binder"].to_numpy() + (noise if draw else 0.0))
        difference = curves[1] - curves[0]  # positive where it is ordered
        place = _falls_below_zero(difference)
        if place is None:
            found.append(float("nan"))
            continue
        a, b = difference[place], difference[place + 1]
        share = a / (a - b)
        height = curves[0][place] + share * (curves[0][place + 1] - curves[0][place])
        if height < least:
            found.append(float("nan"))
            continue
        found.append(float(kelvin[place] + share * (kelvin[place + 1] - kelvin[place])))
    scatter = [kelvin for kelvin in found[1:] if np.isfinite(kelvin)]
    return found[0], float(np.std(scatter)) if scatter else float("nan")


def _falls_below_zero(difference: Floats) -> int | None:
    """Return the last place above zero before the lowest point."""
    lowest = int(difference.argmin())
    if difference[lowest] >= 0.0:
        return None
    above = np.flatnonzero(difference[:lowest] > 0.0)
    return int(above[-1]) if len(above) else None
