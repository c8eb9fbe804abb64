# SPDX-License-Identifier: LGPL-3.0-or-later
"""The input of one training: every model gets the same frames, batches and schedule.

All inputs are written by :func:`spin_dp.training.write_input`; then the section of the
model is exchanged.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from spin_dp.errors import ConfigError
from spin_dp.files import write_text
from spin_dp.training.dp_input import TrainingSettings, write_input

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.accuracy.model import Model

WEIGHTS: dict[str, dict[str, Any]] = {
    # Those of deepmd-kit's energy and spin examples.
    "documented": {
        "energy": (0.02, 1.0),
        "force": (1000.0, 1.0),
        "magnetic_force": (1000.0, 1.0),
        "virial": (0.0, 0.0),
    },
    "ours": {},
}
"""Loss prefactors at the start and at the end; ``ours`` are the defaults of spin-dp."""

OPTIMIZERS = (
    ("Adam", 1e-3),
    ("Adam", 1e-2),
    ("HybridMuon", 2e-3),
    ("HybridMuon", 1e-2),
)
"""Names of dp's optimizers with start learning rates, as they are tried."""

BATCH_UNFILLED = "auto:40"
"""Frames a batch of systems that are not filled up: the 40 atoms that the default
``auto:64`` has on average where places without an atom count."""

TUNED = Path(__file__).with_name("tuned.json")


class Choice(NamedTuple):
    """What is tuned: a key of ``WEIGHTS``, optimizer and start learning rate."""

    weights: str
    optimizer: str
    start_lr: float


def read_tuned(path: Path = TUNED) -> dict[str, Choice]:
    """Return the choice for each tuned model; ConfigError for a file that is none."""
    if not path.is_file():
        return {}
    try:
        rows = json.loads(path.read_text())
        chosen = {
            n: Choice(r["weights"], r["optimizer"], float(r["start_lr"]))
            for n, r in rows.items()
        }
        unknown = {choice.weights for choice in chosen.values()} - WEIGHTS.keys()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{path}: expected weights, optimizer and start_lr by model "
            f"({error!r}); run `tune`."
        ) from error
    if unknown:
        raise ConfigError(
            f"{path}: unknown weights {unknown.pop()!r}; known: {', '.join(WEIGHTS)}."
        )
    return chosen


def choice_of(model: Model, tuned: Mapping[str, Choice]) -> Choice:
    """Return the tuned choice of a model, or the one it is registered with."""
    own = Choice(model.weights, model.optimizer, model.start_lr)
    return tuned.get(model.name, own)


def write_training(
    path: Path,
    model: Model,
    training: Path,
    *,
    steps: int,
    seed: int,
    choice: Choice,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Write ``input.json`` of one training; a file of this content is left alone.

    ``training`` has the merged systems; ``changes`` are merged into the input last.
    """
    settings = replace(TrainingSettings(), **WEIGHTS[choice.weights], **model.settings)
    settings = replace(settings, steps=steps, seed=seed)
    settings = replace(settings, optimizer=choice.optimizer, start_lr=choice.start_lr)
    if model.backend != "--pt":  # keeps its data in memory anyway
        settings = replace(settings, in_memory=0)
    if not model.fill:
        settings = replace(settings, batch_size=BATCH_UNFILLED)
    type_map = next(training.rglob("type_map.raw")).read_text().split()
    part = path.with_name("input.part.json")
    write_input(
        part,
        type_map=type_map,
        training=training,
        validation=None,
        spin_elements=[
            e for e in model.spin_elements if e in type_map and model.moments
        ],
        settings=settings,
    )
    content = json.loads(part.read_text())
    part.unlink()
    if model.section is not None:
        reading = {k: v for k, v in content["model"].items() if k == "modifier"}
        content["model"] = {**model.section(type_map, settings), **reading}
        if model.moments:  # stock models predict none
            kept = {k: v for k, v in content["loss"].items() if not k.endswith("_m")}
            content["loss"] = {**kept, "type": "ener_spin"}
    content = merged(merged(content, model.overrides), changes or {})
    text = json.dumps(content, indent=2) + "\n"
    if not path.is_file() or path.read_text() != text:
        write_text(path, text)


def merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested sections with changes: sections merge, other values replace."""
    result = dict(content)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result
