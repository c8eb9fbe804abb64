# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where GPAW is on this machine, if it is."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

_PLACES = (
    os.environ.get("GPAW_PYTHON", ""),
    str(Path.home() / ".cache" / "spin-dp-dft" / "venv" / "bin" / "python"),
    sys.executable,
)


@cache
def gpaw_python() -> str | None:
    """Return a Python that has GPAW, the one that ``GPAW_PYTHON`` names first."""
    for place in filter(None, _PLACES):
        command = [place, "-c", "import gpaw"]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except OSError:
            continue
        if done.returncode == 0:
            return place
    return None
