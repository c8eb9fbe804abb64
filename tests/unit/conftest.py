# SPDX-License-Identifier: LGPL-3.0-or-later
"""Data outside the repository that some tests read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def vasp_data() -> Path:
    """Return the folder of real VASP outputs; where absent, skip, but fail in CI."""
    folder = ROOT.parent / "shared" / "data" / "vasp"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"the VASP outputs are missing: {folder}")
        pytest.skip(f"the VASP outputs are not here: {folder}")
    return folder
