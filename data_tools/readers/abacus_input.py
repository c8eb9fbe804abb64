# SPDX-License-Identifier: LGPL-3.0-or-later
"""The INPUT of an ABACUS run: its parameters and its level of theory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from spin_dp.data_tools.level import Level
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CHARGE = ("nelec", "nelec_delta")


def parse_input(text: str) -> dict[str, str]:
    """Return the parameters of an INPUT file, names in lower case."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        words = re.split(r"[#!]|//", line)[0].split()
        if len(words) > 1:
            found[words[0].lower()] = " ".join(words[1:])
    return found


def is_on(settings: Mapping[str, str], name: str) -> bool:
    """Return whether a logical parameter is set to true."""
    return settings.get(name, "0").lower() in {"1", "true", ".true.", "t"}


def abacus_level(
    settings: Mapping[str, str], structure: Mapping[str, Any], log: str
) -> Level:
    """Return the level of theory of a run.

    K-mesh and SCF thresholds do not count. A setting that INPUT leaves out is ABACUS's
    default and recorded as such.

    Parameters
    ----------
    settings
        Parameters of INPUT.
    structure
        STRU as dpdata reads it: ``atom_names``, ``pp_files``, ``orb_files``.
    log
        ``running_*.log``, which names the functional of the pseudopotentials.

    Returns
    -------
    Level
        The level.
    """
    names = _elements([str(name) for name in structure["atom_names"]])
    functional = settings.get("dft_functional", "default").upper()
    if functional == "DEFAULT":  # the one of the pseudopotentials
        found = re.findall(r"exchange-correlation functional = *(\S+)", log)
        functional = "+".join(sorted(set(found))) or "default"
    hubbard = _hubbard(settings, names)
    dispersion = settings.get("vdw_method", "none")
    spin_orbit = is_on(settings, "lspinorb")
    cutoff = number(settings, "ecutwfc")
    description: dict[str, object] = {
        "program": "ABACUS",
        "functional": functional,
        "basis": settings.get("basis_type", "pw"),
        "setups": _setups(structure, names),
        "hubbard": hubbard,
        "ecutwfc_ry": cutoff,
        "smearing": settings.get("smearing_method", "default"),
        "smearing_ry": number(settings, "smearing_sigma"),
        "dispersion": dispersion,
        "spin_orbit": spin_orbit,
        "noncollinear": settings.get("nspin") == "4",
        **{name: number(settings, name) for name in _CHARGE if name in settings},
    }
    basis = "default" if cutoff is None else f"{cutoff:g}Ry"
    ending = "+U" if hubbard else ""
    ending += f"+{dispersion}" if dispersion != "none" else ""
    ending += "+SOC" if spin_orbit else ""
    return Level(f"ABACUS-{functional}{ending}-{basis}"[:40], description)


def number(settings: Mapping[str, str], name: str) -> float | None:
    """Return a number of INPUT, or None where INPUT leaves it to ABACUS.

    Raises
    ------
    DataError
        If it is no number.
    """
    if name not in settings:
        return None
    try:
        return float(settings[name])
    except ValueError as error:
        raise DataError(
            f"INPUT sets {name} to {settings[name]!r}, expected a number"
        ) from error


def _elements(labels: Sequence[str]) -> list[str]:
    """Return elements for labels; two kinds of one element keep theirs (Fe1, Fe2)."""
    elements = [re.sub(r"\d+$", "", label) for label in labels]
    return [
        label if elements.count(element) > 1 else element
        for label, element in zip(labels, elements, strict=True)
    ]


def _setups(structure: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Return pseudopotential and orbital file (without folder) of each element."""
    tables = [structure.get("pp_files") or [], structure.get("orb_files") or []]
    found: dict[str, str] = {}
    for index, name in enumerate(names):
        files = [str(table[index]) for table in tables if len(table) > index]
        found[name] = ", ".join(file.rpartition("/")[2] for file in files)
    return found


def _hubbard(settings: Mapping[str, str], names: Sequence[str]) -> dict[str, object]:
    """Return U in eV and the corrected l of each element that has one."""
    kind = settings.get("dft_plus_u", "0")
    if kind == "0":
        return {}
    values = settings.get("hubbard_u", "").split()
    channels = settings.get("orbital_corr", "").split()
    return {
        name: {"l": channel, "u_ev": number({"hubbard_u": value}, "hubbard_u")}
        | {"projector": kind}
        for name, value, channel in zip(names, values, channels, strict=False)
        if channel != "-1"
    }
