# SPDX-License-Identifier: LGPL-3.0-or-later
"""Subjects, results, settings: labels, spreads, JSON, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes

from spin_dp import SpinDP
from spin_dp.errors import ConfigError, DataError
from spin_dp.properties import (
    PROPERTIES,
    DefectSettings,
    PhononSettings,
    Relaxation,
    RelaxationSettings,
    Subject,
    SurfaceSettings,
    defect,
    find_property,
    relax,
    surface,
)
from spin_dp.properties.host import package
from spin_dp.properties.settings import described, parse
from spin_dp.structures import SPIN_STATES

QUICK = RelaxationSettings(max_force=0.05)


class Spring(Calculator):  # type: ignore[misc]
    """Atoms on springs, whose moments are what they are told to be."""

    implemented_properties = ["energy", "forces", "stress", "magmoms"]  # noqa: RUF012

    def __init__(self, start, moments) -> None:
        super().__init__()
        self.start, self.moments = start, np.asarray(moments, dtype=float)

    def calculate(self, atoms=None, properties=None, changes=all_changes) -> None:
        super().calculate(atoms, properties, changes)
        shifts = self.atoms.positions - self.start
        self.results = {
            "energy": 0.5 * float((shifts**2).sum()),
            "forces": -shifts,
            "stress": np.zeros(6),
            "magmoms": self.moments,
        }


def test_adiabatic_and_held_are_the_two_energies(model, layered) -> None:
    named = Subject.of_model(layered, model, "Ni=3+LS")
    held = Subject.of_model(layered, model, "Ni=3+LS", label_mode="held")
    assert (named.label_mode, held.label_mode) == ("adiabatic", "held")
    assert named.spin_state == held.spin_state == "Ni3+LS[1up]"
    labels = model.labels(layered, "Ni=3+LS")
    assert named.calculated().get_potential_energy() == pytest.approx(
        model.evaluate(layered, "Ni=3+LS").energy, abs=1e-6
    )
    moments = model.moments_of(layered, labels)
    assert np.abs(moments[2:]).max() > 0.0  # oxygen's, too, are held
    assert held.calculated().get_potential_energy() == pytest.approx(
        model.evaluate(layered, moments).energy, abs=1e-6
    )
    result = relax(held, QUICK)
    kept = result.structure.get_initial_magnetic_moments()
    assert kept == pytest.approx(moments[:, 2])
    assert result.structure.arrays[SPIN_STATES][1] == "Ni3+LS"


def test_numbers_are_held_and_named_by_the_nearest_state(model, layered) -> None:
    subject = Subject.of_model(layered, model, [0.0, 1.35, 0.0, 0.0])
    assert subject.label_mode == "held"
    assert subject.spin_state == "Ni3+LS[1up]"
    with pytest.raises(ConfigError, match="labelled by a moment"):
        Subject.of_model(layered, model, [0, 1.35, 0, 0], label_mode="adiabatic")


def test_spread_is_the_standard_deviation_of_the_models(model_files, layered) -> None:
    both = SpinDP(model_files[:2])
    subject = Subject.of_model(layered, both, "Ni=3+LS", name="two")
    result = relax(subject, QUICK)
    alone = [
        relax(Subject.of_model(layered, SpinDP(file), "Ni=3+LS"), QUICK)
        for file in model_files[:2]
    ]
    assert result.volume == pytest.approx(alone[0].volume)
    spread = abs(alone[0].volume - alone[1].volume) / np.sqrt(2.0)
    assert result.spread is not None
    assert result.spread["volume"] == pytest.approx(spread)
    row = result.table().set_index("field").loc["volume"]
    assert row["spread"] == pytest.approx(spread)
    assert (row["unit"], row["model"]) == ("Å³/f.u.", "two")
    assert alone[0].spread is None


def test_state_that_does_not_hold_is_told(model, layered) -> None:
    def subject(moments, labels="Ni=3+LS") -> Subject:
        return Subject.of_calculator(
            layered,
            lambda: Spring(layered.positions, moments),
            labels,
            name="spring",
            states=model.states,
        )

    assert relax(subject([0, 1.3, 0, 0]), QUICK).becomes == ""
    assert relax(subject([0, -1.3, 0, 0]), QUICK).becomes == ""  # all reversed
    # Two thirds of the moment of high spin are that of low spin.
    fallen = relax(subject([0, 1.33, 0, 0], "Ni=3+HS"), QUICK)
    assert fallen.becomes == "Ni3+LS[1up]"
    lost = relax(subject([0, 0.0, 0, 0]), QUICK).becomes
    assert lost
    assert "Ni3+LS" not in lost


def test_lost_labels_are_an_error(ferromagnet) -> None:
    bare = ferromagnet.atoms.copy()
    del bare.arrays["initial_magmoms"]
    with pytest.raises(DataError, match=r"labels of Ni2\+\[2up\] were lost"):
        ferromagnet.labelled(bare)


def test_few_steps_are_not_called_converged(ferromagnet) -> None:
    atoms = ferromagnet.atoms.copy()
    atoms.rattle(0.05, seed=3)
    start = ferromagnet.carrying(atoms)
    found = relax(start, RelaxationSettings(max_steps=1))
    assert not found.converged
    assert "not converged" in found.remarks()[0]
    with pytest.raises(ConfigError, match="not relaxed to"):
        find_property("elasticity").calculate(
            start, parse(find_property("elasticity").settings, ["max_steps=1"], of="x")
        )


def test_result_comes_back_from_json(ferromagnet) -> None:
    result = relax(ferromagnet, QUICK)
    again = Relaxation.from_json(result.to_json())
    assert again.to_json() == result.to_json()
    assert again.space_group == "Fm-3m (225)"
    assert again.a == pytest.approx(again.c)
    assert again.shortest_bond == pytest.approx(0.5 * again.a)
    for text in ("[]", "{", '{"property": "eos"}', '{"property": "relaxation"}'):
        with pytest.raises(DataError, match="as JSON"):
            Relaxation.from_json(text)


def test_settings_are_read_from_words() -> None:
    words = ["supercell=2,2,1", "relax=no", "min-length=7.5"]
    found = parse(PhononSettings, words, of="phonons")
    assert found.supercell == (2, 2, 1)
    assert (found.relax, found.min_length) == ("no", 7.5)
    assert parse(PhononSettings, ["supercell=none"], of="phonons").supercell is None
    assert parse(SurfaceSettings, ["polar=yes"], of="surface").polar
    for words, match in (
        (["lenght=3"], "unknown setting of phonons 'lenght'"),
        (["min_length"], "expected NAME=VALUE"),
        (["min_length=long"], "expected a number, got 'long'"),
        (["supercell=2,2"], "expected numbers divided by commas"),
        (["mesh=3", "mesh=4"], "given twice"),
    ):
        with pytest.raises(ConfigError, match=match):
            parse(PhononSettings, words, of="phonons")


def test_every_setting_and_value_says_what_it_is() -> None:
    for one in PROPERTIES.values():
        assert one.result.name == one.name
        assert all(about for _, _, about in described(one.settings))
        names = [field.metadata["name"] for field in one.result.values()]
        assert len(names) == len(set(names)) > 0


def test_bad_input_is_refused(model, layered, ferromagnet) -> None:
    with pytest.raises(ConfigError, match="unknown property 'elastic'"):
        find_property("elastic")
    with pytest.raises(ConfigError, match="free is for other"):
        Subject.of_model(layered, model, "Ni=3+LS", label_mode="free")
    with pytest.raises(ConfigError, match="what to relax 'volume'"):
        RelaxationSettings(what="volume")
    with pytest.raises(ConfigError, match="package absent: pip install"):
        package("absent.module")
    with pytest.raises(ConfigError, match="number of Li in"):
        defect(ferromagnet, DefectSettings(min_length=3.0))
    with pytest.raises(ConfigError, match="no states of lixmo2 make it neutral"):
        defect(
            ferromagnet,
            DefectSettings(element="O", min_length=3.0, balance="Ni=4+LS"),
        )
    with pytest.raises(ConfigError, match="kind of defect"):
        DefectSettings(kind="dislocation")
    with (
        pytest.raises(ConfigError, match="has a dipole"),
        pytest.warns(UserWarning, match="bulk crystals only"),
    ):
        surface(ferromagnet, SurfaceSettings(miller=(1, 1, 1), thickness=5.0))
