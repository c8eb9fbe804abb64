# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a reader is: it finds its sources in a folder and reads one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from spin_dp.data_tools.frame import Frame, Rejected

MissingMoments = Literal["reject", "zero"]


@dataclass(frozen=True)
class Source:
    """One calculation (or file of frames) to be read as a whole.

    Attributes
    ----------
    reader
        Name of its reader.
    path
        The file, or the folder, that names it in the manifest.
    files
        All files that are read; if one of them changes, the source has changed.
    format
        Format within the reader, where there are several.
    """

    reader: str
    path: Path
    files: tuple[Path, ...]
    format: str = ""


@dataclass(frozen=True)
class ReadOptions:
    """What the user decides about reading.

    Attributes
    ----------
    level
        Level of theory of frames that do not record one.
    missing_moments
        ``zero`` takes frames of spin-blind sources (no spin polarisation, or a format
        that had no place for moments) with all moments zero; ``reject`` quarantines
        them. Spin-polarised runs that did not print moments are always quarantined.
    """

    level: str | None = None
    missing_moments: MissingMoments = "reject"


@dataclass(frozen=True)
class Reader:
    """A kind of source.

    Attributes
    ----------
    name
        Short name, as in :attr:`Source.reader`.
    reads
        What it reads, in a few words for help and errors.
    find
        Takes a folder and its files (no subfolders) and returns the sources in it.
    read
        Yields the frames of one source, usable or rejected, in order. Raises DataError
        if it cannot be read at all.
    """

    name: str
    reads: str
    find: Callable[[Path, Sequence[Path]], list[Source]]
    read: Callable[[Source, ReadOptions], Iterator[Frame | Rejected]]
