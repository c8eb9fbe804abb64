# SPDX-License-Identifier: LGPL-3.0-or-later
"""Trajectories of named labels: states of sites, and the moments they have there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ase.io
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_extxyz

from spin_dp.files import replacing
from spin_dp.spin_states.labels import signed_name
from spin_dp.structures import LABELS, NO_STATE, SPIN_STATES, moment_vectors

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.inference.predictor import SpinDP
    from spin_dp.spin_states.catalogue import Catalogue
    from spin_dp.spin_states.labels import Labels

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
    names = np.array(
        [
            NO_STATE if state is None else signed_name(state.name, up)
            for state, up in zip(labels.states, labels.moments[:, 2], strict=True)
        ]
    )
    with replacing(trajectory) as part, part.open("w", encoding="utf-8") as file:
        for atoms in ase.io.iread(trajectory, index=":", format="extxyz"):
            atoms.set_array(SPIN_STATES, names)
            write_extxyz(file, [atoms])


def _name(atoms: Atoms, model: SpinDP) -> None:
    results = dict(atoms.calc.results)
    moments = np.asarray(results["magmoms"], dtype=np.float64)
    atoms.set_array(LABELS, moments)
    vectors = moment_vectors(moments, len(atoms))
    atoms.set_array(SPIN_STATES, _names(atoms, vectors, model.states))
    if model.info.predicts_moments:
        results["magmoms"] = model.predict_moments(atoms, moments)
    atoms.calc = SinglePointCalculator(atoms, **results)


def _names(
    atoms: Atoms, moments: NDArray[np.float64], catalogue: Catalogue
) -> NDArray[np.str_]:
    """Return the state of each site, with its sign where it points down along z."""
    known = {
        element: [s for s in catalogue.of(element) if s.is_usual]
        for element in set(atoms.get_chemical_symbols())
        if catalogue.has_states(element)
    }
    names = []
    lengths = np.linalg.norm(moments, axis=1)
    for symbol, length, up in zip(
        atoms.get_chemical_symbols(), lengths, moments[:, 2], strict=True
    ):
        alike = [
            state
            for state in known.get(symbol, ())
            if abs(state.moment - length) < _SAME_MUB
        ]
        # Of states with one moment that of more sites: LAMMPS cannot tell them apart.
        best = max(alike, key=lambda state: state.sites, default=None)
        names.append(NO_STATE if best is None else signed_name(best.name, up))
    return np.array(names)
