# SPDX-License-Identifier: LGPL-3.0-or-later
"""One labelled run from start to end: write the input, run LAMMPS, read the output."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from spin_dp.errors import BackendError, ConfigError
from spin_dp.files import write_text
from spin_dp.lammps_interface.cell import Array, lammps_frame
from spin_dp.lammps_interface.data_file import element_types, render_data
from spin_dp.lammps_interface.deck import DATA_FILE, Deck, render_deck
from spin_dp.lammps_interface.program import lammps_command
from spin_dp.lammps_interface.run import run_lammps
from spin_dp.lammps_interface.settings import MDSettings
from spin_dp.lammps_interface.thermo import (
    ThermoRow,
    energy_drift,
    join_parts,
    mean_temperature,
    parse_thermo,
    render_csv,
)
from spin_dp.lammps_interface.trajectory import write_trajectory
from spin_dp.lammps_interface.workspace import Workspace, file_digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[int, int, ThermoRow], None]
"""Called as ``progress(step, steps, thermo)`` while a run goes on."""

DECK_FILE = "in.lammps"
RESUME_FILE = "in.resume"
THERMO_FILE = "thermo.csv"
TRAJECTORY_FILE = "trajectory.extxyz"


@dataclass(frozen=True, kw_only=True)
class MDJob:
    """What is run: atoms with moments, models and settings.

    Attributes
    ----------
    symbols
        Chemical symbols, one per atom.
    positions, cell
        (n, 3) and (3, 3), Å.
    moments
        Labels, (n, 3), μB.
    models
        Model files; the first drives the run.
    settings
        Ensemble, lengths and output.
    """

    symbols: Sequence[str]
    positions: Array
    cell: Array
    moments: Array
    models: Sequence[Path]
    settings: MDSettings = field(default_factory=MDSettings)


@dataclass(frozen=True, kw_only=True)
class MDResult:
    """What a run left behind.

    Attributes
    ----------
    state
        ``prepared`` (input written, nothing run) or ``finished``.
    folder
        The output folder; holds the deck, ``thermo.csv`` and ``trajectory.extxyz``.
    n_atoms, n_frames
        Size of the system and of the trajectory.
    temperature
        Mean of the second half of the run, K.
    energy_drift
        Slope of the total energy, meV/atom/ps (nve only).
    ns_per_day
        Speed, as LAMMPS measured it.
    """

    state: Literal["prepared", "finished"]
    folder: Path
    n_atoms: int
    n_frames: int = 0
    temperature: float | None = None
    energy_drift: float | None = None
    ns_per_day: float | None = None

    @property
    def deck(self) -> Path:
        """The input deck."""
        return self.folder / DECK_FILE

    @property
    def thermo(self) -> Path:
        """Table of energies and temperature, comma-separated."""
        return self.folder / THERMO_FILE

    @property
    def trajectory(self) -> Path:
        """Frames with moments, energy, forces and velocities, extended XYZ."""
        return self.folder / TRAJECTORY_FILE


def run_job(
    job: MDJob,
    folder: Path,
    *,
    ranks: int = 1,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> MDResult:
    """Run a job in a folder; go on with an interrupted run, leave a finished one.

    Parameters
    ----------
    job
        What is run.
    folder
        New or empty folder, or the folder of the same job.
    ranks
        Number of MPI processes.
    dry_run
        Write the input and stop.
    progress
        Called with step, number of steps and thermo values.

    Returns
    -------
    MDResult
        Averages and where the files are.

    Raises
    ------
    ConfigError
        If the folder holds something else.
    BackendError
        If LAMMPS is not found or fails.
    """
    data = render_data(job.symbols, job.positions, job.moments, lammps_frame(job.cell))
    workspace = Workspace(folder, _identity(job, data))
    status = workspace.open()
    if status == "finished":
        log.info("%s: already finished", folder)
        return _collect(job, workspace)
    deck = _write_input(job, workspace, data, is_new=status is None)
    if dry_run:
        return MDResult(state="prepared", folder=folder, n_atoms=len(job.symbols))
    command = lammps_command(DECK_FILE, ranks=ranks)
    if status == "started":
        deck = _prepare_resumption(deck, workspace)
        name = RESUME_FILE if deck.restart else DECK_FILE
        command[command.index(DECK_FILE)] = name
    workspace.record("started")
    _run(command, job, workspace, progress)
    workspace.record("finished")
    return _collect(job, workspace)


def _identity(job: MDJob, data: str) -> dict[str, Any]:
    return {
        **asdict(job.settings),
        "models": [file_digest(model) for model in job.models],
        "structure": sha256(data.encode()).hexdigest(),
    }


def _write_input(job: MDJob, workspace: Workspace, data: str, *, is_new: bool) -> Deck:
    deck = Deck(
        settings=job.settings,
        models=[model.resolve() for model in job.models],
        elements=element_types(job.symbols),
    )
    files = {DATA_FILE: data, DECK_FILE: render_deck(deck)}
    workspace.folder.mkdir(parents=True, exist_ok=True)
    if is_new:
        workspace.record("prepared")
    for name, text in files.items():
        path = workspace.folder / name
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise ConfigError(
                f"{path} differs from what these settings give (edited, or the models "
                f"moved). Run it as it is with `lmp -in {DECK_FILE}` in its folder, or "
                "choose another output folder."
            )
        write_text(path, text)
    return deck


def _prepare_resumption(deck: Deck, workspace: Workspace) -> Deck:
    """Return the deck of the next part; start anew where no restart file is."""
    restart = workspace.newest_restart()
    if restart is None:
        for suffix in ("log", "lammpstrj", "model_devi"):
            for stale in workspace.parts(suffix):
                stale.unlink()
        return deck
    part = len(workspace.parts("log"))  # they count from 0
    resumed = replace(deck, part=part, restart=restart.name)
    write_text(workspace.folder / RESUME_FILE, render_deck(resumed))
    log.info("%s: going on from %s", workspace.folder, restart.name)
    return resumed


def _run(
    command: list[str], job: MDJob, workspace: Workspace, progress: Progress | None
) -> None:
    last = -1

    def follow(row: ThermoRow) -> None:
        nonlocal last
        last = int(row["step"])
        if progress is not None:
            progress(last, job.settings.steps, row)

    try:
        run_lammps(command, workspace.folder, on_row=follow)
        if last < job.settings.steps:
            raise BackendError(
                f"LAMMPS ended at step {last} of {job.settings.steps} without an error "
                f"line; see the log in {workspace.folder}"
            )
    except BaseException:
        _keep_complete_frames(job, workspace)
        raise


def _keep_complete_frames(job: MDJob, workspace: Workspace) -> None:
    try:
        _collect(job, workspace)
    except (OSError, ValueError) as error:  # the first error is the one to report
        log.warning("%s: output not collected: %s", workspace.folder, error)


def _collect(job: MDJob, workspace: Workspace) -> MDResult:
    """Write the thermo table and the trajectory from the parts of a run."""
    run = job.settings
    parsed = []
    for path in workspace.parts("log"):
        with path.open(encoding="utf-8", errors="replace") as lines:
            parsed.append(parse_thermo(lines))
    rows = join_parts([rows for rows, _ in parsed])
    write_text(workspace.folder / THERMO_FILE, render_csv(rows, run.timestep))
    n_frames = write_trajectory(
        workspace.folder / TRAJECTORY_FILE,
        workspace.parts("lammpstrj"),
        lammps_frame(job.cell),
        energies={int(row["step"]): row["potential_energy_eV"] for row in rows},
        timestep_fs=run.timestep,
    )
    drift = None
    if run.ensemble == "nve":
        drift = energy_drift(rows, n_atoms=len(job.symbols), timestep_fs=run.timestep)
    return MDResult(
        state="finished",
        folder=workspace.folder,
        n_atoms=len(job.symbols),
        n_frames=n_frames,
        temperature=mean_temperature(rows),
        energy_drift=drift,
        ns_per_day=parsed[-1][1] if parsed else None,
    )
