# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energies of one geometry, or of many, in one spin state or in several.

The lowest of several states has a kink where two of them cross, on which no search for
a saddle point ends. It is rounded as two coupled states are, by the lowest eigenvalue
of the matrix of their energies with a small coupling beside its diagonal (A. Warshel
and R. M. Weiss, J. Am. Chem. Soc. 102, 6218 (1980)); what is reported are the energies
of the states themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError

from spin_dp.inference.calculator import SpinDPCalculator
from spin_dp.inference.engines import Geometries
from spin_dp.structures import moment_vectors, shortest_moments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.properties.subject import Subject

    Floats = NDArray[np.float64]

ROUNDING = 0.02
"""eV; coupling that rounds the kink where two states cross."""


@dataclass(frozen=True, eq=False)
class Surface:
    """Energies of the atoms of a subject, in several spin states.

    Attributes
    ----------
    subject
        Whose atoms and whose energies.
    carried
        Initial moments of all atoms in each state, (s, n, 3), μB.
    """

    subject: Subject
    carried: Floats

    @classmethod
    def of(cls, subjects: Sequence[Subject]) -> Surface:
        """Return the energies of atoms in the states of several subjects."""
        carried = [
            moment_vectors(one.atoms.get_initial_magnetic_moments(), len(one.atoms))
            for one in subjects
        ]
        return cls(subjects[0], np.stack(carried))

    def __len__(self) -> int:
        return len(self.carried)

    def part(self, states: Sequence[int]) -> Surface:
        """Return some of the states."""
        return Surface(self.subject, self.carried[list(states)])

    @cached_property
    def _calculator(self) -> Calculator:
        return self.subject.calculator()

    @cached_property
    def _calculators(self) -> list[Calculator]:
        """One for each state: they start from what they had before."""
        return [self.subject.calculator() for _ in self.carried]

    def evaluate(self, positions: Floats) -> tuple[Floats, Floats]:
        """Return energies and forces of each geometry in each state.

        Parameters
        ----------
        positions
            (k, n, 3), Å; the cell is that of the subject.

        Returns
        -------
        tuple
            (k, s), eV; (k, s, n, 3), eV/Å.

        Raises
        ------
        ConfigError, DataError, BackendError
            As :meth:`spin_dp.inference.potential.Potential.predict`.
        """
        if isinstance(self._calculator, SpinDPCalculator):
            return self._at_once(positions)
        return self._one_by_one(positions)

    def _at_once(self, positions: Floats) -> tuple[Floats, Floats]:
        potential = self._calculator.model.potential
        atoms, symbols = self.subject.atoms, self.subject.atoms.get_chemical_symbols()
        cell, pbc = atoms.cell.array[None], atoms.pbc.tolist()
        if len(self) == 1:
            cells = np.repeat(cell, len(positions), axis=0)
            moments = np.repeat(self.carried, len(positions), axis=0)
            found = potential.predict(
                symbols, Geometries(positions, cells, pbc), moments
            )
            return found.energies[:, None], found.forces[:, None]
        # Neighbours of a geometry are found once for all its states.
        several = [
            potential.predict(symbols, Geometries(one[None], cell, pbc), self.carried)
            for one in positions
        ]
        energies = np.stack([one.energies for one in several])
        return energies, np.stack([one.forces for one in several])

    def _one_by_one(self, positions: Floats) -> tuple[Floats, Floats]:
        energies = np.zeros((len(positions), len(self)))
        forces = np.zeros((len(positions), len(self), *positions.shape[1:]))
        atoms = self.subject.atoms.copy()
        for state, (moments, calculator) in enumerate(
            zip(self.carried, self._calculators, strict=True)
        ):
            atoms.set_initial_magnetic_moments(shortest_moments(moments))
            atoms.calc = calculator
            for k, one in enumerate(positions):
                atoms.positions = one
                energies[k, state] = _energy(atoms)
                forces[k, state] = atoms.get_forces()
        return energies, forces


def _energy(atoms: Atoms) -> float:
    """Return the energy that the forces belong to, eV."""
    try:
        return float(atoms.get_potential_energy(force_consistent=True))
    except PropertyNotImplementedError:
        return float(atoms.get_potential_energy())


def rounded_lowest(
    energies: Floats, forces: Floats, rounding: float = ROUNDING
) -> tuple[Floats, Floats]:
    """Return energies and forces of the lowest of some states, kinks rounded.

    Parameters
    ----------
    energies, forces
        (k, s), eV, and (k, s, n, 3), eV/Å.
    rounding
        Coupling of the states, eV; zero: the lowest as it is.

    Returns
    -------
    tuple
        (k,) and (k, n, 3); the forces are derivatives of the energies.
    """
    if energies.shape[1] == 1 or not rounding:
        lowest = energies.argmin(axis=1)
        rows = np.arange(len(energies))
        return energies[rows, lowest], forces[rows, lowest]
    states = energies.shape[1]
    matrices = np.full((len(energies), states, states), -rounding)
    matrices[:, range(states), range(states)] = energies
    values, vectors = np.linalg.eigh(matrices)
    weights = vectors[:, :, 0] ** 2
    return values[:, 0], np.einsum("ks,ksnx->knx", weights, forces)


class StateCalculator(Calculator):  # type: ignore[misc]
    """ASE calculator of the lowest of the states of a surface.

    Parameters
    ----------
    band
        Of several images, which are computed together when one is asked for.
    number
        Of this image.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]

    def __init__(self, band: Band, number: int) -> None:
        super().__init__()
        self._band, self._number = band, number

    def get_property(
        self,
        name: str,
        atoms: Atoms | None = None,  # noqa: ARG002 - the band has its images
        allow_calculation: bool = True,  # noqa: ARG002
    ) -> Any:  # noqa: ANN401
        """Return a property of this image, computed with all others that have moved.

        The band sees which these are; ASE would compare all arrays each time.
        """
        self.results = self._band.results(self._number)
        found = self.results[name]
        return found.copy() if isinstance(found, np.ndarray) else found


class Band:
    """Images whose energies are computed together.

    Parameters
    ----------
    surface
        Energies of their atoms.
    images
        They get calculators.
    rounding
        See :func:`rounded_lowest`.
    """

    def __init__(
        self, surface: Surface, images: Sequence[Atoms], rounding: float = ROUNDING
    ) -> None:
        self.surface, self.images, self._rounding = surface, list(images), rounding
        n, states = len(surface.subject.atoms), len(surface)
        self._positions = np.full((len(images), n, 3), np.nan)
        self.energies = np.zeros((len(images), states))
        self.forces = np.zeros((len(images), states, n, 3))
        for number, image in enumerate(self.images):
            image.calc = StateCalculator(self, number)

    def update(self) -> None:
        """Compute the images that have moved."""
        positions = np.stack([image.positions for image in self.images])
        moved = np.flatnonzero((positions != self._positions).any(axis=(1, 2)))
        if len(moved):
            found = self.surface.evaluate(positions[moved])
            self.energies[moved], self.forces[moved] = found
            self._positions[moved] = positions[moved]

    def results(self, number: int) -> dict[str, Any]:
        """Return what ASE wants to know of an image."""
        self.update()
        part = slice(number, number + 1)
        energies, forces = rounded_lowest(
            self.energies[part], self.forces[part], self._rounding
        )
        energy = float(energies[0])
        return {"energy": energy, "free_energy": energy, "forces": forces[0]}
