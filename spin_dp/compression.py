# SPDX-License-Identifier: LGPL-3.0-or-later
"""Compressed models: radial nets as tables, slopes by hand, single precision.

What ``dp --pt compress`` does, with a choice of precision and a check on frames.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.errors import ConfigError, DataError
from spin_dp.files import replacing
from spin_dp.model_file import load_frozen

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import torch

PRECISIONS = ("float32", "float64")


@dataclass(frozen=True)
class Deviation:
    """Largest differences between a compressed model and the one it was made from.

    Attributes
    ----------
    frames
        Number of frames compared.
    energy, force, magnetic_force
        meV/atom, eV/Å, eV/μB.
    """

    frames: int
    energy: float
    force: float
    magnetic_force: float


def compress(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    precision: str = "float32",
) -> Path:
    """Write the compressed form of a frozen model.

    Parameters
    ----------
    model
        A ``.pth`` file of ``dp --pt freeze``.
    output
        The file to write; ``NAME.compressed.pth`` beside ``NAME.pth`` if None.
    precision
        ``float32`` or ``float64``: of tables and nets. Distances are taken and forces
        added up in float64 in either case.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    DataError
        If ``model`` is no frozen Deep Potential.
    ConfigError
        If it is not of type ``spin_dp``, or compressed already, or does not know the
        shortest distance of its training data; if the precision is unknown.
    """
    path = Path(model)
    beside = path.with_suffix(f".compressed{path.suffix}")
    target = beside if output is None else Path(output)
    if precision not in PRECISIONS:
        raise ConfigError(
            f"precision must be {' or '.join(PRECISIONS)}; got {precision!r}."
        )
    if not target.parent.is_dir():
        raise DataError(f"{target.parent}: no such folder; make it first.")
    frozen, _ = load_frozen(path)
    section = _model_section(path, frozen)
    import torch
    from deepmd.pt.model.model import get_model

    for part in ("descriptor", "fitting_net"):
        section[part] = {**section.get(part, {}), "precision": precision}
    made = get_model(section)
    made.load_state_dict(frozen.state_dict())
    made.eval()
    made.enable_compression()
    with replacing(target) as part_file:
        torch.jit.save(torch.jit.script(made), str(part_file))
    return target


def _model_section(path: Path, frozen: torch.jit.ScriptModule) -> dict[str, Any]:
    """Return the model section of the training input that a frozen model records."""
    has_record = hasattr(frozen, "get_model_def_script")
    text = str(frozen.get_model_def_script()) if has_record else ""
    section: dict[str, Any] = json.loads(text or "{}")
    if section.get("type") != "spin_dp":
        raise ConfigError(
            f"{path}: expected a model of type 'spin_dp', got "
            f"{section.get('type', 'one without a record of its type')!r}; compress it "
            "with `dp --pt compress`."
        )
    if any(name.endswith("core.table.values") for name in frozen.state_dict()):
        raise ConfigError(
            f"{path}: compressed already; compress the frozen model it was made from."
        )
    return section


def compare(
    model: str | os.PathLike[str],
    compressed: str | os.PathLike[str],
    data: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Deviation:
    """Compare two models on frames, validation frames where there are some.

    Parameters
    ----------
    model, compressed
        Model files of deepmd-kit.
    data
        A result of ``spin-dp collect``.
    progress
        Called with systems done and their total number.

    Raises
    ------
    DataError
        If a model or the data cannot be read.
    """
    from spin_dp.evaluation import Potential, read_systems

    split = "validation" if (data / "validation").is_dir() else "training"
    systems = read_systems(data, split)
    first, second = Potential(model), Potential(compressed)
    frames, energy, force, magnetic_force = 0, 0.0, 0.0, 0.0
    for done, system in enumerate(systems, 1):
        a, b = first.predict(system), second.predict(system)
        frames += len(a.energies)
        per_atom = np.abs(a.energies - b.energies).max() / len(system.symbols)
        energy = max(energy, 1e3 * float(per_atom))
        force = max(force, float(np.abs(a.forces - b.forces).max()))
        if a.magnetic_forces is not None and b.magnetic_forces is not None:
            difference = np.abs(a.magnetic_forces - b.magnetic_forces).max()
            magnetic_force = max(magnetic_force, float(difference))
        if progress is not None:
            progress(done, len(systems))
    return Deviation(frames, energy, force, magnetic_force)
