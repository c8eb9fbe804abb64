# SPDX-License-Identifier: LGPL-3.0-or-later
"""The properties that there are, by the names that ``spin-dp run`` knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spin_dp.errors import unknown
from spin_dp.properties.defects import Defect, DefectSettings, defect
from spin_dp.properties.elastic import Elasticity, ElasticitySettings, elasticity
from spin_dp.properties.eos import (
    EquationOfState,
    EquationOfStateSettings,
    equation_of_state,
)
from spin_dp.properties.expansion import (
    QuasiHarmonic,
    QuasiHarmonicSettings,
    quasi_harmonic,
)
from spin_dp.properties.force_constants import PhononSettings
from spin_dp.properties.migration import (
    Barrier,
    BarrierSettings,
    MigrationNetwork,
    NetworkSettings,
    barrier,
    network,
)
from spin_dp.properties.relaxation import Relaxation, RelaxationSettings, relax
from spin_dp.properties.surfaces import Surface, SurfaceSettings, surface
from spin_dp.properties.vibrations import Phonons, phonons
from spin_dp.properties.voltage import Voltage, VoltageSettings, voltage
from spin_dp.sampling.ion_sites import ALKALI

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spin_dp.properties.result import Result


@dataclass(frozen=True)
class Property:
    """A property that can be asked for.

    Attributes
    ----------
    name
        Of the property, and of its files.
    about
        One line.
    calculate
        ``calculate(subject, settings, progress)``, returns a result.
    settings
        Dataclass of its settings, fields made by
        :func:`spin_dp.properties.settings.option`.
    result
        Dataclass that it returns.
    of_ions
        Whether it is of alkali ions, and means nothing without them.
    """

    name: str
    about: str
    calculate: Callable[..., Result]
    settings: type[Any]
    result: type[Result]
    of_ions: bool = False

    def suits(self, symbols: Sequence[str]) -> bool:
        """Return whether it means something for a structure of these elements."""
        return not self.of_ions or not set(ALKALI).isdisjoint(symbols)


PROPERTIES: dict[str, Property] = {
    one.name: one
    for one in (
        Property(
            Relaxation.name,
            "lattice constants, volume, bonds and energy of the relaxed structure",
            relax,
            RelaxationSettings,
            Relaxation,
        ),
        Property(
            EquationOfState.name,
            "volume, bulk modulus and its derivative, by the Birch-Murnaghan fit",
            equation_of_state,
            EquationOfStateSettings,
            EquationOfState,
        ),
        Property(
            Elasticity.name,
            "elastic constants, bulk and shear modulus, stability",
            elasticity,
            ElasticitySettings,
            Elasticity,
        ),
        Property(
            Phonons.name,
            "bands, density of states, Γ frequencies, harmonic thermal properties",
            phonons,
            PhononSettings,
            Phonons,
        ),
        Property(
            QuasiHarmonic.name,
            "thermal expansion and Gibbs energy, phonons at several volumes",
            quasi_harmonic,
            QuasiHarmonicSettings,
            QuasiHarmonic,
        ),
        Property(
            Surface.name,
            "surface energies of the terminations of a plane",
            surface,
            SurfaceSettings,
            Surface,
        ),
        Property(
            Defect.name,
            "a vacancy or exchanged ions, with the charges of labels balanced",
            defect,
            DefectSettings,
            Defect,
        ),
        Property(
            Voltage.name,
            "voltages and hull while lithium leaves, the lowest spin state at each x",
            voltage,
            VoltageSettings,
            Voltage,
            of_ions=True,
        ),
        Property(
            Barrier.name,
            "barrier of a hop of lithium, labels carried, by a climbing-image band",
            barrier,
            BarrierSettings,
            Barrier,
            of_ions=True,
        ),
        Property(
            MigrationNetwork.name,
            "barriers of all distinct hops, percolation, rates and vacancy diffusivity",
            network,
            NetworkSettings,
            MigrationNetwork,
            of_ions=True,
        ),
    )
}
"""By name, in the order of the work."""


def find_property(name: str) -> Property:
    """Return a property by its name.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name not in PROPERTIES:
        raise unknown("property", name, PROPERTIES)
    return PROPERTIES[name]
