# SPDX-License-Identifier: LGPL-3.0-or-later
"""The frames: collected once per split, merged so that batches hold many states.

deepmd-kit draws a batch from one system. Merged ``mixed_type`` systems, made for models
of mixed types, serve all models here: with ``dp --pt``, ``se_e2_a`` and DeepSPIN give
every frame of such a batch the energy and forces that it has alone, too.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.accuracy.species import write_states
from spin_dp.data_tools import Rules, collect, merge_systems

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.accuracy.model import Model

VALIDATION = 0.2


@dataclass(frozen=True)
class Dataset:
    """One split of the frames.

    Attributes
    ----------
    frames
        Folder of ``spin-dp collect``, training and held-out frames.
    elements, states
        Merged training systems whose types are elements, or spin states of elements.
    """

    frames: Path
    elements: Path
    states: Path

    def training(self, model: Model) -> Path:
        """Return the training systems for a model."""
        return self.states if model.states else self.elements


def prepare(source: Path, out: Path, *, seed: int) -> Dataset:
    """Collect frames, whole geometries held out, and merge the training systems."""
    frames = out / "frames"
    found = Dataset(frames, out / "elements", out / "states")
    rules = Rules(validation=VALIDATION, seed=seed, stationary_moments=True)
    collect([source], frames, rules=rules)
    merge_systems(frames / "training", found.elements)
    apart = out / "apart"
    shutil.rmtree(apart, ignore_errors=True)
    write_states(frames, apart)
    merge_systems(apart, found.states)
    return found
