# SPDX-License-Identifier: LGPL-3.0-or-later
"""Molecular dynamics on the energy surface of chosen spin labels, in stock LAMMPS.

Kinds of labels. *Moments* are held as they are: given by number, or predicted in
the structure to start from; or they are *relaxed* between segments of the run, each in
the valley of its state. *States* of a model that learnt them
(:attr:`spin_dp.model_file.ModelInfo.reads_labels`): LAMMPS carries the mean moment of
each site's state and nothing elsewhere, and the energy is that of the state with its
moments relaxed at each geometry; forces are its derivatives. Moves of *Monte Carlo*
change such states between segments of the run.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.dynamics.modes import LabelsMove, how_labels_move, record
from spin_dp.dynamics.monte_carlo import LabelVisitor, MonteCarlo
from spin_dp.dynamics.named import keep_states, name_states
from spin_dp.dynamics.relaxed_moments import MomentRelaxation, MomentVisitor
from spin_dp.dynamics.visits import drift_without_visits
from spin_dp.errors import (
    ConfigError,
    DataError,
    OutsideTrainingData,
    SpinDPError,
)
from spin_dp.inference.moment_relaxation import Valleys
from spin_dp.lammps_interface import MDJob, MDResult, MDSettings, Watch, run_job
from spin_dp.lammps_interface.watch import SHARE_OF_SHORTEST, SHORTEST
from spin_dp.neighbours import least_of
from spin_dp.sampling import LabelSet
from spin_dp.spin_states.balance import balanced, cell_charge
from spin_dp.spin_states.labels import (
    DISORDERED,
    Labels,
    Sites,
    disordered,
    ordered,
)
from spin_dp.structures import as_atoms, read_structure, repeated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms
    from pymatgen.core import Structure

    from spin_dp.inference.labelling import Given
    from spin_dp.inference.predictor import SpinDP
    from spin_dp.lammps_interface import Progress, Snapshot
    from spin_dp.model_file import ModelInfo
    from spin_dp.pretrained import ModelName
    from spin_dp.structures import Array

__all__ = ["LabelsMove", "MDResult", "MDSettings", "Watch", "run_md"]

log = logging.getLogger(__name__)


def run_md(
    structure: str | Path | Atoms | Structure,
    models: ModelName | Sequence[ModelName],
    *,
    out: str | Path,
    moments: Given | None = None,
    order: str | None = None,
    balance: Mapping[str, str] | None = None,
    settings: MDSettings | None = None,
    supercell: tuple[int, int, int] = (1, 1, 1),
    predict: bool = True,
    labels_move: LabelsMove | None = None,
    watch: Watch | None = None,
    ranks: int = 1,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> MDResult:
    """Run molecular dynamics of atoms with spin labels.

    Parameters
    ----------
    structure
        Structure file, ASE atoms or pymatgen structure; periodic in three directions.
    models
        Model file; of several, the first moves the atoms and all give the model
        deviation. The name of a shipped model stands for all of its ensemble, compiled
        for this machine when it is first used (:mod:`spin_dp.deployment.cache`).
    out
        Output folder: new, empty, or that of the same run, which is then gone on with
        (interrupted) or reported (finished).
    moments
        Labels of the structure before it is repeated, as for
        :meth:`spin_dp.SpinDP.evaluate`: ``"Mn=3+HS"``, moments by number, None for what
        it carries.
    order
        Magnetic ordering of the supercell, ``FM``, ``AFM``, ``AFM-001``; ``random``
        signs or ``random-directions``, drawn with the seed of the settings.
    balance
        State that sites of an element change to, as many as make the supercell neutral,
        ``{"Ni": "4+LS"}``: which ones is drawn with the seed of the settings.
    settings
        Ensemble, temperature, lengths and output.
    supercell
        Repetitions along the cell vectors.
    predict
        Whether sites that are labelled by name, or not at all (oxygen), get the moments
        that the model predicts in the structure to start from, if it can; else the mean
        ones of the states, and none. For moments that are held.
    labels_move
        ``held``, ``adiabatic``, :class:`MonteCarlo` or :class:`MomentRelaxation`, see
        the head of this module; the second and third need models that read labels.
        None: adiabatic where all sites are labelled by name and the model reads labels,
        else held.
    watch
        Limits of the known region, where the run stops; None: those of
        :class:`Watch`. Without a shortest distance there, that of each pair of elements
        is 0.8 of what the models' training data show, at least 1 Å.
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
    from spin_dp.deployment.cache import fast_models  # heavy

    paths = fast_models(models)
    model, others = _open_models(paths)
    if model.info.slow:
        log.info("%s: `spin-dp deploy` makes it some twenty times as fast", paths[0])
    large = repeated(atoms, supercell)
    settings = settings or MDSettings()
    labels = _labels(model, atoms, large, moments, order, balance, settings.seed)
    moves = how_labels_move(labels_move, labels, [model.info, *others])
    if moves == "adiabatic" or isinstance(moves, MonteCarlo):
        vectors = labels.moments
    else:
        vectors = _held(model, large, labels) if predict else labels.moments
    visitor = _visitor(moves, model, large, labels, vectors, settings, Path(out))
    if isinstance(visitor, MomentVisitor):
        vectors = visitor.relaxed(model.geometry(large), vectors)
    model.check(large, vectors)
    job = MDJob(
        symbols=large.get_chemical_symbols(),
        positions=large.positions,
        cell=large.cell.array,
        moments=vectors,
        models=paths,
        settings=settings,
        others=record(moves),
    )
    result = run_job(
        job,
        Path(out),
        ranks=ranks,
        dry_run=dry_run,
        progress=progress,
        watch=within_data(watch or Watch(), [model.info, *others]),
        locate=partial(_most_magnetic_deviation, job.models),
        visitors=[] if visitor is None else [visitor],
    )
    if result.n_frames and isinstance(moves, MomentRelaxation):
        keep_states(result.trajectory, labels)
    elif result.n_frames and moves != "held":
        name_states(result.trajectory, model)
    if visitor is not None and result.energy_drift is not None:
        drift = drift_without_visits(result, visitor.file)
        result = replace(result, energy_drift=drift)
    return result


