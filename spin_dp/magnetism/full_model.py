# SPDX-License-Identifier: LGPL-3.0-or-later
"""Moments at a temperature on the energy of the model itself, not of fitted constants.

Whole moments turn at fixed positions (:mod:`spin_dp.sampling`); each trial computes the
atoms that feel it. What three and more moments do together, and how a coupling hangs on
the angle, is in it, at a thousand times the cost of fitted constants.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError
from spin_dp.inference.local_energies import LocalEnergies
from spin_dp.magnetism.monte_carlo import averages
from spin_dp.model_file import require_labels
from spin_dp.sampling import LabelSet, MoveSettings, Sampler
from spin_dp.sampling.label_set import NO_LABEL
from spin_dp.structures import as_atoms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from spin_dp.inference.labelling import Given
    from spin_dp.inference.predictor import SpinDP

    Floats = NDArray[np.float64]

log = logging.getLogger(__name__)

_MOMENT_MUB = 0.1


def sample_model(
    structure: Atoms | Structure,
    model: SpinDP,
    temperatures: Sequence[float],
    moments: Given | None = None,
    *,
    order: str | None = None,
    sweeps: int = 400,
    equilibration: int = 100,
    turn: float = 0.8,
    blocks: int = 10,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Sample directions of moments on the energy of a model.

    Parameters
    ----------
    structure
        A supercell; positions stay.
    model
        A model that learnt states; of an ensemble the first.
    temperatures
        K; the chain goes from cold to hot.
    moments, order
        States and order to start from, which is the order that is measured, as for
        :meth:`spin_dp.SpinDP.evaluate`.
    sweeps, equilibration
        At each temperature; in a sweep each moment is tried once.
    turn
        Width of the change of a direction, rad.
    blocks
        Parts of a chain whose scatter gives the errors.
    seed
        Of the random numbers.
    progress
        Called as ``progress(sweep, sweeps)`` over all temperatures.

    Returns
    -------
    pandas.DataFrame
        The table of :func:`spin_dp.magnetism.monte_carlo.sample`, with ``accepted``,
        the share of the turns.

    Raises
    ------
    ConfigError
        If the model learnt no states, or a site is not labelled by one whose charge is
        known; if fewer than two have moments; if numbers are not positive.
    """
    kelvin = np.sort(np.array(temperatures, dtype=np.float64))
    if not len(kelvin) or not kelvin[0] > 0.0:
        raise ConfigError(
            f"temperatures: expected positive numbers of K, got {list(temperatures)}."
        )
    if not 1 <= blocks <= sweeps or equilibration < 0:
        raise ConfigError(
            "sampling: expected at least as many sweeps as blocks, and no negative "
            f"equilibration, got {sweeps}, {blocks} and {equilibration}."
        )
    require_labels(model.info)
    atoms = as_atoms(structure)
    symbols = atoms.get_chemical_symbols()
    given = model.labels(atoms, moments, order=order)
    label_set = LabelSet.of(model.states, symbols)
    labels = label_set.numbers(symbols, given)
    start = label_set.vectors(labels)
    lengths = np.linalg.norm(start, axis=1)
    spins = np.flatnonzero((labels != NO_LABEL) & (lengths > _MOMENT_MUB))
    if len(spins) < 2:
        raise ConfigError(
            f"{atoms.get_chemical_formula()}: expected two moments or more in these "
            f"labels, got {len(spins)}."
        )
    # Sites without a moment have nothing to turn.
    movable = np.where(lengths > _MOMENT_MUB, labels, NO_LABEL)
    shares = {"exchange": 0.0, "flip": 0.0, "spin": 0.0, "transfer": 0.0}
    sampler = Sampler(
        label_set,
        MoveSettings(**shares, rotate=1.0, turn=turn),
        float(kelvin[0]),
        symbols,
        movable,
        np.random.default_rng(seed),
    )
    energies = LocalEnergies(model.potential, symbols, model.geometry(atoms), start)
    moves = sampler.at(atoms.cell.array, atoms.positions)
    units = start[spins] / lengths[spins, None]
    axis = units[0]
    signs = units @ axis
    records = np.zeros((sweeps, 3, len(kelvin)))
    accepted = np.zeros(len(kelvin))
    total = len(kelvin) * (sweeps + equilibration)
    for place, temperature in enumerate(kelvin):
        sampler.temperature = float(temperature)
        for sweep in range(-equilibration, sweeps):
            turned = sampler.run(energies, moves, len(spins))
            if sweep >= 0:
                accepted[place] += turned / len(spins) / sweeps
                found = energies.moments[spins] / lengths[spins, None]
                records[sweep, :, place] = (
                    energies.energy,
                    np.square(signs @ found / len(spins)).sum(),
                    np.square(found.mean(axis=0)).sum(),
                )
            if progress is not None:
                done = place * (sweeps + equilibration) + sweep + equilibration + 1
                progress(done, total)
    table = averages(records, kelvin, len(spins), blocks=blocks, components=3)
    return table.assign(accepted=accepted)
