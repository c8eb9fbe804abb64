# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energies of spin states: a model, a structure, labels of one or many spin states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ShapeError
from spin_dp.inference.engines import Geometries
from spin_dp.inference.labelling import find_labels, find_numbered
from spin_dp.inference.potential import Potential
from spin_dp.model_file import require_spin
from spin_dp.structures import as_atoms, moment_vectors

if TYPE_CHECKING:
    import os

    from ase import Atoms
    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core import Structure

    from spin_dp.inference.labelling import Given
    from spin_dp.spin_states.catalogue import Catalogue
    from spin_dp.spin_states.labels import Labels

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Energy and derivatives of one spin state, or of k spin states.

    The leading axis (k) is there only when many were asked for.
    """

    energy: Floats
    """() or (k,), eV."""
    forces: Floats
    """-dE/dx, (n, 3) or (k, n, 3), eV/Å."""
    magnetic_forces: Floats
    """-dE/dm, (n, 3) or (k, n, 3), eV/μB."""
    virial: Floats
    """Minus volume times stress, (3, 3) or (k, 3, 3), eV."""
    atomic_energies: Floats | None
    """(n,) or (k, n), eV; None of models that deepmd-kit runs."""
    moments: Floats
    """That the energy belongs to, (n, 3) or (k, n, 3), μB."""


class SpinDP:
    """A spin-aware Deep Potential.

    Which moments count is one rule for all functions, see
    :mod:`spin_dp.inference.labelling`.

    Parameters
    ----------
    path
        A frozen or compressed model (.pth), a compiled one (.pt2), or another spin
        model that deepmd-kit reads; or the name of a shipped model, ``lixmo2``. A
        compiled one is the fastest.
    device
        ``cpu``, ``cuda`` or ``cuda:1`` ...; None: the first GPU if there is one.

    Raises
    ------
    DataError
        If there is no such file or name, or it is no model.
    ConfigError
        If the model reads no moments.

    Examples
    --------
    >>> model = SpinDP("model.pt2")  # doctest: +SKIP
    >>> model.evaluate(atoms, "Mn=3+HS", order="AFM").energy  # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str], device: str | None = None) -> None:
        self.potential = Potential(path, device)
        self.info = self.potential.info
        require_spin(self.info)
        self._last: Geometries | None = None

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
            atoms.get_chemical_symbols(), self._geometry(atoms), moments[None]
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
        _refuse_many(moments, len(atoms))
        return self._evaluate(atoms, self.moments(atoms, moments, order=order)[None], 0)

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
        moments = _pattern_vectors(patterns, len(atoms))
        is_number = find_numbered(
            moments, atoms, self.states, read_elements=self.spin_elements
        )
        if self.info.predicts_moments and not is_number.all():
            predicted = self._predict(atoms, moments)
            moments = np.where(is_number[..., None], moments, predicted)
        return self._evaluate(atoms, moments, slice(None))

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
            return self._predict(atoms, _pattern_vectors(guess, len(atoms)))
        moments: Floats = moment_vectors(guess, len(atoms))
        return self._predict(atoms, moments[None]).reshape(moments.shape)

    def _predict(self, atoms: Atoms, guesses: Floats) -> Floats:
        return self.potential.predict_moments(
            atoms.get_chemical_symbols(), self._geometry(atoms), guesses
        )

    def _geometry(self, atoms: Atoms) -> Geometries:
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

    def _evaluate(self, atoms: Atoms, moments: Floats, part: int | slice) -> Prediction:
        result = self.potential.predict(
            atoms.get_chemical_symbols(), self._geometry(atoms), moments
        )
        atomic, magnetic = result.atomic_energies, result.magnetic_forces
        assert magnetic is not None  # it is a spin model
        return Prediction(
            result.energies[part],
            result.forces[part],
            magnetic[part],
            result.virials[part],
            None if atomic is None else atomic[part],
            moments[part],
        )


def _refuse_many(moments: Given | None, n: int) -> None:
    """Refuse an array of more than one pattern."""
    if moments is None or isinstance(moments, str | Mapping):
        return
    shape = np.shape(moments)
    if len(shape) == 3 or (len(shape) == 2 and shape[1] == n != 3):
        raise ShapeError(
            f"moments: expected those of one spin state, ({n},) or ({n}, 3), got "
            f"{shape}; evaluate_many takes many."
        )


def _pattern_vectors(patterns: ArrayLike, n: int) -> Floats:
    """Return many patterns as (k, n, 3)."""
    given = np.asarray(patterns, dtype=np.float64)
    if given.ndim < 2 or not len(given) or given.shape[1:] not in ((n,), (n, 3)):
        raise ShapeError(
            f"patterns: expected (k, {n}) or (k, {n}, 3) for {n} atoms, got "
            f"{given.shape}; evaluate takes one."
        )
    if given.ndim == 3:
        return given
    vectors = np.zeros((*given.shape, 3))
    vectors[..., 2] = given
    return vectors