def _visitor(
    moves: LabelsMove,
    model: SpinDP,
    large: Atoms,
    labels: Labels,
    vectors: Array,
    settings: MDSettings,
    folder: Path,
) -> LabelVisitor | MomentVisitor | None:
    """Return who moves the labels between segments of the run, if anybody."""
    symbols = large.get_chemical_symbols()
    if isinstance(moves, MomentRelaxation):
        valleys = Valleys.of(
            symbols,
            vectors,
            model.states,
            states=labels.states,
            read_elements=model.spin_elements,
        )
        return MomentVisitor(
            model.potential, symbols, valleys, moves, run=settings, folder=folder
        )
    if not isinstance(moves, MonteCarlo):
        return None
    label_set = LabelSet.of(model.states, symbols, moves.states)
    numbers = label_set.numbers(symbols, labels)
    return LabelVisitor(
        model.potential,
        symbols,
        numbers,
        label_set,
        moves,
        run=settings,
        folder=folder,
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


def within_data(watch: Watch, models: Sequence[ModelInfo]) -> Watch:
    """Return a watch that knows the shortest distances of the models' training data.

    Parameters
    ----------
    watch
        Kept as it is where it has a shortest distance; pairs that it names are kept.
    models
        Of those that know a pair, the one with the shortest distance counts.
    """
    known = [one.min_distance for one in models if np.isfinite(one.min_distance)]
    if watch.shortest is not None or not known:
        return watch
    shortest = max(SHORTEST, SHARE_OF_SHORTEST * min(known))
    pairs = {
        pair: max(shortest, SHARE_OF_SHORTEST * distance)
        for pair, distance in least_of(one.shortest for one in models).items()
    }
    return replace(watch, shortest=shortest, distances=pairs | dict(watch.distances))


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


def _labels(
    model: SpinDP,
    atoms: Atoms,
    large: Atoms,
    moments: Given | None,
    order: str | None,
    balance: Mapping[str, str] | None,
    seed: int,
) -> Labels:
    """Return the labels of the supercell; they are those of the cell."""
    of_cell = model.labels(atoms, moments)
    labels = of_cell.tiled(len(large) // len(atoms))
    sites = _sites(large)
    if balance:
        labels = balanced(labels, sites, model.states, balance, seed=seed)
    elif charge := cell_charge(of_cell, _sites(atoms)):  # the supercell may be large
        log.warning("the charges of the labelled states add up to %+g e", charge)
    if order in DISORDERED:
        return disordered(labels, sites, model.states, order, seed=seed)
    return ordered(labels, sites, model.states, order)


def _sites(atoms: Atoms) -> Sites:
    return Sites(atoms.get_chemical_symbols(), atoms.cell.array, atoms.positions)


def _held(model: SpinDP, large: Atoms, labels: Labels) -> Array:
    """Return the moments of labels in the structure to start from."""
    filled = model.moments_of(large, labels)
    is_new = ~labels.is_labelled & filled.any(axis=1)
    if is_new.any():
        log.info(
            "moments of %s predicted (up to %.2f μB)",
            ", ".join(sorted(set(np.array(large.get_chemical_symbols())[is_new]))),
            np.linalg.norm(filled[is_new], axis=1).max(),
        )
    return filled
