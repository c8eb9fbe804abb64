# SPDX-License-Identifier: LGPL-3.0-or-later
"""Labelled MD in search of frames that the models do not know yet."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.io import iread
from ase.io.extxyz import write_extxyz

from spin_dp.campaign.candidate import Candidate
from spin_dp.dynamics import MDSettings, Watch, run_md
from spin_dp.errors import ConfigError, DataError
from spin_dp.files import file_digest, replacing, write_text
from spin_dp.lammps_interface.watch import Departure
from spin_dp.structures import read_structure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from spin_dp.dynamics import MDResult
    from spin_dp.lammps_interface import Frame, Progress

RECORD_FILE = "exploration.json"
CANDIDATES_FILE = "candidates.extxyz"
MD_FOLDER = "md"


@dataclass(frozen=True, kw_only=True)
class ExplorationRun:
    """What is explored.

    Attributes
    ----------
    name
        Of the run, in tables and candidates.
    structure
        ASE atoms or a structure file; periodic in three directions.
    labels
        Spin states, ``"Ni=3+LS"``; None for what the structure carries.
    order
        Magnetic ordering of the supercell, ``FM``, ``AFM``, ``AFM-001``.
    supercell
        Repetitions along the cell vectors.
    temperature
        Of the thermostat, K.
    pressure
        Of the barostat, bar; None holds the cell (NVT).
    steps
        Number of time steps.
    timestep
        fs.
    interval
        Steps between frames, each with its deviation.
    seed
        Of the initial velocities.
    """

    name: str
    structure: Atoms | str | Path
    labels: str | None = None
    order: str | None = None
    supercell: tuple[int, int, int] = (1, 1, 1)
    temperature: float = 600.0
    pressure: float | None = None
    steps: int = 2000
    timestep: float = 1.0
    interval: int = 20
    seed: int = 1

    @property
    def settings(self) -> MDSettings:
        """The settings of the MD run.

        Raises
        ------
        ConfigError
            If one is wrong.
        """
        return MDSettings(
            ensemble="nvt" if self.pressure is None else "npt",
            temperature=self.temperature,
            steps=self.steps,
            timestep=self.timestep,
            pressure=self.pressure,
            thermo_every=self.interval,
            dump_every=self.interval,
            watch_every=self.interval,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Exploration:
    """What a run of exploration found.

    Attributes
    ----------
    run
        What was explored.
    folder
        Its folder; the MD is in ``md``.
    candidates
        Frames that may be worth a DFT calculation, by step.
    steps
        Steps that were done.
    departure
        Where the run left the known region and was stopped; None if it did not.
    """

    run: ExplorationRun
    folder: Path
    steps: int
    departure: Departure | None = None
    candidates: list[Candidate] = field(default_factory=list)

    @property
    def deviation(self) -> pd.DataFrame:
        """Model deviations by step, as in :attr:`MDResult.deviation`."""
        from spin_dp.lammps_interface import MDResult

        folder = self.folder / MD_FOLDER
        return MDResult(state="finished", folder=folder, n_atoms=0).deviation


def explore(
    run: ExplorationRun,
    models: str | Path | Sequence[str | Path],
    folder: str | Path,
    *,
    watch: Watch | None = None,
    ranks: int = 1,
    progress: Progress | None = None,
) -> Exploration:
    """Run labelled MD until it ends or leaves the known region; return candidates.

    An interrupted run goes on, a finished one is only read.

    Parameters
    ----------
    run
        What is explored.
    models
        Frozen, compressed or compiled models; the first moves the atoms. With a single
        one deviations are nan, and only the two frames of a departure are candidates.
    folder
        New or empty folder, or that of the same exploration.
    watch
        Limits of the known region; None: those of :class:`Watch`.
    ranks
        Number of MPI processes.
    progress
        Called as ``progress(step, steps, thermo)`` while LAMMPS runs.

    Raises
    ------
    ConfigError
        If the folder holds something else, or run and models do not go together.
    DataError
        If structure, model or the folder's record are damaged, or the structure to
        start from is far from what the models know.
    BackendError
        If LAMMPS is not found or fails.
    """
    folder = Path(folder)
    files = [models] if isinstance(models, str | Path) else models
    paths = [Path(one) for one in files]
    watch = replace(watch or Watch(), stop=True)
    settings = run.settings
    atoms = run.structure
    if not isinstance(atoms, Atoms):
        atoms = read_structure(atoms)
    identity = _identity(run, atoms, paths, watch)
    known = _read_record(folder, run, identity)
    if known is not None:
        return known
    result = run_md(
        atoms,
        paths,
        out=folder / MD_FOLDER,
        moments=run.labels,
        order=run.order,
        settings=settings,
        supercell=run.supercell,
        watch=watch,
        ranks=ranks,
        progress=progress,
    )
    _write_candidates(folder / CANDIDATES_FILE, find_candidates(result, run, watch))
    departure = result.departure
    record = {
        "identity": identity,
        "steps": run.steps if departure is None else departure.step,
        "departure": None if departure is None else asdict(departure),
    }
    # Last: with it the exploration is finished.
    write_text(folder / RECORD_FILE, json.dumps(record, indent=2) + "\n")
    finished = _read_record(folder, run, identity)
    assert finished is not None
    return finished


def find_candidates(
    result: MDResult, run: ExplorationRun, watch: Watch
) -> list[Candidate]:
    """Return the frames of a run that may be worth a DFT calculation, by step.

    Parameters
    ----------
    result
        The MD run; its frames are read one at a time.
    run
        What was explored.
    watch
        The limits that the run had.
    """
    chosen: dict[int, tuple[Frame, str]] = {}
    trusted: Frame | None = None
    doubted: Frame | None = None  # the first after that
    for frame in result.frames():
        if not np.isfinite(frame.atoms.positions).all():
            break
        if _is_trusted(frame, watch, result.departure):
            trusted, doubted = frame, None
            continue
        doubted = doubted or frame
        if frame.deviation is not None and watch.zone(frame.deviation) == "doubtful":
            chosen[frame.step] = (frame, "band")
    if result.departure is not None:
        for one, reason in ((trusted, "last trusted"), (doubted, "first doubtful")):
            if one is not None:
                chosen[one.step] = (one, reason)
    return [_candidate(*chosen[step], run) for step in sorted(chosen)]


def _is_trusted(frame: Frame, watch: Watch, departure: Departure | None) -> bool:
    is_left = (
        departure is not None
        and departure.quantity != "atoms"  # known after the last frame only
        and frame.step >= departure.step
    )
    if is_left:
        return False
    return frame.deviation is None or watch.zone(frame.deviation) == "trusted"


def _candidate(frame: Frame, reason: str, run: ExplorationRun) -> Candidate:
    row = frame.deviation
    return Candidate(
        atoms=frame.atoms,
        run=run.name,
        step=frame.step,
        temperature=run.temperature,
        force_deviation=math.nan if row is None else row.force,
        magnetic_deviation=math.nan if row is None else row.magnetic_force,
        reason=reason,
    )


def _identity(
    run: ExplorationRun, atoms: Atoms, models: Sequence[Path], watch: Watch
) -> dict[str, Any]:
    """Return what makes the exploration this one and no other, in JSON types."""
    digest = sha256()
    for array in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc):
        digest.update(np.ascontiguousarray(array).tobytes())
    for name in sorted(set(atoms.arrays) - {"numbers", "positions"}):
        digest.update(name.encode() + atoms.arrays[name].tobytes())
    content = {
        name: getattr(run, name)
        for name in ("name", "labels", "order", "supercell", "timestep")
    }
    content |= asdict(run.settings) | {
        "structure": digest.hexdigest(),
        "models": [file_digest(model) for model in models],
        "watch": watch.limits,
    }
    return dict(json.loads(json.dumps(content)))


def _read_record(
    folder: Path, run: ExplorationRun, identity: dict[str, Any]
) -> Exploration | None:
    path = folder / RECORD_FILE
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        steps, there = int(record["steps"]), dict(record["identity"])
        left = record["departure"]
        departure = None if left is None else Departure(**left)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not a record of an exploration ({error!r}). Choose another "
            "folder."
        ) from error
    changed = [
        f"{name} {there.get(name)} there, {identity.get(name)} now"
        for name in sorted(identity.keys() | there.keys())
        if identity.get(name) != there.get(name)
    ]
    if changed:
        raise ConfigError(
            f"{folder} holds another exploration: {'; '.join(changed)}. Choose "
            "another folder."
        )
    return Exploration(
        run=run,
        folder=folder,
        steps=steps,
        departure=departure,
        candidates=_read_candidates(folder / CANDIDATES_FILE, run),
    )


def _write_candidates(path: Path, candidates: Sequence[Candidate]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for one in candidates:
            atoms = one.atoms.copy()
            atoms.info = {
                name: getattr(one, name)
                for name in ("step", "force_deviation", "magnetic_deviation", "reason")
            }
            write_extxyz(file, [atoms])


def _read_candidates(path: Path, run: ExplorationRun) -> list[Candidate]:
    if not path.is_file():
        raise DataError(
            f"{path}: missing, though the exploration is recorded as finished. Remove "
            f"{path.with_name(RECORD_FILE)} to have it written again."
        )
    if path.stat().st_size == 0:
        return []
    found = []
    for atoms in iread(path, index=":", format="extxyz"):
        told, atoms.info = atoms.info, {}
        found.append(
            Candidate(
                atoms=atoms,
                run=run.name,
                step=int(told["step"]),
                temperature=run.temperature,
                force_deviation=float(told["force_deviation"]),
                magnetic_deviation=float(told["magnetic_deviation"]),
                reason=str(told["reason"]),
            )
        )
    return found
