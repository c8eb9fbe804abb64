# SPDX-License-Identifier: LGPL-3.0-or-later
"""The fastest form of a model on the machine at hand, found by measurement."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.deployment.compile import compile_model
from spin_dp.deployment.compress import compress
from spin_dp.deployment.rebuild import frozen_file, require_folder
from spin_dp.errors import BackendError, ConfigError
from spin_dp.files import replacing
from spin_dp.lammps_interface import step_times
from spin_dp.model_file import read_model_info

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from ase import Atoms

    from spin_dp.model_file import ModelInfo
    from spin_dp.pretrained import ModelName
    from spin_dp.structures import Array

_LATTICE_CONSTANT = 4.2  # Å, about that of the rocksalt monoxides
_MOMENT = 1.0  # μB
_ATOM_STEPS = 20_000  # in each of the timed rounds, some seconds on one core
_ROUNDS = 3


@dataclass(frozen=True)
class Timing:
    """Time of an MD step with one form of a model.

    Attributes
    ----------
    form
        ``compressed`` or ``compiled``.
    seconds
        Median of some rounds, s.
    """

    form: str
    seconds: float


@dataclass(frozen=True)
class Deployed:
    """The form that was kept.

    Attributes
    ----------
    file
        The model's file.
    atoms
        Atoms of the cell that was timed.
    timings
        Times of all forms that could be made, the fastest first.
    not_compiled
        Why there is no compiled form; empty if there is one.
    """

    file: Path
    atoms: int
    timings: list[Timing]
    not_compiled: str = ""


def deploy(
    model: ModelName,
    folder: str | os.PathLike[str] | None = None,
    *,
    precision: str = "float32",
    atoms: int = 1000,
    progress: Callable[[str], None] | None = None,
) -> Deployed:
    """Write the form of a frozen model with which LAMMPS is fastest here.

    The compressed and, where there is a C++ compiler, the compiled form move a rocksalt
    cell of the model's elements in stock LAMMPS, one process and one thread unless the
    environment says otherwise, on the device that LAMMPS takes. The faster one is
    kept. Which one that is depends on the number of atoms of a process.

    Parameters
    ----------
    model
        A ``.pth`` file of ``dp --pt freeze``, or the name of a shipped model, of which
        the first is taken.
    folder
        Where the file goes, ``NAME.compressed.pth`` or ``NAME.pt2``; None: beside the
        model, here if it is a shipped one.
    precision
        ``float32`` or ``float64``: of tables and nets. Positions are subtracted and
        forces added up in float64 in either case.
    atoms
        Least number of atoms of the cell.
    progress
        Called with what is done next.

    Returns
    -------
    Deployed
        The file, and the times of all forms.

    Raises
    ------
    DataError
        If ``model`` is no frozen Deep Potential; if there is no such folder.
    ConfigError
        If it is not of type ``spin_dp``, or compressed already, or does not know the
        shortest distance of its training data; if the precision is unknown; if
        ``atoms`` is not positive.
    BackendError
        If LAMMPS is not found or fails.
    """
    if atoms < 1:
        raise ConfigError(f"atoms: expected a positive integer, got {atoms}")
    path, beside = frozen_file(model)
    target = beside.parent if folder is None else Path(folder)
    require_folder(target / path.name)
    say = progress or (lambda _: None)
    work = Path(tempfile.mkdtemp(prefix="spin-dp-"))
    try:
        files, reason = _make_forms(path, work, precision, say)
        cell, moments = _rocksalt(read_model_info(path), atoms)
        timings = []
        for form, file in files.items():
            say(f"timing {form}, {len(cell)} atoms")
            seconds = _time(cell, moments, file, work / form)
            timings.append(Timing(form, seconds))
        timings.sort(key=lambda timing: timing.seconds)
        fastest = files[timings[0].form]
        kept = target / fastest.name
        with replacing(kept) as part:
            part.write_bytes(fastest.read_bytes())
    except BackendError:
        raise  # it names the output of LAMMPS, which therefore stays
    except BaseException:
        shutil.rmtree(work)
        raise
    shutil.rmtree(work)
    return Deployed(kept, len(cell), timings, reason)


def _make_forms(
    model: Path, folder: Path, precision: str, say: Callable[[str], None]
) -> tuple[dict[str, Path], str]:
    """Return the files of all forms, and why there is no compiled one."""
    say("compressing")
    small = folder / f"{model.stem}.compressed.pth"
    files = {"compressed": compress(model, small, precision=precision)}
    say("compiling, half a minute")
    machine_code = folder / f"{model.stem}.pt2"
    try:
        files["compiled"] = compile_model(model, machine_code, precision=precision)
    except (ConfigError, BackendError) as error:
        return files, str(error)
    return files, ""


def _time(cell: Atoms, moments: Array, model: Path, folder: Path) -> float:
    steps = min(50, max(2, _ATOM_STEPS // len(cell)))
    # So short a time step that atoms stay where they are, whatever the forces.
    times = step_times(
        cell, moments, model, folder, steps=steps, rounds=_ROUNDS, timestep=1e-3
    )
    return statistics.median(times)


def _rocksalt(model: ModelInfo, atoms: int) -> tuple[Atoms, Array]:
    """Return a cube of at least so many atoms of all elements, and moments (n, 3)."""
    from ase.build import bulk

    anion = "O" if "O" in model.type_map else model.type_map[-1]
    cations = [e for e in model.type_map if e != anion] or [anion]
    repeats = 1
    while 8 * repeats**3 < atoms:
        repeats += 1
    cell = bulk("NiO", "rocksalt", a=_LATTICE_CONSTANT, cubic=True).repeat(repeats)
    metals = cycle(cations)
    cell.symbols = [anion if e == "O" else next(metals) for e in cell.symbols]
    moments = np.zeros((len(cell), 3))
    moments[np.isin(cell.symbols, model.spin_elements), 2] = _MOMENT
    return cell, moments
