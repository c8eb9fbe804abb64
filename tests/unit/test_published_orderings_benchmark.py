# SPDX-License-Identifier: LGPL-3.0-or-later
"""Orderings of one cell, some of them left out."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from benchmarks.published_orderings.answers import (
    by_constants,
    leave_two_out,
    pair_row,
)
from benchmarks.published_orderings.orderings import read_orderings
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

LATTICE = Lattice.orthorhombic(6.0, 6.6, 7.2)
SITES = np.array(list(product((0.0, 0.5), repeat=3)))
NEAREST, SECOND = -3.0, 0.8  # meV, of 3.0 and of 3.3 Å


def energy(signs: np.ndarray) -> float:
    """Return the energy of chains along two axes, each site twice a neighbour, eV."""
    total = -100.0
    for i, j in product(range(8), repeat=2):
        steps = np.flatnonzero(SITES[i] != SITES[j])
        if i < j and len(steps) == 1:
            # Both images of the neighbour.
            value = (NEAREST, SECOND, 0.0)[steps[0]]
            total -= 2.0 * 1e-3 * value * signs[i] * signs[j]
    return total


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    content: dict[str, dict[str, object]] = {"energy_per_atom": {}, "structure": {}}
    for k in range(8):
        signs = rng.choice([-1.0, 1.0], 8)
        order = rng.permutation(8)
        structure = Structure(
            LATTICE, ["Mn"] * 8, SITES[order], site_properties={"magmom": signs[order]}
        )
        structure.append("O", [0.25, 0.25, 0.25], properties={"magmom": 0.02})
        content["structure"][str(k)] = structure.as_dict()
        content["energy_per_atom"][str(k)] = energy(signs) / 9
    found = tmp_path / "orderings.json"
    found.write_text(json.dumps(content))
    return found


def test_constants_of_six_orderings_give_the_two_left_out(path) -> None:
    """Sites come in another order in each structure."""
    found = read_orderings(path, "Mn")
    assert found.moments.shape == (8, 8)
    energies = by_constants(found, [0, 5], 3.4)
    assert energies is not None
    np.testing.assert_allclose(energies, found.energies, atol=1e-6)
    row = pair_row(found, (0, 5), energies)
    assert row["gap"] == pytest.approx(row["dft_gap"], abs=1e-3)
    table = leave_two_out(found, (3.1, 3.4)).to_dict("records")
    assert [row["shells"] for row in table] == [1, 2]
    assert table[1]["error"] < 1e-3 < table[0]["error"]
    # Fewer orderings than constants say nothing.
    assert by_constants(found, range(5), 3.7) is None


def test_files_of_something_else_are_refused(path, tmp_path) -> None:
    with pytest.raises(DataError, match="energy_per_atom"):
        read_orderings(tmp_path / "nowhere.json", "Mn")
    content = json.loads(path.read_text())
    content["structure"]["3"]["sites"][2]["abc"][0] += 0.1
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="in the first structure only"):
        read_orderings(path, "Mn")
