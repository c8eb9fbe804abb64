# SPDX-License-Identifier: LGPL-3.0-or-later
"""A row of stages that remembers what is done, also when its process is killed.

A stage is done when its products are there and its record, kept in ``state.json``,
has the digest of its present settings and of those of all stages before it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spin_dp.errors import ConfigError
from spin_dp.files import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

STATE = "state.json"


class Reporter:
    """Told how the stages go on; this one keeps it to itself."""

    def begin(self, title: str, number: int, total: int) -> None:
        """Note that stage ``number`` (from 1) of ``total`` starts."""

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Note that part ``label`` of the stage has done ``done`` of ``total``."""

    def end(self, *, resumed: bool, seconds: float) -> None:
        """Note that the running stage is done; ``resumed``: it was done already."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage.

    Attributes
    ----------
    name, title
        Key in the state file, and what people read.
    settings
        Everything the result depends on besides earlier stages; JSON values.
    products
        Files that are there when it is done.
    run
        Does it; must be able to go on after an interruption.
    clears
        Files and folders that are removed before it runs with other settings.
    """

    name: str
    title: str
    run: Callable[[Reporter], None]
    products: Sequence[Path]
    settings: Mapping[str, object] = field(default_factory=dict)
    clears: Sequence[Path] = ()


@dataclass(frozen=True)
class _Record:
    """What ``state.json`` says of a stage: whose settings, done or not, how long."""

    digest: str
    done: bool
    seconds: float


def prepare_folder(folder: Path, *, fresh: bool = False) -> None:
    """Make the folder of a row of stages, or check that it is one.

    Parameters
    ----------
    folder
        New, empty, or that of an earlier run.
    fresh
        Remove what an earlier run left.

    Raises
    ------
    ConfigError
        If it is a file or holds other things; nothing is removed then.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; give a folder.")
    # Hidden files do not count: a kill may leave one of a record half written.
    names = sorted(item.name for item in folder.glob("[!.]*"))
    if names and STATE not in names:
        raise ConfigError(
            f"{folder}: holds other things ({names[0]}); give a new or empty folder."
        )
    if fresh and names:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)


def seconds_spent(folder: Path) -> dict[str, float]:
    """Return how long each stage of a folder took so far, s; none without a record.

    Raises
    ------
    ConfigError
        If ``state.json`` is not a record of stages.
    """
    return {name: record.seconds for name, record in _read_records(folder).items()}


def run_stages(
    folder: Path, stages: Sequence[Stage], reporter: Reporter, *, told: int = 0
) -> dict[str, float]:
    """Run the stages that are not done yet.

    Parameters
    ----------
    folder
        Where ``state.json`` is kept.
    stages
        In order; each may use the products of those before it.
    reporter
        Told how it goes on.
    told
        Stages at the beginning that it has been told of already.

    Returns
    -------
    dict
        Seconds that each stage took, in this run or in the one that finished it,
        interrupted parts included.

    Raises
    ------
    ConfigError
        If ``state.json`` is not a record of stages.
    """
    records = _read_records(folder)
    digest = ""
    for number, stage in enumerate(stages, start=1):
        digest = _digest(digest, stage)
        record = records.get(stage.name)
        if record is not None and record.digest != digest:
            # Forgotten before anything is removed: a kill in between removes again.
            del records[stage.name]
            _write_records(folder, records)
            record = None
        resumed = (
            record is not None
            and record.done
            and all(product.exists() for product in stage.products)
        )
        if not (resumed and number <= told):
            reporter.begin(stage.title, number, len(stages))
        if not resumed:
            if record is None:
                _clear(stage.clears)
            before = 0.0 if record is None or record.done else record.seconds
            _run_one(folder, stage, _Record(digest, False, before), records, reporter)
        if not (resumed and number <= told):
            reporter.end(resumed=resumed, seconds=records[stage.name].seconds)
    return {stage.name: records[stage.name].seconds for stage in stages}


def _run_one(
    folder: Path,
    stage: Stage,
    record: _Record,
    records: dict[str, _Record],
    reporter: Reporter,
) -> None:
    # Noted before it starts: what a killed run left belongs to these settings.
    records[stage.name] = record
    _write_records(folder, records)
    started = time.monotonic()
    done = False
    try:
        stage.run(reporter)
        done = True
    finally:
        seconds = round(record.seconds + time.monotonic() - started, 2)
        records[stage.name] = _Record(record.digest, done, seconds)
        _write_records(folder, records)


def _read_records(folder: Path) -> dict[str, _Record]:
    path = folder / STATE
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): _Record(**record) for name, record in content.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{path}: not a record of finished stages; remove it to run them all again."
        ) from error


def _write_records(folder: Path, records: Mapping[str, _Record]) -> None:
    content = {name: vars(record) for name, record in records.items()}
    write_text(folder / STATE, json.dumps(content, indent=2) + "\n")


def _clear(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _digest(earlier: str, stage: Stage) -> str:
    text = json.dumps([earlier, stage.name, dict(stage.settings)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
