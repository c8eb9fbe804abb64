# SPDX-License-Identifier: LGPL-3.0-or-later
"""Spin states whose atoms, and cell, have gone where each of them wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import pandas as pd
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from spin_dp.errors import ConfigError, unknown
from spin_dp.inference.calculator import SpinDPCalculator
from spin_dp.inference.predictor import SpinDP
from spin_dp.search.ladder import ranked_frames
from spin_dp.search.ranking import formula_units
from spin_dp.spin_states.frame_name import SiteKeys
from spin_dp.structures import freeze

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms
    from pymatgen.core import Structure

Relaxed: TypeAlias = Literal["atoms", "cell"]

_MEV = 1000.0


def relax_states(
    structure: Atoms | Structure,
    model: SpinDP,
    table: pd.DataFrame,
    number: int = 5,
    *,
    what: Relaxed = "atoms",
    max_force: float = 0.02,
    max_steps: int = 300,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, list[Atoms]]:
    """Relax a structure in each of its lowest spin states, and rank them anew.

    States by name stay what they are, and their moments follow (of a model that learnt
    states); moments of other models are those of the start. ASE's FIRE does it.

    Parameters
    ----------
    structure
        That was ranked.
    model
        That ranked it; of an ensemble the first one.
    table
        Of :func:`spin_dp.search.rank_states`.
    number
        How many states.
    what
        ``atoms``, or ``cell``: both.
    max_force
        Where a relaxation ends, eV/Å, and eV/Å³ times the volume for a cell.
    max_steps
        Where it ends at the latest.
    progress
        Called as ``progress(done, number)``.

    Returns
    -------
    tuple
        Table, lowest first, with ``rank``, ``state``, ``order``, ``energy`` (eV),
        ``energy_per_fu`` (eV), ``above_lowest`` (meV per formula unit), ``vertical``
        (what that was before relaxing), ``relaxation`` (meV per formula unit, below
        zero), ``volume_per_fu`` (Å³), ``max_force`` (eV/Å), ``converged`` and
        ``becomes`` (the key of the moments at the end, where that is another one; empty
        where the model predicts none); and the relaxed structures in that order, with
        energy, forces and moments, and the states of their sites.

    Raises
    ------
    ConfigError
        If it is not known what to relax.
    DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    if what not in ("atoms", "cell"):
        raise unknown("what to relax", what, ("atoms", "cell"))
    if not max_force > 0.0 or max_steps < 1:
        raise ConfigError(
            "relaxation: expected a positive force and at least one step, got "
            f"{max_force} eV/Å and {max_steps}."
        )
    single = model if model.ensemble is None else SpinDP(model.info.path)
    frames = ranked_frames(structure, table, number)
    rows = []
    for k, (atoms, row) in enumerate(
        zip(frames, table.head(number).to_dict("records"), strict=True)
    ):
        units = formula_units(atoms)
        atoms.calc = SpinDPCalculator(single)
        before = float(atoms.get_potential_energy())
        moved = FrechetCellFilter(atoms) if what == "cell" else atoms
        optimizer = FIRE(moved, logfile=None)
        optimizer.run(fmax=max_force, steps=max_steps)
        energy = float(atoms.get_potential_energy())
        forces = np.linalg.norm(moved.get_forces(), axis=1)
        rows.append(
            {
                "state": row["state"],
                "order": row["order"],
                "energy": energy,
                "energy_per_fu": energy / units,
                "vertical": float(row["above_lowest"]),
                "relaxation": _MEV * (energy - before) / units,
                "volume_per_fu": atoms.get_volume() / units,
                "max_force": float(forces.max()),
                "converged": bool(forces.max() <= max_force),
                "becomes": _becomes(atoms, single),
            }
        )
        _keep_results(atoms)
        if progress is not None:
            progress(k + 1, len(frames))
    found = pd.DataFrame(rows)
    order = np.argsort(found["energy"].to_numpy(), kind="stable")
    found = found.iloc[order].reset_index(drop=True)
    lowest = found["energy_per_fu"].min()
    found.insert(0, "rank", np.arange(1, len(found) + 1))
    found.insert(5, "above_lowest", _MEV * (found["energy_per_fu"] - lowest))
    return found, [frames[place] for place in order]


def _keep_results(atoms: Atoms) -> None:
    """Put what a file holds in the place of the calculator."""
    freeze(atoms)
    # The states of the sites say what the start was.
    atoms.arrays.pop("initial_magmoms", None)


def _becomes(atoms: Atoms, model: SpinDP) -> str:
    """Return the key of the moments where the state no longer holds."""
    if not model.info.predicts_moments:
        return ""
    labels = model.labels(atoms)
    moments = model.moments_of(atoms, labels)[:, 2]
    named = [(i, state) for i, state in enumerate(labels.states) if state is not None]
    sites = [i for i, _ in named]
    keys = SiteKeys(
        [state.element for _, state in named],
        atoms.cell.array,
        atoms.positions[sites],
        model.states,
    )
    signed = [
        (state, state.sign(int(np.sign(labels.moments[i, 2])) or 1))
        for i, state in named
    ]
    return keys.becomes(signed, moments[sites])
