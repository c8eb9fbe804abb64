# SPDX-License-Identifier: LGPL-3.0-or-later
"""From calculation outputs to deepmd-kit systems, one for each spin state.

Frames of different composition, level of theory or spin-state key go into different
systems. Every frame read is in the manifest, kept or quarantined with the reason.
"""

from __future__ import annotations

import json
import logging
import statistics
from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.dataset import manifest as tables
from spin_dp.data_tools.dataset.manifest import Entry
from spin_dp.data_tools.dataset.output import (
    LEVELS,
    MANIFEST,
    RECORD,
    check_output,
    replaced_folder,
)
from spin_dp.data_tools.dataset.split import draw_validation, number_geometries
from spin_dp.data_tools.dataset.systems import write_system
from spin_dp.data_tools.elements import is_element, type_order
from spin_dp.data_tools.frame import Frame, Rejected, reject
from spin_dp.data_tools.readers.registry import find_sources, read_source
from spin_dp.data_tools.readers.source import ReadOptions, Source
from spin_dp.data_tools.spin_states.pattern import spin_key
from spin_dp.errors import ConfigError, DataError, unknown

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    import pandas as pd

    from spin_dp.data_tools.spin_states.pattern import SpinKey

log = logging.getLogger(__name__)

OUTLIER = "absurd energy: over 50 eV/atom from the median of its formula and level"
_OUTLIER_EV_PER_ATOM = 50.0
_FEWEST_FOR_MEDIAN = 3


@dataclass(frozen=True)
class CollectReport:
    """What :func:`collect` did.

    Attributes
    ----------
    out, manifest
        Output folder and its ``manifest.csv``.
    n_files, n_read, n_kept, n_quarantined
        Counts of files and frames.
    training, validation
        System folders that were written.
    reasons
        Number of quarantined frames by reason, the most frequent first.
    table
        Kept frames by formula, level and key, see
        :func:`spin_dp.data_tools.dataset.manifest.key_table`.
    """

    out: Path
    manifest: Path
    n_files: int
    n_read: int
    n_kept: int
    n_quarantined: int
    training: tuple[Path, ...]
    validation: tuple[Path, ...]
    reasons: dict[str, int]
    table: pd.DataFrame


def collect(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    type_map: Sequence[str] | None = None,
    validation: float = 0.0,
    seed: int = 0,
    level: str | None = None,
    stationary_moments: bool = False,
    progress: Callable[[Path, int, int], None] | None = None,
) -> CollectReport:
    """Read frames, name their spin states and write deepmd-kit systems.

    Parameters
    ----------
    sources
        Files (extended XYZ, OUTCAR; also gzipped) or folders to search.
    out
        Output folder: new, empty, or an earlier result of the same arguments, which is
        then rebuilt.
    type_map
        Elements in the order of their type numbers; None for all elements found.
    validation
        Share of the geometries of each composition that goes to ``out/validation``. All
        spin states of a geometry stay on one side. Ionic steps of one run count as
        different geometries.
    seed
        Seed of the validation draw.
    level
        Level of theory of frames that do not record one.
    stationary_moments
        Write ``force_mag`` = 0 for frames whose moments were free (a true label of a
        converged SCF calculation), in systems of their own (``-free``, ``-held``).
    progress
        Called with file, number and count before each file is read.

    Returns
    -------
    CollectReport
        Counts, paths and the table of spin states.

    Raises
    ------
    ConfigError
        If an argument is wrong or the output folder must not be overwritten.
    DataError
        If there is nothing to read or every frame was quarantined.
    """
    out = Path(out)
    _check_type_map(type_map)
    draw_validation([], [], [], validation, seed)
    arguments: dict[str, object] = {
        "sources": [str(Path(source).absolute()) for source in sources],
        "type_map": None if type_map is None else list(type_map),
        "validation": validation,
        "seed": seed,
        "level": level,
        "stationary_moments": stationary_moments,
    }
    check_output(out, arguments)
    files = find_sources(sources)
    items = _read(files, level, progress)
    kept = [item for item in items if isinstance(item, Frame)]
    rejected = [item for item in items if isinstance(item, Rejected)]
    if not kept:
        raise _nothing_kept(rejected)
    order = _full_type_map(kept, type_map)
    entries = _decide(kept, validation, seed, stationary_moments)
    table = _manifest(items, entries)
    with replaced_folder(out) as fresh:
        systems = _write_systems(fresh, entries, order, stationary_moments)
        _write_records(fresh, arguments, files, kept, table)
    log.info("kept %d of %d frames in %s", len(kept), len(items), out)
    return CollectReport(
        out=out,
        manifest=out / MANIFEST,
        n_files=len(files),
        n_read=len(items),
        n_kept=len(kept),
        n_quarantined=len(rejected),
        training=tuple(out / s for s in systems if s.startswith("training/")),
        validation=tuple(out / s for s in systems if s.startswith("validation/")),
        reasons=tables.count_reasons(rejected),
        table=tables.key_table(table),
    )


