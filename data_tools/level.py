# SPDX-License-Identifier: LGPL-3.0-or-later
"""The level of theory: what must agree before two energies may be compared.

Numerical effort that differs from cell to cell (k-mesh, SCF thresholds, iteration
limits, version of the program) is left out. Pseudopotentials are part of the level, so
cells with other elements have other levels unless the source names its level itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from spin_dp.spin_states.elements import is_element

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_EFFORT = re.compile(
    r"^(?:maxiter=.*|conv\(.*\)|MP\d+x\d+x\d+.*|kpts?=.*|kspacing=.*)$", re.IGNORECASE
)
_TOKEN = re.compile(r"(?:[^\s(]|\([^)]*\))+")
UNSPECIFIED = "unspecified"
PER_ELEMENT = ("potcar", "hubbard", "setups")
"""Entries of a description that hold one value for each element."""


@dataclass(frozen=True, eq=False)
class Level:
    """A level of theory.

    Attributes
    ----------
    label
        Short readable name.
    description
        Everything that makes the level, as written to ``levels.json``.
    """

    label: str
    description: Mapping[str, object]

    @cached_property
    def id(self) -> str:
        """Readable name and six hexadecimal digits of the description's hash."""
        text = json.dumps(self.description, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:6]
        return f"{_slug(self.label)}-{digest}"

    def of_element(self, element: str) -> Level:
        """Return the part of the level that the moment of one element depends on.

        Entries for single elements (pseudopotentials, U) are kept for this one only.
        """
        return Level(f"{element}-{self.label}", _common(self, {element}))

    def conflicts(self, other: Level) -> bool:
        """Return whether energies at the two levels must not be trained on together.

        Levels of cells with different elements agree if all that is common to them is
        equal: the settings of the whole cell, and those of each shared element.
        """
        if self.id == other.id:
            return False
        shared = _elements(self) & _elements(other)
        return _common(self, shared) != _common(other, shared)


def compatible_groups(levels: Iterable[Level]) -> dict[str, int]:
    """Sort levels into groups without conflicts.

    Parameters
    ----------
    levels
        Levels, equal ones any number of times.

    Returns
    -------
    dict
        Number of the group of each level's identifier. A level joins the first group
        with which it has no conflict; those with most elements come first.
    """
    different = {level.id: level for level in levels}
    order = sorted(different, key=lambda name: (-len(_elements(different[name])), name))
    groups: list[list[Level]] = []
    numbers: dict[str, int] = {}
    for name in order:
        level = different[name]
        fitting = (
            number
            for number, members in enumerate(groups)
            if not any(level.conflicts(member) for member in members)
        )
        numbers[name] = next(fitting, len(groups))
        if numbers[name] == len(groups):
            groups.append([])
        groups[numbers[name]].append(level)
    return numbers


def _elements(level: Level) -> set[str]:
    tables = [level.description.get(name) for name in PER_ELEMENT]
    return {
        key
        for table in tables
        if isinstance(table, dict)
        for key in table
        if is_element(key)
    }


def _common(level: Level, elements: set[str]) -> dict[str, object]:
    """Return a description without the entries of other elements."""
    return {
        name: _of_elements(value, elements)
        if name in PER_ELEMENT and isinstance(value, dict)
        else value
        for name, value in level.description.items()
    }


def _of_elements(table: Mapping[str, object], elements: set[str]) -> dict[str, object]:
    """Return what a table says of elements, with what it says of all (type of U)."""
    found = {key: entry for key, entry in table.items() if key in elements}
    if found:
        found |= {key: entry for key, entry in table.items() if not is_element(key)}
    return found


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9+.]+", "-", text).strip("-.") or "level"


def named_level(name: str) -> Level:
    """Return the level that the user names."""
    return Level(name[:40], {"name": name})


def level_of_settings(settings: str | None, name: str | None = None) -> Level:
    """Return the level of a frame from the settings recorded with it.

    Parameters
    ----------
    settings
        Settings in words separated by blanks, e.g. ``GPAW PBE+U(...) PW(500eV)``; words
        that only state effort (``maxiter=``, ``conv(...)``, ``MP4x4x2``, ``kpts=``)
        do not count.
    name
        Name given by the user for frames without settings.

    Returns
    -------
    Level
        ``unspecified`` if neither is given.
    """
    words = [w for w in _TOKEN.findall(settings or "") if not _EFFORT.match(w)]
    if not words:
        return named_level(name or UNSPECIFIED)
    label = "-".join(re.sub(r"\([^)]*\)", "", word) for word in words[:3])
    return Level(label[:40], {"settings": " ".join(words)})
