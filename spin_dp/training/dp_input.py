# SPDX-License-Identifier: LGPL-3.0-or-later
"""The ``input.json`` of a training: settings in, what dp reads out."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spin_dp.data_tools.systems.contents import (
    fewest_in_reach,
    largest_moments,
    shortest_distances,
)
from spin_dp.data_tools.systems.system import DeepmdSystem, find_systems, open_system
from spin_dp.errors import ConfigError
from spin_dp.files import write_text
from spin_dp.spin_states.catalogue import Catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REMARKS = "_spin_dp"
"""Key of ``input.json`` that dp skips, as all that begin with an underscore."""


MOST_IN_MEMORY = 20_000
"""Frames up to which trainings keep their data in memory; so many are read in about a
minute, and take a quarter of a gigabyte with a hundred atoms each."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of one training; the descriptor's are shared by both kinds of model.

    Attributes
    ----------
    steps, batch_size, seed
        Number of steps, dp's rule for frames a batch, seed of weights and batches.
    optimizer
        Name of dp's optimizer. Adam needs twice the rate, trains worse and sometimes
        not at all (docs/descriptor.md).
    start_lr, stop_lr, warmup
        Learning rate, which rises to the first value over as many steps and falls to
        the second along a cosine.
    energy, force, magnetic_force, virial, moment
        Loss prefactors at the start and at the end; the last is that of predicted
        moments.
    cutoff, smooth_from
        Neighbour radius and where the switch begins, Å.
    neuron, axis_neuron, type_embedding
        Embedding net, rows that are contracted, width of the type embedding.
    pair_neuron, spin_neuron, spin_axis_neuron, quad_neuron, quad_axis_neuron
        Pair net, spin rows and quadrupoles; only the spin-aware model has them.
    moment_neuron
        Widths of the net that predicts moments.
    label_share
        Share of the steps in which the model reads the mean moments of the spin states
        instead of converged ones, so that it has an energy of labels, too.
    fitting_neuron
        Widths of the fitting net.
    repulsion
        Whether the spin-aware model has the short-range repulsion.
    precision
        Of the nets, float64 or float32.
    checkpoints
        How many are saved over the training.
    in_memory
        Number of frames up to which the data are read once and kept in memory.
    """

    steps: int = 3000
    batch_size: str = "auto:64"
    seed: int = 1
    optimizer: str = "HybridMuon"
    start_lr: float = 1e-2
    stop_lr: float = 1e-5
    warmup: int = 200
    energy: tuple[float, float] = (1.0, 20.0)
    force: tuple[float, float] = (20.0, 2.0)
    magnetic_force: tuple[float, float] = (1.0, 1.0)
    virial: tuple[float, float] = (0.1, 0.1)
    moment: tuple[float, float] = (1.0, 1.0)
    cutoff: float = 5.0
    smooth_from: float = 1.0
    neuron: tuple[int, ...] = (8, 16, 32)
    axis_neuron: int = 8
    type_embedding: int = 8
    pair_neuron: tuple[int, ...] = (16,)
    spin_neuron: tuple[int, ...] = (8, 16)
    spin_axis_neuron: int = 8
    quad_neuron: tuple[int, ...] = (8, 16)
    quad_axis_neuron: int = 4
    moment_neuron: tuple[int, ...] = (32,)
    label_share: float = 0.5
    fitting_neuron: tuple[int, ...] = (64, 64)
    repulsion: bool = True
    precision: str = "float64"
    checkpoints: int = 10
    in_memory: int = MOST_IN_MEMORY

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"steps must be at least 1; got {self.steps}.")


def write_input(
    path: Path,
    *,
    type_map: Sequence[str],
    training: Path | Sequence[Path],
    validation: Path | Sequence[Path] | None,
    spin_elements: Sequence[str],
    settings: TrainingSettings | None = None,
    remarks: Mapping[str, object] | None = None,
    nets: Mapping[str, object] | None = None,
) -> Path:
    """Write the ``input.json`` of a spin-aware model or of its spin-blind twin.

    The twin is the attention-free DPA-1 descriptor in strip mode: the same form, the
    same widths, no moments. Systems are drawn by their number of frames, so that
    every frame weighs the same however the frames are spread over systems.

    Parameters
    ----------
    path
        The file to write; dp runs in its folder.
    type_map
        Elements of the model, in order.
    training, validation
        Folder with deepmd systems at any depth, or the systems; no validation if None.
    spin_elements
        Elements whose moments the model reads; none of them: the spin-blind twin.
    settings
        Sizes and schedule; the defaults if None.
    remarks
        What else shall be kept in the file, under :data:`REMARKS`; dp skips it.
    nets
        Sections ``descriptor``, ``fitting_net``, ``moment_net`` and ``repulsion``
        instead of those of the settings; None for one of the last two that the model
        shall not have.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    DataError
        If a folder holds no system, or one that cannot be opened.
    ConfigError
        If a spin element is not in the type map.
    """
    settings = settings or TrainingSettings()
    strange = sorted(set(spin_elements) - set(type_map))
    if strange:
        raise ConfigError(
            f"spin elements {', '.join(strange)} are not in the type map "
            f"({', '.join(type_map)}). Add them there or leave them out here."
        )
    systems = _opened(training)
    n_frames = sum(system.n_frames for system in systems)
    data = {"training_data": _drawn(systems, path.parent, settings.batch_size)}
    if validation is not None:
        held_out = _opened(validation)
        n_frames += sum(system.n_frames for system in held_out)
        data["validation_data"] = _drawn(held_out, path.parent, settings.batch_size)
        data["validation_data"]["numb_btch"] = 4
    model = _model(type_map, spin_elements, settings) | dict(nets or {})
    if n_frames <= settings.in_memory:
        model["modifier"] = {"type": "frames_in_memory"}
    if spin_elements:
        cutoff = model["descriptor"].get("rcut", settings.cutoff)
        model["info"] = data_info(systems, float(cutoff))
        if settings.repulsion and "repulsion" not in (nets or {}):
            from spin_dp.model.repulsion import radii_up_to_data  # brings torch

            radii = radii_up_to_data(model["info"]["shortest"])
            model["repulsion"] = {"radii": radii} if radii else {}
    have_guess = all("initial_spin" in system.labels for system in systems)
    if spin_elements and "moment_net" not in model and have_guess:
        neuron = list(settings.moment_neuron)
        model["moment_net"] = {"neuron": neuron, "seed": settings.seed}
    for name in ("moment_net", "repulsion"):
        if model.get(name) is None:
            model.pop(name, None)
    learns_moments = "moment_net" in model
    if learns_moments:
        model["info"]["label_share"] = settings.label_share
    content = {
        **({REMARKS: dict(remarks)} if remarks else {}),
        "model": model,
        "loss": _loss(spin_elements, settings, learns_moments=learns_moments),
        "optimizer": _optimizer(settings),
        "learning_rate": {
            "type": "cosine",
            "start_lr": settings.start_lr,
            "stop_lr": settings.stop_lr,
            "warmup_steps": min(settings.warmup, settings.steps // 10),
        },
        "training": {
            **data,
            "numb_steps": settings.steps,
            "seed": settings.seed,
            "disp_file": "lcurve.out",
            "disp_freq": max(1, settings.steps // 100),
            "save_freq": max(1, settings.steps // settings.checkpoints),
            "max_ckpt_keep": 3,
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=2) + "\n")
    return path


def _model(
    type_map: Sequence[str], spin_elements: Sequence[str], settings: TrainingSettings
) -> dict[str, Any]:
    descriptor: dict[str, Any] = {
        "type": "dpa1",
        "rcut": settings.cutoff,
        "rcut_smth": settings.smooth_from,
        "sel": "auto",
        "neuron": list(settings.neuron),
        "axis_neuron": settings.axis_neuron,
        "tebd_dim": settings.type_embedding,
        "precision": settings.precision,
        "seed": settings.seed,
    }
    model: dict[str, Any] = {
        "type_map": list(type_map),
        "descriptor": descriptor,
        "fitting_net": {
            "neuron": list(settings.fitting_neuron),
            "resnet_dt": True,
            "precision": settings.precision,
            "seed": settings.seed,
        },
    }
    if not spin_elements:
        descriptor |= {"attn_layer": 0, "tebd_input_mode": "strip"}
        return model
    descriptor |= {
        "type": "spin_se_e2_a",
        "pair_neuron": list(settings.pair_neuron),
        "spin_neuron": list(settings.spin_neuron),
        "spin_axis_neuron": settings.spin_axis_neuron,
        "quad_neuron": list(settings.quad_neuron),
        "quad_axis_neuron": settings.quad_axis_neuron,
    }
    return {"type": "spin_dp", **model, "spin": {"use_spin": list(spin_elements)}}


def _loss(
    spin_elements: Sequence[str], settings: TrainingSettings, *, learns_moments: bool
) -> dict[str, Any]:
    prefactors = {"e": settings.energy, "v": settings.virial}
    if spin_elements:
        prefactors |= {"fr": settings.force, "fm": settings.magnetic_force}
    else:
        prefactors |= {"f": settings.force}
    if learns_moments:
        prefactors |= {"m": settings.moment}
    kind = "ener_spin" if spin_elements else "ener"
    loss: dict[str, Any] = {"type": "spin_dp" if learns_moments else kind}
    if learns_moments:
        loss["label_share"] = settings.label_share
    for name, (start, limit) in prefactors.items():
        loss |= {f"start_pref_{name}": start, f"limit_pref_{name}": limit}
    return loss


def _optimizer(settings: TrainingSettings) -> dict[str, Any]:
    if settings.optimizer != "HybridMuon":
        return {"type": settings.optimizer}
    # The other orthogonalisation compiles for half a minute and is no faster on a CPU.
    return {"type": "HybridMuon", "enable_gram": False}


def data_info(systems: Sequence[DeepmdSystem], cutoff: float) -> dict[str, Any]:
    """Return what a model shall remember of the data that it is trained on.

    Parameters
    ----------
    systems
        The training data.
    cutoff
        Of the model, Å.

    Returns
    -------
    dict
        For section ``info`` of the model: ``moment_labels`` (``dft`` or ``nominal``),
        ``states`` (records of :class:`spin_dp.spin_states.catalogue.SpinState`),
        ``largest`` (moment of each element, μB), ``shortest`` (distance of each pair
        of elements that touch, Å) and ``fewest`` (neighbours within the cutoff of an
        atom of each element).
    """
    notes = [system.note for system in systems]
    labels = {note.labels for note in notes if note.labels}
    return {
        "moment_labels": ", ".join(sorted(labels)),
        "states": Catalogue.joined([note.states for note in notes]).records(),
        "largest": {
            element: round(moment, 4)
            for element, moment in largest_moments(systems).items()
        },
        "shortest": {
            pair: round(distance, 3)
            for pair, distance in shortest_distances(systems).items()
        },
        "fewest": fewest_in_reach(systems, cutoff),
    }


def _opened(data: Path | Sequence[Path]) -> list[DeepmdSystem]:
    folders = find_systems(data) if isinstance(data, Path) else data
    return [open_system(folder) for folder in folders]


def _drawn(
    systems: Sequence[DeepmdSystem], relative_to: Path, batch_size: str
) -> dict[str, Any]:
    """Return the section of systems that are drawn by their number of frames."""
    total, here = sum(system.n_frames for system in systems), relative_to.resolve()
    return {
        "systems": [os.path.relpath(s.folder.resolve(), here) for s in systems],
        "batch_size": batch_size,
        "sys_probs": [system.n_frames / total for system in systems],
    }
