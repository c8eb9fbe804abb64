# SPDX-License-Identifier: LGPL-3.0-or-later
"""Files and folders appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it when the block succeeds."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file at once, or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary sibling folder that takes the place of ``folder`` at the end.

    On any error or interruption the temporary folder is removed and ``folder`` is left
    as it was. Where ``folder`` is a link, the folder that it leads to is replaced.
    """
    recover_folder(folder)
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = _sibling(folder, "part")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        yield fresh
        _swap(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def check_replaceable(folder: Path) -> None:
    """Refuse an output folder that another one cannot take the place of.

    Raises
    ------
    ConfigError
        If it is a file, a link to nothing, a mount point or holds the current folder.
    """
    if folder.is_symlink() and not folder.exists():
        raise ConfigError(
            f"{folder}: is a link to nothing; make the folder or remove it"
        )
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; give a new folder with --output")
    place = folder.resolve()
    if place.is_mount() or Path.cwd().is_relative_to(place):
        what = "is a mount point" if place.is_mount() else "holds the current folder"
        raise ConfigError(
            f"{folder}: {what}, and the output folder is replaced as a whole; give "
            "another folder with --output"
        )


def recover_folder(folder: Path) -> None:
    """Put back a folder that a kill between two renames has left aside."""
    folder = folder.resolve()
    old = _sibling(folder, "old")
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _sibling(folder: Path, ending: str) -> Path:
    return folder.with_name(f".{folder.name}.{ending}")


def _swap(fresh: Path, folder: Path) -> None:
    if not folder.exists():
        fresh.rename(folder)
    elif not _exchange(fresh, folder):
        old = _sibling(folder, "old")
        folder.rename(old)
        try:
            fresh.rename(folder)
        except BaseException:
            with contextlib.suppress(OSError):
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    paths = (os.fsencode(first.absolute()), os.fsencode(second.absolute()))
    code: int = rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE)
    return code == 0
