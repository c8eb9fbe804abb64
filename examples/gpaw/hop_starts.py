# SPDX-License-Identifier: LGPL-3.0-or-later
"""Write lithium near the saddle points of its hops, to be run by DFT.

``python -m examples.gpaw.hop_starts OUT.extxyz``. MD below 1000 K is seldom at a saddle
point, and a model whose frames show few of them gives barriers that are off by tenths
of an eV. The shipped model finds the paths of hops in cells of four metals, with one
and two vacancies; images at and beside the tops, strained and displaced at random,
begin in the state of the image (:mod:`examples.gpaw.starts`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.build import niggli_reduce

from examples.gpaw.starts import Starts, disturbed
from spin_dp import SpinDP
from spin_dp.crystals import unit_cell
from spin_dp.deployment import fast_models
from spin_dp.properties import RelaxationSettings, Subject
from spin_dp.properties.migration import (
    BarrierSettings,
    HopSettings,
    barrier,
    hops_of,
)
from spin_dp.properties.relaxation import relaxed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms

    from spin_dp.properties.migration import Barrier

MODEL = "lixmo2"
CRYSTALS = {"LiMnO2": "Mn=3+HS", "LiNiO2": "Ni=3+LS", "LiCoO2": "Co=3+LS"}
REPEATS = (2, 2, 1)
"""Of the primitive cells."""
STRAIN, DISPLACED = 0.01, 0.05
"""Standard deviations of each component, the second in Å."""
KPTS = (2, 2, 2)
_AS_IT_IS = 1.0  # Å; no supercell of it


def paths(model: SpinDP) -> Iterator[tuple[str, Barrier]]:
    """Go through the paths of all distinct hops, each with its crystal."""
    for crystal, labels in CRYSTALS.items():
        subject = Subject.of_model(unit_cell(crystal), model, labels)
        rest = relaxed(subject, RelaxationSettings(max_force=0.01))
        cell = rest.carrying(rest.atoms.repeat(REPEATS))
        for vacancies in ("one", "two"):
            hops = hops_of(cell, HopSettings(vacancies=vacancies)).hops
            for number in range(len(hops)):
                settings = BarrierSettings(
                    vacancies=vacancies, hop=number, width=_AS_IT_IS
                )
                yield crystal, barrier(cell, settings)


def near_the_top(path: Barrier) -> list[Atoms]:
    """Return copies of the top and the images beside it."""
    last = len(path.images) - 1
    numbers = {max(path.top - 1, 1), path.top, min(path.top + 1, last - 1)}
    return [path.images[number].copy() for number in sorted(numbers)]


def main() -> None:
    """Write them all."""
    rng = np.random.default_rng(3)
    found = Starts(KPTS)
    for crystal, path in paths(SpinDP(fast_models(MODEL, 1))):
        for image in near_the_top(path):
            # The same lattice by short vectors, which DFT's grids like better.
            niggli_reduce(image)
            atoms = disturbed(image, rng, strain=STRAIN, displaced=DISPLACED)
            found.add(atoms, f"saddle{crystal}", sampler=f"{path.way} of {MODEL}")
        print(crystal, path.way, f"{path.barrier:.2f} eV", file=sys.stderr)
    found.write(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
