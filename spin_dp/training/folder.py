# SPDX-License-Identifier: LGPL-3.0-or-later
"""A folder to train in: ``input.json`` filled in from collected frames."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from spin_dp.data_tools.collection.output_folder import MANIFEST
from spin_dp.data_tools.systems.merging import merge_systems
from spin_dp.data_tools.systems.system import TRAINING, VALIDATION
from spin_dp.errors import ConfigError, unknown
from spin_dp.training.data import TrainingData, look_through
from spin_dp.training.dp_input import TrainingSettings, write_input
from spin_dp.training.parent import PARENT, read_parent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from spin_dp.pretrained import ModelName
    from spin_dp.training.parent import Parent

INPUT = "input.json"
SYSTEMS = "systems"
MOMENT_THRESHOLD = 0.1
"""Elements with a moment above this in some training frame are magnetic, μB: metals,
and oxygen where it carries part of the moment."""

PASSES = 20
"""Times that each frame is seen at least."""
MOST_STEPS = 1_000_000
FINE_TUNING_LR = 1e-3
"""Largest learning rate that a trained model is started with."""

FRAMES_A_BATCH = 4
"""So many frames of the average cell make a batch at least: one frame is one state."""

SIZES: Mapping[str, Mapping[str, Any]] = {
    "small": {},
    "medium": {
        "neuron": (16, 32, 64),
        "axis_neuron": 8,
        "spin_neuron": (16, 32),
        "pair_neuron": (32,),
        "fitting_neuron": (128, 128, 128),
        "start_lr": 5e-3,
    },
    "large": {
        "neuron": (25, 50, 100),
        "axis_neuron": 16,
        "spin_neuron": (16, 32),
        "pair_neuron": (32, 32),
        "fitting_neuron": (240, 240, 240),
        "start_lr": 2e-3,
    },
}
"""What each size changes in :class:`spin_dp.training.dp_input.TrainingSettings`."""


@dataclass(frozen=True, eq=False)
class TrainingFolder:
    """What :func:`make_training_folder` made.

    Attributes
    ----------
    input_json
        The file written.
    data
        What was found in the data.
    spin_elements
        Elements whose moments the model reads; none of the spin-blind twin.
    settings
        Sizes and schedule.
    systems
        Systems that are trained on.
    passes
        Times that each training frame is seen, on average.
    """

    input_json: Path
    data: TrainingData
    spin_elements: Sequence[str]
    settings: TrainingSettings
    systems: Sequence[Path]
    passes: float


def make_training_folder(
    data: Path,
    folder: Path,
    *,
    settings: TrainingSettings | None = None,
    steps: int | None = None,
    batch_size: str | None = None,
    magnetic: Sequence[str] | None = None,
    threshold: float = MOMENT_THRESHOLD,
    level: str | None = None,
    blind: bool = False,
    like: ModelName | None = None,
    merge: bool = True,
    force: bool = False,
) -> TrainingFolder:
    """Write ``input.json`` for ``dp --pt train``, and the systems merged for it.

    Parameters
    ----------
    data
        A result of ``spin-dp collect``, ``select`` or ``merge``.
    folder
        Folder to train in.
    settings
        Sizes, schedule and seed; the defaults if None. Its steps and batch size are
        the least; more data and larger cells raise them.
    steps, batch_size
        Instead of those from the amount of data; the batch size as dp has it, a number
        of frames or ``auto:N`` for at least N atoms.
    magnetic
        Elements whose moments the model reads; found by ``threshold`` if None.
    threshold
        Elements with a larger moment in some training frame are magnetic, μB.
    level
        Level of theory, where the data hold some that must not be mixed.
    blind
        Write the spin-blind twin: the same without moments.
    like
        Model to fine-tune: a checkpoint, a frozen model or the name of a shipped one.
        The new model has its nets and repulsion, the learning rate starts lower, and
        the folder keeps its weights as ``parent.pt``, from which training then starts.
    merge
        Merge the systems into ``folder/systems`` so that a batch mixes spin states;
        merged ones are taken as they are.
    force
        Replace an older ``input.json``.

    Returns
    -------
    TrainingFolder
        The file and what it was made of.

    Raises
    ------
    DataError
        If there is no system, or systems do not fit together.
    ConfigError
        If ``input.json`` exists, no element is magnetic or one is unknown, or levels
        of theory must not be mixed.
    """
    path = folder / INPUT
    if path.exists() and not force:
        raise ConfigError(
            f"{path} exists; give --force to replace it, or another folder."
        )
    usable = look_through(data, level)
    parent = None if like is None else read_parent(like)
    nets = None if parent is None else _nets(parent, blind=blind)
    elements = [] if blind else _spin_elements(usable, magnetic, threshold, parent)
    settings = settings or TrainingSettings()
    settings = replace(
        settings, batch_size=batch_size or _batch_size(usable, settings.batch_size)
    )
    if parent is not None:
        settings = replace(settings, start_lr=min(settings.start_lr, FINE_TUNING_LR))
    a_pass = batches_a_pass(usable, settings.batch_size)
    settings = replace(settings, steps=steps or _steps(a_pass, settings.steps))
    folder.mkdir(parents=True, exist_ok=True)
    if merge and not usable.is_merged:
        merge_systems(usable.folder, folder / SYSTEMS, levels=usable.levels)
        systems = look_through(folder / SYSTEMS)
    else:
        systems = usable
    validation = [system.folder for system in systems.of(VALIDATION)]
    write_input(
        path,
        type_map=usable.type_map,
        training=[system.folder for system in systems.of(TRAINING)],
        validation=validation or None,
        spin_elements=elements,
        settings=settings,
        remarks={
            **_remarks(usable, folder),
            **({} if parent is None else _remember(parent, folder)),
        },
        nets=nets,
    )
    return TrainingFolder(
        input_json=path,
        data=usable,
        spin_elements=elements,
        settings=settings,
        systems=[system.folder for system in systems.of(TRAINING)],
        passes=settings.steps / a_pass,
    )


def batches_a_pass(data: TrainingData, batch_size: str) -> float:
    """Return how many batches it takes to see each training frame once.

    Parameters
    ----------
    data
        The data.
    batch_size
        As dp has it: a number of frames or ``auto:N``.

    Returns
    -------
    float
        Batches, at least 1.

    Raises
    ------
    ConfigError
        If the batch size is neither.
    """
    kind, _, number = batch_size.rpartition(":")
    if kind not in ("", "auto") or not number.isdecimal() or int(number) < 1:
        raise ConfigError(
            "batch size: expected a number of frames, e.g. 4, or auto:N for at least N "
            f"atoms, e.g. auto:32; got {batch_size!r}."
        )
    batches = 0.0
    for system in data.of(TRAINING):
        per_frame = sum(system.atoms.values()) / max(system.frames, 1)
        size = int(number) if not kind else max(1.0, -(-int(number) // per_frame))
        batches += system.frames / size
    return max(batches, 1.0)


def _batch_size(data: TrainingData, least: str) -> str:
    kind, _, number = least.rpartition(":")
    if kind != "auto" or not number.isdecimal():
        return least
    per_frame = sum(data.atoms().values()) / max(data.frames(TRAINING), 1)
    return f"auto:{max(int(number), round(FRAMES_A_BATCH * per_frame))}"


def _steps(a_pass: float, least: int) -> int:
    """Return steps for the amount of data, in round numbers."""
    wanted = min(PASSES * a_pass, MOST_STEPS)
    if wanted <= least:
        return least
    unit = int(10 ** (len(str(int(wanted))) - 2))
    return int(-(-wanted // unit)) * unit


def _spin_elements(
    data: TrainingData,
    magnetic: Sequence[str] | None,
    threshold: float,
    parent: Parent | None,
) -> list[str]:
    if not all(system.largest for system in data.of(TRAINING)):
        missing = next(s.folder for s in data.of(TRAINING) if not s.largest)
        raise ConfigError(
            f"{missing}: no spin.npy, so there are no moments to train on; collect it "
            "with moments, or write a spin-blind model with --blind."
        )
    if magnetic is not None:
        for element in magnetic:
            if element not in data.type_map:
                raise unknown("element in --magnetic", element, data.type_map)
        elements = [name for name in data.type_map if name in magnetic]
    else:
        elements = data.magnetic_elements(threshold)
        if parent is not None:
            elements = parent.spin_elements(list(data.type_map), elements)
    if not elements:
        raise ConfigError(
            f"{data.folder}: no element has a moment above {threshold:g} μB in any "
            "training frame; name the magnetic elements with --magnetic, or write a "
            "spin-blind model with --blind."
        )
    return elements


def _remarks(data: TrainingData, folder: Path) -> dict[str, object]:
    """Return where the frames of known spin states are, for ``spin-dp train``."""
    if not (data.folder / MANIFEST).is_file():
        return {}
    place = os.path.relpath(data.folder.resolve(), folder.resolve())
    return {"data": place, **({"levels": data.levels} if data.others else {})}


def _nets(parent: Parent, *, blind: bool) -> dict[str, Any]:
    """Return the sections that a fine-tuned model keeps; one it lacks is None."""
    if parent.reads_moments == blind:
        raise ConfigError(
            f"{parent.name}: a spin-{'aware' if parent.reads_moments else 'blind'} "
            f"model, asked for a spin-{'blind' if blind else 'aware'} one; neither can "
            "start from the other."
        )
    nets = {name: dict(parent.params[name]) for name in ("descriptor", "fitting_net")}
    if blind:
        return nets
    kept = ("moment_net", "repulsion")
    return nets | {name: parent.params.get(name) for name in kept}


def _remember(parent: Parent, folder: Path) -> dict[str, object]:
    """Write the checkpoint to start from; return what the input says of it."""
    digest = parent.write(folder / PARENT)
    return {"parent": {"file": PARENT, "of": parent.name, "sha256": digest}}
