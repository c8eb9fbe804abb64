# SPDX-License-Identifier: LGPL-3.0-or-later
"""Heisenberg constants by shell, fitted to a model's energies of many patterns."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError
from spin_dp.magnetism.bonds import find_bonds
from spin_dp.magnetism.fit import design_matrix, fit_bonds, require_apart
from spin_dp.spin_states.orderings import named_orderings
from spin_dp.structures import as_atoms, repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from spin_dp.inference.labelling import Given
    from spin_dp.inference.predictor import SpinDP
    from spin_dp.magnetism.bonds import Bonds
    from spin_dp.magnetism.fit import ExchangeFit
    from spin_dp.spin_states.catalogue import SpinState

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

log = logging.getLogger(__name__)

_MAGNETIC_MUB = 0.1
_PER_CONSTANT = 4  # patterns, at least
_FEWEST = 24
_AT_ONCE = 64
# Smallest over largest singular value of the sums of shells that a supercell has that
# is chosen, so that errors of constants are small.
_WELL_APART = 0.15
_LARGEST = 256  # atoms of a supercell that is chosen


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
    spins = _Spins(atoms, magnetic, names, cutoff, tolerance)
    draw = _Draw(noncollinear, biquadratic, seed)
    if supercell is None:
        large, directions = _smallest_supercell(spins, draw)
    else:
        large, directions = spins.repeated(supercell), None
    if directions is None or patterns is not None:
        directions = draw.patterns(large, patterns)
    log.info(
        "%d shells within %.2f Å, %d patterns of %d sites (%s cells)",
        len(large.bonds.shells),
        cutoff,
        len(directions),
        len(large.sites),
        " x ".join(map(str, large.shape)),
    )
    vectors = np.zeros((len(directions), len(large.atoms), 3))
    of_sites = np.tile(lengths[magnetic], large.copies)
    vectors[:, large.sites] = of_sites[None, :, None] * directions
    models = [model] if model.ensemble is None else model.ensemble.models
    energies = np.array(
        [
            _energies(
                one,
                large.atoms,
                vectors,
                # Oxygen follows where the energy is that of moments.
                states=model.means_states(labels),
                progress=progress if k == 0 else None,
            )
            for k, one in enumerate(models)
        ]
    )
    fits = [
        fit_bonds(large.bonds, directions, one, biquadratic=biquadratic)
        for one in energies
    ]
    spread = None
    if len(fits) > 1:
        exchanges = [[shell.exchange for shell in fit.shells] for fit in fits]
        spread = np.std(exchanges, axis=0, ddof=1)
    return replace(
        fits[0],
        bonds=replace(spins.repeated((1, 1, 1)).bonds, shells=fits[0].shells),
        moment=float(lengths[magnetic].mean()),
        spin=_common_spin([labels.states[i] for i in magnetic]),
        spread=spread,
    )


@dataclass(frozen=True, eq=False)
class _Spins:
    """The magnetic sites of a cell, and how far they couple."""

    atoms: Atoms
    sites: Sequence[int]
    kinds: Sequence[str]
    cutoff: float
    tolerance: float

    def repeated(self, shape: tuple[int, int, int]) -> _Supercell:
        large = repeated(self.atoms, shape)
        copies = len(large) // len(self.atoms)
        sites = [k * len(self.atoms) + i for k in range(copies) for i in self.sites]
        bonds = find_bonds(
            large.cell.array,
            large.positions[sites],
            [*self.kinds] * copies,
            self.cutoff,
            tolerance=self.tolerance,
        )
        return _Supercell(shape, large, sites, bonds)


@dataclass(frozen=True, eq=False)
class _Supercell:
    """Repeated spins: magnetic sites of all atoms, and the pairs of these."""

    shape: tuple[int, int, int]
    atoms: Atoms
    sites: Sequence[int]
    bonds: Bonds

    @property
    def copies(self) -> int:
        return int(np.prod(self.shape))

    @property
    def orderings(self) -> list[Ints]:
        """Signs of the named orderings, (ns,) each."""
        symbols = self.atoms.get_chemical_symbols()
        found = named_orderings(
            [symbols[i] for i in self.sites], self.bonds.cell, self.bonds.positions
        )
        return list(found.values())


@dataclass(frozen=True)
class _Draw:
    """How patterns are made."""

    noncollinear: bool
    biquadratic: bool
    seed: int

    def usual_number(self, bonds: Bonds) -> int:
        """Return how many patterns tell the constants of the shells well."""
        constants = (2 if self.biquadratic else 1) * len(bonds.shells) + 1
        return max(_FEWEST, _PER_CONSTANT * constants)

    def patterns(self, large: _Supercell, number: int | None = None) -> Floats:
        """Return unit vectors of patterns, (k, ns, 3), each once up to reversal."""
        number = number or self.usual_number(large.bonds)
        rng = np.random.default_rng(self.seed)
        ns = len(large.sites)
        signs = {_first_up(row) for row in large.orderings}
        most = number if self.noncollinear else min(number, 2 ** min(ns - 1, 30))
        tries = 0
        while not self.noncollinear and len(signs) < most and tries < 50 * number:
            signs.add(_first_up(rng.choice([-1, 1], ns)))
            tries += 1
        collinear = np.zeros((len(signs), ns, 3))
        collinear[:, :, 2] = sorted(signs, reverse=True)
        if not self.noncollinear:
            return collinear
        vectors = rng.normal(size=(max(0, number - len(collinear)), ns, 3))
        vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        return np.concatenate([collinear, vectors])


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
        found.append(model.energies(atoms, part))
        if progress is not None:
            progress(min(start + _AT_ONCE, len(vectors)), len(vectors))
    return np.concatenate(found)


def _first_up(signs: Ints) -> tuple[int, ...]:
    return tuple(int(x) for x in signs * signs[0])


def _smallest_supercell(spins: _Spins, draw: _Draw) -> tuple[_Supercell, Floats]:
    """Return the supercell with fewest atoms that tells all shells apart.

    With the patterns in which it does.
    """
    most = max(1, _LARGEST // len(spins.atoms))
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
        if np.prod(shape) * len(spins.sites) < 2:
            continue
        large = spins.repeated(shape)
        directions = draw.patterns(large)
        if len(directions) < draw.usual_number(large.bonds):
            why = "it has few patterns."  # as few sites have
            continue
        design = design_matrix(large.bonds, directions, biquadratic=draw.biquadratic)
        try:
            require_apart(large.bonds, design, _WELL_APART)
        except ConfigError as error:
            why = str(error)
            continue
        return large, directions
    raise ConfigError(
        f"no supercell of up to {_LARGEST} atoms tells the shells within "
        f"{spins.cutoff:g} Å apart: {why} Give a smaller cutoff, or a supercell."
    )
