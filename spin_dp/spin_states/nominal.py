# SPDX-License-Identifier: LGPL-3.0-or-later
"""Nominal oxidation and spin states of the 3d metals Ti to Cu.

The number of unpaired electrons of a d^n ion in an octahedral field follows from
filling t2g and eg with weak (high spin, HS), intermediate (IS) and strong (LS)
splitting; in a tetrahedral field the splitting is too small for most but high spin
(J. S. Griffith, The Theory of Transition-Metal Ions, 1961, ch. 9). Self-consistent
calculations also end in solutions without any moment (NM) where no such ion exists.

The moment inside the atomic sphere differs from the number of unpaired electrons by
covalency. :func:`usual_moment` gives what PBE+U calculations of oxides usually show:
about 0.9 μB per unpaired electron, and for the commonest ions the middle of the ranges
that B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), and the frames in
``examples/gpaw`` span.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

NONMAGNETIC = "NM"
_VALENCE = {"Ti": 4, "V": 5, "Cr": 6, "Mn": 7, "Fe": 8, "Co": 9, "Ni": 10, "Cu": 11}
_OXIDATIONS = {
    "Ti": (2, 3, 4),
    "V": (2, 3, 4, 5),
    "Cr": (2, 3, 4, 6),
    "Mn": (2, 3, 4),
    "Fe": (2, 3, 4),
    "Co": (2, 3, 4),
    "Ni": (2, 3, 4),
    "Cu": (1, 2, 3),
}
_TETRAHEDRAL_ONLY = {"Mn": (5, 6, 7), "Fe": (6,)}
_MOMENT_PER_ELECTRON_MUB = 0.9
_USUAL_MUB = {
    "V3+": 1.85,
    "Cr3+": 2.9,
    "Mn2+HS": 4.6,
    "Mn3+HS": 3.75,
    "Mn4+": 3.1,
    "Fe2+HS": 3.7,
    "Fe3+HS": 4.2,
    "Co2+HS": 2.7,
    "Co3+HS": 3.1,
    "Co4+HS": 3.3,
    "Ni2+": 1.7,
    "Ni3+LS": 1.2,
    "Cu2+": 0.6,
}
_RARITY = {"IS": 2.0, NONMAGNETIC: 4.0}
_TETRAHEDRAL_RARITY = 2.0
_OCTAHEDRAL = {  # d electrons: (spin, unpaired electrons); "" where it needs no name
    0: (("", 0),),
    1: (("", 1),),
    2: (("", 2), ("LS", 0)),
    3: (("", 3), ("LS", 1)),
    4: (("HS", 4), ("LS", 2)),
    5: (("HS", 5), ("IS", 3), ("LS", 1)),
    6: (("HS", 4), ("IS", 2), ("LS", 0)),
    7: (("HS", 3), ("LS", 1)),
    8: (("", 2), ("LS", 0)),
    9: (("", 1),),
    10: (("", 0),),
}


@dataclass(frozen=True)
class NominalState:
    """An ion in a spin state.

    Attributes
    ----------
    element
        Chemical symbol.
    oxidation
        Oxidation state, e.
    spin
        ``HS``, ``IS``, ``LS``, ``NM`` (no moment though the ion must have one), or
        empty where the ion has one spin state only.
    unpaired
        Number of unpaired electrons.
    rarity
        Cost, in squared standard deviations, by which other states must fit worse for
        this one to be assigned.
    """

    element: str
    oxidation: int
    spin: str
    unpaired: int
    rarity: float = 0.0

    @property
    def name(self) -> str:
        """Name such as ``Mn3+HS`` or ``Ni2+``."""
        return f"{self.element}{self.oxidation}+{self.spin}"


def has_nominal_states(element: str) -> bool:
    """Return whether the element is one of Ti to Cu."""
    return element in _VALENCE


@cache
def nominal_states(element: str, *, tetrahedral: bool = False) -> list[NominalState]:
    """Return the states that an ion of a 3d metal can be in.

    Parameters
    ----------
    element
        Ti to Cu.
    tetrahedral
        Whether four anions surround the ion; octahedral if not.

    Returns
    -------
    list of NominalState
        By oxidation state, then from high to low spin.
    """
    states = []
    oxidations = _OXIDATIONS[element]
    if tetrahedral:
        oxidations += _TETRAHEDRAL_ONLY.get(element, ())
    for oxidation in oxidations:
        spins = _OCTAHEDRAL[_VALENCE[element] - oxidation]
        if all(unpaired > 0 for _, unpaired in spins):
            spins = (*spins, (NONMAGNETIC, 0))
        for place, (spin, unpaired) in enumerate(spins):
            rarity = _RARITY.get(spin, 0.0)
            if tetrahedral and place > 0:
                rarity = max(rarity, _TETRAHEDRAL_RARITY)
            states.append(NominalState(element, oxidation, spin, unpaired, rarity))
    return states


@cache
def find_nominal_state(name: str) -> NominalState | None:
    """Return the state of a name such as ``Mn3+HS``; None if there is no such ion."""
    match = re.fullmatch(r"([A-Z][a-z]?)\d+\+\w*", name)
    if match is None or not has_nominal_states(match[1]):
        return None
    states = [
        *nominal_states(match[1]),
        *nominal_states(match[1], tetrahedral=True),
    ]
    return next((state for state in states if state.name == name), None)


def usual_moment(state: NominalState) -> float:
    """Return the length of the moment usually seen in a state, μB."""
    return _USUAL_MUB.get(state.name, _MOMENT_PER_ELECTRON_MUB * state.unpaired)
