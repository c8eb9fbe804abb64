# SPDX-License-Identifier: LGPL-3.0-or-later
"""Activation energies from runs at several temperatures.

ln D = ln D₀ - E/kT is fitted by weighted least squares, each point with the deviation
of ln D. The closed form is exact where these are normal; kinisi's own fit bounds both
parameters to half of the best ones, which is narrow for D₀. Where points lie off the
line by more than their errors, errors of the fit grow as much (R. T. Birge, Phys. Rev.
40, 207 (1932)).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from math import exp, log, sqrt
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import numpy as np
import pandas as pd
from ase.formula import Formula

from spin_dp.drawing import COLOURS
from spin_dp.errors import ConfigError, unknown
from spin_dp.properties.result import Result, value
from spin_dp.spin_states.key import is_key, parse_key
from spin_dp.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from spin_dp.properties.diffusion.measured import Diffusion

Quantity: TypeAlias = Literal["diffusivity", "charge_diffusivity"]
"""Of each ion by itself; of all together, as conductivity times temperature."""

logger = logging.getLogger(__name__)

ROOM_K = 300.0
_APART = 1.05  # ratio of temperatures that count as different
_MISFIT = 2.0
_TWO_SIDED = 1.96
_FAR = 2.0  # inverse temperature of the extrapolation over that of the coldest run


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrhenius(Result):
    """An Arrhenius fit.

    Attributes
    ----------
    quantity
        What was fitted, see :data:`Quantity`.
    points
        Of the runs: ``temperature`` (K), ``value``, ``low``, ``high`` (1e-6 cm²/s) and
        ``regime``.
    intervals
        Lower and upper bound, 95 %, of each value by its field.
    spread
        Standard errors of the fit; of the extrapolated value that of its logarithm
        times itself.
    element
        Of the ions.
    notes
        What is to be said of the fit.
    """

    name: ClassVar[str] = "arrhenius"
    overlay: ClassVar[bool] = True

    activation_energy: float = value("eV", "activation energy")
    prefactor: float = value("cm²/s", "prefactor D₀", digits=6)
    extrapolated: float = value("1e-12 cm²/s", "at 300 K", digits=4)
    misfit: float = value("", "χ² per degree of freedom", digits=2)
    runs: float = value("", "runs", digits=0)
    quantity: str
    element: str
    points: pd.DataFrame
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """Return one row a value, with the bounds ``low`` and ``high`` (95 %)."""
        table = super().table()
        bounds = [self.intervals.get(name, (np.nan, np.nan)) for name in table["field"]]
        table["low"], table["high"] = np.array(bounds, dtype=float).T
        return table

    def draw(self, axes: Axes) -> None:
        """Draw the points, the line, and where it goes at 300 K."""
        inverse = 1000.0 / self.points["temperature"].to_numpy()
        values = 1e-6 * self.points["value"].to_numpy()
        errors = np.abs(1e-6 * self.points[["low", "high"]].to_numpy().T - values)
        axes.errorbar(inverse, values, errors, fmt="o", color=COLOURS[0], capsize=3)
        cold = np.linspace(inverse.min(), 1000.0 / ROOM_K, 50)
        line = self.prefactor * np.exp(
            -self.activation_energy * cold / (1000.0 * BOLTZMANN_EV_PER_K)
        )
        axes.plot(cold, line, "--", color=COLOURS[0], label=self.label)
        low, high = self.intervals["extrapolated"]
        axes.errorbar(
            [1000.0 / ROOM_K],
            [1e-12 * self.extrapolated],
            [
                [1e-12 * (self.extrapolated - low)],
                [1e-12 * (high - self.extrapolated)],
            ],
            fmt="s",
            color=COLOURS[1],
            capsize=3,
            label=f"{ROOM_K:.0f} K, 95 %",
        )
        axes.set_yscale("log")
        axes.set_xlabel("1000 K / T")
        axes.set_ylabel(f"diffusivity of {self.element}, cm²/s")
        axes.legend(fontsize=8)

    @property
    def label(self) -> str:
        """What it is called in a legend."""
        low, high = self.intervals["activation_energy"]
        return f"{self.activation_energy:.3f} eV ({low:.3f} to {high:.3f})"


def fit_arrhenius(
    runs: Sequence[Diffusion], quantity: Quantity = "diffusivity"
) -> Arrhenius:
    """Fit an activation energy to runs at several temperatures.

    Parameters
    ----------
    runs
        Of one structure, at two temperatures or more; several at one are welcome.
    quantity
        See :data:`Quantity`.

    Raises
    ------
    ConfigError
        If the runs are of different structures, states or ways of labels, or at one
        temperature only.
    """
    if quantity not in ("diffusivity", "charge_diffusivity"):
        raise unknown("quantity", quantity, ("diffusivity", "charge_diffusivity"))
    kelvin = np.array([run.temperature for run in runs])
    if len(runs) < 2 or kelvin.max() < _APART * kelvin.min():
        given = ", ".join(f"{one:.0f} K" for one in kelvin) or "none"
        raise ConfigError(
            "Arrhenius: expected runs at two temperatures or more, at least 5 % apart, "
            f"got {given}."
        )
    _refuse_different(runs)
    medians = np.array([getattr(run, quantity) for run in runs])
    bounds = np.array([run.intervals[quantity] for run in runs])
    if not (medians > 0.0).all():
        raise ConfigError("Arrhenius: expected diffusivities above 0.")
    # Medians and bounds of a logarithm are logarithms of medians and bounds.
    upper = np.log(bounds[:, 1] / medians)
    lower = np.log(medians / np.maximum(bounds[:, 0], 1e-3 * medians))
    deviations = np.maximum((upper + lower) / (2.0 * _TWO_SIDED), 1e-6)
    x = -1.0 / (BOLTZMANN_EV_PER_K * kelvin)
    parameters, covariance = np.polyfit(
        x, np.log(medians), 1, w=1.0 / deviations, cov="unscaled"
    )
    freedom = len(runs) - 2
    rests = (np.log(medians) - np.polyval(parameters, x)) / deviations
    misfit = float(rests @ rests) / freedom if freedom else float("nan")
    if freedom:
        covariance = covariance * max(1.0, misfit)
    energy, intercept = (float(one) for one in parameters)
    at_room = np.array([-1.0 / (BOLTZMANN_EV_PER_K * ROOM_K), 1.0])
    errors = {
        "activation_energy": sqrt(covariance[0, 0]),
        "prefactor": sqrt(covariance[1, 1]),
        "extrapolated": sqrt(float(at_room @ covariance @ at_room)),
    }
    logs = {"prefactor": intercept + log(1e-6), "extrapolated": 0.0}
    logs["extrapolated"] = float(at_room @ parameters) + log(1e6)
    found = {name: exp(one) for name, one in logs.items()}
    half = {name: _TWO_SIDED * error for name, error in errors.items()}
    intervals = {
        name: (found[name] * exp(-half[name]), found[name] * exp(half[name]))
        for name in logs
    }
    width = half["activation_energy"]
    intervals["activation_energy"] = (energy - width, energy + width)
    first = runs[0]
    fit = Arrhenius(
        formula=first.formula,
        spin_state=first.spin_state,
        label_mode=first.label_mode,
        model=first.model,
        spread={
            "activation_energy": errors["activation_energy"],
            **{name: found[name] * errors[name] for name in found},
        },
        activation_energy=energy,
        prefactor=found["prefactor"],
        extrapolated=found["extrapolated"],
        misfit=misfit,
        runs=len(runs),
        quantity=quantity,
        element=first.element,
        points=_points(runs, quantity),
        intervals=intervals,
        notes=_notes(runs, misfit, float(kelvin.min())),
    )
    for note in fit.notes:
        logger.warning("%s", note)
    return fit


def _refuse_different(runs: Sequence[Diffusion]) -> None:
    """Refuse runs whose diffusivities are not of one thing."""
    first = runs[0]
    for run in runs[1:]:
        for what, ours, theirs in (
            ("formula", _reduced(first.formula), _reduced(run.formula)),
            ("diffusing element", first.element, run.element),
            ("labels", first.label_mode, run.label_mode),
            ("model", first.model, run.model),
            ("spin states", _shares(first), _shares(run)),
        ):
            if ours != theirs:
                raise ConfigError(
                    f"Arrhenius: expected runs of one structure in one state, but the "
                    f"{what} of {first.run} is {ours}, that of {run.run} {theirs}. Fit "
                    "them one by one."
                )


def _reduced(formula: str) -> str:
    return str(Formula(formula).reduce()[0].format("metal"))


def _shares(run: Diffusion) -> str:
    """Return the shares of states in the first frame; of labels that move none."""
    if run.label_mode == "monte-carlo" or not is_key(run.spin_state):
        return ""
    sites, _ = parse_key(run.spin_state)
    names = [name for name, _ in sites]
    shares = {name: names.count(name) / len(names) for name in sorted(set(names))}
    return ", ".join(f"{100 * share:.0f} % {name}" for name, share in shares.items())


def _points(runs: Sequence[Diffusion], quantity: str) -> pd.DataFrame:
    rows = [
        {
            "temperature": run.temperature,
            "value": getattr(run, quantity),
            "low": run.intervals[quantity][0],
            "high": run.intervals[quantity][1],
            "jumps": run.jumps,
            "regime": run.regime,
        }
        for run in runs
    ]
    return pd.DataFrame(rows).sort_values("temperature", ignore_index=True)


def _notes(runs: Sequence[Diffusion], misfit: float, coldest: float) -> tuple[str, ...]:
    notes = []
    if len(runs) == 2:
        notes.append(
            "Arrhenius: two runs make a line that nothing tests; add a temperature."
        )
    if misfit > _MISFIT:
        notes.append(
            f"Arrhenius: runs lie off the line by {sqrt(misfit):.1f} times their "
            "errors, which were made larger by as much: the mechanism may change, or "
            "runs are short."
        )
    if coldest > _FAR * ROOM_K:
        notes.append(
            f"Arrhenius: {ROOM_K:.0f} K is far from the coldest run, {coldest:.0f} K; "
            "the interval holds if the mechanism stays the same."
        )
    others = sorted({run.regime for run in runs} - {"diffusive"})
    if others:
        notes.append(f"Arrhenius: some runs are {' and '.join(others)}, not diffusive.")
    return tuple(notes)
