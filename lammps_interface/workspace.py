# SPDX-License-Identifier: LGPL-3.0-or-later
"""The folder of a run: whose it is, how far it got, and where it can go on from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

from spin_dp.errors import ConfigError, DataError
from spin_dp.files import write_text
from spin_dp.lammps_interface.deck import RESTART_FILES

if TYPE_CHECKING:
    from pathlib import Path

RECORD_FILE = "md.json"

Status: TypeAlias = Literal["prepared", "started", "finished"]

_RESTART_END = b"LammpS RestartT\0"  # last bytes of a complete restart file


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Workspace:
    """The folder of one run.

    Attributes
    ----------
    folder
        The folder.
    identity
        What makes the run this run and no other, in JSON types: settings, digests of
        the data file and the models.
    """

    folder: Path
    identity: dict[str, Any]

    def open(self) -> Status | None:
        """Return how far this run got here before; None for a new or empty folder.

        Raises
        ------
        ConfigError
            If the folder holds other data or a run with other settings.
        DataError
            If the folder's record cannot be read.
        """
        record = self.folder / RECORD_FILE
        if not record.exists():
            self._refuse_other_data()
            return None
        try:
            content = json.loads(record.read_text(encoding="utf-8"))
            status, identity = content["status"], content["identity"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{record}: not a record of a run ({error!r}). Choose another folder."
            ) from error
        if status not in get_args(Status) or not isinstance(identity, dict):
            raise DataError(f"{record}: not a record of a run. Choose another folder.")
        self._refuse_other_run(identity)
        return cast("Status", status)

    def record(self, status: Status) -> None:
        """Write the record."""
        content = {"status": status, "identity": self.identity}
        write_text(self.folder / RECORD_FILE, json.dumps(content, indent=2) + "\n")

    def parts(self, suffix: str) -> list[Path]:
        """Return the files ``run.N.suffix`` of all parts, oldest first."""
        found = self.folder.glob(f"run.*.{suffix}")
        return sorted(found, key=lambda path: int(path.name.split(".")[1]))

    def newest_restart(self) -> Path | None:
        """Return the newest complete restart file."""
        files = [self.folder / name for name in RESTART_FILES]
        complete = [file for file in files if _is_complete(file)]
        return max(complete, key=lambda file: file.stat().st_mtime_ns, default=None)

    def _refuse_other_data(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"{self.folder} is a file. Choose another output folder.")
        if self.folder.exists() and any(self.folder.iterdir()):
            raise ConfigError(
                f"{self.folder} holds other data (no {RECORD_FILE}). "
                "Choose a new or empty output folder."
            )

    def _refuse_other_run(self, identity: dict[str, Any]) -> None:
        names = sorted(self.identity.keys() | identity.keys())
        changed = [
            f"{name} {identity.get(name)} there, {self.identity.get(name)} now"
            for name in names
            if identity.get(name) != self.identity.get(name)
        ]
        if changed:
            raise ConfigError(
                f"{self.folder} holds a run with other settings: {'; '.join(changed)}. "
                "Choose another output folder."
            )


def _is_complete(restart: Path) -> bool:
    if not restart.is_file() or restart.stat().st_size < len(_RESTART_END):
        return False
    with restart.open("rb") as file:
        file.seek(-len(_RESTART_END), 2)
        return file.read() == _RESTART_END
