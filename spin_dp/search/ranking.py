# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which spin state of a structure is lowest: assign states to sites, rank by energy."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spin_dp.errors import ConfigError, unknown
from spin_dp.search.assignments import Choices
from spin_dp.spin_states.catalogue import SpinState, total_charge
from spin_dp.spin_states.ions import charge_of_known_ions
from spin_dp.spin_states.key import frame_key
from spin_dp.spin_states.labels import write_labels
from spin_dp.spin_states.nominal import has_nominal_states
from spin_dp.spin_states.ordering import OrderedSites
from spin_dp.spin_states.orderings import order_name
from spin_dp.structures import as_atoms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from spin_dp.inference.labelling import Given
    from spin_dp.inference.prediction import Prediction
    from spin_dp.inference.predictor import SpinDP
    from spin_dp.inference.uncertainty import Uncertainty
    from spin_dp.search.assignments import Assignment, Site
    from spin_dp.spin_states.catalogue import Catalogue

    Floats = NDArray[np.float64]

log = logging.getLogger(__name__)

DEGENERATE_EV = 1e-6
"""Assignments of one key whose energies differ by less are one state, eV an atom."""

COLUMNS = (
    *("rank", "state", "order", "charge", "total_moment", "energy", "energy_per_fu"),
    *("above_lowest", "above_lowest_spread", "above_lowest_interval", "degeneracy"),
    *("max_magnetic_force", "becomes", "labels", "moments"),
)


