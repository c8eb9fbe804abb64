# SPDX-License-Identifier: LGPL-3.0-or-later
"""Heisenberg constants by shell, fitted to energies of many patterns of moments."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.errors import ConfigError, DataError
from spin_dp.neighbours import find_pairs
from spin_dp.spin_states.orderings import named_orderings
from spin_dp.structures import as_atoms, repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from spin_dp.inference.labelling import Given
    from spin_dp.inference.predictor import SpinDP
    from spin_dp.spin_states.catalogue import SpinState

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

log = logging.getLogger(__name__)

MEV = 1000.0
_MAGNETIC_MUB = 0.1
_PER_CONSTANT = 4  # patterns, at least
_FEWEST = 24
_AT_ONCE = 64
_OUTLIER = 4.0  # times the spread of the others
# Smallest over largest singular value of the sums of shells: what no fit can use, and
# what a supercell that is chosen has at least, so that errors of constants are small.
_TOLD_APART, _WELL_APART = 1e-6, 0.15
_LARGEST = 256  # atoms of a supercell that is chosen
_ELEMENT = re.compile("[A-Z][a-z]?")


@dataclass(frozen=True)
class Shell:
    """Pairs of sites that share one constant.

    Attributes
    ----------
    kinds
        Of the two sites, element or state, in alphabetical order.
    distance
        Mean over the pairs, Å.
    neighbours
        Pairs of one site of the first kind, on average.
    exchange, error
        J and its standard error, meV; positive is ferromagnetic.
    biquadratic, biquadratic_error
        B and its standard error, meV; None where it was not fitted.
    """

    kinds: tuple[str, str]
    distance: float
    neighbours: float
    exchange: float = float("nan")
    error: float = float("nan")
    biquadratic: float | None = None
    biquadratic_error: float | None = None


@dataclass(frozen=True, eq=False)
class Bonds:
    """Pairs of magnetic sites of a cell, each once, by shell.

    Attributes
    ----------
    cell, positions
        Of the sites, (3, 3) and (ns, 3), Å.
    kinds
        Of the sites, (ns,).
    first, second, shifts, shell
        Of each pair, (nb,): sites, cell of the second, (nb, 3), and number of its
        shell.
    shells
        Without constants.
    """

    cell: Floats
    positions: Floats
    kinds: Sequence[str]
    first: Ints
    second: Ints
    shifts: Ints
    shell: Ints
    shells: Sequence[Shell]

    def sums(self, directions: Floats, power: int = 1) -> Floats:
        """Return sums of (e_i.e_j)^power over the pairs of each shell.

        Parameters
        ----------
        directions
            Unit vectors, (k, ns, 3).
        power
            1, or 2 for biquadratic terms.

        Returns
        -------
        ndarray
            (k, n_shells).
        """
        cosines = np.einsum(
            "kbx,kbx->kb", directions[:, self.first], directions[:, self.second]
        )
        out = np.zeros((len(directions), len(self.shells)))
        for column in range(len(self.shells)):
            out[:, column] = (cosines[:, self.shell == column] ** power).sum(axis=1)
        return out


def find_bonds(
    cell: Floats,
    positions: Floats,
    kinds: Sequence[str],
    cutoff: float,
    *,
    tolerance: float = 0.1,
) -> Bonds:
    """Return the pairs of magnetic sites by shell.

    Parameters
    ----------
    cell, positions, kinds
        Of the sites: (3, 3) and (ns, 3), Å; element or state, (ns,).
    cutoff
        Largest distance, Å.
    tolerance
        Distances of one pair of kinds are one shell where none differs from the next
        by more, Å.

    Raises
    ------
    ConfigError
        If there is no pair.
    """
    pairs = find_pairs(cell, positions, cutoff)
    # Each pair comes in both directions: keep one of them.
    ahead = np.array(
        [
            (i, j, *shift) < (j, i, *-shift)
            for i, j, shift in zip(pairs.first, pairs.second, pairs.shifts, strict=True)
        ],
        dtype=np.bool_,
    )
    if not ahead.any():
        raise ConfigError(
            f"no two magnetic sites are within {cutoff:g} Å; give a larger cutoff."
        )
    first, second = pairs.first[ahead], pairs.second[ahead]
    shifts, distances = pairs.shifts[ahead], pairs.distances[ahead]
    names = [
        (min(kinds[i], kinds[j]), max(kinds[i], kinds[j]))
        for i, j in zip(first, second, strict=True)
    ]
    number = np.zeros(len(first), dtype=np.int64)
    shells: list[Shell] = []
    for name in sorted(set(names)):
        here = np.array([k for k, other in enumerate(names) if other == name])
        order = here[np.argsort(distances[here], kind="stable")]
        gaps = np.diff(distances[order]) > tolerance
        for members in np.split(order, np.flatnonzero(gaps) + 1):
            number[members] = len(shells)
            sites = list(kinds).count(name[0])
            each = 2 if name[0] == name[1] else 1
            mean = float(distances[members].mean())
            shells.append(Shell(name, mean, each * len(members) / sites))
    by_distance = sorted(range(len(shells)), key=lambda k: shells[k].distance)
    place = np.argsort(by_distance)
    return Bonds(
        cell,
        positions,
        kinds,
        first,
        second,
        shifts,
        place[number],
        [shells[k] for k in by_distance],
    )


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
    design = _design(bonds, directions, biquadratic=biquadratic)
    n, m = design.shape
    if n <= m:
        raise DataError(
            f"{n} patterns for {m} constants: expected more patterns; ask for fewer "
            "shells (a smaller cutoff) or more patterns."
        )
    _require_apart(bonds, design)
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


def _design(bonds: Bonds, directions: Floats, *, biquadratic: bool) -> Floats:
    """Return what multiplies E0 and the constants, (k, 1 + constants)."""
    columns = [np.ones((len(directions), 1)), -bonds.sums(directions)]
    if biquadratic:
        columns.append(-bonds.sums(directions, power=2))
    return np.concatenate(columns, axis=1)


def _require_apart(bonds: Bonds, design: Floats, least: float = _TOLD_APART) -> None:
    """Refuse shells whose sums are the same, or none, in all patterns."""
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


def fit_exchange(
    structure: Atoms | Structure,
    model: SpinDP,
    moments: Given | None = None,
    *,
    cutoff: float = 6.0,
    supercell: tuple[int, int, int] | None = None,
    patterns: int | None = None,
    noncollinear: bool = False,
    biquadratic: bool = False,
    tolerance: float = 0.1,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> ExchangeFit:
    """Fit Heisenberg constants to a model's energies of many patterns of moments.

    Patterns are the named orderings and random signs, or random directions, of moments
    whose lengths and states stay; positions stay, too. The energy is that of states
    where all sites are labelled by name and the model learnt it, else that of moments.

    Parameters
    ----------
    structure, moments
        The cell and its labels, as for :meth:`spin_dp.SpinDP.evaluate`; their signs do
        not count.
    model
        The model to ask; of an ensemble all, for the spread.
    cutoff
        Largest distance of a shell, Å.
    supercell
        Repetitions of the cell; None: the smallest in which all shells are told apart.
    patterns
        Their number; None: four for each constant, 24 at least.
    noncollinear
        Random directions instead of random signs.
    biquadratic
        Whether shells have biquadratic constants; implies ``noncollinear``.
    tolerance
        See :func:`find_bonds`.
    seed
        Of the random patterns.
    progress
        Called as ``progress(done, number)``.

    Returns
    -------
    ExchangeFit
        Constants with errors, and how well they give the energies.

    Raises
    ------
    ConfigError
        If fewer than two sites have moments; if the cell cannot tell shells apart.
    ShapeError, DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    atoms = as_atoms(structure)
    noncollinear = noncollinear or biquadratic
    labels = model.labels(atoms, moments)
    start = model.inputs_of(atoms, labels)
    lengths = np.linalg.norm(start, axis=1)
    symbols = atoms.get_chemical_symbols()
    magnetic = [
        i
        for i, symbol in enumerate(symbols)
        if lengths[i] > _MAGNETIC_MUB and model.states.has_states(symbol)
    ]
    if not magnetic:
        raise ConfigError(
            f"{atoms.get_chemical_formula()}: no site of a metal has a moment in these "
            "labels."
        )
    names = [
        symbols[i] if (state := labels.states[i]) is None else state.name
        for i in magnetic
    ]
    rng = np.random.default_rng(seed)
    shape = supercell or _smallest_supercell(
        atoms, magnetic, names, cutoff, tolerance, noncollinear, biquadratic, seed
    )
    large = repeated(atoms, shape)
    copies = len(large) // len(atoms)
    sites = [k * len(atoms) + i for k in range(copies) for i in magnetic]
    kinds = names * copies
    bonds = find_bonds(
        large.cell.array, large.positions[sites], kinds, cutoff, tolerance=tolerance
    )
    constants = (2 if biquadratic else 1) * len(bonds.shells) + 1
    number = patterns or max(_FEWEST, _PER_CONSTANT * constants)
    directions = _patterns(bonds, number, rng, noncollinear=noncollinear)
    log.info(
        "%d shells within %.2f Å, %d patterns of %d sites (%s cells)",
        len(bonds.shells),
        cutoff,
        len(directions),
        len(sites),
        " x ".join(map(str, shape)),
    )
    vectors = np.zeros((len(directions), len(large), 3))
    of_sites = np.tile(lengths[magnetic], copies)
    vectors[:, sites] = of_sites[None, :, None] * directions
    models = [model] if model.ensemble is None else model.ensemble.models
    energies = np.array(
        [
            _energies(
                one,
                large,
                vectors,
                # Oxygen follows where the energy is that of moments.
                states=model.means_states(labels),
                progress=progress if k == 0 else None,
            )
            for k, one in enumerate(models)
        ]
    )
    fits = [
        fit_bonds(bonds, directions, one, biquadratic=biquadratic) for one in energies
    ]
    spread = None
    if len(fits) > 1:
        exchanges = [[shell.exchange for shell in fit.shells] for fit in fits]
        spread = np.std(exchanges, axis=0, ddof=1)
    cell = find_bonds(
        atoms.cell.array,
        atoms.positions[magnetic],
        names,
        cutoff,
        tolerance=tolerance,
    )
    return replace(
        fits[0],
        bonds=replace(cell, shells=fits[0].shells),
        moment=float(lengths[magnetic].mean()),
        spin=_common_spin([labels.states[i] for i in magnetic]),
        spread=spread,
    )


