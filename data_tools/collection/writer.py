# SPDX-License-Identifier: LGPL-3.0-or-later
"""Writing a data set: systems frame by frame, and the tables about them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import defaultdict
from importlib.metadata import version
from typing import TYPE_CHECKING

from spin_dp.data_tools.collection import manifest as tables
from spin_dp.data_tools.collection.decide import Decisions, Entry, Rules
from spin_dp.data_tools.collection.labels import (
    catalogue_by_level,
    nominal_vectors,
    with_nominal_moments,
)
from spin_dp.data_tools.collection.output_folder import (
    LEVELS,
    MANIFEST,
    RECORD,
    SITES,
    STATES,
)
from spin_dp.data_tools.frame import Frame
from spin_dp.data_tools.systems.writing import FrameWriter, stationary_frame
from spin_dp.spin_states.catalogue import Catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from spin_dp.data_tools.collection.frame_store import Shard
    from spin_dp.data_tools.collection.summary import Summary
    from spin_dp.data_tools.frame import Array


class DatasetWriter:
    """Writes one data set.

    Parameters
    ----------
    decisions
        What becomes of each frame.
    rules
        What the user decided.
    type_map
        Elements in the order of their type numbers.

    Attributes
    ----------
    states
        The table of spin states.
    """

    def __init__(
        self, decisions: Decisions, rules: Rules, type_map: Sequence[str]
    ) -> None:
        self._fates = decisions.fates
        self.states = decisions.states.table()
        self._rules = rules
        self._type_map = type_map
        self._catalogue = catalogue_by_level(self.states)
        self._frames: dict[str, list[Summary]] = defaultdict(list)  # of each system
        for entry in self._kept():
            self._frames[entry.system].append(entry.frame)

    def write_systems(self, folder: Path, shards: Sequence[Shard]) -> None:
        """Write all systems, with the frames of one shard in memory at a time.

        Parameters
        ----------
        folder
            Folder of the data set.
        shards
            All shards, in the order of the decisions.
        """
        writers: dict[str, FrameWriter] = {}
        fates = iter(self._fates)
        for shard in shards:
            touched = set()
            for item in shard.frames():
                fate = next(fates)
                if not isinstance(fate, Entry) or not isinstance(item, Frame):
                    continue
                if fate.system not in writers:
                    writers[fate.system] = self._writer(folder, fate)
                writers[fate.system].add(*self._labelled(item, fate))
                touched.add(fate.system)
            for system in touched:
                writers[system].flush()

    def write_tables(
        self, folder: Path, arguments: Mapping[str, object], files: Sequence[str]
    ) -> pd.DataFrame:
        """Write manifest, sites, states, levels and the record of the run.

        Parameters
        ----------
        folder
            Folder of the data set.
        arguments
            Arguments to be recorded.
        files
            Sources of the data set.

        Returns
        -------
        pandas.DataFrame
            The manifest.
        """
        manifest = tables.manifest_table(
            [
                tables.kept_row(fate)
                if isinstance(fate, Entry)
                else tables.rejected_row(fate)
                for fate in self._fates
            ]
        )
        manifest.to_csv(folder / MANIFEST, index=False)
        self.states.to_csv(folder / STATES, index=False)
        self._write_sites(folder / SITES)
        levels = {
            e.frame.level.id: dict(e.frame.level.description) for e in self._kept()
        }
        _write_json(folder / LEVELS, dict(sorted(levels.items())))
        record = {
            "spin_dp": version("spin-dp"),
            "arguments": dict(arguments),
            "type_map": list(self._type_map),
            "files": list(files),
        }
        _write_json(folder / RECORD, record)
        return manifest

    def _kept(self) -> Iterator[Entry]:
        return (fate for fate in self._fates if isinstance(fate, Entry))

    def _write_sites(self, path: Path) -> None:
        """Write the sites row by row: there are many more of them than frames."""
        with (
            gzip.GzipFile(path, "wb", mtime=0) as packed,  # equal data, equal files
            io.TextIOWrapper(packed, encoding="utf-8", newline="") as stream,
        ):
            table = csv.DictWriter(stream, tables.SITE_COLUMNS, lineterminator="\n")
            table.writeheader()
            for entry in self._kept():
                table.writerows(tables.site_rows(entry))

    def _writer(self, folder: Path, entry: Entry) -> FrameWriter:
        level = entry.frame.level
        frames = self._frames[entry.system]
        constrained = {frame.constrained for frame in frames}
        return FrameWriter(
            folder / entry.system,
            self._type_map,
            len(frames),
            note={
                "formula": entry.frame.formula,
                "level": level.id,
                "level_label": level.label,
                "level_description": dict(level.description),
                "key": entry.state.key,
                "labels": self._rules.labels,
                "states": self._states_of(entry).records(),
                "constrained": constrained.pop() if len(constrained) == 1 else None,
            },
        )

    def _states_of(self, entry: Entry) -> Catalogue:
        """Return the states of a frame's sites."""
        levels = entry.site_levels
        names = zip(entry.frame.sites.elements, entry.state.labels, strict=True)
        states = {self._catalogue[levels[element], label] for element, label in names}
        return Catalogue.joined([Catalogue(list(states))])

    def _labelled(self, frame: Frame, entry: Entry) -> tuple[Frame, Array | None]:
        """Return the frame as it is written, and a guess of its DFT moments."""
        nominal = nominal_vectors(
            frame, entry.frame, entry.state, entry.site_levels, self._catalogue
        )
        if self._rules.labels == "nominal":
            return with_nominal_moments(frame, nominal), None
        if entry.magnetic_forces == "zero":
            frame = stationary_frame(frame)
        return frame, nominal


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
