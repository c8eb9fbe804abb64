# SPDX-License-Identifier: LGPL-3.0-or-later
"""Predictions of trained models on held-out frames, from their checkpoints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.accuracy.species import Sites, frames_of, read_sites
from spin_dp import evaluation
from spin_dp.evaluation import (
    LabelledSystem,
    evaluate,
    model_columns,
    read_systems,
)
from spin_dp.files import replacing, write_text
from spin_dp.inference.engines import Predicted
from spin_dp.inference.potential import Potential

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.accuracy.dp import Training
    from benchmarks.accuracy.model import Model

NAME = "model"
"""What the model is called in the columns of ``frames.csv``."""

FRAMES, RECORD = "frames.csv", "run.json"


def evaluate_training(training: Training, model: Model, data: Path) -> None:
    """Write ``frames.csv`` and ``run.json`` of a finished training."""
    checkpoint = training.checkpoint()
    table = training.folder / FRAMES
    if table.is_file() and table.stat().st_mtime > checkpoint.stat().st_mtime:
        return
    frames = predict_frames(checkpoint, model, data)
    record = {"parameters": count_parameters(checkpoint)}
    write_text(training.folder / RECORD, json.dumps(record, indent=2) + "\n")
    with replacing(table) as part:
        frames.to_csv(part, index=False)


def predict_frames(checkpoint: Path, model: Model, data: Path) -> pd.DataFrame:
    """Return the table of :func:`spin_dp.evaluation.evaluate` of one model."""
    potential = Potential(checkpoint)
    sites = read_sites(data) if model.states else None
    systems = read_systems(data, "validation")
    parts = []
    for system in systems:
        predicted = predict(potential, system, sites)
        columns = {
            "system": system.name,
            "index": np.arange(len(system.energies)),
            **model_columns(NAME, predicted, system),
            "metals": len(system.metals),
            f"magnetic_{NAME}": np.nan,
        }
        if predicted.magnetic_forces is not None:
            slopes = predicted.magnetic_forces[:, system.metals]
            columns[f"magnetic_{NAME}"] = np.sqrt(
                np.square(slopes).sum(axis=2).mean(axis=1)
            )
        parts.append(pd.DataFrame(columns))
    manifest = pd.read_csv(data / "manifest.csv", keep_default_na=False)
    frames = evaluate({}, systems, manifest)
    return frames.merge(pd.concat(parts), on=["system", "index"], validate="1:1")


def predict(
    potential: Potential, system: LabelledSystem, sites: Sites | None
) -> Predicted:
    """Return the predictions for a system, with types for spin states if given."""
    if sites is None:
        return evaluation.predict(potential, system)
    parts = [evaluation.predict(potential, frame) for frame in frames_of(system, sites)]
    return Predicted(
        energies=np.concatenate([part.energies for part in parts]),
        forces=np.concatenate([part.forces for part in parts]),
        virials=np.concatenate([part.virials for part in parts]),
        magnetic_forces=None,
    )


def count_parameters(checkpoint: Path) -> int:
    """Return the number of trainable parameters of a checkpoint."""
    from deepmd.infer import DeepPot  # heavy: brings torch

    evaluator = DeepPot(str(checkpoint)).deep_eval
    module = evaluator.dp if hasattr(evaluator, "dp") else evaluator._dpmodel
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
