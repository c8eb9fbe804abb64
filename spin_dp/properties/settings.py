# SPDX-License-Identifier: LGPL-3.0-or-later
"""Settings of properties: frozen dataclasses whose fields say what they are."""

from __future__ import annotations

import json
from dataclasses import asdict, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from spin_dp.errors import ConfigError, unknown
from spin_dp.files import file_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

S = TypeVar("S")

Progress: TypeAlias = "Callable[[str, float, float], None]"
"""Called as ``progress(what, done, total)``."""


def option(
    default: Any,  # noqa: ANN401 - the field of any type
    about: str,
    *,
    is_file: bool = False,
) -> Any:  # noqa: ANN401
    """Return the field of a setting.

    Parameters
    ----------
    default
        Its value if left out.
    about
        One line with its unit, as lists of settings show it.
    is_file
        Whether it names a file, whose contents count.
    """
    return field(default=default, metadata={"about": about, "is_file": is_file})


def recorded(settings: Any) -> dict[str, Any]:  # noqa: ANN401 - any class of them
    """Return what a result depends on, in JSON types: files by their contents."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    for one in fields(settings):
        if one.metadata.get("is_file") and Path(values[one.name] or "").is_file():
            values[one.name] = file_digest(Path(values[one.name]))
    return values


def described(kind: type[Any]) -> list[tuple[str, str, str]]:
    """Return name, default and description of each setting of a class."""
    return [
        (one.name, _shown(one.default), str(one.metadata.get("about", "")))
        for one in fields(kind)
    ]


def parse(kind: type[S], words: Iterable[str], *, of: str) -> S:
    """Return settings of a class from words ``NAME=VALUE``.

    Parameters
    ----------
    kind
        The dataclass.
    words
        Numbers of a tuple are divided by commas.
    of
        What has these settings, for messages.

    Raises
    ------
    ConfigError
        If a setting is unknown, given twice, or its value of another type.
    """
    known = {one.name: str(one.type) for one in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise ConfigError(f"setting {word!r}: expected NAME=VALUE.")
        if name not in known:
            raise unknown(f"setting of {of}", name, known)
        if name in values:
            raise ConfigError(f"setting {name} of {of} is given twice.")
        values[name] = _value(f"setting {name} of {of}", text.strip(), known[name])
    return kind(**values)


_BOOLEANS = {"yes": True, "true": True, "no": False, "false": False}


def _value(what: str, text: str, kind: str) -> Any:  # noqa: ANN401
    first = kind.removesuffix(" | None")
    if first != kind and text.lower() == "none":
        return None
    try:
        if first.startswith("tuple"):
            inner = int if "int" in first else float if "float" in first else str
            values = tuple(inner(word) for word in text.split(",") if word.strip())
            length = 0 if "..." in first else first.count(",") + 1
            if length and len(values) != length:
                raise ValueError
            return values
        if first == "bool":
            return _BOOLEANS[text.lower()]
        return {"int": int, "float": float}.get(first, str)(text)
    except (ValueError, KeyError) as error:
        words = {"bool": "yes or no", "int": "a whole number", "float": "a number"}
        expected = words.get(first, f"numbers divided by commas ({first})")
        raise ConfigError(f"{what}: expected {expected}, got {text!r}.") from error


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default).lower() if default is None else str(default)
