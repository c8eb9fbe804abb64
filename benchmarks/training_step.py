# SPDX-License-Identifier: LGPL-3.0-or-later
"""A training step (forward, all derivatives, backward, Adam) of our model and others.

Same frames (shipped LiMO2 cells of 8 atoms, five-element type map, 40 atoms a batch),
same widths 25-50-100 / 240-240-240, cutoff 5 Å, float64, one thread, one process.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "gpaw"
TYPE_MAP = ["Li", "Mn", "Co", "Ni", "O"]
WIDTHS = {"neuron": [25, 50, 100], "axis_neuron": 16}
RADII = {"rcut": 5.0, "rcut_smth": 1.0, "seed": 1}
FITTING = {"type": "ener", "neuron": [240, 240, 240], "resnet_dt": True, "seed": 1}
USE_SPIN = {"use_spin": ["Mn", "Co", "Ni", "O"]}
SEL = [20, 20, 20, 20, 50]  # largest number of neighbours of each type in the batch


def sections() -> dict[str, dict[str, Any]]:
    """Return the section ``model`` of each model."""
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


def batch(repeat: tuple[int, int, int]) -> tuple[torch.Tensor, ...]:
    """Return positions, types, moments and cells of five frames."""
    import torch

    frames = ase.io.read(EXAMPLES / "LiNi05Mn05O2.extxyz", ":5")
    moments = [atoms.get_magnetic_moments() for atoms in frames]
    frames = [atoms * repeat for atoms in frames]
    n = len(frames[0])
    types = [[TYPE_MAP.index(s) for s in a.get_chemical_symbols()] for a in frames]
    spin = np.zeros((5, n, 3))
    spin[:, :, 2] = np.tile(moments, (1, n // 8))
    return (
        torch.tensor(np.array([a.positions for a in frames])),
        torch.tensor(types),
        torch.tensor(spin),
        torch.tensor(np.array([a.cell.array.ravel() for a in frames])),
    )


def make_step(
    name: str, repeat: tuple[int, int, int] = (1, 1, 1)
) -> Callable[[], None]:
    """Return the function that does one step of a model; cells repeated so often."""
    import torch
    from deepmd.pt.model.model import get_model

    torch.set_num_threads(1)
    model = get_model(sections()[name]).train()
    has_spin = getattr(model, "has_spin", False)
    has_spin = has_spin() if callable(has_spin) else has_spin
    coord, types, spin, box = batch(repeat)
    inputs = (coord, types, spin, box) if has_spin else (coord, types, box)
    # The loss spin_dp has moments predicted in passing.
    extra = {"guess": spin} if hasattr(model, "predict_moments") else {}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        out = model(*inputs, **extra)
        loss = sum(
            out[key].square().mean()
            for key in ("energy", "force", "force_mag")
            if key in out
        )
        if extra:
            loss = loss + (out["moments"] - spin).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def peak_memory(name: str, repeat: tuple[int, int, int]) -> float:
    """Return by how many MB two steps raise the peak memory of a fresh process."""
    command = [sys.executable, "-m", "benchmarks.training_step", name]
    done = subprocess.run(
        [*command, *map(str, repeat)],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def _peak() -> float:
    # Not ru_maxrss: a child begins with that of its parent.
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    chosen, na, nb, nc = sys.argv[1:]
    run = make_step(chosen, (int(na), int(nb), int(nc)))
    before = _peak()
    run()
    run()
    print(_peak() - before)
