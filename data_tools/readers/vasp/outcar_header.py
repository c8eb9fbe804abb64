# SPDX-License-Identifier: LGPL-3.0-or-later
"""The head of an OUTCAR: atoms, spin settings and level of theory of the run.

A setting that VASP always prints must be there: a line lost from a damaged file would
otherwise put its frames into another level of theory.
"""

from __future__ import annotations

import re

from spin_dp.data_tools.readers.vasp.level import (
    RunHeader,
    RunSettings,
    element_of_potcar,
    level_of_run,
    net_charge,
)
from spin_dp.errors import DataError
from spin_dp.spin_states.elements import is_element

_U_ROUNDING_EV = 0.06  # the table of parameters gives one decimal


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
        If species, their numbers or a setting are not there or contradict each other.
    """
    text = "\n".join(
        line for line in text.split("\n") if "=" in line or "POTCAR:" in line
    )
    titles = tuple(re.findall(r"^\s*TITEL\s*=\s*(.*?)\s*$", text, re.MULTILINE))
    counts = [
        int(n) for n in (_last(text, r"ions per type =\s+([\d ]+)$") or "").split()
    ]
    if not titles or not counts:
        raise DataError("not a VASP OUTCAR, or cut off before its list of atoms")
    elements = [element_of_potcar(title) for title in titles]
    _check_atoms(text, titles, elements, counts)
    noncollinear = _flag(text, "LNONCOLLINEAR")
    spins = _needed(text, r"ISPIN\s*=\s*([12])\s+spin polarized", "ISPIN")
    settings = _settings(text, first_step, titles, counts)
    return RunHeader(
        symbols=tuple(
            element
            for element, count in zip(elements, counts, strict=True)
            for _ in range(count)
        ),
        polarised=noncollinear or spins == "2",
        noncollinear=noncollinear,
        constrained="E_p =" in first_step or _is_constrained(text),
        ismear=settings.ismear,
        level=level_of_run(settings),
    )


def _check_atoms(
    text: str, titles: tuple[str, ...], elements: list[str], counts: list[int]
) -> None:
    """Compare the list of atoms with what else the head says about it."""
    if len(titles) != len(counts):
        raise DataError(
            f"the OUTCAR names {len(titles)} POTCARs but {len(counts)} kinds of atoms"
        )
    natoms = _last(text, r"number of ions\s+NIONS =\s+(\d+)\s*$")
    if natoms is not None and int(natoms) != sum(counts):
        raise DataError(
            f"NIONS = {natoms}, but the kinds of atoms add to {sum(counts)}"
        )
    listed = re.findall(r"^\s*POTCAR:\s+(.*?)\s*$", text, re.MULTILINE)
    described = re.findall(r"^\s*VRHFIN\s*=\s*([A-Za-z]+)", text, re.MULTILINE)
    differs = len(described) == len(elements) and any(
        is_element(one) and one != other
        for one, other in zip(described, elements, strict=True)
    )
    if differs or (listed and not set(titles) <= set(listed)):
        raise DataError("the OUTCAR contradicts itself on its POTCARs: damaged file")


def _settings(
    text: str, first_step: str, titles: tuple[str, ...], counts: list[int]
) -> RunSettings:
    smearing = r"\bISMEAR =\s*(-?\d+);\s*SIGMA\s*=\s*\d+\.\d+ "
    width = r"\bISMEAR =\s*-?\d+;\s*SIGMA\s*=\s*(\d+\.\d+) "
    electrons = _needed(text, r"\bNELECT\s*=\s*(\d+\.\d+)\s", "NELECT")
    valences = re.findall(r"ZVAL\s+=\s+(\d+\.\d+)\s+mass", text)
    if len(valences) != len(counts):
        raise DataError(_missing("ZVAL of each POTCAR"))
    hubbard_type, hubbard = _hubbard(text, len(counts))
    exchange, screening = _exchange(text)
    return RunSettings(
        titles=titles,
        functional=_functional(text),
        metagga=_metagga(text),
        exact_exchange=exchange,
        screening=screening,
        hubbard_type=hubbard_type,
        hubbard=hubbard,
        cutoff=float(_needed(text, r"\bENCUT\s*=\s*(\d+\.\d+) eV", "ENCUT")),
        ismear=int(_needed(text, smearing, "ISMEAR")),
        sigma=float(_needed(text, width, "SIGMA")),
        dispersion=_dispersion(text, first_step),
        spin_orbit=_flag(text, "LSORBIT"),
        noncollinear=_flag(text, "LNONCOLLINEAR"),
        lasph=_flag(text, "LASPH"),
        net_charge=net_charge(counts, [float(z) for z in valences], float(electrons)),
    )


def _last(text: str, pattern: str) -> str | None:
    """Return the last match: VASP 6 echoes the INCAR before its own table."""
    found: list[str] = re.findall(pattern, text, re.MULTILINE)
    return found[-1].strip() if found else None


def _needed(text: str, pattern: str, name: str) -> str:
    value = _last(text, pattern)
    if value is None:
        raise DataError(_missing(name))
    return value


def _missing(name: str) -> str:
    return f"the head of the OUTCAR does not state {name}: damaged or cut off"


def _flag(text: str, name: str) -> bool:
    return _needed(text, rf"^\s+{name}\s*=\s+([TF])\s", name) == "T"


def _is_constrained(text: str) -> bool | None:
    """Return whether the total moment or local moments were held."""
    difference = _last(text, r"\bNUPDOWN\s*=\s*(-?\d+\.\d+)\s+fix difference")
    local = _last(text, r"\bI_CONSTRAINED_M\s*=\s*(\d)")
    if local is not None and int(local) > 0:
        return True
    return None if difference is None else float(difference) >= 0.0


def _functional(text: str) -> str:
    """Return the functional; ``GGA = --`` stands for the one of the POTCARs."""
    tag = _needed(text, r"^\s+GGA\s*=\s*(\S+)", "GGA")
    if tag != "--":
        return tag
    of_potcars = set(
        re.findall(r"^\s+LEXCH\s*=\s*([A-Z\d]{2})\s*$", text, re.MULTILINE)
    )
    if len(of_potcars) != 1:
        raise DataError(_missing("one LEXCH for all POTCARs"))
    return str(of_potcars.pop())


def _metagga(text: str) -> str:
    for name in re.findall(r"\bMETAGGA\s*=\s*(\S+)", text):
        if name.upper() not in {"F", "--", "NONE"}:
            return str(name)
    return ""


def _exchange(text: str) -> tuple[float | None, float | None]:
    if not _flag(text, "LHFCALC"):
        return None, None
    share = _last(text, r"\bAEXX\s*=\s*(\d+\.\d+)\s")
    screening = _last(text, r"\bHFSCREEN\s*=\s*(\d+\.\d+)\s")
    return float(share or 0.0), float(screening or 0.0)


def _hubbard(
    text: str, n_kinds: int
) -> tuple[str, tuple[tuple[int, float, float], ...]]:
    """Return LDAUTYPE and l, U, J (eV) of each kind of atoms."""
    kind = _last(text, r"LDA\+U is selected, type is set to LDAUTYPE =\s*(\d)")
    if kind is None:
        if "for each species LDAU" in text:
            raise DataError(_missing("LDAUTYPE"))
        return "", ()
    columns = [_per_kind(text, name, n_kinds) for name in ("LDAUL", "LDAUU", "LDAUJ")]
    return kind, tuple((int(x), u, j) for x, u, j in zip(*columns, strict=True))


def _per_kind(text: str, name: str, n_kinds: int) -> list[float]:
    """Return one number for each kind; the echo of the INCAR has more digits."""
    table = _floats(_last(text, rf"for each species {name} =((?:\s+-?\d+\.?\d*)+)$"))
    if len(table) != n_kinds:
        raise DataError(_missing(name))
    echo = _floats(_last(text, rf"^\s*{name}\s*=((?:\s+-?\d+\.?\d*)+)\s*$"))
    is_same = len(echo) == n_kinds and all(
        abs(a - b) < _U_ROUNDING_EV for a, b in zip(echo, table, strict=True)
    )
    return echo if is_same else table


def _floats(words: str | None) -> list[float]:
    return [float(word) for word in (words or "").split()]


def _dispersion(text: str, first_step: str) -> str:
    number = _last(text, r"\bIVDW\s*=\s*(\d+)")
    place = first_step.find("IVDW")
    if number in {None, "0"} and place >= 0:
        number = _last(first_step[place : place + 80], r"\bIVDW\s*=\s*(\d+)")
    if re.search(r"\bLUSE_VDW\s*=\s*\.?T", text):
        return f"vdW-DF, IVDW={number or 0}"
    if number in {None, "0"}:
        return "unnamed" if "Edisp (eV)" in first_step else ""
    return f"IVDW={number}"
