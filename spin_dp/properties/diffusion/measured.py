# SPDX-License-Identifier: LGPL-3.0-or-later
"""Diffusion of the ions of one run: how fast, how sure, and whether it ran long enough.

Tracer diffusivity, D* = d<|Δr|²>/dt / 6, from each ion by itself; charge diffusivity,
D_σ = d<|ΣΔr|²>/dt / 6N, from all of them together, from which conductivity follows by
the Nernst-Einstein relation, σ = N q² D_σ / (V kT); Haven ratio D*/D_σ. All with the
central 95 % of what kinisi samples (:mod:`spin_dp.properties.diffusion.slopes`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from spin_dp.drawing import COLOURS
from spin_dp.errors import ConfigError, DataError
from spin_dp.properties.diffusion.displacements import read_displacements
from spin_dp.properties.diffusion.jumps import (
    count_jumps,
    jumps_needed,
    relative_deviation,
)
from spin_dp.properties.diffusion.slopes import exponent, mean_square, slope_samples
from spin_dp.properties.result import Result, value
from spin_dp.spin_states.ions import usual_charge
from spin_dp.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from spin_dp.properties.diffusion.displacements import Displacements
    from spin_dp.properties.diffusion.slopes import MeanSquare

    Floats = NDArray[np.float64]

log = logging.getLogger(__name__)

CM2_S_OF_A2_PS = 1e-4
MS_CM_OF_E_A_PS_V = 16021.76634
"""One e/(Å ps V) in mS/cm."""

_DIMENSIONS = 3
_BOUNDS = (2.5, 97.5)  # percentiles
_BEGIN, _LATEST = 0.5, 0.5  # of the square of a hop; of the times that there are
_BALLISTIC, _CAGED = 1.4, 0.7  # powers of time
_WANTED = 0.2  # relative deviation of a diffusivity that a run should reach
_NONE_SEEN = 3.0  # jumps expected where none was seen, at most, with 95 %


@dataclass(frozen=True, kw_only=True, eq=False)
class Diffusion(Result):
    """Diffusion of the ions of one run.

    Each value is the median of its samples.

    Attributes
    ----------
    ions, element
        Number and element of the ions.
    run
        Where it was read from.
    intervals
        Lower and upper bound, 95 %, of each value that has an error, by its field.
    spread
        Standard deviation of the samples of each value, of one run with one model.
    regime
        ``diffusive``, ``short`` (an ion has not yet gone the length of a hop),
        ``subdiffusive`` (ions go back and forth) or ``ballistic``.
    notes
        What is to be said of the run; empty if it is long enough.
    states
        Mean number of sites in each state.
    directions
        Shares of the mean-square displacement along its principal axes, largest first:
        two halves in a layer.
    start
        Time from which slopes are fitted, ps.
    msd
        Mean-square displacements: ``time`` (ps), ``tracer`` and ``charge`` with
        ``tracer_error`` and ``charge_error`` (Å² per ion).
    """

    name: ClassVar[str] = "diffusion"
    overlay: ClassVar[bool] = True

    temperature: float = value("K", "temperature", digits=1)
    diffusivity: float = value("1e-6 cm²/s", "tracer diffusivity D*", digits=4)
    charge_diffusivity: float = value("1e-6 cm²/s", "charge diffusivity Dσ", digits=4)
    conductivity: float = value("mS/cm", "conductivity")
    haven_ratio: float = value("", "Haven ratio D*/Dσ")
    duration: float = value("ps", "length of the run", digits=1)
    jumps: float = value("", "jumps seen", digits=0)
    jumped: float = value("", "ions that jumped", digits=0)
    effective_jumps: float = value("", "effective jumps", digits=1)
    needed: float = value("ps", "length for a deviation of 20 %", digits=0)
    exponent: float = value("", "power of time", digits=2)
    hop: float = value("Å", "length of a hop")
    drift: float = value("Å", "drift of the framework, taken off")
    ions: int
    element: str
    run: str
    regime: str
    start: float
    msd: pd.DataFrame
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    states: Mapping[str, float] = field(default_factory=dict)
    directions: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """Return one row a value, with the bounds ``low`` and ``high`` (95 %)."""
        table = super().table()
        bounds = [self.intervals.get(name, (np.nan, np.nan)) for name in table["field"]]
        table["low"], table["high"] = np.array(bounds, dtype=float).T
        return table

    def draw(self, axes: Axes) -> None:
        """Draw mean-square displacements, and the slopes that were fitted."""
        names = {"tracer": "each ion", "charge": "all together, per ion"}
        slopes = (self.diffusivity, self.charge_diffusivity)
        for (name, words), slope, colour in zip(
            names.items(), slopes, COLOURS, strict=False
        ):
            is_there = self.msd[name].notna().to_numpy()
            times = self.msd["time"].to_numpy()[is_there]
            values = self.msd[name].to_numpy()[is_there]
            errors = self.msd[f"{name}_error"].to_numpy()[is_there]
            axes.plot(times, values, color=colour, label=f"{words}, {self.label}")
            axes.fill_between(
                times, values - errors, values + errors, color=colour, alpha=0.2, lw=0
            )
            rise = 2 * _DIMENSIONS * slope * 1e-6 / CM2_S_OF_A2_PS
            used = times >= min(self.start, _LATEST * times[-1])
            offset = float((values - rise * times)[used].mean())
            axes.plot(times[used], rise * times[used] + offset, "--", color=colour)
        axes.axhline(self.hop**2, color="#8c8c8c", lw=0.8, ls=":")
        axes.set_xlabel("time, ps")
        axes.set_ylabel(f"mean-square displacement of {self.element}, Å²")
        axes.legend(fontsize=8)

    @property
    def label(self) -> str:
        """What it is called in a legend."""
        return f"{self.temperature:.0f} K"


def measure_diffusion(
    run: str | Path | Displacements,
    element: str | None = None,
    *,
    skip_ps: float = 1.0,
    temperature: float | None = None,
    charge: float | None = None,
    hop: float | None = None,
    interval_ps: float | None = None,
    seed: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Diffusion:
    """Measure how the ions of a run diffuse.

    Parameters
    ----------
    run
        Output folder of ``spin-dp md`` or trajectory, or what
        :func:`~spin_dp.properties.diffusion.read_displacements` read of it.
    element, skip_ps, hop, interval_ps, progress
        As for :func:`~spin_dp.properties.diffusion.read_displacements`.
    temperature
        K; None: the mean of the velocities.
    charge
        Of an ion, e; None: its usual oxidation state.
    seed
        Of kinisi's samples.

    Raises
    ------
    DataError
        If no ion has left its site; as
        :func:`~spin_dp.properties.diffusion.read_displacements`.
    ConfigError
        If kinisi is not installed, the temperature is not known, or the charge.
    """
    from spin_dp.properties.diffusion.displacements import Displacements

    ways = (
        run
        if isinstance(run, Displacements)
        else read_displacements(
            run,
            element,
            skip_ps=skip_ps,
            hop=hop,
            interval_ps=interval_ps,
            progress=progress,
        )
    )
    kelvin = ways.temperature if temperature is None else temperature
    if not kelvin > 0.0:
        raise ConfigError(
            f"{ways.run}: frames have no velocities; say the temperature "
            "(temperature, --temperature)."
        )
    electrons = usual_charge(ways.element) if charge is None else charge
    if not electrons:
        raise ConfigError(
            f"charge: expected the charge of {ways.element} ions in e, got "
            f"{electrons}; say it (charge, --charge)."
        )
    jumps, jumped = count_jumps(ways.ways, ways.interval, ways.hop)
    tracer = mean_square(ways.ways, ways.interval, collective=False)
    _refuse_no_motion(ways, jumps, tracer)
    together = mean_square(ways.ways, ways.interval, collective=True)
    start = _start(tracer, ways.hop)
    power = exponent(tracer, start)
    regime = _regime(tracer, power, ways.hop)
    slopes = slope_samples(tracer, start, seed=seed)
    charge_start = min(start, _latest(together))
    charge_slopes = slope_samples(together, charge_start, seed=seed + 1)
    ions = ways.ways.shape[1]
    to_ms_cm = (
        MS_CM_OF_E_A_PS_V
        * (ions * electrons**2 / ways.volume)
        / (BOLTZMANN_EV_PER_K * kelvin)
    )
    to_unit = 1e6 * CM2_S_OF_A2_PS / (2 * _DIMENSIONS)
    samples = {
        "diffusivity": slopes * to_unit,
        "charge_diffusivity": charge_slopes * to_unit,
        "conductivity": charge_slopes * to_ms_cm / (2 * _DIMENSIONS),
        "haven_ratio": slopes / np.maximum(charge_slopes, 1e-300),
    }
    effective = ions * float(tracer.values[-1]) / ways.hop**2
    found = Diffusion(
        formula=ways.formula,
        spin_state=ways.spin_state,
        label_mode=ways.label_mode,
        model=ways.model,
        spread={name: float(np.std(one, ddof=1)) for name, one in samples.items()},
        temperature=kelvin,
        diffusivity=float(np.median(samples["diffusivity"])),
        charge_diffusivity=float(np.median(samples["charge_diffusivity"])),
        conductivity=float(np.median(samples["conductivity"])),
        haven_ratio=float(np.median(samples["haven_ratio"])),
        duration=ways.duration,
        jumps=jumps,
        jumped=jumped,
        effective_jumps=effective,
        needed=ways.duration * jumps_needed(_WANTED) / max(effective, 1e-12),
        exponent=power,
        hop=ways.hop,
        drift=ways.drift,
        ions=ions,
        element=ways.element,
        run=ways.run,
        regime=regime,
        start=start,
        msd=_curves(tracer, together),
        intervals={name: _bounds(one) for name, one in samples.items()},
        states=dict(ways.states),
        directions=_directions(ways, start),
        notes=_notes(ways, regime, effective, jumps, power),
    )
    for note in found.notes:
        log.warning("%s", note)
    return found


def _refuse_no_motion(ways: Displacements, jumps: int, tracer: MeanSquare) -> None:
    if jumps:
        return
    ions = ways.ways.shape[1]
    bound = _NONE_SEEN * ways.hop**2 / (2 * _DIMENSIONS * ions * ways.duration)
    raise DataError(
        f"{ways.run}: no {ways.element} ion left its site in {ways.duration:.3g} ps at "
        f"{ways.temperature:.0f} K; their mean-square displacement is "
        f"{tracer.values.max():.2f} Å², the square of a hop {ways.hop**2:.2f} Å². The "
        f"diffusivity is below {bound * CM2_S_OF_A2_PS:.1e} cm²/s (95 %). Run longer, "
        "hotter or with more vacancies."
    )


def _start(tracer: MeanSquare, hop: float) -> float:
    """Return the time from which slopes are fitted, ps.

    Where an ion has gone so far in the mean that vibrations count little.
    """
    far = np.flatnonzero(tracer.values >= _BEGIN * hop**2)
    latest = _latest(tracer)
    return min(float(tracer.times[far[0]]), latest) if len(far) else latest


def _latest(square: MeanSquare) -> float:
    place = np.searchsorted(square.times, _LATEST * square.times[-1])
    return float(square.times[place])


def _regime(tracer: MeanSquare, power: float, hop: float) -> str:
    if power > _BALLISTIC:
        return "ballistic"
    if tracer.values.max() < hop**2:
        return "short"
    return "subdiffusive" if power < _CAGED else "diffusive"


def _notes(
    ways: Displacements, regime: str, effective: float, jumps: int, power: float
) -> tuple[str, ...]:
    """Return what is to be said of a run."""
    name = f"{ways.run}, {ways.temperature:.0f} K"
    notes = {
        "ballistic": f"{name}: displacements grow by time to the power of {power:.2f}, "
        "as in free flight, not by diffusion; the slope is no diffusivity.",
        "short": f"{name}: the mean-square displacement stays below the square of a "
        f"hop, {ways.hop**2:.1f} Å²: too short for a diffusivity, which is a guess.",
        "subdiffusive": f"{name}: displacements grow by time to the power of "
        f"{power:.2f}: ions go back and forth, and the slope falls with time.",
    }
    found = [notes[regime]] if regime in notes else []
    deviation = relative_deviation(effective)
    if deviation > _WANTED:
        needed = ways.duration * jumps_needed(_WANTED) / effective
        found.append(
            f"{name}: {jumps} jumps, {effective:.3g} effective ones: runs like it "
            f"differ by {100 * deviation:.0f} % in D*; for {100 * _WANTED:.0f} % run "
            f"{needed:.3g} ps, or a cell so much larger."
        )
    return tuple(found)


def _bounds(samples: Floats) -> tuple[float, float]:
    low, high = np.percentile(samples, _BOUNDS)
    return float(low), float(high)


def _curves(tracer: MeanSquare, together: MeanSquare) -> pd.DataFrame:
    tables = [
        pd.DataFrame(
            {"time": one.times, name: one.values, f"{name}_error": one.errors}
        ).set_index("time")
        for name, one in (("tracer", tracer), ("charge", together))
    ]
    return tables[0].join(tables[1], how="outer").reset_index()


def _directions(ways: Displacements, start: float) -> tuple[float, ...]:
    lag = max(1, round(start / ways.interval))
    passed = (ways.ways[lag:] - ways.ways[:-lag]).reshape(-1, _DIMENSIONS)
    shares = np.linalg.eigvalsh(passed.T @ passed)[::-1]
    return tuple(float(x) for x in shares / shares.sum())
