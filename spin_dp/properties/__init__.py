# SPDX-License-Identifier: LGPL-3.0-or-later
"""Properties of structures in their spin states, from a model or any ASE calculator.

>>> subject = Subject.of_model(atoms, SpinDP("lixmo2"), "Ni=3+LS")  # doctest: +SKIP
>>> relax(subject).table()  # doctest: +SKIP
"""

from spin_dp.properties.registry import PROPERTIES, Property, find_property
from spin_dp.properties.relaxation import Relaxation, RelaxationSettings, relax
from spin_dp.properties.result import Result
from spin_dp.properties.subject import Subject

__all__ = [
    "PROPERTIES",
    "Property",
    "Relaxation",
    "RelaxationSettings",
    "Result",
    "Subject",
    "find_property",
    "relax",
]
