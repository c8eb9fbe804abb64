# SPDX-License-Identifier: LGPL-3.0-or-later
"""The folder of a run: whose it is, how far it got, and where it can go on from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from spin_dp.errors import ConfigError, DataError
from spin_dp.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

RECORD_FILE = "md.json"

Status: TypeAlias = Literal["prepared", "started", "finished"]


@dataclass(frozen=True)
class Record:
    """How far a run got in its folder.

    Attributes
    ----------
    status
        ``prepared`` (input written, nothing run), ``started`` or ``finished``.
    restart
        Name of the restart file from which it goes on; None: from the start.
    notes
        What the caller of a session wants to find again with that file, JSON types.
    """

    status: Status = "prepared"
    restart: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)


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

    def open(self) -> Record | None:
        """Return how far this run got here before; None for a new or empty folder.

        Raises
        ------
        ConfigError
            If the folder holds other data or a run with other settings.
        DataError
            If the folder's record cannot be read.
        """
        path = self.folder / RECORD_FILE
        if not path.exists():
            self._refuse_other_data()
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            identity = content.pop("identity")
            record = Record(**content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: not a record of a run ({error!r}). Choose another folder."
            ) from error
        if record.status not in get_args(Status) or not isinstance(identity, dict):
            raise DataError(f"{path}: not a record of a run. Choose another folder.")
        self._refuse_other_run(identity)
        return record

    def write(self, record: Record) -> None:
        """Write the record; from here on the run goes on from its restart file.

        Raises
        ------
        ConfigError
            If the notes cannot be kept in a JSON file.
        """
        content = {**asdict(record), "identity": self.identity}
        try:
            text = json.dumps(content, indent=2, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"notes: expected what a JSON file can hold, got {error}"
            ) from error
        write_text(self.folder / RECORD_FILE, text + "\n")

    def parts(self, suffix: str) -> list[Path]:
        """Return the files ``run.N.suffix`` of all parts, oldest first."""
        found = self.folder.glob(f"run.*.{suffix}")
        return sorted(found, key=lambda path: int(path.name.split(".")[1]))

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
