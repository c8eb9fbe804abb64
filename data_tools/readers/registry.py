# SPDX-License-Identifier: LGPL-3.0-or-later
"""The registry of readers: finding the sources, reading each."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from spin_dp.data_tools.frame import Frame, Rejected
from spin_dp.data_tools.readers.abacus import ABACUS
from spin_dp.data_tools.readers.ase_files import ASE_FILES
from spin_dp.data_tools.readers.deepmd_system import DEEPMD
from spin_dp.data_tools.readers.dpdata_source import DPDATA, parse
from spin_dp.data_tools.readers.gpaw_text import GPAW_TEXT
from spin_dp.data_tools.readers.source import ReadOptions
from spin_dp.data_tools.readers.vasp.run import VASP
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spin_dp.data_tools.readers.source import Source

RESULT = "collect.json"
"""File by which the result of a collection is known."""
log = logging.getLogger(__name__)
NO_FRAMES = "no frames in the file"
READERS = {
    reader.name: reader
    for reader in (ASE_FILES, VASP, GPAW_TEXT, ABACUS, DEEPMD, DPDATA)
}


def find_sources(paths: Sequence[str | os.PathLike[str]]) -> list[Source]:
    """Return the sources to read, each once, sorted within each path.

    Parameters
    ----------
    paths
        Files, folders that are searched with all their subfolders, or ``FORMAT:PATH``
        with a format of dpdata. Results of earlier collections inside a folder are
        passed over.

    Returns
    -------
    list of Source
        What the registered readers found.

    Raises
    ------
    ConfigError
        If a format of dpdata is misspelt.
    DataError
        If a path does not exist or holds nothing readable.
    """
    found: dict[tuple[Path, str], Source] = {}
    files: dict[Path, list[Path]] = defaultdict(list)
    for text in [os.fspath(path) for path in paths]:
        if (named := parse(text)) is not None:
            _add(found, [named])
            continue
        path = Path(text)
        if path.is_dir():
            sources = _search(path)
        elif path.exists():
            files[path.parent].append(path)  # partners may come as separate arguments
            sources = _in_folder(path.parent, [path])
        else:
            raise DataError(f"{path}: no such file or folder")
        if not sources:
            what = "nothing to read in this folder" if path.is_dir() else "unknown kind"
            raise DataError(f"{path}: {what}; known: {known_formats()}")
        if path.is_dir():
            _add(found, sources)
    for folder, members in files.items():
        _add(found, _in_folder(folder, members))
    return list(found.values())


def known_formats() -> str:
    """Return what can be read, in words."""
    return "; ".join(reader.reads for reader in READERS.values())


def _add(found: dict[tuple[Path, str], Source], sources: Iterable[Source]) -> None:
    for source in sources:
        found.setdefault((source.path.resolve(), source.format), source)


def _search(folder: Path) -> list[Source]:
    sources: list[Source] = []
    seen: set[str] = set()  # links to folders are followed, once
    walk = os.walk(folder, onerror=_skipped, followlinks=True)
    for root, folders, names in walk:
        real = os.path.realpath(root)
        is_result = RESULT in names and Path(root) != folder
        if real in seen or is_result:
            folders[:] = []
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        sources += _in_folder(Path(root), [Path(root) / name for name in sorted(names)])
    return sources


def _skipped(error: OSError) -> None:
    log.warning("%s: passed over: %s", error.filename, error.strerror)


def _in_folder(folder: Path, files: Sequence[Path]) -> list[Source]:
    sources = [s for reader in READERS.values() for s in reader.find(folder, files)]
    return sorted(sources, key=lambda source: source.path)


def read_source(
    source: Source, options: ReadOptions | None = None
) -> Iterator[Frame | Rejected]:
    """Yield the frames of one source, usable or rejected.

    Parameters
    ----------
    source
        A source returned by :func:`find_sources`.
    options
        What the user decided; the defaults when None.

    Yields
    ------
    Frame or Rejected
        In the order of the source. One that cannot be read at all is one rejected
        frame with step 0.
    """
    is_empty = True
    try:
        for item in READERS[source.reader].read(source, options or ReadOptions()):
            is_empty = False
            yield item
    except DataError as error:
        yield Rejected(source=str(source.path), step=0, reason=str(error))
    else:
        if is_empty:
            yield Rejected(source=str(source.path), step=0, reason=NO_FRAMES)
