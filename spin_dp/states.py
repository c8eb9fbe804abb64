# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which spin state of a structure is lowest: make moment patterns and rank them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spin_dp.errors import ConfigError, unknown
from spin_dp.structures import as_atoms, structure_moments

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from spin_dp.predictor import SpinDP

LOCAL_MOMENTS: dict[str, tuple[float, ...]] = {
    "Mn": (3.71, 3.19, 1.95),
    "Co": (3.04, 1.11, 0.0),
    "Ni": (1.67, 1.26, 0.0),
}
"""Usual local moments, μB: means of the free (unconstrained) frames of examples/gpaw
(PBE+U), for Mn 3+ high spin, 4+, 3+ low spin; Co 3+ high spin, 4+ low spin, 3+ low
spin; Ni 2+, 3+ low spin, 4+."""

DEGENERATE_EV = 1e-6
"""Patterns of one total moment whose energies differ by less are one state, eV."""


def rank_states(
    structure: Atoms | Structure,
    model: SpinDP,
    elements: Sequence[str] | None = None,
    *,
    levels: Mapping[str, Sequence[float]] | None = None,
    converge: bool | None = None,
    max_patterns: int = 512,
) -> pd.DataFrame:
    """Rank spin states of a structure by their energy at fixed positions.

    All assignments of ±level to the sites of the elements are tried, up to reversal
    of all moments; where there would be more than ``max_patterns``, the ordered ones:
    every level ferromagnetic, antiferromagnetic in planes along each cell direction
    and with each single site flipped or excited. Patterns that the symmetry of the
    structure makes equal come out with equal energies and are counted as one.

    Parameters
    ----------
    structure
        ASE Atoms or pymatgen Structure.
    model
        The model to ask.
    elements
        Elements whose moments are varied; by default all magnetic ones of the model
        that the structure has and whose levels are known. Others keep the structure's
        own moments, or zero.
    levels
        Sizes of the moments to try for each element, μB; by default
        :data:`LOCAL_MOMENTS`.
    converge
        Whether each pattern is a guess from which the model predicts the converged
        moments of all atoms first; by default if it can.
    max_patterns
        Largest number of patterns to evaluate.

    Returns
    -------
    pandas.DataFrame
        One row a state, lowest first: ``rank``, ``order``, ``moments`` (of the varied
        sites), ``total_moment`` (μB), ``energy`` (eV), ``energy_per_fu`` (eV per
        formula unit), ``above_lowest`` (meV per formula unit), ``degeneracy``,
        ``max_magnetic_force`` (eV/μB; small where the state is a valley), ``pattern``
        (all moments that were tried, μB) and ``converged`` (those the energy belongs
        to, μB; ``moments`` and ``total_moment`` are of these).

    Raises
    ------
    ConfigError
        If an element is not in the structure or carries no spin in the model, or no
        levels are known for it.
    """
    atoms = as_atoms(structure)
    names = _elements(atoms, model, elements, {*LOCAL_MOMENTS, *(levels or {})})
    tried = {name: _levels(name, levels) for name in names}
    patterns = _patterns(_readable_moments(atoms, model), atoms, tried, max_patterns)
    moments = np.zeros((*patterns.shape, 3))
    moments[..., 2] = patterns
    if model.info.predicts_moments if converge is None else converge:
        moments = model.predict_moments(atoms, moments)
    found = model.evaluate(atoms, moments)
    converged = moments[..., 2]
    sites = [i for i, s in enumerate(atoms.get_chemical_symbols()) if s in tried]
    units = formula_units(atoms)
    rows: list[dict[str, Any]] = [
        {
            "order": order_name(pattern[sites]),
            "moments": " ".join(f"{m:+.2f}" for m in reached[sites]),
            "total_moment": float(reached.sum()),
            "energy": float(energy),
            "max_magnetic_force": float(np.linalg.norm(force, axis=-1).max()),
            "pattern": pattern,
            "converged": reached,
        }
        for pattern, reached, energy, force in zip(
            patterns, converged, found.energy, found.magnetic_forces, strict=True
        )
    ]
    merged = _merge_degenerate(sorted(rows, key=lambda row: row["energy"]))
    table = pd.DataFrame(merged)
    table["energy_per_fu"] = table["energy"] / units
    lowest = table["energy_per_fu"].min()
    table["above_lowest"] = 1000.0 * (table["energy_per_fu"] - lowest)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table[
        [
            "rank",
            "order",
            "moments",
            "total_moment",
            "energy",
            "energy_per_fu",
            "above_lowest",
            "degeneracy",
            "max_magnetic_force",
            "pattern",
            "converged",
        ]
    ]


def formula_units(atoms: Atoms) -> int:
    """Return the number of formula units in the cell."""
    counts = list(atoms.symbols.formula.count().values())
    return int(np.gcd.reduce(counts))


def order_name(moments: NDArray[np.float64]) -> str:
    """Name a collinear order: FM, AFM (total zero), FiM, single or NM.

    Parameters
    ----------
    moments
        Collinear moments of the magnetic sites, (n,), μB.
    """
    big = moments[np.abs(moments) > 1e-8]
    if len(big) == 0:
        return "NM"
    if np.all(big > 0) or np.all(big < 0):
        return "FM" if len(big) > 1 else "single"
    return "AFM" if abs(big.sum()) < 1e-6 * np.abs(big).sum() else "FiM"


