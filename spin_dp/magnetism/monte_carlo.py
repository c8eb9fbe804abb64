# SPDX-License-Identifier: LGPL-3.0-or-later
"""Monte Carlo of classical spins at many temperatures at once.

Heat bath and over-relaxation for vectors (Y. Miyatake et al., J. Phys. C 19, 2539
(1986); M. Creutz, Phys. Rev. D 36, 515 (1987)), heat bath for Ising spins. Spins that
do not couple are updated together, all temperatures in one array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from spin_dp.errors import ConfigError, unknown
from spin_dp.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from spin_dp.magnetism.lattice import SpinLattice

    Floats = NDArray[np.float64]

_TINY = 1e-300


@dataclass(frozen=True, kw_only=True)
class MonteCarloSettings:
    """How spins are sampled.

    Attributes
    ----------
    sweeps
        After those that reach equilibrium, at each temperature.
    equilibration
        Sweeps that do not count; each temperature starts from the one above.
    overrelaxation
        Sweeps that turn spins around their fields, after each heat-bath sweep; vectors
        only.
    blocks
        Parts of the chain whose scatter gives the errors.
    spins
        ``vector`` (Heisenberg) or ``ising``.
    seed
        Of the random numbers.

    Raises
    ------
    ConfigError
        If a number is not positive, or there are fewer sweeps than blocks.
    """

    sweeps: int = 2000
    equilibration: int = 500
    overrelaxation: int = 2
    blocks: int = 20
    spins: Literal["vector", "ising"] = "vector"
    seed: int = 1

    def __post_init__(self) -> None:
        if self.spins not in ("vector", "ising"):
            raise unknown("spins", self.spins, ("vector", "ising"))
        for name in ("sweeps", "blocks"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"{name}: expected at least 1, got {getattr(self, name)}."
                )
        if self.equilibration < 0 or self.overrelaxation < 0:
            raise ConfigError(
                "equilibration and overrelaxation: expected numbers of at least 0, got "
                f"{self.equilibration} and {self.overrelaxation}."
            )
        if self.sweeps < self.blocks:
            raise ConfigError(
                f"sweeps: expected at least as many as blocks ({self.blocks}), got "
                f"{self.sweeps}."
            )


def sample(
    lattice: SpinLattice,
    temperatures: Sequence[float],
    signs: Floats,
    settings: MonteCarloSettings | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Sample a lattice at temperatures.

    Parameters
    ----------
    lattice
        N spins.
    temperatures
        K, each above zero.
    signs
        Order that is measured, (N,): the order parameter is |sum_i s_i e_i| / N. All 1
        for the magnetisation.
    settings
        How; the defaults if None.
    progress
        Called as ``progress(sweep, sweeps)``.

    Returns
    -------
    pandas.DataFrame
        A row for each temperature, from cold to hot: ``temperature`` (K); ``energy``
        (meV a spin); ``specific_heat`` (k a spin); ``order`` (mean order parameter);
        ``susceptibility`` of the order, N (<m²> - <m>²) / kT (1/meV); ``uniform``,
        N <M²> / kT of the sum of all spins, a third of it for vectors (1/meV);
        ``binder``, 1 - <m⁴> / (3 <m²>²); each with ``..._error`` from blocks.

    Raises
    ------
    ConfigError
        If a temperature is not positive.
    """
    settings = settings or MonteCarloSettings()
    kelvin = np.sort(np.array(temperatures, dtype=np.float64))
    if not len(kelvin) or not kelvin[0] > 0.0:
        raise ConfigError(
            f"temperatures: expected positive numbers of K, got {list(temperatures)}."
        )
    chains = _Chains(lattice, kelvin, np.asarray(signs, dtype=np.float64), settings)
    total = settings.equilibration + settings.sweeps
    for sweep in range(settings.equilibration):
        chains.step()
        if progress is not None and sweep % 50 == 0:
            progress(sweep, total)
    records = np.zeros((settings.sweeps, 3, len(kelvin)))
    for sweep in range(settings.sweeps):
        chains.step()
        records[sweep] = chains.measure()
        if progress is not None and sweep % 50 == 0:
            progress(settings.equilibration + sweep, total)
    components = 1 if settings.spins == "ising" else 3
    return averages(
        records, kelvin, len(lattice), blocks=settings.blocks, components=components
    )


