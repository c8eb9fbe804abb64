# SPDX-License-Identifier: LGPL-3.0-or-later
"""Exchange constants fitted to energies of patterns, wherever these come from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from spin_dp.magnetism.bonds import Bonds, Shell

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MEV = 1000.0
_OUTLIER = 4.0  # times the spread of the others
# Smallest over largest singular value of the sums of shells that a fit can use.
_TOLD_APART = 1e-6


@dataclass(frozen=True, eq=False)
class ExchangeFit:
    """Constants, and how well they give the energies.

    Attributes
    ----------
    bonds
        The pairs of the cell, with the constants in ``bonds.shells``.
    constant
        E0, eV per supercell that was fitted.
    energies, fitted, left_out
        Of the patterns, eV per magnetic site above E0: the model's, the fit's, and that
        of a fit without the pattern, (k,).
    is_collinear
        Of each pattern, (k,).
    moment
        Mean length of the moments, μB.
    spin
        Of the ions, S; None where they differ, or it is not known.
    spread
        Standard deviation of J over the models of an ensemble, (n_shells,), meV; None
        of one model.
    """

    bonds: Bonds
    constant: float
    energies: Floats
    fitted: Floats
    left_out: Floats
    is_collinear: NDArray[np.bool_]
    moment: float
    spin: float | None = None
    spread: Floats | None = None

    @property
    def shells(self) -> Sequence[Shell]:
        """With their constants, nearest first."""
        return self.bonds.shells

    @property
    def error(self) -> float:
        """Root mean square of energies less the fit, meV per magnetic site."""
        return MEV * float(np.sqrt(np.square(self.energies - self.fitted).mean()))

    @property
    def cross_validation_error(self) -> float:
        """The same of patterns that the fit did not see, one by one."""
        return MEV * float(np.sqrt(np.square(self.energies - self.left_out).mean()))

    @property
    def range(self) -> float:
        """Standard deviation of the energies, meV per magnetic site."""
        return MEV * float(self.energies.std())

    @property
    def outliers(self) -> Ints:
        """Patterns that the fit without them misses by four times what is usual."""
        misses = np.abs(self.energies - self.left_out)
        usual = 1.4826 * np.median(misses)
        return np.flatnonzero(misses > _OUTLIER * max(usual, 1e-9))

    @property
    def table(self) -> pd.DataFrame:
        """A row for each shell: kinds, distance, neighbours, J and its errors."""
        rows = pd.DataFrame(
            {
                "kinds": ["-".join(shell.kinds) for shell in self.shells],
                "distance": [shell.distance for shell in self.shells],
                "neighbours": [shell.neighbours for shell in self.shells],
                "exchange_meV": [shell.exchange for shell in self.shells],
                "error_meV": [shell.error for shell in self.shells],
            }
        )
        if self.shells[0].biquadratic is not None:
            rows["biquadratic_meV"] = [shell.biquadratic for shell in self.shells]
            rows["biquadratic_error_meV"] = [s.biquadratic_error for s in self.shells]
        if self.spread is not None:
            rows["ensemble_spread_meV"] = self.spread
        return rows


def fit_bonds(
    bonds: Bonds, directions: Floats, energies: Floats, *, biquadratic: bool = False
) -> ExchangeFit:
    """Fit constants to energies, by least squares.

    Parameters
    ----------
    bonds
        The pairs by shell.
    directions
        Unit vectors of each pattern, (k, ns, 3).
    energies
        (k,), eV per cell.
    biquadratic
        Whether each shell has a biquadratic constant, too.

    Raises
    ------
    DataError
        If there are fewer patterns than constants.
    ConfigError
        If the cell cannot tell shells apart, or patterns cannot tell a biquadratic term
        from the constant: collinear ones.
    """
    design = design_matrix(bonds, directions, biquadratic=biquadratic)
    n, m = design.shape
    if n <= m:
        raise DataError(
            f"{n} patterns for {m} constants: expected more patterns; ask for fewer "
            "shells (a smaller cutoff) or more patterns."
        )
    require_apart(bonds, design)
    inverse = np.linalg.pinv(design.T @ design)
    found = inverse @ design.T @ energies
    fitted = design @ found
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    left_out = energies - (energies - fitted) / np.maximum(1.0 - leverage, 1e-9)
    variance = float(np.square(energies - fitted).sum() / (n - m))
    errors = MEV * np.sqrt(variance * np.diag(inverse))
    ns, sites = len(bonds.shells), len(bonds.kinds)
    shells = [
        replace(
            shell,
            exchange=MEV * float(found[1 + k]),
            error=float(errors[1 + k]),
            biquadratic=MEV * float(found[1 + ns + k]) if biquadratic else None,
            biquadratic_error=float(errors[1 + ns + k]) if biquadratic else None,
        )
        for k, shell in enumerate(bonds.shells)
    ]
    crossed = np.cross(directions, directions[:, :1])
    return ExchangeFit(
        bonds=replace(bonds, shells=shells),
        constant=float(found[0]),
        energies=(energies - found[0]) / sites,
        fitted=(fitted - found[0]) / sites,
        left_out=(left_out - found[0]) / sites,
        is_collinear=np.linalg.norm(crossed, axis=-1).max(axis=1) < 1e-6,
        moment=float("nan"),
    )


def design_matrix(bonds: Bonds, directions: Floats, *, biquadratic: bool) -> Floats:
    """Return what multiplies E0 and the constants in the energies of patterns.

    Parameters
    ----------
    bonds, directions, biquadratic
        As for :func:`fit_bonds`.

    Returns
    -------
    ndarray
        (k, 1 + constants): 1, minus the sums of each shell, minus their squares.
    """
    columns = [np.ones((len(directions), 1)), -bonds.sums(directions)]
    if biquadratic:
        columns.append(-bonds.sums(directions, power=2))
    return np.concatenate(columns, axis=1)


def require_apart(bonds: Bonds, design: Floats, least: float = _TOLD_APART) -> None:
    """Refuse shells whose sums are the same, or hang on each other, in all patterns.

    Parameters
    ----------
    bonds, design
        Shells, and what :func:`design_matrix` says of patterns.
    least
        Smallest over largest singular value of the sums of the shells.

    Raises
    ------
    ConfigError
        If so.
    """
    centred = design[:, 1:] - design[:, 1:].mean(axis=0)
    norms = np.linalg.norm(centred, axis=0)
    still = np.flatnonzero(norms < _TOLD_APART * max(1.0, norms.max(initial=0.0)))
    ns = len(bonds.shells)
    if len(still):
        shell = bonds.shells[still[0] % ns]
        what = "biquadratic term of the " if still[0] >= ns else ""
        why = (
            "patterns along one axis have none; use noncollinear ones"
            if still[0] >= ns
            else "each site sees its own images there; give a larger supercell, or a "
            "smaller cutoff"
        )
        raise ConfigError(
            f"the {what}shell {'-'.join(shell.kinds)} at {shell.distance:.2f} Å is the "
            f"same in all patterns: {why}."
        )
    values = np.linalg.svd(centred / norms, compute_uv=False)
    if values[-1] < least * values[0]:
        raise ConfigError(
            "the cell cannot tell all shells apart: their sums hang on each other in "
            "every pattern; give a larger supercell, or a smaller cutoff."
        )
