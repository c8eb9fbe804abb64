# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is said of orderings that were left out: by constants, and by trained models."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spin_dp import SpinDP
from spin_dp.errors import ConfigError, DataError
from spin_dp.files import write_text
from spin_dp.magnetism import find_bonds, fit_bonds
from spin_dp.training import MODEL, TrainingSettings, train
from spin_dp.training.dp_input import write_input

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.published_orderings.orderings import Orderings

    Floats = NDArray[np.float64]

MEV = 1000.0
CUTOFF = 6.0  # Å
SMALL: dict[str, Any] = {
    "neuron": (4, 8, 16),
    "axis_neuron": 4,
    "pair_neuron": (8,),
    "spin_neuron": (8,),
    "spin_axis_neuron": 4,
    "quad_neuron": (4,),
    "quad_axis_neuron": 2,
    "fitting_neuron": (32, 32),
    "warmup": 20,
}
"""Nets for a handful of energies of one geometry."""


def by_constants(
    found: Orderings, left_out: Sequence[int], cutoff: float
) -> Floats | None:
    """Return energies of all orderings by constants fitted to some, eV per cell.

    None where these cannot tell the shells apart.
    """
    cell, sites = found.atoms.cell.array, found.magnetic
    kinds = [str(found.atoms.symbols[i]) for i in sites]
    bonds = find_bonds(cell, found.atoms.positions[sites], kinds, cutoff)
    kept = np.setdiff1d(np.arange(len(found.energies)), left_out)
    directions = found.directions
    try:
        fit = fit_bonds(bonds, directions[kept], found.energies[kept])
    except (ConfigError, DataError):
        return None
    exchange = np.array([shell.exchange for shell in fit.shells]) / MEV
    energies: Floats = fit.constant - bonds.sums(directions) @ exchange
    return energies


def by_model(
    found: Orderings, left_out: Sequence[int], folder: Path, steps: int
) -> Floats:
    """Return energies of all orderings by a model trained on some, eV per cell.

    It is trained on energies alone: there are no other labels.
    """
    name = "without-" + "-".join(map(str, left_out))
    model = folder / name / MODEL
    if not model.is_file():
        kept = np.setdiff1d(np.arange(len(found.energies)), left_out)
        _write_system(folder / name / "data", found, kept)
        nothing = (0.0, 0.0)
        settings = TrainingSettings(
            steps=steps,
            energy=(1000.0, 1000.0),
            force=nothing,
            magnetic_force=nothing,
            virial=nothing,
            cutoff=CUTOFF,
            **SMALL,
            batch_size=f"auto:{len(kept) * len(found.atoms)}",  # all of them
            repulsion=False,
        )
        made = write_input(
            folder / name / "input.json",
            type_map=sorted(set(found.atoms.get_chemical_symbols())),
            training=folder / name / "data",
            validation=None,
            spin_elements=sorted({found.atoms.symbols[i] for i in found.magnetic}),
            settings=settings,
        )
        train(made)
    moments = np.zeros((len(found.energies), len(found.atoms), 3))
    moments[:, found.magnetic, 2] = found.moments
    energies: Floats = SpinDP(model).evaluate_many(found.atoms, moments).energy
    return energies


def _write_system(folder: Path, found: Orderings, kept: NDArray[np.intp]) -> None:
    """Write a deepmd system of energies and moments."""
    symbols = found.atoms.get_chemical_symbols()
    names = sorted(set(symbols))
    part = folder / "set.000"
    part.mkdir(parents=True, exist_ok=True)
    types = "\n".join(str(names.index(symbol)) for symbol in symbols)
    write_text(folder / "type.raw", types + "\n")
    write_text(folder / "type_map.raw", "\n".join(names) + "\n")
    moments = np.zeros((len(kept), len(symbols), 3))
    moments[:, found.magnetic, 2] = found.moments[kept]
    arrays = {
        "coord": np.tile(found.atoms.positions.reshape(1, -1), (len(kept), 1)),
        "box": np.tile(found.atoms.cell.array.reshape(1, -1), (len(kept), 1)),
        "energy": found.energies[kept].reshape(-1, 1),
        "spin": moments.reshape(len(kept), -1),
    }
    for name, array in arrays.items():
        np.save(part / f"{name}.npy", array)


def pair_row(
    found: Orderings, pair: tuple[int, int], energies: Floats
) -> dict[str, float]:
    """Return how a pair of orderings that was left out is placed, meV per cell.

    Gaps are those between the two; errors are of their energies above the mean of the
    orderings that were not left out.
    """
    kept = np.setdiff1d(np.arange(len(found.energies)), pair)
    above, truth = (
        MEV * (values[list(pair)] - values[kept].mean())
        for values in (energies, found.energies)
    )
    gap, true_gap = above[1] - above[0], truth[1] - truth[0]
    return {
        "gap": float(gap),
        "dft_gap": float(true_gap),
        "right": float(np.sign(gap) == np.sign(true_gap)),
        "error": float(np.sqrt(np.square(above - truth).mean())),
    }


def leave_two_out(found: Orderings, cutoffs: Sequence[float]) -> pd.DataFrame:
    """Return how constants place all pairs that can be left out.

    Returns
    -------
    pandas.DataFrame
        For each cutoff ``shells``, ``pairs`` that could be predicted, ``right`` of
        them in the published order, RMS error of the gap ``gap_error`` and of the
        energies ``error``, meV per cell.
    """
    rows = []
    for cutoff in cutoffs:
        placed = [
            pair_row(found, pair, energies)
            for pair in combinations(range(len(found.energies)), 2)
            if (energies := by_constants(found, pair, cutoff)) is not None
        ]
        cell, sites = found.atoms.cell.array, found.magnetic
        bonds = find_bonds(
            cell, found.atoms.positions[sites], ["M"] * len(sites), cutoff
        )
        table = pd.DataFrame(placed)
        rows.append(
            {
                "cutoff": cutoff,
                "shells": len(bonds.shells),
                "pairs": len(table),
                "right": int(table["right"].sum()) if len(table) else 0,
                "gap_error": _rms(table["gap"] - table["dft_gap"])
                if len(table)
                else np.nan,
                "error": _rms(table["error"]) if len(table) else np.nan,
            }
        )
    return pd.DataFrame(rows)


def _rms(values: pd.Series) -> float:
    return float(np.sqrt(np.square(values).mean()))
