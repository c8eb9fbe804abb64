# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is run, its input in a folder, and its output read back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spin_dp.errors import ConfigError, DataError, ShapeError
from spin_dp.files import file_digest, write_text
from spin_dp.lammps_interface.cell import Array, lammps_frame
from spin_dp.lammps_interface.data_file import element_types, render_data
from spin_dp.lammps_interface.deck import DATA_FILE, RELAX_LOG, Deck, render_deck
from spin_dp.lammps_interface.deviation import TABLE_COLUMNS, write_deviation_table
from spin_dp.lammps_interface.frames import Frame, read_frames
from spin_dp.lammps_interface.relaxation import Relaxation, read_relaxation
from spin_dp.lammps_interface.settings import MDSettings
from spin_dp.lammps_interface.thermo import (
    energy_drift,
    mean_temperature,
    ns_per_day,
    read_thermo,
    render_csv,
)
from spin_dp.lammps_interface.trajectory import write_trajectory
from spin_dp.lammps_interface.workspace import Status, Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import ArrayLike

    from spin_dp.lammps_interface.watch import Departure

DECK_FILE = "in.lammps"
THERMO_FILE = "thermo.csv"
TRAJECTORY_FILE = "trajectory.extxyz"
DEVIATION_FILE = "deviation.csv"
DEPARTURE_FILE = "departure.extxyz"


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
    others
        What else makes the run this run and no other, JSON types by name.

    Raises
    ------
    ShapeError
        If positions or moments are not (n, 3).
    DataError
        If one of their values is no finite number.
    """

    symbols: Sequence[str]
    positions: Array
    cell: Array
    moments: Array
    models: Sequence[Path]
    settings: MDSettings = field(default_factory=MDSettings)
    others: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        vectors("positions", self.positions, len(self.symbols))
        vectors("moments", self.moments, len(self.symbols))

    def data(self) -> str:
        """Return the text of the data file."""
        frame = lammps_frame(self.cell)
        return render_data(self.symbols, self.positions, self.moments, frame)

    def deck(self) -> Deck:
        """Return the deck that starts from the data file."""
        return Deck(
            settings=self.settings,
            models=[model.resolve() for model in self.models],
            elements=element_types(self.symbols),
            strained=self._strained(),
        )

    def _strained(self) -> Array | None:
        """Return the box at the end of a run that strains the cell, (3, 3), Å."""
        if self.settings.strain is None:
            return None
        strain = np.zeros((3, 3))
        for name, value in self.settings.strain.items():
            row, column = ("xyz".index(letter) for letter in name)
            strain[row, column] = strain[column, row] = value
        frame = lammps_frame(self.cell)
        return frame.strained(strain)


@dataclass(frozen=True, kw_only=True)
class MDResult:
    """What a run left behind.

    Attributes
    ----------
    state
        ``prepared`` (input written, nothing run), ``started`` (and to be gone on with),
        ``stopped`` (where it left the known region) or ``finished``.
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
    relaxation
        What came of the relaxation before the first step; None without one.
    departure
        Where the run left the known region; None if it did not, or was not watched.
    """

    state: Status | Literal["stopped"]
    folder: Path
    n_atoms: int
    n_frames: int = 0
    temperature: float | None = None
    energy_drift: float | None = None
    ns_per_day: float | None = None
    relaxation: Relaxation | None = None
    departure: Departure | None = None

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

    @property
    def deviation_file(self) -> Path:
        """Table of model deviations, comma-separated; absent with a single model."""
        return self.folder / DEVIATION_FILE

    @property
    def departure_file(self) -> Path:
        """Last trusted frame and that of the departure; absent without one."""
        return self.folder / DEPARTURE_FILE

    @property
    def deviation(self) -> pd.DataFrame:
        """Model deviations by step, the columns of :data:`TABLE_COLUMNS`.

        No rows with a single model.
        """
        import pandas as pd

        if not self.deviation_file.exists():
            return pd.DataFrame(columns=list(TABLE_COLUMNS))
        return pd.read_csv(self.deviation_file)

    def frames(self) -> Iterator[Frame]:
        """Yield the frames of the trajectory, one at a time."""
        return read_frames(self.trajectory, self.deviation_file)

    def frames_between(self, low: float, high: float) -> Iterator[Frame]:
        """Yield frames whose largest force deviation is in a band, one at a time.

        Parameters
        ----------
        low, high
            eV/Å; the lower limit is inside, the upper one is not.
        """
        for frame in self.frames():
            if frame.deviation is not None and low <= frame.deviation.force < high:
                yield frame


def vectors(name: str, values: ArrayLike, n_atoms: int) -> Array:
    """Return three numbers per atom as an array of its own, (n, 3).

    Raises
    ------
    ShapeError
        If there are others than three numbers for each of the atoms.
    DataError
        If one is no finite number.
    """
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ShapeError(
            f"{name}: expected ({n_atoms}, 3) numbers, got {error}"
        ) from error
    if array.shape != (n_atoms, 3):
        raise ShapeError(
            f"{name}: expected ({n_atoms}, 3), three numbers per atom, got "
            f"{array.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise DataError(
            f"{name}: expected finite numbers, got {array[bad[0]]} at atom {bad[0]}"
        )
    return array


def job_workspace(job: MDJob, folder: Path) -> Workspace:
    """Return a folder as that of a job, by its settings, models and data file."""
    identity = {
        **asdict(job.settings),
        **job.others,
        "models": [file_digest(model) for model in job.models],
        "structure": sha256(job.data().encode()).hexdigest(),
    }
    return Workspace(folder, identity)


def write_input(job: MDJob, folder: Path) -> None:
    """Write data file and input deck into an existing folder.

    Raises
    ------
    ConfigError
        If the folder has others.
    """
    for name, text in {
        DATA_FILE: job.data(),
        DECK_FILE: render_deck(job.deck()),
    }.items():
        path = folder / name
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise ConfigError(
                f"{path} differs from what these settings give (edited, or the models "
                f"moved). Run it as it is with `lmp -in {DECK_FILE}` in its folder, or "
                "choose another output folder."
            )
        write_text(path, text)


def collect_output(job: MDJob, workspace: Workspace, state: Status) -> MDResult:
    """Write tables and trajectory from the parts of a run.

    Parameters
    ----------
    job
        What was run.
    workspace
        Its folder.
    state
        How far it got.
    """
    run = job.settings
    rows, loops = read_thermo(workspace.parts("log"), every=run.thermo_every)
    write_text(workspace.folder / THERMO_FILE, render_csv(rows, run.timestep))
    n_frames = write_trajectory(
        workspace.folder / TRAJECTORY_FILE,
        workspace.parts("lammpstrj"),
        lammps_frame(job.cell),
        thermo={int(row["step"]): row for row in rows},
        timestep_fs=run.timestep,
    )
    if len(job.models) > 1:
        write_deviation_table(
            workspace.folder / DEVIATION_FILE,
            workspace.parts("model_devi"),
            timestep_fs=run.timestep,
            until=int(rows[-1]["step"]) if rows else -1,
        )
    drift = None
    if run.ensemble == "nve":
        drift = energy_drift(rows, n_atoms=len(job.symbols), timestep_fs=run.timestep)
    return MDResult(
        state=state,
        folder=workspace.folder,
        n_atoms=len(job.symbols),
        n_frames=n_frames,
        temperature=mean_temperature(rows),
        energy_drift=drift,
        ns_per_day=ns_per_day(loops, timestep_fs=run.timestep),
        relaxation=_relaxation(job, workspace.folder / RELAX_LOG),
    )


def _relaxation(job: MDJob, log_file: Path) -> Relaxation | None:
    if job.settings.relax == "no" or not log_file.exists():
        return None
    return read_relaxation(log_file)
