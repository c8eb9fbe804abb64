# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a property is asked of: a structure in a spin state, and what gives energies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from spin_dp.errors import DataError
from spin_dp.properties.energies import CalculatorEnergies, ModelEnergies
from spin_dp.spin_states.catalogue import Catalogue
from spin_dp.spin_states.elements import formula
from spin_dp.spin_states.frame_name import SiteKeys
from spin_dp.spin_states.key import NO_METAL
from spin_dp.spin_states.labels import signed_name
from spin_dp.structures import (
    NO_STATE,
    SPIN_STATES,
    as_atoms,
    moment_vectors,
    shortest_moments,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase.calculators.calculator import Calculator
    from pymatgen.core import Structure

    from spin_dp.inference.labelling import Given
    from spin_dp.inference.predictor import SpinDP
    from spin_dp.properties.energies import Energies, LabelMode
    from spin_dp.spin_states.catalogue import SpinState
    from spin_dp.spin_states.labels import Labels
    from spin_dp.structures import Array

_INITIAL = "initial_magmoms"


@dataclass(frozen=True, eq=False)
class Subject:
    """A structure in a spin state, and what gives its energies.

    Labels travel with the atoms as initial magnetic moments (of all atoms, μB: what the
    calculators of :meth:`calculator` read), whatever program hands them on; their names
    stand beside them in the array ``spin_states``. Make one by :meth:`of_model` or
    :meth:`of_calculator`.

    Attributes
    ----------
    atoms
        The structure; a copy, without calculator.
    energies
        What gives energies.
    site_states
        State of each atom; None of those without one.
    spin_state
        Key of the spin state, :mod:`spin_dp.spin_states.key`.
    member
        Which model of an ensemble; 0 is the one that answers.
    geometries_of
        Whose geometries are taken, where nothing relaxes by itself
        (:meth:`spin_dp.properties.Result.at_same_geometries`); None: its own.
    """

    atoms: Atoms
    energies: Energies
    site_states: Sequence[SpinState | None]
    spin_state: str
    member: int = 0
    geometries_of: Subject | None = None

    @classmethod
    def of_model(
        cls,
        structure: Atoms | Structure,
        model: SpinDP,
        labels: Given | None = None,
        *,
        order: str | None = None,
        label_mode: LabelMode | None = None,
        name: str | None = None,
    ) -> Subject:
        """Return a structure whose energies a model gives.

        Parameters
        ----------
        structure
            ASE Atoms or pymatgen Structure.
        model
            Of an ensemble the first model answers, and the others say how far it can
            be trusted. Compiled models are the fastest
            (:func:`spin_dp.deployment.fast_models`).
        labels, order
            As for :meth:`spin_dp.SpinDP.evaluate`.
        label_mode
            ``adiabatic``: sites stay in their states, and moments follow the
            positions. ``held``: moments stay as they are in this structure. None:
            adiabatic where all sites are labelled by name and the models learnt states.
        name
            Of the model in tables; None: that of its file.

        Raises
        ------
        ConfigError, ShapeError, DataError
            As :meth:`spin_dp.SpinDP.labels`; if the model cannot do ``label_mode``.
        """
        atoms = as_atoms(structure)
        found = model.labels(atoms, labels, order=order)
        energies = ModelEnergies.of(model, found, label_mode, name)
        return _labelled(atoms, energies, found)

    @classmethod
    def of_calculator(
        cls,
        structure: Atoms | Structure,
        make: Callable[[], Calculator],
        labels: Given | None = None,
        *,
        name: str,
        order: str | None = None,
        states: Catalogue | None = None,
        settings: str = "",
    ) -> Subject:
        """Return a structure whose energies another ASE calculator gives.

        Parameters
        ----------
        structure, labels, order
            As for :meth:`of_model`.
        make
            Returns a new calculator. It starts from the initial moments that labels
            stand for, if it reads any.
        name
            Of the calculator in tables.
        states
            What names stand for, such as ``model.states``; None: nominal states.
        settings
            What else its results depend on, in any words: results of other settings
            are not taken for these.

        Raises
        ------
        ConfigError, ShapeError, DataError
            As :meth:`of_model`.
        """
        atoms = as_atoms(structure)
        energies = CalculatorEnergies(make, name, states or Catalogue(), settings)
        return _labelled(atoms, energies, energies.labels(atoms, labels, order))

    @property
    def members(self) -> list[Subject]:
        """The same for each model of the ensemble; one of a single model."""
        return [replace(self, member=k) for k in range(self.energies.members)]

    @property
    def model(self) -> str:
        """Name of what gives the energies."""
        return self.energies.name

    @property
    def label_mode(self) -> LabelMode:
        """What labels are, :data:`spin_dp.properties.energies.LabelMode`."""
        return self.energies.label_mode

    @property
    def formula(self) -> str:
        """Formula of the cell."""
        return formula(self.atoms.get_chemical_symbols())

    @property
    def identity(self) -> dict[str, Any]:
        """Fields of a :class:`spin_dp.properties.result.Result` that say whose it is.

        ``formula``, ``spin_state``, ``label_mode`` and ``model``.
        """
        return {
            "formula": self.formula,
            "spin_state": self.spin_state,
            "label_mode": self.label_mode,
            "model": self.model,
        }

    def calculator(self) -> Calculator:
        """Return a new ASE calculator that reads the initial moments of its atoms."""
        return self.energies.calculator(self.member)

    def calculated(self, structure: Atoms | Structure | None = None) -> Atoms:
        """Return labelled atoms with a calculator of their own.

        Parameters
        ----------
        structure
            One that carries labels, see :meth:`labelled`; None: that of the subject.
        """
        atoms = self.atoms.copy() if structure is None else self.labelled(structure)
        atoms.calc = self.calculator()
        return atoms

    def labelled(self, structure: Atoms | Structure) -> Atoms:
        """Return the atoms of a structure that carries labels, with their names.

        Parameters
        ----------
        structure
            Displaced, strained, relaxed or repeated by any program that hands on
            initial moments (of pymatgen structures the site property ``magmom``).

        Returns
        -------
        Atoms
            With initial moments and ``spin_states``; each moment is that of the state
            of the subject which is nearest to it.

        Raises
        ------
        DataError
            If the moments were lost on the way.
        """
        atoms = _bare(as_atoms(structure))
        moments = atoms.get_initial_magnetic_moments()
        if self.atoms.arrays[_INITIAL].any() and not np.any(moments):
            raise DataError(
                f"{atoms.get_chemical_formula()}: the labels of {self.spin_state} were "
                "lost: it carries no initial moments. Hand them on, or label it anew."
            )
        vectors = moment_vectors(moments, len(atoms))
        atoms.set_initial_magnetic_moments(shortest_moments(vectors))
        states = self._states_of(atoms, vectors)
        atoms.set_array(SPIN_STATES, _names(states, vectors))
        return atoms

    def carrying(self, structure: Atoms | Structure) -> Subject:
        """Return the subject of another structure that carries labels.

        Parameters
        ----------
        structure
            As for :meth:`labelled`, such as a supercell.
        """
        atoms = self.labelled(structure)
        moments = moment_vectors(atoms.get_initial_magnetic_moments(), len(atoms))
        states = self._states_of(atoms, moments)
        key = _key(atoms, moments, states, self.energies)
        return replace(self, atoms=atoms, site_states=states, spin_state=key)

    def relabelled(
        self,
        structure: Atoms | Structure,
        labels: Given | None = None,
        *,
        order: str | None = None,
    ) -> Subject:
        """Return the subject of another structure with labels of its own.

        Parameters
        ----------
        structure, labels, order
            As for :meth:`of_model`. The mode stays.
        """
        atoms = as_atoms(structure)
        found = self.energies.labels(atoms, labels, order)
        return replace(_labelled(atoms, self.energies, found), member=self.member)

    def becomes(self, atoms: Atoms) -> str:
        """Return the key of the moments that atoms have, where it is another one.

        Parameters
        ----------
        atoms
            Calculated, in the order of the subject.

        Returns
        -------
        str
            Empty where all sites are still in their states, or the calculator has no
            moments.
        """
        moments = getattr(atoms.calc, "results", {}).get("magmoms")
        keys, sites = _site_keys(atoms, self.site_states, self.energies)
        if moments is None or not sites:
            return ""
        given = moment_vectors(self.atoms.get_initial_magnetic_moments(), len(atoms))
        found = moment_vectors(moments, len(atoms))
        labels = _signed(self.site_states, given)
        return keys.becomes(labels, found[sites, 2])

    def _states_of(self, atoms: Atoms, moments: Array) -> list[SpinState | None]:
        """Return the states of the subject that are nearest to the moments."""
        known: dict[str, list[tuple[float, SpinState]]] = {}
        own = moment_vectors(self.atoms.get_initial_magnetic_moments(), len(self.atoms))
        for symbol, length, state in zip(
            self.atoms.get_chemical_symbols(),
            np.linalg.norm(own, axis=1).tolist(),
            self.site_states,
            strict=True,
        ):
            if state is not None:
                known.setdefault(symbol, []).append((length, state))
        return [
            min(
                known.get(symbol, ()),
                key=lambda pair: abs(pair[0] - length),
                default=(0.0, None),
            )[1]
            for symbol, length in zip(
                atoms.get_chemical_symbols(),
                np.linalg.norm(moments, axis=1).tolist(),
                strict=True,
            )
        ]


def _labelled(atoms: Atoms, energies: Energies, labels: Labels) -> Subject:
    """Return the subject of atoms with labels."""
    moments = energies.carried(atoms, labels)
    symbols = atoms.get_chemical_symbols()
    lengths = np.linalg.norm(moments, axis=1).tolist()
    # Sites that are labelled by number are in the state with the nearest moment.
    states = [
        energies.states.nearest(symbol, length)
        if state is None and energies.states.has_states(symbol)
        else state
        for symbol, state, length in zip(symbols, labels.states, lengths, strict=True)
    ]
    bare = _bare(atoms)
    bare.set_initial_magnetic_moments(shortest_moments(moments))
    bare.set_array(SPIN_STATES, _names(states, moments))
    key = _key(bare, moments, states, energies)
    return Subject(bare, energies, states, key)


def _bare(atoms: Atoms) -> Atoms:
    """Return a copy with nothing but positions, cell and initial moments."""
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if atoms.has(_INITIAL):
        bare.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
    return bare


def _names(states: Sequence[SpinState | None], moments: Array) -> np.ndarray:
    return np.array(
        [
            NO_STATE if state is None else signed_name(state.name, up)
            for state, up in zip(states, moments[:, 2].tolist(), strict=True)
        ]
    )


def _key(
    atoms: Atoms,
    moments: Array,
    states: Sequence[SpinState | None],
    energies: Energies,
) -> str:
    keys, sites = _site_keys(atoms, states, energies)
    return keys.key(_signed(states, moments)) if sites else NO_METAL


def _site_keys(
    atoms: Atoms, states: Sequence[SpinState | None], energies: Energies
) -> tuple[SiteKeys, list[int]]:
    """Return what writes keys of the sites with states, and these sites."""
    sites = [k for k, state in enumerate(states) if state is not None]
    symbols = atoms.get_chemical_symbols()
    keys = SiteKeys(
        [symbols[k] for k in sites],
        atoms.cell.array,
        atoms.positions[sites],
        energies.states,
    )
    return keys, sites


def _signed(
    states: Sequence[SpinState | None], moments: Array
) -> list[tuple[SpinState, int]]:
    return [
        (state, state.sign(-1 if up < 0.0 else 1))
        for state, up in zip(states, moments[:, 2].tolist(), strict=True)
        if state is not None
    ]
