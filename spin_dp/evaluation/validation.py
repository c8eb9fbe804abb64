# SPDX-License-Identifier: LGPL-3.0-or-later
"""Validation by spin state while a training runs, beside dp's ``lcurve.out``.

dp's own validation is a mean over a few batches. Here each checkpoint runs over all
validation frames as soon as dp has written it, and the errors are told apart by spin
state. dp trains in a process of its own meanwhile.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pandas as pd

from spin_dp.data_tools.collection.collected import read_manifest
from spin_dp.data_tools.collection.output_folder import MANIFEST
from spin_dp.data_tools.systems.system import VALIDATION, system_folders
from spin_dp.errors import DataError
from spin_dp.evaluation import evaluate, read_systems
from spin_dp.evaluation.error_table import COLUMNS, INDEX, error_table
from spin_dp.evaluation.tables import ALL
from spin_dp.evaluation.validation_plot import plot_curves
from spin_dp.files import replacing
from spin_dp.training import CURVE, read_learning_curve, train
from spin_dp.training.dp_input import REMARKS
from spin_dp.training.output import checkpoints, newest_checkpoint, step_of
from spin_dp.training.parent import checkpoint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from spin_dp.evaluation import LabelledSystem
    from spin_dp.pretrained import ModelName

log = logging.getLogger(__name__)

STATES_CURVE = "lcurve_states.csv"
PLOT = "lcurve.png"
_NAME = "model"
_WAITING = ".checkpoints"


@dataclass(frozen=True, eq=False)
class ValidationFrames:
    """Frames with known spin states.

    Attributes
    ----------
    systems, manifest
        For :func:`spin_dp.evaluation.evaluate`.
    """

    systems: Sequence[LabelledSystem]
    manifest: pd.DataFrame


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What :func:`train_with_states` leaves.

    Attributes
    ----------
    model
        The frozen model.
    plot
        Learning curves as a picture.
    states
        Content of ``lcurve_states.csv``; empty without frames of known states.
    """

    model: Path
    plot: Path
    states: pd.DataFrame


class StatesCurve:
    """Errors by spin state of each checkpoint, written to ``lcurve_states.csv``.

    Checkpoints are linked into a hidden folder as soon as they are seen: dp removes
    all but the newest.

    Parameters
    ----------
    folder
        Where dp trains.
    frames
        Frames to run over.
    """

    def __init__(self, folder: Path, frames: ValidationFrames) -> None:
        self.path = folder / STATES_CURVE
        self._folder = folder
        self._frames = frames
        self._waiting = folder / _WAITING
        newest = newest_checkpoint(folder)
        self.table = read_states_curve(self.path)
        # Steps after the newest checkpoint are run again.
        last = -1 if newest is None else step_of(newest)
        self.table = self.table[self.table["step"] <= last]
        self._done = {int(step) for step in self.table["step"]}

    def __enter__(self) -> Self:
        shutil.rmtree(self._waiting, ignore_errors=True)
        self._waiting.mkdir()
        import deepmd.infer  # noqa: F401  (seconds; before dp writes a checkpoint)

        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._waiting, ignore_errors=True)

    def look(self) -> None:
        """Run the checkpoints that have appeared since the last look."""
        self._catch()
        for step, checkpoint in checkpoints(self._waiting).items():
            self._run(step, checkpoint)
            checkpoint.unlink()

    def newest(self) -> dict[str, float]:
        """Return the newest errors over all frames; empty before the first."""
        rows = self.table[self.table["key"] == ALL]
        if rows.empty:
            return {}
        row = rows.sort_values("step").iloc[-1]
        return {name: float(row[column]) for name, column in COLUMNS.items()}

    def _catch(self) -> None:
        """Keep checkpoints from being removed before they are run."""
        for step, checkpoint in checkpoints(self._folder).items():
            if step in self._done:
                continue
            self._done.add(step)
            kept = self._waiting / checkpoint.name
            try:
                os.link(checkpoint, kept)
            except FileNotFoundError:
                continue  # removed by dp just now
            except OSError:  # a file system without links
                shutil.copyfile(checkpoint, kept)

    def _run(self, step: int, checkpoint: Path) -> None:
        try:
            frames = evaluate(
                {_NAME: checkpoint},
                self._frames.systems,
                self._frames.manifest,
                progress=lambda _done, _total: self._catch(),
            )
        except DataError as error:  # diverged; the training may recover
            log.warning("step %d has no row in %s: %s", step, STATES_CURVE, error)
            return
        rows = state_rows(frames, step)
        table = pd.concat([self.table, rows], ignore_index=True)
        self.table = table.sort_values("step", kind="stable", ignore_index=True)
        with replacing(self.path) as temporary:
            self.table.to_csv(temporary, index=False)


