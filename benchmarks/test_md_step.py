# SPDX-License-Identifier: LGPL-3.0-or-later
"""Time of an MD step in stock LAMMPS: NiO with antiferromagnetic planes.

All models, forms, sizes and numbers of ranks in one run on one machine; one thread a
rank, and the GPU where deepmd-kit finds one. The clock is LAMMPS's own loop time, so
that loading a model does not count.
"""

import itertools

import numpy as np
import pytest
import torch
from ase.build import bulk

from benchmarks.speed.files import model_file
from benchmarks.speed.peers import BASELINE, PEERS
from spin_dp.errors import BackendError
from spin_dp.lammps_interface import step_times

CELLS = {64: (2, 2, 2), 256: (2, 4, 4), 2048: (4, 8, 8), 16384: (8, 16, 16)}
CELLS[65536] = (16, 16, 32)
STEPS = {64: 100, 256: 30, 2048: 5, 16384: 2, 65536: 1}
DEVICE = "GPU" if torch.cuda.is_available() else "CPU"
if DEVICE == "GPU":
    CELLS |= {262144: (32, 32, 32), 1048576: (32, 64, 64)}
    STEPS = dict.fromkeys(CELLS, 20)
LARGER = 16 if DEVICE == "GPU" else 1  # than the largest cells of a core
FAST = ("compressed", "compressed-float32", "compiled")
REFERENCE = 256


class LoopClock:
    """A clock that goes on by the loop times of LAMMPS."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


CLOCK = LoopClock()


def cases():
    """All forms at one size; at other sizes and two ranks the fastest of each model."""
    for peer in PEERS:
        fastest = peer.kinds[-1]
        for kind, atoms in itertools.product(peer.kinds, CELLS):
            if atoms > LARGER * peer.largest or (
                atoms != REFERENCE and kind not in FAST
            ):
                continue
            if atoms == REFERENCE or kind in (fastest, "compressed-float32"):
                yield pytest.param(
                    peer, kind, atoms, 1, id=f"{peer.name}-{kind}-{atoms}"
                )
            if atoms in (2048, 16384) and kind == fastest:
                name = f"{peer.name}-{kind}-{atoms}-2ranks"
                yield pytest.param(peer, kind, atoms, 2, id=name)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def nickel_oxide(atoms):
    """Return rocksalt NiO and moments of 1.7 μB that alternate along z."""
    made = bulk("NiO", "rocksalt", a=4.17, cubic=True).repeat(CELLS[atoms])
    moments = np.zeros((len(made), 3))
    layer = np.rint(made.positions[:, 2] / 2.085).astype(int)
    nickel = np.array(made.get_chemical_symbols()) == "Ni"
    moments[nickel, 2] = 1.7 * (-1.0) ** layer[nickel]
    return made, moments


@pytest.mark.parametrize(("peer", "kind", "atoms", "ranks"), list(cases()))
@pytest.mark.benchmark(timer=CLOCK)
def test_md_step(benchmark, models, tmp_path, peer, kind, atoms, ranks):
    benchmark.group = f"MD step, NiO, {atoms} atoms, {DEVICE}, ranks: {ranks}"
    benchmark.extra_info.update(
        model=peer.name,
        title=peer.title,
        file=kind,
        atoms=atoms,
        ranks=ranks,
        device=DEVICE,
        label=f"{peer.title}, {kind}",
        baseline=(peer.name, kind) == BASELINE,
    )
    try:
        file = model_file(peer, kind, models / peer.name)
    except BackendError as error:
        pytest.skip(f"{peer.title} cannot be made {kind} here: {error}")
    structure, moments = nickel_oxide(atoms)
    slow = peer.name == "deepspin"
    times = iter(
        step_times(
            structure,
            moments if peer.moments else None,
            file,
            tmp_path,
            steps=2 if slow else STEPS[atoms],
            rounds=3,
            warm_up=1 if slow else 3,
            ranks=ranks,
            timestep=0.1,  # the weights are random
        )
    )

    def steps():
        CLOCK.now += next(times)

    benchmark.pedantic(steps, rounds=3)
