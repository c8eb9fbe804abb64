# SPDX-License-Identifier: LGPL-3.0-or-later
"""Charges of the ions around the magnetic sites, by which oxidation states balance.

Every atom other than Ti to Cu counts with its usual oxidation state. Two chalcogen
atoms bound to each other (peroxide, disulfide) count as -1 each, sulfur and its like as
+6 or +4 in oxoanions (sulfate, sulfite).
"""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.neighbours import find_pairs
from spin_dp.spin_states.elements import atomic_number
from spin_dp.spin_states.nominal import has_nominal_states

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from spin_dp.neighbours import Pairs

BOND_REACH_ANGSTROM = 3.3
"""How far atoms may be apart that are bound to each other, Å."""

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
_OXOANION_CHARGE = {3: 4, 4: 6}  # sulfite and sulfate, by the number of oxygens
_BOND_STRETCH = 1.2  # of the sum of covalent radii; O-O 1.58 Å, S-S 2.52 Å


def is_anion(symbol: str) -> bool:
    """Return whether the element is counted as an anion around a metal."""
    return symbol in _ANIONS


def ion_charge(symbols: Sequence[str], pairs: Pairs) -> float:
    """Return the charge of all ions except Ti to Cu, e.

    Parameters
    ----------
    symbols
        Element of each atom, (nloc,).
    pairs
        Pairs of atoms up to :data:`BOND_REACH_ANGSTROM` or more.

    Returns
    -------
    float
        Sum of the usual oxidation states; nan without anions (a metal) or with an
        element whose oxidation state is not known.
    """
    others = [symbol for symbol in symbols if not has_nominal_states(symbol)]
    charges = [usual_charge(symbol) for symbol in others]
    if None in charges or not any(is_anion(symbol) for symbol in others):
        return nan
    bound = _bonds_of_chalcogens(symbols, pairs)
    return float(sum(charge for charge in charges if charge is not None) + bound)


def charge_of_known_ions(
    symbols: Sequence[str],
    cell: npt.NDArray[np.float64],
    positions: npt.NDArray[np.float64],
    periodic: Sequence[bool] = (True, True, True),
) -> float:
    """Return :func:`ion_charge` of a structure, e; bonds are looked for here.

    Parameters
    ----------
    symbols, cell, positions
        Elements (n,), cell vectors as rows (3, 3) and positions (n, 3), Å.
    periodic
        Along which cell vectors the atoms repeat.
    """
    pairs = find_pairs(cell, positions, BOND_REACH_ANGSTROM, periodic=periodic)
    return ion_charge(symbols, pairs)


def usual_charge(symbol: str) -> int | None:
    """Return the usual oxidation state of an element, e; None if there is no one."""
    if 57 <= atomic_number(symbol) <= 71 and symbol not in _CATIONS:
        return 3
    return _CATIONS.get(symbol, _ANIONS.get(symbol))


def _bonds_of_chalcogens(symbols: Sequence[str], pairs: Pairs) -> int:
    """Return what bonds between chalcogens add to their usual charges of -2, e."""
    from ase.data import covalent_radii

    numbers = np.array([atomic_number(symbol) for symbol in symbols])
    radii = covalent_radii[numbers]
    is_chalcogen = np.isin(symbols, sorted(_CHALCOGENS))
    first, second = pairs.first, pairs.second
    is_bond = pairs.distances < _BOND_STRETCH * (radii[first] + radii[second])
    is_bond &= is_chalcogen[first] & is_chalcogen[second]
    is_same = numbers[first] == numbers[second]
    added = len(np.unique(first[is_bond & is_same]))
    is_oxide = is_bond & ~is_same & (numbers[second] == atomic_number("O"))
    for n_oxygens in np.bincount(first[is_oxide], minlength=len(symbols)):
        added += _OXOANION_CHARGE.get(min(int(n_oxygens), 4), -2) + 2
    return added
