# SPDX-License-Identifier: LGPL-3.0-or-later
"""How the symmetry of a structure permutes some of its sites."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import spglib

from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

SYMPREC = 0.01
"""Distance within which atoms count as symmetric, Å."""

SYMMETRY_ERRORS = (getattr(spglib, "SpglibError", RuntimeError), RuntimeError)
"""What spglib raises where it finds no symmetry."""


def ask_spglib(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
    """Return what a function of spglib finds, None where it finds nothing.

    It says that by None, or raises an error, once any package in the process asked for
    errors, as phonopy does.
    """
    with warnings.catch_warnings():
        # About how its next version will tell errors.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return function(*arguments, **named)
        except SYMMETRY_ERRORS:
            return None


def site_permutations(
    atoms: Atoms,
    sites: Sequence[int],
    kinds: Sequence[Hashable] | None = None,
    *,
    symprec: float = SYMPREC,
) -> Ints:
    """Return how the operations of the space group permute sites.

    Pure translations of a supercell are among them. Operations that do the same to the
    sites are one.

    Parameters
    ----------
    atoms
        All atoms, periodic in three directions; moments do not count.
    sites
        Atoms that are permuted, (ns,).
    kinds
        Of each site, (ns,): only sites of one kind change places. None: one kind for
        each element.
    symprec
        Distance within which atoms count as symmetric, Å.

    Returns
    -------
    ndarray
        (n_operations, ns): row g has at i the place among the sites of the site that g
        takes to site i. The first row is the identity.

    Raises
    ------
    DataError
        If spglib finds no symmetry at all: overlapping atoms, a flat cell.
    """
    names: list[Hashable] = list(atoms.get_chemical_symbols())
    for place, site in enumerate(sites):
        names[site] = (names[site], "site", None if kinds is None else kinds[place])
    rotations, shifts = space_group_operations(atoms, names, symprec=symprec)
    if not len(sites):
        return np.zeros((1, 0), dtype=np.int64)
    points = atoms.get_scaled_positions()[list(sites)]
    kind = np.array(_numbered([names[site] for site in sites]))
    rows = [
        _permutation(points, kind, rotation, translation, atoms.cell.array)
        for rotation, translation in zip(rotations, shifts, strict=True)
    ]
    identity = np.arange(len(sites))
    return np.array(
        list(dict.fromkeys([tuple(identity), *map(tuple, rows)])), dtype=np.int64
    )


def space_group_operations(
    atoms: Atoms, kinds: Sequence[Hashable] | None = None, *, symprec: float = SYMPREC
) -> tuple[NDArray[np.intc], NDArray[np.float64]]:
    """Return the operations of the space group of a cell, primitive or not.

    Parameters
    ----------
    atoms
        n atoms, periodic in three directions.
    kinds
        Of each atom, (n,): only atoms of one kind change places. None: elements.
    symprec
        Distance within which atoms count as symmetric, Å.

    Returns
    -------
    tuple
        Rotations, (k, 3, 3), and translations, (k, 3), in fractional coordinates.

    Raises
    ------
    DataError
        If spglib finds no symmetry at all: overlapping atoms, a flat cell.
    """
    names = atoms.get_chemical_symbols() if kinds is None else kinds
    cell = (atoms.cell.array, atoms.get_scaled_positions(), _numbered(names))
    found = ask_spglib(spglib.get_symmetry, cell, symprec=symprec)
    if found is None:
        raise DataError(
            f"{atoms.get_chemical_formula()}: spglib finds no symmetry, not even the "
            "identity; check for overlapping atoms."
        )
    return found["rotations"], found["translations"]


def _numbered(names: Sequence[Hashable]) -> list[int]:
    """Return a number of each name, the same of equal ones."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


def magnetic_space_group(
    atoms: Atoms, moments: NDArray[np.float64], *, symprec: float = SYMPREC
) -> str:
    """Return the number of the magnetic space group in BNS notation, ``166.97``.

    Parameters
    ----------
    atoms
        n atoms, periodic in three directions.
    moments
        (n, 3), μB; along one axis.
    symprec
        Distance within which atoms count as symmetric, Å.

    Returns
    -------
    str
        Empty where moments are not along one axis, or spglib finds no group: without
        spin-orbit coupling, moments that turn are not described by it.
    """
    if np.linalg.matrix_rank(moments, tol=1e-6) > 1:
        return ""
    lengths = moments @ _axis(moments)
    numbers = atoms.get_atomic_numbers()
    cell = (atoms.cell.array, atoms.get_scaled_positions(), numbers, lengths)
    found = ask_spglib(
        spglib.get_magnetic_symmetry_dataset,
        cell,
        is_axial=False,
        symprec=symprec,
        mag_symprec=1e-3,
    )
    if found is None:
        return ""
    group = ask_spglib(spglib.get_magnetic_spacegroup_type, found.uni_number)
    return "" if group is None else str(group.bns_number)


def _axis(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    longest: NDArray[np.float64] = moments[np.linalg.norm(moments, axis=1).argmax()]
    length = float(np.linalg.norm(longest))
    return longest / length if length else np.array([0.0, 0.0, 1.0])


def _permutation(
    points: NDArray[np.float64],
    kind: Ints,
    rotation: NDArray[np.intc],
    translation: NDArray[np.float64],
    cell: NDArray[np.float64],
) -> list[int]:
    """Return the site that comes to each site."""
    moved = points @ rotation.T + translation
    between = moved[None] - points[:, None]
    between -= np.rint(between)
    distances = np.linalg.norm(between @ cell, axis=-1)
    distances[kind[None] != kind[:, None]] = np.inf
    return [int(one) for one in distances.argmin(axis=1)]
