# SPDX-License-Identifier: LGPL-3.0-or-later
"""Distinct arrangements of vacancies, against all of them and the symmetry by hand."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.io.ase import AseAtomsAdaptor

from spin_dp.crystals import layered_oxide
from spin_dp.errors import ConfigError
from spin_dp.search.vacancy_patterns import VacancyPatterns


def necklaces(sites: int) -> Atoms:
    """Return a chain of lithium at even distances, which is a ring by its period."""
    atoms = Atoms("Li" * sites, cell=[3.0 * sites, 9.0, 7.0], pbc=True)
    atoms.positions[:, 0] = 3.0 * np.arange(sites)
    return atoms


@pytest.mark.parametrize(
    ("sites", "left", "expected"), [(6, 3, 3), (6, 2, 3), (8, 4, 8), (5, 2, 2)]
)
def test_rings_have_as_many_as_bracelets(sites: int, left: int, expected: int) -> None:
    # Bracelets of two colours: OEIS A052307.
    patterns = VacancyPatterns(necklaces(sites), "Li", left)
    assert patterns.count_all() == comb(sites, left)
    assert patterns.count_distinct() == expected
    found = patterns.choose(100)
    assert len(found) == expected
    assert sum(one.degeneracy for one in found) == comb(sites, left)


def test_arrangements_are_those_of_brute_force() -> None:
    full = layered_oxide("LiCoO2", (1, 1, 1))
    patterns = VacancyPatterns.of_share(full, "Li", 0.5)
    found = patterns.choose(100)
    lithium = np.flatnonzero(full.symbols == "Li")
    matcher = StructureMatcher(
        primitive_cell=False, attempt_supercell=False, scale=False
    )
    distinct: list[object] = []
    for missing in combinations(lithium.tolist(), 3):
        atoms = full.copy()
        del atoms[list(missing)]
        structure = AseAtomsAdaptor.get_structure(atoms)
        if not any(matcher.fit(structure, other) for other in distinct):
            distinct.append(structure)
    assert len(found) == len(distinct) == patterns.count_distinct()
    assert sum(one.degeneracy for one in found) == comb(6, 3) == patterns.count_all()
    for one in found:
        structure = AseAtomsAdaptor.get_structure(one.atoms)
        assert sum(matcher.fit(structure, other) for other in distinct) == 1


def test_ends_have_one_arrangement() -> None:
    full = layered_oxide("LiNiO2", (1, 1, 1))
    (whole,) = VacancyPatterns.of_share(full, "Li", 1.0).choose(5)
    (empty,) = VacancyPatterns.of_share(full, "Li", 0.0).choose(5)
    assert len(whole.atoms) == len(full)
    assert set(empty.atoms.symbols) == {"Ni", "O"}


def test_many_are_drawn_distinct_and_the_same_by_a_seed() -> None:
    full = layered_oxide("LiCoO2", (2, 2, 1))  # 24 sites
    patterns = VacancyPatterns.of_share(full, "Li", 0.25)
    found = patterns.choose(6, seed=3)
    assert len(found) == 6
    assert patterns.count_distinct() > 6
    again = patterns.choose(6, seed=3)
    for one, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(one.atoms.positions, other.atoms.positions)
    keys = {one.atoms.positions.round(6).tobytes() for one in found}
    assert len(keys) == 6
    assert all(np.sum(one.atoms.symbols == "Li") == 6 for one in found)


def test_bad_input_is_refused() -> None:
    full = bulk("NiO", "rocksalt", a=4.2)
    with pytest.raises(ConfigError, match="ion that leaves"):
        VacancyPatterns(full, "Li", 1)
    layered = layered_oxide("LiCoO2", (1, 1, 1))
    with pytest.raises(ConfigError, match="is no whole number"):
        VacancyPatterns.of_share(layered, "Li", 0.4)
    with pytest.raises(ConfigError, match="expected 0 to 6, got 7"):
        VacancyPatterns(layered, "Li", 7)
    with pytest.raises(ConfigError, match="at least 1"):
        VacancyPatterns(layered, "Li", 3).choose(0)
