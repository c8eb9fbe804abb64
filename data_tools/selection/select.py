# SPDX-License-Identifier: LGPL-3.0-or-later
"""A smaller data set: training frames chosen from a collected folder."""

from __future__ import annotations

import itertools
import json
import logging
from dataclasses import dataclass
from importlib.metadata import version
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.collection.collected import open_collected
from spin_dp.data_tools.collection.output_folder import MANIFEST, check_output
from spin_dp.data_tools.selection.choice import (
    METHODS,
    farthest_choice,
    nearest_distances,
    random_choice,
    shares,
)
from spin_dp.data_tools.selection.features import frame_fingerprint
from spin_dp.data_tools.selection.subset import write_subset
from spin_dp.data_tools.systems.system import TRAINING, open_system
from spin_dp.errors import ConfigError, DataError, unknown
from spin_dp.files import replaced_folder

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    import pandas as pd

    from spin_dp.data_tools.collection.collected import CollectedData
    from spin_dp.data_tools.frame import Array

log = logging.getLogger(__name__)

RECORD = "selection.json"
_COMPOSITION = ["formula", "level"]
_STATE = [*_COMPOSITION, "key"]
_QUANTITIES = ["energy", "force", "volume"]


@dataclass(frozen=True)
class SelectionReport:
    """What :func:`select_frames` did.

    Attributes
    ----------
    out, manifest
        Output folder and its ``manifest.csv``.
    n_available, n_chosen
        Training frames before and after.
    table
        One row for each formula, level and key with the columns ``frames`` and
        ``lowest_`` and ``highest_`` with ``energy`` (meV/atom above the lowest frame of
        formula and level), ``force`` (the largest of a frame, eV/Å) and ``volume``
        (Å³/atom), each ``_before`` and ``_after``; nan where no frame was chosen.
    mean_distance, largest_distance
        From the frames left out to the nearest chosen frame of their formula and level,
        in the units of :mod:`spin_dp.data_tools.selection.features`; nan if no frame
        was left out.
    n_uncovered
        Frames left out without a chosen frame of their formula and level.
    """

    out: Path
    manifest: Path
    n_available: int
    n_chosen: int
    table: pd.DataFrame
    mean_distance: float
    largest_distance: float
    n_uncovered: int

    def totals(self, when: str) -> dict[str, list[float]]:
        """Return lowest and highest of all frames ``before`` or ``after``."""
        return {
            name: [
                float(self.table[f"lowest_{name}_{when}"].min()),
                float(self.table[f"highest_{name}_{when}"].max()),
            ]
            for name in _QUANTITIES
        }


