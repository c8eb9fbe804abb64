# SPDX-License-Identifier: LGPL-3.0-or-later
"""An ASE calculator that reads labels and returns moments with the energy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from spin_dp.inference.predictor import SpinDP
from spin_dp.structures import SPIN_STATES, moment_vectors, shortest_moments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ase import Atoms

    from spin_dp.inference.labelling import Given
    from spin_dp.structures import Array


Carried: TypeAlias = Literal["states", "moments"]
"""What initial moments stand for where they are all that a structure carries."""


class SpinDPCalculator(Calculator):  # type: ignore[misc]
    """ASE calculator of a spin-aware Deep Potential.

    Labels come from ``moments``, else from the atoms: their array ``spin_states``, else
    their initial moments (:mod:`spin_dp.inference.labelling`). The moments that they
    stand for, predicted ones among them, are found where the atoms are first seen and
    then held while they move, so that forces are derivatives of the energy; other
    labels or :meth:`reset` find them anew. States by name of a model that learnt them
    are held as such: its energy is that of the states with their moments relaxed.
    Moments come back as ``magmoms`` and ``magmom`` (μB), those that the states have at
    the present positions where states are held. Beyond ASE's properties,
    ``results["magnetic_forces"]`` holds -dE/dm, (n, 3), eV/μB. Of several models the
    first one gives all these, and each call asks all for ``results["energy_spread"]``
    (eV), ``["force_deviation"]`` (n,) (eV/Å) and ``["magnetic_force_deviation"]`` (n,)
    (eV/μB), see
    :class:`spin_dp.inference.uncertainty.Uncertainty`.

    Parameters
    ----------
    model
        A model file, several of an ensemble, or a loaded :class:`spin_dp.SpinDP`.
    moments, order
        Labels and magnetic ordering, as for :meth:`spin_dp.SpinDP.evaluate`.
    carried
        For programs that hand on initial moments but no names of states: these moments
        are what the model reads, on every atom, as LAMMPS carries them. ``states``:
        they are the mean moments of the states of the sites, zero elsewhere, and stand
        for these states; ``moments``: they are held.
    **kwargs
        Passed on to ASE's Calculator.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        "magmom",
        "magmoms",
    ]

    def __init__(
        self,
        model: str | Path | Sequence[str | Path] | SpinDP,
        *,
        moments: Given | None = None,
        order: str | None = None,
        carried: Carried | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        self._carried = carried
        self.model = model if isinstance(model, SpinDP) else SpinDP(model)
        self._labels, self._order = moments, order
        self._held: tuple[Atoms, Array, bool] | None = None

    def reset(self) -> None:
        """Forget results and moments; labels are read anew."""
        super().reset()
        self._held = None

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what has changed since the last calculation, labels among it."""
        changes: list[str] = super().check_state(atoms, tol)
        if self.atoms is not None and not _same_array(self.atoms, atoms, SPIN_STATES):
            changes.append("initial_magmoms")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute all properties of the atoms in the spin state that they carry."""
        super().calculate(atoms, properties, system_changes)
        spreads: dict[str, Any] = {}
        held, are_states = self._inputs()
        if self.model.ensemble is None:
            result = self.model.predict(self.atoms, held[None]).part(0)
        else:
            given = np.ones((1, len(held)), dtype=np.bool_)
            found = self.model.ensemble.ask(
                self.atoms, held[None], held[None], given, 0, states=are_states
            )
            result = found.prediction
            spreads = {
                "energy_spread": float(found.energy_spread),
                "force_deviation": found.force_deviation,
                "magnetic_force_deviation": found.magnetic_force_deviation,
            }
        if are_states and self.model.info.predicts_moments:
            moments = shortest_moments(self.model.predict_moments(self.atoms, held))
        else:
            moments = shortest_moments(held)
        self.results = {
            "energy": float(result.energy),
            "free_energy": float(result.energy),
            "energies": result.atomic_energies,
            "forces": result.forces,
            "magmoms": moments,
            "magmom": float(moments.sum()) if moments.ndim == 1 else moments.sum(0),
            "magnetic_forces": result.magnetic_forces,
            **spreads,
        }
        if self.atoms.pbc.all():
            stress = -result.virial / self.atoms.get_volume()
            symmetric = 0.5 * (stress + np.transpose(stress))
            self.results["stress"] = full_3x3_to_voigt_6_stress(symmetric)

    def _inputs(self) -> tuple[Array, bool]:
        """Return what the model reads, (n, 3), μB, and whether it stands for states."""
        if self._carried is not None:
            initial = self.atoms.get_initial_magnetic_moments()
            return moment_vectors(initial, len(self.atoms)), self._carried == "states"
        if self._held is None or not _same_labels(self._held[0], self.atoms):
            labels = self.model.labels(self.atoms, self._labels, order=self._order)
            are_states = self.model.means_states(labels)
            moments = self.model.inputs_of(self.atoms, labels)
            self._held = (self.atoms.copy(), moments, are_states)
        return self._held[1:]


def _same_labels(a: Atoms, b: Atoms) -> bool:
    return len(a) == len(b) and all(
        _same_array(a, b, name) for name in ("numbers", "initial_magmoms", SPIN_STATES)
    )


def _same_array(a: Atoms, b: Atoms, name: str) -> bool:
    if a.has(name) != b.has(name):
        return False
    return not a.has(name) or np.array_equal(a.arrays[name], b.arrays[name])
