# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a trial of Monte Carlo over labels costs, whatever the size of the cell.

NiO, compiled model of default sizes, one core; moments of single sites flip. Against a
full evaluation of the same cell, the peer in the same run.
"""

from time import perf_counter

import numpy as np
import pytest
from ase.build import bulk

from benchmarks.speed.files import model_file
from benchmarks.speed.peers import PEERS
from benchmarks.test_md_step import LoopClock
from spin_dp import SpinDP
from spin_dp.inference.local_energies import Change, LocalEnergies

CLOCK = LoopClock()
REPEATS = {128: (4, 2, 2), 1024: (8, 4, 4), 8192: (16, 8, 8), 65536: (32, 16, 16)}
TRIALS, AT_ONCE = 64, 16


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    (ours,) = (peer for peer in PEERS if peer.name == "spin_dp_default")
    folder = tmp_path_factory.mktemp("models") / ours.name
    return SpinDP(model_file(ours, "compiled", folder))


def whole_cell(model, symbols, atoms, moments):
    def call():
        start = perf_counter()
        model.potential.atomic_energies(symbols, model.geometry(atoms), moments)
        return perf_counter() - start

    return call, 3


def trials(model, symbols, atoms, moments):
    energies = LocalEnergies(model.potential, symbols, model.geometry(atoms), moments)
    metals = np.flatnonzero(moments[:, 2])
    rng = np.random.default_rng(1)

    def call():
        sites = rng.choice(metals, TRIALS).tolist()
        changes = [Change((site,), -energies.moments[[site]]) for site in sites]
        start = perf_counter()
        for first in range(0, TRIALS, AT_ONCE):
            energies.differences(changes[first : first + AT_ONCE])
        return (perf_counter() - start) / TRIALS

    return call, 5


CASES = {"whole cell": whole_cell, "one trial": trials}


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("size", list(REPEATS))
@pytest.mark.benchmark(timer=CLOCK)
def test_label_trial(benchmark, model, case, size):
    atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True).repeat(REPEATS[size])
    assert len(atoms) == size
    moments = np.zeros((size, 3))
    layer = np.rint(atoms.positions[:, 2] / 2.085).astype(int)
    nickel = np.array(atoms.get_chemical_symbols()) == "Ni"
    moments[nickel, 2] = 1.7 * (-1.0) ** layer[nickel]
    benchmark.group = f"{size} atoms of NiO, one core: energies of labels"
    benchmark.extra_info.update(label=case, baseline=case == "one trial")
    seconds, rounds = CASES[case](model, atoms.get_chemical_symbols(), atoms, moments)
    seconds()  # the first call takes longer

    def call():
        CLOCK.now += seconds()

    benchmark.pedantic(call, rounds=rounds)
