# SPDX-License-Identifier: LGPL-3.0-or-later
"""Run frozen models over deepmd systems and compare them per spin state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.data_tools.dataset.stored import open_system
from spin_dp.data_tools.elements import carries_spin_state
from spin_dp.demo import metrics
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LabelledSystem:
    """The frames of one deepmd system.

    Attributes
    ----------
    name
        Path below the data folder, as the manifest has it.
    symbols
        Elements, natoms of them.
    positions, cells, energies, forces, moments
        (nf, natoms, 3) Å; (nf, 3, 3) Å; (nf,) eV; (nf, natoms, 3) eV/Å;
        (nf, natoms, 3) μB.
    """

    name: str
    symbols: list[str]
    positions: Floats
    cells: Floats
    energies: Floats
    forces: Floats
    moments: Floats

    @property
    def metals(self) -> list[int]:
        """Indices of the atoms that have spin states."""
        return [i for i, s in enumerate(self.symbols) if carries_spin_state(s)]

    def mean_moment(self) -> Floats:
        """Return the mean length of the metals' moments of each frame, (nf,), μB."""
        lengths = np.linalg.norm(self.moments[:, self.metals], axis=-1)
        mean: Floats = lengths.mean(axis=1)
        return mean


def read_systems(data: Path, split: str) -> list[LabelledSystem]:
    """Read all deepmd systems below ``data/split``.

    Parameters
    ----------
    data
        A folder written by ``spin-dp collect``.
    split
        ``"training"`` or ``"validation"``.

    Returns
    -------
    list of LabelledSystem
        Sorted by name.

    Raises
    ------
    DataError
        If there is none.
    """
    found = sorted(file.parent for file in (data / split).rglob("type.raw"))
    if not found:
        raise DataError(
            f"{data / split}: expected deepmd systems (folders with type.raw), found "
            "none. Collect frames into it first."
        )
    return [_read_system(path, path.relative_to(data).as_posix()) for path in found]


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
        Frozen model of each name; spin models get the moments, others do not.
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
        ``geometry``, ``system``, ``index``), ``natoms``, ``energy`` (eV), the rms
        label force ``force_rms`` (eV/Å), the elements with spin states ``metal`` and
        the mean length of their moments ``moment`` (μB), and for each model
        ``energy_NAME`` (eV) and ``force_error_NAME`` (rms over components, eV/Å).
    """
    from deepmd.infer import DeepPot  # heavy: brings torch

    potentials = {name: DeepPot(str(path)) for name, path in models.items()}
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
            energies, forces = _predict(potential, system)
            columns[f"energy_{name}"] = energies
            columns[f"force_error_{name}"] = metrics.frame_force_rmse(
                forces, system.forces
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
    reference = frames["energy"].to_numpy(dtype=float)
    predicted = frames[f"energy_{model}"].to_numpy(dtype=float)
    n_atoms = frames["natoms"].to_numpy(dtype=np.int64)
    pairs = metrics.state_pairs(
        list(frames["geometry"]), list(frames["key"]), reference
    )
    order, ordered = metrics.ordering_accuracy(predicted, reference, pairs)
    errors = frames[f"force_error_{model}"].to_numpy(dtype=float)
    return metrics.Scores(
        frames=len(frames),
        pairs=len(pairs),
        ordered_pairs=ordered,
        energy=metrics.energy_rmse(predicted, reference, n_atoms),
        force=metrics.force_rmse(errors, n_atoms),
        gap=metrics.gap_rmse(predicted, reference, pairs),
        order=order,
    )


def per_state(frames: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Return energy and force errors for each composition and spin state.

    Parameters
    ----------
    frames
        Rows of :func:`evaluate`.
    models
        Names of the models.

    Returns
    -------
    pandas.DataFrame
        One row per (formula, key): ``frames`` and for each model
        ``energy_NAME`` (RMSE, meV/atom) and ``force_NAME`` (RMSE, meV/Å).
    """
    rows: list[dict[str, object]] = []
    for (formula, key), group in frames.groupby(["formula", "key"], sort=True):
        row: dict[str, object] = {"formula": formula, "key": key, "frames": len(group)}
        scores = {model: score(group, model) for model in models}
        row |= {f"energy_{model}": found.energy for model, found in scores.items()}
        row |= {f"force_{model}": found.force for model, found in scores.items()}
        rows.append(row)
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
        ``force_NAME`` (meV/Å), ``gap_NAME`` (meV per cell), ``order_NAME`` (share).
    """
    groups = [(str(name), group) for name, group in frames.groupby("formula")]
    rows: list[dict[str, object]] = []
    for formula, group in [*groups, ("all", frames)]:
        scores = {model: score(group, model) for model in models}
        any_score = next(iter(scores.values()))
        row: dict[str, object] = {
            "formula": formula,
            "frames": any_score.frames,
            "pairs": any_score.pairs,
            "ordered_pairs": any_score.ordered_pairs,
        }
        for quantity in ("energy", "force", "gap", "order"):
            row |= {f"{quantity}_{m}": getattr(s, quantity) for m, s in scores.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def _predict(potential: object, system: LabelledSystem) -> tuple[Floats, Floats]:
    known = list(potential.get_type_map())  # type: ignore[attr-defined]
    missing = sorted(set(system.symbols) - set(known))
    if missing:
        raise DataError(
            f"{system.name}: the model knows {', '.join(known)} but not "
            f"{', '.join(missing)}. Train it with these elements in its type map."
        )
    n_frames = len(system.energies)
    extra = {}
    if potential.has_spin:  # type: ignore[attr-defined]
        extra["spin"] = system.moments.reshape(n_frames, -1)
    output = potential.eval(  # type: ignore[attr-defined]
        system.positions.reshape(n_frames, -1),
        system.cells.reshape(n_frames, -1),
        [known.index(symbol) for symbol in system.symbols],
        **extra,
    )
    energies: Floats = np.asarray(output[0], dtype=float).reshape(n_frames)
    forces: Floats = np.asarray(output[1], dtype=float).reshape(n_frames, -1, 3)
    return energies, forces


def _name_frames(frames: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    names = manifest.loc[manifest["status"] == "kept"]
    names = names[["system", "index", "formula", "key", "geometry"]]
    merged = frames.merge(
        names.astype({"index": "int64"}), on=["system", "index"], how="left"
    )
    nameless = merged[merged["geometry"].isna()]
    if len(nameless):
        raise DataError(
            f"manifest: no row for frame {nameless['index'].iloc[0]} of "
            f"{nameless['system'].iloc[0]}. Collect the data again."
        )
    return merged


def _read_system(path: Path, name: str) -> LabelledSystem:
    stored = open_system(path)
    vectors = {
        label: np.array(stored.labels[label]).reshape(stored.n_frames, -1, 3)
        for label in ("coord", "box", "force", "spin")
    }
    return LabelledSystem(
        name=name,
        symbols=list(stored.symbols),
        positions=vectors["coord"],
        cells=vectors["box"],
        energies=np.array(stored.labels["energy"]).reshape(-1),
        forces=vectors["force"],
        moments=vectors["spin"],
    )
