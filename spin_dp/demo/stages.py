# SPDX-License-Identifier: LGPL-3.0-or-later
"""A row of stages that remembers what is done.

A stage is done when its products are there and its record, kept in ``state.json``,
has the digest of its present settings and of those of all stages before it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from spin_dp.errors import ConfigError
from spin_dp.files import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

STATE = "state.json"


class Reporter(Protocol):
    """Told how the stages go on; the command line draws bars with it."""

    def begin(self, title: str, number: int, total: int) -> None:
        """Note that stage ``number`` (from 1) of ``total`` starts."""

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Note that part ``label`` of the stage has done ``done`` of ``total``."""

    def end(self, *, resumed: bool, seconds: float) -> None:
        """Note that the running stage is done; ``resumed``: it was done already."""


class Silent:
    """A reporter that says nothing."""

    def begin(self, title: str, number: int, total: int) -> None:
        """Do nothing."""

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Do nothing."""

    def end(self, *, resumed: bool, seconds: float) -> None:
        """Do nothing."""


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


def run_stages(
    folder: Path, stages: Sequence[Stage], reporter: Reporter
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

    Returns
    -------
    dict
        Seconds that each stage took, in this run or in the one that finished it,
        interrupted parts included.
    """
    digest = ""
    for number, stage in enumerate(stages, start=1):
        digest = _digest(digest, stage)
        record = read_state(folder).get(stage.name, {})
        same = record.get("digest") == digest
        resumed = (
            same
            and record.get("done") is True
            and all(product.exists() for product in stage.products)
        )
        reporter.begin(stage.title, number, len(stages))
        if not resumed:
            if not same:
                _clear(stage.clears)
            before = _seconds(record) if same and not record.get("done") else 0.0
            _run_one(folder, stage, digest, before, reporter)
        reporter.end(resumed=resumed, seconds=_seconds(read_state(folder)[stage.name]))
    return {name: _seconds(record) for name, record in read_state(folder).items()}


def read_state(folder: Path) -> dict[str, dict[str, object]]:
    """Return the records of ``state.json``, empty without the file.

    Parameters
    ----------
    folder
        Where it is kept.

    Returns
    -------
    dict
        For each stage ``digest``, ``done`` and ``seconds``.

    Raises
    ------
    ConfigError
        If the file is not one.
    """
    path = folder / STATE
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
        return {str(name): dict(record) for name, record in content.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{path}: not a record of finished stages; start over with --fresh."
        ) from error


def _run_one(
    folder: Path, stage: Stage, digest: str, before: float, reporter: Reporter
) -> None:
    # Noted before it starts: what a killed run left belongs to these settings.
    _record(folder, stage.name, digest, before, done=False)
    started = time.monotonic()
    done = False
    try:
        stage.run(reporter)
        done = True
    finally:
        seconds = before + time.monotonic() - started
        _record(folder, stage.name, digest, seconds, done=done)


def _record(
    folder: Path, name: str, digest: str, seconds: float, *, done: bool
) -> None:
    state = read_state(folder)
    state[name] = {"digest": digest, "done": done, "seconds": round(seconds, 2)}
    write_text(folder / STATE, json.dumps(state, indent=2) + "\n")


def _clear(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _digest(earlier: str, stage: Stage) -> str:
    text = json.dumps([earlier, stage.name, dict(stage.settings)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _seconds(record: Mapping[str, object]) -> float:
    value = record.get("seconds", 0.0)
    return float(value) if isinstance(value, (int, float)) else 0.0
