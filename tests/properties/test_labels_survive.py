# SPDX-License-Identifier: LGPL-3.0-or-later
"""Every structure that a property calculates carries the labels of its spin state."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

from spin_dp import SpinDPCalculator
from spin_dp.errors import OutsideTrainingData
from spin_dp.properties import (
    DefectSettings,
    ElasticitySettings,
    EquationOfStateSettings,
    PhononSettings,
    QuasiHarmonicSettings,
    RelaxationSettings,
    Subject,
    SurfaceSettings,
    defect,
    find_property,
    surface,
)
from spin_dp.properties.migration import BarrierSettings, barrier
from spin_dp.structures import NO_STATE, SPIN_STATES

if TYPE_CHECKING:
    from ase import Atoms

    from spin_dp import SpinDP

CHEAP = {
    "relaxation": RelaxationSettings(max_force=0.02),
    "eos": EquationOfStateSettings(max_strain=0.01, points=5, max_force=0.02),
    "elasticity": ElasticitySettings(
        strains=(-0.01, 0.01), shears=(-0.01, 0.01), max_force=0.02
    ),
    "phonons": PhononSettings(min_length=4.0, mesh=10.0, max_force=0.02),
    "qha": QuasiHarmonicSettings(
        strains=(-0.01, -0.005, 0.0, 0.005, 0.01),
        min_length=4.0,
        mesh=10.0,
        max_force=0.02,
        temperatures=(0.0, 400.0, 50.0),
    ),
    "surface": SurfaceSettings(
        miller=(1, 0, 0), thickness=6.0, max_force=0.2, polar=True
    ),
}


class Seen(SpinDPCalculator):
    """Keeps the structures that it calculates."""

    frames: ClassVar[list[Atoms]] = []

    def calculate(self, atoms=None, *args, **kwargs) -> None:
        super().calculate(atoms, *args, **kwargs)
        self.frames.append(self.atoms.copy())


class Shifted(SpinDPCalculator):
    """Adds half an electron volt for each ion but oxygen's."""

    def calculate(self, atoms=None, *args, **kwargs) -> None:
        super().calculate(atoms, *args, **kwargs)
        number = sum(symbol != "O" for symbol in self.atoms.symbols)
        self.results["energy"] += 0.5 * number
        self.results["free_energy"] = self.results["energy"]


class Foreign(Calculator):  # type: ignore[misc]
    """Knows no free energy, as calculators of many potentials."""

    implemented_properties = ("energy", "forces", "stress", "magmoms")

    def __init__(self, model: SpinDP) -> None:
        super().__init__()
        self.inner = SpinDPCalculator(model, carried="states")

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.inner.calculate(self.atoms)
        self.results = {k: self.inner.results[k] for k in self.implemented_properties}


@pytest.fixture
def seen(model, nickel_oxide) -> Subject:
    Seen.frames.clear()
    return Subject.of_calculator(
        nickel_oxide,
        lambda: Seen(model, carried="states"),
        "Ni=2+",
        order="AFM",
        name="seen",
        states=model.states,
    )


def neighbours_that_are_not_opposite(atoms) -> int:
    """Return how many Ni-O-Ni in a row, one lattice constant apart, are not opposite.

    That is what planes along [111] that alternate mean, in any cell and slab.
    """
    nickel = atoms[[atom.index for atom in atoms if atom.symbol == "Ni"]]
    moments = nickel.get_initial_magnetic_moments()
    first, second = neighbor_list("ij", nickel, 4.25 * 1.1)
    far = neighbor_list("d", nickel, 4.25 * 1.1) > 4.25 * 0.85
    return int((moments[first[far]] * moments[second[far]] > 0.0).sum())


@pytest.mark.parametrize("name", sorted(CHEAP))
def test_every_structure_is_the_antiferromagnet(name, seen, model) -> None:
    known = find_property(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutsideTrainingData)
        result = known.calculate(seen, CHEAP[name])
    moment = model.states.find("Ni", "2+").moment
    assert len(Seen.frames) > 3
    for atoms in Seen.frames:
        moments = atoms.get_initial_magnetic_moments()
        is_nickel = np.array(atoms.symbols) == "Ni"
        assert np.abs(moments[is_nickel]) == pytest.approx(moment)
        assert not moments[~is_nickel].any()
        assert neighbours_that_are_not_opposite(atoms) == 0
    assert result.spin_state.startswith("Ni2+[1up,1dn]")
    assert result.becomes == ""
    structure = getattr(result, "structure", None)
    if structure is not None:
        states = structure.arrays[SPIN_STATES]
        assert {*states} == {"Ni2+", "-Ni2+", NO_STATE}
        assert type(result).from_json(result.to_json()).to_json() == result.to_json()


