# SPDX-License-Identifier: LGPL-3.0-or-later
"""Finding the files to read, and the reader of each."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from spin_dp.data_tools.extxyz import read_extxyz
from spin_dp.data_tools.frame import Frame, Rejected
from spin_dp.data_tools.outcar import read_outcar
from spin_dp.errors import DataError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence


NO_FRAMES = "no frames in the file"


@dataclass(frozen=True)
class Format:
    """A kind of file: the names it goes by and its reader.

    Attributes
    ----------
    patterns
        File-name patterns; ``.gz`` after any of them is understood.
    read
        Reader of one file; takes the path and the level named by the user.
    """

    patterns: tuple[str, ...]
    read: Callable[[Path, str | None], Iterator[Frame | Rejected]]

    def owns(self, path: Path) -> bool:
        """Return whether a file of this name is of this kind."""
        name = path.name.removesuffix(".gz")
        return any(fnmatch(name, pattern) for pattern in self.patterns)


FORMATS = {
    "extxyz": Format(
        ("*.extxyz", "*.xyz"), lambda path, level: read_extxyz(path, level=level)
    ),
    "outcar": Format(("OUTCAR*",), lambda path, _: read_outcar(path)),
}


def find_files(sources: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Return the files to read, each once, sorted within each source.

    Parameters
    ----------
    sources
        Files, or folders that are searched with all their subfolders.

    Returns
    -------
    list of Path
        Files that :func:`read_file` understands.

    Raises
    ------
    DataError
        If a source does not exist or holds nothing readable.
    """
    found: dict[Path, Path] = {}
    for source in map(Path, sources):
        for path in _files_of(source):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _files_of(source: Path) -> list[Path]:
    names = ", ".join(p for kind in FORMATS.values() for p in kind.patterns)
    if source.is_dir():
        paths = sorted(p for p in source.rglob("*") if p.is_file() and _format(p))
        if not paths:
            raise DataError(f"{source}: no file to read in this folder; known: {names}")
        return paths
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    if _format(source) is None:
        raise DataError(
            f"{source}: unknown kind of file; known: {names}"
            + _hint(source)
            + ", each also gzipped"
        )
    return [source]


def _hint(path: Path) -> str:
    if "vasprun" in path.name:
        return " (vasprun.xml holds no per-atom moments, give the OUTCAR)"
    return ""


def _format(path: Path) -> Format | None:
    for kind in FORMATS.values():
        if kind.owns(path):
            return kind
    return FORMATS["outcar"] if _starts_like_outcar(path) else None


def _starts_like_outcar(path: Path) -> bool:
    """Recognise an OUTCAR of another name, e.g. ``run1.outcar``."""
    if "outcar" not in path.name.lower():
        return False
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as stream:
            return stream.read(64).lstrip().startswith(b"vasp.")
    except OSError:
        return False


def read_file(path: Path, *, level: str | None = None) -> Iterator[Frame | Rejected]:
    """Yield the frames of one file, usable or rejected.

    Parameters
    ----------
    path
        A file returned by :func:`find_files`.
    level
        Level of theory of frames whose file does not say it.

    Yields
    ------
    Frame or Rejected
        In the order of the file. A file that cannot be read at all is one rejected
        frame with step 0.
    """
    kind = _format(path)
    if kind is None:
        raise DataError(f"{path}: unknown kind of file")
    is_empty = True
    try:
        for item in kind.read(path, level):
            is_empty = False
            yield item
    except DataError as error:
        yield Rejected(source=str(path), step=0, reason=str(error))
    else:
        if is_empty:
            yield Rejected(source=str(path), step=0, reason=NO_FRAMES)
