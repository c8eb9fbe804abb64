# SPDX-License-Identifier: LGPL-3.0-or-later
"""Nominal states of the ions, their charges and their surroundings."""

from __future__ import annotations

from math import isfinite, nan
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms
from ase.spacegroup import crystal

from spin_dp.data_tools import Frame, read_outcar
from spin_dp.data_tools.naming.sites import find_sites
from spin_dp.neighbours import find_pairs
from spin_dp.spin_states.ions import ion_charge
from spin_dp.spin_states.nominal import (
    NominalState,
    nominal_states,
    usual_moment,
)
from tests.unit.named_frames import (
    GROUP_NUMBER,
    METALS,
    Named,
    gpaw_frames,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def gpaw() -> list[Named]:
    return gpaw_frames()


@pytest.mark.parametrize(
    ("element", "oxidation", "unpaired"),
    [  # t2g and eg of an octahedron filled by hand
        ("Ti", 4, {"": 0}),
        ("Ti", 3, {"": 1, "NM": 0}),
        ("V", 3, {"": 2, "LS": 0}),
        ("Cr", 3, {"": 3, "LS": 1, "NM": 0}),
        ("Mn", 4, {"": 3, "LS": 1, "NM": 0}),
        ("Mn", 3, {"HS": 4, "LS": 2, "NM": 0}),
        ("Mn", 2, {"HS": 5, "IS": 3, "LS": 1, "NM": 0}),
        ("Fe", 3, {"HS": 5, "IS": 3, "LS": 1, "NM": 0}),
        ("Fe", 2, {"HS": 4, "IS": 2, "LS": 0}),
        ("Co", 4, {"HS": 5, "IS": 3, "LS": 1, "NM": 0}),
        ("Co", 3, {"HS": 4, "IS": 2, "LS": 0}),
        ("Co", 2, {"HS": 3, "LS": 1, "NM": 0}),
        ("Ni", 4, {"HS": 4, "IS": 2, "LS": 0}),
        ("Ni", 3, {"HS": 3, "LS": 1, "NM": 0}),
        ("Ni", 2, {"": 2, "LS": 0}),
        ("Cu", 2, {"": 1, "NM": 0}),
        ("Cu", 1, {"": 0}),
    ],
)
def test_octahedral_ions_have_the_spins_of_ligand_field_theory(
    element: str, oxidation: int, unpaired: dict[str, int]
) -> None:
    found = [s for s in nominal_states(element) if s.oxidation == oxidation]
    assert {state.spin: state.unpaired for state in found} == unpaired
    assert [s.unpaired for s in found] == sorted(unpaired.values(), reverse=True)


@pytest.mark.parametrize("element", METALS)
@pytest.mark.parametrize("tetrahedral", [False, True])
def test_states_obey_hund_and_the_parity_of_the_electrons(
    element: str, tetrahedral: bool
) -> None:
    by_ion: dict[int, list[NominalState]] = {}
    for state in nominal_states(element, tetrahedral=tetrahedral):
        by_ion.setdefault(state.oxidation, []).append(state)
    for oxidation, states in by_ion.items():
        electrons = GROUP_NUMBER[element] - oxidation
        assert max(s.unpaired for s in states) == min(electrons, 10 - electrons)
        for state in states:
            assert state.spin == "NM" or (state.unpaired - electrons) % 2 == 0
            assert usual_moment(state) <= state.unpaired + 0.25  # Ni3+ polarises its O
            assert (usual_moment(state) == 0.0) is (state.unpaired == 0)
        assert min(s.rarity for s in states) == 0.0


def test_permanganate_needs_a_tetrahedron() -> None:
    octahedral = {s.name for s in nominal_states("Mn")}
    tetrahedral = {s.name for s in nominal_states("Mn", tetrahedral=True)}
    assert "Mn7+" in tetrahedral - octahedral
    assert "Mn3+HS" in octahedral & tetrahedral


@pytest.mark.parametrize(
    ("name", "moment"), [("Mn3+HS", 3.7), ("Co3+HS", 3.1), ("Ni2+", 1.7)]
)
def test_usual_moments_are_those_of_pbe_u(name: str, moment: float) -> None:
    """examples/gpaw/README.md: Mn3+ 3.6-3.8, Co3+ 3.1, Ni2+ 1.7 μB."""
    (state,) = [s for s in nominal_states(name[:2]) if s.name == name]
    assert usual_moment(state) == pytest.approx(moment, abs=0.1)


# --- charges and coordination of the ions


def charge_of(atoms: Atoms) -> float:
    pairs = find_pairs(atoms.cell.array, atoms.get_positions(), 4.0)
    return ion_charge(atoms.get_chemical_symbols(), pairs)


def in_a_box(symbols: str, *positions: tuple[float, float, float]) -> Atoms:
    return Atoms(symbols, positions, cell=[9.0, 9.0, 9.0], pbc=True)


@pytest.mark.parametrize(("n_oxygens", "charge"), [(2, -6), (3, -2), (4, -2)])
def test_sulfur_in_oxoanions_is_a_cation(n_oxygens: int, charge: int) -> None:
    """Sulfite is SO3 2-, sulfate SO4 2-; two oxygens are no oxoanion."""
    corners = np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
    oxygens = 4.5 + 1.47 / np.sqrt(3.0) * corners[:n_oxygens]  # S-O 1.47 Å
    atoms = in_a_box(f"SO{n_oxygens}", (4.5, 4.5, 4.5), *map(tuple, oxygens))
    assert charge_of(atoms) == charge


@pytest.mark.parametrize(
    ("distance", "charge"),
    [
        (1.21, 2 - 2),  # dioxygen, still two bound atoms
        (1.55, 2 - 2),  # Li2O2, L. G. Cota & P. de la Mora, Acta Cryst. B61, 133 (2005)
        (2.22, 2 - 4),  # shortest O-O of examples/gpaw
        (2.80, 2 - 4),
    ],
)
def test_oxygen_pairs_are_peroxide_also_across_the_cell_edge(
    distance: float, charge: float
) -> None:
    atoms = in_a_box("Li2O2", (3, 3, 3), (6, 6, 6), (0.3, 0, 0), (0.3, 0, 0))
    atoms.positions[3, 0] += 9.0 - distance
    assert charge_of(atoms) == charge


def test_charges_of_real_cells(vasp_data: Path) -> None:
    def charge(name: str) -> float:
        frame = next(iter(read_outcar(vasp_data / name / "OUTCAR.gz")))
        assert isinstance(frame, Frame)
        return ion_charge(frame.symbols, find_pairs(frame.cell, frame.positions, 4.0))

    assert charge("fes2-broken-step") == -32  # pyrite: S2(2-) dumbbells, 2.2 Å
    assert charge("batio3-nonmagnetic-relax") == 2 - 6
    assert charge("nagds2-dfpt-truncated") == 12 + 36 - 48
    assert not isfinite(charge("fe4-static"))
    assert not isfinite(charge("fe3pt-config1/vol_00"))


def test_unknown_oxidation_states_and_anion_free_cells_have_no_charge() -> None:
    assert not isfinite(charge_of(in_a_box("RuO2", (0, 0, 0), (2, 0, 0), (0, 2, 0))))
    assert not isfinite(charge_of(in_a_box("LiMn", (0, 0, 0), (3, 0, 0))))
    corners = (0, 0, 0), (4, 0, 0), (0, 4, 0), (0, 0, 4), (4, 4, 0)
    assert charge_of(in_a_box("MnLaO3", *corners)) == 3 - 6
    assert charge_of(in_a_box("MnPSO", *corners[:4])) == 5 - 2 - 2


def spinel() -> Atoms:
    """Co3O4: tetrahedral 8a and octahedral 16d, Acta Cryst. B29, 362 (1973)."""
    sites = [(1 / 8, 1 / 8, 1 / 8), (1 / 2, 1 / 2, 1 / 2), (0.2631, 0.2631, 0.2631)]
    atoms: Atoms = crystal(
        ("Co", "Co", "O"),
        sites,
        spacegroup=227,
        setting=2,
        cellpar=[8.084] * 3 + [90] * 3,
        primitive_cell=True,
    )
    return atoms


@pytest.mark.parametrize("rattle", [0.0, 0.05, 0.1])
def test_coordination_of_the_spinel(rattle: float) -> None:
    atoms = spinel()
    rng = np.random.default_rng(4)
    positions = atoms.positions + rng.normal(size=atoms.positions.shape) * rattle
    symbols = atoms.get_chemical_symbols()
    assert symbols.count("Co") == 6
    moments = np.zeros_like(positions)
    sites = find_sites(symbols, atoms.cell.array, positions, moments)
    assert sorted(sites.coordination.tolist()) == [4, 4, 6, 6, 6, 6]
    assert sites.ion_charge == -16


def test_metals_of_all_layered_cells_are_octahedral(gpaw: list[Named]) -> None:
    for frame, summary, _ in gpaw:
        sites = summary.sites
        assert set(sites.coordination.tolist()) == {6}
        assert [frame.symbols[i] for i in sites.indices] == list(sites.elements)
        np.testing.assert_array_equal(frame.moments[sites.indices], sites.moments)


@pytest.mark.parametrize(
    ("total", "kept"), [(7.4, 7.4), (-7.9, 7.9), (0.0, nan), (3.0, nan), (nan, nan)]
)
def test_total_that_contradicts_the_local_moments_is_not_used(
    total: float, kept: float
) -> None:
    atoms = in_a_box("Mn2O2", *np.eye(4, 3) * 4)
    moments = np.zeros((4, 3))
    moments[:2, 2] = 3.7
    sites = find_sites(
        atoms.get_chemical_symbols(), atoms.cell.array, atoms.positions, moments, total
    )
    np.testing.assert_equal(sites.total_moment, kept)
