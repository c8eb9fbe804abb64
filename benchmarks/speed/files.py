# SPDX-License-Identifier: LGPL-3.0-or-later
"""Model files to be timed: one training step on real frames, then every form.

What a model has learned does not change the time of a step.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.forms import FROZEN, exported, fast_form
from spin_dp.data_tools import Rules, collect, merge_systems
from spin_dp.errors import BackendError
from spin_dp.training.program import run_dp

if TYPE_CHECKING:
    from benchmarks.speed.peers import Kind, Peer

FRAMES = Path(__file__).parents[2] / "examples" / "gpaw" / "NiO2_3.extxyz"


def training_systems(folder: Path) -> list[str]:
    """Collect and merge the shipped frames of NiO2; return the systems."""
    collect([FRAMES], folder / "data", rules=Rules(stationary_moments=True))
    merge_systems(folder / "data" / "training", folder / "merged", fill=False)
    return [str(f.parent) for f in sorted((folder / "merged").rglob("type_map.raw"))]


def model_file(peer: Peer, kind: Kind, folder: Path) -> Path:
    """Return a model file in a folder of the model's own, made where it is missing.

    BackendError if it cannot be made, at once where that was tried before.
    """
    made, failure = folder / f"{kind}.path", folder / f"{kind}.failed"
    if made.is_file():
        return Path(made.read_text())
    if failure.is_file():  # some take minutes to fail
        raise BackendError(failure.read_text())
    try:
        file = _make(peer, kind, folder)
    except BackendError as error:
        failure.write_text(str(error))
        raise
    made.write_text(str(file))
    return file


def _make(peer: Peer, kind: Kind, folder: Path) -> Path:
    if peer.backend == "--pt-expt":  # freezes to machine code
        _train(peer, folder)
        return exported(folder)
    if kind == FROZEN:
        _train(peer, folder)
        file = folder / "model.pth"
        _dp(peer, folder, "freeze", "-o", file.name)
        return file
    return fast_form(model_file(peer, FROZEN, folder), kind)


def _train(peer: Peer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "model": peer.section,
        "loss": {"type": "ener_spin" if peer.moments else "ener"},
        "learning_rate": {"start_lr": 1e-6, "stop_lr": 1e-7},
        "training": {
            "training_data": {
                "systems": training_systems(folder.parent / "frames"),
                "batch_size": 1,
            },
            "numb_steps": 1,
            "seed": 1,
        },
    }
    (folder / "input.json").write_text(json.dumps(content, indent=2))
    _dp(peer, folder, "train", "input.json")


def _dp(peer: Peer, folder: Path, *arguments: str) -> None:
    run_dp(*arguments, threads=1, backend=peer.backend, folder=folder)
