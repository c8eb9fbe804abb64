# SPDX-License-Identifier: LGPL-3.0-or-later
"""How far the ions of a run have gone: displacements without drift, frame by frame.

Frames are read one at a time, and of them only the ions that diffuse are kept, at a
stride that grows with the run, so that a run of any length fits into memory. Ions go
with the cell: displacements are sums of fractional ones, turned into Å by the mean
cell, so that a cell that breathes moves nobody. What the other atoms do in the mean,
the drift of the framework, is taken off: charge is carried against the framework, not
against the centre of mass.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.dynamics.frames import read_trajectory, time_of, trajectory_of
from spin_dp.errors import ConfigError, DataError, unknown
from spin_dp.lammps_interface.job import DECK_FILE
from spin_dp.neighbours import find_pairs
from spin_dp.properties.diffusion import run_facts
from spin_dp.sampling.ion_sites import ALKALI
from spin_dp.spin_states.ions import is_anion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MAX_FRAMES = 4096
"""Frames that are kept of a run; of longer ones every second, fourth, ..."""

_LONGEST_STEP = 0.4  # of the cell; half of it cannot be told from the way back
_FIRST_SHELL = 1.2  # of the shortest distance between cations
_CATION_REACH = 5.0  # Å
_UNEVEN = 1e-3  # of the time between frames


@dataclass(frozen=True, kw_only=True, eq=False)
class Displacements:
    """Ways of the ions of one element since the first frame that is kept.

    Attributes
    ----------
    run
        What was read.
    element
        Of the ions.
    ways
        Displacement of each ion from the first frame, (frames - 1, ions, 3), Å.
    interval
        Time between frames, ps.
    drift
        How far the other atoms have gone in the mean, Å; nan without others.
    temperature
        Mean, K; nan where frames have no velocities.
    volume
        Mean of the cell, Å³.
    hop
        Length of a hop: mean distance of the nearest cations in the first frame, Å.
    formula
        Of the cell.
    atoms
        Number of all atoms.
    label_mode
        ``held``, ``adiabatic``, ``monte-carlo`` or ``relaxed``; empty if not known.
    spin_state
        Key of the first frame; the element without names of states.
    model
        That moved the atoms, by the name of its file; empty if not known.
    states
        Mean number of sites in each state.
    """

    run: str
    element: str
    ways: Floats
    interval: float
    drift: float
    temperature: float
    volume: float
    hop: float
    formula: str
    atoms: int
    label_mode: str = ""
    spin_state: str = ""
    model: str = ""
    states: Mapping[str, float] = field(default_factory=dict)

    @property
    def duration(self) -> float:
        """Time from the first frame to the last, ps."""
        return self.interval * len(self.ways)


def read_displacements(
    run: str | Path,
    element: str | None = None,
    *,
    skip_ps: float = 1.0,
    hop: float | None = None,
    interval_ps: float | None = None,
    max_frames: int = MAX_FRAMES,
    progress: Callable[[int], None] | None = None,
) -> Displacements:
    """Read how far the ions of a run have gone.

    Parameters
    ----------
    run
        Output folder of ``spin-dp md``, whose positions are unwrapped, or a trajectory
        in extended XYZ, of which the shortest way from frame to frame is taken.
    element
        That diffuses; None: the alkali metal.
    skip_ps
        Left out at the start, ps.
    hop
        Length of a hop, Å; None: from the distances of cations in the first frame.
    interval_ps
        Time between frames, of trajectories that do not say it, ps.
    max_frames
        Largest number of frames to keep.
    progress
        Called with the number of frames read.

    Raises
    ------
    DataError
        If there is no trajectory, frames do not belong together, or ions go too far
        between frames to know where.
    ConfigError
        If there is no such element, less than three frames are left, or Monte Carlo
        moved the ions.
    """
    run = Path(run)
    path = trajectory_of(run)
    label_mode = run_facts.label_mode(run)
    track: _Track | None = None
    for number, atoms in enumerate(read_trajectory(run, progress)):
        time = time_of(atoms)
        if time is None:
            if interval_ps is None:
                raise ConfigError(
                    f"{path}: frame {number} says no time (time_fs); say how far "
                    "frames are apart, in ps (interval_ps, --interval)."
                )
            time = number * interval_ps
        if track is None:
            track = _Track.begin(
                path, atoms, element, label_mode, is_unwrapped=run.is_dir(), hop=hop
            )
        track.add(atoms, time, is_kept=time >= skip_ps - 1e-9, most=max_frames)
    if track is None or len(track.kept) < 3:
        found = 0 if track is None else len(track.kept)
        raise ConfigError(
            f"{path}: expected at least 3 frames after {skip_ps:g} ps, got {found}; "
            "run longer, write frames more often (--dump-every), or skip less."
        )
    return track.displacements()


@dataclass(eq=False)
class _Track:
    """Where the ions are, while frames go by."""

    path: Path
    symbols: list[str]
    element: str
    label_mode: str
    is_unwrapped: bool
    hop: float
    formula: str
    spin_state: str
    model: str
    mobile: NDArray[np.int64]
    others: NDArray[np.int64]
    last: Floats
    way: Floats  # fractional, of all atoms, since the first frame read
    time: float = float("nan")
    interval: float = 0.0
    kept: list[Floats] = field(default_factory=list)
    drifts: list[Floats] = field(default_factory=list)
    cell: Floats = field(default_factory=lambda: np.zeros((3, 3)))
    volume: float = 0.0
    temperature: float = 0.0
    number: int = 0
    stride: int = 1
    states: Counter[str] = field(default_factory=Counter)

    @classmethod
    def begin(
        cls,
        path: Path,
        atoms: Atoms,
        element: str | None,
        label_mode: str,
        *,
        is_unwrapped: bool,
        hop: float | None,
    ) -> _Track:
        symbols = atoms.get_chemical_symbols()
        if not all(atoms.pbc):
            raise DataError(
                f"{path}: expected frames periodic in three directions, got pbc="
                f"{atoms.pbc.tolist()}."
            )
        name = element or _alkali(path, symbols)
        if name not in symbols:
            raise unknown(f"element of {path}", name, set(symbols))
        if hop is not None and not hop > 0.0:
            raise ConfigError(f"hop: expected a positive length in Å, got {hop}.")
        is_mobile = np.array([symbol == name for symbol in symbols])
        return cls(
            path=path,
            symbols=symbols,
            element=name,
            label_mode=label_mode or run_facts.label_mode_of_frame(atoms),
            is_unwrapped=is_unwrapped,
            hop=hop or _hop(atoms, is_mobile),
            formula=atoms.get_chemical_formula("metal"),
            spin_state=run_facts.spin_state(atoms),
            model=run_facts.model_of_deck(path.parent / DECK_FILE)
            if is_unwrapped
            else "",
            mobile=np.flatnonzero(is_mobile),
            others=np.flatnonzero(~is_mobile),
            last=_fractions(atoms),
            way=np.zeros((len(atoms), 3)),
        )

    def add(self, atoms: Atoms, time: float, *, is_kept: bool, most: int) -> None:
        """Go on to the next frame."""
        if atoms.get_chemical_symbols() != self.symbols:
            raise DataError(
                f"{self.path}: the frame at {time:g} ps has other atoms than the first "
                f"({atoms.get_chemical_formula()}, {self.formula}); give one run each."
            )
        fractions = _fractions(atoms)
        step = fractions - self.last
        self.last = fractions
        if not self.is_unwrapped:
            step -= np.rint(step)
            if np.abs(step).max() > _LONGEST_STEP:
                raise DataError(
                    f"{self.path}: an atom goes {np.abs(step).max():.2f} of the cell "
                    f"in the frame at {time:g} ps, or the other way round: frames are "
                    "too far apart for the size of the cell. Write them more often "
                    "(--dump-every)."
                )
        self.way += step
        if not is_kept:
            return
        self._check_time(time)
        self.number += 1
        self.cell += (atoms.cell.array - self.cell) / self.number
        self.volume += (atoms.get_volume() - self.volume) / self.number
        kelvin = atoms.get_temperature() if atoms.has("momenta") else np.nan
        self.temperature += (float(kelvin) - self.temperature) / self.number
        self.states.update(run_facts.site_states(atoms))
        if (self.number - 1) % self.stride:
            return
        drift = self.way[self.others].mean(axis=0) if len(self.others) else np.zeros(3)
        self.kept.append(self.way[self.mobile] - drift)
        self.drifts.append(drift)
        if len(self.kept) > most:
            self.kept, self.stride = self.kept[::2], 2 * self.stride

    def _check_time(self, time: float) -> None:
        passed, self.time = time - self.time, time
        if self.number == 1:
            self.interval = passed
        if self.number and not (
            passed > 0.0 and abs(passed - self.interval) <= _UNEVEN * self.interval
        ):
            raise DataError(
                f"{self.path}: expected frames at even times, every {self.interval:g} "
                f"ps, got one {passed:g} ps after another at {time:g} ps."
            )

    def displacements(self) -> Displacements:
        """Return the ways in Å, by the mean cell."""
        ways = np.array(self.kept[1:]) - self.kept[0]
        drift = np.linalg.norm((self.drifts[-1] - self.drifts[0]) @ self.cell)
        return Displacements(
            run=str(self.path),
            element=self.element,
            ways=ways @ self.cell,
            interval=self.interval * self.stride,
            drift=float(drift) if len(self.others) else float("nan"),
            temperature=self.temperature,
            volume=self.volume,
            hop=self.hop,
            formula=self.formula,
            atoms=len(self.symbols),
            label_mode=self.label_mode,
            spin_state=self.spin_state,
            model=self.model,
            states={
                name: count / self.number for name, count in sorted(self.states.items())
            },
        )


def _fractions(atoms: Atoms) -> Floats:
    found: Floats = np.linalg.solve(atoms.cell.array.T, atoms.positions.T).T
    return found


def _alkali(path: Path, symbols: list[str]) -> str:
    present = [name for name in ALKALI if name in symbols]
    if len(present) != 1:
        raise ConfigError(
            f"{path}: expected one of {', '.join(ALKALI)} to diffuse, got "
            f"{', '.join(present) or 'none'}; say which element (--element)."
        )
    return present[0]


def _hop(atoms: Atoms, is_mobile: NDArray[np.bool_]) -> float:
    """Return the mean distance between mobile ions and the nearest shell of cations."""
    is_cation = np.array([not is_anion(symbol) for symbol in atoms.symbols])
    pairs = find_pairs(atoms.cell.array, atoms.positions, _CATION_REACH)
    near = is_mobile[pairs.first] & is_cation[pairs.second]
    if not near.any():
        raise ConfigError(
            f"{atoms.get_chemical_formula()}: no two cations are within "
            f"{_CATION_REACH:g} Å, so that the length of a hop is not known; say it "
            "(hop, --hop)."
        )
    distances = pairs.distances[near]
    return float(distances[distances < _FIRST_SHELL * distances.min()].mean())
