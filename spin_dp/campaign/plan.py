# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which MD runs a generation explores by: crystals, states, temperatures, pressures."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.campaign.exploration import ExplorationRun
from spin_dp.campaign.known import known_frames
from spin_dp.errors import ConfigError, unknown
from spin_dp.lammps_interface.settings import MAX_SEED
from spin_dp.structures import read_structure, repeated
from spin_dp.units import BAR_PER_GPA, PS_PER_FS

if TYPE_CHECKING:
    from ase import Atoms

    from spin_dp.campaign.settings import CampaignSettings, Exploration, Structure

_LEAST_ATOMS = 8  # a smaller cell has hardly a motion of its own


@dataclass(frozen=True, eq=False)
class StartingPoint:
    """A crystal in a spin state.

    Attributes
    ----------
    name
        Of its runs.
    atoms
        The cell as MD and DFT have it.
    labels
        As ``spin-dp md`` takes them; None: the moments that the atoms carry.
    order
        Magnetic ordering, None for that of the labels.
    """

    name: str
    atoms: Atoms
    labels: str | None
    order: str | None


def plan_runs(
    settings: CampaignSettings, data: Path, generation: int
) -> list[ExplorationRun]:
    """Return the MD runs of a generation.

    All combinations of crystal, state, temperature and pressure take their turns, in an
    order that the seed draws; velocities are other ones in each generation.

    Parameters
    ----------
    settings
        The campaign.
    data
        Collected frames, some of which may be starting points.
    generation
        Its number, from 0.

    Returns
    -------
    list of ExplorationRun
        As many as the settings allow, by different names.

    Raises
    ------
    DataError
        If a structure file cannot be read.
    ConfigError
        If a cell is too large for DFT, two crystals have one name, or the data lack a
        composition.
    """
    exploration = settings.exploration
    starts = [start for one in settings.structure for start in _of_file(one)]
    if exploration.from_data is not None:
        starts += _of_data(exploration, data)
    _check(starts, exploration.most_atoms)
    pressures: list[float | None] = [*exploration.pressures] or [None]
    everything = list(itertools.product(starts, exploration.temperatures, pressures))
    order = np.random.default_rng(settings.seed).permutation(len(everything))
    count = min(exploration.runs, len(everything))
    first = generation * count
    chosen = [everything[order[(first + k) % len(everything)]] for k in range(count)]
    draw = np.random.default_rng([settings.seed, generation])
    return [
        ExplorationRun(
            name=_run_name(start, temperature, pressure),
            structure=start.atoms,
            labels=start.labels,
            order=start.order,
            temperature=temperature,
            pressure=None if pressure is None else pressure * BAR_PER_GPA,
            steps=_steps(exploration.picoseconds / PS_PER_FS, exploration.timestep),
            timestep=exploration.timestep,
            interval=_steps(exploration.every, exploration.timestep),
            seed=int(draw.integers(1, MAX_SEED)),
        )
        for start, temperature, pressure in chosen
    ]


def _steps(femtoseconds: float, timestep: float) -> int:
    return max(1, round(femtoseconds / timestep))


def _of_file(one: Structure) -> list[StartingPoint]:
    atoms = repeated(read_structure(one.file), one.supercell)
    name = one.name or Path(one.file).stem
    return [
        StartingPoint(
            name=_safe(f"{name}_{labels}_{order}"),
            atoms=atoms,
            labels=labels,
            order=order,
        )
        for labels, order in itertools.product(one.labels, one.orders)
    ]


def _of_data(exploration: Exploration, data: Path) -> list[StartingPoint]:
    """Return the lowest frame of each of the lowest states of each composition."""
    lowest: dict[tuple[str, str], Atoms] = {}
    for atoms in known_frames(data):
        place = (str(atoms.info["formula"]), str(atoms.info["key"]))
        best = lowest.get(place)
        energy = atoms.info["energy_per_atom"]
        if best is None or energy < best.info["energy_per_atom"]:
            lowest[place] = atoms
    formulas = sorted({formula for formula, _ in lowest})
    wanted = formulas if exploration.from_data == "all" else exploration.from_data
    starts = []
    for formula in wanted or []:
        if formula not in formulas:
            raise unknown("composition in exploration.from_data", formula, formulas)
        states = [atoms for (name, _), atoms in lowest.items() if name == formula]
        states.sort(key=lambda atoms: float(atoms.info["energy_per_atom"]))
        for atoms in states[: exploration.states]:
            name = _safe(f"{formula}_{atoms.info['key']}")
            cell = _at_least(atoms, _LEAST_ATOMS)
            starts.append(StartingPoint(name, cell, labels=None, order=None))
    return starts


def _at_least(atoms: Atoms, count: int) -> Atoms:
    """Return the cell, doubled along its shortest vectors up to so many atoms."""
    while len(atoms) < count:
        times = [1, 1, 1]
        times[int(np.argmin(atoms.cell.lengths()))] = 2
        info = atoms.info
        atoms = atoms.repeat(tuple(times))
        atoms.info = info
    return atoms


def _check(starts: list[StartingPoint], most_atoms: int) -> None:
    names: set[str] = set()
    for start in starts:
        if len(start.atoms) > most_atoms:
            raise ConfigError(
                f"{start.name}: {len(start.atoms)} atoms, which DFT would get as they "
                f"are; expected at most {most_atoms}. Take a smaller supercell, or "
                "raise exploration.most_atoms."
            )
        if start.name in names:
            raise ConfigError(
                f"two structures are called {start.name}; give one of them another "
                "name = ... in [[structure]]."
            )
        names.add(start.name)


def _run_name(start: StartingPoint, temperature: float, pressure: float | None) -> str:
    at_pressure = "" if pressure is None else f"_{pressure:g}GPa"
    return _safe(f"{start.name}_{temperature:g}K{at_pressure}")


def _safe(name: str) -> str:
    """Return a name without what file systems and shells take for something else."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", name).strip("_")
