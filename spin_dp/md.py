# SPDX-License-Identifier: LGPL-3.0-or-later
"""Molecular dynamics on the energy surface of chosen spin labels, in stock LAMMPS."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError, DataError, OutsideTrainingData, SpinDPError
from spin_dp.lammps_interface import MDJob, MDResult, MDSettings, Watch, run_job
from spin_dp.lammps_interface.watch import SHARE_OF_SHORTEST, SHORTEST
from spin_dp.spin_states.catalogue import total_charge
from spin_dp.spin_states.ions import charge_of_known_ions
from spin_dp.spin_states.labels import Labels, Sites, ordered
from spin_dp.spin_states.nominal import has_nominal_states
from spin_dp.structures import as_atoms, read_structure, repeated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from pymatgen.core import Structure

    from spin_dp.inference.labelling import Given
    from spin_dp.inference.predictor import SpinDP
    from spin_dp.lammps_interface import Progress, Snapshot
    from spin_dp.model_file import ModelInfo
    from spin_dp.structures import Array

__all__ = ["MDResult", "MDSettings", "Watch", "run_md"]

log = logging.getLogger(__name__)


def run_md(
    structure: str | Path | Atoms | Structure,
    models: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    moments: Given | None = None,
    order: str | None = None,
    settings: MDSettings | None = None,
    supercell: tuple[int, int, int] = (1, 1, 1),
    predict: bool = True,
    watch: Watch | None = None,
    ranks: int = 1,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> MDResult:
    """Run molecular dynamics with every atom's moment held as a label.

    Parameters
    ----------
    structure
        Structure file, ASE atoms or pymatgen structure; periodic in three directions.
    models
        Frozen model file; of several, the first moves the atoms and all give the
        model deviation.
    out
        Output folder: new, empty, or that of the same run, which is then gone on with
        (interrupted) or reported (finished).
    moments
        Labels of the structure before it is repeated, as for
        :meth:`spin_dp.SpinDP.evaluate`: ``"Mn=3+HS"``, moments by number, None for what
        it carries.
    order
        Magnetic ordering of the supercell, ``FM``, ``AFM``, ``AFM-001``.
    settings
        Ensemble, temperature, lengths and output.
    supercell
        Repetitions along the cell vectors.
    predict
        Whether sites that are labelled by name, or not at all (oxygen), get the moments
        that the model predicts in the structure to start from, if it can; else the mean
        ones of the states, and none.
    watch
        Limits of the known region, where the run stops; None: those of
        :class:`Watch`. A shortest distance that it does not give is 0.8 of the
        shortest one in the models' training data, at least 1 Å.
    ranks
        Number of MPI processes.
    dry_run
        Write data file and input deck and stop.
    progress
        Called as ``progress(step, steps, thermo)`` while LAMMPS runs.

    Returns
    -------
    MDResult
        Averages, the paths of deck, tables and trajectory, and where the run left the
        known region (``departure``).

    Raises
    ------
    ConfigError
        If structure, labels, models and folder do not go together.
    DataError
        If a file or array does not hold what it should.
    BackendError
        If LAMMPS is not found or fails.
    """
    atoms = (
        read_structure(structure)
        if isinstance(structure, str | Path)
        else as_atoms(structure)
    )
    if not all(atoms.pbc):
        raise DataError(
            f"{atoms.get_chemical_formula()}: expected a cell periodic in three "
            f"directions, got pbc={atoms.pbc.tolist()}. Put vacuum around a slab or "
            "molecule and set pbc."
        )
    paths = [models] if isinstance(models, str | Path) else list(models)
    model, others = _open_models([Path(path) for path in paths])
    if model.info.slow:
        log.info("%s: `spin-dp deploy` makes it some twenty times as fast", paths[0])
    large = repeated(atoms, supercell)
    labels = _moments(model, atoms, large, moments, order, predict)
    model.check(large, labels)
    job = MDJob(
        symbols=large.get_chemical_symbols(),
        positions=large.positions,
        cell=large.cell.array,
        moments=labels,
        models=[Path(path) for path in paths],
        settings=settings or MDSettings(),
    )
    return run_job(
        job,
        Path(out),
        ranks=ranks,
        dry_run=dry_run,
        progress=progress,
        watch=_with_shortest(watch or Watch(), [model.info, *others]),
        locate=partial(_most_magnetic_deviation, job.models),
    )


def _open_models(paths: Sequence[Path]) -> tuple[SpinDP, list[ModelInfo]]:
    """Return the first model, and what the others say of themselves."""
    from spin_dp.inference.predictor import SpinDP
    from spin_dp.model_file import read_model_info, require_spin

    if not paths:
        raise ConfigError("models: expected at least one model file, got none")
    first = SpinDP(paths[0])
    others = []
    for path in paths[1:]:
        info = read_model_info(path)
        require_spin(info)
        if info.type_map != first.type_map:
            raise ConfigError(
                f"{path}: expected the elements {first.type_map} of {paths[0]}, got "
                f"{info.type_map}. Model deviation needs models with one type map."
            )
        others.append(info)
    return first, others


def _with_shortest(watch: Watch, models: Sequence[ModelInfo]) -> Watch:
    """Return a watch with a shortest distance: that of the models if it has none."""
    known = [one.min_distance for one in models if np.isfinite(one.min_distance)]
    if watch.shortest is not None or not known:
        return watch
    return replace(watch, shortest=max(SHORTEST, SHARE_OF_SHORTEST * min(known)))


def _most_magnetic_deviation(paths: Sequence[Path], state: Snapshot) -> int | None:
    """Return the atom whose magnetic forces differ most; None if a model refuses."""
    from spin_dp.inference.predictor import SpinDP

    atoms = state.atoms()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OutsideTrainingData)  # that is known
            forces = np.array(
                [
                    SpinDP(path).evaluate(atoms, state.moments).magnetic_forces
                    for path in paths
                ]
            )
    except SpinDPError as error:
        log.info("the atom of the magnetic deviation is not known: %s", error)
        return None
    spread = np.square(forces - forces.mean(axis=0)).sum(axis=-1).mean(axis=0)
    return int(spread.argmax())


def _moments(
    model: SpinDP,
    atoms: Atoms,
    large: Atoms,
    moments: Given | None,
    order: str | None,
    predict: bool,
) -> Array:
    """Return the moments of the supercell; the labels are those of the cell."""
    cell_labels = model.labels(atoms, moments)
    _say_charge(atoms, cell_labels)
    labels = cell_labels.tiled(len(large) // len(atoms))
    sites = Sites(large.get_chemical_symbols(), large.cell.array, large.positions)
    labels = ordered(labels, sites, model.states, order)
    if not predict:
        return labels.moments
    filled = model.moments_of(large, labels)
    is_new = ~labels.is_labelled & filled.any(axis=1)
    if is_new.any():
        log.info(
            "moments of %s predicted (up to %.2f μB)",
            ", ".join(sorted(set(np.array(sites.symbols)[is_new]))),
            np.linalg.norm(filled[is_new], axis=1).max(),
        )
    return filled


def _say_charge(atoms: Atoms, labels: Labels) -> None:
    """Say that the cell is not neutral with the oxidation states of its labels."""
    symbols = atoms.get_chemical_symbols()
    states = [
        state
        for symbol, state in zip(symbols, labels.states, strict=True)
        if has_nominal_states(symbol)
    ]
    if None in states:  # labelled by number
        return
    known = charge_of_known_ions(symbols, atoms.cell.array, atoms.positions)
    charge = total_charge(states, known)
    if charge:
        log.warning("the charges of the labelled states add up to %+g e", charge)
