# SPDX-License-Identifier: LGPL-3.0-or-later
"""Thermal expansion in a spin state: phonons at several volumes, by phonopy's QHA.

A. Togo, L. Chaput, I. Tanaka and G. Hug, Phys. Rev. B 81, 174301 (2010). The spin state
stays the same at all temperatures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from spin_dp.errors import ConfigError
from spin_dp.properties.force_constants import (
    MEV_OF_KJ,
    PhononSettings,
    phonopy_of,
    thermal_properties,
)
from spin_dp.properties.host import package, quiet
from spin_dp.properties.members import over_members
from spin_dp.properties.relaxation import relaxed, strained_atoms
from spin_dp.properties.result import Result, value
from spin_dp.properties.settings import option
from spin_dp.search.ranking import formula_units

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from spin_dp.properties.settings import Progress
    from spin_dp.properties.subject import Subject

_ROOM = 300.0
_LEAST = 5


@dataclass(frozen=True, kw_only=True)
class QuasiHarmonicSettings(PhononSettings):
    """Volumes, and how phonons are calculated at each.

    Attributes
    ----------
    strains, eos
        See :func:`spin_dp.properties.settings.described`; the others are those of
        :class:`spin_dp.properties.PhononSettings`.
    """

    strains: tuple[float, ...] = option(
        (-0.01, -0.005, 0.0, 0.005, 0.01, 0.015, 0.02), "of lengths"
    )
    eos: str = option("vinet", "vinet, birch_murnaghan or murnaghan")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.strains)) < _LEAST or max(map(abs, self.strains)) > 0.2:
            raise ConfigError(
                f"quasi-harmonic: strains: expected {_LEAST} or more, of at most 0.2, "
                f"got {self.strains}."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class QuasiHarmonic(Result):
    """Volume, free energy and elasticity with temperature, at zero pressure.

    Attributes
    ----------
    imaginary
        Largest share of imaginary modes at one of the volumes, %; thermal properties
        leave them out.
    temperatures
        ``temperature`` (K), ``volume`` (Å³/f.u.), ``expansion`` (volumetric, 1e-6/K),
        ``gibbs`` (eV/f.u.), ``bulk_modulus`` (GPa), ``heat_capacity`` at constant
        pressure (J/K per mole of formula units).
    volumes
        ``volume`` (Å³/f.u.), ``energy`` (eV/f.u.) and ``imaginary`` (%).
    """

    name: ClassVar[str] = "qha"
    overlay: ClassVar[bool] = True

    volume: float = value("Å³/f.u.", "volume, 300 K")
    zero_volume: float = value("Å³/f.u.", "volume with zero-point motion, 0 K")
    expansion: float = value("1e-6/K", "volumetric thermal expansion, 300 K", digits=1)
    bulk_modulus: float = value("GPa", "isothermal bulk modulus, 300 K", digits=1)
    heat_capacity: float = value("J/K/mol", "heat capacity Cp, 300 K", digits=2)
    gruneisen: float = value("", "Grüneisen parameter, 300 K", digits=2)
    gibbs: float = value("eV/f.u.", "Gibbs energy, 300 K", digits=4)
    imaginary: float = value("%", "imaginary modes, largest share", digits=2)
    temperatures: pd.DataFrame
    volumes: pd.DataFrame = field(default_factory=pd.DataFrame)

    def remarks(self) -> list[str]:
        """Return whether modes are imaginary at a volume."""
        if not self.imaginary:
            return []
        return [f"up to {self.imaginary:.2f} % of the modes are imaginary at a volume"]

    def draw(self, axes: Axes) -> None:
        """Draw the volume over the temperature."""
        rows = self.temperatures
        axes.plot(rows["temperature"], rows["volume"], label=self.label)
        axes.set_xlabel("temperature, K")
        axes.set_ylabel("volume, Å³ per formula unit")
        axes.legend(fontsize=8)


def quasi_harmonic(
    subject: Subject,
    settings: QuasiHarmonicSettings | None = None,
    progress: Progress | None = None,
) -> QuasiHarmonic:
    """Calculate thermal expansion and Gibbs energy of a structure in its spin state.

    Parameters
    ----------
    subject, settings, progress
        As for :func:`spin_dp.properties.relax`.

    Returns
    -------
    QuasiHarmonic
        Of the first model.

    Raises
    ------
    ConfigError
        If matcalc or phonopy are not installed, or a structure does not relax, or
        the energies have no minimum within the volumes.
    DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    chosen = settings or QuasiHarmonicSettings()

    def one(member: Subject, tell: Progress) -> QuasiHarmonic:
        tell("relaxing", 0, 1)
        start = relaxed(member, chosen.relaxation)
        atoms = start.calculated()
        atoms.get_potential_energy()
        whose = {**member.identity, "becomes": start.becomes(atoms)}
        strains = sorted(set(chosen.strains))
        rows, thermal = [], []
        for number, strain in enumerate(strains):
            tell("phonons at volumes", number, len(strains))
            row, table = _at(start, strain, chosen)
            rows.append(row)
            thermal.append(table)
        tell("phonons at volumes", len(strains), len(strains))
        return _fitted(pd.DataFrame(rows), thermal, chosen, whose)

    return over_members(subject, one, progress)


