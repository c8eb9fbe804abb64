# SPDX-License-Identifier: LGPL-3.0-or-later
"""Labels beside predictions, frame by frame, and scores of models made of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.data_tools.collection.manifest import KEPT
from spin_dp.errors import DataError
from spin_dp.evaluation import metrics
from spin_dp.evaluation.predict import predict
from spin_dp.inference.potential import Potential

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from spin_dp.evaluation.systems import LabelledSystem
    from spin_dp.inference.engines import Predicted

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

QUANTITIES = ("energy", "force", "virial", "gap", "order", "magnetic_force", "moment")
"""What is scored, in the order of the tables; units in
:class:`spin_dp.evaluation.metrics.Scores`."""

ALL = "all"
"""What stands for formula and key in the row of all frames together."""

_COUNTS = ("frames", "pairs", "ordered_pairs")


def evaluate(
    models: Mapping[str, Path],
    systems: Sequence[LabelledSystem],
    manifest: pd.DataFrame,
    *,
    labels: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Return one row per frame with labels and the predictions of every model.

    Parameters
    ----------
    models
        Model file of each name, see :class:`spin_dp.inference.potential.Potential`;
        spin models get the moments, others do not.
    systems
        Frames to run over.
    manifest
        The table ``spin-dp collect`` wrote.
    labels
        Whether spin models read labels, see :func:`predict`.
    progress
        Called with systems done and their total number.

    Returns
    -------
    pandas.DataFrame
        Columns of the manifest that name the frame (``formula``, ``key``,
        ``geometry``, ``system``, ``index``), ``held`` (whether the calculation held
        the moments or their sum: such a state need not be a stationary one),
        ``natoms``, ``energy`` (eV), the rms label force ``force_rms`` (eV/Å), the
        elements with spin states ``metal`` and the mean length of their moments
        ``moment`` (μB), and for each model those of :func:`model_columns`.

    Raises
    ------
    DataError
        If a model cannot be read or lacks an element of the systems, or the manifest
        lacks a frame.
    """
    potentials = {name: Potential(path) for name, path in models.items()}
    tables = []
    for number, system in enumerate(systems):
        columns = frame_columns(system)
        for name, potential in potentials.items():
            columns |= model_columns(
                name, predict(potential, system, labels=labels), system
            )
        tables.append(pd.DataFrame(columns))
        if progress is not None:
            progress(number + 1, len(systems))
    frames = pd.concat(tables, ignore_index=True)
    return name_frames(frames, manifest)


def frame_columns(system: LabelledSystem) -> dict[str, object]:
    """Return what is known of the frames of a system, columns (nf,) of the table."""
    zeros = np.zeros_like(system.forces)
    return {
        "system": system.name,
        "index": np.arange(len(system.energies)),
        "natoms": len(system.symbols),
        "energy": system.energies,
        "force_rms": metrics.frame_rmse(zeros, system.forces),
        "metal": ", ".join(sorted({system.symbols[i] for i in system.metals})),
        "moment": system.mean_moment(),
    }


def model_columns(
    name: str, predicted: Predicted, system: LabelledSystem
) -> dict[str, Floats]:
    """Return what one model predicts for the frames of a system, and its errors.

    Parameters
    ----------
    name
        Name of the model.
    predicted
        Its predictions.
    system
        The frames with their labels.

    Returns
    -------
    dict
        Columns (nf,): ``energy_NAME`` (eV); ``force_error_NAME`` (eV/Å) and
        ``virial_error_NAME`` (eV/atom), rms over components;
        ``magnetic_force_error_NAME`` (eV/μB) and ``moment_error_NAME`` (μB), rms
        length of the error over metals. NaN where there is no such label or
        prediction.
    """
    errors = {"force": metrics.frame_rmse(predicted.forces, system.forces)}
    if system.virials is not None:
        virial = metrics.frame_rmse(predicted.virials, system.virials)
        errors["virial"] = virial / len(system.symbols)
    for quantity, vectors, labels in (
        ("magnetic_force", predicted.magnetic_forces, system.magnetic_forces),
        ("moment", predicted.moments, system.moments),
    ):
        if system.metals and vectors is not None and labels is not None:
            per_component = metrics.frame_rmse(
                vectors[:, system.metals], labels[:, system.metals]
            )
            errors[quantity] = np.sqrt(3.0) * per_component
    unknown = np.full(len(system.energies), np.nan)
    return {f"energy_{name}": predicted.energies} | {
        f"{quantity}_error_{name}": errors.get(quantity, unknown)
        for quantity in ("force", "virial", "magnetic_force", "moment")
    }


