# SPDX-License-Identifier: LGPL-3.0-or-later
"""Trajectories of named labels: states of sites, and the moments they have there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ase.io
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_extxyz

from spin_dp.files import replacing
from spin_dp.structures import SPIN_STATES

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.inference.predictor import SpinDP
    from spin_dp.spin_states.catalogue import Catalogue
    from spin_dp.spin_states.labels import Labels

LABELS = "labels"
"""Array of a frame: the moments that LAMMPS carries, (n, 3), μB."""

NO_STATE = "none"
"""Of a site without one; an empty word would not be read back."""

_SAME_MUB = 1e-4


def name_states(trajectory: Path, model: SpinDP) -> None:
    """Add names and predicted moments to the frames of a trajectory.

    A frame then has the state of each site (``spin_states``), the moments that LAMMPS
    carried (``labels``), and as its magnetic moments those that the model predicts of
    these states in this geometry; as it predicts none, what it had.

    Parameters
    ----------
    trajectory
        Extended XYZ; it is replaced when all frames are done, and left alone where
        that was done before.
    model
        Whose states they are.
    """
    with replacing(trajectory) as part, part.open("w", encoding="utf-8") as file:
        for atoms in ase.io.iread(trajectory, index=":", format="extxyz"):
            if not atoms.has(LABELS):
                _name(atoms, model)
            write_extxyz(file, [atoms])


def keep_states(trajectory: Path, labels: Labels) -> None:
    """Add the states that the sites of a run keep to the frames of its trajectory.

    Parameters
    ----------
    trajectory
        Extended XYZ; it is replaced when all frames are done.
    labels
        Of the run; a trajectory without any named state is left alone.
    """
    if not any(labels.states):
        return
    names = np.array([state.name if state else NO_STATE for state in labels.states])
    with replacing(trajectory) as part, part.open("w", encoding="utf-8") as file:
        for atoms in ase.io.iread(trajectory, index=":", format="extxyz"):
            atoms.set_array(SPIN_STATES, names)
            write_extxyz(file, [atoms])


def _name(atoms: Atoms, model: SpinDP) -> None:
    results = dict(atoms.calc.results)
    moments = np.asarray(results["magmoms"], dtype=np.float64)
    atoms.set_array(LABELS, moments)
    lengths = np.linalg.norm(moments, axis=-1) if moments.ndim == 2 else np.abs(moments)
    atoms.set_array(SPIN_STATES, _names(atoms, lengths, model.states))
    if model.info.predicts_moments:
        results["magmoms"] = model.predict_moments(atoms, moments)
    atoms.calc = SinglePointCalculator(atoms, **results)


def _names(
    atoms: Atoms, lengths: NDArray[np.float64], catalogue: Catalogue
) -> NDArray[np.str_]:
    known = {
        element: [s for s in catalogue.of(element) if s.is_usual]
        for element in set(atoms.get_chemical_symbols())
        if catalogue.has_states(element)
    }
    names = []
    for symbol, length in zip(atoms.get_chemical_symbols(), lengths, strict=True):
        alike = [
            state
            for state in known.get(symbol, ())
            if abs(state.moment - length) < _SAME_MUB
        ]
        # Of states with one moment that of more sites: LAMMPS cannot tell them apart.
        best = max(alike, key=lambda state: state.sites, default=None)
        names.append(NO_STATE if best is None else best.name)
    return np.array(names)
