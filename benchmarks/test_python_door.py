# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a compiled model costs through Python, against the same kernel in LAMMPS.

NiO, 128 atoms, one core: energy, forces and magnetic forces of one spin state, of 64
spin states of one geometry (time of each), and a step of ASE's MD. Neighbours are found
anew in each call: the atoms have moved.
"""

from time import perf_counter

import numpy as np
import pytest
from ase.build import bulk
from ase.md.verlet import VelocityVerlet
from ase.units import fs

from benchmarks.speed.files import model_file
from benchmarks.speed.peers import PEERS
from benchmarks.test_md_step import LoopClock
from spin_dp import SpinDP, SpinDPCalculator
from spin_dp.lammps_interface import step_times

CLOCK = LoopClock()
GROUP = "128 atoms of NiO, one core: LAMMPS and Python"
ROUNDS, PATTERNS, STEPS = 20, 64, 10


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    (ours,) = (peer for peer in PEERS if peer.name == "spin_dp_default")
    return model_file(ours, "compiled", tmp_path_factory.mktemp("models") / ours.name)


@pytest.fixture
def oxide():
    """Return NiO and moments of 1.7 μB that alternate along z, (n, 3)."""
    atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True).repeat((4, 2, 2))
    moments = np.zeros((len(atoms), 3))
    layer = np.rint(atoms.positions[:, 2] / 2.085).astype(int)
    nickel = np.array(atoms.get_chemical_symbols()) == "Ni"
    moments[nickel, 2] = 1.7 * (-1.0) ** layer[nickel]
    return atoms, moments


def in_lammps(path, atoms, moments, folder):
    times = step_times(atoms, moments, path, folder, steps=100, rounds=3, timestep=1e-6)
    return times.pop, 3


def one_state(path, atoms, moments, _folder):
    model = SpinDP(path)

    def call():
        atoms.rattle(1e-4, rng=np.random.default_rng(len(atoms)))
        start = perf_counter()
        model.evaluate(atoms, moments)
        return perf_counter() - start

    return call, ROUNDS


def many_states(path, atoms, moments, _folder):
    model = SpinDP(path)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (PATTERNS, len(atoms), 1))

    def call():
        atoms.rattle(1e-4, rng=np.random.default_rng(len(atoms)))
        start = perf_counter()
        model.evaluate_many(atoms, signs * moments)
        return (perf_counter() - start) / PATTERNS

    return call, 5


def ase_step(path, atoms, moments, _folder):
    atoms.calc = SpinDPCalculator(path, moments=moments)
    atoms.set_velocities(np.random.default_rng(1).normal(0, 0.02, (len(atoms), 3)))
    dynamics = VelocityVerlet(atoms, 0.1 * fs)  # the weights are random

    def call():
        start = perf_counter()
        dynamics.run(STEPS)
        return (perf_counter() - start) / STEPS

    return call, 5


CASES = {
    "MD step in LAMMPS": in_lammps,
    "one spin state": one_state,
    "each of 64 spin states": many_states,
    "MD step in ASE": ase_step,
}


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.benchmark(timer=CLOCK)
def test_python_door(benchmark, compiled, oxide, tmp_path, case):
    atoms, moments = oxide
    benchmark.group = GROUP
    benchmark.extra_info.update(label=case, baseline=case == "MD step in LAMMPS")
    seconds, rounds = CASES[case](compiled, atoms, moments, tmp_path)
    if case != "MD step in LAMMPS":
        seconds()  # the first call of a model takes longer

    def call():
        CLOCK.now += seconds()

    benchmark.pedantic(call, rounds=rounds)