def score(frames: pd.DataFrame, model: str) -> metrics.Scores:
    """Return the scores of one model on the rows of :func:`evaluate`.

    Parameters
    ----------
    frames
        Rows of :func:`evaluate`.
    model
        Name of the model.

    Returns
    -------
    Scores
        Of all rows together.
    """
    return _score(frames, model, np.arange(len(frames)), _pairs(frames))


def per_state(frames: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Return all scores for each composition and spin state.

    Gap and order of a state are those of the pairs that it is one frame of, so that
    each pair of two states counts for both.

    Parameters
    ----------
    frames
        Rows of :func:`evaluate`.
    models
        Names of the models.

    Returns
    -------
    pandas.DataFrame
        One row per (``formula``, ``key``): ``frames``, ``pairs``, ``ordered_pairs``
        and, for each of :data:`QUANTITIES` and each model, ``QUANTITY_NAME``.
    """
    return _per_group(frames, models, ["formula", "key"])


def per_formula(frames: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Return the columns of :func:`per_state` for each formula, then for :data:`ALL`.

    Parameters
    ----------
    frames
        Rows of :func:`evaluate`.
    models
        Names of the models.

    Returns
    -------
    pandas.DataFrame
        One row per ``formula`` and one for all frames together.
    """
    everything = _per_group(frames.assign(formula=ALL), models, ["formula"])
    by_formula = _per_group(frames, models, ["formula"])
    return pd.concat([by_formula, everything], ignore_index=True)


def _per_group(
    frames: pd.DataFrame, models: Sequence[str], names: list[str]
) -> pd.DataFrame:
    pairs = _pairs(frames)
    rows: list[dict[str, object]] = []
    # Places, as tables put together have no row labels of their own.
    for group, rows_of_group in frames.groupby(names, sort=True).indices.items():
        places = np.asarray(rows_of_group)
        of_group = pairs[np.isin(pairs, places).any(axis=1)]
        scores = {m: asdict(_score(frames, m, places, of_group)) for m in models}
        first = next(iter(scores.values()))
        values = group if isinstance(group, tuple) else (group,)
        rows.append(
            dict(zip(names, values, strict=True))
            | {name: first[name] for name in _COUNTS}
            | {f"{q}_{m}": scores[m][q] for q in QUANTITIES for m in models}
        )
    return pd.DataFrame(rows)


def _pairs(frames: pd.DataFrame) -> Integers:
    reference = frames["energy"].to_numpy(dtype=float)
    return metrics.state_pairs(list(frames["geometry"]), list(frames["key"]), reference)


def _score(
    frames: pd.DataFrame, model: str, places: Integers, pairs: Integers
) -> metrics.Scores:
    """Return the scores of the frames at these places and of these pairs."""
    reference = frames["energy"].to_numpy(dtype=float)
    predicted = frames[f"energy_{model}"].to_numpy(dtype=float)
    rows = frames.iloc[places]
    n_atoms = rows["natoms"].to_numpy(dtype=float)
    per_atom = (predicted - reference)[places] / n_atoms
    forces = rows[f"force_error_{model}"].to_numpy(dtype=float)
    order, ordered = metrics.ordering_accuracy(predicted, reference, pairs)

    def known_rms(quantity: str) -> float:
        errors = rows[f"{quantity}_error_{model}"].dropna()
        return metrics.rms(errors.to_numpy(dtype=float))

    return metrics.Scores(
        frames=len(places),
        pairs=len(pairs),
        ordered_pairs=ordered,
        energy=metrics.MEV_PER_EV * metrics.rms(per_atom),
        force=metrics.MEV_PER_EV * metrics.rms(forces, n_atoms),
        virial=metrics.MEV_PER_EV * known_rms("virial"),
        gap=metrics.gap_rmse(predicted, reference, pairs),
        order=order,
        magnetic_force=known_rms("magnetic_force"),
        moment=known_rms("moment"),
    )


def name_frames(frames: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    """Return frames with the columns of the manifest that name them.

    Raises
    ------
    DataError
        If the manifest lacks a frame.
    """
    kept = manifest.loc[manifest["status"] == KEPT]
    names = kept[["system", "index", "formula", "key", "geometry"]].assign(
        index=kept["index"].astype("int64"),
        held=kept["constrained"].astype(str).str.lower() == "true",
    )
    merged = frames.merge(names, on=["system", "index"], how="left")
    nameless = merged[merged["geometry"].isna()]
    if len(nameless):
        raise DataError(
            f"manifest: no row for frame {nameless['index'].iloc[0]} of "
            f"{nameless['system'].iloc[0]}. Collect the data again."
        )
    return merged