class _Chains:
    """Spins of all temperatures, (N, nt, d)."""

    def __init__(
        self,
        lattice: SpinLattice,
        kelvin: Floats,
        signs: Floats,
        settings: MonteCarloSettings,
    ) -> None:
        self._lattice, self._settings = lattice, settings
        self._beta = 1.0 / (BOLTZMANN_EV_PER_K * kelvin)
        self._signs = signs
        self._random = np.random.default_rng(settings.seed)
        self._is_ising = settings.spins == "ising"
        n, nt, d = len(lattice), len(kelvin), 1 if self._is_ising else 3
        # From the order: cold chains would take long to find it.
        self.spins = np.zeros((n, nt, d))
        self.spins[:, :, -1] = signs[:, None]
        self._rows = [(group, lattice.couplings[group]) for group in lattice.colours]
        self._shape = (nt, d)

    def step(self) -> None:
        """Update all spins once by heat bath, then turn them."""
        for group, rows in self._rows:
            field = self._field(rows)
            if self._is_ising:
                chance = 1.0 / (1.0 + np.exp(-2.0 * self._beta[:, None] * field))
                up = self._random.random(field.shape) < chance
                self.spins[group] = np.where(up, 1.0, -1.0)
            else:
                self.spins[group] = self._heat_bath(field)
        if self._is_ising:
            return
        for _ in range(self._settings.overrelaxation):
            for group, rows in self._rows:
                field = self._field(rows)
                square = np.einsum("ntd,ntd->nt", field, field)
                along = np.einsum("ntd,ntd->nt", field, self.spins[group])
                factor = 2.0 * along / np.maximum(square, _TINY)
                turned = factor[..., None] * field - self.spins[group]
                is_free = square < _TINY
                turned[is_free] = self.spins[group][is_free]
                self.spins[group] = turned

    def measure(self) -> Floats:
        """Return energy, square of the order parameter and of the sum, (3, nt)."""
        n = len(self._lattice)
        order = np.einsum("n,ntd->td", self._signs, self.spins) / n
        whole = self.spins.sum(axis=0) / n
        return np.array(
            [
                self._lattice.energies(self.spins),
                np.square(order).sum(axis=-1),
                np.square(whole).sum(axis=-1),
            ]
        )

    def _field(self, rows: csr_matrix) -> Floats:
        n = len(self.spins)
        flat = rows @ self.spins.reshape(n, -1)
        field: Floats = flat.reshape(-1, *self._shape)
        return field

    def _heat_bath(self, field: Floats) -> Floats:
        """Draw unit vectors from exp(β h.e), (m, nt, 3)."""
        length = np.linalg.norm(field, axis=-1)
        x = np.maximum(self._beta * length, 1e-12)
        draws = self._random.random((2, *length.shape))
        cosine = 1.0 + np.log(draws[0] + (1.0 - draws[0]) * np.exp(-2.0 * x)) / x
        cosine = np.clip(cosine, -1.0, 1.0)
        angle = 2.0 * np.pi * draws[1]
        sine = np.sqrt(1.0 - np.square(cosine))
        axis = np.divide(
            field,
            length[..., None],
            out=np.broadcast_to([0.0, 0.0, 1.0], field.shape).copy(),
            where=length[..., None] > _TINY,
        )
        # Two directions across the axis, from the coordinate that it has least of.
        least = np.eye(3)[np.abs(axis).argmin(axis=-1)]
        first = np.cross(axis, least)
        first /= np.linalg.norm(first, axis=-1, keepdims=True)
        second = np.cross(axis, first)
        found: Floats = (
            cosine[..., None] * axis
            + (sine * np.cos(angle))[..., None] * first
            + (sine * np.sin(angle))[..., None] * second
        )
        return found


def averages(
    records: Floats, kelvin: Floats, n: int, *, blocks: int, components: int
) -> pd.DataFrame:
    """Return means and errors from blocks of chains.

    Parameters
    ----------
    records
        Energy (eV), squares of the order parameter and of the mean spin after each
        sweep, (sweeps, 3, nt).
    kelvin
        Temperatures, (nt,).
    n
        Number of spins.
    blocks
        Parts of a chain whose scatter gives the errors.
    components
        Of a spin: 3 of vectors, 1 of Ising spins.

    Returns
    -------
    pandas.DataFrame
        The table of :func:`sample`.
    """
    beta = 1.0 / (BOLTZMANN_EV_PER_K * kelvin)

    def quantities(part: Floats) -> dict[str, Floats]:
        energy, square, whole = part[:, 0], part[:, 1], part[:, 2]
        order = np.sqrt(square)
        fourth = np.square(square).mean(axis=0)
        second = square.mean(axis=0)
        return {
            "energy": 1e3 * energy.mean(axis=0) / n,
            "specific_heat": np.square(beta) * energy.var(axis=0) / n,
            "order": order.mean(axis=0),
            "susceptibility": 1e-3 * n * beta * (second - order.mean(axis=0) ** 2),
            "uniform": 1e-3 * n * beta * whole.mean(axis=0) / components,
            "binder": 1.0 - fourth / (3.0 * np.square(second)),
        }

    whole = quantities(records)
    parts = [
        quantities(part) for part in np.array_split(records, blocks) if len(part) > 1
    ]
    table: dict[str, Floats] = {"temperature": kelvin}
    for name, values in whole.items():
        table[name] = values
        scatter = np.array([part[name] for part in parts])
        table[f"{name}_error"] = (
            scatter.std(axis=0, ddof=1) / np.sqrt(len(parts))
            if len(parts) > 1
            else np.full_like(values, np.nan)
        )
    return pd.DataFrame(table)
