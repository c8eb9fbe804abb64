# SPDX-License-Identifier: LGPL-3.0-or-later
"""Several models asked the same question: what they agree on, and how far."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError, OutsideTrainingData
from spin_dp.inference.calibration import DEFAULT_LIMITS, find_calibration
from spin_dp.inference.engines import Geometries
from spin_dp.inference.prediction import refuse_many
from spin_dp.inference.predictor import SpinDP
from spin_dp.inference.uncertainty import Uncertainty
from spin_dp.structures import as_atoms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core import Structure

    from spin_dp.inference.labelling import Given
    from spin_dp.inference.potential import Potential

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

_PROBE_ANGSTROM = 2.5  # between neighbours: far from all that models refuse
_PROBE_MUB = 0.25  # small enough for every element
_UNITS = {"force": "eV/Å", "magnetic_force": "eV/μB"}


class Ensemble:
    """Models of the same data that differ by chance (``spin-dp init --seed``).

    All see the same structure and the same moments. The first one is the predicting
    one, as in LAMMPS; the others say how far it can be trusted.

    Parameters
    ----------
    models
        Two or more: files, or loaded :class:`spin_dp.SpinDP`.
    device
        As for :class:`spin_dp.SpinDP`, of models that are opened here.
    calibration
        Calibration file, or the folder it is in; None: the one beside the models, if it
        is theirs (:func:`spin_dp.inference.calibration.find_calibration`).

    Attributes
    ----------
    models
        The loaded models.
    calibration
        Factors between spread and error; None where there are none.
    why
        Where the calibration was found, or why there is none.

    Raises
    ------
    DataError
        If a file is missing or is no model, or a calibration cannot be read.
    ConfigError
        If there is one model only, one reads no moments, or they differ in elements or
        in those whose moments they read; if the calibration is that of other models.
    """

    def __init__(
        self,
        models: Sequence[str | os.PathLike[str] | SpinDP],
        device: str | None = None,
        *,
        calibration: str | os.PathLike[str] | None = None,
    ) -> None:
        if isinstance(models, str | os.PathLike | SpinDP):
            models = [models]
        self.models = tuple(
            model if isinstance(model, SpinDP) else SpinDP(model, device)
            for model in models
        )
        _refuse_unlike(self.models)
        self.calibration, self.why = find_calibration(
            [model.info.path for model in self.models],
            self.probe_energies(),
            None if calibration is None else Path(calibration),
        )
        self._said: set[str] = set()

    def __len__(self) -> int:
        return len(self.models)

    @property
    def type_map(self) -> list[str]:
        """Elements that the models know."""
        return self.models[0].type_map

    @property
    def potentials(self) -> list[Potential]:
        """The models below the rules for labels."""
        return [model.potential for model in self.models]

    @property
    def limits(self) -> dict[str, float]:
        """Deviations above which it warns, by quantity, eV/Å and eV/μB."""
        found = self.calibration
        return dict(DEFAULT_LIMITS if found is None else found.limits)

    def evaluate(
        self,
        structure: Atoms | Structure,
        moments: Given | None = None,
        *,
        order: str | None = None,
    ) -> Uncertainty:
        """Return what the models say of a structure in one spin state.

        Parameters
        ----------
        structure, moments, order
            As for :meth:`spin_dp.SpinDP.evaluate`; moments that are to be predicted are
            those of the first model, for all models.

        Warns
        -----
        OutsideTrainingData
            Once for forces and once for magnetic forces, if they deviate more than the
            limit on an atom.

        Raises
        ------
        ConfigError, ShapeError, DataError, BackendError
            As :meth:`spin_dp.SpinDP.evaluate`.
        """
        atoms, first = as_atoms(structure), self.models[0]
        refuse_many(moments, len(atoms))
        labels = first.labels(atoms, moments, order=order)
        found = first.inputs_of(atoms, labels)[None]
        is_number = labels.is_number[None]
        states = first.means_states(labels)
        return self.ask(atoms, found, labels.moments[None], is_number, 0, states=states)

    def evaluate_many(
        self, structure: Atoms | Structure, patterns: ArrayLike
    ) -> Uncertainty:
        """Return what the models say of a structure in many spin states.

        Parameters
        ----------
        structure, patterns
            As for :meth:`spin_dp.SpinDP.evaluate_many`.

        Returns
        -------
        Uncertainty
            With a leading axis k.

        Raises
        ------
        ConfigError, ShapeError, DataError, BackendError
            As :meth:`evaluate`, which says what is warned of, too.
        """
        atoms = as_atoms(structure)
        moments, guesses, is_number = self.models[0].complete(atoms, patterns)
        return self.ask(atoms, moments, guesses, is_number)

    def probe_energies(self) -> list[float]:
        """Return the energy of each model in a fixed cluster of its elements, eV.

        It tells models apart, whatever their form.
        """
        first = self.models[0]
        n = len(first.type_map)
        corners = np.arange(n)
        positions = np.zeros((1, n, 3))  # a zigzag: all distances differ from zero
        positions[0, :, 0] = 0.8 * _PROBE_ANGSTROM * corners
        positions[0, :, 1] = 0.6 * _PROBE_ANGSTROM * (corners % 2)
        moments = np.zeros((1, n, 3))
        moments[0, :, 2] = _PROBE_MUB * np.isin(first.type_map, first.spin_elements)
        cluster = Geometries(positions, np.zeros((1, 3, 3)), [False] * 3)
        return [
            float(model.potential.probe(first.type_map, cluster, moments)[0])
            for model in self.models
        ]

    def ask(
        self,
        atoms: Atoms,
        moments: Floats,
        guesses: Floats,
        is_number: Flags,
        part: int | slice = slice(None),
        *,
        states: bool = False,
    ) -> Uncertainty:
        """Return the answer of all models for what they read, or for one row of it.

        Parameters
        ----------
        atoms
            n atoms.
        moments
            What all models read, (k, n, 3), μB.
        guesses, is_number
            What each predicts moments from, (k, n, 3), μB, and where it does not,
            (k, n).
        part
            Which of the k rows.
        states
            Whether they are labels of states, which magnetic forces say nothing of.
        """
        first, *others = self.models
        geometry = first.geometry(atoms)
        predictions = [first.predict(atoms, moments, geometry)]
        predicted = [moments]
        predicts = not is_number.all() and all(
            model.info.predicts_moments for model in self.models
        )
        with warnings.catch_warnings():  # the first one has said it
            warnings.simplefilter("ignore", OutsideTrainingData)
            for model in others:
                predictions.append(model.predict(atoms, moments, geometry))
                if predicts:
                    own = model.predict_moments(atoms, guesses)
                    predicted.append(np.where(is_number[..., None], moments, own))
        found = Uncertainty.of(
            [prediction.part(part) for prediction in predictions],
            [m[part] for m in predicted] if predicts else None,
            calibration=self.calibration,
            why=self.why,
        )
        self._warn(found, atoms, states=states)
        return found

    def _warn(self, found: Uncertainty, atoms: Atoms, *, states: bool) -> None:
        """Say once for each quantity where it deviates more than the limit."""
        for quantity, deviation in (
            ("force", found.force_deviation),
            ("magnetic_force", found.magnetic_force_deviation),
        ):
            limit = self.limits[quantity]
            if states and quantity == "magnetic_force":
                continue
            if quantity in self._said or deviation.max(initial=0.0) <= limit:
                continue
            self._said.add(quantity)
            atom = int(np.unravel_index(deviation.argmax(), deviation.shape)[-1])
            warnings.warn(
                f"{quantity.replace('_', ' ')}s of the {len(self)} models deviate by "
                f"{deviation.max():.2f} {_UNITS[quantity]} at atom {atom} "
                f"({atoms.symbols[atom]}), more than {limit:.2f}: the structure is "
                "outside what they know; run DFT on it and train with it (`spin-dp "
                "train --finetune`).",
                OutsideTrainingData,
                stacklevel=4,
            )


def _refuse_unlike(models: Sequence[SpinDP]) -> None:
    """Refuse what is no ensemble."""
    if len(models) < 2:
        names = ", ".join(str(model.info.path) for model in models) or "no model"
        raise ConfigError(
            f"ensemble: expected two models or more, got {names}; train others with "
            "`spin-dp init --seed`."
        )
    first, *others = (model.info for model in models)
    for info in others:
        for what, expected, got in (
            ("elements", first.type_map, info.type_map),
            ("moments", first.spin_elements, info.spin_elements),
        ):
            if expected != got:
                raise ConfigError(
                    f"ensemble: {first.path} reads {what} of {', '.join(expected)}, "
                    f"{info.path} of {', '.join(got)}; give models trained on the same "
                    "data with one type map."
                )
