# SPDX-License-Identifier: LGPL-3.0-or-later
"""The folder of one run: who works in it, and what is known of it.

A claim is a lock of the kernel on a file, which ends with the processes that hold it,
however they end. It is never stale, and needs no clock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from spin_dp.dft.outcome import Outcome, Status
from spin_dp.errors import ConfigError
from spin_dp.files import write_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spin_dp.dft.request import Request

STATE, LOCK = "state.json", ".lock"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What ``state.json`` says.

    Attributes
    ----------
    request, level
        Digest of the request; level of theory (or the engine, where its level is not
        known beforehand).
    running
        Where it runs, ``host, process 123``; empty when it has ended.
    status, reason, energy, moments, total_moment, seconds, failures
        As in :class:`~spin_dp.dft.outcome.Outcome`.
    """

    request: str
    level: str
    running: str = ""
    status: Status = Status.WAITING
    reason: str = ""
    energy: float | None = None
    moments: tuple[float, ...] | None = None
    total_moment: float | None = None
    seconds: float = 0.0
    failures: int = 0

    def outcome(self, name: str, folder: Path) -> Outcome:
        """Return the outcome that it stands for."""
        return Outcome(
            name=name,
            folder=folder,
            status=self.status,
            reason=self.reason,
            energy=self.energy,
            moments=self.moments,
            total_moment=self.total_moment,
            seconds=self.seconds,
            failures=self.failures,
        )


def record_of(outcome: Outcome, request: Request, level: str) -> Record:
    """Return the record of an outcome."""
    known = asdict(outcome)
    del known["name"], known["folder"]
    return Record(request=request.digest, level=level, **known)


def running_record(request: Request, level: str, failures: int) -> Record:
    """Return the record of a run that begins in this process."""
    place = f"{socket.gethostname()}, process {os.getpid()}"
    return Record(
        request=request.digest,
        level=level,
        running=place,
        failures=failures,
        reason="was interrupted",
    )


def read_record(folder: Path, request: Request, level: str) -> Record | None:
    """Return the record of a run; None where it was never begun.

    Parameters
    ----------
    folder
        Of the run.
    request, level
        What the folder should be of.

    Raises
    ------
    ConfigError
        If it is of another request or level, or cannot be understood.
    """
    path = folder / STATE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["status"] = Status(content["status"])
        if content["moments"] is not None:
            content["moments"] = tuple(content["moments"])
        record = Record(**content)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{path}: not the record of a DFT run; remove its folder to run it again"
        ) from error
    if record.request != request.digest:
        raise ConfigError(
            f"{folder}: holds another run of that name (other geometry or moments); "
            "name the run differently or give another folder"
        )
    if record.level != level:
        raise ConfigError(
            f"{folder}: was run by {record.level}, now the engine is {level}; go on "
            "with the same settings or give another folder"
        )
    return record


def write_record(folder: Path, record: Record) -> None:
    """Write ``state.json`` at once, or not at all."""
    write_text(folder / STATE, json.dumps(asdict(record), indent=1) + "\n")


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[tuple[int, ...] | None]:
    """Claim a folder for the length of the block.

    Yields
    ------
    tuple of int or None
        The open file that holds the claim (processes that inherit it hold it, too);
        none on file systems without locks. None: another process has the claim.

    Raises
    ------
    OSError
        If nothing can be written there.
    """
    with (folder / LOCK).open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        except OSError:
            yield ()
            return
        yield (stream.fileno(),)
