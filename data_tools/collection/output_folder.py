# SPDX-License-Identifier: LGPL-3.0-or-later
"""The output folder: checked before reading, replaced in one step at the end.

Whatever interrupts a collection, the folder holds an earlier complete result or none,
and the frames read so far in ``.frames``.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from spin_dp.data_tools.collection import frame_store
from spin_dp.data_tools.readers.registry import RESULT
from spin_dp.data_tools.systems.system import TRAINING, VALIDATION
from spin_dp.errors import ConfigError, DataError, SpinDPError
from spin_dp.files import check_replaceable, recover_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

MANIFEST = "manifest.csv"
RECORD = RESULT
LEVELS = "levels.json"
STATES = "states.csv"
SITES = "sites.csv.gz"
REPORT = "report.html"
_CONTENTS = {MANIFEST, RECORD, LEVELS, STATES, SITES, REPORT, TRAINING, VALIDATION}
_LOCK = "lock"


def check_output(
    out: Path,
    arguments: Mapping[str, object],
    *,
    verb: str,
    record: str,
    rebuild: bool = False,
) -> None:
    """Refuse an output folder that must not be overwritten.

    Parameters
    ----------
    out
        The folder; absent, empty, or an earlier result of the same arguments, whole or
        interrupted.
    arguments
        Arguments of this run as they are in the record.
    verb
        Command that writes it, ``collect`` or ``select``.
    record
        File in it that says how it was made.
    rebuild
        Whether a result of other arguments may be replaced.

    Raises
    ------
    ConfigError
        If it is a file, holds anything else, was made with other arguments, or cannot
        be replaced by another folder.
    """
    check_replaceable(out)
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    names.discard(frame_store.FOLDER)
    if not names:
        return
    strange = sorted(names - _CONTENTS - {record})
    if not {MANIFEST, record} <= names:
        raise ConfigError(
            f"{out}: holds files that are no earlier result of {verb} "
            f"({strange[0] if strange else min(names)}); give a new or empty folder "
            "with --output"
        )
    if strange:
        raise ConfigError(
            f"{out}: holds {strange[0]} besides an earlier result of {verb}; move it "
            "away or give another folder with --output"
        )
    earlier = read_record(out / record)["arguments"]
    other = [name for name in arguments if earlier.get(name) != arguments[name]]
    if other and not rebuild:
        remedy = "give --rebuild to make it anew of the frames already read"
        raise ConfigError(
            f"{out}: made by {verb} with another {' and '.join(other)} "
            f"({earlier.get(other[0])!r}, now {arguments[other[0]]!r}); "
            f"{remedy if verb == 'collect' else 'remove it'}, or give another folder "
            "with --output"
        )


def read_record(path: Path) -> dict[str, Any]:
    """Return the record of an earlier result; without arguments if there is none.

    Raises
    ------
    ConfigError
        If the record cannot be read.
    """
    if not path.exists():
        return {"arguments": {}}
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        dict(record["arguments"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: not a record of how the folder was made; remove the folder "
            f"{path.parent} or give another one with --output"
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
    recover_folder(out)
    is_new = not out.exists()
    folder = out / frame_store.FOLDER
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


def carry_store(shards: Sequence[Path], out: Path, fresh: Path) -> None:
    """Take shards of the frame store in ``out``, and its lock, over to a new folder."""
    for file in [*shards, *(out / frame_store.FOLDER).glob(_LOCK)]:
        target = fresh / frame_store.FOLDER / file.name
        target.parent.mkdir(exist_ok=True)
        try:
            target.hardlink_to(file)
        except OSError:  # file systems without hard links
            shutil.copyfile(file, target)
