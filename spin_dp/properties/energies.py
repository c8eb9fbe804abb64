# SPDX-License-Identifier: LGPL-3.0-or-later
"""What gives a property its energies: a model or an ensemble, or an ASE calculator.

In all of them labels travel as the initial moments of the atoms, as LAMMPS carries
them: that is what matcalc, phonopy, pymatgen and ASE hand on to supercells, displaced
and relaxed structures. What they mean is the affair of the calculators made here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from spin_dp.dynamics.modes import how_labels_move
from spin_dp.errors import ConfigError
from spin_dp.files import file_digest
from spin_dp.inference.calculator import SpinDPCalculator
from spin_dp.inference.labelling import find_labels
from spin_dp.spin_states.catalogue import Catalogue

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from spin_dp.inference.calculator import Carried
    from spin_dp.inference.labelling import Given
    from spin_dp.inference.predictor import SpinDP
    from spin_dp.spin_states.labels import Labels
    from spin_dp.structures import Array

LabelMode: TypeAlias = Literal["adiabatic", "held", "free"]
"""States that are held while their moments follow the positions; moments that are held;
moments that begin at the labels and go where a calculator takes them."""


class Energies(ABC):
    """What gives energies, and says what labels are.

    Attributes
    ----------
    name
        In tables.
    label_mode
        See :data:`LabelMode`.
    """

    name: str
    label_mode: LabelMode

    @property
    @abstractmethod
    def states(self) -> Catalogue:
        """Spin states that are known by name."""

    @property
    def members(self) -> int:
        """Number of models, whose first one answers."""
        return 1

    @property
    @abstractmethod
    def digest(self) -> str:
        """Tells these energies from others: results of equal ones are equal."""

    @abstractmethod
    def calculator(self, member: int = 0) -> Calculator:
        """Return a new calculator of a model, which reads the initial moments."""

    @abstractmethod
    def labels(
        self, atoms: Atoms, given: Given | None, order: str | None = None
    ) -> Labels:
        """Return the labels that count, as :meth:`spin_dp.SpinDP.labels` does."""

    @abstractmethod
    def carried(self, atoms: Atoms, labels: Labels) -> Array:
        """Return the initial moments that carry labels, (n, 3), μB."""

    def warn_outside(self, atoms: Atoms) -> None:  # noqa: B027 - most know no limits
        """Warn of a structure that lies outside what is known."""


@dataclass(frozen=True, eq=False)
class ModelEnergies(Energies):
    """Energies of a model, or of all models of an ensemble.

    Attributes
    ----------
    model
        Whose first one answers.
    name
        In tables.
    label_mode
        ``adiabatic`` or ``held``.
    """

    model: SpinDP
    name: str
    label_mode: LabelMode = field(default="adiabatic")

    @classmethod
    def of(
        cls,
        model: SpinDP,
        labels: Labels,
        label_mode: LabelMode | None = None,
        name: str | None = None,
    ) -> ModelEnergies:
        """Return those of a model that can do with labels what is asked for.

        Parameters
        ----------
        model, labels
            The model, and the labels to start with.
        label_mode
            None: adiabatic where all sites are labelled by name and all models have an
            energy of states, else held.
        name
            None: that of the model's file.

        Raises
        ------
        ConfigError
            If the mode is unknown, or the labels or models cannot do it.
        """
        if label_mode == "free":
            raise ConfigError(
                "label_mode: a model reads labels, adiabatic or held; free is for "
                "other calculators, which find moments themselves."
            )
        infos = [one.info for one in _members(model)]
        mode = how_labels_move(label_mode, labels, infos)
        assert mode in ("adiabatic", "held")  # no other was asked for
        return cls(model, name or model.info.path.stem, mode)

    @cached_property
    def _models(self) -> tuple[SpinDP, ...]:
        return _members(self.model)

    @property
    def digest(self) -> str:
        """Of the models, in any form: their energies of a fixed cluster."""
        if self.model.ensemble is None:
            return file_digest(self.model.info.path)[:16]
        energies = [f"{e:.3f}" for e in self.model.ensemble.probe_energies()]
        return " ".join(energies)

    @property
    def _carried(self) -> Carried:
        return "states" if self.label_mode == "adiabatic" else "moments"

    @property
    def states(self) -> Catalogue:
        """Spin states of the model."""
        return self.model.states

    @property
    def members(self) -> int:
        """Number of models."""
        return len(self._models)

    def calculator(self, member: int = 0) -> Calculator:
        """Return a new calculator of one of the models."""
        return SpinDPCalculator(self._models[member].first, carried=self._carried)

    def labels(
        self, atoms: Atoms, given: Given | None, order: str | None = None
    ) -> Labels:
        """Return the labels that count by the rule of all functions."""
        return self.model.labels(atoms, given, order=order)

    def carried(self, atoms: Atoms, labels: Labels) -> Array:
        """Return mean moments of states, or the moments that are held."""
        if self.label_mode == "adiabatic":
            return labels.moments
        return self.model.moments_of(atoms, labels)

    def warn_outside(self, atoms: Atoms) -> None:
        """Warn where the models of an ensemble differ more than they should."""
        if self.model.ensemble is not None:
            all_models = SpinDPCalculator(self.model, carried=self._carried)
            all_models.get_potential_energy(atoms)


@dataclass(frozen=True, eq=False)
class CalculatorEnergies(Energies):
    """Energies of another ASE calculator, for a model against DFT.

    Attributes
    ----------
    make
        Returns a new calculator.
    name
        In tables.
    catalogue
        States by name; without any, nominal ones.
    settings
        What else its results depend on, in any words.
    """

    make: Callable[[], Calculator]
    name: str
    catalogue: Catalogue = field(default_factory=Catalogue)
    settings: str = ""

    label_mode: LabelMode = field(default="free", init=False)

    @property
    def digest(self) -> str:
        """Name and settings; a calculator does not say what it is."""
        return f"{self.name} {self.settings}"

    @property
    def states(self) -> Catalogue:
        """Spin states by name."""
        return self.catalogue

    def calculator(self, member: int = 0) -> Calculator:  # noqa: ARG002 - the only one
        """Return a new calculator."""
        return self.make()

    def labels(
        self, atoms: Atoms, given: Given | None, order: str | None = None
    ) -> Labels:
        """Return the labels that count; those of elements with states."""
        symbols = set(atoms.get_chemical_symbols())
        read = [symbol for symbol in symbols if self.catalogue.has_states(symbol)]
        return find_labels(
            atoms, given, self.catalogue, order=order, read_elements=read
        )

    def carried(self, atoms: Atoms, labels: Labels) -> Array:  # noqa: ARG002
        """Return the moments that labels stand for, where SCF begins."""
        return labels.moments


def _members(model: SpinDP) -> tuple[SpinDP, ...]:
    return (model,) if model.ensemble is None else model.ensemble.models
