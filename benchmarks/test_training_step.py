# SPDX-License-Identifier: LGPL-3.0-or-later
"""Time of a training step (forward, all derivatives, backward, Adam) by model.

Same frames (shipped LiMO2 cells of 8 atoms, five-element type map, 40 atoms a batch),
same widths 25-50-100 / 240-240-240, cutoff 5 Å, float64, one thread, one process.
"""

from pathlib import Path

import ase.io
import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "gpaw"
TYPE_MAP = ["Li", "Mn", "Co", "Ni", "O"]
WIDTHS = {"neuron": [25, 50, 100], "axis_neuron": 16}
RADII = {"rcut": 5.0, "rcut_smth": 1.0, "seed": 1}
FITTING = {"type": "ener", "neuron": [240, 240, 240], "resnet_dt": True, "seed": 1}
USE_SPIN = {"use_spin": ["Mn", "Co", "Ni", "O"]}
SEL = [20, 20, 20, 20, 50]  # largest number of neighbours of each type in the batch


def sections():
    se_e2_a = {
        "type_map": TYPE_MAP,
        "descriptor": {"type": "se_e2_a", "sel": SEL, **WIDTHS, **RADII},
        "fitting_net": FITTING,
    }
    return {
        "spin_dp": {
            "type": "spin_dp",
            "type_map": TYPE_MAP,
            "descriptor": {
                "type": "spin_se_e2_a",
                "sel": 100,
                "spin_neuron": [16, 32],
                "quad_neuron": [16, 32],
                **WIDTHS,
                **RADII,
            },
            "fitting_net": FITTING,
            "moment_net": {},
            "spin": USE_SPIN,
        },
        "se_e2_a (spin-blind)": se_e2_a,
        "DPA-1 strip (spin-blind)": {
            **se_e2_a,
            "descriptor": {
                "type": "dpa1",
                "sel": 100,
                "attn_layer": 0,
                "tebd_input_mode": "strip",
                **WIDTHS,
                **RADII,
            },
        },
        "se_e2_a DeepSPIN": {**se_e2_a, "spin": {**USE_SPIN, "virtual_scale": 0.3}},
    }


def batch():
    import torch

    frames = ase.io.read(EXAMPLES / "LiNi05Mn05O2.extxyz", ":5")
    types = [[TYPE_MAP.index(s) for s in a.get_chemical_symbols()] for a in frames]
    spin = np.zeros((5, 8, 3))
    spin[:, :, 2] = [a.get_magnetic_moments() for a in frames]
    return (
        torch.tensor(np.array([a.positions for a in frames])),
        torch.tensor(types),
        torch.tensor(spin),
        torch.tensor(np.array([a.cell.array.ravel() for a in frames])),
    )


@pytest.mark.parametrize("name", list(sections()))
@pytest.mark.benchmark(group="training step, 40 atoms, 1 thread")
def test_training_step(benchmark, name):
    import torch
    from deepmd.pt.model.model import get_model

    torch.set_num_threads(1)
    model = get_model(sections()[name]).train()
    has_spin = getattr(model, "has_spin", False)
    has_spin = has_spin() if callable(has_spin) else has_spin
    coord, types, spin, box = batch()
    inputs = (coord, types, spin, box) if has_spin else (coord, types, box)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step():
        out = model(*inputs)
        loss = sum(
            out[key].square().mean()
            for key in ("energy", "force", "force_mag")
            if key in out
        )
        if hasattr(model, "predict_moments"):  # as the loss spin_dp has it
            loss = loss + (model.predict_moments(*inputs) - spin).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    benchmark.pedantic(step, rounds=15, warmup_rounds=3)