def test_slab_has_the_moments_of_its_layers(seen) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutsideTrainingData)
        find_property("surface").calculate(seen, CHEAP["surface"])
    slabs = [atoms for atoms in Seen.frames if atoms.cell.lengths().max() > 15.0]
    assert slabs
    for atoms in slabs:
        moments = atoms.get_initial_magnetic_moments()
        assert moments.sum() == pytest.approx(0.0)


def test_surface_energy_of_another_one_needs_bulk_and_slab(nickel_oxide, model) -> None:
    """What is added to each metal falls out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutsideTrainingData)
        found = surface(
            Subject.of_model(nickel_oxide, model, "Ni=2+", order="AFM"),
            SurfaceSettings(miller=(1, 0, 0), thickness=6.0, max_force=0.2, polar=True),
        )
    other = Subject.of_calculator(
        nickel_oxide,
        lambda: Shifted(model, carried="states"),
        "Ni=2+",
        name="shifted",
        states=model.states,
    )
    again = found.at_same_geometries(other)
    assert again.energy == pytest.approx(found.energy, abs=1e-6)
    assert again.terminations["energy"].tolist() == [again.energy]
    assert (again.model, again.geometries) == ("shifted", found.model)
    assert again.spin_state == found.spin_state
    assert type(again).from_json(again.to_json()).to_json() == again.to_json()


@pytest.mark.parametrize("kind", ["vacancy", "exchange"])
def test_defect_keeps_labels_and_balances_the_charge(kind, model, layered) -> None:
    subject = Subject.of_model(layered, model, "Ni=3+LS", name="lixmo2")
    settings = DefectSettings(
        kind=kind, min_length=5.0, max_force=0.05, balance="Ni=4+LS"
    )
    found = defect(subject, settings)
    states = found.structure.arrays[SPIN_STATES].tolist()
    nickel = [name for name in states if "Ni" in name]
    lithium = found.structure.get_chemical_symbols().count("Li")
    assert lithium == len(nickel) - (kind == "vacancy")
    assert nickel.count("Ni4+LS") == (1 if kind == "vacancy" else 0)
    assert nickel.count("Ni3+LS") == len(nickel) - nickel.count("Ni4+LS")
    moments = np.abs(found.structure.get_initial_magnetic_moments())
    for name, moment in zip(states, moments, strict=True):
        expected = 0.0 if name == NO_STATE else model.states.find("Ni", name).moment
        assert moment == pytest.approx(expected)
    # Another one, by which each cation costs half an electron volt.
    other = Subject.of_calculator(
        layered,
        lambda: Shifted(model.first, carried="states"),
        "Ni=3+LS",
        name="shifted",
        states=model.states,
    )
    again = found.at_same_geometries(other)
    gone = 0.5 if kind == "vacancy" else 0.0
    assert again.difference == pytest.approx(found.difference - gone, abs=1e-6)
    assert (again.model, again.geometries, again.becomes) == ("shifted", "lixmo2", "")
    assert type(again).from_json(again.to_json()).to_json() == again.to_json()
    if kind == "exchange":
        assert again.formation_energy == again.difference
        assert found.formation_energy == found.difference
        return
    assert np.isnan(found.formation_energy)
    assert "no formation energy" in " ".join(found.remarks())
    assert "Ni4+LS" in found.balanced_by


def test_a_calculator_may_be_shared_and_know_no_free_energy(model, layered) -> None:
    """As those that ``--against module:Class`` makes once."""
    shared = Foreign(model.first)
    given = {"name": "foreign", "states": model.states}
    subject = Subject.of_calculator(layered, lambda: shared, "Ni=3+LS", **given)
    own = Subject.of_model(layered, model.first, "Ni=3+LS")
    vacancy = DefectSettings(min_length=4.0, max_force=0.1, balance="Ni=4+LS", tries=2)
    one, other = defect(own, vacancy), defect(subject, vacancy)
    assert other.difference == pytest.approx(one.difference, abs=1e-5)
    assert other.defect_state == one.defect_state
    rough = BarrierSettings(width=4.0, images=3, max_force=1.0, max_steps=2)
    hop = barrier(subject, rough)
    energies = np.array([model.first.evaluate(image).energy for image in hop.images])
    np.testing.assert_allclose(hop.path["energy"], energies - energies[0], atol=1e-4)


def test_ions_that_change_places_take_their_labels_along(model, layered) -> None:
    cell = layered.repeat((2, 1, 1))
    subject = Subject.of_model(cell, model, "Ni=3+LS 1=-3+LS", name="lixmo2")
    settings = DefectSettings(kind="exchange", min_length=4.0, max_force=0.1)
    found = defect(subject, settings)
    moments = found.structure.get_initial_magnetic_moments()
    symbols = np.array(found.structure.symbols)
    assert not moments[symbols != "Ni"].any()
    assert moments[symbols == "Ni"].sum() == pytest.approx(0.0)
    assert found.defect_state.split("#")[0].startswith("Ni3+LS[")
