# SPDX-License-Identifier: LGPL-3.0-or-later
"""Spin states get the names of chemistry, and the same state gets one name."""

from __future__ import annotations

import re
from dataclasses import replace
from math import inf, isfinite
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms

from spin_dp.data_tools import Frame, read_extxyz, read_outcar
from spin_dp.spin_states.key import key_text, slug, sorted_labels
from spin_dp.spin_states.nominal import (
    nominal_states,
)
from tests.unit.named_frames import (
    METALS,
    Named,
    frames_of,
    gpaw_frames,
    named,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def gpaw() -> list[Named]:
    return gpaw_frames()


# --- keys


@pytest.mark.parametrize(
    ("labels", "signs", "key", "folder"),
    [
        (["Mn3+HS"] * 2, [1, -1], "Mn3+HS[1up,1dn]", "Mn3+HS-1up,1dn"),
        (["Ni2+", "Mn4+"], [1, 1], "Mn4+[1up]Ni2+[1up]", "Mn4+-1up_Ni2+-1up"),
        (["Co3+LS"] * 9, [0] * 9, "Co3+LS[9]", "Co3+LS-9"),
        (["Fe~2.5", "Fe~1"], [1, 0], "Fe~2.5[1up]Fe~1[1off]", "Fe~2.5-1up_Fe~1-1off"),
        (["Mn4+", "Mn3+LS", "Mn3+HS"], [1, 1, -1], None, None),
        ([], [], "no-metal", "no-metal"),
    ],
)
def test_keys_and_folder_names(
    labels: list[str], signs: list[int], key: str | None, folder: str | None
) -> None:
    text = key_text(labels, signs, frozenset({"Co3+LS"}), "")
    assert key is None or (text, slug(text)) == (key, folder)
    tagged = key_text(labels, signs, frozenset({"Co3+LS"}), "3fa2c")
    assert not labels or tagged == f"{text}#3fa2c"
    assert not re.search(r"[/\\\[\]#\s]", slug(tagged))


def test_labels_stand_by_element_oxidation_and_spin() -> None:
    ordered = ["Mn2+HS", "Mn3+HS", "Mn3+LS", "Mn4+", "Mn~3", "Mn~0", "Ni2+", "Pt~0.5"]
    rng = np.random.default_rng(1)
    for _ in range(20):
        assert sorted_labels(list(rng.permutation(ordered))) == ordered


# --- names of real frames

ONE_METAL = {  # formula: {total moment, μB: state}; README.md of examples/gpaw
    "LiMnO2": {4: "Mn3+HS", 2: "Mn3+LS", 0: "Mn3+NM"},
    "MnO2": {3: "Mn4+", 1: "Mn4+LS", 0: "Mn4+NM"},
    "LiCoO2": {0: "Co3+LS", 2: "Co3+IS", 4: "Co3+HS"},
    "CoO2": {5: "Co4+HS", 3: "Co4+IS", 1: "Co4+LS", 0: "Co4+NM"},
    "LiNiO2": {1: "Ni3+LS", 3: "Ni3+HS", 0: "Ni3+NM"},
}


def without_tag(key: str) -> str:
    return key.partition("#")[0]


def test_one_metal_cells_have_the_state_that_their_total_moment_says(
    gpaw: list[Named],
) -> None:
    seen = set()
    for frame, _, state in gpaw:
        if frame.formula in ONE_METAL:
            name = ONE_METAL[frame.formula][round(abs(frame.total_moment))]
            assert state.key in {f"{name}[1]", f"{name}[1up]"}
            assert (state.naming, state.charge) == ("certain", 0.0)
            seen.add((frame.formula, name))
    assert len(seen) == sum(map(len, ONE_METAL.values()))


def test_held_states_of_nio2_are_not_one_state(
    gpaw: list[Named],
) -> None:
    """No Ni4+ has one unpaired electron: the constraint made a moment of 1 μB."""
    keys: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}
    for frame, _, state in gpaw:
        if frame.formula == "NiO2":
            keys[round(frame.total_moment)].add(state.key)
    assert keys[0] == {"Ni4+LS[1]"}
    assert keys[2] == {"Ni4+IS[1up]"}
    assert keys[1] == {"Ni~1[1up]"}


TWO_METALS = {  # formula, total moment and whether moments are opposed: state
    ("Li2Mn2O4", 8, False): "Mn3+HS[2up]",
    ("Li2Mn2O4", 0, True): "Mn3+HS[1up,1dn]",
    ("Li2Mn2O4", 6, False): "Mn3+HS[1up]Mn3+LS[1up]",
    ("Li2Mn2O4", 4, False): "Mn3+LS[2up]",
    ("Li2Co2O4", 0, False): "Co3+LS[2]",
    ("Li2Co2O4", 2, False): "Co3+IS[1up]Co3+LS[1]",
    ("Li2Co2O4", 4, False): "Co3+HS[1up]Co3+LS[1]",
    ("Li2Co2O4", 8, False): "Co3+HS[2up]",
    ("Li2Co2O4", 0, True): "Co3+HS[1up,1dn]",
    ("Li2Ni2O4", 2, False): "Ni3+LS[2up]",
    ("Li2Ni2O4", 0, True): "Ni3+LS[1up,1dn]",
    ("Li2Ni2O4", 4, False): "Ni3+HS[1up]Ni3+LS[1up]",
    ("LiMn2O4", 7, False): "Mn3+HS[1up]Mn4+[1up]",
    ("LiMn2O4", 1, True): "Mn3+HS[1up]Mn4+[1dn]",
    ("LiMn2O4", 5, False): "Mn3+LS[1up]Mn4+[1up]",
    ("LiCo2O4", 1, False): "Co3+LS[1]Co4+LS[1up]",
    ("LiCo2O4", 5, False): "Co3+HS[1up]Co4+LS[1up]",
    ("Li2MnNiO4", 5, False): "Mn4+[1up]Ni2+[1up]",
    ("Li2MnNiO4", 1, True): "Mn4+[1up]Ni2+[1dn]",
}
"""Moments of the ions, added up; Mn4+ and Ni2+ in LiNi0.5Mn0.5O2 are known from
X-ray absorption (W.-S. Yoon et al., Electrochem. Solid-State Lett. 5, A263 (2002))."""