def state_rows(frames: pd.DataFrame, step: int) -> pd.DataFrame:
    """Return the rows of ``lcurve_states.csv`` for one checkpoint.

    Parameters
    ----------
    frames
        Rows of :func:`spin_dp.evaluation.evaluate` for the model ``model``.
    step
        Step of the checkpoint.

    Returns
    -------
    pandas.DataFrame
        :func:`error_table` with ``step`` in front.
    """
    table = error_table(frames, _NAME)
    table.insert(0, "step", step)
    return table


def read_states_curve(path: Path) -> pd.DataFrame:
    """Read ``lcurve_states.csv``; empty where there is none.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    columns = ["step", *INDEX, *COLUMNS.values()]
    if not path.is_file():
        return pd.DataFrame(columns=columns)
    try:
        absent = {name: [""] for name in COLUMNS.values()}
        table = pd.read_csv(path, keep_default_na=False, na_values=absent)
        return table[columns].astype(dict.fromkeys(COLUMNS.values(), float))
    except (ValueError, KeyError) as error:
        raise DataError(
            f"{path}: not a table of errors by spin state ({error}); remove it."
        ) from error


def find_validation(input_json: Path, data: Path | None) -> ValidationFrames | None:
    """Return the validation frames of the data set that an input was made of.

    Parameters
    ----------
    input_json
        Input of dp, which names the data set where ``spin-dp init`` wrote it.
    data
        Another result of ``spin-dp collect``.

    Returns
    -------
    ValidationFrames or None
        None if the input names no data set or it has no validation frames.

    Raises
    ------
    DataError
        If the data set cannot be read.
    """
    remarks = json.loads(input_json.read_text()).get(REMARKS, {})
    if data is None:
        if "data" not in remarks:
            return None
        data = input_json.parent / str(remarks["data"])
    if not (data / MANIFEST).is_file():
        raise DataError(
            f"{data}: expected a folder written by spin-dp collect, found no "
            f"{MANIFEST}; give the folder with --data."
        )
    if not system_folders(data / VALIDATION):
        return None
    manifest = read_manifest(data)
    systems = read_systems(data, VALIDATION)
    levels = remarks.get("levels")
    if levels:
        wanted = set(manifest[manifest["level"].isin(levels)]["system"])
        systems = [system for system in systems if system.name in wanted]
    return ValidationFrames(systems, manifest) if systems else None


def train_with_states(
    input_json: Path,
    frames: ValidationFrames | None,
    *,
    finetune: ModelName | None = None,
    resume: bool = True,
    accept_changes: bool = False,
    threads: int = 1,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
) -> TrainingResult:
    """Train and freeze a model; measure each checkpoint by spin state meanwhile.

    Parameters
    ----------
    input_json
        Input of dp.
    frames
        What :func:`find_validation` gives; without frames there is no
        ``lcurve_states.csv``.
    finetune
        As in :func:`spin_dp.training.train`; a frozen model or a shipped one's name,
        too.
    resume, accept_changes, threads
        As in :func:`spin_dp.training.train`.
    progress
        Called a few times a second with steps done, all steps and the newest errors
        over all validation frames by quantity, see :data:`COLUMNS`.

    Returns
    -------
    TrainingResult
        The frozen model and the files beside it.

    Raises
    ------
    BackendError
        If dp fails.
    ConfigError
        If the checkpoint to start from does not exist, or to resume is asked for where
        the checkpoints are those of another input.
    """
    folder = input_json.resolve().parent
    source = None if finetune is None else checkpoint_of(finetune, folder)
    if not resume:
        (folder / STATES_CURVE).unlink(missing_ok=True)

    def run(curve: StatesCurve | None) -> Path:
        def poll(_name: str, step: int, total: int, _errors: dict[str, float]) -> None:
            if curve is not None:
                curve.look()
            if progress is not None:
                progress(step, total, {} if curve is None else curve.newest())

        return train(
            input_json,
            finetune=source,
            resume=resume,
            accept_changes=accept_changes,
            threads=threads,
            progress=poll,
        )

    if frames is None:
        model, states = run(None), read_states_curve(folder / STATES_CURVE)
    else:
        with StatesCurve(folder, frames) as curve:
            model, states = run(curve), curve.table
    plot = plot_curves(folder / PLOT, read_learning_curve(folder / CURVE), states)
    return TrainingResult(model, plot, states)
