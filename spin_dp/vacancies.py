# SPDX-License-Identifier: LGPL-3.0-or-later
"""Structures without some of their ions, at random sites or far apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.geometry import find_mic

from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms
    from numpy.typing import NDArray

_WHOLE = 1e-6


def with_vacancies(
    atoms: Atoms, missing: Mapping[str, float], *, spread: bool = False, seed: int = 1
) -> Atoms:
    """Return a structure without some of its atoms.

    Parameters
    ----------
    atoms
        The structure, repeated to its size; left as it is.
    missing
        How many atoms of each element are taken out: a number from 1 on, or a share
        below 1, ``{"Li": 0.5}``, which has to come to a whole number.
    spread
        Whether the vacancies are far apart, each farthest from those before it; else
        any sites.
    seed
        Of the random choice: of all sites, or of the first.

    Raises
    ------
    ConfigError
        If there are not so many atoms of an element, or a number is none.
    """
    symbols = np.array(atoms.get_chemical_symbols())
    random = np.random.default_rng(seed)
    taken: list[int] = []
    for element, amount in missing.items():
        sites = np.flatnonzero(symbols == element)
        number = _number_of(element, amount, len(sites))
        if spread:
            taken += _far_apart(atoms, sites, number, random)
        else:
            taken += random.permutation(sites)[:number].tolist()
    kept = np.ones(len(atoms), dtype=bool)
    kept[taken] = False
    return atoms[kept]


def _number_of(element: str, amount: float, n_sites: int) -> int:
    number = amount * n_sites if 0.0 < amount < 1.0 else amount
    if not n_sites:
        raise ConfigError(f"vacancies: the structure has no {element}.")
    if not (0.0 < number <= n_sites and abs(number - round(number)) < _WHOLE):
        raise ConfigError(
            f"vacancies: expected a whole number of the {n_sites} {element} atoms, or "
            f"a share below 1 that comes to one, got {amount:g}"
            + (f", {number:g} atoms." if 0.0 < amount < 1.0 else ".")
        )
    return round(number)


def _far_apart(
    atoms: Atoms, sites: NDArray[np.int64], number: int, random: np.random.Generator
) -> list[int]:
    """Return sites each of which is farthest from those before it."""
    positions = atoms.positions[sites]
    chosen = [int(random.integers(len(sites)))]
    nearest = np.full(len(sites), np.inf)
    while len(chosen) < number:
        _, distances = find_mic(
            positions - positions[chosen[-1]], atoms.cell, atoms.pbc
        )
        nearest = np.minimum(nearest, distances)
        nearest[chosen] = -1.0
        # Equals by rounding are taken in their order.
        chosen.append(int(np.flatnonzero(nearest > nearest.max() - 1e-6)[0]))
    return [int(site) for site in sites[chosen]]
