# SPDX-License-Identifier: LGPL-3.0-or-later
"""Write geometries that a model relaxes its spin states to, to be run by DFT.

``python -m examples.gpaw.relaxed_starts OUT.extxyz [SYSTEM ...]``; without names all
small cells. MD comes by few spin states, and a model that is asked which state is
lowest relaxes each of them, to where it believes the state to be lower than DFT has it.
Each of the lowest neutral states of a cell is relaxed by ``lixmo2``, cell and
positions, and comes twice: as it is, and strained and displaced at random. DFT starts
from the moments of the state (``starts``, μB of the metals) with the k-points
(``kpts``) that the other frames of such cells have.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ase.io
import numpy as np

from examples.gpaw.starts import Starts, disturbed
from spin_dp import SpinDP
from spin_dp.demo.origins import RELAXED_BY
from spin_dp.deployment import fast_models
from spin_dp.properties import RelaxationSettings, Subject
from spin_dp.properties.relaxation import relaxed_atoms
from spin_dp.search import rank_states, ranked_frames

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


def add_starts(
    found: Starts, model: SpinDP, system: str, kpts: tuple[int, int, int]
) -> None:
    """Add the geometries of a system.

    Parameters
    ----------
    found
        Gets them.
    model
        Whose first model ranks and relaxes.
    system, kpts
        Of :data:`SMALL` or :data:`LARGE`.
    """
    frame = ase.io.read(HERE / f"{REPEATED.get(system, system)}.extxyz", index=0)
    frame = frame.repeat((2, 1, 1)) if system in REPEATED else frame
    table = rank_states(frame, model)
    rng = np.random.default_rng(sum(system.encode()))
    for number, labelled in enumerate(ranked_frames(frame, table, STATES)):
        subject = Subject.of_model(labelled, model.first)
        relaxed, converged, _ = relaxed_atoms(subject, _SETTINGS)
        swollen = abs(relaxed.get_volume() / frame.get_volume() - 1.0)
        if not converged or swollen > _MOST_SWOLLEN:
            print(f"{system} {subject.spin_state}: left out", file=sys.stderr)
            continue
        atoms = subject.labelled(relaxed)
        moved = disturbed(atoms, rng, strain=STRAIN, displaced=DISPLACED)
        for part, geometry in enumerate((atoms, moved)):
            found.add(
                geometry,
                f"relaxed{system}",
                number=2 * number + part,
                kpts=kpts,
                **{RELAXED_BY: MODEL},
                wanted_state=subject.spin_state.partition("#")[0],
            )


def main() -> None:
    """Write them all."""
    model = SpinDP(fast_models(MODEL, 1))
    known = SMALL | LARGE
    found = Starts((2, 2, 2))
    for system in sys.argv[2:] or SMALL:
        add_starts(found, model, system, known[system])
    found.write(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
