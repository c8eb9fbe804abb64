# SPDX-License-Identifier: LGPL-3.0-or-later
"""Hull and voltages of energies that are known by a formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from spin_dp.crystals import layered_oxide
from spin_dp.errors import DataError
from spin_dp.properties.voltage.profile import Phase, voltage_profile

if TYPE_CHECKING:
    from ase import Atoms

METAL = -1.9
ENDS = {0.0: -18.0, 1.0: -23.5}  # eV per formula unit


def crystal(left: int) -> Atoms:
    """Return six formula units of LixCoO2 with so many ions; no two volumes equal."""
    full = layered_oxide("LiCoO2", (1, 1, 1))
    del full[np.flatnonzero(full.symbols == "Li")[left:].tolist()]
    full.set_cell(full.cell * (1.0 + 0.01 * left), scale_atoms=True)
    return full


def phase(left: int, formation: float = 0.0, arrangement: int = 0) -> Phase:
    """Return a phase, its formation energy in eV per formula unit."""
    x = left / 6.0
    energy = ENDS[0.0] + x * (ENDS[1.0] - ENDS[0.0]) + formation
    return Phase(atoms=crystal(left), energy=6.0 * energy, arrangement=arrangement)


def test_two_ends_have_the_voltage_of_their_energies() -> None:
    found = voltage_profile([phase(0), phase(6)], METAL)
    exact = -(ENDS[1.0] - ENDS[0.0] - METAL)
    assert found.average_voltage == pytest.approx(exact)
    assert found.lowest_voltage == found.highest_voltage == pytest.approx(exact)
    # One electron a formula unit of 97.87 g/mol: 26801 mAh.
    assert found.capacity == pytest.approx(26801.5 / 97.87, rel=1e-3)
    assert found.volume_change == pytest.approx(100.0 * (1.06**-3 - 1.0))
    assert found.framework == "CoO2"


def test_hull_keeps_what_lies_on_it() -> None:
    phases = [
        phase(0),
        phase(2, 0.05),  # above
        phase(3, -0.20, 0),
        phase(3, -0.05, 1),  # another arrangement, higher
        phase(4, -0.10),  # above the line from x = 0.5 to 1
        phase(6),
    ]
    found = voltage_profile(phases, METAL)
    table = found.phases.set_index(["x", "arrangement"])
    assert found.stable_phases == 3
    assert table[table["stable"]].index.get_level_values("x").tolist() == [1, 0.5, 0]
    assert table.loc[(0.5, 1), "above_hull"] == pytest.approx(150.0)
    assert table.loc[(0.5, 0), "formation"] == pytest.approx(-200.0)
    line = -200.0 * (1.0 - 4.0 / 6.0) / 0.5
    row = found.phases[np.isclose(found.phases["x"], 4.0 / 6.0)].iloc[0]
    assert row["above_hull"] == pytest.approx(-100.0 - line)
    middle = -(ENDS[1.0] - ENDS[0.0] - METAL)
    np.testing.assert_allclose(found.steps["x_low"], [0.0, 0.5])
    np.testing.assert_allclose(found.steps["voltage"], [middle + 0.4, middle - 0.4])
    assert [len(one) for one in found.structures] == [18, 21, 24]


def test_average_is_the_mean_of_the_steps() -> None:
    random = np.random.default_rng(4)
    for _ in range(5):
        phases = [phase(0), phase(6)]
        phases += [
            phase(k, -0.3 * np.sin(np.pi * k / 6) + 0.2 * random.standard_normal())
            for k in range(1, 6)
        ]
        found = voltage_profile(phases, METAL)
        widths = found.steps["x_high"] - found.steps["x_low"]
        mean = float((found.steps["voltage"] * widths).sum() / widths.sum())
        assert found.average_voltage == pytest.approx(mean)
        assert (np.diff(found.steps["voltage"]) < 0.0).all()
        assert found.phases["above_hull"].min() == pytest.approx(0.0, abs=1e-9)
        assert found.steps["capacity"].sum() == pytest.approx(found.capacity)


def test_shift_of_the_metal_shifts_all_steps() -> None:
    phases = [phase(0), phase(3, -0.2), phase(6)]
    first, second = voltage_profile(phases, METAL), voltage_profile(phases, METAL + 0.1)
    np.testing.assert_allclose(
        second.steps["voltage"], first.steps["voltage"] + 0.1, atol=1e-9
    )


def test_tables_pictures_and_json() -> None:
    found = voltage_profile([phase(0), phase(3, -0.2), phase(6)], METAL, model="toy")
    assert set(found.curves()) == {"steps", "phases"}
    axes = found.plot()
    assert axes.get_xlabel() == "x in LixCoO2"
    back = type(found).from_json(found.to_json())
    assert back.average_voltage == found.average_voltage
    assert back.structures[1].get_chemical_formula() == "Co6Li3O12"


def test_a_formula_unit_has_one_metal() -> None:
    mixed = [phase(0), phase(3, -0.2), phase(6)]
    for one in mixed:
        one.atoms.symbols[np.flatnonzero(one.atoms.symbols == "Co")[:2]] = "Ni"
    found = voltage_profile(mixed, METAL)
    assert found.framework == "Co0.667Ni0.333O2"
    assert sorted(found.phases["x"]) == [0.0, 0.5, 1.0]
    plain = voltage_profile([phase(0), phase(3, -0.2), phase(6)], METAL)
    np.testing.assert_allclose(found.steps["voltage"], plain.steps["voltage"])


def test_bad_phases_are_refused() -> None:
    with pytest.raises(DataError, match=r"two contents of Li or more, got 2 at 0.5"):
        voltage_profile([phase(3), phase(3)], METAL)
    with pytest.raises(DataError, match="got 0 at none"):
        voltage_profile([], METAL)
    other = crystal(6)
    other.symbols[other.symbols == "Co"] = "Ni"
    with pytest.raises(
        DataError, match="phases of one framework, got NiO2 beside CoO2"
    ):
        voltage_profile([phase(0), Phase(atoms=other, energy=-1.0)], METAL)
    with pytest.raises(DataError, match="energy is nan"):
        voltage_profile([phase(0), phase(6, np.nan)], METAL)
