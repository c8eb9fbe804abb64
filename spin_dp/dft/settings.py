# SPDX-License-Identifier: LGPL-3.0-or-later
"""From a table of settings to an engine."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spin_dp.dft.gpaw import Gpaw
from spin_dp.dft.teacher import Teacher
from spin_dp.dft.vasp import Vasp
from spin_dp.errors import ConfigError, unknown

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from spin_dp.dft.engine import Engine

ENGINES: dict[str, type[Gpaw | Vasp | Teacher]] = {
    engine.name: engine for engine in (Gpaw, Vasp, Teacher)
}


def open_engine(
    settings: Mapping[str, Any], folder: str | os.PathLike[str] = "."
) -> Engine:
    """Return the engine that a table of settings describes.

    Parameters
    ----------
    settings
        ``engine`` with the name of the engine, and any of its settings by the names of
        the attributes of :class:`~spin_dp.dft.gpaw.Gpaw`,
        :class:`~spin_dp.dft.vasp.Vasp` or :class:`~spin_dp.dft.teacher.Teacher`.
    folder
        That relative paths start from.

    Returns
    -------
    Engine
        It need not be installed: :meth:`Engine.check` says.

    Raises
    ------
    ConfigError
        If a setting is missing, unknown, of another type or out of range.
    """
    values = dict(settings)
    name = values.pop("engine", None)
    if name is None:
        raise ConfigError(
            f"settings of DFT: expected engine, one of {', '.join(sorted(ENGINES))}; "
            "got none"
        )
    if name not in ENGINES:
        raise unknown("DFT engine", str(name), ENGINES)
    kind = ENGINES[name]
    known = {field.name: str(field.type) for field in fields(kind)}
    for key, value in values.items():
        if key not in known:
            raise unknown(f"setting of the DFT engine {name}", key, known)
        _check_type(f"{name}: {key}", value, known[key])
        if key in kind.paths and value:
            values[key] = _path(value, Path(folder))
    try:
        return kind(**values)
    except TypeError as error:  # a setting without a default
        needed = ", ".join(kind.needs)
        raise ConfigError(f"{name}: expected the setting {needed}; got none") from error


_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "Mapping": ((dict,), "a table"),
    "str": ((str,), "text"),
    "bool": ((bool,), "true or false"),
    "float": ((int, float), "a number"),
    "int": ((int,), "a whole number"),
}


def _check_type(name: str, value: object, annotation: str) -> None:
    types, words = next(_KINDS[key] for key in _KINDS if annotation.startswith(key))
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise ConfigError(f"{name}: expected {words}, got {value!r}")


def _path(text: str, folder: Path) -> str:
    """Return a path as it holds from every folder; a bare command stays one."""
    path = Path(text).expanduser()
    if not path.is_absolute() and ("/" in text or (folder / path).exists()):
        path = folder.resolve() / path
    return str(path)
