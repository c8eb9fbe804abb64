# SPDX-License-Identifier: LGPL-3.0-or-later
"""Levels of theory keep apart what may not be compared, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from spin_dp.data_tools import Frame, read_outcar
from spin_dp.data_tools.level import (
    Level,
    compatible_groups,
    level_of_settings,
    named_level,
)
from spin_dp.data_tools.readers.vasp.outcar_header import parse_header

if TYPE_CHECKING:
    from pathlib import Path

GPAW = (
    "GPAW PBE+U(Dudarev,scaled;Mn:d3.9) PW(500eV) MP4x4x2 FermiDirac(0.1eV) spinpol "
    "maxiter=120 conv(energy=1e-05,density=0.0001)"
)

HEAD = """ vasp.5.4.4 (build)
   TITEL  = PAW_PBE Mn_pv 02Aug2007
   LEXCH  = PE
   POMASS =   54.938; ZVAL   =   13.000    mass and valenz
   TITEL  = PAW_PBE O 08Apr2002
   POMASS =   16.000; ZVAL   =    6.000    mass and valenz
   ions per type =               2   4
   ISPIN  =      2    spin polarized calculation?
   LNONCOLLINEAR =      F non collinear calculations
   LSORBIT =      F    spin-orbit coupling
   LASPH  =      T    aspherical Exc in radial PAW
   ENCUT  =  520.0 eV  38.22 Ry    6.18 a.u.
   NELECT =      50.0000    total number of electrons
   NUPDOWN=      -1.0000    fix difference up-down
   ISMEAR =     0;   SIGMA  =   0.05  broadening in eV -4-tet -1-fermi 0-gaus
 LDA+U is selected, type is set to LDAUTYPE =  2
   angular momentum for each species LDAUL =     2   -1
   U (eV)           for each species LDAUU =   3.9  0.0
   J (eV)           for each species LDAUJ =   0.0  0.0
   GGA     =    --    GGA type
   LHFCALC =     F    Hartree Fock is set to
