# SPDX-License-Identifier: LGPL-3.0-or-later
"""The frame store: what was read from each source, on disk, so that it is read once.

A shard holds all frames of one source, usable and rejected, in one ``.npz`` file that
appears when it is complete. It remembers sizes and times of the files it was made from
and how they were read; a source whose files have changed is read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from spin_dp.data_tools.collection.summary import N_FORCES, Summary, summarise
from spin_dp.data_tools.frame import Frame, Rejected
from spin_dp.data_tools.level import Level
from spin_dp.data_tools.naming.sites import Sites
from spin_dp.errors import DataError
from spin_dp.files import replacing
from spin_dp.spin_states.elements import carries_spin_state, formula

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from spin_dp.data_tools.readers.source import ReadOptions, Source

FOLDER = ".frames"
_LAYOUT = 2  # raised when older shards must not be used
_PER_ATOM = ("positions", "forces", "moments", "magnetic_forces")
_PER_FRAME = ("cell", "virial")
_PER_SITE = ("indices", "moments", "coordination", "positions")
_OF_SUMMARY = ("fingerprint", "shortest")
_OF_HEAD = (
    *("source", "step", "energy", "energy_kind", "constrained"),
    *("total_moment", "geometry_id", "note"),
)
_DAMAGED = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile)
_Array: TypeAlias = "np.ndarray[Any, Any]"
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Shard:
    """The frames of one source in the store.

    Attributes
    ----------
    path
        Its file.
    source, origin
        Path of the source as the manifest names it, and with all links resolved.
    """

    path: Path
    source: str
    origin: str

    def frames(self) -> list[Frame | Rejected]:
        """Return all frames of the source, in order.

        Raises
        ------
        DataError
            If the file is damaged.
        """
        return self._read(_unpack_frames)

    def summaries(self) -> list[Summary | Rejected]:
        """Return the summaries of all frames of the source, in order.

        Raises
        ------
        DataError
            If the file is damaged.
        """
        return self._read(_unpack_summaries)

    def _read(self, unpack: Callable[[Any], list[_Item]]) -> list[_Item]:
        try:
            with _opened(self.path) as data:
                return unpack(data)
        except _DAMAGED as error:
            raise DataError(
                f"{self.path}: not a whole file of the frame store; remove it and "
                "collect again"
            ) from error


class FrameStore:
    """A folder of shards.

    Parameters
    ----------
    folder
        The folder; made when the first shard is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def shards(self) -> list[Shard]:
        """Return all shards, by path of their sources."""
        shards = []
        for path in self.folder.glob("*.npz"):
            record = _record(path)
            if record is not None:
                shards.append(Shard(path, record["source"], record["origin"]))
        return sorted(shards, key=lambda shard: shard.source)

    def has(self, source: Source, options: ReadOptions) -> bool:
        """Return whether the source is in the store as it now is on disk."""
        record = _record(self.path_of(source))
        return record is not None and record["signature"] == signature(source, options)

    def path_of(self, source: Source) -> Path:
        """Return the file of the shard of a source."""
        name = f"{source.format}:{source.path.resolve()}"
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.npz"

    def write(
        self,
        source: Source,
        options: ReadOptions,
        items: Iterable[Frame | Rejected],
    ) -> Shard:
        """Write what was read from a source, in place of what was read before."""
        record = {
            "source": str(source.path),
            "origin": str(source.path.resolve()),
            "signature": signature(source, options),
        }
        arrays = _pack(list(items)) | {"record": np.array(json.dumps(record))}
        path = self.path_of(source)
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, part.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        return Shard(path, record["source"], record["origin"])