def _elements(
    atoms: Atoms, model: SpinDP, elements: Sequence[str] | None, known: set[str]
) -> list[str]:
    present = set(atoms.get_chemical_symbols())
    formula = atoms.get_chemical_formula()
    if elements is None:
        magnetic = [name for name in model.spin_elements if name in present]
        if not magnetic:
            raise ConfigError(
                f"the structure {formula} has none of the model's magnetic elements "
                f"{', '.join(model.spin_elements)}; there is only one spin state."
            )
        # Of oxygen no states are known: its moments follow those of the metals.
        return [name for name in magnetic if name in known] or magnetic
    for name in elements:
        if name not in present:
            raise unknown(f"element of the structure {formula}", name, present)
        if name not in model.spin_elements:
            raise ConfigError(
                f"{model.info.path} reads no moments of {name}; its magnetic elements "
                f"are {', '.join(model.spin_elements)}."
            )
    return list(dict.fromkeys(elements))


def _levels(
    name: str, levels: Mapping[str, Sequence[float]] | None
) -> tuple[float, ...]:
    known = LOCAL_MOMENTS if levels is None else {**LOCAL_MOMENTS, **levels}
    if name not in known:
        raise ConfigError(
            f"no usual local moments are known for {name}; give them, e.g. "
            f"--levels {name}=3.8,1.0."
        )
    return tuple(sorted({abs(float(value)) for value in known[name]}, reverse=True))


def _readable_moments(atoms: Atoms, model: SpinDP) -> NDArray[np.float64]:
    """Return the structure's moments along z where the model reads them, else zero."""
    own = structure_moments(atoms)
    if own is None:
        return np.zeros(len(atoms))
    is_read = np.isin(atoms.get_chemical_symbols(), model.spin_elements)
    return np.where(is_read, own[:, 2], 0.0)


def _patterns(
    base: NDArray[np.float64],
    atoms: Atoms,
    levels: Mapping[str, tuple[float, ...]],
    max_patterns: int,
) -> NDArray[np.float64]:
    """Return collinear patterns, (k, n), one of each pair under reversal."""
    symbols = atoms.get_chemical_symbols()
    sites = [i for i, name in enumerate(symbols) if name in levels]
    choices = [
        [
            sign * size
            for size in levels[symbols[i]]
            for sign in (1, -1)
            if size or sign > 0
        ]
        for i in sites
    ]
    n_all = float(np.prod([float(len(c)) for c in choices]))
    if n_all / 2 <= max_patterns:
        assigned: Iterable[Sequence[float]] = itertools.product(*choices)
    else:
        assigned = _ordered(atoms, sites, levels, max_patterns)
    held = base.copy()
    held[sites] = 0.0
    may_reverse = not held.any()
    seen: set[tuple[float, ...]] = set()
    patterns = []
    for values in assigned:
        key = _up_to_reversal(values) if may_reverse else tuple(values)
        if key in seen:
            continue
        seen.add(key)
        pattern = base.copy()
        pattern[sites] = key
        patterns.append(pattern)
    return np.array(patterns)


def _up_to_reversal(values: Sequence[float]) -> tuple[float, ...]:
    first = next((v for v in values if v != 0.0), 0.0)
    return tuple(v + 0.0 if first >= 0 else -v + 0.0 for v in values)


def _ordered(
    atoms: Atoms,
    sites: list[int],
    levels: Mapping[str, tuple[float, ...]],
    max_patterns: int,
) -> list[tuple[float, ...]]:
    """Return ordered patterns: uniform, in planes, and single-site excitations."""
    symbols = [atoms.get_chemical_symbols()[i] for i in sites]
    signs = [np.ones(len(sites)), *_plane_signs(atoms, sites)]
    combos = list(itertools.product(*(levels[name] for name in levels)))
    uniform: list[NDArray[np.float64]] = []
    for combo in combos:
        size = dict(zip(levels, combo, strict=True))
        sizes = np.array([size[name] for name in symbols])
        uniform.extend(sizes * sign for sign in signs)
    excited = []
    for pattern in uniform[: len(signs)]:
        for site, name in enumerate(symbols):
            for value in (-pattern[site], *(v for v in levels[name])):
                changed = pattern.copy()
                changed[site] = value
                excited.append(changed)
    return [tuple(float(v) for v in p) for p in (uniform + excited)[:max_patterns]]


def _plane_signs(atoms: Atoms, sites: list[int]) -> list[NDArray[np.float64]]:
    """Return signs that alternate between planes of sites along the cell directions."""
    scaled = atoms.get_scaled_positions(wrap=True)[sites]
    directions = [d for d in itertools.product((0, 1), repeat=3) if any(d)]
    found = []
    for direction in directions:
        height = np.mod(scaled @ np.array(direction, dtype=float) + 0.02, 1.0)
        order = np.argsort(height)
        gaps = np.diff(height[order]) > 0.1 / len(sites) ** (1 / 3)
        plane = np.zeros(len(sites), dtype=int)
        plane[order] = np.concatenate([[0], np.cumsum(gaps)])
        if plane.max() > 0:
            found.append(np.where(plane % 2 == 0, 1.0, -1.0))
    return found


def _merge_degenerate(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    merged: list[dict[str, Any]] = []
    for row in rows:
        twin = next(
            (
                other
                for other in reversed(merged[-64:])
                if _close(row["energy"], other["energy"], DEGENERATE_EV)
                and _close(row["total_moment"], other["total_moment"], 1e-6)
            ),
            None,
        )
        if twin is None:
            merged.append({**row, "degeneracy": 1})
        else:
            twin["degeneracy"] += 1
    return merged


def _close(a: float, b: float, tolerance: float) -> bool:
    return abs(abs(a) - abs(b)) < tolerance
