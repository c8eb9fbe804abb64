# SPDX-License-Identifier: LGPL-3.0-or-later
"""Structures relaxed in their spin state, by matcalc: positions and cell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from spin_dp.errors import ConfigError, unknown
from spin_dp.properties.crystal import conventional_cell, metal_bonds
from spin_dp.properties.host import package, quiet
from spin_dp.properties.members import over_members
from spin_dp.properties.result import Result, value
from spin_dp.properties.settings import option
from spin_dp.properties.single_points import single_points
from spin_dp.search.ranking import formula_units
from spin_dp.structures import freeze

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from spin_dp.properties.settings import Progress
    from spin_dp.properties.subject import Subject

    Floats = NDArray[np.float64]

_WHAT = ("cell", "atoms")
_MOST_NAMED = 12  # lines in a legend


@dataclass(frozen=True, kw_only=True)
class RelaxationSettings:
    """How a structure is relaxed.

    Attributes
    ----------
    what, max_force, max_steps, optimizer, rattle, symmetry
        See :func:`spin_dp.properties.settings.described`.
    """

    what: str = option("cell", "what moves: cell (and atoms), or atoms")
    max_force: float = option(
        0.005, "largest force at the end, eV/Å; of a cell the virial, eV, too"
    )
    max_steps: int = option(500, "of the optimizer, at most")
    optimizer: str = option("BFGS", "of ASE, by name")
    rattle: float = option(
        0.0, "random displacements before, Å, to leave a point of high symmetry"
    )
    symmetry: float = option(0.02, "distance for finding the space group, Å")

    def __post_init__(self) -> None:
        if self.what not in _WHAT:
            raise unknown("what to relax", self.what, _WHAT)
        if not self.max_force > 0.0 or self.max_steps < 1 or self.rattle < 0.0:
            raise ConfigError(
                "relaxation: expected max_force > 0, max_steps > 0 and rattle >= 0, "
                f"got {self.max_force}, {self.max_steps} and {self.rattle}."
            )


@dataclass(frozen=True, kw_only=True)
class AtRest:
    """Settings of properties that begin with relaxing a structure.

    Attributes
    ----------
    max_force, max_steps, optimizer, rattle
        See :func:`spin_dp.properties.settings.described`.
    """

    max_force: float = option(0.005, "largest force at the end of relaxations, eV/Å")
    max_steps: int = option(500, "of a relaxation, at most")
    optimizer: str = option("BFGS", "of ASE, by name")
    rattle: float = option(
        0.0, "random displacements before, Å, to leave a point of high symmetry"
    )

    @property
    def relaxation(self) -> RelaxationSettings:
        """Those of the relaxation at the beginning."""
        return RelaxationSettings(
            max_force=self.max_force,
            max_steps=self.max_steps,
            optimizer=self.optimizer,
            rattle=self.rattle,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Relaxation(Result):
    """A relaxed structure.

    Lengths and angles are those of the conventional cell of the positions (spglib),
    whatever cell was given; the order of the moments does not count for it.

    Attributes
    ----------
    structure
        Relaxed, with initial moments and names of states.
    space_group
        Of the positions, symbol and number.
    converged
        Whether forces, and stress of a cell, fell below the limit.
    """

    name: ClassVar[str] = "relaxation"
    overlay: ClassVar[bool] = True

    energy: float = value("eV/f.u.", "energy")
    relaxation_energy: float = value("meV/f.u.", "gain by relaxing", digits=1)
    volume: float = value("Å³/f.u.", "volume")
    a: float = value("Å", "a, conventional cell", digits=4)
    b: float = value("Å", "b, conventional cell", digits=4)
    c: float = value("Å", "c, conventional cell", digits=4)
    alpha: float = value("°", "α", digits=2)
    beta: float = value("°", "β", digits=2)
    gamma: float = value("°", "γ", digits=2)
    shortest_bond: float = value("Å", "shortest M-O bond", digits=3)
    longest_bond: float = value("Å", "longest M-O bond of an octahedron", digits=3)
    max_force: float = value("eV/Å", "largest force left", digits=4)
    structure: Atoms
    space_group: str
    converged: bool

    def at_same_geometries(
        self, other: Subject, progress: Progress | None = None
    ) -> Relaxation:
        """Return energy and forces by another one; what is of the geometry stays."""

        def one(member: Subject, tell: Progress) -> Relaxation:
            (found,) = single_points(member, [self.structure], tell, "energy")
            return replace(
                self,
                **found.subject.identity,
                becomes=found.becomes,
                spread=None,
                energy=found.energy / formula_units(found.atoms),
                relaxation_energy=float("nan"),
                max_force=_largest(found.atoms.get_forces()),
                geometries=self.model,
            )

        return over_members(other, one, progress)

    def remarks(self) -> list[str]:
        """Return whether it did not converge."""
        if self.converged:
            return []
        return [f"not converged, {self.max_force:.4f} eV/Å is left (max_steps)"]

    def draw(self, axes: Axes) -> None:
        """Draw the bonds of each metal site, short to long."""
        for k, (symbol, lengths) in enumerate(metal_bonds(self.structure)):
            name = f"{symbol} {k}, {self.label}"
            axes.plot(np.arange(1, 7), lengths, "o-", label=name, markersize=4)
        axes.margins(y=0.1)
        axes.set_xlabel("bond of the octahedron, short to long")
        axes.set_ylabel("M-O, Å")
        if axes.lines and len(axes.lines) <= _MOST_NAMED:
            axes.legend(fontsize=8)


def relax(
    subject: Subject,
    settings: RelaxationSettings | None = None,
    progress: Progress | None = None,
) -> Relaxation:
    """Relax a structure in its spin state.

    Parameters
    ----------
    subject
        What is relaxed; each model of an ensemble relaxes it by itself.
    settings
        None: the defaults.
    progress
        Called as ``progress(what, done, total)``.

    Returns
    -------
    Relaxation
        Of the first model.

    Raises
    ------
    ConfigError
        If matcalc is not installed.
    DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    chosen = settings or RelaxationSettings()

    def one(member: Subject, tell: Progress) -> Relaxation:
        tell("relaxing", 0, 1)
        before = member.calculated().get_potential_energy()
        atoms, converged, max_force = relaxed_atoms(member, chosen)
        tell("relaxing", 1, 1)
        units = formula_units(atoms)
        energy = float(atoms.get_potential_energy())
        cell, group = conventional_cell(atoms, chosen.symmetry)
        bonds = [lengths for _, lengths in metal_bonds(atoms)]
        return Relaxation(
            **member.identity,
            becomes=member.becomes(atoms),
            energy=energy / units,
            relaxation_energy=1000.0 * (energy - float(before)) / units,
            volume=atoms.get_volume() / units,
            **dict(zip(("a", "b", "c", "alpha", "beta", "gamma"), cell, strict=True)),
            shortest_bond=min((b[0] for b in bonds), default=float("nan")),
            longest_bond=max((b[-1] for b in bonds), default=float("nan")),
            max_force=max_force,
            structure=member.labelled(atoms),
            space_group=group,
            converged=converged,
        )

    found = over_members(subject, one, progress)
    subject.energies.warn_outside(found.structure)
    return found


