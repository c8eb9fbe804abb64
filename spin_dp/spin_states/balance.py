# SPDX-License-Identifier: LGPL-3.0-or-later
"""Labels of a cell whose charges add up, after ions were taken out of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError, unknown
from spin_dp.spin_states.catalogue import total_charge
from spin_dp.spin_states.ions import charge_of_known_ions
from spin_dp.spin_states.nominal import has_nominal_states

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spin_dp.spin_states.catalogue import Catalogue, SpinState
    from spin_dp.spin_states.labels import Labels, Sites

_ZERO_E = 1e-6


def cell_charge(labels: Labels, sites: Sites) -> float | None:
    """Return the charge of a cell with the oxidation states of its labels, e.

    None where a site is labelled by a number, or the charge of an ion is not known.
    """
    states = [
        state
        for symbol, state in zip(sites.symbols, labels.states, strict=True)
        if has_nominal_states(symbol)
    ]
    if None in states:
        return None
    return charge_in_states(states, sites)


def charge_in_states(
    states: Iterable[SpinState | None],
    sites: Sites,
    periodic: Sequence[bool] = (True, True, True),
) -> float | None:
    """Return the charge of a cell with given states, and all else as it usually is, e.

    Parameters
    ----------
    states
        Of atoms Ti to Cu that count, in any order.
    sites
        All atoms; other elements have their usual oxidation states.
    periodic
        Along which cell vectors the atoms repeat.

    Returns
    -------
    float or None
        None where the charge of an ion is not known.
    """
    others = charge_of_known_ions(sites.symbols, sites.cell, sites.positions, periodic)
    return total_charge(states, others)


def balanced(
    labels: Labels,
    sites: Sites,
    catalogue: Catalogue,
    to: Mapping[str, str],
    *,
    seed: int = 1,
) -> Labels:
    """Return labels that make the cell neutral: some sites get another state.

    Parameters
    ----------
    labels, sites, catalogue
        Labels by name, and states that are known.
    to
        State that sites of an element may change to, ``{"Ni": "4+LS"}``. Of several
        elements the first is used up before the next.
    seed
        Of the random choice of sites; a moment keeps its direction.

    Returns
    -------
    Labels
        As many sites changed as the charge asks for.

    Raises
    ------
    ConfigError
        If a state is not known, or the sites cannot make the cell neutral.
    """
    charge = cell_charge(labels, sites)
    if charge is None:
        raise ConfigError(
            "balance: the charge of the cell is not known; label all sites by names "
            "of spin states, 'Ni=3+LS'."
        )
    if abs(charge) < _ZERO_E:
        return labels
    random = np.random.default_rng(seed)
    states, moments = list(labels.states), labels.moments.copy()
    before = charge
    for element, name in to.items():
        if element not in sites.symbols:
            raise unknown("element to balance", element, set(sites.symbols))
        state = catalogue.find(element, name)
        for atom in _candidates(states, sites.symbols, element, state, charge, random):
            step = _step(states[atom], state)
            if abs(charge + step) < abs(charge):
                moments[atom] = _moment(moments[atom], state)
                states[atom] = state
                charge += step
            if abs(charge) < _ZERO_E:
                return replace(labels, moments=moments, states=tuple(states))
    asked = ", ".join(f"{element}={name}" for element, name in to.items())
    raise ConfigError(
        f"balance {asked}: the charges of the labels add up to {before:+g} e, and "
        f"{charge:+g} e are left with every site changed that brings it nearer to 0. "
        "Choose another state, or take out another number of ions."
    )


def _candidates(
    states: Sequence[SpinState | None],
    symbols: Sequence[str],
    element: str,
    state: SpinState,
    charge: float,
    random: np.random.Generator,
) -> list[int]:
    """Return the sites that could change towards neutrality, in random order."""
    here = [
        atom
        for atom, symbol in enumerate(symbols)
        if symbol == element and charge * _step(states[atom], state) < 0.0
    ]
    return [here[k] for k in random.permutation(len(here))]


def _step(present: SpinState | None, new: SpinState) -> float:
    """Return by how much a change of state changes the charge, e."""
    if present is None or present.charge is None or new.charge is None:
        return 0.0
    return float(new.charge - present.charge)


def _moment(present: np.ndarray, state: SpinState) -> np.ndarray:
    length = float(np.linalg.norm(present))
    direction = present / length if length else np.array([0.0, 0.0, 1.0])
    return np.asarray(direction * state.moment)
