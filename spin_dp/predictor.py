# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energies of spin states: a frozen model, a structure, one or many moment patterns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.errors import BackendError, ConfigError, ShapeError, unknown
from spin_dp.model_file import load_frozen, require_spin
from spin_dp.structures import as_atoms, moment_vectors, structure_moments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core import Structure

_ATOMS_PER_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Prediction:
    """Energy and derivatives of one moment pattern, or of k patterns.

    The leading axis (k) is there only when many patterns were asked for.
    """

    energy: NDArray[np.float64]
    """() or (k,), eV."""
    forces: NDArray[np.float64]
    """-dE/dx, (n, 3) or (k, n, 3), eV/Å."""
    magnetic_forces: NDArray[np.float64]
    """-dE/dm, (n, 3) or (k, n, 3), eV/μB."""
    virial: NDArray[np.float64]
    """Minus volume times stress, (3, 3) or (k, 3, 3), eV."""
    atomic_energies: NDArray[np.float64]
    """(n,) or (k, n), eV."""


class SpinDP:
    """A frozen spin-aware Deep Potential.

    Parameters
    ----------
    path
        ``.pth`` file of ``dp --pt freeze`` or ``dp --pt compress``, or ``.pt2`` file of
        ``spin-dp compile`` (Python evaluates the frozen model in it).

    Raises
    ------
    DataError
        If there is no such file or it is no frozen model.
    ConfigError
        If the model reads no moments.

    Examples
    --------
    >>> model = SpinDP("spin_aware.pth")  # doctest: +SKIP
    >>> model.evaluate(atoms, [0, 3.7, 0, 0]).energy  # doctest: +SKIP
    """

    def __init__(self, path: str | Path) -> None:
        import torch

        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model, self.info = load_frozen(path, self._device)
        require_spin(self.info)
        self._model.eval()

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

    def evaluate(
        self, structure: Atoms | Structure, moments: ArrayLike | None = None
    ) -> Prediction:
        """Return energy and derivatives of a structure in one or many spin states.

        Parameters
        ----------
        structure
            ASE Atoms or pymatgen Structure with n atoms.
        moments
            Moments in μB: one pattern as (n,) collinear or (n, 3) vectors, many as
            (k, n) or (k, n, 3). None takes the structure's own (of ASE the
            calculated, else the initial ones, of pymatgen site property ``magmom``).

        Returns
        -------
        Prediction
            With a leading axis k if many patterns were given.

        Raises
        ------
        ConfigError
            If the structure has an element that the model does not know.
        ShapeError
            If the moments do not fit the atoms, or (3, 3) could be read both ways.
        DataError
            If a moment is NaN or missing.
        """
        atoms = as_atoms(structure)
        types = self._types(atoms)
        patterns, is_batch = _patterns(moments, atoms)
        parts = [self._run(atoms, types, chunk) for chunk in _chunks(patterns)]
        arrays = [np.concatenate(column) for column in zip(*parts, strict=True)]
        if not is_batch:
            arrays = [array[0] for array in arrays]
        return Prediction(*arrays)

    def predict_moments(
        self, structure: Atoms | Structure, guess: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Return converged moments from a guess of them.

        Parameters
        ----------
        structure
            ASE Atoms or pymatgen Structure with n atoms.
        guess
            Moments that name the spin state, such as the mean moment of each metal
            site's and zero elsewhere, μB: shapes as in :meth:`evaluate`.

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
        ShapeError, DataError
            As in :meth:`evaluate`.
        """
        if not self.info.predicts_moments:
            raise ConfigError(
                f"{self.info.path}: predicts no moments; train with a moment_net in "
                "the model section and loss spin_dp (`spin-dp init` writes both)."
            )
        atoms = as_atoms(structure)
        types = self._types(atoms)
        patterns, is_batch = _patterns(guess, atoms)
        parts = [
            self._call(self._model.predict_moments, atoms, types, chunk)
            for chunk in _chunks(patterns)
        ]
        moments = np.concatenate([part.detach().cpu().numpy() for part in parts])
        return np.asarray(moments if is_batch else moments[0], dtype=np.float64)

    def complete_moments(
        self, structure: Atoms | Structure, moments: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Return moments with those filled in that an element lacks altogether.

        Labels usually give moments to the metals only. A model that reads those of
        oxygen as well was trained on small moments there, not on none: each element
        without any moment gets the predicted ones. Others stay as they are.

        Parameters
        ----------
        structure
            ASE Atoms or pymatgen Structure with n atoms.
        moments
            Labels, shapes as in :meth:`evaluate`.

        Returns
        -------
        ndarray
            Labels, (n, 3) or (k, n, 3), μB; those given where the model predicts none.
        """
        atoms = as_atoms(structure)
        patterns, is_batch = _patterns(moments, atoms)
        if self.info.predicts_moments:
            predicted = self.predict_moments(atoms, patterns)
            symbols = np.array(atoms.get_chemical_symbols())
            for name in self.spin_elements:
                sites = symbols == name
                bare = ~patterns[:, sites].any(axis=(1, 2))
                patterns[np.ix_(bare, sites)] = predicted[np.ix_(bare, sites)]
        return patterns if is_batch else patterns[0]

    def _types(self, atoms: Atoms) -> NDArray[np.int64]:
        index = {name: number for number, name in enumerate(self.type_map)}
        symbols = atoms.get_chemical_symbols()
        for name in symbols:
            if name not in index:
                raise unknown(f"element for model {self.info.path}", name, index)
        return np.array([index[name] for name in symbols], dtype=np.int64)

    def _run(
        self,
        atoms: Atoms,
        types: NDArray[np.int64],
        patterns: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], ...]:
        k, n = patterns.shape[:2]
        result = self._call(self._model, atoms, types, patterns)

        def array(name: str, *shape: int) -> NDArray[np.float64]:
            value = result[name].detach().cpu().numpy().astype(np.float64)
            return np.asarray(value.reshape(shape))

        return (
            array("energy", k),
            array("force", k, n, 3),
            array("force_mag", k, n, 3),
            array("virial", k, 3, 3),
            array("atom_energy", k, n),
        )

    def _call(
        self,
        function: Callable[..., Any],
        atoms: Atoms,
        types: NDArray[np.int64],
        patterns: NDArray[np.float64],
    ) -> Any:  # noqa: ANN401 (what TorchScript returns)
        """Call a function of the model with a structure in many patterns."""
        import torch

        k, n = patterns.shape[:2]

        def tensor(array: NDArray[np.generic], *shape: int) -> torch.Tensor:
            whole = np.array(np.broadcast_to(array, shape))
            return torch.as_tensor(whole, device=self._device)

        periodic = atoms.pbc
        if periodic.any() and not periodic.all():
            raise ConfigError(
                f"expected a cell periodic in all directions or in none, got pbc="
                f"{periodic.tolist()}; put vacuum into the cell and set pbc=True."
            )
        box = tensor(atoms.cell.array.ravel(), k, 9) if periodic.all() else None
        try:
            return function(
                tensor(atoms.positions, k, n, 3),
                tensor(types, k, n),
                tensor(patterns, k, n, 3),
                box,
            )
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1]
            raise BackendError(
                f"{self.info.path}: failed on {n} atoms x {k} patterns: {last}"
            ) from error


