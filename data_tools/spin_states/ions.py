# SPDX-License-Identifier: LGPL-3.0-or-later
"""Charges of the ions around the magnetic sites, by which oxidation states balance.

Every atom other than Ti to Cu counts with its usual oxidation state. Two chalcogen
atoms bound to each other (peroxide, disulfide) count as -1 each.
"""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.elements import atomic_number
from spin_dp.data_tools.spin_states.nominal import has_nominal_states

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_CATIONS = {
    **dict.fromkeys(("H", "Li", "Na", "K", "Rb", "Cs", "Ag"), 1),
    **dict.fromkeys(("Be", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd"), 2),
    **dict.fromkeys(("B", "Al", "Ga", "In", "Sc", "Y", "Bi"), 3),
    **dict.fromkeys(("C", "Si", "Ge", "Sn", "Zr", "Hf", "Ce"), 4),
    **dict.fromkeys(("P", "As", "Sb", "Nb", "Ta"), 5),
    **dict.fromkeys(("Mo", "W"), 6),
}
_ANIONS = {
    **dict.fromkeys(("F", "Cl", "Br", "I"), -1),
    **dict.fromkeys(("O", "S", "Se", "Te"), -2),
    "N": -3,
}
_CHALCOGENS = frozenset({"O", "S", "Se", "Te"})
_BOND_STRETCH = 1.2  # of the sum of covalent radii; O-O 1.58 Å, S-S 2.52 Å


def is_anion(symbol: str) -> bool:
    """Return whether the element is counted as an anion around a metal."""
    return symbol in _ANIONS


def ion_charge(
    symbols: Sequence[str],
    cell: npt.NDArray[np.float64],
    positions: npt.NDArray[np.float64],
) -> float:
    """Return the charge of all ions except Ti to Cu, e.

    Parameters
    ----------
    symbols
        Element of each atom, (nloc,).
    cell, positions
        (3, 3) and (nloc, 3), Å.

    Returns
    -------
    float
        Sum of the usual oxidation states; nan without anions (a metal) or with an
        element whose oxidation state is not known.
    """
    others = [symbol for symbol in symbols if not has_nominal_states(symbol)]
    charges = [_usual_charge(symbol) for symbol in others]
    if None in charges or not any(is_anion(symbol) for symbol in others):
        return nan
    bound = _bound_chalcogens(symbols, cell, positions)
    return float(sum(charge for charge in charges if charge is not None) + bound)


def _usual_charge(symbol: str) -> int | None:
    if 57 <= atomic_number(symbol) <= 71 and symbol not in _CATIONS:
        return 3
    return _CATIONS.get(symbol, _ANIONS.get(symbol))


def _bound_chalcogens(
    symbols: Sequence[str],
    cell: npt.NDArray[np.float64],
    positions: npt.NDArray[np.float64],
) -> int:
    """Return how many chalcogen atoms are bound to one of their own element."""
    from ase.data import covalent_radii
    from ase.neighborlist import primitive_neighbor_list

    bound = 0
    for element in _CHALCOGENS.intersection(symbols):
        members = [i for i, symbol in enumerate(symbols) if symbol == element]
        reach = 2.0 * _BOND_STRETCH * covalent_radii[atomic_number(element)]
        first = primitive_neighbor_list(
            "i", [True] * 3, cell, np.asarray(positions)[members], reach
        )
        bound += len(set(first.tolist()))
    return bound