def signature(source: Source, options: ReadOptions) -> str:
    """Return what tells one state of a source's files, read one way, from another."""
    parts = [
        _LAYOUT,
        source.reader,
        source.format,
        asdict(options),
        [_state_of(path) for path in source.files],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with path.open("rb") as stream, np.load(stream) as data:
        yield data  # numpy itself leaves a damaged file open


def _state_of(path: Path) -> tuple[str, int, int]:
    """Return name, size and time of a file; -1 where it cannot be read now."""
    name = str(path.resolve())
    try:
        stat = path.stat()
    except OSError:
        return name, -1, -1
    size = stat.st_size if os.access(path, os.R_OK) else -1
    return name, size, stat.st_mtime_ns


def _record(path: Path) -> dict[str, str] | None:
    """Return the record of a shard, None if there is no whole one."""
    try:
        with _opened(path) as data:
            record: dict[str, str] = json.loads(str(data["record"]))
    except _DAMAGED:
        return None
    return record


def _pack(items: Sequence[Frame | Rejected]) -> dict[str, _Array]:
    frames = [item for item in items if isinstance(item, Frame)]
    heads = [
        {"rejected": asdict(item)} if isinstance(item, Rejected) else _head(item)
        for item in items
    ]
    levels = {frame.level.id: frame.level for frame in frames}
    text = json.dumps(
        {
            "items": heads,
            "levels": {
                key: [level.label, json.dumps(dict(level.description))]
                for key, level in levels.items()
            },
        }
    )
    arrays = {"heads": np.array(text)}
    for name in (*_PER_ATOM, *_PER_FRAME):
        arrays[name] = _joined([getattr(frame, name) for frame in frames])
    summaries = [summarise(frame) for frame in frames]
    for name in _PER_SITE:
        arrays[f"site_{name}"] = _joined([getattr(s.sites, name) for s in summaries])
    for name in _OF_SUMMARY:
        arrays[name] = np.array([getattr(s, name) for s in summaries])
    arrays["site_totals"] = np.array(
        [(s.sites.ion_charge, s.sites.total_moment) for s in summaries]
    )
    arrays["force_print"] = _joined([s.force_print for s in summaries])
    return arrays


def _joined(parts: Sequence[_Array | None]) -> _Array:
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else np.zeros((0, 3))


def _head(frame: Frame) -> dict[str, object]:
    """Return everything of a frame but its arrays."""
    return {
        "source": frame.source,
        "step": frame.step,
        "symbols": list(frame.symbols),
        "energy": frame.energy,
        "level": frame.level.id,
        "energy_kind": frame.energy_kind,
        "constrained": frame.constrained,
        "total_moment": frame.total_moment,
        "geometry_id": frame.geometry_id,
        "note": frame.note,
        "has": [
            name
            for name in (*_PER_ATOM, *_PER_FRAME)
            if getattr(frame, name) is not None
        ],
    }


def _heads(data: Any) -> tuple[list[dict[str, Any]], dict[str, Level]]:  # noqa: ANN401
    text = json.loads(str(data["heads"]))
    levels = {key: _level(*parts) for key, parts in text["levels"].items()}
    return text["items"], levels


@cache
def _level(label: str, description: str) -> Level:
    """Return one object for all frames of a level, whatever shard they are in."""
    return Level(label, json.loads(description))


def _unpack_summaries(data: Any) -> list[Summary | Rejected]:  # noqa: ANN401
    heads, levels = _heads(data)
    sites = {name: data[f"site_{name}"] for name in _PER_SITE}
    numbers = {name: data[name] for name in _OF_SUMMARY}
    cells, totals, forces = data["cell"], data["site_totals"], data["force_print"]
    items: list[Summary | Rejected] = []
    frame = site = force = 0
    for head in heads:
        if "rejected" in head:
            items.append(Rejected(**head["rejected"]))
            continue
        symbols = head["symbols"]
        elements = tuple(symbol for symbol in symbols if carries_spin_state(symbol))
        rows = slice(site, site + len(elements))
        n_forces = min(len(symbols), N_FORCES)
        items.append(
            Summary(
                **{name: head[name] for name in _OF_HEAD},
                formula=formula(symbols),
                natoms=len(symbols),
                level=levels[head["level"]],
                elements=tuple(sorted(set(symbols))),
                sites=Sites(
                    elements=elements,
                    cell=cells[3 * frame : 3 * frame + 3],
                    ion_charge=float(totals[frame, 0]),
                    total_moment=float(totals[frame, 1]),
                    **{name: array[rows] for name, array in sites.items()},
                ),
                force_print=forces[force : force + n_forces],
                has_virial="virial" in head["has"],
                has_magnetic_forces="magnetic_forces" in head["has"],
                fingerprint=numbers["fingerprint"][frame],
                shortest=float(numbers["shortest"][frame]),
            )
        )
        frame, site, force = frame + 1, site + len(elements), force + n_forces
    return items


def _unpack_frames(data: Any) -> list[Frame | Rejected]:  # noqa: ANN401
    heads, levels = _heads(data)
    arrays = {name: data[name] for name in (*_PER_ATOM, *_PER_FRAME)}
    places = dict.fromkeys(arrays, 0)
    return [
        Rejected(**head["rejected"])
        if "rejected" in head
        else _frame(head, levels, _rows(head, arrays, places))
        for head in heads
    ]


def _rows(
    head: dict[str, Any],
    arrays: dict[str, _Array],
    places: dict[str, int],
) -> Iterator[tuple[str, _Array]]:
    """Take the rows of the next frame off each array."""
    for name in head["has"]:
        count = 3 if name in _PER_FRAME else len(head["symbols"])
        yield name, arrays[name][places[name] : places[name] + count]
        places[name] += count


def _frame(
    head: dict[str, Any],
    levels: dict[str, Level],
    rows: Iterator[tuple[str, _Array]],
) -> Frame:
    values = {name: head[name] for name in head if name not in {"has", "level"}}
    values["symbols"] = tuple(values["symbols"])
    arrays: dict[str, Any] = {"virial": None, **dict(rows)}
    return Frame(level=levels[head["level"]], **values, **arrays)
