# SPDX-License-Identifier: LGPL-3.0-or-later
"""Crystals whose properties are known by symmetry, and a compiled model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ase.build import bulk, make_supercell
from ase.io import read

from spin_dp import SpinDP
from spin_dp.deployment import fast_models
from spin_dp.properties import Subject
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms


@pytest.fixture(scope="session")
def model_files() -> list[Path]:
    """Return two of the shipped models in their fast form; each takes half a minute."""
    return fast_models("lixmo2", 2)


@pytest.fixture(scope="session")
def model(model_files) -> SpinDP:
    """Return the first of them."""
    return SpinDP(model_files[0])


@pytest.fixture(scope="session")
def nickel_oxide() -> Atoms:
    """Return rocksalt NiO with two Ni, whose planes along [111] may alternate."""
    cell = bulk("NiO", "rocksalt", a=4.25)
    return make_supercell(cell, [[0, 1, 1], [1, 0, 1], [1, 1, 0]])


@pytest.fixture(scope="session")
def layered() -> Atoms:
    """Return a 4-atom cell of LiNiO2."""
    atoms: Atoms = read(ROOT / "examples/gpaw/LiNiO2_4.extxyz", index=0)
    atoms.calc = None
    return atoms


@pytest.fixture(scope="session")
def ferromagnet(model, nickel_oxide) -> Subject:
    return Subject.of_model(nickel_oxide, model, "Ni=2+", order="FM", name="lixmo2")


@pytest.fixture(scope="session")
def antiferromagnet(model, nickel_oxide) -> Subject:
    return Subject.of_model(nickel_oxide, model, "Ni=2+", order="AFM", name="lixmo2")