"""


def level(vasp_data: Path, name: str) -> Any:
    (frame,) = read_outcar(vasp_data / name / "OUTCAR.gz")
    assert isinstance(frame, Frame)
    return frame.level


def test_settings_of_equal_hamiltonian_are_one_level() -> None:
    other = GPAW.replace("MP4x4x2", "MP4x2x2").replace("maxiter=120", "maxiter=90")
    other = other.replace("energy=1e-05", "energy=3e-05")
    assert level_of_settings(GPAW).id == level_of_settings(other).id
    assert level_of_settings(GPAW).id.startswith("GPAW-PBE+U-PW-")


@pytest.mark.parametrize(
    ("old", "new"),
    [("d3.9", "d3.8"), ("500eV", "400eV"), ("0.1eV", "0.2eV"), ("spinpol", "soc")],
)
def test_settings_of_other_hamiltonian_are_another_level(old: str, new: str) -> None:
    assert level_of_settings(GPAW.replace(old, new)).id != level_of_settings(GPAW).id


def test_user_names_only_frames_without_settings() -> None:
    assert level_of_settings(None, "r2SCAN").id == named_level("r2SCAN").id
    assert level_of_settings(GPAW, "r2SCAN").id == level_of_settings(GPAW).id
    assert level_of_settings(None).id.startswith("unspecified-")


def test_nmc_runs_of_other_pseudopotentials_stay_apart(vasp_data: Path) -> None:
    """Same atoms, equal moments, energies 4.7 eV apart; the k-mesh does not matter."""
    soft = [level(vasp_data, f"nmc111-li-nupdown81-k{k}") for k in ("1.0", "1.2")]
    hard = [level(vasp_data, f"nmc111-lisv-k{k}") for k in ("0.2", "0.6")]
    assert len({one.id for one in soft}) == len({one.id for one in hard}) == 1
    assert soft[0].id != hard[0].id
    assert soft[0].id.startswith("VASP-PBE+U+D3-500eV-")
    assert soft[0].description["hubbard"]["Mn"]["u_ev"] == 4.84
    assert soft[0].description["dispersion"] == "IVDW=11"


def test_held_total_moment_is_seen(vasp_data: Path) -> None:
    (held,) = read_outcar(vasp_data / "nmc111-li-nupdown81-k1.2" / "OUTCAR.gz")
    (free,) = read_outcar(vasp_data / "nmc111-lisv-k0.6" / "OUTCAR.gz")
    assert (held.constrained, free.constrained) == (True, False)
    assert held.total_moment == pytest.approx(81.0, abs=0.01)


def test_header_gives_atoms_and_level() -> None:
    header = parse_header(HEAD)
    assert header.symbols == ("Mn", "Mn", "O", "O", "O", "O")
    assert (header.polarised, header.noncollinear, header.constrained) == (
        True,
        False,
        False,
    )
    description = header.level.description
    assert description["functional"] == "PBE"
    assert description["hubbard"] == {
        "type": "2",
        "Mn": {"l": 2, "u_ev": 3.9, "j_ev": 0.0},
    }
    assert description["net_charge"] == 0.0
    assert header.level.id.startswith("VASP-PBE+U-520eV-")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("GGA     =    --", "GGA     =    PE"),  # the POTCARs are PE already
        ("vasp.5.4.4", "vasp.6.4.2"),
        ("NUPDOWN=      -1.0000", "NUPDOWN=       8.0000"),  # a state, not a level
    ],
)
def test_what_does_not_change_the_level(old: str, new: str) -> None:
    assert parse_header(HEAD.replace(old, new)).level.id == parse_header(HEAD).level.id


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Mn_pv 02Aug2007", "Mn 06Sep2000"),
        ("LDAUU =   3.9", "LDAUU =   4.0"),
        ("GGA     =    --", "GGA     =    PS"),
        ("LHFCALC =     F", "LHFCALC =     T"),
        ("ENCUT  =  520.0", "ENCUT  =  500.0"),
        ("ISMEAR =     0", "ISMEAR =    -5"),
        ("SIGMA  =   0.05", "SIGMA  =   0.10"),
        ("LSORBIT =      F", "LSORBIT =      T"),
        ("LASPH  =      T", "LASPH  =      F"),
        ("NELECT =      50.0000", "NELECT =      49.0000"),
        ("LHFCALC", "IVDW    =  12\n   LHFCALC"),
        ("LHFCALC", "METAGGA =  R2SCAN\n   LHFCALC"),
    ],
)
def test_what_changes_the_level(old: str, new: str) -> None:
    assert old in HEAD
    assert parse_header(HEAD.replace(old, new)).level.id != parse_header(HEAD).level.id


def test_dispersion_named_only_in_the_first_step_counts() -> None:
    plain = parse_header(HEAD, "  Edisp none")
    named = parse_header(HEAD, "  IVDW =   2\n  Edisp (eV):   -9.09622\n")
    assert plain.level.description["dispersion"] == ""
    assert named.level.description["dispersion"] == "IVDW=2"
    assert "+TS-" in named.level.id


# --- levels of cells with different elements


def made(functional: str = "PBE", **u_ev: float) -> Level:
    """Return the level of a cell whose elements have the given U, eV."""
    return Level(
        functional,
        {
            "functional": functional,
            "potcar": {element: f"PAW_PBE {element}" for element in u_ev},
            "hubbard": {
                element: {"l": 2, "u_ev": u, "j_ev": 0.0} for element, u in u_ev.items()
            },
        },
    )


LMO, LNO = made(Li=0.0, Mn=3.9, O=0.0), made(Li=0.0, Ni=6.2, O=0.0)
NMC = made(Li=0.0, Mn=3.9, Co=3.32, Ni=6.2, O=0.0)
OTHER_U = made(Li=0.0, Ni=6.4, O=0.0)
OTHER_FUNCTIONAL = made("SCAN", Li=0.0, Mn=3.9, O=0.0)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (LMO, LMO, False),
        (LMO, LNO, False),  # nothing but Li and O in common, which are equal
        (LMO, NMC, False),
        (LNO, OTHER_U, True),
        (LMO, OTHER_U, False),  # no Ni in the one
        (NMC, OTHER_U, True),
        (LMO, OTHER_FUNCTIONAL, True),
        (made(Fe=4.0), made("SCAN", Ni=6.2), True),  # no element in common
        (named_level("PBE"), named_level("r2SCAN"), True),
        (named_level("PBE"), LMO, True),
    ],
)
def test_levels_conflict_where_a_common_setting_differs(
    first: Level, second: Level, expected: bool
) -> None:
    assert first.conflicts(second) is expected
    assert second.conflicts(first) is expected


def test_moments_of_an_element_do_not_hang_on_the_other_elements() -> None:
    assert LMO.of_element("Mn").id == NMC.of_element("Mn").id
    assert LNO.of_element("Ni").id == NMC.of_element("Ni").id
    assert LNO.of_element("Ni").id != OTHER_U.of_element("Ni").id
    assert LMO.of_element("Mn").id != OTHER_FUNCTIONAL.of_element("Mn").id
    assert LMO.of_element("Mn").id != LMO.of_element("Li").id


def test_real_oxides_of_one_set_of_potentials_share_levels_of_manganese(
    vasp_data: Path,
) -> None:
    cells = [level(vasp_data, name) for name in ("mn8o16-host", "limn8o16-ep0")]
    assert cells[0].id != cells[1].id  # lithium has a pseudopotential too
    assert not cells[0].conflicts(cells[1])
    assert len({cell.of_element("Mn").id for cell in cells}) == 1
    nmc = level(vasp_data, "nmc111-lisv-k0.6")
    assert nmc.conflicts(cells[1])
    assert nmc.of_element("Mn").id != cells[1].of_element("Mn").id  # U of 4.84 eV


def test_groups_hold_no_conflict_and_name_every_level() -> None:
    levels = [LMO, LNO, NMC, OTHER_U, OTHER_FUNCTIONAL, LMO]
    groups = compatible_groups(levels)
    assert set(groups) == {one.id for one in levels}
    for one in levels:
        for other in levels:
            if groups[one.id] == groups[other.id]:
                assert not one.conflicts(other)
    assert groups[NMC.id] == groups[LMO.id] == groups[LNO.id] == 0
    assert len({groups[NMC.id], groups[OTHER_U.id], groups[OTHER_FUNCTIONAL.id]}) == 3
    assert compatible_groups(reversed(levels)) == groups
    assert compatible_groups([]) == {}
