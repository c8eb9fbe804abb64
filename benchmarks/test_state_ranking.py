# SPDX-License-Identifier: LGPL-3.0-or-later
"""Spin states a second: many of a cell with 64 metals at once, against one by one.

Layered LiNiO2, 256 atoms, the compiled shipped model, one core: energies of random
signs of Ni3+, as `spin-dp states` asks for them, as energy differences of single flips,
and through the ASE calculator, whose forces nobody asked for.
"""

from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from ase.io import read

from benchmarks.test_md_step import LoopClock
from spin_dp import SpinDP, SpinDPCalculator
from spin_dp.deployment.cache import fast_models
from spin_dp.inference.local_energies import Change, LocalEnergies

CLOCK = LoopClock()
FRAMES = Path(__file__).parents[1] / "examples" / "gpaw" / "LiNiO2_4.extxyz"
NUMBER = 32


@pytest.fixture(scope="module")
def model():
    return SpinDP(fast_models("lixmo2", 1)[0])


@pytest.fixture(scope="module")
def cell():
    atoms = read(FRAMES, index=0).copy().repeat((4, 4, 4))
    assert sum(symbol == "Ni" for symbol in atoms.symbols) == 64
    return atoms


def patterns(model, cell):
    start = model.labels(cell, "Ni=3+LS").moments
    rng = np.random.default_rng(1)
    signs = rng.choice([-1.0, 1.0], (NUMBER, len(cell)))
    return start, signs[:, :, None] * start


def at_once(model, cell):
    _, moments = patterns(model, cell)
    model.energies(cell, moments)
    return NUMBER


def single_flips(model, cell):
    start, _ = patterns(model, cell)
    metals = np.flatnonzero(start.any(axis=1))
    local = LocalEnergies(
        model.potential, cell.get_chemical_symbols(), model.geometry(cell), start
    )
    local.differences([Change((int(i),), -start[[i]]) for i in metals])
    return len(metals)


def one_by_one(model, cell):
    _, moments = patterns(model, cell)
    for one in moments[:8]:
        atoms = cell.copy()
        atoms.set_initial_magnetic_moments(one[:, 2])
        atoms.calc = SpinDPCalculator(model)
        atoms.get_potential_energy()
    return 8


CASES = {"at once": at_once, "single flips": single_flips, "ASE": one_by_one}


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.benchmark(timer=CLOCK)
def test_states_a_second(benchmark, model, cell, case):
    benchmark.group = "one spin state of 64 Ni in 256 atoms of LiNiO2, CPU"
    benchmark.extra_info.update(label=case, baseline=case == "ASE")
    CASES[case](model, cell)

    def states():
        start = perf_counter()
        number = CASES[case](model, cell)
        CLOCK.now += (perf_counter() - start) / number

    benchmark.pedantic(states, rounds=3)