def _chunks(patterns: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Split (k, n, 3) along k so that a chunk has about as many atoms as a batch."""
    number = max(1, -(-patterns.size // (3 * _ATOMS_PER_BATCH)))
    return [chunk for chunk in np.array_split(patterns, number) if len(chunk)]


def _patterns(
    moments: ArrayLike | None, atoms: Atoms
) -> tuple[NDArray[np.float64], bool]:
    """Return patterns as (k, n, 3) and whether there was a leading axis."""
    n = len(atoms)
    if moments is None:
        own = structure_moments(atoms)
        if own is None:
            raise ShapeError(
                f"moments: expected one for each of the {n} atoms, got none; pass "
                "moments= or set them on the structure."
            )
        return own[None], False
    given = np.asarray(moments, dtype=float)
    if given.shape == (3, 3) and n == 3:
        raise ShapeError(
            "moments: (3, 3) for 3 atoms could be 3 vectors or 3 collinear patterns; "
            "pass (1, 3, 3) for vectors, or patterns as (3, 3, 3)."
        )
    if given.ndim == 1 or given.shape == (n, 3):
        return moment_vectors(given, n)[None], False
    if given.ndim == 2 and given.shape[1] == n and len(given):
        return np.stack([moment_vectors(row, n) for row in given]), True
    if given.ndim == 3 and given.shape[1:] == (n, 3) and len(given):
        return np.stack([moment_vectors(row, n) for row in given]), True
    raise ShapeError(
        f"moments: expected ({n},), ({n}, 3), (k, {n}) or (k, {n}, 3) for {n} atoms, "
        f"got {given.shape}."
    )
