# SPDX-License-Identifier: LGPL-3.0-or-later
"""The door to a model: any model file of deepmd-kit, arrays in, arrays out.

A model whose neighbours the caller brings, as LAMMPS does, gets them from
:mod:`spin_dp.inference.neighbourhood`: frozen and compressed spin models (``.pth``),
compiled ones (``.pt2``) and checkpoints (``.pt``). Any other model goes through
``deepmd.infer.DeepPot``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from spin_dp.errors import BackendError, ConfigError, DataError, ShapeError, unknown
from spin_dp.inference.engines import Geometries, Predicted, open_engine
from spin_dp.inference.training_range import TrainingRange
from spin_dp.pretrained import resolve

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

T = TypeVar("T")

_ATOMS_AT_ONCE = 2048  # local atoms of a batch


class Potential:
    """A model file.

    Parameters
    ----------
    path
        A frozen or compressed model (.pth), a compiled one (.pt2), a checkpoint (.pt),
        or another format that an installed back end of deepmd-kit reads; or the name of
        a shipped model (:mod:`spin_dp.pretrained`), of which the first is taken.
    device
        ``cpu``, ``cuda`` or ``cuda:1`` ...; None: the first GPU if PyTorch sees one.
        A compiled model runs on the kind of device that it was compiled for.

    Raises
    ------
    DataError
        If there is no such file or model, or deepmd-kit cannot read it.
    """

    def __init__(self, path: str | os.PathLike[str], device: str | None = None) -> None:
        self._engine = open_engine(resolve(path)[0], device)
        self.info = self._engine.info
        self._range = TrainingRange(
            self.info.catalogue,
            self.info.min_distance,
            self.info.shortest,
            self.info.fewest,
        )

    @property
    def reads_moments(self) -> bool:
        """Whether energies depend on moments."""
        return self.info.has_spin

    @property
    def predicts_moments(self) -> bool:
        """Whether it predicts converged moments from a guess."""
        return self.info.predicts_moments

    def predict(
        self, symbols: Sequence[str], geometries: Geometries, moments: Floats | None
    ) -> Predicted:
        """Return energies and their derivatives.

        Parameters
        ----------
        symbols
            Elements, (n,).
        geometries
            nf geometries, or one for all moments.
        moments
            Of all atoms, (nf, n, 3), μB; None of a model that reads none.

        Returns
        -------
        Predicted
            In the order of the frames.

        Raises
        ------
        ConfigError
            If the model does not know an element.
        ShapeError
            If arrays do not fit each other.
        DataError
            If positions or moments are not finite, atoms overlap, a moment is absurd,
            or an energy is not finite.
        BackendError
            If deepmd-kit fails.
        """
        evaluate = self._engine.evaluate
        predicted = Predicted.joined(
            self._each_batch(evaluate, symbols, geometries, moments)
        )
        self._refuse_infinite(predicted.energies)
        return predicted

    def energies(
        self, symbols: Sequence[str], geometries: Geometries, moments: Floats | None
    ) -> Floats:
        """Return energies without derivatives, (nf,), eV.

        Of a compiled model they cost a fifth of what :meth:`predict` costs where one
        geometry serves all moments, of others the same.

        Parameters
        ----------
        symbols, geometries, moments
            As for :meth:`predict`.

        Raises
        ------
        ConfigError, ShapeError, DataError, BackendError
            As :meth:`predict`.
        """
        energies = np.concatenate(
            self._each_batch(self._engine.energies, symbols, geometries, moments)
        )
        self._refuse_infinite(energies)
        return energies

    def probe(
        self, symbols: Sequence[str], geometries: Geometries, moments: Floats
    ) -> Floats:
        """Return energies of atoms that are no structure, (nf,), eV, unchecked.

        They tell models apart. Arguments are as for :meth:`predict`; what lies outside
        the training data is neither refused nor warned of, now or as said already.
        """
        types = self._types(symbols)
        return self._call(self._engine.energies, geometries, types, moments)

    def _refuse_infinite(self, energies: Floats) -> None:
        wrong = int((~np.isfinite(energies)).sum())
        if wrong:
            raise DataError(
                f"{self.info.path}: its energy is not a finite number for {wrong} of "
                f"{len(energies)} frames; check how it was trained."
            )

    def predict_moments(
        self, symbols: Sequence[str], geometries: Geometries, guess: Floats
    ) -> Floats:
        """Return converged moments from a guess, (nf, n, 3), μB.

        Parameters
        ----------
        symbols, geometries
            As for :meth:`predict`.
        guess
            Moments that name the spin states, (nf, n, 3), μB.

        Raises
        ------
        ConfigError
            If the model was trained without a moment net, or does not know an element.
        ShapeError, DataError, BackendError
            As for :meth:`predict`.
        """
        if not self.predicts_moments:
            raise ConfigError(
                f"{self.info.path}: predicts no moments; train with a moment_net in "
                "the model section and loss spin_dp (`spin-dp init` writes both)."
            )
        return np.concatenate(
            self._each_batch(self._engine.predict_moments, symbols, geometries, guess)
        )

    def atomic_energies(
        self, symbols: Sequence[str], geometry: Geometries, moments: Floats
    ) -> tuple[NDArray[np.int64], Floats]:
        """Return the type and the energy of each atom of one frame, (n,) each, eV.

        Parameters
        ----------
        symbols, geometry
            As for :meth:`predict`.
        moments
            (n, 3), μB.

        Raises
        ------
        ConfigError
            If the model gives no energies of single atoms; as :meth:`predict`.
        ShapeError, DataError, BackendError
            As :meth:`predict`.
        """
        found = self.predict(symbols, geometry, moments[None])
        if found.atomic_energies is None:
            raise ConfigError(
                f"{self.info.path}: gives no energies of single atoms, as deepmd-kit "
                "runs it; freeze a model of type spin_dp."
            )
        return self._types(symbols), found.atomic_energies[0]

    def energies_of(
        self,
        positions: Floats,
        types: NDArray[np.int64],
        moments: Floats,
        neighbours: NDArray[np.int64],
    ) -> Floats:
        """Return the energies of atoms whose neighbours the caller brings, unchecked.

        Parameters
        ----------
        positions, types, moments
            (nall, 3) in Å, (nall,) and (nall, 3) in μB; the first nloc are the atoms.
        neighbours
            Places of their neighbours, (nloc, nnei), -1 where there is none.

        Returns
        -------
        ndarray
            (nloc,), eV.
        """
        arrays = (positions, types, moments, neighbours)
        return self._call(self._engine.energies_of, *arrays)

    def check(
        self, symbols: Sequence[str], geometries: Geometries, moments: Floats | None
    ) -> None:
        """Refuse what the model cannot answer, and say where it extrapolates.

        Parameters
        ----------
        symbols, geometries, moments
            As for :meth:`predict`.

        Raises
        ------
        ConfigError, ShapeError, DataError
            As :meth:`predict`.
        """
        self._check(symbols, geometries, moments)
        for _ in self._batches(symbols, geometries, moments):
            pass

    def _check(
        self, symbols: Sequence[str], geometries: Geometries, moments: Floats | None
    ) -> NDArray[np.int64]:
        """Check all but distances; return the type of each atom, (n,)."""
        types = self._types(symbols)
        n = geometries.positions.shape[1]
        if n != len(symbols):
            raise ShapeError(f"positions: expected {len(symbols)} atoms, got {n}.")
        if moments is not None:
            self._check_moments(moments, symbols, geometries)
        elif self.reads_moments:
            raise ConfigError(f"{self.info.path}: reads moments; got none.")
        return types

    def _types(self, symbols: Sequence[str]) -> NDArray[np.int64]:
        """Return the type of each atom, (n,); refuse elements that it does not know."""
        index = {name: number for number, name in enumerate(self.info.type_map)}
        for name in symbols:
            if name not in index:
                raise unknown(f"element for model {self.info.path}", name, index)
        return np.array([index[name] for name in symbols], dtype=np.int64)

    def _each_batch(
        self,
        function: Callable[..., T],
        symbols: Sequence[str],
        geometries: Geometries,
        moments: Floats | None,
    ) -> list[T]:
        """Return what a function of the engine says of checked frames, in batches."""
        if not self.reads_moments:
            moments = None
        types = self._check(symbols, geometries, moments)
        return [
            self._call(function, part, types, spins)
            for part, spins in self._batches(symbols, geometries, moments)
        ]

    def _batches(
        self, symbols: Sequence[str], geometries: Geometries, moments: Floats | None
    ) -> Iterator[tuple[Geometries, Floats | None]]:
        """Return frames and moments, so many at a time; distances are checked."""
        n_frames = len(geometries.positions if moments is None else moments)
        size = max(1, _ATOMS_AT_ONCE // len(symbols))
        checked: Geometries | None = None
        for start in range(0, n_frames, size):
            rows = slice(start, start + size)
            part = geometries.part(rows)
            if part is not checked:
                checked = part
                self._range.check_surroundings(
                    part.neighbourhood(self.info.cutoff), symbols
                )
            yield part, None if moments is None else moments[rows]

    def _check_moments(
        self, moments: Floats, symbols: Sequence[str], geometries: Geometries
    ) -> None:
        n_frames, n = len(geometries.positions), len(symbols)
        fits = n_frames in (1, len(moments)) and moments.shape[1:] == (n, 3)
        if not fits:
            raise ShapeError(
                f"moments: expected ({n_frames}, {n}, 3), got {moments.shape}."
            )
        if not np.isfinite(moments).all():
            frame, atom = np.argwhere(~np.isfinite(moments))[0, :2]
            raise DataError(
                f"moments: expected finite numbers, got {moments[frame, atom]} at atom "
                f"{atom}."
            )
        self._range.check_moments(moments, symbols)

    def _call(self, function: Callable[..., T], *arguments: object) -> T:
        try:
            return function(*arguments)
        except RuntimeError as error:
            last = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise BackendError(f"{self.info.path}: failed: {last}") from error
