# SPDX-License-Identifier: LGPL-3.0-or-later
"""Requests: safe names, equal digests of equal runs, nothing of earlier results."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from spin_dp.dft import Request
from spin_dp.errors import ConfigError, DataError, ShapeError


@pytest.fixture
def atoms() -> Atoms:
    places = np.array([[0, 0, 0], [2.1, 0, 0], [0, 2.1, 0], [0, 0, 2.1]])
    found = Atoms("NiMnO2", positions=places, cell=4.2 * np.eye(3), pbc=True)
    found.info = {"system": "mixed", "temperature": np.float64(400.0), "far": [1, 2]}
    return found


def test_name_tells_geometry_and_start(atoms: Atoms) -> None:
    request = Request.of(atoms, [2, -3.7, 0, 0], geometry_id="mixed-001")
    assert request.name == "mixed-001_+2_-3.7"
    assert request.start == "init:+2,-3.7"
    assert request.info == {
        "system": "mixed",
        "geometry_id": "mixed-001",
        "temperature": 400.0,
        "initial_M": "init:+2,-3.7",
    }
    assert request.moments.tolist() == [2, -3.7, 0, 0]


def test_request_keeps_nothing_of_an_earlier_result(atoms: Atoms) -> None:
    atoms.info |= {"converged": False, "settings": "other", "final_state": "Ni+2"}
    atoms.calc = SinglePointCalculator(atoms, energy=1.0)
    request = Request("one", atoms, np.zeros(4))
    assert request.atoms.calc is None
    assert not {"converged", "settings", "final_state"} & set(request.info)


def test_later_changes_of_the_atoms_do_not_count(atoms: Atoms) -> None:
    request = Request("one", atoms, np.zeros(4))
    atoms.positions += 1.0
    assert request.atoms.positions[0].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        request.moments[0] = 1.0


def test_digest_is_of_what_is_calculated(atoms: Atoms) -> None:
    up = np.array([2.0, 3.0, 0.0, 0.0])
    one = Request("one", atoms, up)
    assert Request("two", atoms, np.array([2, 3, -0.0, 0])).digest == one.digest
    assert Request("one", atoms, -up).digest != one.digest
    atoms.positions[0, 0] += 1e-4
    assert Request("one", atoms, up).digest != one.digest


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "x" * 201, "é"])
def test_unsafe_names_are_refused(atoms: Atoms, name: str) -> None:
    with pytest.raises(ConfigError, match="name of a DFT run: expected"):
        Request(name, atoms, np.zeros(4))


def test_what_cannot_be_calculated_is_refused(atoms: Atoms) -> None:
    with pytest.raises(ShapeError, match="one: moments: expected"):
        Request("one", atoms, np.zeros(3))
    with pytest.raises(ConfigError, match="collinear"):
        Request("one", atoms, np.ones((4, 3)))
    with pytest.raises(DataError, match="expected atoms in a cell"):
        Request("one", Atoms("Ni"), np.zeros(1))
    with pytest.raises(ShapeError, match="moments: expected"):
        Request.of(atoms, [1.0], geometry_id="g")
    atoms.positions[0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        Request("one", atoms, np.zeros(4))
