# SPDX-License-Identifier: LGPL-3.0-or-later
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tests.lammps.heisenberg import HeisenbergModel, J

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def heisenberg(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two model files: exchange J, and 3 J."""
    folder = tmp_path_factory.mktemp("heisenberg")
    paths = [folder / "with space.pth", folder / "strong.pth"]
    for path, exchange in zip(paths, (J, 3.0 * J), strict=True):
        torch.jit.script(HeisenbergModel(exchange)).save(str(path))
    return paths
