# SPDX-License-Identifier: LGPL-3.0-or-later
"""Voltages by a model, phase by phase, against trying all by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.io import write

from spin_dp import SpinDP, SpinDPCalculator, rank_states
from spin_dp.dft import EngineCalculator, open_engine
from spin_dp.errors import ConfigError, DataError
from spin_dp.properties import Subject
from spin_dp.properties.energies import CalculatorEnergies
from spin_dp.properties.voltage import (
    VoltageSettings,
    compare_crystals,
    metal_energy,
    metal_energy_by,
    metal_records,
    voltage,
)
from spin_dp.search.vacancy_patterns import VacancyPatterns
from spin_dp.spin_states.balance import cell_charge
from spin_dp.spin_states.labels import Sites

if TYPE_CHECKING:
    from ase import Atoms

    from spin_dp.properties.voltage import Voltage

STATES = "Mn=3+HS,4+; Ni=2+,3+LS"


@pytest.fixture(scope="module")
def model(label_model) -> SpinDP:
    return SpinDP(label_model)


def oxide() -> Atoms:
    """Return displaced MnNiLi2O4, neutral with Mn4+ and Ni2+, or 3+ and 3+."""
    atoms: Atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True)
    atoms.symbols[0] = "Mn"
    atoms.symbols[[4, 6]] = "Li"
    atoms.rattle(0.05, seed=3)
    return atoms


def settings(**others: object) -> VoltageSettings:
    given: dict[str, object] = {
        "shares": (1.0, 0.5),
        "states": STATES,
        "metal_energy": -1.9,
        "relax": "nothing",
    }
    return VoltageSettings(**(given | others))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found(model) -> Voltage:
    return voltage(Subject.of_model(oxide(), model, "Mn=4+ Ni=2+"), settings())


def test_phases_are_the_lowest_of_all_states_and_arrangements(found, model) -> None:
    assert found.phases["x"].tolist() == [1.0, 0.5, 0.5]
    tried = {"Mn": ["3+HS", "4+"], "Ni": ["2+", "3+LS"]}
    for share in (1.0, 0.5):
        energies = [
            rank_states(one.atoms, model, states=tried)["energy"].iloc[0]
            for one in VacancyPatterns.of_share(oxide(), "Li", share).choose(9)
        ]
        rows = found.phases[found.phases["x"] == share]
        np.testing.assert_allclose(rows["energy"], np.sort(energies) / 2, atol=1e-8)
    step = found.steps.iloc[0]
    full, half = (
        found.phases[found.phases["x"] == x]["energy"].min() for x in (1, 0.5)
    )
    assert step["voltage"] == pytest.approx(-(full - half - 0.5 * -1.9) / 0.5)


def test_every_phase_is_neutral_and_carries_its_labels(found, model) -> None:
    for atoms in found.structures:
        labels = model.labels(atoms)
        sites = Sites(atoms.get_chemical_symbols(), atoms.cell.array, atoms.positions)
        assert cell_charge(labels, sites) == pytest.approx(0.0)
        assert sum(state is not None for state in labels.states) == 2


def test_relaxed_phases_are_lower(found, model) -> None:
    subject = Subject.of_model(oxide(), model, "Mn=4+ Ni=2+")
    seen: list[str] = []
    relaxed = voltage(
        subject,
        settings(relax="atoms", relaxed=1, max_force=1.0, max_steps=5),
        lambda what, *_: seen.append(what),
    )
    for x in (0.5, 1.0):
        before = found.phases[found.phases["x"] == x]["energy"].min()
        table = relaxed.phases[relaxed.phases["x"] == x]
        assert table["energy"].min() <= before + 1e-9
        assert table["relaxed"].sum() == 1
    assert set(seen) == {"arrangements and spin states", "relaxing"}


def test_chains_find_the_lowest_of_what_is_not_tried(found, model) -> None:
    """Of two arrangements one may be tried, so that chains look for it."""
    subject = Subject.of_model(oxide(), model, "Mn=4+ Ni=2+")
    searched = voltage(subject, settings(arrangements=1))
    for x in (0.5, 1.0):
        lowest = [
            one.phases[one.phases["x"] == x]["energy"].min()
            for one in (searched, found)
        ]
        assert lowest[0] == pytest.approx(lowest[1], abs=1e-6)
    assert len(searched.phases) == 2


def test_another_calculator_gives_the_same_table(found, model) -> None:
    other = Subject.of_calculator(
        oxide(),
        lambda: SpinDPCalculator(model, carried="states"),
        "Mn=4+ Ni=2+",
        name="again",
        states=model.states,
    )
    told: list[str] = []
    again = found.at_same_geometries(
        other, lambda what, *_: told.append(what), metal_energy=-1.9
    )
    np.testing.assert_allclose(
        again.steps["voltage"], found.steps["voltage"], atol=1e-8
    )
    assert (again.model, again.geometries) == ("again", found.model)
    assert again.label_mode == "free"
    assert set(told) == {"energies of phases"}
    # A metal that costs 0.1 eV more to leave raises each step by as much.
    less = found.at_same_geometries(other, metal_energy=-2.0)
    np.testing.assert_allclose(
        less.steps["voltage"], found.steps["voltage"] - 0.1, atol=1e-8
    )
    with pytest.raises(ConfigError, match="no crystal of Li metal"):
        found.at_same_geometries(other)


def test_lithium_metal_is_that_of_the_level_of_the_shipped_model(model) -> None:
    shipped = SpinDP("lixmo2")
    record = metal_records()["GPAW-PBE+U-PW-c6f898"]["Li"]
    assert metal_energy("Li", shipped) == record["free_energy"]
    assert record["made_by"] == "examples/gpaw/lithium_metal.py"
    # PBE of the literature: 3.43-3.44 Å, 14 GPa (F. Tran et al., J. Chem. Phys. 144,
    # 204120 (2016)).
    assert record["lattice_constant"] == pytest.approx(3.435, abs=0.01)
    assert record["bulk_modulus_GPa"] == pytest.approx(13.9, abs=0.6)
    # Smearing takes half of its entropy term off: π²/6 (0.1 eV)² of 0.48 states/eV.
    smearing = record["energy"] - record["free_energy"]
    assert smearing == pytest.approx(np.pi**2 / 6 * 0.01 * 0.48, rel=0.1)
    with pytest.raises(ConfigError, match="for which the energy of Na metal"):
        metal_energy("Na", shipped)
    with pytest.raises(ConfigError, match="a level of theory that is not known"):
        metal_energy("Li", model)


def test_metals_are_those_of_whoever_gives_the_energies(model) -> None:
    def by(make) -> CalculatorEnergies:
        return CalculatorEnergies(make, "other")

    # EMT's aluminium has its minimum at zero energy, K. W. Jacobsen et al., Surf. Sci.
    # 366, 394 (1996).
    assert metal_energy_by(by(EMT), "Al") == pytest.approx(0.0, abs=0.01)
    # A pair potential cut off beyond its neighbours: eight bonds of bcc, and six.
    pair = LennardJones(sigma=2.65, epsilon=0.1, rc=4.5, smooth=False)
    shells = np.array([np.sqrt(3.0) / 2.0, 1.0])
    edges = np.linspace(3.0, 3.9, 9001)
    ratio = (2.65 / np.outer(edges, shells)) ** 6
    well = 0.4 * (ratio**2 - ratio) - 0.4 * ((2.65 / 4.5) ** 12 - (2.65 / 4.5) ** 6)
    expected = (well @ np.array([4.0, 3.0])).min()
    assert metal_energy_by(by(lambda: pair), "Li") == pytest.approx(expected, abs=1e-5)
    shipped = Subject.of_model(oxide(), SpinDP("lixmo2"), "Mn=4+ Ni=2+")
    record = metal_records()["GPAW-PBE+U-PW-c6f898"]["Li"]["free_energy"]
    assert metal_energy_by(shipped.energies, "Li") == record
    # DFT's k-points would be too few for a metal.
    engine = open_engine({"engine": "gpaw"}, Path())
    assert (
        metal_energy_by(by(lambda: EngineCalculator(engine, Path("none"))), "Li")
        == record
    )
    coarse = open_engine({"engine": "gpaw", "cutoff_ev": 400.0}, Path())
    with pytest.raises(ConfigError, match="energy of Li metal is not known"):
        metal_energy_by(by(lambda: EngineCalculator(coarse, Path("none"))), "Li")


def test_bad_questions_are_refused(model) -> None:
    subject = Subject.of_model(oxide(), model, "Mn=4+ Ni=2+")
    with pytest.raises(ConfigError, match="energy of Li metal is not known"):
        voltage(subject, settings(metal_energy=None))
    with pytest.raises(ConfigError, match="no assignment of the states"):
        voltage(subject, settings(shares=(1.0, 0.0)))
    with pytest.raises(ConfigError, match=r"0.25 of the 2 Li ions is no whole number"):
        voltage(subject, settings(shares=(1.0, 0.25)))
    with pytest.raises(ConfigError, match="unknown ion that leaves"):
        voltage(subject, settings(ion="Na"))
    with pytest.raises(ConfigError, match="sweeps not below 0"):
        settings(sweeps=-1)
    with pytest.raises(ConfigError, match="two or more, got"):
        settings(shares=(1.0,))
    with pytest.raises(ConfigError, match="numbers from 0 to 1, got"):
        settings(shares=(1.0, 1.5))
    with pytest.raises(ConfigError, match="unknown what to relax"):
        settings(relax="everything")
    with pytest.raises(ConfigError, match="an element and its states"):
        voltage(subject, settings(states="Mn"))
    other = Subject.of_calculator(oxide(), EMT, "Mn=4+ Ni=2+", name="EMT")
    with pytest.raises(ConfigError, match="EMT cannot look for spin states"):
        voltage(other, settings())


def test_shares_are_quarters_as_the_cell_allows() -> None:
    assert VoltageSettings().shares_of(12) == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert VoltageSettings().shares_of(2) == [1.0, 0.5, 0.0]
    assert VoltageSettings().shares_of(1) == [1.0, 0.0]
    assert VoltageSettings(shares=(0.0, 1.0)).shares_of(12) == [1.0, 0.0]


def test_the_command_writes_the_curve(tmp_path, label_model, capsys) -> None:
    from spin_dp.cli.app import main

    path = tmp_path / "oxide.extxyz"
    write(path, oxide())
    out = tmp_path / "out"
    words = [
        *("run", "voltage", str(path), "-m", str(label_model), "-o", str(out)),
        *("--labels", "Mn=4+ Ni=2+", "--set", "shares=1,0.5"),
        *("--set", "relax=nothing", "--set", "metal_energy=-1.9"),
        *("--set", f"states={STATES}"),
    ]
    assert main(words) == 0
    told = capsys.readouterr()
    assert "average voltage" in told.out
    assert "x = 0.5: 2 arrangements, 2 distinct, 2 looked at" in told.err
    assert "logm" not in told.err
    assert list(out.glob("**/*voltage*.json"))
    assert list(out.glob("**/*voltage*.png"))


def test_crystals_of_one_composition_are_compared(model) -> None:
    near, far = oxide(), oxide()
    far.set_cell(far.cell * 1.05, scale_atoms=True)
    table, kept = compare_crystals({"near": near, "far": far}, model, settings())
    assert table["above_lowest"].iloc[0] == 0.0
    assert (np.diff(table["energy"]) > 0.0).all()
    difference = 1000.0 * np.diff(table["energy"])[0]
    assert table["above_lowest"].iloc[1] == pytest.approx(difference)
    assert set(kept) == {"near", "far"}
    with pytest.raises(DataError, match="one composition, got"):
        compare_crystals({"near": near, "other": near[1:]}, model)
    with pytest.raises(ConfigError, match="two or more to compare"):
        compare_crystals({"near": near}, model)
