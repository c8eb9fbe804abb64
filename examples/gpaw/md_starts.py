# SPDX-License-Identifier: LGPL-3.0-or-later
"""Write what MD of the shipped model meets where it is least sure, to be run by DFT.

``python -m examples.gpaw.md_starts OUT.extxyz``. Two kinds of surroundings that frames
show too little of: cells that are compressed, in which oxygens come near each other and
half-empty ones collapse, and hot cells with lithium and a metal exchanged. Each run of
MD is short, in the lowest spin state of its cell with labels held, and gives the
snapshot about whose forces the models of the ensemble differ most.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
from ase import units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from benchmarks.stability.structures import compressed
from examples.gpaw.starts import Starts, strained
from spin_dp import SpinDP, SpinDPCalculator
from spin_dp.demo.origins import EXPLORED_BY
from spin_dp.deployment import fast_models
from spin_dp.errors import OutsideTrainingData
from spin_dp.search import rank_states, ranked_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

HERE = Path(__file__).resolve().parent
MODEL = "lixmo2"
KPTS = {3: (4, 4, 2), 7: (4, 2, 2), 8: (4, 2, 2)}
"""By number of atoms; larger cells have (2, 2, 2)."""
SQUEEZED = (
    *("Li05CoO2", "Li05MnO2", "Li05NiO2", "LiCoO2_8", "LiMnO2_8", "LiNiO2_8"),
    *("CoO2_3", "MnO2_3", "NiO2_3"),
)
"""Files whose first cell is compressed."""
SHARES = (0.04, 0.08, 0.12, 0.16)
"""Of the volume that cells are smaller by."""
EXCHANGED = ("antisiteLi05NiO2", "antisiteLiNiO2_16", "antisiteLiNiO2_16b")
"""Files whose first cell has a lithium and a metal exchanged."""
TEMPERATURES = (400.0, 600.0, 800.0, 1000.0, 1200.0)
STRAIN = 0.015
"""Standard deviation of each component."""
STEPS, EVERY, TIMESTEP = 300, 50, 1.0
"""Of a run; between the snapshots of its second half; fs."""
FRICTION = 0.02
"""Per fs."""
NEAREST = 1.2
"""Contacts below which a snapshot is not asked for, Å."""


def snapshot(
    start: Atoms, model: SpinDP, kelvin: float, rng: np.random.Generator
) -> tuple[Atoms, float] | None:
    """Return what a run meets and how far the models differ in it.

    Parameters
    ----------
    start
        Labelled atoms.
    model
        The ensemble; its first model moves the atoms.
    kelvin
        Temperature, K.
    rng
        Draws velocities.

    Returns
    -------
    tuple of Atoms and float, or None
        The snapshot with the largest deviation, and this, eV/Å; None if every one has a
        contact that is too close.
    """
    atoms = start.copy()
    atoms.calc = SpinDPCalculator(model.first)
    thermalize_momenta(atoms, temperature_K=kelvin, rng=rng)
    moving = Langevin(
        atoms,
        TIMESTEP * units.fs,
        temperature_K=kelvin,
        friction=FRICTION / units.fs,
        fixcm=False,
        rng=rng,
    )
    moving.run(STEPS // 2)
    best: tuple[Atoms, float] | None = None
    for _ in range(STEPS // 2 // EVERY):
        moving.run(EVERY)
        near = atoms.get_all_distances(mic=True)
        np.fill_diagonal(near, np.inf)
        deviation = float(model.uncertainty(atoms).force_deviation.max())
        if near.min() > NEAREST and (best is None or deviation > best[1]):
            best = atoms.copy(), deviation
    return best


def add_starts(
    found: Starts,
    model: SpinDP,
    system: str,
    name: str,
    conditions: Sequence[tuple[float, float]],
) -> None:
    """Add the snapshots of a cell.

    Parameters
    ----------
    found
        Gets them.
    model
        Ranks states and moves atoms.
    system, name
        File whose first cell it is, and the file that its frames go to.
    conditions
        Share of the volume that it is smaller by, and temperature, K, of each run.
    """
    cell = ase.io.read(HERE / f"{system}.extxyz", index=0)
    labelled = ranked_frames(cell, rank_states(cell, model), 1)[0]
    rng = np.random.default_rng(sum(name.encode()))
    for number, (share, kelvin) in enumerate(conditions):
        start = strained(labelled, rng.normal(0.0, STRAIN, (3, 3)))
        volume = cell.get_volume() * (1.0 - share)
        start = compressed(start, 1.0 - volume / start.get_volume())
        met = snapshot(start, model, kelvin, rng)
        if met is None:
            print(f"{name} {share:g} {kelvin:g} K: left out", file=sys.stderr)
            continue
        atoms, deviation = met
        found.add(
            atoms,
            name,
            number=number,
            kpts=KPTS.get(len(atoms), (2, 2, 2)),
            temperature=kelvin,
            force_deviation=round(deviation, 4),
            **{EXPLORED_BY: f"{MODEL}_{system}_{kelvin:g}K_volume-{100 * share:g}%"},
        )
        print(f"{name} {share:g} {kelvin:g} K: {deviation:.2f} eV/Å", file=sys.stderr)


def main() -> None:
    """Write them all."""
    warnings.simplefilter("ignore", OutsideTrainingData)  # which is what they are for
    model = SpinDP(fast_models(MODEL))
    found = Starts((2, 2, 2))
    squeezed = [(share, kelvin) for share in SHARES for kelvin in (300.0, 1000.0)]
    for system in SQUEEZED:
        name = f"squeezed{system.partition('_')[0]}"
        add_starts(found, model, system, name, squeezed)
    hot = [(0.0, kelvin) for kelvin in TEMPERATURES]
    for system in EXCHANGED:
        add_starts(found, model, system, f"md{system}", hot)
    found.write(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
