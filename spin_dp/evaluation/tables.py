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
from spin_dp.evaluation.predict import Potential

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from spin_dp.evaluation.systems import LabelledSystem

    Integers = NDArray[np.int64]


def evaluate(
    models: Mapping[str, Path],
    systems: Sequence[LabelledSystem],
    manifest: pd.DataFrame,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Return one row per frame with labels and the predictions of every model.

    Parameters
    ----------
    models
        Model file of each name, see :class:`spin_dp.evaluation.predict.Potential`;
        spin models get the moments, others do not.
    systems
        Frames to run over.
    manifest
        The table ``spin-dp collect`` wrote.
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
        ``moment`` (μB), and for each model ``energy_NAME`` (eV),
        ``force_error_NAME`` (rms over components, eV/Å) and ``moment_error_NAME`` (rms
        length of the error of predicted moments over metals, μB; NaN where the model
        predicts none).

    Raises
    ------
    DataError
        If a model cannot be read or lacks an element of the systems, or the manifest
        lacks a frame.
    """
    potentials = {name: Potential(path) for name, path in models.items()}
    tables = []
    for number, system in enumerate(systems):
        zeros = np.zeros_like(system.forces)
        columns: dict[str, object] = {
            "system": system.name,
            "index": np.arange(len(system.energies)),
            "natoms": len(system.symbols),
            "energy": system.energies,
            "force_rms": metrics.frame_force_rmse(zeros, system.forces),
            "metal": ", ".join(sorted({system.symbols[i] for i in system.metals})),
            "moment": system.mean_moment(),
        }
        for name, potential in potentials.items():
            predicted = potential.predict(system)
            columns[f"energy_{name}"] = predicted.energies
            columns[f"force_error_{name}"] = metrics.frame_force_rmse(
                predicted.forces, system.forces
            )
            columns[f"moment_error_{name}"] = metrics.frame_moment_rmse(
                predicted.moments, system.moments, system.metals
            )
        tables.append(pd.DataFrame(columns))
        if progress is not None:
            progress(number + 1, len(systems))
    frames = pd.concat(tables, ignore_index=True)
    return _name_frames(frames, manifest)


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
        In meV/atom, meV/Å and meV per cell.
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
        One row per (formula, key): ``frames``, ``pairs``, ``ordered_pairs`` and for
        each model ``energy_NAME`` (RMSE, meV/atom), ``force_NAME`` (RMSE, meV/Å),
        ``gap_NAME`` (meV per cell), ``order_NAME`` (share) and ``moment_NAME`` (RMS
        error of predicted moments, μB).
    """
    pairs = _pairs(frames)
    places = np.arange(len(frames))
    rows: list[dict[str, object]] = []
    for (formula, key), group in frames.assign(_place=places).groupby(
        ["formula", "key"], sort=True
    ):
        own = np.isin(pairs, group["_place"].to_numpy()).any(axis=1)
        scores = {
            model: _score(frames, model, group["_place"].to_numpy(), pairs[own])
            for model in models
        }
        rows.append({"formula": formula, "key": key, **_row(scores)})
    return pd.DataFrame(rows)


def per_formula(frames: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Return all scores for each composition, then for all frames together.

    Parameters
    ----------
    frames
        Rows of :func:`evaluate`.
    models
        Names of the models.

    Returns
    -------
    pandas.DataFrame
        One row per formula and one ``all``: ``frames``, ``pairs``,
        ``ordered_pairs`` and for each model ``energy_NAME`` (meV/atom),
        ``force_NAME`` (meV/Å), ``gap_NAME`` (meV per cell), ``order_NAME`` (share),
        ``moment_NAME`` (μB).
    """
    groups = [(str(name), group) for name, group in frames.groupby("formula")]
    return pd.DataFrame(
        {"formula": formula, **_row({model: score(group, model) for model in models})}
        for formula, group in [*groups, ("all", frames)]
    )


def _row(scores: Mapping[str, metrics.Scores]) -> dict[str, object]:
    counts = asdict(next(iter(scores.values())))
    row = {name: counts[name] for name in ("frames", "pairs", "ordered_pairs")}
    for quantity in ("energy", "force", "gap", "order", "moment"):
        row |= {f"{quantity}_{m}": getattr(s, quantity) for m, s in scores.items()}
    return row


def _pairs(frames: pd.DataFrame) -> Integers:
    reference = frames["energy"].to_numpy(dtype=float)
    return metrics.state_pairs(list(frames["geometry"]), list(frames["key"]), reference)


def _score(
    frames: pd.DataFrame, model: str, places: Integers, pairs: Integers
) -> metrics.Scores:
    """Return the scores of the frames at these places and of these pairs."""
    reference = frames["energy"].to_numpy(dtype=float)
    predicted = frames[f"energy_{model}"].to_numpy(dtype=float)
    n_atoms = frames["natoms"].to_numpy(dtype=np.int64)[places]
    errors = frames[f"force_error_{model}"].to_numpy(dtype=float)[places]
    moments = frames[f"moment_error_{model}"].to_numpy(dtype=float)[places]
    order, ordered = metrics.ordering_accuracy(predicted, reference, pairs)
    return metrics.Scores(
        frames=len(places),
        pairs=len(pairs),
        ordered_pairs=ordered,
        energy=metrics.energy_rmse(predicted[places], reference[places], n_atoms),
        force=metrics.force_rmse(errors, n_atoms),
        gap=metrics.gap_rmse(predicted, reference, pairs),
        order=order,
        moment=metrics.moment_rmse(moments),
    )


def _name_frames(frames: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
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
