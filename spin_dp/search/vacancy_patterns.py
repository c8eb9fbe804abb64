# SPDX-License-Identifier: LGPL-3.0-or-later
"""Symmetry-distinct arrangements of ions and vacancies: how many, and which.

The same orderly generation and the same count as for assignments of spin states
(:mod:`spin_dp.search.enumeration`), with two codes for each site of the ion: empty and
full. Moments do not count; arrangements that no operation of the full crystal's space
group takes into each other are distinct.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError, unknown
from spin_dp.search.enumeration import Enumeration, Limit
from spin_dp.search.symmetry import site_permutations
from spin_dp.structures import as_atoms
from spin_dp.vacancies import with_vacancies

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.core import Structure

_EMPTY, _FULL = 0, 1
_TRIES = 40
"""Drawn for each arrangement that is wanted; most repeat one that is there."""


@dataclass(frozen=True)
class VacancyPattern:
    """An arrangement of ions and vacancies.

    Attributes
    ----------
    atoms
        The crystal without the ions that are missing.
    degeneracy
        How many arrangements the symmetry of the full crystal makes equal to it.
    """

    atoms: Atoms
    degeneracy: int


@dataclass(frozen=True, eq=False)
class VacancyPatterns:
    """Arrangements of so many ions on the sites of a crystal.

    Attributes
    ----------
    full
        The crystal with all its ions.
    ion
        Their element.
    left
        Number of ions that are left.

    Raises
    ------
    ConfigError
        If there is no such ion, or there are not so many.
    """

    full: Atoms
    ion: str
    left: int

    @classmethod
    def of_share(
        cls, structure: Atoms | Structure, ion: str, share: float
    ) -> VacancyPatterns:
        """Return the arrangements of a share of the ions, 0 to 1."""
        atoms = as_atoms(structure)
        number = atoms.get_chemical_symbols().count(ion)
        if number and not abs(share * number - round(share * number)) < 1e-6:
            raise ConfigError(
                f"shares: {share:g} of the {number} {ion} ions is no whole number; "
                "give a supercell (--supercell), or other shares."
            )
        return cls(atoms, ion, round(share * number))

    def __post_init__(self) -> None:
        if not len(self.sites):
            raise unknown("ion that leaves", self.ion, set(self.full.symbols))
        if not 0 <= self.left <= len(self.sites):
            raise ConfigError(
                f"ions that are left: expected 0 to {len(self.sites)}, got {self.left}."
            )

    @cached_property
    def sites(self) -> NDArray[np.int64]:
        """Atoms that are the ion."""
        return np.flatnonzero(self.full.symbols == self.ion)

    @cached_property
    def enumeration(self) -> Enumeration:
        """Codes of the sites, 0 empty and 1 full, up to symmetry."""
        return Enumeration(
            [(_EMPTY, _FULL)] * len(self.sites),
            site_permutations(self.full, self.sites.tolist()),
            limits=[Limit.exactly([0.0, 1.0], self.left)],
        )

    def count_all(self) -> int:
        """Return the number of arrangements."""
        return self.enumeration.count_all()

    def count_distinct(self) -> int:
        """Return the number of distinct ones."""
        return self.enumeration.count_distinct()

    def choose(self, most: int, seed: int = 1) -> list[VacancyPattern]:
        """Return all distinct arrangements, or so many of them.

        Parameters
        ----------
        most
            Where there are more, the first has its vacancies far from each other, and
            others are drawn, each distinct from those before it.
        seed
            Of the choice.
        """
        if most < 1:
            raise ConfigError(f"arrangements: expected at least 1, got {most}.")
        if self.count_distinct() <= most:
            return [
                VacancyPattern(self._without(codes), degeneracy)
                for codes, degeneracy in self.enumeration
            ]
        random = np.random.default_rng(seed)
        drawn = [self._spread(seed)]
        for _ in range(_TRIES * most):
            codes = np.full(len(self.sites), _EMPTY, dtype=np.uint8)
            codes[random.permutation(len(self.sites))[: self.left]] = _FULL
            drawn.append(codes)
        found = self.enumeration.smallest(np.array(drawn))
        _, first = np.unique(found, axis=0, return_index=True)
        kept = found[np.sort(first)][:most]
        numbers = self.enumeration.multiplicities(kept)
        return [
            VacancyPattern(self._without(codes), int(number))
            for codes, number in zip(kept, numbers, strict=True)
        ]

    def _spread(self, seed: int) -> NDArray[np.uint8]:
        """Return codes with vacancies far from each other; none or all are left out."""
        codes = np.full(len(self.sites), _FULL, dtype=np.uint8)
        tagged = self.full.copy()
        tagged.set_tags(np.arange(len(tagged)))
        missing = len(self.sites) - self.left
        kept = with_vacancies(tagged, {self.ion: missing}, spread=True, seed=seed)
        codes[~np.isin(self.sites, kept.get_tags())] = _EMPTY
        return codes

    def _without(self, codes: NDArray[np.uint8]) -> Atoms:
        left = self.full.copy()
        left.calc = None
        del left[self.sites[codes == _EMPTY].tolist()]
        return left
