# SPDX-License-Identifier: LGPL-3.0-or-later
"""MD that is looked at while it runs: a crystal that falls apart ends it."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from spin_dp.demo.contacts import Contacts
from spin_dp.errors import BackendError, ConfigError
from spin_dp.lammps_interface import LammpsSession, MDJob

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ase import Atoms

    from spin_dp.lammps_interface import MDSettings

log = logging.getLogger(__name__)

SAMPLED_FS = 10.0
"""Time between two looks: a fifth of the period of the fastest vibrations of M-O."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a run.

    Attributes
    ----------
    atoms
        Number of atoms.
    ps
        Length that was run, ps.
    broken_ps, broken_by
        When and by what the crystal fell apart; None and empty if it holds.
    shortest
        Shortest distance of each pair of elements, Å.
    lost_most, lost_end
        Number of metals that were not in an octahedron of oxygen, see
        :mod:`spin_dp.demo.contacts`: the largest and the last one.
    temperature
        Mean of the second half, K.
    drift
        Of the total energy, meV/atom/ps (nve only).
    """

    atoms: int
    ps: float
    broken_ps: float | None
    broken_by: str
    shortest: dict[str, float] = field(default_factory=dict)
    lost_most: int
    lost_end: int
    temperature: float | None
    drift: float | None

    @property
    def holds(self) -> bool:
        """Whether the crystal was there at the end."""
        return self.broken_ps is None

    def record(self) -> dict[str, Any]:
        """Return it in JSON types; ``Outcome(**record)`` is it again."""
        return asdict(self)


def run_watched(
    atoms: Atoms,
    model: Path,
    folder: Path,
    settings: MDSettings,
    *,
    ranks: int = 1,
    progress: Callable[[int, int, float], None] | None = None,
) -> Outcome:
    """Run MD of a labelled structure and look at it every :data:`SAMPLED_FS`.

    Nothing but the last look is kept in memory. The run ends when a contact is below
    :data:`spin_dp.demo.contacts.BROKEN_ANGSTROM`, or when LAMMPS loses the atoms.

    Parameters
    ----------
    atoms
        Periodic, with labels.
    model
        Model file; compiled ones are fastest.
    folder
        New or empty folder, or that of the same run, which is gone on with.
    settings
        Ensemble at fixed volume, temperature, length.
    ranks
        Number of MPI processes.
    progress
        Called with step, number of steps and temperature.

    Returns
    -------
    Outcome
        What became of it.

    Raises
    ------
    ConfigError
        If the model does not know a label; if the folder holds something else.
    DataError
        If the structure is far outside of what the model was trained on.
    BackendError
        If LAMMPS is not found or does not start.
    """
    job = _job(atoms, model, settings)
    session = LammpsSession(job, folder, ranks=ranks)
    contacts = Contacts.from_notes(job.symbols, session.notes.get("contacts", {}))
    segment = max(1, round(SAMPLED_FS / settings.timestep))
    is_moving = False  # what fails before is no fault of the model
    try:
        with session:  # a finished one as well: the last frame may not be noted yet
            _look(contacts, session)
            while session.remaining and contacts.broken_ps is None:
                is_moving = True
                session.run(segment)
                _look(contacts, session)
                if progress is not None:
                    state = session.state
                    progress(state.step, settings.steps, state.temperature)
    except BackendError as error:
        if not is_moving:
            raise
        contacts.broken_ps = session.state.time_fs * 1e-3
        contacts.broken_by = _in_short(error)
    result = session.result
    return Outcome(
        atoms=len(job.symbols),
        ps=session.state.time_fs * 1e-3,
        broken_ps=contacts.broken_ps,
        broken_by=contacts.broken_by,
        shortest=contacts.shortest,
        lost_most=max(contacts.lost, default=0),
        lost_end=contacts.lost[-1] if contacts.lost else 0,
        temperature=result.temperature,
        drift=result.energy_drift,
    )


def _look(contacts: Contacts, session: LammpsSession) -> None:
    state = session.state
    contacts.add(state.time_fs * 1e-3, state.cell, state.positions)
    session.notes["contacts"] = contacts.notes()


def _job(atoms: Atoms, model: Path, settings: MDSettings) -> MDJob:
    from spin_dp.inference.predictor import SpinDP

    opened = SpinDP(model)
    moments = opened.inputs_of(atoms, opened.labels(atoms))
    opened.check(atoms, moments)
    return MDJob(
        symbols=atoms.get_chemical_symbols(),
        positions=atoms.positions,
        cell=atoms.cell.array,
        moments=moments,
        models=[model],
        settings=settings,
    )


def _in_short(error: BackendError) -> str:
    return " ".join(str(error).split())[:120]


def fast_form(model: Path, folder: Path) -> Path:
    """Return the fastest form of a model that can be made here.

    Parameters
    ----------
    model
        A model file; frozen ones are compiled where there is a C++ compiler, else
        compressed, others are taken as they are.
    folder
        Where the new file goes; one that is there is taken.

    Raises
    ------
    DataError, ConfigError
        If it is no model of this package.
    """
    from spin_dp.deployment.compile import compile_model
    from spin_dp.deployment.compress import compress
    from spin_dp.model_file import read_model_info, require_spin

    info = read_model_info(model)
    require_spin(info)
    if not info.slow:
        return model
    machine_code = folder / f"{model.stem}.pt2"
    small = folder / f"{model.stem}.compressed.pth"
    for made in (machine_code, small):
        if made.is_file():
            return made
    try:
        return compile_model(model, machine_code)
    except (ConfigError, BackendError) as error:
        log.warning("%s is compressed, not compiled: %s", model, error)
        return compress(model, small, precision="float32")
