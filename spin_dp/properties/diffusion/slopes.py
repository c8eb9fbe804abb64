# SPDX-License-Identifier: LGPL-3.0-or-later
"""Mean-square displacements and their slopes with errors, by kinisi.

kinisi models the mean-square displacements at different times as correlated, as those
of free particles are, and samples the straight lines that go with them (A. R. McCluskey
et al., J. Chem. Theory Comput. 21, 79 (2025), doi:10.1021/acs.jctc.4c01249). Two things
are done before, which lattice walks of known diffusivity have taught. Times go up to
half of the run, for all ions together to a quarter: beyond, windows overlap too much to
tell their scatter. And the errors are smoothed, as a constant share of a power of time
for one window: with the noise in them covariances can turn out singular, and one slope
of a hundred far off.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.properties.host import package, quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LONGEST, _LONGEST_TOGETHER = 0.5, 0.25  # of the run
_TIMES = 30
_LEAST_POWER = 0.6
_WALKERS, _SAMPLES, _BURN, _THIN = 16, 400, 600, 5
"""Steps of the chains; those for the intercept begin at zero, and take hundreds."""


@dataclass(frozen=True, eq=False)
class MeanSquare:
    """Mean-square displacements.

    Attributes
    ----------
    times
        ps, (nt,).
    values, errors
        Å² per ion, (nt,); the errors are standard deviations.
    samples
        Independent windows at each time, (nt,).
    """

    times: Floats
    values: Floats
    errors: Floats
    samples: Floats


def mean_square(ways: Floats, interval: float, *, collective: bool) -> MeanSquare:
    """Return mean-square displacements against time.

    Parameters
    ----------
    ways
        Displacement of each ion from the first frame, (frames, ions, 3), Å.
    interval
        Between frames, ps.
    collective
        Whether ions are added up before they are squared, divided by their number.

    Raises
    ------
    ConfigError
        If kinisi is not installed.
    """
    displacement: Any = package("kinisi.displacement")
    sc: Any = package("scipp")
    steps = _steps(len(ways), _LONGEST_TOGETHER if collective else _LONGEST)
    parsed = SimpleNamespace(
        displacements=sc.array(
            dims=["obs", "particle", "dimension"], values=ways, unit="angstrom"
        ),
        dt_index=sc.array(dims=["time interval"], values=steps),
        dt=sc.array(dims=["time interval"], values=steps * interval, unit="ps"),
        dimensionality=3 * sc.units.dimensionless,
    )
    calculate = (
        displacement.calculate_mstd if collective else displacement.calculate_msd
    )
    with quiet():
        found = calculate(parsed, progress=False)["da"]
    # kinisi takes the longest time for the length of the run.
    longer = len(ways) / float(steps[-1])
    return MeanSquare(
        times=np.array(found.coords["time interval"].values),
        values=np.array(found.values),
        errors=np.sqrt(np.array(found.variances) / longer),
        samples=np.array(found.coords["n_samples"].values) * longer,
    )


def slope_samples(square: MeanSquare, start: float, *, seed: int = 1) -> Floats:
    """Return slopes of straight lines that go with mean-square displacements.

    Parameters
    ----------
    square
        Of :func:`mean_square`.
    start
        Time from which they are straight, ps.
    seed
        Of the samples.

    Returns
    -------
    ndarray
        Å²/ps, not below zero.

    Raises
    ------
    ConfigError
        If kinisi is not installed.
    """
    diffusion: Any = package("kinisi.diffusion")
    sc: Any = package("scipp")
    data = sc.DataArray(
        data=sc.array(
            dims=["time interval"],
            values=square.values,
            variances=_smoothed(square, start) ** 2,
            unit="angstrom**2",
        ),
        coords={
            "time interval": sc.array(
                dims=["time interval"], values=square.times, unit="ps"
            ),
            "n_samples": sc.array(dims=["time interval"], values=square.samples),
        },
    )
    fit = diffusion.Diffusion(sc.DataGroup({"da": data, "dimensionality": 3}))
    # It seeds the generator of the whole process.
    state = np.random.get_state()  # noqa: NPY002
    try:
        with quiet(), np.errstate(all="ignore"):
            fit.bayesian_regression(
                sc.scalar(start, unit="ps"),
                n_walkers=_WALKERS,
                n_samples=_SAMPLES,
                n_burn=_BURN,
                n_thin=_THIN,
                progress=False,
                random_state=np.random.RandomState(seed),
            )
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return np.array(fit.gradient.values)


def _smoothed(square: MeanSquare, start: float) -> Floats:
    """Return errors that are one share of a power of time, over the root of windows.

    kinisi takes var(t) n(t) / n(t') for the covariance of times t < t', which is one
    of something only where var(t) n(t) / t grows: displacements as the root of time or
    faster.
    """
    used = square.times >= start
    share = np.median((square.errors * np.sqrt(square.samples) / square.values)[used])
    power = max(_LEAST_POWER, np.nan_to_num(exponent(square, start)))
    level = np.median(square.values[used] / square.times[used] ** power)
    grown = level * square.times**power
    return np.asarray(share * grown / np.sqrt(square.samples))


def exponent(square: MeanSquare, start: float) -> float:
    """Return the power of time by which displacements grow from a time on.

    1 of diffusion, 2 of free flight, 0 of ions that do not leave their sites.
    """
    used = (square.times >= start) & (square.values > 0.0)
    if used.sum() < 2:
        return float("nan")
    logs = np.log(square.times[used]), np.log(square.values[used])
    weights = square.values[used] / np.maximum(square.errors[used], 1e-12)
    return float(np.polyfit(*logs, 1, w=weights)[0])


def _steps(n_frames: int, longest: float) -> NDArray[np.int64]:
    """Return times in frames: close at first, then even, to a share of the run."""
    last = max(int(longest * n_frames), 2)
    close = np.geomspace(1, last, _TIMES // 2)
    even = np.linspace(1, last, _TIMES)
    return np.unique(np.rint(np.concatenate([close, even])).astype(np.int64))
