# SPDX-License-Identifier: LGPL-3.0-or-later
"""Barriers of the shipped model: labels all along, symmetry, what is told of a hop."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase.io import read

from spin_dp import SpinDP, SpinDPCalculator
from spin_dp.deployment.cache import fast_models
from spin_dp.errors import ConfigError, DataError
from spin_dp.properties import PROPERTIES, Subject, find_property
from spin_dp.properties.collection import collect_properties
from spin_dp.properties.migration import (
    Barrier,
    BarrierSettings,
    HopSettings,
    MigrationNetwork,
    NetworkSettings,
    barrier,
    given_ends,
    hop_ends,
    hops_of,
    network,
)
from spin_dp.properties.migration.holes import ELECTRONS
from spin_dp.structures import SPIN_STATES
from tests.properties.cathodes import layered

# How far models of an ensemble may differ is asked elsewhere.
pytestmark = pytest.mark.filterwarnings(
    "ignore:forces of the:spin_dp.errors.OutsideTrainingData"
)
# Small cells and rough paths: what is asked here does not depend on it.
QUICK: dict[str, Any] = {"width": 4.5, "images": 1, "max_force": 0.03}
ROUGH: dict[str, Any] = {"width": 4.5, "images": 3, "max_force": 0.03}


@pytest.fixture(scope="module")
def model() -> SpinDP:
    """Return two models that do not distort so small a cell of LiCoO2 by themselves.

    The first one of lixmo2 does: both ends of a hop come to rest 0.06 eV apart.
    """
    return SpinDP(fast_models("lixmo2", 3)[1:])


@pytest.fixture(scope="module")
def cobaltate(model: SpinDP) -> Subject:
    return Subject.of_model(layered(), model, "Co=3+LS")


@pytest.fixture(scope="module")
def dumbbell(cobaltate: Subject) -> Barrier:
    return barrier(cobaltate, BarrierSettings(**ROUGH))


def names_of(atoms):
    return Counter(name for name in atoms.arrays[SPIN_STATES] if name != "none")


def test_labels_survive_on_all_images(dumbbell: Barrier, model: SpinDP) -> None:
    """One lithium is gone: one cobalt holds a hole, the same one all along."""
    assert dumbbell.formula == "Li11Co12O24"
    assert dumbbell.label_mode == "adiabatic"
    assert len(dumbbell.images) == 5
    for image in dumbbell.images:
        assert names_of(image) == {"Co3+LS": 11, "Co4+LS": 1}
        np.testing.assert_array_equal(
            image.arrays[SPIN_STATES], dumbbell.images[0].arrays[SPIN_STATES]
        )
        holes = image.arrays[SPIN_STATES] == "Co4+LS"
        moments = image.get_magnetic_moments()
        assert moments[holes] == pytest.approx(1.06, abs=0.4)
        energy = model.evaluate(image).energy
        assert energy == pytest.approx(image.get_potential_energy(), abs=1e-4)
    energies = [image.get_potential_energy() for image in dumbbell.images]
    np.testing.assert_allclose(
        dumbbell.path["energy"], np.array(energies) - energies[0], atol=1e-9
    )


def test_there_is_a_saddle_point_and_a_way_back(dumbbell: Barrier) -> None:
    assert dumbbell.converged
    assert dumbbell.unstable_modes == 1
    # The hole is where both ends are alike.
    assert dumbbell.barrier == pytest.approx(dumbbell.back, abs=0.02)
    assert dumbbell.barrier == max(dumbbell.path["energy"])
    assert dumbbell.reaction_energy == pytest.approx(dumbbell.path["energy"].iloc[-1])
    assert dumbbell.way == "dumbbell"
    assert dumbbell.distance == pytest.approx(2.816, abs=1e-3)
    assert dumbbell.initial_coordination == 6
    assert dumbbell.nearest_anion == min(dumbbell.path["nearest_anion"])
    assert dumbbell.nearest_anion < dumbbell.path["nearest_anion"].iloc[0] - 0.1
    assert np.isnan(dumbbell.crossing)
    # All that moves far is the ion.
    ways = dumbbell.images[-1].positions - dumbbell.images[0].positions
    lengths = np.linalg.norm(ways, axis=1)
    assert lengths.argmax() == dumbbell.ion
    assert np.sort(lengths)[-2] < 0.4
    assert dumbbell.spread is not None
    assert 0.0 < dumbbell.spread["barrier"] < 0.2


def test_copies_of_a_hop_have_one_barrier(dumbbell: Barrier, model: SpinDP) -> None:
    """The crystal turned and moved, its atoms in another order."""
    atoms = layered()
    other = atoms[np.random.default_rng(2).permutation(len(atoms))]
    other.rotate(50.0, (1, -2, 1), rotate_cell=True)
    other.positions += (0.3, 0.9, 0.1)
    subject = Subject.of_model(other, model, "Co=3+LS")
    found = barrier(subject, BarrierSettings(**ROUGH))
    assert found.barrier == pytest.approx(dumbbell.barrier, abs=0.02)
    assert found.spin_state == dumbbell.spin_state


def test_it_is_told_in_tables_files_and_pictures(dumbbell, tmp_path) -> None:
    table = dumbbell.table().set_index("field")
    assert table.loc["barrier", "value"] == dumbbell.barrier
    assert table.loc["barrier", "unit"] == "eV"
    assert table.loc["barrier", "spread"] == dumbbell.spread["barrier"]
    again = Barrier.from_json(dumbbell.to_json())
    assert again.barrier == dumbbell.barrier
    assert again.states == dumbbell.states
    assert again.path.equals(dumbbell.path)
    assert names_of(again.images[2]) == names_of(dumbbell.images[2])
    np.testing.assert_allclose(
        again.images[2].positions, dumbbell.images[2].positions, atol=1e-12
    )
    dumbbell.write_path(tmp_path / "path.extxyz")
    frames = read(tmp_path / "path.extxyz", index=":")
    assert len(frames) == 5
    for frame, image in zip(frames, dumbbell.images, strict=True):
        assert names_of(frame) == names_of(image)
        assert frame.get_potential_energy() == pytest.approx(
            image.get_potential_energy(), abs=1e-6
        )
        np.testing.assert_allclose(frame.get_forces(), image.get_forces(), atol=1e-6)
    axes = dumbbell.plot()
    assert axes.get_xlabel() == "path, Å"
    assert len(axes.get_lines()) == 2


def test_another_calculator_beside_it(dumbbell: Barrier, model: SpinDP) -> None:
    other = Subject.of_calculator(
        dumbbell.images[0],
        lambda: SpinDPCalculator(model.first, carried="moments"),
        name="other",
        states=model.states,
    )
    found = dumbbell.at_same_geometries(other)
    assert found.top == 1
    assert found.geometries == dumbbell.model
    assert found.path["energy"].tolist() == [
        0.0,
        found.barrier,
        found.reaction_energy,
    ]
    assert found.back == pytest.approx(found.barrier - found.reaction_energy)
    # The energy of the predicted moments is about that of the state.
    assert found.barrier == pytest.approx(dumbbell.barrier, abs=0.3)
    assert found.becomes == ""
    for image, original in zip(
        found.images, dumbbell.images[:: dumbbell.top], strict=True
    ):
        np.testing.assert_array_equal(image.positions, original.positions)
    assert len(found.plot().get_lines()) == 2
    assert Barrier.from_json(found.to_json()).barrier == found.barrier
    # By the model itself it is the path.
    same = dumbbell.at_same_geometries(
        Subject.of_model(dumbbell.images[0], model.first, name="again"), images=[1]
    )
    assert same.barrier == pytest.approx(dumbbell.barrier, abs=1e-5)
    assert same.path["coordinate"].tolist() == [
        dumbbell.path["coordinate"][k] for k in sorted({0, 1, dumbbell.top, 4})
    ]


def test_holes_are_where_the_energy_is_lowest(cobaltate, model) -> None:
    """Against all places of the hole tried by hand."""
    hops = hops_of(cobaltate, HopSettings())
    found = {
        electron: hop_ends(cobaltate, hops, electron=electron, width=4.5)
        for electron in ("staying", "following", "lowest")
    }
    ends = found["staying"]
    before, after = ends.initial.atoms.copy(), ends.final
    cobalt = [k for k, s in enumerate(before.symbols) if s == "Co"]
    sums = []
    for hole in cobalt:
        labels = f"Co=3+LS {hole}=4+LS"
        both = [
            model.first.evaluate(atoms, labels.replace("Co=3+LS", rest)).energy
            for atoms in (before, after)
            for rest in [" ".join(f"{k}=3+LS" for k in cobalt if k != hole)]
        ]
        sums.append(both)
    energies = np.array(sums)

    def hole_of(subject):
        return cobalt.index(list(subject.atoms.arrays[SPIN_STATES]).index("Co4+LS"))

    staying = hole_of(ends.initial)
    assert energies.sum(axis=1)[staying] == pytest.approx(
        energies.sum(axis=1).min(), abs=2e-3
    )
    labelled = found["following"].labelled
    first, last = labelled.states[0], labelled.states[labelled.final[0]]
    assert energies[hole_of(first), 0] == pytest.approx(energies[:, 0].min(), abs=2e-3)
    assert energies[hole_of(last), 1] == pytest.approx(energies[:, 1].min(), abs=2e-3)
    lowest = found["lowest"].labelled
    assert len(lowest.states) > 2
    assert lowest.initial == lowest.final == tuple(range(len(lowest.states)))


def test_holes_keep_the_sign_of_their_site(model) -> None:
    subject = Subject.of_model(
        layered("Ni").repeat((2, 1, 1)), model, "Ni=3+LS", order="AFM-100"
    )
    hops = hops_of(subject, HopSettings(vacancies="two"))
    ends = hop_ends(subject, hops, holes={"Ni": "4+IS"}, width=4.5)
    names = names_of(ends.initial.atoms)
    up, down = (names[f"{sign}Ni3+LS"] + names[f"{sign}Ni4+IS"] for sign in ("", "-"))
    assert up == down == len(subject.atoms) // 4
    assert names["Ni4+IS"] + names["-Ni4+IS"] == 2


def test_an_electron_can_hop_where_nothing_was_taken_out(model) -> None:
    atoms = layered("Ni").repeat((2, 1, 1))
    del atoms[next(k for k, s in enumerate(atoms.symbols) if s == "Li")]
    nickel = [k for k, s in enumerate(atoms.symbols) if s == "Ni"]
    labels: dict[str | int, str | float] = dict.fromkeys(nickel, "3+LS")
    labels[nickel[0]] = "4+LS"
    subject = Subject.of_model(atoms, model, labels)
    hops = hops_of(subject)
    assert hops.vacancies == "present"
    staying, following, lowest = (
        hop_ends(subject, hops, electron=electron, width=3.0).labelled
        for electron in ELECTRONS
    )
    given = subject.relabelled(staying.states[0].atoms)
    assert len(staying.states) == 1
    assert len(following.states) in (1, 2)
    assert len(lowest.states) > 2
    patterns = set()
    for labelled in (staying, following, lowest):
        for state in labelled.states:
            assert names_of(state.atoms) == names_of(given.atoms)
            patterns.add(tuple(state.atoms.arrays[SPIN_STATES]))
    assert len(patterns) == len(lowest.states)
    assert list(following.states[0].atoms.arrays[SPIN_STATES]) == list(
        given.atoms.arrays[SPIN_STATES]
    )


def test_held_moments_are_alike_both_ways(model) -> None:
    subject = Subject.of_model(layered(), model, "Co=3+LS", label_mode="held")
    found = barrier(subject, BarrierSettings(**QUICK))
    assert found.label_mode == "held"
    assert found.barrier == pytest.approx(found.back, abs=0.03)
    first = found.images[0].get_magnetic_moments()
    for image in found.images:
        np.testing.assert_array_equal(image.get_magnetic_moments(), first)


def test_the_lowest_state_is_not_above_the_one_that_stays(dumbbell, cobaltate) -> None:
    hops = hops_of(cobaltate)
    ends = hop_ends(cobaltate, hops, electron="lowest", width=4.5)
    found = barrier(cobaltate, BarrierSettings(electron="lowest", **QUICK))
    columns = [name for name in found.path if str(name).startswith("energy of")]
    assert len(columns) == len(found.states) == len(ends.labelled.states)
    np.testing.assert_allclose(
        found.path[columns].min(axis=1), found.path["energy"], atol=1e-9
    )
    for image, state in zip(found.images, found.path["state"], strict=True):
        assert image.info["spin_state"] == found.states[state]
    assert found.barrier < dumbbell.barrier + 0.03


def test_the_final_structure_can_be_given(cobaltate, model, dumbbell, tmp_path) -> None:
    first, last = dumbbell.images[0], dumbbell.images[-1]
    after = last.copy()
    after.calc = None
    after.wrap()
    after.write(tmp_path / "after.extxyz")
    subject = Subject.of_model(first, model)
    settings = BarrierSettings(final=str(tmp_path / "after.extxyz"), **QUICK)
    found = barrier(subject, settings)
    assert found.barrier == pytest.approx(dumbbell.barrier, abs=0.03)
    assert found.ion == dumbbell.ion
    # Another hole at the end: the electron comes along.
    names = [str(name) for name in first.arrays[SPIN_STATES]]
    hole = names.index("Co4+LS")
    other = next(k for k, name in enumerate(names) if name == "Co3+LS")
    names[hole], names[other] = "Co3+LS", "Co4+LS"
    names = ["" if name == "none" else name for name in names]
    ends = given_ends(subject, subject.relabelled(last, names))
    assert len(ends.labelled.states) == 2
    assert ends.labelled.final == (1,)


def test_a_network_of_one_hop(cobaltate: Subject) -> None:
    settings = NetworkSettings(temperatures=(300.0, 600.0), **QUICK)
    found = network(cobaltate, settings)
    assert len(found.hops) == 1
    assert len(found.edges) == 9
    assert found.percolation_2d == pytest.approx(found.hops["barrier"][0], abs=0.03)
    assert np.isnan(found.percolation_3d)
    assert np.isnan(found.along_c)
    graph = found.graph()
    assert graph.number_of_nodes() == 3
    assert graph.number_of_edges() == 18
    # Three layers, each a triangular net: D = 3/2 k a².
    row = found.diffusivity.iloc[0]
    rate = found.hops["rate at 300 K"][0]
    assert row["along_a"] == pytest.approx(1.5 * rate * (2.816e-8) ** 2, rel=0.6)
    assert row["along_a"] == pytest.approx(row["along_b"], rel=1e-6)
    assert row["along_c"] == pytest.approx(0.0, abs=1e-9 * row["along_a"])
    assert found.diffusivity["mean"].iloc[1] > row["mean"]
    again = MigrationNetwork.from_json(found.to_json())
    assert again.percolation_2d == found.percolation_2d
    assert again.hops.equals(found.hops)
    assert found.plot().get_ylabel() == "barrier, eV"


def test_files_of_a_run(cobaltate: Subject, tmp_path) -> None:
    asked = find_property("barrier")
    settings = {"barrier": BarrierSettings(**QUICK)}
    collected = collect_properties([asked], [cobaltate], tmp_path, settings=settings)
    (found,) = collected.results["barrier"]
    assert isinstance(found, Barrier)
    frames = read(tmp_path / "barrier.extxyz", index=":")
    assert len(frames) == len(found.images) == 3
    for number, frame in enumerate(frames):
        assert names_of(frame) == {"Co3+LS": 11, "Co4+LS": 1}
        assert frame.info["spin_state"] == found.spin_state
        above = frame.get_potential_energy() - frames[0].get_potential_energy()
        assert above == pytest.approx(found.path["energy"][number], abs=1e-5)
        assert np.isfinite(frame.get_forces()).all()
        assert frame.get_magnetic_moments().any()
    path = pd.read_csv(tmp_path / "barrier.path.csv")
    np.testing.assert_allclose(path["energy"], found.path["energy"], atol=1e-9)
    assert (tmp_path / "barrier.png").is_file()


def test_they_are_among_the_properties() -> None:
    assert {"barrier", "migration-network"} <= set(PROPERTIES)
    assert find_property("barrier").settings is BarrierSettings


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hop": 7}, "expected 0 to 0"),
        ({"ion": "Na"}, "Na"),
        ({"holes": "Co=3+HS"}, "can, of the states"),
        ({"holes": "Ni=4+LS"}, "Ni"),
        ({"width": 0.0}, "images of each other"),
        ({"final": "nothing.cif"}, "no such structure file"),
    ],
)
def test_what_cannot_be_is_refused(cobaltate, changes, says) -> None:
    with pytest.raises((ConfigError, DataError), match=says):
        barrier(cobaltate, BarrierSettings(**changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"vacancies": "three"}, "three"),
        ({"electron": "hopping"}, "hopping"),
        ({"relax": "volume"}, "volume"),
        ({"holes": "Co"}, "Ni=4"),
        ({"images": 0}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, says) -> None:
    with pytest.raises(ConfigError, match=says):
        BarrierSettings(**changes)
    with pytest.raises(ConfigError, match="frequency"):
        NetworkSettings(frequency="fast")
    with pytest.raises(ConfigError, match="above 0 K"):
        NetworkSettings(temperatures=(0.0,))


def test_ends_that_do_not_go_together_are_refused(cobaltate, dumbbell, model) -> None:
    start = Subject.of_model(dumbbell.images[0], model)
    with pytest.raises(DataError, match="no atom"):
        given_ends(start, start)
    large = dumbbell.images[-1].copy()
    large.set_cell(1.01 * large.cell.array, scale_atoms=True)
    with pytest.raises(DataError, match="another cell"):
        given_ends(start, Subject.of_model(large, model))
    with pytest.raises(DataError, match="same order"):
        given_ends(start, cobaltate)


def test_a_charged_crystal_has_no_holes_to_place(model) -> None:
    subject = Subject.of_model(layered(), model, "Co=2+HS")
    with pytest.raises(ConfigError, match="can, of the states"):
        hop_ends(subject, hops_of(subject), width=4.5, holes={"Co": "4+LS"})
    reduced = Subject.of_model(layered(), model, "Co=4+LS")
    with pytest.raises(ConfigError, match="no hole makes it neutral"):
        hop_ends(reduced, hops_of(reduced), width=4.5)
