# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which moments count: one rule for every function that asks a model.

1. What is passed explicitly: an expression (``Mn=3+HS``), states or moments.
2. Labels that the structure carries: array ``spin_states``, with the directions of
   ``labels`` in a frame of a run.
3. Its calculated moments, while they belong to these atoms.
4. Its initial moments (pymatgen: ``magmom``).

No label at all is an error. A site that is labelled by number keeps that number. A site
that is labelled by the name of a state has the moment that the model predicts of this
state at this geometry, and so has every site that nobody labelled; a model without
moment net takes the mean moment of the state, and zero where there is no label. Only
elements without spin states of their own, such as oxygen, may go unlabelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

import numpy as np

from spin_dp.errors import ConfigError
from spin_dp.spin_states.labels import (
    HOW_TO_LABEL,
    Labels,
    Sites,
    labels_of_moments,
    labels_of_states,
    numbered_sites,
    ordered,
    parse_labels,
)
from spin_dp.structures import (
    LABELS,
    NO_STATE,
    SPIN_STATES,
    carried_moments,
    moment_vectors,
    read_moments,
)

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import ArrayLike, NDArray

    from spin_dp.spin_states.catalogue import Catalogue
    from spin_dp.structures import Array

Given: TypeAlias = "str | Mapping[str | int, str | float] | Sequence[str] | ArrayLike"
"""An expression of labels, labels by element or atom, the state of each atom, or
moments (n,) or (n, 3) in μB."""


def find_labels(
    atoms: Atoms,
    given: Given | None,
    catalogue: Catalogue,
    *,
    order: str | None = None,
    read_elements: Sequence[str],
) -> Labels:
    """Return the labels that count for a structure.

    Parameters
    ----------
    atoms
        The structure, n atoms.
    given
        What was passed explicitly, if anything.
    catalogue
        Spin states that the model knows.
    order
        Name of a magnetic ordering that the labels get.
    read_elements
        Elements whose moments the model reads.

    Raises
    ------
    ConfigError
        If there are no labels, or some element with spin states has none; if a label is
        not understood, or belongs to an element whose moments the model does not read.
    ShapeError, DataError
        If moments do not fit the atoms or are not finite.
    """
    symbols = atoms.get_chemical_symbols()
    sites = Sites(symbols, atoms.cell.array, atoms.positions)
    labels = (
        _carried(atoms, sites, catalogue, order, read_elements)
        if given is None
        else _given(given, sites, catalogue, order)
    )
    _refuse_unread(labels.moments, symbols, read_elements)
    # Of elements that the model does not read there is nothing to predict.
    is_read = np.isin(symbols, list(read_elements))
    labels = replace(labels, is_labelled=labels.is_labelled | ~is_read)
    bare = sorted(
        element
        for element in {
            symbol
            for symbol, is_labelled in zip(symbols, labels.is_labelled, strict=True)
            if not is_labelled
        }
        if catalogue.has_states(element)
    )
    if bare:
        raise ConfigError(
            f"{atoms.get_chemical_formula()}: {', '.join(bare)} has no label; the "
            f"model knows {catalogue.describe(bare)}. Label {HOW_TO_LABEL}."
        )
    return labels


def find_numbered(
    patterns: Array, atoms: Atoms, catalogue: Catalogue, *, read_elements: Sequence[str]
) -> NDArray[np.bool_]:
    """Return which sites of many patterns are labelled by their moments.

    Parameters
    ----------
    patterns
        Moments passed explicitly, (k, n, 3), μB.
    atoms, catalogue, read_elements
        As for :func:`find_labels`.

    Returns
    -------
    ndarray
        (k, n); the moments of other sites are predicted.

    Raises
    ------
    ConfigError
        If an element has a moment that the model does not read.
    """
    symbols = atoms.get_chemical_symbols()
    _refuse_unread(patterns, symbols, read_elements)
    is_read = np.isin(symbols, list(read_elements))
    return numbered_sites(patterns, symbols, catalogue) | ~is_read


def _refuse_unread(
    moments: Array, symbols: Sequence[str], read_elements: Sequence[str]
) -> None:
    """Refuse moments, (..., n, 3), of elements that the model does not read."""
    magnetic = np.unique(np.nonzero(moments)[-2]).tolist()
    unread = {symbols[atom] for atom in magnetic} - {*read_elements}
    if unread:
        names = ", ".join(sorted(unread))
        raise ConfigError(
            f"labels: {names} carries a moment, but the model reads moments of "
            f"{', '.join(read_elements)} only; set it to 0, or train with {names} in "
            "use_spin."
        )


def _given(
    given: Given, sites: Sites, catalogue: Catalogue, order: str | None
) -> Labels:
    if isinstance(given, Mapping):
        given = " ".join(f"{key}={value}" for key, value in given.items())
    if isinstance(given, str):
        path = Path(given)
        if "=" in given or not path.is_file():
            return parse_labels(given, sites, catalogue, order=order)
        given = read_moments(path)
    names = [name for name in given if isinstance(name, str)] if _is_list(given) else []
    if names:
        labels = labels_of_states(names, sites, catalogue)
    else:
        vectors = moment_vectors(given, len(sites.symbols))
        labels = labels_of_moments(vectors, sites.symbols, catalogue)
    return ordered(labels, sites, catalogue, order)


def _is_list(given: object) -> TypeGuard[Sequence[object]]:
    return isinstance(given, list | tuple)


def _carried(
    atoms: Atoms,
    sites: Sites,
    catalogue: Catalogue,
    order: str | None,
    read_elements: Sequence[str],
) -> Labels:
    if atoms.has(SPIN_STATES):
        names = [
            "" if name == NO_STATE else str(name) for name in atoms.arrays[SPIN_STATES]
        ]
        labels = labels_of_states(names, sites, catalogue)
        if atoms.has(LABELS):  # a frame of a run, whose moments may turn
            vectors = moment_vectors(atoms.arrays[LABELS], len(atoms), name=LABELS)
            is_named = np.array([bool(name) for name in names])
            turned = np.where(is_named[:, None], vectors, labels.moments)
            labels = replace(labels, moments=turned)
        return ordered(labels, sites, catalogue, order)
    moments = carried_moments(atoms)
    if moments is None:
        magnetic = [name for name in read_elements if name in sites.symbols]
        raise ConfigError(
            f"{atoms.get_chemical_formula()} has no labels: none were given, and it "
            "carries neither initial moments nor calculated ones that belong to these "
            f"positions. The model knows {catalogue.describe(magnetic) or 'no states'}."
            f" Label {HOW_TO_LABEL}."
        )
    # DFT files have small moments on every atom; those that are not read are no labels.
    is_read = np.isin(sites.symbols, list(read_elements))
    moments[~is_read] = 0.0
    labels = labels_of_moments(moments, sites.symbols, catalogue)
    return ordered(labels, sites, catalogue, order)
