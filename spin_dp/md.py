# SPDX-License-Identifier: LGPL-3.0-or-later
"""Molecular dynamics on the energy surface of chosen spin labels, in stock LAMMPS."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError, DataError, unknown
from spin_dp.lammps_interface import MDJob, MDResult, MDSettings, run_job
from spin_dp.structures import (
    as_atoms,
    moment_vectors,
    parse_moments,
    read_structure,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import ArrayLike
    from pymatgen.core import Structure

    from spin_dp.lammps_interface import Progress
    from spin_dp.model_file import ModelInfo
    from spin_dp.structures import Array

__all__ = ["MDResult", "MDSettings", "run_md"]

log = logging.getLogger(__name__)


def run_md(
    structure: str | Path | Atoms | Structure,
    models: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    moments: str | ArrayLike | None = None,
    settings: MDSettings | None = None,
    supercell: tuple[int, int, int] = (1, 1, 1),
    complete: bool = True,
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
        Labels of the structure before it is repeated: a word for
        :func:`spin_dp.structures.parse_moments`, or (n,) or (n, 3), μB. None takes the
        structure's own.
    settings
        Ensemble, temperature, lengths and output.
    supercell
        Repetitions along the cell vectors.
    complete
        Whether elements that the model reads but the labels give no moment (oxygen,
        where only the metals are labelled) get those that the model predicts, if it
        can; see :meth:`spin_dp.SpinDP.complete_moments`.
    ranks
        Number of MPI processes.
    dry_run
        Write data file and input deck and stop.
    progress
        Called as ``progress(step, steps, thermo)`` while LAMMPS runs.

    Returns
    -------
    MDResult
        Averages and the paths of deck, thermo table and trajectory.

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
    infos = _read_models([Path(path) for path in paths])
    slow = [info.path for info in infos if info.slow]
    if slow:
        log.info("%s: `spin-dp deploy` makes it about five times as fast", slow[0])
    labels = _labels(moments, atoms, infos[0])
    if complete and infos[0].predicts_moments:
        labels = _completed(atoms, labels, infos[0])
    repeated, labels = _repeat(atoms, labels, supercell)
    job = MDJob(
        symbols=repeated.get_chemical_symbols(),
        positions=repeated.positions,
        cell=repeated.cell.array,
        moments=labels,
        models=[info.path for info in infos],
        settings=settings or MDSettings(),
    )
    return run_job(job, Path(out), ranks=ranks, dry_run=dry_run, progress=progress)


def _read_models(paths: Sequence[Path]) -> list[ModelInfo]:
    from spin_dp.model_file import read_model_info, require_spin

    if not paths:
        raise ConfigError("models: expected at least one model file, got none")
    infos = [read_model_info(path) for path in paths]
    for info in infos:
        require_spin(info)
        if info.type_map != infos[0].type_map:
            raise ConfigError(
                f"{info.path}: expected the elements {infos[0].type_map} of "
                f"{infos[0].path}, got {info.type_map}. Model deviation needs models "
                "with one type map."
            )
    return infos


def _labels(moments: str | ArrayLike | None, atoms: Atoms, model: ModelInfo) -> Array:
    """Return the labels; those the model does not read are refused, or zeroed."""
    symbols = atoms.get_chemical_symbols()
    for symbol in dict.fromkeys(symbols):
        if symbol not in model.type_map:
            raise unknown("element", symbol, model.type_map)
    if moments is None or isinstance(moments, str):
        labels = parse_moments(moments, atoms)
    else:
        labels = moment_vectors(moments, len(atoms))
    is_read = np.isin(symbols, model.spin_elements)
    lost = ~is_read & labels.any(axis=1)
    if not lost.any():
        return labels
    names = ", ".join(sorted({symbols[index] for index in np.flatnonzero(lost)}))
    if moments is not None:
        raise ConfigError(
            f"moments: {names} carries a moment, but {model.path} reads moments of "
            f"{', '.join(model.spin_elements)} only. Set it to 0, or train with "
            f"{names} in use_spin."
        )
    # A DFT file has small moments on every atom; only those of the model are labels.
    log.warning(
        "moments of %s (up to %.2f μB) set to 0: %s does not read them",
        names,
        np.linalg.norm(labels[lost], axis=1).max(),
        model.path,
    )
    return np.where(is_read[:, None], labels, 0.0)


def _completed(atoms: Atoms, labels: Array, model: ModelInfo) -> Array:
    """Return the labels with predicted moments of elements that have none."""
    from spin_dp.predictor import SpinDP

    filled: Array = SpinDP(model.path).complete_moments(atoms, labels[None])[0]
    new = ~labels.any(axis=1) & filled.any(axis=1)
    if new.any():
        symbols = np.array(atoms.get_chemical_symbols())
        log.info(
            "moments of %s predicted (up to %.2f μB)",
            ", ".join(sorted(set(symbols[new]))),
            np.linalg.norm(filled[new], axis=1).max(),
        )
    return filled


def _repeat(
    atoms: Atoms, labels: Array, supercell: tuple[int, int, int]
) -> tuple[Atoms, Array]:
    if any(number < 1 for number in supercell):
        raise ConfigError(
            f"supercell: expected three positive integers, got {supercell}"
        )
    repeated = atoms.repeat(supercell)
    return repeated, np.tile(labels, (int(np.prod(supercell)), 1))
