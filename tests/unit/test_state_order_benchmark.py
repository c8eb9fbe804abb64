# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pairs of spin states, sorted by what sets them apart."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.state_order.pairs import (
    ALL,
    CHARGE,
    NOTHING,
    ORDER,
    SPIN,
    UNNAMED,
    answers,
    difference,
    find_pairs,
    markdown,
)

LOW, BOTH = "Co3+LS[2]", "Co3+HS[2up]"


@pytest.mark.parametrize(
    ("first", "second", "kind", "sites"),
    [
        ("Mn3+HS[2up]", "Mn3+HS[1up,1dn]#8706b", ORDER, "Mn3+HS"),
        ("Mn4+[1up]Ni2+[1dn]#8d19a", "Mn4+[1up]Ni2+[1up]", ORDER, "Mn4+ Ni2+"),
        # The electron that moves from one site to the other changes the ordering.
        ("Co3+LS[2]Co4+LS[2up]#00001", "Co3+LS[2]Co4+LS[2up]#00002", ORDER,
         "Co3+LS Co4+LS"),
        ("Mn3+HS[2up]", "Mn3+HS[2up]", NOTHING, ""),
        (LOW, "Co3+HS[1up]Co3+LS[1]#2865f", SPIN, "Co3+"),
        ("Mn4+[1up]Ni2+[1up]", "Mn4+LS[1up]Ni2+[1dn]#12345", SPIN, "Mn4+"),
        ("Mn4+[1up]Ni2+[1up]", "Mn3+HS[1up]Ni3+LS[1up]", CHARGE, ""),
        ("Ni3+LS[2up]", "Ni3+LS[1up]Ni4+LS[1]#63ccb", CHARGE, ""),
        ("Ni4+LS[1]", "Ni~1[1up]", UNNAMED, ""),
        ("Co2+HS[1up,1off]", "Co2+HS[2up]", None, ""),
    ],
)  # fmt: skip
def test_states_are_told_apart_by_what_differs(first, second, kind, sites) -> None:
    if kind is None:
        from spin_dp.errors import ConfigError

        with pytest.raises(ConfigError, match="off the axis"):
            difference(first, second)
        return
    assert difference(first, second) == (kind, sites)
    assert difference(second, first) == (kind, sites)


def test_gaps_are_counted_from_the_lower_state_of_dft() -> None:
    frames = pd.DataFrame(
        {
            "formula": "Li2Co2O4",
            "geometry": ["a", "a", "a", "b", "b"],
            "key": [BOTH, LOW, "Co3+NM[2]", "Co3+LS[1]Co4+LS[1up]#1", LOW],
            "held": [False, False, False, True, False],
            "energy": [1.0, 0.0, 3.0, 0.0, 0.010],
            "energy_x": [0.7, 0.0, 3.1, 0.0, -0.2],
            "energy_y": [1.1, 0.0, 3.1, 0.0, 0.0],
        }
    )
    pairs = find_pairs(frames, ["x", "y"])
    assert pairs["dft"].tolist() == pytest.approx([1000.0, 2000.0, 3000.0, 10.0])
    assert pairs["x"].tolist() == pytest.approx([700.0, 2400.0, 3100.0, -200.0])
    assert pairs["state"].tolist() == [LOW, BOTH, LOW, "Co3+LS[1]Co4+LS[1up]#1"]
    assert pairs["free"].tolist() == [True, False, False, False]
    row = answers(pairs, ["x", "y"]).to_dict("records")[0]
    assert (row["kind"], row["sites"]) == (ALL, "")
    # The last pair lies closer than what counts as an order.
    assert (row["pairs"], row["ordered"], row["right"]) == (4, 3, 3)
    assert row["mean_error"] == pytest.approx((-300 + 400 + 100 - 210) / 4)
    free = answers(pairs[pairs["free"]], ["x", "y"]).to_dict("records")
    assert [row["kind"] for row in free] == [ALL, SPIN, SPIN]
    assert [row["sites"] for row in free] == ["", "", "Co3+"]
    assert free[2]["rms_error"] == pytest.approx(300.0)
    assert free[2]["rms_error_mean"] == pytest.approx(100.0)
    wrong = pairs.assign(x=-pairs["x"])
    assert answers(wrong, ["x"])["right"].iloc[0] == 0
    assert "| 3 of 3 |" in markdown(answers(pairs, ["x", "y"]))
