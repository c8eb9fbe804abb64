# SPDX-License-Identifier: LGPL-3.0-or-later
"""Errors of an ensemble on frames with labels, and how far its spread tells them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spin_dp.data_tools.systems.system import VALIDATION
from spin_dp.errors import ConfigError
from spin_dp.evaluation.calibration import (
    calibrate,
    calibration_table,
    reliability_table,
)
from spin_dp.evaluation.metrics import state_pairs
from spin_dp.evaluation.model_test import ModelTest, read_frames
from spin_dp.evaluation.predict import predict
from spin_dp.evaluation.tables import (
    frame_columns,
    model_columns,
    name_frames,
    per_formula,
)
from spin_dp.inference.calibration import CALIBRATION_FILE, NOTHING
from spin_dp.inference.deviation import deviation, spread
from spin_dp.inference.engines import Predicted
from spin_dp.inference.ensemble import Ensemble

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from spin_dp.evaluation.systems import LabelledSystem
    from spin_dp.inference.calibration import Calibration
    from spin_dp.inference.predictor import SpinDP

    Floats = NDArray[np.float64]

MEAN = "mean"
"""Name of the mean of all models in tables."""

TABLE_FILE, RELIABILITY_FILE, PLOT_FILE = (
    "calibration.csv",
    "reliability.csv",
    "reliability.png",
)
"""What :func:`write_calibration` leaves beside the factors."""


@dataclass(frozen=True, eq=False)
class EnsembleTest:
    """Errors of the models of an ensemble and of their mean.

    Attributes
    ----------
    test
        Errors of the mean; its frames have the columns of all models, too.
    errors
        Errors on all frames, one row for each model and one for the mean: ``model`` and
        the columns of :data:`spin_dp.evaluation.tables.QUANTITIES`.
    samples
        By quantity one row for each number that each model predicts: ``geometry``,
        ``frame``, ``deviation``, ``error``. Energies in eV/atom, gaps in eV per cell,
        lengths of force errors in eV/Å, magnetic forces of metals in eV/μB; without
        what symmetry makes zero.
    table
        How well the spread tells the error
        (:func:`spin_dp.evaluation.calibration.calibration_table`): of the calibration
        in use, else of factors from other geometries.
    ensemble
        The models.
    """

    test: ModelTest
    errors: pd.DataFrame
    samples: Mapping[str, pd.DataFrame]
    table: pd.DataFrame
    ensemble: Ensemble


def run_ensemble_test(
    models: Sequence[str | os.PathLike[str] | SpinDP],
    data: Path,
    *,
    split: str | None = None,
    level: str | None = None,
    calibration: Path | None = None,
    labels: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> EnsembleTest:
    """Run the models of an ensemble over frames with labels.

    Parameters
    ----------
    models
        Two or more model files, or loaded models.
    data, split, level, labels, progress
        As for :func:`spin_dp.evaluation.model_test.run_test`.
    calibration
        Test the factors of this file on the frames; None: find factors on them.

    Raises
    ------
    DataError, ConfigError
        As :func:`spin_dp.evaluation.model_test.run_test` and
        :class:`spin_dp.inference.ensemble.Ensemble`.
    """
    ensemble = Ensemble(models, calibration=calibration)
    found = read_frames(data, lambda: True, split=split, level=level)
    names = [f"model{number}" for number, _ in enumerate(models, start=1)]
    tables, parts = [], []
    for number, system in enumerate(found.systems):
        predictions = [predict(p, system, labels=labels) for p in ensemble.potentials]
        columns = frame_columns(system) | model_columns(MEAN, mean(predictions), system)
        for name, predicted in zip(names, predictions, strict=True):
            columns |= model_columns(name, predicted, system)
        tables.append(pd.DataFrame(columns))
        parts.append(_atomic_samples(system, predictions))
        if progress is not None:
            progress(number + 1, len(found.systems))
    frames = name_frames(pd.concat(tables, ignore_index=True), found.manifest)
    samples = _samples(frames, names, parts)
    table = calibration_table(
        samples, len(models), ensemble.calibration if calibration is not None else None
    )
    total = per_formula(frames, [*names, MEAN]).iloc[-1]
    titles = [str(model.info.path) for model in ensemble.models]
    errors = pd.DataFrame(
        [
            {"model": title}
            | {q: total[f"{q}_{name}"] for q in ("energy", "force", "gap", "order")}
            for title, name in zip(
                [*titles, f"mean of {len(titles)}"], [*names, MEAN], strict=True
            )
        ]
    )
    return EnsembleTest(found.tested(frames, MEAN), errors, samples, table, ensemble)


def write_calibration(result: EnsembleTest, folder: Path, data: Path) -> Calibration:
    """Write factors, tables and plot into a folder.

    Parameters
    ----------
    result
        Of :func:`run_ensemble_test`.
    folder
        Made if need be; beside the models, the factors are found by themselves.
    data
        Where the frames are from.

    Returns
    -------
    Calibration
        The factors.

    Raises
    ------
    ConfigError
        If there are training frames among the frames.
    DataError
        If there are too few geometries.
    """
    from spin_dp.evaluation.reliability_plot import plot_reliability
    from spin_dp.files import replacing

    refuse_training_frames(data, result.test.split)
    factors = calibrate(
        result.samples,
        result.ensemble.probe_energies(),
        frames=len(result.test.frames),
    )
    folder.mkdir(parents=True, exist_ok=True)
    reliability = reliability_table(result.samples)
    for name, table in (
        (TABLE_FILE, result.table),
        (RELIABILITY_FILE, reliability),
    ):
        with replacing(folder / name) as temporary:
            table.round(6).to_csv(temporary, index=False)
    plot_reliability(folder / PLOT_FILE, result.samples, reliability, factors)
    factors.write(folder / CALIBRATION_FILE)  # last: it says that all is there
    return factors


def refuse_training_frames(data: Path, split: str) -> None:
    """Refuse frames among which are those of the training part of the data.

    Raises
    ------
    ConfigError
        If they are.
    """
    if split != VALIDATION and (data / VALIDATION).is_dir():
        raise ConfigError(
            f"calibration: expected held-out frames, got the {split} frames of {data}; "
            "the errors of frames that the models were trained on are too small."
        )


def mean(predictions: Sequence[Predicted]) -> Predicted:
    """Return the mean over models of all that they predict."""
    columns: dict[str, Any] = {}
    for column in fields(Predicted):
        values = [getattr(predicted, column.name) for predicted in predictions]
        known = all(value is not None for value in values)
        columns[column.name] = np.mean(values, axis=0) if known else None
    return Predicted(**columns)


def _atomic_samples(
    system: LabelledSystem, predictions: Sequence[Predicted]
) -> dict[str, tuple[Floats, Floats]]:
    """Return deviations (nf, n) and errors (n_models, nf, n) of vectors on atoms."""
    forces = np.stack([p.forces for p in predictions])
    found = {
        "force": (
            deviation(forces),
            np.linalg.norm(forces - system.forces, axis=-1),
        )
    }
    metals = system.metals
    known = [p.magnetic_forces for p in predictions if p.magnetic_forces is not None]
    if system.magnetic_forces is not None and metals and known:
        magnetic = np.stack([forces_m[:, metals] for forces_m in known])
        errors = magnetic - system.magnetic_forces[:, metals]
        found["magnetic_force"] = (
            deviation(magnetic),
            np.linalg.norm(errors, axis=-1),
        )
    return found


def _samples(
    frames: pd.DataFrame,
    names: Sequence[str],
    parts: Sequence[Mapping[str, tuple[Floats, Floats]]],
) -> dict[str, pd.DataFrame]:
    """Return the rows of each quantity, see :class:`EnsembleTest`."""
    geometry = frames["geometry"].to_numpy()
    label = frames["energy"].to_numpy(dtype=float)
    energies = np.stack([frames[f"energy_{n}"].to_numpy(dtype=float) for n in names])
    n_atoms = frames["natoms"].to_numpy(dtype=float)
    numbers = np.arange(len(frames))
    pairs = state_pairs(list(geometry), list(frames["key"]), label)
    first, second = pairs.T
    gaps = energies[:, first] - energies[:, second]
    samples = {
        "energy": _rows(
            geometry,
            numbers,
            spread(energies) / n_atoms,
            np.abs(energies - label) / n_atoms,
        ),
        "gap": _rows(
            geometry[first],
            first,
            spread(gaps),
            np.abs(gaps - (label[first] - label[second])),
        ),
    }
    atomic: dict[str, list[pd.DataFrame]] = defaultdict(list)
    start = 0
    for part in parts:
        n_frames = len(part["force"][0])
        here = numbers[start : start + n_frames]
        start += n_frames
        for name, (deviations, errors) in part.items():
            frame = np.repeat(here, deviations.shape[1])
            atomic[name].append(
                _rows(
                    geometry[frame],
                    frame,
                    deviations.ravel(),
                    errors.reshape(len(names), -1),
                )
            )
    return samples | {
        name: pd.concat(tables, ignore_index=True) for name, tables in atomic.items()
    }


def _rows(
    geometry: NDArray[Any], frame: NDArray[Any], spreads: Floats, errors: Floats
) -> pd.DataFrame:
    """Return one row for each model and number; errors are (n_models, n).

    What symmetry makes zero for all models and for DFT tells nothing and is left out.
    """
    n_models = len(errors)
    rows = pd.DataFrame(
        {
            "geometry": np.tile(geometry, n_models),
            "frame": np.tile(frame, n_models),
            "deviation": np.tile(spreads, n_models),
            "error": errors.ravel(),
        }
    )
    tells = (rows["deviation"] > NOTHING) | (rows["error"] > NOTHING)
    return rows[tells].reset_index(drop=True)
