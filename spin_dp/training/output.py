# SPDX-License-Identifier: LGPL-3.0-or-later
"""What ``dp --pt train`` leaves: checkpoints and the learning curve."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CURVE = "lcurve.out"
_NAME = re.compile(r"model\.ckpt-\d+\.pt")


def checkpoint_files(folder: Path) -> dict[int, Path]:
    """Return the files ``model.ckpt-STEP.pt`` by step, complete or not, in order."""
    files = folder.glob("model.ckpt-*.pt")
    return dict(sorted((step_of(f), f) for f in files if _NAME.fullmatch(f.name)))


def checkpoints(folder: Path) -> dict[int, Path]:
    """Return the complete checkpoints in a folder.

    Parameters
    ----------
    folder
        Where dp trains.

    Returns
    -------
    dict
        Path of ``model.ckpt-STEP.pt`` by step, in order.
    """
    files = checkpoint_files(folder)
    return {step: file for step, file in files.items() if zipfile.is_zipfile(file)}


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the complete checkpoint of most steps; None without any."""
    return next(reversed(checkpoints(folder).values()), None)


def step_of(checkpoint: Path) -> int:
    """Return the step in the name ``model.ckpt-STEP.pt``."""
    return int(checkpoint.stem.rpartition("-")[2])


def read_learning_curve(path: Path) -> pd.DataFrame:
    """Read dp's ``lcurve.out``, also while it is written and after a restart.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    pandas.DataFrame
        Columns as in the file's header, sorted by ``step``; of steps run twice the
        later values. Empty with no columns where the file has no header yet.
    """
    names, rows = curve_rows(path)
    newest = {int(row[0]): row for row in rows}
    table = pd.DataFrame([newest[step] for step in sorted(newest)], columns=names)
    return table.astype({"step": int}) if names else table


def error_note(errors: Mapping[str, float]) -> str:
    """Return the newest validation errors of a training in words.

    Parameters
    ----------
    errors
        As :data:`spin_dp.training.run.Progress` has them.
    """
    parts = []
    if "rmse_e_val" in errors:
        parts.append(f"E {1000 * errors['rmse_e_val']:.0f} meV/atom")
    force = errors.get("rmse_fr_val", errors.get("rmse_f_val"))
    if force is not None:
        parts.append(f"F {1000 * force:.0f} meV/Å")
    return ", ".join(parts)


def curve_rows(path: Path) -> tuple[list[str], list[list[float]]]:
    """Return the columns and the complete lines of ``lcurve.out`` as they stand there.

    Parameters
    ----------
    path
        The file; absent ones have none.

    Returns
    -------
    tuple
        Names and rows; a step run again after a restart has several.
    """
    names: list[str] = []
    rows: list[list[float]] = []
    if path.is_file():
        for line in path.read_text().splitlines(keepends=True):
            fields = line.split()
            if fields[:2] == ["#", "step"]:
                names = fields[1:]
            elif names and fields[:1] != ["#"] and line.endswith("\n"):
                # A line without its end is still being written.
                rows.append([float(field) for field in fields])
    return names, rows
