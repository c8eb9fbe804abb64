# SPDX-License-Identifier: LGPL-3.0-or-later
"""The head of a vasprun.xml: atoms, spin settings, SCF limits, level of theory.

Its level is the one that the OUTCAR of the same run gives, as far as the file states
it: VASP 5 may not record a dispersion correction in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from spin_dp.data_tools.readers.vasp.level import (
    RunHeader,
    RunSettings,
    element_of_potcar,
    level_of_run,
    net_charge,
)
from spin_dp.errors import DataError
from spin_dp.spin_states.elements import is_element

if TYPE_CHECKING:
    from collections.abc import Mapping

_POTCAR_FUNCTIONALS = {"PAW_PBE": "PE", "PAW_GGA": "91", "PAW": "CA"}


@dataclass(frozen=True)
class ScfLimits:
    """When VASP ends an SCF cycle.

    Attributes
    ----------
    nelm
        Largest number of iterations.
    ediff
        Largest change of the energy in the last one, eV.
    """

    nelm: int
    ediff: float

    def are_met(self, energies: list[float]) -> bool:
        """Return whether a cycle with these free energies, eV, has converged."""
        if not 2 <= len(energies) < self.nelm:
            return False
        return abs(energies[-1] - energies[-2]) <= self.ediff * 1.000001


@dataclass(frozen=True)
class _Kind:
    """One kind of atoms: how many, POTCAR title, valence electrons."""

    count: int
    title: str
    valence: float

    @property
    def element(self) -> str:
        return element_of_potcar(self.title)


def parse_header(text: str, correction: float = 0.0) -> tuple[RunHeader, ScfLimits]:
    """Read the head of a vasprun.xml.

    Parameters
    ----------
    text
        The file up to its first ionic step.
    correction
        Energy of an ionic step less that of its last SCF iteration, eV: what VASP adds
        after the SCF cycle is dispersion.

    Returns
    -------
    tuple of RunHeader and ScfLimits
        Atoms, spin settings, level; limits of the SCF cycle.

    Raises
    ------
    DataError
        If the list of atoms or a setting is not there, or they contradict each other.
    """
    if "<atominfo>" not in text:
        raise DataError("not a vasprun.xml, or cut off before its list of atoms")
    kinds = _kinds(_part(text, "atominfo"))
    symbols = tuple(kind.element for kind in kinds for _ in range(kind.count))
    incar = _values(_part(text, "incar"))
    values = _values(_part(text, "parameters"))
    version = re.search(r'name="version"[^>]*>\s*(\d+)', text)
    noncollinear = _flag(values, "LNONCOLLINEAR")
    settings = RunSettings(
        titles=tuple(kind.title for kind in kinds),
        functional=_functional(values, kinds),
        metagga=_metagga(values, incar),
        exact_exchange=_number(values, "AEXX") if _flag(values, "LHFCALC") else None,
        screening=_number(values, "HFSCREEN"),
        hubbard_type=incar.get("LDAUTYPE", "2") if _flag(values, "LDAU") else "",
        hubbard=_hubbard(incar, kinds, version) if _flag(values, "LDAU") else (),
        cutoff=_number(values, "ENMAX"),
        ismear=int(_number(values, "ISMEAR")),
        sigma=_number(values, "SIGMA"),
        dispersion=_dispersion(
            values, incar, is_added=abs(correction) > 1.0e-3 * len(symbols)
        ),
        spin_orbit=_flag(values, "LSORBIT"),
        noncollinear=noncollinear,
        lasph=_flag(values, "LASPH"),
        net_charge=net_charge(
            [kind.count for kind in kinds],
            [kind.valence for kind in kinds],
            _number(values, "NELECT"),
        ),
    )
    header = RunHeader(
        symbols=symbols,
        polarised=noncollinear or int(_number(values, "ISPIN")) == 2,
        noncollinear=noncollinear,
        constrained=_number(values, "NUPDOWN") >= 0.0
        or _number(values, "I_CONSTRAINED_M") > 0.0,
        ismear=settings.ismear,
        level=level_of_run(settings),
    )
    limits = ScfLimits(int(_number(values, "NELM")), _number(values, "EDIFF"))
    return header, limits


def _part(text: str, name: str) -> ElementTree.Element:
    """Parse one element of the head."""
    start, end = text.find(f"<{name}>"), text.find(f"</{name}>")
    try:
        return ElementTree.fromstring(text[start : end + len(name) + 3])
    except ElementTree.ParseError as error:
        raise DataError(
            f"the element {name} of the vasprun.xml is damaged or cut off"
        ) from error


def _kinds(atominfo: ElementTree.Element) -> list[_Kind]:
    """Return the kinds of atoms, compared with the list of single atoms."""
    rows = [
        [(cell.text or "").strip() for cell in row.iter("c")]
        for row in atominfo.iterfind("array[@name='atomtypes']/set/rc")
    ]
    try:
        kinds = [_Kind(int(row[0]), row[4], float(row[3])) for row in rows]
        atoms = [
            [(cell.text or "").strip() for cell in row.iter("c")]
            for row in atominfo.iterfind("array[@name='atoms']/set/rc")
        ]
        listed = [(element, int(kind)) for element, kind in atoms]
    except (ValueError, IndexError) as error:
        raise DataError("the list of atoms in the vasprun.xml is damaged") from error
    expected = chain.from_iterable(
        [(kind.element, number)] * kind.count for number, kind in enumerate(kinds, 1)
    )
    for atom, stated in zip(listed, [*expected], strict=False):
        # VASP writes some elements short ("r" for Zr): only real ones are compared.
        if atom[1] != stated[1] or (is_element(atom[0]) and atom[0] != stated[0]):
            raise DataError("the list of atoms in the vasprun.xml is out of order")
    if not kinds or len(listed) != sum(kind.count for kind in kinds):
        raise DataError("the list of atoms in the vasprun.xml is incomplete")
    return kinds


def _values(part: ElementTree.Element) -> dict[str, str]:
    """Return the settings by name; of equal names (NELM of GW) the first counts."""
    found: dict[str, str] = {}
    for item in part.iter():
        if item.tag in {"i", "v"} and "name" in item.attrib:
            found.setdefault(item.attrib["name"], (item.text or "").strip())
    return found


def _needed(values: Mapping[str, str], name: str) -> str:
    if name not in values:
        raise DataError(f"the vasprun.xml does not state {name}: damaged or cut off")
    return values[name]


def _number(values: Mapping[str, str], name: str) -> float:
    text = _needed(values, name)
    if re.fullmatch(r"-?\d+(?:\.\d*)?", text) is None:
        raise DataError(f"{name} in the vasprun.xml is no number: {text!r}")
    return float(text)


def _flag(values: Mapping[str, str], name: str) -> bool:
    text = _needed(values, name)
    if text not in {"T", "F"}:
        raise DataError(f"{name} in the vasprun.xml is neither T nor F: {text!r}")
    return text == "T"


def _functional(values: Mapping[str, str], kinds: list[_Kind]) -> str:
    """Return the functional; ``GGA = --`` stands for the one of the POTCARs."""
    tag = _needed(values, "GGA")
    if tag != "--":
        return tag
    names = {kind.title.split()[0] for kind in kinds}
    found = {_POTCAR_FUNCTIONALS.get(name, name) for name in names}
    if len(found) != 1:
        raise DataError("the POTCARs in the vasprun.xml name more than one functional")
    return found.pop()


def _metagga(values: Mapping[str, str], incar: Mapping[str, str]) -> str:
    for name in (values.get("METAGGA", ""), incar.get("METAGGA", "")):
        if name.upper() not in {"", "F", "--", "NONE"}:
            return name
    return "unnamed" if _flag(values, "LMETAGGA") else ""


def _hubbard(
    incar: Mapping[str, str], kinds: list[_Kind], version: re.Match[str] | None
) -> tuple[tuple[int, float, float], ...]:
    """Return l, U, J (eV) of each kind; VASP before 6 prints one decimal in OUTCAR."""
    decimals = 1 if version is not None and int(version[1]) < 6 else 8
    columns = [_needed(incar, name).split() for name in ("LDAUL", "LDAUU", "LDAUJ")]
    try:
        return tuple(
            (int(channel), round(float(u), decimals), round(float(j), decimals))
            for _, channel, u, j in zip(kinds, *columns, strict=True)
        )
    except ValueError as error:
        raise DataError("LDAUL, LDAUU, LDAUJ in the vasprun.xml do not fit") from error


def _dispersion(
    values: Mapping[str, str], incar: Mapping[str, str], *, is_added: bool
) -> str:
    number = incar.get("IVDW", values.get("IVDW", "0"))
    if values.get("LUSE_VDW", "F") == "T":
        return f"vdW-DF, IVDW={number}"
    if number != "0":
        return f"IVDW={number}"
    return "unnamed" if is_added else ""
