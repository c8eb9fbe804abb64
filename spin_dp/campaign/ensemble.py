# SPDX-License-Identifier: LGPL-3.0-or-later
"""The models of a generation: trained side by side, each from its own seed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from spin_dp.data_tools.systems.merging import merge_systems
from spin_dp.deployment import compress
from spin_dp.training.data import look_through
from spin_dp.training.dp_input import TrainingSettings
from spin_dp.training.folder import SIZES, make_training_folder
from spin_dp.training.run import INPUT, train_together

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spin_dp.campaign.settings import Training
    from spin_dp.training import Progress

_LATER = 1 / 3  # of the steps that a training from nothing takes


def train_ensemble(
    data: Path,
    folder: Path,
    settings: Training,
    *,
    seed: int = 1,
    parents: Sequence[Path] = (),
    progress: Progress | None = None,
) -> list[Path]:
    """Train the models of an ensemble, or go on with them where they were stopped.

    Parameters
    ----------
    data
        Result of ``spin-dp collect``.
    folder
        Gets ``systems``, merged for all, and a folder to train in for each model.
    settings
        Number of models, sizes, steps.
    seed
        Of the first model; the next ones have the next numbers.
    parents
        Models that these go on from, in turn; random weights if none.
    progress
        See :func:`spin_dp.training.train_together`.

    Returns
    -------
    list of Path
        The frozen model of each.

    Raises
    ------
    DataError, ConfigError
        If the data cannot be trained on together or do not fit the parents.
    BackendError
        If dp fails.
    """
    systems = folder / "systems"
    usable = look_through(data)
    if not systems.exists():
        merge_systems(data, systems, levels=usable.levels)
    inputs: dict[str, Path] = {}
    for number in range(settings.models):
        name = f"model-{number}"
        inputs[name] = folder / name / INPUT
        parent = parents[number % len(parents)] if parents else None
        if not inputs[name].exists():
            _make_input(systems, folder / name, settings, seed + number, parent)
    models = train_together(
        inputs,
        threads=settings.threads,
        at_once=settings.at_once,
        progress=progress,
    )
    return list(models.values())


def fast_forms(models: Sequence[Path]) -> list[Path]:
    """Return the compressed form of each model, made where it is missing."""
    made = []
    for model in models:
        target = model.with_name("model.compressed.pth")
        is_new = target.exists() and target.stat().st_mtime >= model.stat().st_mtime
        made.append(target if is_new else compress(model, target))
    return made


def _make_input(
    systems: Path, folder: Path, settings: Training, seed: int, parent: Path | None
) -> None:
    training = TrainingSettings(**{**SIZES[settings.size], "seed": seed})
    steps = settings.steps
    if parent is not None:
        steps = settings.later_steps
        if steps is None:
            training = replace(training, steps=round(_LATER * training.steps))
    make_training_folder(systems, folder, settings=training, steps=steps, like=parent)
