# SPDX-License-Identifier: LGPL-3.0-or-later
"""From calculation outputs to deepmd-kit systems, one for each spin state.

Frames of different composition, level of theory or spin-state key go into different
systems. Every frame read is in the manifest, kept or quarantined with the reason. What
was read stays in the frame store of the output folder, so that a grown campaign or an
interrupted run costs only what is new.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from spin_dp.data_tools.collection import manifest as tables
from spin_dp.data_tools.collection.collected import read_manifest
from spin_dp.data_tools.collection.decide import Entry, Rules, decide
from spin_dp.data_tools.collection.frame_store import FOLDER, FrameStore
from spin_dp.data_tools.collection.output_folder import (
    MANIFEST,
    RECORD,
    carry_store,
    check_output,
    locked,
    read_record,
)
from spin_dp.data_tools.collection.reading import read_into
from spin_dp.data_tools.collection.split import draw_validation
from spin_dp.data_tools.collection.writer import DatasetWriter
from spin_dp.data_tools.frame import Rejected
from spin_dp.data_tools.level import compatible_groups
from spin_dp.data_tools.readers.registry import find_sources
from spin_dp.data_tools.readers.source import ReadOptions
from spin_dp.data_tools.systems.system import TRAINING, VALIDATION
from spin_dp.errors import ConfigError, DataError, unknown
from spin_dp.files import replaced_folder
from spin_dp.spin_states.elements import is_element, type_order

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from spin_dp.data_tools.collection.decide import Earlier
    from spin_dp.data_tools.collection.frame_store import Shard
    from spin_dp.data_tools.collection.reading import Progress
    from spin_dp.data_tools.readers.source import Source

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CollectReport:
    """What :func:`collect` did.

    Attributes
    ----------
    out, manifest
        Output folder and its ``manifest.csv``.
    n_sources, n_read_now
        Sources of the data set, and how many of them were read in this run; the others
        had been read before.
    n_read, n_kept, n_quarantined
        Counts of frames.
    training, validation
        System folders that were written.
    reasons
        Number of quarantined frames by reason, the most frequent first.
    table
        Kept frames by formula, level and key, see
        :func:`spin_dp.data_tools.collection.manifest.key_table`.
    states
        Spin states of sites, see
        :meth:`spin_dp.data_tools.naming.classify.SpinStates.table`.
    level_groups
        Number of each level of theory's group; levels of different groups must not be
        trained on together.
    n_doubtful
        Number of kept frames whose naming is ambiguous or unbalanced.
    """

    out: Path
    manifest: Path
    n_sources: int
    n_read_now: int
    n_read: int
    n_kept: int
    n_quarantined: int
    training: tuple[Path, ...]
    validation: tuple[Path, ...]
    reasons: dict[str, int]
    table: pd.DataFrame
    states: pd.DataFrame
    level_groups: dict[str, int]
    n_doubtful: int


def collect(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    type_map: Sequence[str] | None = None,
    options: ReadOptions | None = None,
    rules: Rules | None = None,
    prune: bool = False,
    rebuild: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> CollectReport:
    """Read frames, name their spin states and write deepmd-kit systems.

    Parameters
    ----------
    sources
        Files or folders to search, see
        :func:`spin_dp.data_tools.readers.registry.find_sources`.
    out
        Output folder: new, empty, or an earlier result of the same arguments. What it
        holds is then read no more, only what is new or has changed; frames keep their
        side of the validation split.
    type_map
        Elements in the order of their type numbers; None for all elements found.
    options
        How sources are read.
    rules
        What is done with the frames.
    prune
        Forget sources whose files exist no more; without it their frames stay.
    rebuild
        Make an earlier result anew, with other arguments if they are: what was read
        counts on, but geometries are numbered and validation is drawn afresh.
    workers, scheduler
        Number of reading processes, or address of a Dask scheduler whose workers see
        the same files.
    progress
        Called with path, number read and number to read after each source.

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
    options, rules = options or ReadOptions(), rules or Rules()
    _check(type_map, rules)
    arguments = {
        "type_map": None if type_map is None else list(type_map),
        **asdict(options),
        **asdict(rules),
        # None as of a version that did not know it.
        "hold_out": list(rules.hold_out) or None,
        "lowest_solutions": rules.lowest_solutions or None,
    }
    check_output(out, arguments, verb="collect", record=RECORD, rebuild=rebuild)
    present = [_in_full(source) for source in find_sources(sources)]
    _check_outside(present, out)
    with locked(out):
        earlier = {} if rebuild else _earlier(out)
        store = FrameStore(out / FOLDER)
        n_read_now = read_into(
            store,
            present,
            options,
            workers=workers,
            scheduler=scheduler,
            progress=progress,
        )
        shards = _shards(store, present, out, prune=prune)
        return _build(out, shards, type_map, rules, arguments, earlier, n_read_now)


