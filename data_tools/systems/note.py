# SPDX-License-Identifier: LGPL-3.0-or-later
"""The note in a system, ``spin_dp.json``: what its frames have in common.

``collect`` writes it into each system::

    {"formula": "LiMnO2", "level": "PBE+U-1a2b3c", "level_label": "PBE+U",
     "level_description": {...}, "key": "Mn3+HS", "labels": "dft" or "nominal",
     "states": [{"name": "Mn3+HS", "moment": 3.7, "lowest": 3.5, "highest": 3.9,
     "sites": 24}], "constrained": true, false or null}

A merged system has ``levels``, a list of identifiers, instead of one level, and no
formula, key or constraint.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spin_dp.data_tools.level import UNSPECIFIED, Level, named_level
from spin_dp.errors import DataError
from spin_dp.spin_states.catalogue import Catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NOTE = "spin_dp.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Note:
    """What is known of all frames of a system; the defaults where there is no note.

    Attributes
    ----------
    level
        Level of theory; ``unspecified`` if the note names none, or several.
    levels
        Identifiers of the levels of a merged system; empty of all others.
    labels
        Kind of moments, ``dft`` or ``nominal``; empty if not known.
    states
        Spin states of its sites, with the moments that they have in the whole data set.
    constrained
        Whether moments were held in the calculations; None if not known, or some.
    """

    level: Level = field(default_factory=lambda: named_level(UNSPECIFIED))
    levels: tuple[str, ...] = ()
    labels: str = ""
    states: Catalogue = field(default_factory=Catalogue)
    constrained: bool | None = None

    @property
    def is_merged(self) -> bool:
        """Whether ``merge`` wrote the system."""
        return bool(self.levels)

    @property
    def level_ids(self) -> tuple[str, ...]:
        """Identifiers of the levels of theory of its frames."""
        return self.levels or (self.level.id,)


def write_note(folder: Path, content: Mapping[str, object]) -> None:
    """Write a note, as the module's docstring has it."""
    (folder / NOTE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_note(folder: Path) -> Note:
    """Read the note of a system.

    Parameters
    ----------
    folder
        Folder of the system.

    Returns
    -------
    Note
        The defaults if there is none.

    Raises
    ------
    DataError
        If the file is not such a note, or its level is not that of its description.
    """
    path = folder / NOTE
    if not path.exists():
        return Note()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        labels = str(content["labels"])
        states = Catalogue.from_records(content.get("states", []))
        if "levels" in content:
            levels = tuple(str(name) for name in content["levels"])
            return Note(levels=levels, labels=labels, states=states)
        name, description = str(content["level"]), dict(content["level_description"])
        label = str(content.get("level_label", name.rpartition("-")[0]))
        constrained = content["constrained"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder}: {NOTE} is not a note of spin-dp ({type(error).__name__}: "
            f"{error}); remove it to use the system without"
        ) from error
    level = Level(label, description)
    if level.id != name:
        raise DataError(
            f"{folder}: {NOTE} names the level {name}, but its description makes "
            f"{level.id}; remove the file or collect the system again"
        )
    return Note(level=level, labels=labels, states=states, constrained=constrained)