def _check_type_map(type_map: Sequence[str] | None) -> None:
    if type_map is None:
        return
    from ase.data import chemical_symbols

    for symbol in type_map:
        if not is_element(symbol):
            raise unknown("element", symbol, chemical_symbols[1:])
    if len(set(type_map)) != len(type_map):
        raise ConfigError(f"the type map names an element twice: {', '.join(type_map)}")


def _read(
    files: Sequence[Source],
    level: str | None,
    progress: Callable[[Path, int, int], None] | None,
) -> list[Frame | Rejected]:
    items: list[Frame | Rejected] = []
    for number, source in enumerate(files):
        if progress is not None:
            progress(source.path, number, len(files))
        items += read_source(source, ReadOptions(level=level))
    return _without_outliers(items)


def _without_outliers(items: Sequence[Frame | Rejected]) -> list[Frame | Rejected]:
    """Reject frames whose energy is far from all others of formula and level."""
    per_atom: dict[tuple[str, str], list[float]] = defaultdict(list)
    for item in items:
        if isinstance(item, Frame):
            group = (item.formula, item.level.id)
            per_atom[group].append(item.energy / item.natoms)
    medians = {
        group: statistics.median(energies)
        for group, energies in per_atom.items()
        if len(energies) >= _FEWEST_FOR_MEDIAN
    }

    def is_outlier(frame: Frame) -> bool:
        energy = frame.energy / frame.natoms
        median = medians.get((frame.formula, frame.level.id), energy)
        return abs(energy - median) > _OUTLIER_EV_PER_ATOM

    return [
        reject(item, OUTLIER) if isinstance(item, Frame) and is_outlier(item) else item
        for item in items
    ]


def _nothing_kept(rejected: Sequence[Rejected]) -> DataError:
    reason, count = next(iter(tables.count_reasons(rejected).items()))
    first = next(frame.source for frame in rejected if frame.reason == reason)
    if len(rejected) == 1:
        return DataError(f"{first}: {reason}")
    return DataError(
        f"{first}: {reason} ({count} of {len(rejected)} frames read; "
        "none of them can be used)"
    )


def _full_type_map(
    frames: Sequence[Frame], type_map: Sequence[str] | None
) -> tuple[str, ...]:
    found = type_order(symbol for frame in frames for symbol in frame.symbols)
    if type_map is None:
        return found
    for symbol in found:
        if symbol not in type_map:
            raise unknown("element (not in the type map)", symbol, type_map)
    return tuple(type_map)


def _decide(
    frames: Sequence[Frame], validation: float, seed: int, stationary: bool
) -> list[Entry]:
    """Name geometry, split, key and system of each kept frame."""
    geometries = number_geometries(frames)
    held_out = draw_validation(
        [f.formula for f in frames],
        geometries,
        [float(np.linalg.norm(f.forces, axis=1).max()) for f in frames],
        validation,
        seed,
    )
    counts: dict[str, int] = defaultdict(int)
    entries = []
    for frame, geometry, is_held_out in zip(frames, geometries, held_out, strict=True):
        key = spin_key(frame.symbols, frame.moments)
        split = "validation" if is_held_out else "training"
        system = f"{split}/{_system_name(frame, key, stationary)}"
        entries.append(Entry(frame, key, geometry, split, system, counts[system]))
        counts[system] += 1
    return entries


def _system_name(frame: Frame, key: SpinKey, stationary: bool) -> str:
    ending = ("-free" if frame.constrained is False else "-held") if stationary else ""
    return f"{frame.formula}/{frame.level.id}/{key.slug}{ending}"


def _manifest(
    items: Sequence[Frame | Rejected], entries: Sequence[Entry]
) -> pd.DataFrame:
    kept = iter(entries)
    return tables.manifest_table(
        [
            tables.kept_row(next(kept))
            if isinstance(item, Frame)
            else tables.rejected_row(item)
            for item in items
        ]
    )


def _write_systems(
    folder: Path, entries: Sequence[Entry], type_map: Sequence[str], stationary: bool
) -> list[str]:
    members: dict[str, list[Frame]] = defaultdict(list)
    for entry in entries:
        members[entry.system].append(entry.frame)
    for system, frames in members.items():
        free = stationary and all(frame.constrained is False for frame in frames)
        write_system(folder / system, frames, type_map, stationary=free)
    return sorted(members)


def _write_records(
    folder: Path,
    arguments: dict[str, object],
    files: Sequence[Source],
    frames: Sequence[Frame],
    table: pd.DataFrame,
) -> None:
    table.to_csv(folder / MANIFEST, index=False)
    levels = {frame.level.id: dict(frame.level.description) for frame in frames}
    _write_json(folder / LEVELS, dict(sorted(levels.items())))
    record = {
        "spin_dp": _version(),
        "arguments": arguments,
        "files": [str(source.path) for source in files],
    }
    _write_json(folder / RECORD, record)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _version() -> str:
    try:
        return version("spin-dp")
    except PackageNotFoundError:
        return "unknown"