def select_frames(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    number: float,
    *,
    method: str = "stratified",
    seed: int = 0,
    per_state_minimum: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SelectionReport:
    """Choose training frames of a collected data set and write the smaller data set.

    Validation systems are copied as they are.

    Parameters
    ----------
    data
        Folder written by :func:`spin_dp.data_tools.collect`.
    out
        Output folder: new, empty, or an earlier result of the same arguments, which is
        then rebuilt.
    number
        Frames to choose: an int for a count, a float below 1 for a share.
    method
        ``stratified``: as equal numbers of every spin state (formula, level, key) as
        there are frames, in each state those farthest apart. ``farthest``: of every
        formula and level in proportion to its frames those farthest apart. Both begin
        with the frame nearest to the mean. ``random``: at random.
    seed
        Seed of ``random``; the others draw no lots.
    per_state_minimum
        Frames to choose of every spin state, or all it has, before any others.
    progress
        Called with number and count before each frame is compared.

    Returns
    -------
    SelectionReport
        Counts, ranges before and after, and how well the choice covers the rest.

    Raises
    ------
    ConfigError
        If an argument is wrong or the output folder must not be overwritten.
    DataError
        If ``data`` is not a whole collected folder.
    """
    data, out = Path(data), Path(out)
    _check_numbers(method, seed, per_state_minimum)
    collected = open_collected(data)
    frames = _training_frames(collected)
    count = _count(number, len(frames), data)
    arguments: dict[str, object] = {
        "data": str(data.absolute()),
        "number": number,
        "method": method,
        "seed": seed,
        "per_state_minimum": per_state_minimum,
    }
    if out.resolve().is_relative_to(data.resolve()):
        raise ConfigError(f"{out}: lies in the data folder {data}; give another folder")
    check_output(out, arguments, verb="select", record=RECORD)
    distances = _choose(
        frames, data, count, method, seed, per_state_minimum, progress=progress
    )
    report = _report(out, frames, distances)
    with replaced_folder(out) as fresh:
        write_subset(collected, fresh, frames.index[frames["chosen"]])
        _write_record(fresh, arguments, report)
    log.info("chose %d of %d training frames in %s", count, len(frames), out)
    return report


def _check_numbers(method: str, seed: int, per_state_minimum: int) -> None:
    if method not in METHODS:
        raise unknown("method of selection", method, METHODS)
    if seed < 0:
        raise ConfigError(f"the seed must be 0 or more, got {seed}")
    if per_state_minimum < 0:
        raise ConfigError(
            f"the minimum per state must be 0 or more, got {per_state_minimum}"
        )


def _training_frames(data: CollectedData) -> pd.DataFrame:
    """Return state and place of the kept training frames."""
    kept = data.kept
    frames = kept.loc[kept["split"] == TRAINING, [*_STATE, "system", "index"]].copy()
    if frames.empty:
        raise DataError(
            f"{data.folder / MANIFEST}: expected training frames, found none"
        )
    return frames


def _count(number: float, available: int, data: Path) -> int:
    """Return how many frames are to be chosen."""
    if not isinstance(number, int):
        if not 0.0 < number < 1.0:
            raise ConfigError(
                f"a share of the frames must lie between 0 and 1, got {number}; give a "
                "whole number to choose so many frames"
            )
        return max(1, round(number * available))
    if number < 1:
        raise ConfigError(f"at least one frame must be chosen, got {number}")
    if number > available:
        raise ConfigError(
            f"{number} frames cannot be chosen: {data} has {available} training frames"
        )
    return int(number)


def _choose(
    frames: pd.DataFrame,
    data: Path,
    count: int,
    method: str,
    seed: int,
    minimum: int,
    *,
    progress: Callable[[int, int], None] | None,
) -> Array:
    """Add quantities and choice to the frames; return how far those left out are.

    The fingerprints of one composition are in memory at a time.
    """
    states = frames.groupby(_STATE).ngroup().to_numpy()
    compositions = frames.groupby(_COMPOSITION).ngroup().to_numpy()
    is_chosen = np.zeros(len(frames), dtype=bool)
    if method == "random":
        is_chosen[random_choice(states, count, minimum, seed)] = True
    else:
        parts = shares(method, compositions, states, count, minimum)
    quantities = np.empty((len(frames), len(_QUANTITIES)))
    tick = _ticker(progress, len(frames))
    distances = []
    for composition in range(compositions.max() + 1):
        rows = np.flatnonzero(compositions == composition)
        points, quantities[rows] = _describe(frames.iloc[rows], data, tick)
        if method != "random":
            per_state, per_composition = parts
            found = farthest_choice(
                points, states[rows], per_state, int(per_composition[composition])
            )
            is_chosen[rows[found]] = True
        nearest = nearest_distances(points, np.flatnonzero(is_chosen[rows]).tolist())
        distances.append(nearest[~is_chosen[rows]])
    frames[_QUANTITIES] = quantities
    frames["chosen"] = is_chosen
    return np.concatenate(distances)


def _ticker(
    progress: Callable[[int, int], None] | None, count: int
) -> Callable[[], None]:
    """Return what is called before each frame."""
    numbers = itertools.count()

    def tick() -> None:
        if progress is not None:
            progress(next(numbers), count)

    return tick


def _describe(
    frames: pd.DataFrame, data: Path, tick: Callable[[], None]
) -> tuple[Array, Array]:
    """Return fingerprints, (nf, d), and energy, force and volume per atom, (nf, 3)."""
    points: list[Array] = [np.empty(0)] * len(frames)
    quantities = np.empty((len(frames), len(_QUANTITIES)))
    systems, indices = frames["system"].to_numpy(), frames["index"].to_numpy()
    for name in dict.fromkeys(systems):
        system = open_system(data / name)
        symbols, n_atoms = system.symbols, system.n_places
        positions, cells = system.label("coord"), system.label("box")
        energies, forces = system.label("energy"), system.label("force")
        moments = system.label("spin")
        for row in np.flatnonzero(systems == name):
            tick()
            index = int(indices[row])
            points[row] = frame_fingerprint(
                symbols, positions[index], cells[index], moments[index]
            )
            quantities[row] = (
                energies[index] / n_atoms,
                np.linalg.norm(forces[index], axis=1).max(),
                abs(np.linalg.det(cells[index])) / n_atoms,
            )
    return np.stack(points), quantities


def _report(out: Path, frames: pd.DataFrame, distances: Array) -> SelectionReport:
    covered = distances[np.isfinite(distances)]
    return SelectionReport(
        out=out,
        manifest=out / MANIFEST,
        n_available=len(frames),
        n_chosen=int(frames["chosen"].sum()),
        table=_table(frames),
        mean_distance=float(covered.mean()) if len(covered) else nan,
        largest_distance=float(covered.max()) if len(covered) else nan,
        n_uncovered=len(distances) - len(covered),
    )


def _table(frames: pd.DataFrame) -> pd.DataFrame:
    ground = frames.groupby(_COMPOSITION)["energy"].transform("min")
    above = frames.assign(energy=(frames["energy"] - ground) * 1000.0)

    def ranges(part: pd.DataFrame) -> pd.DataFrame:
        groups = part.groupby(_STATE)[_QUANTITIES]
        lowest, highest = groups.min(), groups.max()
        table = lowest.add_prefix("lowest_").join(highest.add_prefix("highest_"))
        return table.assign(frames=groups.size())

    before = ranges(above).add_suffix("_before")
    table = before.join(ranges(above[above["chosen"]]).add_suffix("_after"))
    table["frames_after"] = table["frames_after"].fillna(0).astype(int)
    table = table.sort_values([*_COMPOSITION, "lowest_energy_before"])
    return table.reset_index()


def _write_record(
    folder: Path, arguments: Mapping[str, object], report: SelectionReport
) -> None:
    table = report.table
    record: dict[str, object] = {
        "spin_dp": version("spin-dp"),
        "arguments": arguments,
    }
    for when in ("before", "after"):
        frames = table[f"frames_{when}"]
        record[when] = {
            "frames": int(frames.sum()),
            "states": int((frames > 0).sum()),
            **report.totals(when),
        }
    is_covered = np.isfinite(report.mean_distance)
    record["left_out"] = {
        "mean_distance": report.mean_distance if is_covered else None,
        "largest_distance": report.largest_distance if is_covered else None,
        "uncovered": report.n_uncovered,
    }
    record["states"] = json.loads(table.to_json(orient="records"))
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")
