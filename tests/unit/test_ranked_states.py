# SPDX-License-Identifier: LGPL-3.0-or-later
"""Ranked states as a picture and as structures."""

from __future__ import annotations

import numpy as np
import pytest

from spin_dp import rank_states
from spin_dp.search import draw_ladder, ranked_frames, ranked_structures


@pytest.fixture
def table(predicting, cell):
    cell.symbols[[4, 6]] = "Li"
    return rank_states(cell, predicting)


def test_structures_say_themselves_in_which_state_they_are(
    predicting, cell, table
) -> None:
    cell.symbols[[4, 6]] = "Li"
    frames = ranked_frames(cell, table, 5)
    assert len(frames) == 5
    for atoms, row in zip(frames, table.to_dict("records"), strict=False):
        energy = predicting.evaluate(atoms).energy  # by the names it carries
        assert energy == pytest.approx(row["energy"], abs=1e-9)
        moments = atoms.get_initial_magnetic_moments()
        np.testing.assert_allclose(moments, row["moments"][:, 2])
        assert atoms.info["state"] == row["state"]


def test_structures_of_pymatgen_carry_moments(predicting, cell, table) -> None:
    cell.symbols[[4, 6]] = "Li"
    made = ranked_structures(cell, table)
    assert len(made) == len(table)
    for one, row in zip(made[:3], table.to_dict("records"), strict=False):
        np.testing.assert_allclose(one.site_properties["magmom"], row["moments"][:, 2])
        energy = predicting.evaluate(one).energy
        assert energy == pytest.approx(row["energy"], abs=1e-9)


def test_the_ladder_is_drawn(table, tmp_path) -> None:
    path = tmp_path / "ladder.png"
    draw_ladder(table, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    # Sites off the axis have no sign in the key.
    odd = table.assign(state="Mn3+HS[1up]Ni2+[1up,2off]#3fa2c", above_lowest_interval=5)
    draw_ladder(odd, path)
    assert list(tmp_path.iterdir()) == [path]
