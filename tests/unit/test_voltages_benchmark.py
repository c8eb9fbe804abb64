# SPDX-License-Identifier: LGPL-3.0-or-later
"""Errors of voltages and of crystals from errors of energies that are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.voltages.__main__ import LAYERS, crystals, steps

TABLE = pd.DataFrame(
    [
        ("Ni", 0.0, LAYERS),
        ("Ni", 0.5, LAYERS),
        ("Ni", 0.5, LAYERS),
        ("Ni", 0.5, "Li/M anti-site"),
        ("Mn-Ni", 1.0, LAYERS),
        ("Mn-Ni", 0.0, "spinel"),
    ],
    columns=["metal", "x", "crystal"],
)
ERROR = np.array([0.010, 0.020, 0.030, 0.065, 1.0, 1.0])


def test_an_error_that_grows_with_lithium_is_one_of_the_voltage() -> None:
    """-(e2 - e1) / (x2 - x1): -0.02 and -0.04 V; one metal, layers only."""
    (row,) = steps(TABLE, ERROR).to_dict("records")
    assert (row["metal"], row["x"], row["geometries"]) == ("Ni", "0 to 0.5", "1, 2")
    assert row["mean"] == pytest.approx(-0.03)
    assert row["deviation"] == pytest.approx(0.01)
    assert row["absolute"] == pytest.approx(0.03)


def test_a_shift_of_all_energies_is_no_error_of_a_voltage() -> None:
    moved = steps(TABLE, ERROR + 5.0)
    pd.testing.assert_frame_equal(moved, steps(TABLE, ERROR))


def test_crystals_are_compared_with_layers_of_their_composition() -> None:
    """65 less 20 and 30 meV; spinel without layers beside it does not count."""
    (row,) = crystals(TABLE, ERROR).to_dict("records")
    assert (row["metal"], row["x"]) == ("Ni", 0.5)
    assert row["crystal"] == "Li/M anti-site"
    assert row["mean"] == pytest.approx(40.0)
    assert row["deviation"] == pytest.approx(5.0)
