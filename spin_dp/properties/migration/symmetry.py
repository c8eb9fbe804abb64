# SPDX-License-Identifier: LGPL-3.0-or-later
"""Operations of a labelled crystal, and what they do to sites that may be empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spin_dp.search.symmetry import space_group_operations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_SITE_ANGSTROM = 0.2  # centres of empty octahedra follow their anions


def labelled_operations(
    atoms: Atoms,
    kinds: Sequence[str] | None = None,
    signs: Sequence[int] | None = None,
) -> tuple[NDArray[np.intc], Floats]:
    """Return the operations of the space group that keep the labels.

    Parameters
    ----------
    atoms
        n atoms, periodic in three directions.
    kinds
        Name of the state of each atom, (n,), empty without one.
    signs
        Of their moments, (n,); an operation keeps all of them, or reverses all.

    Returns
    -------
    tuple
        Rotations (g, 3, 3) and translations (g, 3), in fractional coordinates.

    Raises
    ------
    DataError
        If spglib finds no symmetry at all.
    """
    symbols = atoms.get_chemical_symbols()
    names = list(zip(symbols, kinds or [""] * len(symbols), strict=True))
    fractions, cell = atoms.get_scaled_positions(), atoms.cell.array
    rotations, translations = space_group_operations(atoms, names)
    if signs is None or not np.any(signs):
        return rotations, translations
    up = np.asarray(signs)
    kept = []
    for rotation, translation in zip(rotations, translations, strict=True):
        images = site_images(fractions, rotation, translation, cell)
        assert images is not None  # it is a symmetry of these atoms
        turned = up[images[0]]
        kept.append(bool((turned == up).all() or (turned == -up).all()))
    return rotations[kept], translations[kept]


def site_images(
    fractions: Floats, rotation: Floats, translation: Floats, cell: Floats
) -> tuple[Ints, Ints] | None:
    """Return the site that each comes to by an operation, and its cell.

    Parameters
    ----------
    fractions
        Fractional coordinates of the sites, (ns, 3).
    rotation, translation
        The operation, (3, 3) and (3,).
    cell
        Vectors as rows, (3, 3), Å.

    Returns
    -------
    tuple or None
        Numbers (ns,) and cells (ns, 3); None where a site comes to none.
    """
    moved = fractions @ rotation.T + translation
    between = moved[:, None] - fractions[None]
    cells = np.rint(between)
    distances = np.linalg.norm((between - cells) @ cell, axis=-1)
    image = distances.argmin(axis=1)
    rows = np.arange(len(fractions))
    if (distances[rows, image] > _SITE_ANGSTROM).any():
        return None
    return image.astype(np.int64), cells[rows, image].astype(np.int64)
