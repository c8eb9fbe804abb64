# SPDX-License-Identifier: LGPL-3.0-or-later
"""Files as they are or packed: names without the packing, bytes without it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from typing import IO, TYPE_CHECKING, cast

from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PACKED = {".gz", ".bz2", ".xz", ".lzma", ".zst"}
"""Suffixes of packed files."""
_ZSTD = b"\x28\xb5\x2f\xfd"
# All that monty's zopen opens. It goes by the suffix, and a file whose suffix has been
# lost or put on by mistake would be unreadable: the first bytes do not lie.
_OPENERS: dict[bytes, Callable[[Path, str], object]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"]\0\0": lzma.open,
}


def bare_name(path: Path) -> str:
    """Return the name of a file without ``.gz`` or another suffix of packed files."""
    return path.name.removesuffix(packing(path))


def packing(path: Path) -> str:
    """Return how the name says that a file is packed; empty if not at all."""
    return path.suffix if path.suffix in PACKED else ""


def read_text(path: Path, n_bytes: int = -1) -> str:
    r"""Return the text of a file with line ends ``\n``.

    Parameters
    ----------
    path
        The file, plain or packed by gzip, bzip2, xz or lzma.
    n_bytes
        How much to read; all of it if negative.

    Returns
    -------
    str
        One character per byte, so that no byte can make the file unreadable.

    Raises
    ------
    DataError
        If the file cannot be opened or unpacked.
    """
    try:
        with path.open("rb") as raw:
            start = raw.read(6)
        if start.startswith(_ZSTD):
            raise DataError(
                "the file cannot be read: it is packed by zstd, unpack it (zstd -d)"
            )
        found = [
            opener for magic, opener in _OPENERS.items() if start.startswith(magic)
        ]
        stream = found[0](path, "rb") if found else path.open("rb")
        with cast("IO[bytes]", stream) as unpacked:
            text = unpacked.read(n_bytes).decode("latin-1")
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"the file cannot be read: {error}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
