# SPDX-License-Identifier: LGPL-3.0-or-later
"""Stock ``dp --pt`` in a process of its own, and inputs with tiny nets for it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from spin_dp.training.program import environment
from tests.integration.dp_process import dp_process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TYPE_MAP = ("Li", "Mn", "Co", "Ni", "O")


def run_dp(folder: Path, *arguments: str, expect: int = 0) -> str:
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        status = dp_process(
            folder, ["--pt", *arguments], environment(threads=1), Path(log.name)
        )
        said = Path(log.name).read_text()
    assert status == expect, said[-6000:]
    return said


def write_tiny_input(
    folder: Path,
    systems: Path | str,
    steps: int,
    *,
    type_map: Sequence[str] = TYPE_MAP,
    use_spin: Sequence[str] = ("Mn", "Co", "Ni"),
    training: dict[str, Any] | None = None,
    descriptor: dict[str, Any] | None = None,
    **model: Any,
) -> Path:
    """Write an ``input.json`` for a model of a few hundred parameters."""
    terms = ("e", "fr", "fm", "v")
    content = {
        "model": {
            "type": "spin_dp",
            "type_map": list(type_map),
            "descriptor": {
                "type": "spin_se_e2_a",
                "rcut": 4.0,
                "rcut_smth": 1.0,
                "sel": "auto",
                "neuron": [4, 8],
                "axis_neuron": 4,
                "spin_neuron": [4],
                "spin_axis_neuron": 4,
                "seed": 1,
                **(descriptor or {}),
            },
            "fitting_net": {"neuron": [8, 8], "seed": 1},
            "spin": {"use_spin": list(use_spin)},
            **model,
        },
        "learning_rate": {"type": "exp", "start_lr": 1e-3, "stop_lr": 1e-4},
        "loss": {
            "type": "ener_spin",
            **{f"start_pref_{term}": 0.1 if term == "v" else 1 for term in terms},
            **{f"limit_pref_{term}": 0.1 if term == "v" else 1 for term in terms},
        },
        "training": {
            "training_data": {"systems": str(systems), "batch_size": 4},
            "numb_steps": steps,
            "disp_freq": 1,
            "save_freq": 2,
            "seed": 1,
            **(training or {}),
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "input.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="session")
def dp() -> Callable[..., str]:
    """Return the function that runs ``dp --pt`` in a folder and gives its output."""
    return run_dp


@pytest.fixture(scope="session")
def tiny_input() -> Callable[..., Path]:
    """Return the function that writes an ``input.json`` with tiny nets."""
    return write_tiny_input
