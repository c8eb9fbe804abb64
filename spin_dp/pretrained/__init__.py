# SPDX-License-Identifier: LGPL-3.0-or-later
"""Models that ship with the package, opened by name wherever a model is asked for.

A name stands for an ensemble: models of the same data that differ in their seed. Each
has a folder here with frozen models ``NAME-1.pth`` ..., ``record.json`` (data, settings
and errors as numbers) and ``README.md``, the card, which is written from the record.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from spin_dp.errors import ConfigError, DataError, unknown
from spin_dp.spin_states.catalogue import Catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "CARD",
    "RECORD",
    "ModelName",
    "ShippedModel",
    "as_list",
    "card",
    "find_model",
    "is_shipped",
    "names",
    "resolve",
    "resolve_all",
]

CARD, RECORD = "README.md", "record.json"

ModelName: TypeAlias = "str | os.PathLike[str]"
"""A model file, or the name of a shipped model."""

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class ShippedModel:
    """A model that ships with the package.

    Attributes
    ----------
    name
        By which it is opened.
    files
        Frozen models of the ensemble; the first answers where one is enough.
    """

    name: str
    files: tuple[Path, ...]

    @property
    def card(self) -> Path:
        """What it is for and how good it is, Markdown."""
        return _FOLDER / self.name / CARD

    @cached_property
    def record(self) -> Mapping[str, Any]:
        """Data, settings and errors; the card has the same numbers."""
        text = (_FOLDER / self.name / RECORD).read_text(encoding="utf-8")
        return dict(json.loads(text))

    @property
    def states(self) -> Catalogue:
        """Spin states that it knows."""
        return Catalogue.from_records(self.record["states"], self.record["largest"])

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.stat().st_size for file in self.files)


def names() -> list[str]:
    """Return the names of the shipped models."""
    # A hidden folder is one that is being written.
    return sorted(record.parent.name for record in _FOLDER.glob(f"[!.]*/{RECORD}"))


def find_model(name: str) -> ShippedModel:
    """Return a shipped model.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name not in names():
        raise unknown("shipped model", name, names())
    files = sorted((_FOLDER / name).glob(f"{name}-*.pth"))
    return ShippedModel(name, tuple(files))


def card(name: str) -> str:
    """Return the card of a shipped model, Markdown.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    return find_model(name).card.read_text(encoding="utf-8")


def is_shipped(model: ModelName) -> bool:
    """Return whether something is the name of a shipped model, not a file."""
    return os.fspath(model) in names() and not Path(model).is_file()


def resolve(model: ModelName) -> tuple[Path, ...]:
    """Return the files that a path or the name of a shipped model stands for.

    A file that is there is that file, whatever its name. What looks like a path is one,
    there or not: who opens it says how such a file is made.

    Parameters
    ----------
    model
        A model file, or the name of a shipped model.

    Returns
    -------
    tuple of Path
        One file of a path, all models of the ensemble of a name.

    Raises
    ------
    DataError
        If it is a single word that is neither a file nor a name.
    """
    path = Path(model)
    if path.is_file():
        return (path,)
    word = os.fspath(model)
    if is_shipped(model):
        return find_model(word).files
    if path.suffix or path.name != word:
        return (path,)
    near = get_close_matches(word, names(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"shipped: {', '.join(names())}."
    raise DataError(
        f"{word}: no such file, and no model of that name ships with spin-dp; {hint}"
    )


def as_list(models: ModelName | Iterable[ModelName]) -> list[ModelName]:
    """Return one path or name, or several, as a list."""
    return [models] if isinstance(models, str | os.PathLike) else list(models)


def resolve_all(models: ModelName | Iterable[ModelName]) -> list[Path]:
    """Return the files of a path or name, or of several, in order.

    Raises
    ------
    DataError
        As :func:`resolve`.
    ConfigError
        If there is none.
    """
    files = [file for model in as_list(models) for file in resolve(model)]
    if not files:
        raise ConfigError("models: expected a model file or several, got none.")
    return files
