# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where a campaign keeps what, and what it has spent: all of it read from disk."""

from __future__ import annotations

import fcntl
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import pandas as pd

from spin_dp.campaign.settings import CampaignSettings
from spin_dp.errors import ConfigError
from spin_dp.files import write_text
from spin_dp.stages import seconds_spent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CAMPAIGN = "campaign.json"
SETTINGS = "settings.json"
OUTCOMES = "outcomes.csv"
REQUESTS = "requests.extxyz"
_LOCK = ".lock"


@dataclass(frozen=True)
class GenerationFolder:
    """Files of one generation.

    Attributes
    ----------
    number
        From 0.
    folder
        Where it lies.
    """

    number: int
    folder: Path

    @property
    def title(self) -> str:
        """What people read."""
        return f"generation {self.number}"

    @property
    def training(self) -> Path:
        """Folder of the trainings."""
        return self.folder / "training"

    @property
    def exploration(self) -> Path:
        """Folder of the MD runs."""
        return self.folder / "exploration"

    @property
    def dft(self) -> Path:
        """Folder of the DFT runs, which ``collect`` reads."""
        return self.folder / "dft"

    def table(self, name: str) -> Path:
        """Return the path of a table."""
        return self.folder / "tables" / f"{name}.csv"

    @property
    def page(self) -> Path:
        """The page that says what was learnt."""
        return self.folder / "report.html"

    @property
    def requests(self) -> Path:
        """What it asks of DFT."""
        return self.folder / REQUESTS

    @property
    def has_chosen(self) -> bool:
        """Whether its frames for DFT are chosen: within the budget of that time."""
        return self.requests.is_file()

    def seconds(self) -> float:
        """Return the time spent on it so far, s."""
        return sum(seconds_spent(self.folder).values())

    def read(self, name: str) -> pd.DataFrame:
        """Return a table; empty if it is not there yet, or has no rows."""
        return _read_table(self.table(name))

    def outcomes(self) -> pd.DataFrame:
        """Return what became of the DFT runs, a row each; empty before."""
        return _read_table(self.folder / OUTCOMES)

    def fixed_settings(self, now: CampaignSettings) -> CampaignSettings:
        """Return the settings that the generation was begun with, these if it is new.

        So that a changed campaign file changes the next generation and spoils nothing
        of the present one. Budget, workers and DFT engine are always those of now.
        """
        path = self.folder / SETTINGS
        if not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(path, now.model_dump_json(indent=2) + "\n")
            return now
        try:
            text = path.read_text(encoding="utf-8")
            begun = CampaignSettings.model_validate_json(text)
        except ValueError as error:
            raise ConfigError(
                f"{path}: not the settings of a generation; remove the folder "
                f"{self.folder} to begin it anew."
            ) from error
        kept = {"budget": now.budget, "work": now.work, "dft": now.dft}
        return begun.model_copy(update=kept)


@dataclass(frozen=True)
class CampaignFolder:
    """Files of a campaign.

    Attributes
    ----------
    folder
        Where it lies.
    """

    folder: Path

    @property
    def data(self) -> Path:
        """All frames so far, a result of ``spin-dp collect``."""
        return self.folder / "data"

    @property
    def page(self) -> Path:
        """Overview of all generations."""
        return self.folder / "report.html"

    @property
    def models(self) -> Path:
        """The models of the last complete training."""
        return self.folder / "models"

    def generation(self, number: int) -> GenerationFolder:
        """Return a generation, begun or not."""
        return GenerationFolder(number, self.folder / f"generation-{number:02d}")

    def generations(self) -> list[GenerationFolder]:
        """Return those that were begun, in order."""
        found: list[GenerationFolder] = []
        while (one := self.generation(len(found))).folder.is_dir():
            found.append(one)
        return found

    def seconds(self) -> float:
        """Return the time spent in all sessions so far, s."""
        before = sum(seconds_spent(self.folder).values())
        return before + sum(one.seconds() for one in self.generations())

    def n_dft_runs(self) -> int:
        """Return how many DFT runs were made in all generations, whatever came of."""
        tables = [one.outcomes() for one in self.generations()]
        return sum(int((t["status"] != "waiting").sum()) for t in tables if len(t))

    @contextmanager
    def opened(self, source: Path) -> Iterator[None]:
        """Keep the folder for this process.

        Parameters
        ----------
        source
            The campaign file; a folder belongs to one.

        Raises
        ------
        ConfigError
            If the folder holds other things, belongs to another campaign file, or
            another process works on it.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"{self.folder}: is a file; give a folder.")
        names = sorted(item.name for item in self.folder.glob("[!.]*"))
        if names and CAMPAIGN not in names:
            raise ConfigError(
                f"{self.folder}: holds other things ({names[0]}); give the campaign "
                "a new or empty folder (folder = ... at the top of its file)."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock():
            self._claim(source)
            yield

    @contextmanager
    def _lock(self) -> Iterator[IO[str]]:
        with (self.folder / _LOCK).open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError(
                    f"{self.folder}: another process works on this campaign; wait for "
                    "it, or stop it."
                ) from error
            except OSError:  # file systems without locks
                pass
            yield stream

    def _claim(self, source: Path) -> None:
        path = self.folder / CAMPAIGN
        own = {"file": source.name}
        if not path.is_file():
            write_text(path, json.dumps(own, indent=2) + "\n")
            return
        try:
            file = json.loads(path.read_text(encoding="utf-8"))["file"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path}: not the record of a campaign; give it a new folder."
            ) from error
        if file != source.name:
            raise ConfigError(
                f"{self.folder}: belongs to the campaign file {file}, not to "
                f"{source.name}; give this campaign a folder of its own."
            )


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, table.to_csv(index=False))


def _read_table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, keep_default_na=True)
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame()