def _at(
    start: Subject, strain: float, settings: QuasiHarmonicSettings
) -> tuple[dict[str, float], pd.DataFrame]:
    """Return volume and energy, and thermal properties, at one volume."""
    atoms, converged, left = strained_atoms(start, strain, settings.relaxation)
    if not converged:
        raise ConfigError(
            f"{start.formula} in {start.spin_state}, lengths strained by {strain:g}: "
            f"not relaxed ({left:.4f} eV/Å is left); allow more steps (max_steps)."
        )
    units = formula_units(atoms)
    phonon = phonopy_of(start.carrying(atoms), settings)
    with quiet():
        phonon.symmetrize_force_constants()
    table = thermal_properties(phonon, units, settings)
    mesh = phonon.mesh
    share = (mesh.frequencies < -settings.imaginary).mean(axis=1)
    row = {
        "volume": atoms.get_volume() / units,
        "energy": float(atoms.get_potential_energy()) / units,
        "imaginary": 100.0 * float(np.average(share, weights=mesh.weights)),
    }
    return row, table


def _fitted(
    volumes: pd.DataFrame,
    thermal: list[pd.DataFrame],
    settings: QuasiHarmonicSettings,
    whose: dict[str, Any],
) -> QuasiHarmonic:
    phonopy = package("phonopy")
    kelvin = thermal[0]["temperature"].to_numpy()
    with quiet():
        try:
            found = phonopy.PhonopyQHA(
                volumes=volumes["volume"].to_numpy(),
                electronic_energies=volumes["energy"].to_numpy(),
                temperatures=kelvin,
                free_energy=_columns(thermal, "free_energy") / MEV_OF_KJ,
                cv=_columns(thermal, "heat_capacity"),
                entropy=_columns(thermal, "entropy"),
                eos=settings.eos,
                t_max=float(kelvin[-2]),
            )
        except (RuntimeError, ValueError, KeyError) as error:
            raise ConfigError(
                f"quasi-harmonic: no equation of state {settings.eos} fits the free "
                f"energies ({error}); choose other volumes (strains)."
            ) from error
    rows = len(np.asarray(found.thermal_expansion))
    table = pd.DataFrame(
        {
            "temperature": kelvin[:rows],
            "volume": np.asarray(found.volume_temperature)[:rows],
            "expansion": 1e6 * np.asarray(found.thermal_expansion)[:rows],
            "gibbs": np.asarray(found.gibbs_temperature)[:rows],
            "bulk_modulus": np.asarray(found.bulk_modulus_temperature)[:rows],
            "heat_capacity": np.asarray(found.heat_capacity_P_polyfit)[:rows],
            "gruneisen": np.asarray(found.gruneisen_temperature)[:rows],
        }
    )

    def at(name: str, temperature: float = _ROOM) -> float:
        return float(np.interp(temperature, table["temperature"], table[name]))

    return QuasiHarmonic(
        **whose,
        volume=at("volume"),
        expansion=at("expansion"),
        bulk_modulus=at("bulk_modulus"),
        heat_capacity=at("heat_capacity"),
        gibbs=at("gibbs"),
        gruneisen=at("gruneisen"),
        zero_volume=at("volume", 0.0),
        imaginary=float(volumes["imaginary"].max()),
        temperatures=table,
        volumes=volumes,
    )


def _columns(tables: list[pd.DataFrame], name: str) -> Any:  # noqa: ANN401 - ndarray
    return np.column_stack([table[name].to_numpy() for table in tables])
