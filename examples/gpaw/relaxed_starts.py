# SPDX-License-Identifier: LGPL-3.0-or-later
"""Write geometries that a model relaxes its spin states to, to be run by DFT.

``python examples/gpaw/relaxed_starts.py OUT.extxyz [SYSTEM ...]``; without names all
small cells. MD comes by few spin states, and a model that is asked which state is
lowest relaxes each of them, to where it believes the state to be lower than DFT has it.
Each of the lowest neutral states of a cell is relaxed by ``lixmo2``, cell and
positions, and comes twice: as it is, and strained and displaced at random. DFT starts
from the moments of the state (``starts``, μB of the metals) with the k-points
(``kpts``) that the other frames of such cells have.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
from ase.io.extxyz import write_extxyz

from spin_dp import SpinDP
from spin_dp.demo.origins import RELAXED_BY
from spin_dp.deployment import fast_models
from spin_dp.files import replacing
from spin_dp.properties import RelaxationSettings, Subject
from spin_dp.properties.relaxation import relaxed_atoms
from spin_dp.search import rank_states, ranked_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms

HERE = Path(__file__).resolve().parent
MODEL = "lixmo2"
SMALL = {
    **dict.fromkeys(("CoO2_3", "MnO2_3", "NiO2_3"), (4, 4, 2)),
    **dict.fromkeys(("LiCoO2_4", "LiMnO2_4", "LiNiO2_4"), (4, 4, 2)),
    **dict.fromkeys(("Li05CoO2", "Li05MnO2", "Li05NiO2"), (4, 2, 2)),
    **dict.fromkeys(("LiCoO2_8", "LiMnO2_8", "LiNiO2_8"), (4, 2, 2)),
    "LiNi05Mn05O2": (4, 2, 2),
}
"""Files whose first frame is relaxed, and their k-points."""
LARGE = dict.fromkeys(
    (
        *("LiNiMnO2_16", "Li075CoO2_15b", "Li075MnO2_15", "Li075NiO2_15"),
        *("Li05CoO2_14", "Li05NiMnO2_14", "Li05NiO2_14", "Li025CoO2_13b"),
        *("Li025MnO2_13b", "CoO2_12", "MnO2_12", "NiO2_12"),
        *("LiMnO2_16", "LiNiO2_16"),
    ),
    (2, 2, 2),
)
"""The same of cells with four metals: orderings of moments and charges."""
REPEATED = {"LiMnO2_16": "LiMnO2_8", "LiNiO2_16": "LiNiO2_8"}
"""Those that are two cells of a file side by side."""
STATES = 6
"""Most states of a cell."""
STRAIN, DISPLACED = 0.015, 0.03
"""Standard deviations of each component, the second in Å."""
_SETTINGS = RelaxationSettings(max_force=0.02)
_MOST_SWOLLEN = 0.25  # of the volume; a model that goes further is lost


def starts(model: SpinDP, systems: dict[str, tuple[int, int, int]]) -> Iterator[Atoms]:
    """Go through the geometries of some systems.

    Parameters
    ----------
    model
        Whose first model ranks and relaxes.
    systems
        As :data:`SMALL`.
    """
    for system, kpts in systems.items():
        name = REPEATED.get(system, system)
        frame = ase.io.read(HERE / f"{name}.extxyz", index=0)
        frame = frame.repeat((2, 1, 1)) if system in REPEATED else frame
        table = rank_states(frame, model)
        rng = np.random.default_rng(sum(system.encode()))
        for number, labelled in enumerate(ranked_frames(frame, table, STATES)):
            subject = Subject.of_model(labelled, model.first)
            found, converged, _ = relaxed_atoms(subject, _SETTINGS)
            swollen = abs(found.get_volume() / frame.get_volume() - 1.0)
            if not converged or swollen > _MOST_SWOLLEN:
                print(f"{system} {subject.spin_state}: left out", file=sys.stderr)
                continue
            atoms = subject.labelled(found)
            moved = atoms.copy()
            noise = rng.normal(0.0, STRAIN, (3, 3))
            moved.set_cell(
                atoms.cell.array @ (np.eye(3) + 0.5 * (noise + noise.T)),
                scale_atoms=True,
            )
            moved.positions += rng.normal(0.0, DISPLACED, atoms.positions.shape)
            for part, geometry in enumerate((atoms, moved)):
                yield _start(geometry, subject, system, 2 * number + part, kpts)


def _start(
    atoms: Atoms, subject: Subject, system: str, number: int, kpts: tuple[int, int, int]
) -> Atoms:
    states = subject.site_states
    moments = atoms.get_initial_magnetic_moments()
    begun = [
        # One without a moment gets none: that is the state that is meant.
        round(float(m), 2)
        for m, s in zip(moments, states, strict=True)
        if s is not None
    ]
    start = atoms.copy()
    for name in list(start.arrays):
        if name not in ("numbers", "positions"):
            del start.arrays[name]
    start.info = {
        "system": f"relaxed{system}",
        "geometry_id": f"relaxed{system}-{number:03d}",
        "temperature": 0,
        RELAXED_BY: MODEL,
        "wanted_state": subject.spin_state.partition("#")[0],
        "kpts": json.dumps(list(kpts)),
        "starts": json.dumps([begun]),
    }
    return start


def main() -> None:
    """Write them all."""
    known = SMALL | LARGE
    systems = {name: known[name] for name in sys.argv[2:]} or SMALL
    found = list(starts(SpinDP(fast_models(MODEL)[:1]), systems))
    with replacing(Path(sys.argv[1])) as part, part.open("w", encoding="utf-8") as out:
        write_extxyz(out, found)
    print(f"{len(found)} geometries")


if __name__ == "__main__":
    main()
