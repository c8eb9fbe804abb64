# SPDX-License-Identifier: LGPL-3.0-or-later
"""Properties of structures in their spin states, from a model or any ASE calculator.

>>> subject = Subject.of_model(atoms, SpinDP("lixmo2"), "Ni=3+LS")  # doctest: +SKIP
>>> relax(subject).table()  # doctest: +SKIP
"""

from spin_dp.properties.collection import collect_properties, side_by_side
from spin_dp.properties.defects import Defect, DefectSettings, defect
from spin_dp.properties.elasticity import Elasticity, ElasticitySettings, elasticity
from spin_dp.properties.equation_of_state import (
    EquationOfState,
    EquationOfStateSettings,
    equation_of_state,
)
from spin_dp.properties.force_constants import PhononSettings
from spin_dp.properties.page import read_results, write_page
from spin_dp.properties.phonons import Phonons, phonons
from spin_dp.properties.quasi_harmonic import (
    QuasiHarmonic,
    QuasiHarmonicSettings,
    quasi_harmonic,
)
from spin_dp.properties.registry import PROPERTIES, Property, find_property
from spin_dp.properties.relaxation import Relaxation, RelaxationSettings, relax
from spin_dp.properties.result import Result
from spin_dp.properties.subject import Subject
from spin_dp.properties.surface import Surface, SurfaceSettings, surface

__all__ = [
    "PROPERTIES",
    "Defect",
    "DefectSettings",
    "Elasticity",
    "ElasticitySettings",
    "EquationOfState",
    "EquationOfStateSettings",
    "PhononSettings",
    "Phonons",
    "Property",
    "QuasiHarmonic",
    "QuasiHarmonicSettings",
    "Relaxation",
    "RelaxationSettings",
    "Result",
    "Subject",
    "Surface",
    "SurfaceSettings",
    "collect_properties",
    "defect",
    "elasticity",
    "equation_of_state",
    "find_property",
    "phonons",
    "quasi_harmonic",
    "read_results",
    "relax",
    "side_by_side",
    "surface",
    "write_page",
]
