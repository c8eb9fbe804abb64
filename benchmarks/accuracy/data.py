# SPDX-License-Identifier: LGPL-3.0-or-later
"""The frames: collected once per split, merged so that batches hold many states.

deepmd-kit draws a batch from one system. Merged ``mixed_type`` systems, made for models
of mixed types, serve all models here: with ``dp --pt``, ``se_e2_a`` and DeepSPIN give
every frame of such a batch the energy and forces that it has alone, too. Only the
models of this package get systems filled up across sizes of cells: DPA4C refuses them,
and the other stock models spend time on places without an atom.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.accuracy.species import write_states
from spin_dp.data_tools import Rules, collect, merge_systems
from spin_dp.demo.origins import RATTLED

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
    merged
        Folder of merged training systems: types are elements or spin states, one system
        for each size of cell or filled up.
    """

    frames: Path
    merged: Path

    def training(self, model: Model) -> Path:
        """Return the training systems for a model."""
        return self.of(states=model.states, fill=model.fill)

    def of(self, *, states: bool, fill: bool) -> Path:
        """Return merged systems: types are spin states or not, filled up or not."""
        kind = "states" if states else "elements"
        return self.merged / (f"{kind}-filled" if fill else kind)


def compared_frames(source: Path) -> list[Path]:
    """Return the files of the systems that all results stand on.

    The folder of shipped frames grows; a folder without these systems is taken whole.
    """
    files = [source / f"{name}.extxyz" for name in RATTLED]
    return [path for path in files if path.is_file()] or [source]


def prepare(source: Path, out: Path, *, seed: int) -> Dataset:
    """Collect frames, whole geometries held out, and merge the training systems."""
    frames, apart = out / "frames", out / "apart"
    found = Dataset(frames, out / "merged")
    rules = Rules(validation=VALIDATION, seed=seed, stationary_moments=True)
    collect(compared_frames(source), frames, rules=rules)
    shutil.rmtree(apart, ignore_errors=True)
    write_states(frames, apart)
    found.merged.mkdir(exist_ok=True)
    for states, systems in ((False, frames / "training"), (True, apart)):
        for fill in (False, True):
            merge_systems(systems, found.of(states=states, fill=fill), fill=fill)
    return found