def relaxed(subject: Subject, settings: RelaxationSettings) -> Subject:
    """Return a subject whose atoms are relaxed by its own model.

    Raises
    ------
    ConfigError
        If it does not converge.
    """
    atoms, converged, max_force = relaxed_atoms(subject, settings)
    if not converged:
        raise ConfigError(
            f"{subject.formula} in {subject.spin_state}: not relaxed to "
            f"{settings.max_force:g} eV/Å in {settings.max_steps} steps of "
            f"{settings.optimizer} ({max_force:.4f} eV/Å is left); allow more steps or "
            "a larger force, or start from a structure that is relaxed already."
        )
    return subject.carrying(atoms)


def relaxed_atoms(
    subject: Subject, settings: RelaxationSettings, *, constant_volume: bool = False
) -> tuple[Atoms, bool, float]:
    """Return relaxed atoms, whether they converged, and the largest force left.

    Parameters
    ----------
    subject
        Whose first model, or member, is asked.
    settings
        Of the relaxation.
    constant_volume
        Whether a cell changes its shape only.

    Returns
    -------
    tuple
        Atoms with initial moments and what their calculator said; of a cell the force
        counts the virial, too, eV, as the optimizer does.
    """
    matcalc = package("matcalc")
    from ase.filters import FrechetCellFilter

    has_cell = settings.what == "cell"
    cell_filter = {"constant_volume": True} if constant_volume else {}
    atoms = subject.atoms.copy()
    if settings.rattle:
        atoms.rattle(settings.rattle, seed=1)
    relaxer = matcalc.RelaxCalc(
        subject.calculator(),
        optimizer=settings.optimizer,
        max_steps=settings.max_steps,
        fmax=settings.max_force,
        relax_cell=has_cell,
        cell_filter_kwargs=cell_filter,
    )
    with quiet():
        found = relaxer.calc(atoms)["final_structure"]
        done = subject.calculated(found)
        # matcalc asks the forces on atoms only whether it converged.
        moved = FrechetCellFilter(done, **cell_filter) if has_cell else done
        left = _largest(moved.get_forces())
    done.get_potential_energy()
    freeze(done)
    return done, left <= 1.001 * settings.max_force, left


def _largest(forces: Floats) -> float:
    return float(np.linalg.norm(forces, axis=1).max())


def strained_atoms(
    subject: Subject, strain: float, settings: RelaxationSettings
) -> tuple[Atoms, bool, float]:
    """Return atoms whose lengths are strained, relaxed at the volume that this makes.

    Parameters
    ----------
    subject
        At rest.
    strain
        Of all lengths.
    settings
        Of the relaxation.

    Returns
    -------
    tuple
        As :func:`relaxed_atoms`.
    """
    strained = subject.atoms.copy()
    strained.set_cell((1.0 + strain) * strained.cell.array, scale_atoms=True)
    begun = replace(subject, atoms=strained)
    return relaxed_atoms(begun, settings, constant_volume=True)