def test_two_metal_cells_have_the_states_that_add_up_to_their_moment(
    gpaw: list[Named],
) -> None:
    seen = set()
    for frame, summary, state in gpaw:
        moments = summary.sites.moments[:, 2]
        opposed = bool(moments.min() < -0.5 < 0.5 < moments.max())
        known = (frame.formula, round(abs(frame.total_moment)), opposed)
        if known in TWO_METALS and state.naming == "certain":
            assert without_tag(state.key) == TWO_METALS[known]
            seen.add(known)
    assert seen == TWO_METALS.keys()


def test_nominal_charges_and_moments_of_certain_frames_add_up(
    gpaw: list[Named],
) -> None:
    n_certain = 0
    for frame, _, state in gpaw:
        if state.naming != "certain":
            continue
        n_certain += 1
        ions = frame.symbols.count("Li") - 2 * frame.symbols.count("O")
        parts = [re.fullmatch(r"[A-Z][a-z](\d)\+\w*", label) for label in state.labels]
        assert sum(int(part[1]) for part in parts if part) + ions == 0
        by_name = {s.name: s.unpaired for m in METALS for s in nominal_states(m)}
        up = sum(
            sign * by_name[label]
            for label, sign in zip(state.labels, state.signs, strict=True)
        )
        assert abs(up) == pytest.approx(abs(frame.total_moment), abs=0.75)
    assert n_certain > 190


def test_cells_that_cannot_be_neutral_are_unbalanced(
    gpaw: list[Named],
) -> None:
    """Two equal nonmagnetic Co share seven positive charges in Li0.5CoO2."""
    found = [
        state.naming
        for frame, _, state in gpaw
        if frame.formula == "LiCo2O4" and abs(frame.moments).max() < 1e-3
    ]
    assert len(found) == 3  # README.md: Co0,Co0;M+0.0
    assert set(found) == {"unbalanced"}


@pytest.mark.parametrize("seed", range(2))
def test_key_ignores_reversal_order_of_atoms_and_periodic_images(
    gpaw: list[Named], seed: int, tmp_path: Path
) -> None:
    import ase.io

    rng = np.random.default_rng(seed)
    images = []
    for frame, _, _ in gpaw:
        order = rng.permutation(frame.natoms)
        shifts = rng.integers(-1, 2, size=(frame.natoms, 3)) @ frame.cell
        atoms = Atoms(
            np.array(frame.symbols)[order],
            (frame.positions + shifts)[order],
            cell=frame.cell,
            pbc=True,
        )
        sign = rng.choice([-1.0, 1.0])
        atoms.arrays["forces"] = frame.forces[order]
        atoms.arrays["magmoms"] = sign * frame.moments[order, 2]
        atoms.info = {
            "free_energy": frame.energy,
            "total_magmom": sign * frame.total_moment,
            "settings": frame.level.description["settings"],
            "spin_constraint": "held" if frame.constrained else "none",
        }
        images.append(atoms)
    path = tmp_path / "moved.extxyz"
    ase.io.write(path, images, format="extxyz")
    moved = [frame for frame in read_extxyz(path) if isinstance(frame, Frame)]
    states = [item.state for item in named(moved)]
    assert [state.key for state in states] == [state.key for _, _, state in gpaw]
    assert [s.naming for s in states] == [s.naming for _, _, s in gpaw]


def test_signs_and_labels_belong_to_the_sites(
    gpaw: list[Named],
) -> None:
    for _, summary, state in gpaw:
        sites = summary.sites
        along = sites.moments[:, 2] * state.signs
        has_sign = state.signs != 0
        assert (along[has_sign] > 0).all() or (along[has_sign] < 0).all()
        assert len(state.labels) == len(sites.elements)
        assert all(
            label.startswith(element)
            for label, element in zip(state.labels, sites.elements, strict=True)
        )
        assert (state.margins > 0.0).all()
        assert state.margin == state.margins.min()


def test_slugs_of_different_keys_differ(gpaw: list[Named]) -> None:
    keys = {state.key for _, _, state in gpaw}
    assert len({slug(key) for key in keys}) == len(keys) > 30


def test_a_metal_is_named_by_its_moments(vasp_data: Path) -> None:
    (frame,) = read_outcar(vasp_data / "fe4-static" / "OUTCAR.gz")
    assert isinstance(frame, Frame)
    ((_, _, state),) = named([frame])
    assert state.key == "Fe~2.5[4up]"  # four equal moments of 2.31, in steps of 0.5
    assert state.naming == "moments"
    assert not isfinite(state.charge)
    assert state.margin == inf


def test_moments_of_one_level_do_not_name_those_of_another() -> None:
    """Clusters are of one site level: a shifted copy elsewhere changes nothing."""
    frames = frames_of("LiMnO2_4")
    shifted = [
        replace(
            frame,
            moments=frame.moments * 0.9,
            level=replace(frame.level, description={"settings": "other"}),
        )
        for frame in frames
    ]
    alone = [item.state.margin for item in named(frames)]
    together = [item.state.margin for item in named([*frames, *shifted])]
    assert together[: len(frames)] == alone
