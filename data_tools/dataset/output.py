# SPDX-License-Identifier: LGPL-3.0-or-later
"""The output folder: checked before reading, replaced in one step at the end.

Whatever interrupts a collection, the folder holds an earlier complete result or none,
and the frames read so far in ``.frames``.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from spin_dp.data_tools.dataset import store
from spin_dp.data_tools.readers.registry import RESULT
from spin_dp.errors import ConfigError, DataError, SpinDPError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MANIFEST = "manifest.csv"
RECORD = RESULT
LEVELS = "levels.json"
STATES = "states.csv"
SITES = "sites.csv.gz"
REPORT = "report.html"
_OWN = {MANIFEST, RECORD, LEVELS, STATES, SITES, REPORT, "training", "validation"}
_OWN |= {store.FOLDER}
_LOCK = "lock"
_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100


def check_output(
    out: Path, arguments: Mapping[str, object], *, rebuild: bool = False
) -> None:
    """Refuse an output folder that must not be overwritten.

    Parameters
    ----------
    out
        The folder; absent, empty, or an earlier result of the same arguments, whole or
        interrupted.
    arguments
        Arguments of this run as they are recorded in ``collect.json``.
    rebuild
        Whether a result of other arguments may be replaced.

    Raises
    ------
    ConfigError
        If it is a file, holds anything else, was made with other arguments, or cannot
        be replaced by another folder.
    """
    _check_place(out)
    if not out.exists():
        return
    names = {path.name for path in out.iterdir()}
    if not names - {store.FOLDER}:
        return
    if not {MANIFEST, RECORD} <= names:
        raise ConfigError(
            f"{out}: holds files that are no earlier result of collect "
            f"({sorted(names - _OWN)[0] if names - _OWN else sorted(names)[0]}); "
            "give a new or empty folder with --output"
        )
    if names - _OWN:
        raise ConfigError(
            f"{out}: holds {sorted(names - _OWN)[0]} besides an earlier result of "
            "collect; move it away or give another folder with --output"
        )
    earlier = read_record(out)["arguments"]
    other = [name for name in arguments if earlier.get(name) != arguments[name]]
    if other and not rebuild:
        raise ConfigError(
            f"{out}: made by collect with another {' and '.join(other)} "
            f"({earlier.get(other[0])!r}, now {arguments[other[0]]!r}); "
            "give --rebuild to make it anew of the frames already read, or another "
            "folder with --output"
        )


def _check_place(out: Path) -> None:
    if out.is_symlink() and not out.exists():
        raise ConfigError(f"{out}: is a link to nothing; make the folder or remove it")
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError(f"{out}: is a file; give a new folder with --output")
    place = out.resolve()
    if place.is_mount() or Path.cwd().is_relative_to(place):
        what = "is a mount point" if place.is_mount() else "holds the current folder"
        raise ConfigError(
            f"{out}: {what}, and the output folder is replaced as a whole; give "
            "another folder with --output"
        )


def read_record(out: Path) -> dict[str, Any]:
    """Return the record of an earlier collection; without arguments if there is none.

    Raises
    ------
    ConfigError
        If the record cannot be read.
    """
    path = out / RECORD
    if not path.exists():
        return {"arguments": {}}
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        dict(record["arguments"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: not a record of collect; remove the folder {out} or give "
            "another one with --output"
        ) from error
    return record


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other processes from collecting into the same folder.

    Raises
    ------
    ConfigError
        If another process does so now, or nothing can be written there.
    """
    _recover(out)
    is_new = not out.exists()
    folder = out / store.FOLDER
    with _lock_file(folder) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{out}: another process collects into this folder; wait for it or "
                "give another folder with --output"
            ) from error
        except OSError:  # file systems without locks
            pass
        try:
            yield
        except SpinDPError as error:
            is_worthless = isinstance(error, DataError) or not any(folder.glob("*.npz"))
            if is_new and is_worthless:
                shutil.rmtree(out, ignore_errors=True)
            raise


def _lock_file(folder: Path) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / _LOCK).open("w")
    except OSError as error:
        raise ConfigError(
            f"{folder.parent}: cannot be written ({error.strerror}); give another "
            "folder with --output"
        ) from error


@contextmanager
def replaced_folder(out: Path, shards: Sequence[Path] = ()) -> Iterator[Path]:
    """Give a temporary sibling folder that takes the place of ``out`` at the end.

    The given shards of the frame store in ``out`` go over to it, and so does the lock.
    On any error or interruption the temporary folder is removed and ``out`` is left as
    it was. Where ``out`` is a link, the folder that it leads to is replaced.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = _sibling(out, "part")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        yield fresh
        _carry([*shards, *(out / store.FOLDER).glob(_LOCK)], fresh)
        _swap(fresh, out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _sibling(out: Path, ending: str) -> Path:
    return out.with_name(f".{out.name}.{ending}")


def _recover(out: Path) -> None:
    """Put back a result that a kill between two renames has left aside."""
    out = out.resolve()
    old = _sibling(out, "old")
    if old.exists() and not out.exists():
        old.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _carry(files: Sequence[Path], fresh: Path) -> None:
    for file in files:
        target = fresh / store.FOLDER / file.name
        target.parent.mkdir(exist_ok=True)
        try:
            target.hardlink_to(file)
        except OSError:  # file systems without hard links
            shutil.copyfile(file, target)


def _swap(fresh: Path, out: Path) -> None:
    if not out.exists():
        fresh.rename(out)
    elif not _exchange(fresh, out):
        old = _sibling(out, "old")
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
        try:
            fresh.rename(out)
        except BaseException:
            with suppress(OSError):
                old.rename(out)
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
