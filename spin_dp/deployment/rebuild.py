# SPDX-License-Identifier: LGPL-3.0-or-later
"""From a frozen model back to one that can be changed: compressed, in a precision."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from spin_dp.errors import ConfigError, DataError
from spin_dp.model_file import load_frozen

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from spin_dp.model.energy import SpinEnergyModel

PRECISIONS = ("float32", "float64")


def compressed_model(path: Path, precision: str) -> SpinEnergyModel:
    """Return the compressed form of a frozen model.

    Parameters
    ----------
    path
        A ``.pth`` file of ``dp --pt freeze``.
    precision
        ``float32`` or ``float64``: of tables and nets.

    Raises
    ------
    DataError
        If the file is no frozen Deep Potential.
    ConfigError
        If it is not of type ``spin_dp``, or compressed already, or does not know the
        shortest distance of its training data; if the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise ConfigError(
            f"precision must be {' or '.join(PRECISIONS)}; got {precision!r}."
        )
    frozen, _ = load_frozen(path)
    section = _model_section(path, frozen)
    from deepmd.pt.model.model import get_model

    for part in ("descriptor", "fitting_net"):
        section[part] = {**section.get(part, {}), "precision": precision}
    made: SpinEnergyModel = get_model(section)
    made.load_state_dict(frozen.state_dict())
    made.eval()
    made.enable_compression()
    return made


def require_folder(target: Path) -> None:
    """Refuse a file to be written where there is no folder, before the work is done.

    Raises
    ------
    DataError
        If there is none.
    """
    if not target.parent.is_dir():
        raise DataError(f"{target.parent}: no such folder; make it first.")


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
