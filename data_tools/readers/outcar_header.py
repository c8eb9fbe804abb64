# SPDX-License-Identifier: LGPL-3.0-or-later
"""The head of an OUTCAR: atoms, spin settings and level of theory of the run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from spin_dp.data_tools.elements import is_element
from spin_dp.data_tools.level import Level
from spin_dp.errors import DataError

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
_TETRAHEDRON = {"-4", "-5", "-14", "-15"}  # SIGMA has no effect


@dataclass(frozen=True)
class RunHeader:
    """What an OUTCAR says before its first SCF iteration.

    Attributes
    ----------
    symbols
        Element of each atom, (nloc,).
    polarised
        Whether the run has moments at all (ISPIN=2 or noncollinear).
    noncollinear
        Whether moments are vectors (LNONCOLLINEAR; such runs say ISPIN = 1).
    constrained
        Whether moments were held (NUPDOWN or I_CONSTRAINED_M).
    level
        Level of theory.
    """

    symbols: tuple[str, ...]
    polarised: bool
    noncollinear: bool
    constrained: bool
    level: Level


def parse_header(text: str, first_step: str = "") -> RunHeader:
    """Read the head of an OUTCAR.

    Parameters
    ----------
    text
        The file up to its first SCF iteration.
    first_step
        The first ionic step, where VASP 5 names the dispersion correction.

    Returns
    -------
    RunHeader
        Atoms, spin settings, level.

    Raises
    ------
    DataError
        If species or their numbers are not there.
    """
    titles = re.findall(r"^\s*TITEL\s*=\s*(.*?)\s*$", text, re.MULTILINE)
    counts = [
        int(n) for n in (_value(text, r"ions per type =\s+([\d ]+)") or "").split()
    ]
    if not titles or not counts:
        raise DataError("not a VASP OUTCAR, or cut off before its list of atoms")
    elements = [_element(title) for title in titles]
    if len(elements) != len(counts):
        raise DataError(
            f"the OUTCAR names {len(elements)} POTCARs but {len(counts)} kinds of atoms"
        )
    noncollinear = _flag(text, "LNONCOLLINEAR")
    return RunHeader(
        symbols=tuple(
            element
            for element, count in zip(elements, counts, strict=True)
            for _ in range(count)
        ),
        polarised=noncollinear or _value(text, r"\bISPIN\s*=\s*(\d)") == "2",
        noncollinear=noncollinear,
        constrained=_is_constrained(text) or "E_p =" in first_step,
        level=_level(text, first_step, elements, titles, counts),
    )


def _value(text: str, pattern: str) -> str | None:
    match = re.search(pattern, text)
    return match[1].strip() if match else None


def _flag(text: str, name: str) -> bool:
    return (_value(text, rf"\b{name}\s*=\s*(\S)\S*") or "F") == "T" or (
        _value(text, rf"\b{name}\s*=\s*\.(\S)") or "F"
    ) == "T"


def _element(title: str) -> str:
    for word in title.split()[:2][::-1]:
        symbol = re.split(r"[_.]", word)[0]
        if is_element(symbol):
            return symbol
    raise DataError(f"no element can be read from the POTCAR title {title!r}")


def _is_constrained(text: str) -> bool:
    held = float(_value(text, r"\bNUPDOWN\s*=\s*(-?[\d.]+)") or -1.0) >= 0.0
    local = int(_value(text, r"\bI_CONSTRAINED_M\s*=\s*(\d)") or 0) > 0
    return held or local


def _level(
    text: str,
    first_step: str,
    elements: list[str],
    titles: list[str],
    counts: list[int],
) -> Level:
    functional = _functional(text)
    hubbard = _hubbard(text, elements)
    dispersion = _dispersion(text, first_step)
    spin_orbit = _flag(text, "LSORBIT")
    cutoff = float(_value(text, r"\bENCUT\s*=\s*([\d.]+)") or 0.0)
    description: dict[str, object] = {
        "program": "VASP",
        "potcar": dict(sorted(zip(elements, titles, strict=True))),
        **functional,
        "hubbard": hubbard,
        "encut_ev": cutoff,
        "smearing": _smearing(text),
        "dispersion": dispersion,
        "spin_orbit": spin_orbit,
        "noncollinear": _flag(text, "LNONCOLLINEAR"),
        "lasph": _flag(text, "LASPH"),
        "net_charge": _net_charge(text, counts),
    }
    words = [
        "VASP",
        str(functional["functional"])
        + ("+U" if hubbard else "")
        + (f"+{_DISPERSION.get(dispersion, 'vdW')}" if dispersion else "")
        + ("+SOC" if spin_orbit else ""),
        f"{cutoff:.0f}eV",
    ]
    return Level("-".join(words), description)


def _functional(text: str) -> dict[str, object]:
    """Return the functional; ``GGA = --`` stands for the one of the POTCARs."""
    tag = _value(text, r"\bGGA\s*=\s*(\S+)") or "--"
    if tag == "--":
        tag = _value(text, r"\bLEXCH\s*=\s*(\w+)") or "--"
    name = _FUNCTIONALS.get(tag.upper(), tag)
    found: dict[str, object] = {"functional": name}
    meta = _value(text, r"\bMETAGGA\s*=\s*(\S+)") or "F"
    if meta not in {"F", "--", "none", "None"}:
        found |= {"functional": meta, "gga": name}
    if _flag(text, "LHFCALC"):
        exchange = _value(text, r"\bAEXX\s*=\s*([\d.]+)") or "0"
        screening = _value(text, r"\bHFSCREEN\s*=\s*([\d.]+)") or "0"
        found |= {
            "functional": f"{found['functional']}-hybrid",
            "exact_exchange": float(exchange),
            "screening_per_angstrom": float(screening),
        }
    return found


def _hubbard(text: str, elements: list[str]) -> dict[str, object]:
    """Return U and J in eV per element; the input echo of VASP 6 has more digits."""
    if "LDA+U is selected" not in text:
        return {}
    kind = _value(text, r"\bLDAUTYPE\s*=\s*(\d)") or "?"

    def numbers(name: str) -> list[float]:
        words = (_value(text, rf"\b{name}\s*=\s*([-\d. ]+)") or "").split()
        return [float(word) for word in words]

    u, j, channel = numbers("LDAUU"), numbers("LDAUJ"), numbers("LDAUL")
    return {"type": kind} | {
        element: {"l": int(of_l), "u_ev": of_u, "j_ev": of_j}
        for element, of_l, of_u, of_j in sorted(
            zip(elements, channel, u, j, strict=False)
        )
        if of_l >= 0 and (of_u or of_j)
    }


def _dispersion(text: str, first_step: str) -> str:
    number = _value(text, r"\bIVDW\s*=\s*(\d+)")
    place = first_step.find("IVDW")
    if number is None and place >= 0:
        number = _value(first_step[place : place + 80], r"\bIVDW\s*=\s*(\d+)")
    if re.search(r"\bLUSE_VDW\s*=\s*\.?T", text):
        return f"vdW-DF, IVDW={number or 0}"
    if number in {None, "0"}:
        return "unnamed" if "Edisp (eV)" in first_step else ""
    return f"IVDW={number}"


def _smearing(text: str) -> str:
    match = re.search(r"\bISMEAR =\s*(-?\d+);\s*SIGMA\s*=\s*([\d.]+)", text)
    if match is None:
        return "unknown"
    if match[1] in _TETRAHEDRON:
        return f"ISMEAR={match[1]}"
    return f"ISMEAR={match[1]}, SIGMA={float(match[2]):g} eV"


def _net_charge(text: str, counts: list[int]) -> float:
    """Return the charge of the cell, e: valence electrons of its atoms less NELECT."""
    present = _value(text, r"\bNELECT\s*=\s*([\d.]+)")
    valences = re.findall(r"ZVAL\s+=\s+([\d.]+)\s+mass", text)
    if present is None or len(valences) != len(counts):
        return 0.0
    neutral = sum(n * float(z) for n, z in zip(counts, valences, strict=True))
    return round(neutral - float(present), 3) + 0.0
