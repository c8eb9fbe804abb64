# SPDX-License-Identifier: LGPL-3.0-or-later
"""Trained for two steps and frozen by the real ``dp --pt``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.physics.contract_subject import (
    TYPE_MAP,
    Frames,
    Result,
    first_only,
    only_for,
    requires,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.physics.contract_subject import Subject


class FrozenContract:
    """What ``dp --pt freeze`` writes is what was trained."""

    @requires("freezable")
    @only_for(first_only)
    def test_frozen_is_the_checkpoint(self, subject: Subject, tmp_path: Path) -> None:
        from deepmd.infer import DeepPot

        frames, result = _one_composition(subject)
        _write_system(tmp_path / "data", frames, result)
        content = _input(subject.contract.model_section(subject.variant))
        (tmp_path / "input.json").write_text(json.dumps(content))
        _dp(tmp_path, ["train", "input.json"], ["freeze", "-o", "model.pth"])
        frozen, checkpoint = (
            DeepPot(str(tmp_path / name)).eval(
                frames.positions, frames.cell, frames.types[0], spin=frames.moments
            )
            for name in ("model.pth", "model.ckpt-2.pt")
        )
        for got, expected in zip(frozen, checkpoint, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
        force = checkpoint[1]
        assert force.shape == frames.positions.shape
        assert np.abs(force).max() > 0.0


def _one_composition(subject: Subject) -> tuple[Frames, Result]:
    """Return frames of one composition, and labels: what the model says of them."""
    frames = subject.frames[:4]
    types = np.tile(frames.types[0], (len(frames), 1))
    frames = Frames(frames.positions, frames.cell, types, frames.moments)
    return frames, subject.evaluate(frames)


def _write_system(folder: Path, frames: Frames, result: Result) -> None:
    nf = len(frames)
    (folder / "set.000").mkdir(parents=True)
    (folder / "type_map.raw").write_text("\n".join(TYPE_MAP))
    np.savetxt(folder / "type.raw", frames.types[0], fmt="%d")
    arrays = {
        "coord": frames.positions,
        "box": frames.box,
        "spin": frames.moments,
        "energy": result.energy,
        "force": result.force,
        "force_mag": result.force_mag,
        "virial": result.virial,
    }
    for name, values in arrays.items():
        np.save(folder / "set.000" / f"{name}.npy", values.reshape(nf, -1))


def _input(model: dict[str, Any]) -> dict[str, Any]:
    names = ("e", "fr", "fm", "v")
    weights = {f"{end}_pref_{n}": 1.0 for n in names for end in ("start", "limit")}
    return {
        "model": model,
        "learning_rate": {"type": "exp", "start_lr": 1e-3, "stop_lr": 1e-4},
        "loss": {"type": "ener_spin", **weights},
        "training": {
            "training_data": {"systems": "data", "batch_size": 2},
            "numb_steps": 2,
            "disp_freq": 1,
            "save_freq": 2,
            "seed": 1,
        },
    }


def _dp(folder: Path, *commands: list[str]) -> None:
    """Run ``dp --pt`` commands, in one process: most of each is the start of torch."""
    lines = [f"main(['--pt', *{command!r}])" for command in commands]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(["from deepmd.main import main", *lines])],
        cwd=folder,
        env={**os.environ, "NUM_WORKERS": "0", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
