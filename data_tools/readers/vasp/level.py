# SPDX-License-Identifier: LGPL-3.0-or-later
"""Atoms, spin settings and level of theory of a VASP run, whichever file states them.

OUTCAR and vasprun.xml of one run give the same level: what one file prints with fewer
digits is rounded to those digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spin_dp.data_tools.level import Level
from spin_dp.errors import DataError
from spin_dp.spin_states.elements import is_element

if TYPE_CHECKING:
    from collections.abc import Sequence

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


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What makes the level of theory of a VASP run.

    Attributes
    ----------
    titles
        Title of the POTCAR of each kind of atoms.
    functional
        Two letters as in the tag GGA or in the POTCAR.
    metagga
        Name of the meta-GGA; empty if none.
    exact_exchange, screening
        Share of exact exchange and its screening, 1/Å; None unless LHFCALC.
    hubbard_type
        LDAUTYPE; empty without DFT+U.
    hubbard
        Channel, U and J (eV) of each kind of atoms.
    cutoff
        ENCUT, eV.
    ismear, sigma
        Smearing and its width, eV.
    dispersion
        Kind of dispersion correction; empty if none.
    spin_orbit, noncollinear, lasph
        The flags LSORBIT, LNONCOLLINEAR, LASPH.
    net_charge
        Charge of the cell, e.
    """

    titles: tuple[str, ...]
    functional: str
    metagga: str = ""
    exact_exchange: float | None = None
    screening: float | None = None
    hubbard_type: str = ""
    hubbard: tuple[tuple[int, float, float], ...] = ()
    cutoff: float
    ismear: int
    sigma: float
    dispersion: str = ""
    spin_orbit: bool
    noncollinear: bool
    lasph: bool
    net_charge: float


def level_of_run(settings: RunSettings) -> Level:
    """Return the level of theory of a run.

    Parameters
    ----------
    settings
        The settings as read from either file.

    Returns
    -------
    Level
        Everything that energies depend on but numerical effort.
    """
    elements = [element_of_potcar(title) for title in settings.titles]
    functional = _functional(settings)
    hubbard = _hubbard(settings, elements)
    description: dict[str, object] = {
        "program": "VASP",
        "potcar": _by_element(elements, settings.titles),
        **functional,
        "hubbard": hubbard,
        "encut_ev": round(settings.cutoff, 1),
        "smearing": _smearing(settings),
        "dispersion": settings.dispersion,
        "spin_orbit": settings.spin_orbit,
        "noncollinear": settings.noncollinear,
        "lasph": settings.lasph,
        "net_charge": settings.net_charge,
    }
    dispersion = _DISPERSION.get(settings.dispersion, "vdW")
    words = [
        "VASP",
        str(functional["functional"])
        + ("+U" if hubbard else "")
        + (f"+{dispersion}" if settings.dispersion else "")
        + ("+SOC" if settings.spin_orbit else ""),
        f"{settings.cutoff:.0f}eV",
    ]
    return Level("-".join(words), description)


def element_of_potcar(title: str) -> str:
    """Return the element that a POTCAR title names.

    Parameters
    ----------
    title
        E.g. ``PAW_PBE Fe_pv 02Aug2007``.

    Returns
    -------
    str
        Its chemical symbol.

    Raises
    ------
    DataError
        If there is none.
    """
    for word in title.split()[:2][::-1]:
        symbol = re.split(r"[_.]", word)[0]
        if is_element(symbol):
            return symbol
    raise DataError(f"no element can be read from the POTCAR title {title!r}")


def net_charge(
    counts: Sequence[int], valences: Sequence[float], n_electrons: float
) -> float:
    """Return the charge of the cell, e: valence electrons of its atoms less NELECT."""
    neutral = sum(n * z for n, z in zip(counts, valences, strict=True))
    return round(neutral - n_electrons, 3) + 0.0


def _by_element(elements: Sequence[str], values: Sequence[object]) -> dict[str, object]:
    """Give each element its value, or all of them where its kinds of atoms differ."""
    found: dict[str, list[object]] = {element: [] for element in sorted(elements)}
    for element, value in zip(elements, values, strict=True):
        if value not in found[element]:
            found[element].append(value)
    return {e: of[0] if len(of) == 1 else of for e, of in found.items()}


def _functional(settings: RunSettings) -> dict[str, object]:
    tag = settings.functional.upper()
    name = _FUNCTIONALS.get(tag, tag)
    found: dict[str, object] = {"functional": name}
    if settings.metagga:
        found |= {"functional": settings.metagga.upper(), "gga": name}
    if settings.exact_exchange is not None:
        found |= {
            "functional": f"{found['functional']}-hybrid",
            "exact_exchange": round(settings.exact_exchange, 4),
            "screening_per_angstrom": round(settings.screening or 0.0, 4),
        }
    return found


def _hubbard(settings: RunSettings, elements: Sequence[str]) -> dict[str, object]:
    """Return U and J in eV per element that has them."""
    if not settings.hubbard_type:
        return {}
    entries = [
        {"l": channel, "u_ev": u, "j_ev": j} if channel >= 0 and (u or j) else None
        for channel, u, j in settings.hubbard
    ]
    by_element = _by_element(elements, entries)
    return {"type": settings.hubbard_type} | {
        element: entry for element, entry in by_element.items() if entry is not None
    }


def _smearing(settings: RunSettings) -> str:
    if settings.ismear in _TETRAHEDRON:
        return f"ISMEAR={settings.ismear}"
    return f"ISMEAR={settings.ismear}, SIGMA={round(settings.sigma, 2):g} eV"
