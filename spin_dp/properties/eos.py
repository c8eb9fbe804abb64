# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energy over volume in a spin state, and the Birch-Murnaghan fit.

F. Birch, Phys. Rev. 71, 809 (1947), third order; at each volume the shape of the cell
and the positions relax.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from ase.calculators.singlepoint import SinglePointCalculator

from spin_dp.errors import BackendError, ConfigError
from spin_dp.properties.members import over_members
from spin_dp.properties.relaxation import AtRest, relaxed, strained_atoms
from spin_dp.properties.result import Result, value
from spin_dp.properties.settings import option
from spin_dp.properties.single_points import SinglePoint, single_point
from spin_dp.search.ranking import formula_units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from spin_dp.properties.settings import Progress
    from spin_dp.properties.subject import Subject

    Floats = NDArray[np.float64]

_LEAST_POINTS = 5  # four constants are fitted


@dataclass(frozen=True, kw_only=True)
class EquationOfStateSettings(AtRest):
    """Which volumes are calculated, and how far they are relaxed.

    Attributes
    ----------
    max_strain, points, shape and those of AtRest
        See :func:`spin_dp.properties.settings.described`.
    """

    max_strain: float = option(
        0.03, "of lengths, to both sides; volumes go three times as far"
    )
    points: int = option(9, "volumes")
    shape: bool = option(True, "let the shape of the cell relax at each volume")
    max_force: float = option(0.005, "largest force at the end of relaxations, eV/Å")

    def __post_init__(self) -> None:
        if not 0.0 < self.max_strain < 0.3 or self.points < _LEAST_POINTS:
            raise ConfigError(
                "equation of state: expected max_strain between 0 and 0.3 and at "
                f"least {_LEAST_POINTS} points, got {self.max_strain} and "
                f"{self.points}."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class EquationOfState(Result):
    """Volume, bulk modulus and its derivative at zero pressure, without vibrations.

    Attributes
    ----------
    points
        ``volume`` (Å³/f.u.), ``energy`` (eV/f.u.) and ``fit`` (eV/f.u.).
    structures
        Labelled, in the order of the points.
    said
        What must be known of the volumes.
    """

    name: ClassVar[str] = "eos"
    overlay: ClassVar[bool] = True

    v0: float = value("Å³/f.u.", "volume V0")
    b0: float = value("GPa", "bulk modulus B0", digits=1)
    b1: float = value("", "its pressure derivative B'", digits=2)
    e0: float = value("eV/f.u.", "energy E0", digits=4)
    fit_error: float = value("meV/f.u.", "RMS of the fit", digits=2)
    points: pd.DataFrame
    structures: tuple[Atoms, ...] = ()
    said: tuple[str, ...] = ()

    def frames(self) -> list[Atoms]:
        """Return the structures of all volumes."""
        return list(self.structures)

    def remarks(self) -> list[str]:
        """Return what must be known of the volumes."""
        return list(self.said)

    def at_same_geometries(
        self, other: Subject, progress: Progress | None = None
    ) -> EquationOfState:
        """Return the fit to energies of another one, of volumes that keep the state.

        Raises
        ------
        ConfigError
            If fewer than five do.
        """

        def one(member: Subject, tell: Progress) -> EquationOfState:
            kept: list[SinglePoint] = []
            said: list[str] = []
            for number, structure in enumerate(self.structures):
                tell("energies of volumes", number, len(self.structures))
                found = _kept(member, structure, said)
                if found is not None:
                    kept.append(found)
            if len(kept) < _LEAST_POINTS:
                raise ConfigError(
                    f"equation of state by {other.model}: {len(kept)} of "
                    f"{len(self.structures)} volumes are left and {_LEAST_POINTS} are "
                    f"needed; {'; '.join(said)}."
                )
            whose = kept[0].subject.identity
            return _fitted(
                [found.atoms for found in kept],
                **whose,
                said=tuple(said),
                geometries=self.model,
            )

        return over_members(other, one, progress)

    def draw(self, axes: Axes) -> None:
        """Draw energies and the fit over the volume."""
        volumes, energies = self.points["volume"], self.points["energy"]
        (drawn,) = axes.plot(volumes, energies, "o", label=self.label, markersize=4)
        fine = np.linspace(volumes.min(), volumes.max(), 200)
        curve = birch_murnaghan(fine, self.e0, self.b0, self.b1, self.v0)
        axes.plot(fine, curve, "-", color=drawn.get_color(), linewidth=1.2)
        axes.set_xlabel("volume, Å³ per formula unit")
        axes.set_ylabel("energy, eV per formula unit")
        axes.legend(fontsize=8)


def equation_of_state(
    subject: Subject,
    settings: EquationOfStateSettings | None = None,
    progress: Progress | None = None,
) -> EquationOfState:
    """Fit energies over volume in a spin state.

    Parameters
    ----------
    subject, settings, progress
        As for :func:`spin_dp.properties.relax`.

    Returns
    -------
    EquationOfState
        Of the first model.

    Raises
    ------
    ConfigError
        If matcalc is not installed, the structure does not relax, or the energies have
        no minimum.
    DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    chosen = settings or EquationOfStateSettings()
    strains = np.linspace(-chosen.max_strain, chosen.max_strain, chosen.points)
    at_each = replace(chosen.relaxation, rattle=0.0)
    if not chosen.shape:
        at_each = replace(at_each, what="atoms")

    def one(member: Subject, tell: Progress) -> EquationOfState:
        tell("relaxing", 0, 1)
        start = relaxed(member, chosen.relaxation)
        found: dict[float, Atoms] = {}
        said = []
        # Outwards, each volume from the one before, so that all are of one basin.
        for side in (strains[strains >= 0.0], strains[strains < 0.0][::-1]):
            here, before = start, 0.0
            for strain in side.tolist():
                tell("volumes", len(found), len(strains))
                step = (1.0 + strain) / (1.0 + before) - 1.0
                atoms, converged, left = strained_atoms(here, step, at_each)
                if not converged:
                    said.append(f"strain {strain:+.3g}: not relaxed, {left:.4f} eV/Å")
                found[strain] = atoms
                here, before = start.carrying(atoms), strain
        tell("volumes", len(strains), len(strains))
        rest = start.calculated()
        rest.get_potential_energy()
        return _fitted(
            [_frozen(start, found[strain]) for strain in strains.tolist()],
            **member.identity,
            becomes=start.becomes(rest),
            said=tuple(said),
        )

    return over_members(subject, one, progress)


def _frozen(subject: Subject, atoms: Atoms) -> Atoms:
    """Return labelled atoms with their energy."""
    kept = subject.labelled(atoms)
    kept.calc = SinglePointCalculator(kept, energy=float(atoms.get_potential_energy()))
    return kept


def _kept(member: Subject, structure: Atoms, said: list[str]) -> SinglePoint | None:
    """Return a volume that another one calculates in its state, else say why not."""
    name = f"{structure.get_volume() / formula_units(structure):.2f} Å³/f.u."
    try:
        found = single_point(member, structure)
    except BackendError as error:
        said.append(f"{name} left out: {error}")
        return None
    if found.becomes:
        said.append(f"{name} left out: becomes {found.becomes}")
        return None
    return found


def _fitted(
    structures: Sequence[Atoms],
    **whose: Any,  # noqa: ANN401 - fields of Result
) -> EquationOfState:
    """Return the fit to structures with energies, in order of their volumes."""
    from pymatgen.analysis.eos import EOSError

    units = np.array([formula_units(atoms) for atoms in structures])
    volumes = np.array([atoms.get_volume() for atoms in structures]) / units
    energies = np.array([atoms.get_potential_energy() for atoms in structures]) / units
    try:
        e0, b0, b1, v0 = fit_birch_murnaghan(volumes, energies)
    except EOSError as error:
        raise ConfigError(
            f"equation of state of {whose['formula']} in {whose['spin_state']}: the "
            "energies of the volumes have no minimum among them. Either the "
            "structure leaves its symmetry at some of them (leave it before: "
            "rattle=0.03), or they do not reach far enough (max_strain)."
        ) from error
    curve = birch_murnaghan(volumes, e0, b0, b1, v0)
    return EquationOfState(
        **whose,
        v0=v0,
        b0=b0,
        b1=b1,
        e0=e0,
        fit_error=float(1000.0 * np.sqrt(np.mean((curve - energies) ** 2))),
        points=pd.DataFrame({"volume": volumes, "energy": energies, "fit": curve}),
        structures=tuple(structures),
    )


def fit_birch_murnaghan(
    volumes: Floats | Sequence[float], energies: Floats | Sequence[float]
) -> tuple[float, float, float, float]:
    """Return the constants that :func:`birch_murnaghan` takes, in its order.

    Parameters
    ----------
    volumes, energies
        Å³ and eV, five or more.

    Raises
    ------
    pymatgen.analysis.eos.EOSError
        If the energies have no minimum among them.
    """
    from pymatgen.analysis.eos import BirchMurnaghan

    # Of energies near zero: the fit's start is poor for large numbers.
    lowest = float(np.min(energies))
    fit = BirchMurnaghan(np.asarray(volumes), np.asarray(energies) - lowest)
    fit.fit()
    return float(fit.e0 + lowest), float(fit.b0_GPa), float(fit.b1), float(fit.v0)


def birch_murnaghan(
    volumes: Floats | Sequence[float], e0: float, b0: float, b1: float, v0: float
) -> Floats:
    """Return energies of the third-order equation of state, eV.

    Parameters
    ----------
    volumes
        Å³.
    e0, b0, b1, v0
        Energy (eV), bulk modulus (GPa), its derivative, and volume (Å³) at zero
        pressure.
    """
    from ase.units import GPa

    eta = (v0 / np.asarray(volumes, dtype=np.float64)) ** (2.0 / 3.0) - 1.0
    terms = b1 * eta**3 + eta**2 * (6.0 - 4.0 * (eta + 1.0))
    return np.asarray(e0 + 9.0 * v0 * b0 * GPa / 16.0 * terms)