def _check(type_map: Sequence[str] | None, rules: Rules) -> None:
    draw_validation([], [], [], rules.validation, rules.seed)
    if rules.max_force <= 0.0:
        raise ConfigError(f"the largest force must be positive, got {rules.max_force}")
    if rules.labels == "nominal" and rules.stationary_moments:
        raise ConfigError(
            "magnetic forces of zero belong to the moments of DFT, not to nominal "
            "ones; give up --stationary-moments or --labels nominal"
        )
    if type_map is None:
        return
    from ase.data import chemical_symbols

    for symbol in type_map:
        if not is_element(symbol):
            raise unknown("element", symbol, chemical_symbols[1:])
    if len(set(type_map)) != len(type_map):
        raise ConfigError(f"the type map names an element twice: {', '.join(type_map)}")


def _in_full(source: Source) -> Source:
    """Return the source with paths that hold from every folder and machine."""
    path, *files = (p.parent.resolve() / p.name for p in (source.path, *source.files))
    return replace(source, path=path, files=tuple(files))


def _check_outside(sources: Sequence[Source], out: Path) -> None:
    for source in sources:
        if source.path.is_relative_to(out.resolve()):
            raise ConfigError(
                f"{source.path}: lies in the output folder {out}; sources must lie "
                "elsewhere"
            )


def _shards(
    store: FrameStore, present: Sequence[Source], out: Path, *, prune: bool
) -> list[Shard]:
    """Return the shards of the sources present now and of the earlier data set.

    Others were read by a run with other sources that was interrupted. A file that was
    read alone, and now with others, counts once.
    """
    now = {store.path_of(source) for source in present}
    covered = {str(path.resolve()) for source in present for path in source.files}
    before = set(read_record(out / RECORD).get("files", ()))
    return [
        shard
        for shard in store.shards()
        if shard.path in now
        or (
            shard.source in before
            and shard.origin not in covered
            and not (prune and not Path(shard.origin).exists())
        )
    ]


def _build(
    out: Path,
    shards: Sequence[Shard],
    type_map: Sequence[str] | None,
    rules: Rules,
    arguments: Mapping[str, object],
    earlier: Mapping[tuple[str, int], Earlier],
    n_read_now: int,
) -> CollectReport:
    """Decide about all frames in the store and write the data set anew."""
    items = [item for shard in shards for item in shard.summaries()]
    decisions = decide(items, rules, earlier)
    entries = [fate for fate in decisions.fates if isinstance(fate, Entry)]
    rejected = [fate for fate in decisions.fates if isinstance(fate, Rejected)]
    if not entries:
        raise _nothing_kept(rejected)
    writer = DatasetWriter(decisions, rules, _full_type_map(entries, type_map))
    with replaced_folder(out) as fresh:
        writer.write_systems(fresh, shards)
        files = [shard.source for shard in shards]
        table = writer.write_tables(fresh, arguments, files)
        carry_store([shard.path for shard in shards], out, fresh)
    log.info("kept %d of %d frames in %s", len(entries), len(items), out)
    systems = sorted({entry.system for entry in entries})
    return CollectReport(
        out=out,
        manifest=out / MANIFEST,
        n_sources=len(shards),
        n_read_now=n_read_now,
        n_read=len(items),
        n_kept=len(entries),
        n_quarantined=len(rejected),
        training=tuple(out / s for s in systems if s.startswith(TRAINING)),
        validation=tuple(out / s for s in systems if s.startswith(VALIDATION)),
        reasons=tables.count_reasons(rejected),
        table=tables.key_table(table),
        states=writer.states,
        level_groups=compatible_groups(entry.frame.level for entry in entries),
        n_doubtful=sum(e.state.naming in {"ambiguous", "unbalanced"} for e in entries),
    )


def _earlier(out: Path) -> dict[tuple[str, int], Earlier]:
    """Return geometry and split that the frames kept earlier have."""
    if not (out / MANIFEST).exists():
        return {}
    table = read_manifest(out)
    kept = table[table["status"] == tables.KEPT]
    return {
        (row["source"], row["step"]): (row["geometry"], row["split"])
        for row in kept.to_dict("records")
    }


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
    entries: Sequence[Entry], type_map: Sequence[str] | None
) -> tuple[str, ...]:
    elements = type_order(e for entry in entries for e in entry.frame.elements)
    if type_map is None:
        return elements
    for symbol in elements:
        if symbol not in type_map:
            raise unknown("element (not in the type map)", symbol, type_map)
    return tuple(type_map)
