# SPDX-License-Identifier: LGPL-3.0-or-later
"""Atoms, spin settings and level of theory of a VASP run, whichever file states them.

OUTCAR and vasprun.xml of one run give the same level: what one file prints with fewer
digits is rounded to those digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spin_dp.data_tools.level import Level
from spin_dp.errors import DataError
from spin_dp.spin_states.elements import is_element

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FUNCTIONALS = {
    "PE": "PBE",
    "PS": "PBEsol",
    "RP": "RPBE",
    "CA": "LDA",
    "91": "PW91",
    "AM": "AM05",
    "RE": "revPBE",
}
_DISPERSION = {
    "IVDW=1": "D2",
    "IVDW=10": "D2",
    "IVDW=11": "D3",
    "IVDW=12": "D3BJ",
    "IVDW=13": "D4",
    "IVDW=2": "TS",
    "IVDW=20": "TS",
    "IVDW=202": "MBD",
}
_TETRAHEDRON = {-4, -5, -14, -15}  # SIGMA has no effect


@dataclass(frozen=True)
class RunHeader:
    """What a VASP run says before its first SCF iteration.

    Attributes
    ----------
    symbols
        Element of each atom, (nloc,).
    polarised
        Whether the run has moments at all (ISPIN=2 or noncollinear).
    noncollinear
        Whether moments are vectors (LNONCOLLINEAR; such runs say ISPIN = 1).
    constrained
        Whether moments were held (NUPDOWN or I_CONSTRAINED_M); None if not stated.
    ismear
        Kind of smearing.
    level
        Level of theory.
    """

    symbols: tuple[str, ...]
    polarised: bool
    noncollinear: bool
    constrained: bool | None
    ismear: int
    level: Level


@dataclass(frozen=True)
class Species:
    """The atoms of one POTCAR.

    Attributes
    ----------
    count
        Number of atoms.
    title
        Title of the POTCAR, e.g. ``PAW_PBE Fe_pv 02Aug2007``.
    valence
        Valence electrons of one atom.

    Raises
    ------
    DataError
        If the title names no element.
    """

    count: int
    title: str
    valence: float

    @property
    def element(self) -> str:
        """Chemical symbol that the title names."""
        for word in self.title.split()[:2][::-1]:
            symbol = re.split(r"[_.]", word)[0]
            if is_element(symbol):
                return symbol
        raise DataError(f"no element can be read from the POTCAR title {self.title!r}")


def run_header(
    tags: Mapping[str, Any], species: Sequence[Species], *, is_corrected: bool
) -> RunHeader:
    """Return what a run is, from its settings.

    Parameters
    ----------
    tags
        Settings by their INCAR tags as VASP has used them, not as they were asked for;
        GGA is never ``--``, LDAUTYPE, LDAUL, LDAUU and LDAUJ are there with DFT+U only.
    species
        The kinds of atoms in their order.
    is_corrected
        Whether something (dispersion) was added to the energies of SCF cycles.

    Returns
    -------
    RunHeader
        Atoms, spin settings and a level with everything that energies depend on but
        numerical effort.

    Raises
    ------
    DataError
        If a setting is not there: a line lost from a damaged file would otherwise put
        its frames into another level of theory.
    """
    noncollinear = bool(needed(tags, "LNONCOLLINEAR"))
    held = True if tags.get("I_CONSTRAINED_M", 0) > 0 else tags.get("NUPDOWN")
    return RunHeader(
        symbols=tuple(one.element for one in species for _ in range(one.count)),
        polarised=noncollinear or needed(tags, "ISPIN") == 2,
        noncollinear=noncollinear,
        constrained=None if held is None else held >= 0,
        ismear=needed(tags, "ISMEAR"),
        level=_level(tags, species, is_corrected=is_corrected),
    )


def needed(tags: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401
    """Return a setting that VASP always states."""
    if name not in tags:
        raise DataError(not_stated(name))
    return tags[name]


def not_stated(what: str) -> str:
    """Return the reason to refuse a file that lacks a setting."""
    return f"the head of the file does not state {what}: damaged or cut off"


def _level(
    tags: Mapping[str, Any], species: Sequence[Species], *, is_corrected: bool
) -> Level:
    elements = [one.element for one in species]
    functional = _functional(tags)
    hubbard = _hubbard(tags, elements)
    cutoff, spin_orbit = needed(tags, "ENCUT"), needed(tags, "LSORBIT")
    dispersion = _dispersion(tags, is_corrected=is_corrected)
    neutral = sum(one.count * one.valence for one in species)
    words = [
        "VASP",
        functional["functional"]
        + ("+U" if hubbard else "")
        + (f"+{_DISPERSION.get(dispersion, 'vdW')}" if dispersion else "")
        + ("+SOC" if spin_orbit else ""),
        f"{cutoff:.0f}eV",
    ]
    return Level(
        "-".join(words),
        {
            "program": "VASP",
            "potcar": _by_element(elements, [one.title for one in species]),
            **functional,
            "hubbard": hubbard,
            "encut_ev": round(cutoff, 1),
            "smearing": _smearing(needed(tags, "ISMEAR"), needed(tags, "SIGMA")),
            "dispersion": dispersion,
            "spin_orbit": spin_orbit,
            "noncollinear": needed(tags, "LNONCOLLINEAR"),
            "lasph": needed(tags, "LASPH"),
            "net_charge": round(neutral - needed(tags, "NELECT"), 3) + 0.0,
        },
    )


def _by_element(elements: Sequence[str], values: Sequence[object]) -> dict[str, object]:
    """Give each element its value, or all of them where its kinds of atoms differ."""
    found: dict[str, list[object]] = {element: [] for element in sorted(elements)}
    for element, value in zip(elements, values, strict=True):
        if value not in found[element]:
            found[element].append(value)
    return {e: of[0] if len(of) == 1 else of for e, of in found.items()}


def _functional(tags: Mapping[str, Any]) -> dict[str, Any]:
    tag = str(needed(tags, "GGA")).upper()
    name = _FUNCTIONALS.get(tag, tag)
    found: dict[str, Any] = {"functional": name}
    metagga = str(tags.get("METAGGA", "")).upper()
    if metagga not in {"", "F", "FALSE", "--", "NONE"}:
        found |= {"functional": metagga, "gga": name}
    elif tags.get("LMETAGGA"):
        found |= {"functional": "UNNAMED", "gga": name}
    if needed(tags, "LHFCALC"):
        found |= {
            "functional": f"{found['functional']}-hybrid",
            "exact_exchange": round(float(needed(tags, "AEXX")), 4),
            "screening_per_angstrom": round(float(needed(tags, "HFSCREEN")), 4),
        }
    return found


def _hubbard(tags: Mapping[str, Any], elements: Sequence[str]) -> dict[str, object]:
    """Return U and J in eV per element that has them."""
    if not needed(tags, "LDAU"):
        return {}
    columns = [needed(tags, name) for name in ("LDAUL", "LDAUU", "LDAUJ")]
    if {len(column) for column in columns} != {len(elements)}:
        raise DataError("LDAUL, LDAUU, LDAUJ do not fit the kinds of atoms")
    entries = [
        {"l": int(channel), "u_ev": float(u), "j_ev": float(j)}
        if channel >= 0 and (u or j)
        else None
        for channel, u, j in zip(*columns, strict=True)
    ]
    by_element = _by_element(elements, entries)
    return {"type": str(tags.get("LDAUTYPE", 2))} | {
        element: entry for element, entry in by_element.items() if entry is not None
    }


def _smearing(ismear: int, sigma: float) -> str:
    if ismear in _TETRAHEDRON:
        return f"ISMEAR={ismear}"
    return f"ISMEAR={ismear}, SIGMA={round(sigma, 2):g} eV"


def _dispersion(tags: Mapping[str, Any], *, is_corrected: bool) -> str:
    number = tags.get("IVDW", 0)
    if tags.get("LUSE_VDW"):
        return f"vdW-DF, IVDW={number}"
    if number:
        return f"IVDW={number}"
    return "unnamed" if is_corrected else ""
