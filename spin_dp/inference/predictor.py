# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energies of spin states: a model, a structure, labels of one or many spin states."""

from __future__ import annotations

import os
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError
from spin_dp.inference.engines import Geometries
from spin_dp.inference.labelling import find_labels, find_numbered
from spin_dp.inference.potential import Potential
from spin_dp.inference.prediction import Prediction, pattern_vectors, refuse_many
from spin_dp.model_file import require_spin
from spin_dp.pretrained import resolve_all
from spin_dp.structures import as_atoms, moment_vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core import Structure

    from spin_dp.inference.ensemble import Ensemble
    from spin_dp.inference.labelling import Given
    from spin_dp.inference.uncertainty import Uncertainty
    from spin_dp.spin_states.catalogue import Catalogue
    from spin_dp.spin_states.labels import Labels

    Floats = NDArray[np.float64]


class SpinDP:
    """A spin-aware Deep Potential.

    Which moments count is one rule for all functions, see
    :mod:`spin_dp.inference.labelling`. A model that learnt labels
    (``info.reads_labels``) has two energies. That of *moments*, given by number. And
    that of *states*, where all sites are labelled by name: the model reads the mean
    moment of each site's state and nothing elsewhere, and answers with the energy that
    this state has at this geometry, its moments relaxed; forces are derivatives of it.
    A model without it reads the moments that it predicts of the states.

    Parameters
    ----------
    path
        A frozen or compressed model (.pth), a compiled one (.pt2), or another spin
        model that deepmd-kit reads; or the name of a shipped model, ``lixmo2``. A
        compiled one is the fastest. Several files, or a name, are an ensemble: the
        first one answers, all together give :meth:`uncertainty`.
    device
        ``cpu``, ``cuda`` or ``cuda:1`` ...; None: the first GPU if there is one.
    calibration
        Of an ensemble, see :class:`spin_dp.inference.ensemble.Ensemble`.

    Raises
    ------
    DataError
        If there is no such file or name, or it is no model.
    ConfigError
        If a model reads no moments, or several do not go together.

    Examples
    --------
    >>> model = SpinDP("model.pt2")  # doctest: +SKIP
    >>> model.evaluate(atoms, "Mn=3+HS", order="AFM").energy  # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        device: str | None = None,
        *,
        calibration: str | os.PathLike[str] | None = None,
    ) -> None:
        first, *self._others = resolve_all(path)
        self._device, self._calibration = device, calibration
        self.potential = Potential(first, device)
        self.info = self.potential.info
        require_spin(self.info)
        self._last: Geometries | None = None
        if calibration is not None and not self._others:
            raise ConfigError(
                f"{calibration}: a calibration is that of an ensemble, got one model, "
                f"{self.info.path}; give all of its models."
            )
        if not isinstance(path, str | os.PathLike):
            _ = self.ensemble  # those of a name go together, and wait until asked

    @cached_property
    def ensemble(self) -> Ensemble | None:
        """All models; None of a single one."""
        if not self._others:
            return None
        from spin_dp.inference.ensemble import Ensemble  # it is made of these

        members = [self, *(SpinDP(other, self._device) for other in self._others)]
        return Ensemble(members, calibration=self._calibration)

    @property
    def first(self) -> SpinDP:
        """The model that answers, without the others of its ensemble."""
        if not self._others:
            return self
        single = copy(self)
        single._others = []
        single.__dict__.pop("ensemble", None)
        return single

    @property
    def type_map(self) -> list[str]:
        """Elements that the model knows."""
        return self.info.type_map

    @property
    def spin_elements(self) -> list[str]:
        """Elements whose moments the model reads."""
        return self.info.spin_elements

    @property
    def cutoff(self) -> float:
        """Cutoff radius, Å."""
        return self.info.cutoff

    @property
    def states(self) -> Catalogue:
        """Spin states that the model knows, and the moments they stand for."""
        return self.info.catalogue

    def labels(
        self,
        structure: Atoms | Structure,
        moments: Given | None = None,
        *,
        order: str | None = None,
    ) -> Labels:
        """Return the labels that count for a structure.

        Parameters
        ----------
        structure
            ASE Atoms or pymatgen Structure with n atoms.
        moments
            ``"Mn=3+HS"`` and the like (:mod:`spin_dp.spin_states.labels`), the state of
            each atom, labels by element or atom, or moments (n,) or (n, 3) in μB; None
            takes what the structure carries.
        order
            Magnetic ordering that the labelled sites get, ``FM``, ``AFM``,
            ``AFM-001``.

        Raises
        ------
        ConfigError
            If there are no labels, or they are not understood.
        ShapeError, DataError
            If moments do not fit the atoms or are not finite.
        """
        return find_labels(
            as_atoms(structure),
            moments,
            self.states,
            order=order,
            read_elements=self.spin_elements,
        )

    def moments(
        self,
        structure: Atoms | Structure,
        moments: Given | None = None,
        *,
        order: str | None = None,
    ) -> Floats:
        """Return the moments that labels stand for in a structure.

        Parameters
        ----------
        structure, moments, order
            As for :meth:`labels`.

        Returns
        -------
        ndarray
            (n, 3), μB: numbers as they were given; predicted for sites that are
            labelled by name, or not at all.

        Raises
        ------
        ConfigError, ShapeError, DataError
            As :meth:`labels`.
        """
        atoms = as_atoms(structure)
        return self.moments_of(atoms, self.labels(atoms, moments, order=order))

    def inputs_of(self, structure: Atoms | Structure, labels: Labels) -> Floats:
        """Return what the model reads for labels, (n, 3), μB.

        The mean moments of the states where all sites are labelled by name and the
        model learnt such; else :meth:`moments_of`.
        """
        if self.means_states(labels):
            return labels.moments
        return self.moments_of(structure, labels)

    def means_states(self, labels: Labels) -> bool:
        """Return whether the energy of labels is that of states, not of moments."""
        return self.info.reads_labels and labels.is_named

    def moments_of(self, structure: Atoms | Structure, labels: Labels) -> Floats:
        """Return the moments of labels that :meth:`labels` gave, (n, 3), μB."""
        if not self.info.predicts_moments or labels.is_number.all():
            return labels.moments
        predicted = self._predict(as_atoms(structure), labels.moments[None])[0]
        return np.where(labels.is_number[:, None], labels.moments, predicted)

    def check(self, structure: Atoms | Structure, moments: Floats) -> None:
        """Refuse what :meth:`evaluate` would refuse, without evaluating.

        Parameters
        ----------
        structure
            ASE Atoms or pymatgen Structure with n atoms.
        moments
            Of all atoms, (n, 3), μB.

        Raises
        ------
        ConfigError, ShapeError, DataError
            As :meth:`evaluate`.
        """
        atoms = as_atoms(structure)
        self.potential.check(
            atoms.get_chemical_symbols(), self.geometry(atoms), moments[None]
        )

    def evaluate(
        self,
        structure: Atoms | Structure,
        moments: Given | None = None,
        *,
        order: str | None = None,
    ) -> Prediction:
        """Return energy and derivatives of a structure in one spin state.

        Parameters
        ----------
        structure, moments, order
            As for :meth:`labels`.

        Raises
        ------
        ConfigError
            If the structure has an element that the model does not know; as
            :meth:`labels`.
        ShapeError
            If the moments do not fit the atoms.
        DataError
            If positions or moments are not finite, atoms overlap, or a moment is far
            from all that the model was trained on.
        BackendError
            If deepmd-kit fails.
        """
        atoms = as_atoms(structure)
        refuse_many(moments, len(atoms))
        labels = self.labels(atoms, moments, order=order)
        return self.predict(atoms, self.inputs_of(atoms, labels)[None]).part(0)

    def evaluate_many(
        self, structure: Atoms | Structure, patterns: ArrayLike
    ) -> Prediction:
        """Return energies and derivatives of a structure in many spin states.

        Neighbours are found once, which makes it faster than one by one.

        Parameters
        ----------
        structure
            ASE Atoms or pymatgen Structure with n atoms.
        patterns
            Moments by number, (k, n) collinear or (k, n, 3), μB; those of elements
            without spin states of their own (oxygen) are predicted in patterns that
            give them none.

        Returns
        -------
        Prediction
            With a leading axis k.

        Raises
        ------
        ConfigError, ShapeError, DataError, BackendError
            As :meth:`evaluate`.
        """
        atoms = as_atoms(structure)
        return self.predict(atoms, self.complete(atoms, patterns)[0])

    def uncertainty(
        self,
        structure: Atoms | Structure,
        moments: Given | None = None,
        *,
        order: str | None = None,
    ) -> Uncertainty:
        """Return how far the models of an ensemble agree on one spin state.

        Parameters
        ----------
        structure, moments, order
            As for :meth:`evaluate`.

        Raises
        ------
        ConfigError
            If this is a single model; as :meth:`evaluate`.
        ShapeError, DataError, BackendError
            As :meth:`evaluate`.
        """
        return self._all_models().evaluate(structure, moments, order=order)

    def uncertainty_many(
        self, structure: Atoms | Structure, patterns: ArrayLike
    ) -> Uncertainty:
        """Return how far they agree on many, see :meth:`evaluate_many`."""
        return self._all_models().evaluate_many(structure, patterns)

    def _all_models(self) -> Ensemble:
        if self.ensemble is None:
            raise ConfigError(
                f"{self.info.path} is one model, and an uncertainty needs several "
                "of other seeds (`spin-dp init --seed`); open them together, "
                "SpinDP([first, second, ...])."
            )
        return self.ensemble

    def complete(
        self, atoms: Atoms, patterns: ArrayLike
    ) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Return patterns with the moments that they leave to be predicted.

        Parameters
        ----------
        atoms, patterns
            As for :meth:`evaluate_many`.

        Returns
        -------
        tuple
            Moments, and the patterns as they were given, (k, n, 3), μB; which sites
            were given, (k, n).
        """
        given = pattern_vectors(patterns, len(atoms))
        is_number = find_numbered(
            given, atoms, self.states, read_elements=self.spin_elements
        )
        if not self.info.predicts_moments or is_number.all():
            return given, given, is_number
        predicted = self._predict(atoms, given)
        return np.where(is_number[..., None], given, predicted), given, is_number

    def predict_moments(self, structure: Atoms | Structure, guess: ArrayLike) -> Floats:
        """Return converged moments from a guess of them.

        Parameters
        ----------
        structure
            ASE Atoms or pymatgen Structure with n atoms.
        guess
            Moments that name the spin state, such as the mean moment of each metal
            site's and zero elsewhere, μB: (n,) or (n, 3); many as (k, n, 3).

        Returns
        -------
        ndarray
            Moments, (n, 3) or (k, n, 3), μB. They turn with the guess; without any
            moment in the guess there are none.

        Raises
        ------
        ConfigError
            If the model was trained without a moment net, or the structure has an
            element that it does not know.
        ShapeError, DataError, BackendError
            As :meth:`evaluate`.
        """
        atoms = as_atoms(structure)
        if np.ndim(guess) == 3:
            return self._predict(atoms, pattern_vectors(guess, len(atoms)))
        moments: Floats = moment_vectors(guess, len(atoms))
        return self._predict(atoms, moments[None]).reshape(moments.shape)

    def _predict(self, atoms: Atoms, guesses: Floats) -> Floats:
        return self.potential.predict_moments(
            atoms.get_chemical_symbols(), self.geometry(atoms), guesses
        )

    def geometry(self, atoms: Atoms) -> Geometries:
        """Return the geometry; that of the last call, with its neighbours, if equal."""
        last = self._last
        if (
            last is None
            or not np.array_equal(last.positions[0], atoms.positions)
            or not np.array_equal(last.cells[0], atoms.cell.array)
            or last.periodic != atoms.pbc.tolist()
        ):
            last = Geometries(
                atoms.positions.copy()[None],
                atoms.cell.array.copy()[None],
                atoms.pbc.tolist(),
            )
            self._last = last
        return last

    def predict(
        self, atoms: Atoms, moments: Floats, geometry: Geometries | None = None
    ) -> Prediction:
        """Return energies and derivatives for moments of all atoms, (k, n, 3), μB.

        The geometry of another model saves the search for neighbours.
        """
        result = self.potential.predict(
            atoms.get_chemical_symbols(), geometry or self.geometry(atoms), moments
        )
        assert result.magnetic_forces is not None  # it is a spin model
        return Prediction(
            result.energies,
            result.forces,
            result.magnetic_forces,
            result.virials,
            result.atomic_energies,
            moments,
        )

    def energies(self, atoms: Atoms, moments: Floats) -> Floats:
        """Return energies alone, (k,), eV, as :meth:`predict` and much faster.

        Parameters
        ----------
        atoms
            One geometry.
        moments
            Of all atoms, (k, n, 3), μB.
        """
        return self.potential.energies(
            atoms.get_chemical_symbols(), self.geometry(atoms), moments
        )
