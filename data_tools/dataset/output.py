# SPDX-License-Identifier: LGPL-3.0-or-later
"""The output folder: checked before reading, replaced in one step at the end."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MANIFEST = "manifest.csv"
RECORD = "collect.json"
LEVELS = "levels.json"
_OWN = {MANIFEST, RECORD, LEVELS, "training", "validation"}


def check_output(out: Path, arguments: Mapping[str, object]) -> None:
    """Refuse an output folder that must not be overwritten.

    Parameters
    ----------
    out
        The folder; absent, empty, or an earlier result of the same arguments.
    arguments
        Arguments of this run as they are recorded in ``collect.json``.

    Raises
    ------
    ConfigError
        If it is a file, holds anything else, or was made with other arguments.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError(f"{out}: is a file; give a new folder with --output")
    names = {path.name for path in out.iterdir()}
    if not names:
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
    _check_arguments(out, arguments)


def _check_arguments(out: Path, arguments: Mapping[str, object]) -> None:
    try:
        earlier = json.loads((out / RECORD).read_text())["arguments"]
        other = [name for name in arguments if earlier.get(name) != arguments[name]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{out / RECORD}: not a record of collect; remove the folder {out} "
            "or give another one with --output"
        ) from error
    if other:
        raise ConfigError(
            f"{out}: made by collect with another {' and '.join(other)} "
            f"({earlier.get(other[0])!r}, now {arguments[other[0]]!r}); "
            "remove it or give another folder with --output"
        )


@contextmanager
def replaced_folder(out: Path) -> Iterator[Path]:
    """Give a temporary sibling folder that takes the place of ``out`` at the end.

    On any error or interruption the temporary folder is removed and ``out`` is left as
    it was.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-new-"))
    try:
        umask = os.umask(0)
        os.umask(umask)
        fresh.chmod(0o777 & ~umask)
        yield fresh
        _swap(fresh, out)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _swap(fresh: Path, out: Path) -> None:
    if not out.exists():
        fresh.rename(out)
        return
    old = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-old-"))
    try:
        out.rename(old / "old")
        fresh.rename(out)
    except BaseException:
        with suppress(OSError):
            if not out.exists():
                (old / "old").rename(out)
        shutil.rmtree(old, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
