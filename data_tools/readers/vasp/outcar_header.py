# SPDX-License-Identifier: LGPL-3.0-or-later
"""The head of an OUTCAR: atoms, spin settings and level of theory of the run.

pymatgen's :class:`~pymatgen.io.vasp.Outcar` reads none of these settings, and its
:class:`~pymatgen.io.vasp.Incar` takes what it can of a damaged value (``5#0.0`` is 5,
see ``test_damaged_head_is_refused``). So a line counts here only as VASP prints it,
with what follows the value; the value is then converted by ``Incar``.
"""

from __future__ import annotations

import re

from spin_dp.data_tools.readers.vasp.level import (
    RunHeader,
    Species,
    not_stated,
    run_header,
)
from spin_dp.errors import DataError
from spin_dp.spin_states.elements import is_element

_U_ROUNDING_EV = 0.06  # the table of parameters gives one decimal
_PRINTED = {
    "ISPIN": r"ISPIN\s*=\s*([12])\s+spin polarized",
    "NUPDOWN": r"\bNUPDOWN\s*=\s*(-?\d+\.\d+)\s+fix difference",
    "I_CONSTRAINED_M": r"\bI_CONSTRAINED_M\s*=\s*(\d)",
    "NELECT": r"\bNELECT\s*=\s*(\d+\.\d+)\s",
    "ENCUT": r"\bENCUT\s*=\s*(\d+\.\d+) eV",
    "ISMEAR": r"\bISMEAR =\s*(-?\d+);\s*SIGMA\s*=\s*\d+\.\d+ ",
    "SIGMA": r"\bISMEAR =\s*-?\d+;\s*SIGMA\s*=\s*(\d+\.\d+) ",
    "GGA": r"^\s+GGA\s*=\s*(\S+)",
    "METAGGA": r"\bMETAGGA\s*=\s*(?!F\b|--|(?i:none))(\S+)",
    "AEXX": r"\bAEXX\s*=\s*(\d+\.\d+)\s",
    "HFSCREEN": r"\bHFSCREEN\s*=\s*(\d+\.\d+)\s",
    "LDAUTYPE": r"LDA\+U is selected, type is set to LDAUTYPE =\s*(\d)",
    "IVDW": r"\bIVDW\s*=\s*(\d+)",
    "LUSE_VDW": r"\bLUSE_VDW\s*=\s*\.?([TF])",
} | {
    flag: rf"^\s+{flag}\s*=\s+([TF])\s"
    for flag in ("LNONCOLLINEAR", "LSORBIT", "LASPH", "LHFCALC")
}


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
    from pymatgen.io.vasp.inputs import Incar  # a second: only where it is needed

    text = "\n".join(
        line for line in text.split("\n") if "=" in line or "POTCAR:" in line
    )
    species = _species(text)
    tags = Incar({"AEXX": 0.0, "HFSCREEN": 0.0})  # not all versions print both
    for name, pattern in _PRINTED.items():
        if found := _last(text, pattern):
            tags[name] = found
    if tags.get("GGA") == "--":  # the functional of the POTCARs
        exchange = set(re.findall(r"^\s+LEXCH\s*=\s*([A-Z\d]{2})\s*$", text, re.M))
        if len(exchange) != 1:
            raise DataError(not_stated("one LEXCH for all POTCARs"))
        tags["GGA"] = exchange.pop()
    tags["LDAU"] = "LDAUTYPE" in tags
    for name in ("LDAUL", "LDAUU", "LDAUJ") if tags["LDAU"] else ():
        tags[name] = _per_kind(text, name, len(species))
    if not tags["LDAU"] and "for each species LDAU" in text:
        raise DataError(not_stated("LDAUTYPE"))
    place = first_step.find("IVDW")
    if not tags.get("IVDW") and place >= 0:
        tags["IVDW"] = _last(first_step[place : place + 80], _PRINTED["IVDW"]) or 0
    if "E_p =" in first_step:  # the penalty that holds the moments
        tags["I_CONSTRAINED_M"] = 1
    return run_header(tags, species, is_corrected="Edisp (eV)" in first_step)


def _species(text: str) -> list[Species]:
    """Return the kinds of atoms, compared with what else the head says about them."""
    titles = re.findall(r"^\s*TITEL\s*=\s*(.*?)\s*$", text, re.M)
    counts = [int(n) for n in _last(text, r"ions per type =\s+([\d ]+)$").split()]
    if not titles or not counts:
        raise DataError("not a VASP OUTCAR, or cut off before its list of atoms")
    if len(titles) != len(counts):
        raise DataError(
            f"the OUTCAR names {len(titles)} POTCARs but {len(counts)} kinds of atoms"
        )
    valences = re.findall(r"ZVAL\s+=\s+(\d+\.\d+)\s+mass", text)
    if len(valences) != len(counts):
        raise DataError(not_stated("ZVAL of each POTCAR"))
    species = [
        Species(count, title, float(valence))
        for count, title, valence in zip(counts, titles, valences, strict=True)
    ]
    natoms = _last(text, r"number of ions\s+NIONS =\s+(\d+)\s*$")
    if natoms and int(natoms) != sum(counts):
        raise DataError(
            f"NIONS = {natoms}, but the kinds of atoms add to {sum(counts)}"
        )
    listed = re.findall(r"^\s*POTCAR:\s+(.*?)\s*$", text, re.M)
    described = re.findall(r"^\s*VRHFIN\s*=\s*([A-Za-z]+)", text, re.M)
    differs = len(described) == len(species) and any(
        word != one.element and is_element(word)
        for word, one in zip(described, species, strict=True)
    )
    if differs or (listed and not set(titles) <= set(listed)):
        raise DataError("the OUTCAR contradicts itself on its POTCARs: damaged file")
    return species


def _last(text: str, pattern: str) -> str:
    """Return the last match: VASP 6 echoes the INCAR before its own table."""
    found: list[str] = re.findall(pattern, text, re.M)
    return found[-1].strip() if found else ""


def _per_kind(text: str, name: str, n_kinds: int) -> list[float]:
    """Return one number for each kind; the echo of the INCAR has more digits."""
    numbers = r"\s*=((?:\s+-?\d+\.?\d*)+)\s*$"
    table, echo = (
        [float(word) for word in _last(text, start + name + numbers).split()]
        for start in ("for each species ", r"^\s*")
    )
    if len(table) != n_kinds:
        raise DataError(not_stated(name))
    is_same = len(echo) == n_kinds and all(
        abs(a - b) < _U_ROUNDING_EV for a, b in zip(echo, table, strict=True)
    )
    return echo if is_same else table
