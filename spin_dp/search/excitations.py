# SPDX-License-Identifier: LGPL-3.0-or-later
"""What it costs to flip one moment, to excite one ion, to move one electron.

Each change is made by itself in a state of the whole structure, at fixed positions. The
differences come from the atoms that feel a change, so that large cells cost no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.errors import ConfigError
from spin_dp.inference.local_energies import Change, LocalEnergies
from spin_dp.model_file import require_labels
from spin_dp.neighbours import find_pairs
from spin_dp.sampling import LabelSet
from spin_dp.sampling.label_set import NO_LABEL
from spin_dp.search.enumeration import Enumeration
from spin_dp.search.symmetry import site_permutations
from spin_dp.spin_states.labels import signed_name
from spin_dp.structures import as_atoms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from spin_dp.inference.labelling import Given
    from spin_dp.inference.predictor import SpinDP

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Codes = NDArray[np.uint8]

KINDS = ("flip", "spin", "transfer")
"""A moment turns round; another state of the same charge; an electron goes to another
site."""

COLUMNS = (
    *("kind", "site", "other", "distance", "before", "after", "equal"),
    *("energy", "energy_spread"),
)

_AT_ONCE = 64
_MEV = 1000.0


@dataclass(frozen=True, slots=True)
class _Excitation:
    """Other labels on one site or two."""

    kind: str
    places: tuple[int, ...]
    labels: tuple[int, ...]
    distance: float = float("nan")


def site_excitations(
    structure: Atoms | Structure,
    model: SpinDP,
    moments: Given | None = None,
    *,
    order: str | None = None,
    kinds: Sequence[str] = KINDS,
    reach: float = 3.5,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Return what single changes of a spin state cost, at fixed positions.

    Parameters
    ----------
    structure
        ASE Atoms or pymatgen Structure; periodic images of a site change with it, so
        give a supercell.
    model
        A model that learnt states by name; of an ensemble the first one gives energies,
        all the spread.
    moments
        The state to start from: names of the states of all sites, as for
        :meth:`spin_dp.SpinDP.evaluate`.
    order
        Magnetic ordering of it.
    kinds
        Of :data:`KINDS`.
    reach
        Electrons go to sites not farther away, Å.
    progress
        Called as ``progress(done, number)``.

    Returns
    -------
    pandas.DataFrame
        A row for each change that no symmetry of structure and state makes equal to
        another, by kind and then energy: ``kind``; ``site`` and, of a transfer, the
        ``other`` atom and its ``distance`` (Å), the electron goes from site to other;
        ``before`` and ``after`` (states, - for down); ``equal`` (how many changes are
        the same); ``energy`` and ``energy_spread`` (meV, the spread is NaN of one
        model).

    Raises
    ------
    ConfigError
        If the model learnt no states, or a site is not labelled by the name of one
        whose charge is known; if a kind is not known; if nothing can change.
    ShapeError, DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(
                f"excitations: expected {', '.join(KINDS)}, got {kind!r}."
            )
    require_labels(model.info)
    atoms = as_atoms(structure)
    symbols = atoms.get_chemical_symbols()
    given = model.labels(atoms, moments, order=order)
    label_set = LabelSet.of(model.states, symbols)
    labels = label_set.numbers(symbols, given)
    sites = np.flatnonzero(labels != NO_LABEL)
    base = labels[sites].astype(np.uint8)
    changes = [
        change
        for kind in dict.fromkeys(kinds)
        for change in _CHANGES[kind](label_set, base, atoms, sites, reach)
    ]
    if not changes:
        raise ConfigError(
            f"{atoms.get_chemical_formula()}: nothing can change in this state "
            f"({', '.join(kinds)}); the model knows no other states of these ions."
        )
    chosen, equal = _distinct(changes, base, atoms, sites, label_set)
    models = [model] if model.ensemble is None else model.ensemble.models
    start = label_set.vectors(labels)
    energies = np.zeros((len(models), len(chosen)))
    for number, one in enumerate(models):
        local = LocalEnergies(one.potential, symbols, model.geometry(atoms), start)
        for first in range(0, len(chosen), _AT_ONCE):
            part = chosen[first : first + _AT_ONCE]
            asked = [_change(change, sites, label_set) for change in part]
            found = [float(parts.sum()) for parts in local.differences(asked)]
            energies[number, first : first + len(part)] = found
            if progress is not None:
                done = number * len(chosen) + first + len(part)
                progress(done, len(models) * len(chosen))
    spread = (
        energies.std(axis=0, ddof=1)
        if len(models) > 1
        else np.full(len(chosen), np.nan)
    )
    rows = [
        {
            "kind": change.kind,
            "site": int(sites[change.places[0]]),
            "other": int(sites[change.places[1]]) if len(change.places) > 1 else pd.NA,
            "distance": change.distance,
            "before": _names(label_set, base[list(change.places)]),
            "after": _names(label_set, change.labels),
            "equal": number,
            "energy": _MEV * energies[0, k],
            "energy_spread": _MEV * spread[k],
        }
        for k, (change, number) in enumerate(zip(chosen, equal, strict=True))
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"other": "Int64"})
    rank = table["kind"].map({kind: place for place, kind in enumerate(KINDS)})
    ordered = table.assign(rank=rank).sort_values(["rank", "energy"])
    return ordered.drop(columns="rank").reset_index(drop=True)


def _flips(label_set: LabelSet, base: Codes, *_: object) -> Iterator[_Excitation]:
    for place, label in enumerate(base.tolist()):
        other = int(label_set.turned[label])
        if other != label:
            yield _Excitation("flip", (place,), (other,))


def _spins(label_set: LabelSet, base: Codes, *_: object) -> Iterator[_Excitation]:
    states, charges = label_set.states, label_set.charges
    for place, label in enumerate(base.tolist()):
        for other in label_set.of_element(states[label].element).tolist():
            is_other = states[other] is not states[label]
            if is_other and charges[other] == charges[label]:
                yield _Excitation("spin", (place,), (other,))


def _transfers(
    label_set: LabelSet, base: Codes, atoms: Atoms, sites: Ints, reach: float
) -> Iterator[_Excitation]:
    """Go through pairs of sites: the first one gives an electron to the second."""
    states, charges = label_set.states, label_set.charges
    pairs = find_pairs(
        atoms.cell.array, atoms.positions[sites], reach, periodic=atoms.pbc.tolist()
    )
    nearest: dict[tuple[int, int], float] = {}
    for i, j, distance in zip(
        pairs.first.tolist(), pairs.second.tolist(), pairs.distances, strict=True
    ):
        if i != j:
            nearest[i, j] = min(distance, nearest.get((i, j), np.inf))
    for (giver, taker), distance in nearest.items():
        options = [
            [
                other
                for other in label_set.of_element(states[base[place]].element).tolist()
                if charges[other] == charges[base[place]] + step
            ]
            for place, step in ((giver, 1), (taker, -1))
        ]
        for first in options[0]:
            for second in options[1]:
                yield _Excitation(
                    "transfer", (giver, taker), (first, second), float(distance)
                )


_CHANGES: dict[str, Callable[..., Iterator[_Excitation]]] = {
    "flip": _flips,
    "spin": _spins,
    "transfer": _transfers,
}


def _change(change: _Excitation, sites: Ints, label_set: LabelSet) -> Change:
    atoms = tuple(int(sites[place]) for place in change.places)
    return Change(atoms, label_set.vectors(np.array(change.labels)))


def _names(label_set: LabelSet, labels: Sequence[int] | Codes) -> str:
    words = [
        signed_name(label_set.states[label].name, label_set.signs[label])
        for label in labels
    ]
    return " ".join(words)


def _distinct(
    changes: Sequence[_Excitation],
    base: Codes,
    atoms: Atoms,
    sites: Ints,
    label_set: LabelSet,
) -> tuple[list[_Excitation], list[int]]:
    """Return changes that no symmetry makes equal, and how many each stands for."""
    turned = label_set.turned.tolist()
    enumeration = Enumeration(
        [[0]] * len(sites), site_permutations(atoms, sites.tolist()), turned
    )
    codes = np.repeat(base[None], len(changes), axis=0)
    for row, change in enumerate(changes):
        codes[row, list(change.places)] = change.labels
    smallest = enumeration.smallest(codes)
    first: dict[tuple[str, bytes, float], int] = {}
    counts: dict[tuple[str, bytes, float], int] = {}
    for row, change in enumerate(changes):
        key = (change.kind, smallest[row].tobytes(), round(change.distance, 3))
        if np.isnan(change.distance):
            key = (change.kind, smallest[row].tobytes(), -1.0)
        first.setdefault(key, row)
        counts[key] = counts.get(key, 0) + 1
    return [changes[row] for row in first.values()], list(counts.values())
