# SPDX-License-Identifier: LGPL-3.0-or-later
"""Models with random weights and a cell that they are asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ase.build import bulk

from spin_dp import SpinDP

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms


@pytest.fixture(scope="session")
def potential(frozen_model: Path) -> SpinDP:
    """Return a model that reads moments of Mn, Co and Ni and knows nominal states."""
    return SpinDP(frozen_model)


@pytest.fixture(scope="session")
def predicting(predicting_model: Path) -> SpinDP:
    """Return one that reads oxygen's, too, predicts all, and has own states."""
    return SpinDP(predicting_model)


@pytest.fixture
def cell() -> Atoms:
    """Return displaced rocksalt MnNi3O4."""
    atoms: Atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.symbols[:2] = "MnO"
    return atoms
