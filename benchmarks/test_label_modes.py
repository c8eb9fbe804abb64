# SPDX-License-Identifier: LGPL-3.0-or-later
"""What an MD step costs where labels move, against one of labels that are held.

Layered LiNiO2 with the compiled shipped model, one core: as `spin-dp md` runs it, with
visits and watch, from the first line of its table to the last; starting LAMMPS does not
count.
"""

from itertools import count
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from ase.io import read

from benchmarks.test_md_step import LoopClock
from spin_dp.deployment.cache import fast_models
from spin_dp.dynamics import MDSettings, MomentRelaxation, MonteCarlo, Watch, run_md
from spin_dp.dynamics.modes import LabelsMove

CLOCK = LoopClock()
FRAMES = Path(__file__).parents[1] / "examples" / "gpaw" / "LiNiO2_8.extxyz"
REPEATS = {128: (2, 2, 4), 1024: (4, 4, 8)}
STEPS = {128: 200, 1024: 60}
STATES = {"Ni": ["3+LS", "2+", "4+LS"]}
MODES: dict[str, LabelsMove] = {
    "held": "held",
    "adiabatic": "adiabatic",
    "monte-carlo, a trial a step": MonteCarlo(every=20, trials=20, states=STATES),
    "relaxed": MomentRelaxation(every=10),
}


@pytest.fixture(scope="module")
def model():
    return fast_models("lixmo2", 1)[0]


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("atoms", list(REPEATS))
@pytest.mark.benchmark(timer=CLOCK)
def test_step_of_mode(benchmark, model, tmp_path, atoms, mode):
    benchmark.group = f"MD step by what becomes of labels, LiNiO2, {atoms} atoms, CPU"
    cell = read(FRAMES, index=0)
    structure = cell.copy().repeat(REPEATS[atoms])
    assert len(structure) == atoms
    structure.rattle(0.02, seed=1)
    folders = count()
    benchmark.extra_info.update(atoms=atoms, label=mode, baseline=mode == "held")

    def steps():
        rows = []
        run_md(
            structure,
            model,
            out=tmp_path / str(next(folders)),
            moments="Ni=3+LS",
            settings=MDSettings(
                temperature=300.0, steps=STEPS[atoms], thermo_every=10, dump_every=100
            ),
            labels_move=MODES[mode],
            watch=Watch(stop=False),
            progress=lambda step, *_: rows.append((step, perf_counter())),
        )
        (first, start), (last, end) = rows[0], rows[-1]
        assert last - first == STEPS[atoms]
        CLOCK.now += (end - start) / (last - first)

    benchmark.pedantic(steps, rounds=3)
    assert np.isfinite(CLOCK.now)
