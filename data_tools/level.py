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

if TYPE_CHECKING:
    from collections.abc import Mapping

_EFFORT = re.compile(
    r"^(?:maxiter=.*|conv\(.*\)|MP\d+x\d+x\d+.*|kpts?=.*|kspacing=.*)$", re.IGNORECASE
)
_TOKEN = re.compile(r"(?:[^\s(]|\([^)]*\))+")
UNSPECIFIED = "unspecified"


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