def rank_states(
    structure: Atoms | Structure,
    model: SpinDP,
    elements: Sequence[str] | None = None,
    *,
    states: Mapping[str, Sequence[str | float]] | None = None,
    moments: Given | None = None,
    any_charge: bool = False,
    converge: bool | None = None,
    max_patterns: int = 512,
) -> pd.DataFrame:
    """Rank spin states of a structure by their energy at fixed positions.

    All assignments of states and signs to the sites of the elements are tried whose
    nominal charges add up to a neutral cell, up to reversal of all moments; where there
    would be more than ``max_patterns``, likely ones (named orderings, charges spread
    evenly, one site flipped or excited). Assignments that the symmetry of the structure
    makes equal come out with equal energies and are counted as one.

    What the structure carries itself does not count, but for sites of metals that are
    not varied: these keep their labels.

    Parameters
    ----------
    structure
        ASE Atoms or pymatgen Structure.
    model
        The model to ask; of an ensemble the first model ranks.
    elements
        Elements whose states are varied; by default all with spin states that the
        structure has and the model reads.
    states
        States to try of an element, ``{"Mn": ["3+HS", "4+"]}``; a number of μB stands
        for the state with the nearest moment, at that moment. By default all that the
        model knows but solutions without any moment (``NM``).
    moments
        Labels of the metals that are not varied, as for
        :meth:`spin_dp.SpinDP.evaluate`; None: what the structure carries.
    any_charge
        Whether assignments whose charges do not add up are tried, too.
    converge
        Whether the moments of each assignment relax: the energy is that of the states
        if the model learnt it, else of the moments that it predicts from them; by
        default if it can.
    max_patterns
        Largest number of assignments to evaluate.

    Returns
    -------
    pandas.DataFrame
        One row a state, lowest first: ``rank``; ``state`` (spin-state key, with the
        tag of the ordering); ``order``; ``charge`` (e; NaN where it is
        not known); ``total_moment`` (μB); ``energy`` (eV); ``energy_per_fu`` (eV per
        formula unit); ``above_lowest`` (meV per formula unit); ``degeneracy``;
        ``max_magnetic_force`` (eV/μB; small where the state is a valley; NaN where the
        energy is that of states, not of moments); ``becomes``
        (the key of the moments that it converges to, where that is another one);
        ``labels`` (an expression that names the state); ``moments`` (of all atoms,
        (n, 3), μB).

    Raises
    ------
    ConfigError
        If an element is not in the structure or has no states in the model; if a metal
        is neither varied nor labelled.
    ShapeError, DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    atoms = as_atoms(structure)
    varied = _varied(atoms, model, elements)
    catalogue = model.states
    symbols = atoms.get_chemical_symbols()
    sites = [
        i
        for i, symbol in enumerate(symbols)
        if symbol in model.spin_elements and catalogue.has_states(symbol)
    ]
    held = _held_moments(atoms, model, sites, varied, moments)
    options = {
        name: [
            (state, sign)
            for state in _allowed(name, catalogue, (states or {}).get(name))
            for sign in ((1, -1) if state.moment else (0,))
        ]
        for name in varied
    }
    of_sites = [
        options.get(symbols[i]) or [_held_site(symbols[i], held[i], catalogue)]
        for i in sites
    ]
    others = _charge_of_others(atoms, catalogue, sites)
    is_known = isfinite(others) and all(
        state.charge is not None for site in of_sites for state, _ in site
    )
    if not is_known and not any_charge:
        log.warning("the charges of some ions are not known: all charges are tried")
    choices = Choices(
        elements=[symbols[i] for i in sites],
        cell=atoms.cell.array,
        positions=atoms.positions[sites],
        options=of_sites,
        charge=-others if is_known and not any_charge else None,
        may_reverse=not held.any(),
    )
    assignments = _assignments(choices, varied, max_patterns)
    patterns = np.repeat(held[None], len(assignments), axis=0)
    for place, site in enumerate(sites):
        if symbols[site] in options:
            chosen = [assignment[place] for assignment in assignments]
            patterns[:, site, 2] = [sign * state.moment for state, sign in chosen]
    result, spreads, reached = _evaluate(atoms, model, patterns, converge)
    namer = _Namer(choices, sites, catalogue)
    rows = [
        namer.row(assignment, result, reached[k], k, others)
        for k, assignment in enumerate(assignments)
    ]
    table = _table(rows, formula_units(atoms), len(atoms), spreads)
    if spreads is not None:
        table.attrs["interval"] = spreads.describe("gap")
    return table


def formula_units(atoms: Atoms) -> int:
    """Return the number of formula units in the cell."""
    counts = list(atoms.symbols.formula.count().values())
    return int(np.gcd.reduce(counts))


def _varied(atoms: Atoms, model: SpinDP, elements: Sequence[str] | None) -> list[str]:
    present = set(atoms.get_chemical_symbols())
    formula = atoms.get_chemical_formula()
    with_states = [e for e in model.spin_elements if model.states.has_states(e)]
    if elements is None:
        names = [name for name in with_states if name in present]
        if not names:
            raise ConfigError(
                f"the structure {formula} has no element with spin states in the "
                f"model ({', '.join(with_states)}); there is only one spin state."
            )
        return names
    for name in elements:
        if name not in present:
            raise unknown(f"element of the structure {formula}", name, present)
        if name not in model.spin_elements:
            raise ConfigError(
                f"{model.info.path} reads no moments of {name}; elements with spin "
                f"states are {', '.join(with_states)}."
            )
        if name not in with_states:
            raise ConfigError(
                f"{name} has no spin states of its own; its moments follow those of "
                f"{', '.join(with_states)}."
            )
    return list(dict.fromkeys(elements))


def _allowed(
    element: str, catalogue: Catalogue, given: Sequence[str | float] | None
) -> list[SpinState]:
    if given is None:
        usual = [state for state in catalogue.of(element) if state.is_usual]
        # Those that are named by their moments have no charge to balance.
        return [state for state in usual if state.charge is not None] or usual
    allowed = []
    for value in given:
        try:
            moment = abs(float(value))
        except ValueError:
            allowed.append(catalogue.find(element, str(value)))
            continue
        nearest = catalogue.nearest(element, moment)
        assert nearest is not None  # the element has states
        allowed.append(SpinState(nearest.name, moment))
    return allowed


def _held_moments(
    atoms: Atoms,
    model: SpinDP,
    sites: Sequence[int],
    varied: Sequence[str],
    moments: Given | None,
) -> Floats:
    """Return the labels of metals that are not varied, (n, 3), μB, zero elsewhere."""
    held = np.zeros((len(atoms), 3))
    symbols = atoms.get_chemical_symbols()
    here = [i for i in sites if symbols[i] not in varied]
    if not here and moments is not None:
        raise ConfigError(
            "moments: labels are for metals that are not varied, but all are; name "
            "those to vary with elements (--elements)."
        )
    if here:
        # The labels of varied sites are not asked for: any will do.
        if isinstance(moments, str) and "=" in moments:
            moments = " ".join([*(f"{name}=0" for name in varied), moments])
        elif isinstance(moments, Mapping):
            moments = {**dict.fromkeys(varied, 0.0), **moments}
        held[here] = model.labels(atoms, moments).moments[here]
    return held


def _held_site(
    element: str, moment: Floats, catalogue: Catalogue
) -> tuple[SpinState, int]:
    """Return the state that a held moment (3,) is nearest to, with that moment."""
    length = float(np.linalg.norm(moment))
    nearest = catalogue.nearest(element, length)
    assert nearest is not None  # the element has states
    return SpinState(nearest.name, length), int(np.sign(moment[2]))


def _charge_of_others(
    atoms: Atoms, catalogue: Catalogue, sites: Sequence[int]
) -> float:
    """Return the charge of all ions but those of the sites, e; nan if not known."""
    symbols = atoms.get_chemical_symbols()
    # Metals whose moments the model does not read are taken as those without any.
    unread = [
        catalogue.nearest(symbol, 0.0)
        for atom, symbol in enumerate(symbols)
        if atom not in sites and has_nominal_states(symbol)
    ]
    known = charge_of_known_ions(
        symbols, atoms.cell.array, atoms.positions, atoms.pbc.tolist()
    )
    charge = total_charge(unread, known)
    return float("nan") if charge is None else charge


def _assignments(
    choices: Choices, varied: Sequence[str], most: int
) -> list[Assignment]:
    number = choices.count()
    if number == 0:
        names = ", ".join(varied)
        raise ConfigError(
            f"no assignment of the states of {names} makes the cell neutral; give "
            "other states (--states), or ask for any charge (--any-charge)."
        )
    if choices.may_reverse:
        number = number // 2
    if number <= most:
        return list(choices.all())
    log.info("%.3g assignments: only %d likely ones are tried", number, most)
    return choices.ordered(most)


def _evaluate(
    atoms: Atoms,
    model: SpinDP,
    patterns: Floats,
    converge: bool | None,
) -> tuple[Prediction, Uncertainty | None, Floats]:
    """Evaluate the patterns, or what they converge to; all models, if there are.

    Returns
    -------
    tuple
        Predictions of the first model, spreads, and the moments of all atoms,
        (k, n, 3), μB.
    """
    if converge is None:
        converge = model.info.predicts_moments
    moments = patterns
    if converge:
        moments = model.predict_moments(atoms, patterns)
    if not (converge and model.info.reads_labels):
        if model.ensemble is None:
            result = model.evaluate_many(atoms, moments)
            return result, None, result.moments
        found = model.uncertainty_many(atoms, moments)
        return found.prediction, found, found.prediction.moments
    if model.ensemble is None:
        result, spreads = model.predict(atoms, patterns), None
    else:
        is_number = np.zeros(patterns.shape[:2], dtype=np.bool_)
        spreads = model.ensemble.ask(atoms, patterns, patterns, is_number, states=True)
        result = spreads.prediction
    no_force = np.full_like(result.magnetic_forces, np.nan)
    return replace(result, magnetic_forces=no_force), spreads, moments


class _Namer:
    """Writes the row of each assignment."""

    def __init__(
        self, choices: Choices, sites: Sequence[int], catalogue: Catalogue
    ) -> None:
        self._sites, self._catalogue = sites, catalogue
        self._ordered = OrderedSites(choices.elements, choices.cell, choices.positions)

    def row(
        self,
        assignment: Assignment,
        result: Prediction,
        moments: Floats,
        k: int,
        others: float,
    ) -> dict[str, Any]:
        """Return the row of assignment k without what depends on the other rows."""
        reached = moments[self._sites, 2]
        key = self._key(assignment)
        charge = total_charge([state for state, _ in assignment], others)
        return {
            "number": k,
            "state": key,
            "order": order_name(
                np.array([state.moment * sign for state, sign in assignment])
            ),
            "charge": float("nan") if charge is None else charge,
            "total_moment": float(moments[:, 2].sum()),
            "energy": float(result.energy[k]),
            "max_magnetic_force": float(
                np.linalg.norm(result.magnetic_forces[k], axis=-1).max()
            ),
            "becomes": self._becomes(assignment, reached, key),
            "labels": write_labels(
                [
                    (site, state.name, sign)
                    for site, (state, sign) in zip(self._sites, assignment, strict=True)
                ]
            ),
            "moments": moments,
        }

    def _becomes(self, assignment: Assignment, reached: Floats, key: str) -> str:
        """Return the key of the converged moments; empty if it is the same."""
        sites = [
            (
                state if state.holds(moment) else self._nearest(state, moment),
                int(np.sign(moment)),
            )
            for (state, _), moment in zip(assignment, reached, strict=True)
        ]
        sites = [(state, sign if state.moment else 0) for state, sign in sites]
        other = self._key(sites)
        return "" if other == key else other

    def _nearest(self, state: SpinState, moment: float) -> SpinState:
        return self._catalogue.nearest(state.element, moment) or state

    def _key(self, sites: Sequence[Site]) -> str:
        names = [state.name for state, _ in sites]
        signs = np.array([sign for _, sign in sites])
        return frame_key(names, signs, self._ordered.tag(names, signs))[0]


def _table(
    rows: list[dict[str, Any]],
    units: int,
    n_atoms: int,
    spreads: Uncertainty | None,
) -> pd.DataFrame:
    """Return the table; rows of one key and energy are one state."""
    merged: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["energy"]):
        alike = merged.setdefault(row["state"], [])
        twin = next(
            (
                other
                for other in alike
                if row["energy"] - other["energy"] < DEGENERATE_EV * n_atoms
            ),
            None,
        )
        if twin is None:
            alike.append({**row, "degeneracy": 1})
        else:
            twin["degeneracy"] += 1
    states = [row for alike in merged.values() for row in alike]
    table = pd.DataFrame(states).sort_values("energy", ignore_index=True)
    table["energy_per_fu"] = table["energy"] / units
    lowest = table["energy_per_fu"].min()
    table["above_lowest"] = 1000.0 * (table["energy_per_fu"] - lowest)
    scale = 1000.0 / units
    table[["above_lowest_spread", "above_lowest_interval"]] = float("nan")
    if spreads is not None:
        numbers = table["number"].to_numpy()
        reference = int(numbers[0])
        for name, found in (
            ("above_lowest_spread", spreads.gaps(reference)[1]),
            ("above_lowest_interval", spreads.gap_interval(reference)),
        ):
            table[name] = scale * found[numbers]
    table["rank"] = np.arange(1, len(table) + 1)
    return table[list(COLUMNS)]