def _common_spin(states: Sequence[SpinState | None]) -> float | None:
    """Return the spin that all ions have."""
    spins = {
        None if state is None or state.nominal is None else 0.5 * state.nominal.unpaired
        for state in states
    }
    return spins.pop() if len(spins) == 1 else None


def _energies(
    model: SpinDP,
    atoms: Atoms,
    vectors: Floats,
    *,
    states: bool,
    progress: Callable[[int, int], None] | None,
) -> Floats:
    found = []
    for start in range(0, len(vectors), _AT_ONCE):
        part = vectors[start : start + _AT_ONCE]
        if not states:
            part, _, _ = model.complete(atoms, part)
        found.append(model.predict(atoms, part).energy)
        if progress is not None:
            progress(min(start + _AT_ONCE, len(vectors)), len(vectors))
    return np.concatenate(found)


def _patterns(
    bonds: Bonds, number: int, rng: np.random.Generator, *, noncollinear: bool
) -> Floats:
    """Return unit vectors of patterns, (k, ns, 3), each once up to reversal."""
    ns = len(bonds.kinds)
    elements = [_ELEMENT.match(kind)[0] for kind in bonds.kinds]  # type: ignore[index]
    orders = named_orderings(elements, bonds.cell, bonds.positions)
    signs = {_first_up(row) for row in orders.values()}
    most = number if noncollinear else min(number, 2 ** min(ns - 1, 30))
    tries = 0
    while not noncollinear and len(signs) < most and tries < 50 * number:
        signs.add(_first_up(rng.choice([-1, 1], ns)))
        tries += 1
    collinear = np.zeros((len(signs), ns, 3))
    collinear[:, :, 2] = sorted(signs, reverse=True)
    if not noncollinear:
        return collinear
    vectors = rng.normal(size=(max(0, number - len(collinear)), ns, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.concatenate([collinear, vectors])


def _first_up(signs: Ints) -> tuple[int, ...]:
    return tuple(int(x) for x in signs * signs[0])


def _smallest_supercell(
    atoms: Atoms,
    magnetic: Sequence[int],
    names: Sequence[str],
    cutoff: float,
    tolerance: float,
    noncollinear: bool,
    biquadratic: bool,
    seed: int,
) -> tuple[int, int, int]:
    """Return the supercell with fewest atoms in which all shells are told apart."""
    most = max(1, _LARGEST // len(atoms))
    shapes = sorted(
        (
            (i, j, k)
            for i in range(1, most + 1)
            for j in range(1, most // i + 1)
            for k in range(1, most // (i * j) + 1)
        ),
        key=lambda shape: (np.prod(shape), max(shape), shape),
    )
    why = "there is one magnetic site."
    for shape in shapes:
        large = repeated(atoms, shape)
        copies = len(large) // len(atoms)
        sites = [k * len(atoms) + i for k in range(copies) for i in magnetic]
        if len(sites) < 2:
            continue
        bonds = find_bonds(
            large.cell.array,
            large.positions[sites],
            list(names) * copies,
            cutoff,
            tolerance=tolerance,
        )
        constants = (2 if biquadratic else 1) * len(bonds.shells) + 1
        rng = np.random.default_rng(seed)
        number = max(_FEWEST, _PER_CONSTANT * constants)
        directions = _patterns(bonds, number, rng, noncollinear=noncollinear)
        design = _design(bonds, directions, biquadratic=biquadratic)
        if len(design) < number:  # few sites have few patterns
            why = "it has few patterns."
            continue
        try:
            _require_apart(bonds, design, _WELL_APART)
        except ConfigError as error:
            why = str(error)
            continue
        return shape
    raise ConfigError(
        f"no supercell of up to {_LARGEST} atoms tells the shells within {cutoff:g} Å "
        f"apart: {why} Give a smaller cutoff, or a supercell."
    )
