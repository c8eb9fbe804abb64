# SPDX-License-Identifier: LGPL-3.0-or-later
"""The tables and lines of one ionic step in an OUTCAR.

VASP writes fixed numbers of decimals. They are demanded here, so that columns without a
blank between them are told apart and a lost digit is noticed. A field of stars, which
is a number too long for its column, is read as nan.

The tables are read here and not by :mod:`pymatgen`, which reads the file anew for each
kind of table and checks neither the numbers of the atoms nor the sums below a table.
"""

from __future__ import annotations

import re
from math import isfinite, nan
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.readers.vasp.step import (
    DAMAGED_CELL,
    DAMAGED_FORCES,
    FORCE_SUM,
    check_cell,
    check_energies,
)
from spin_dp.errors import DataError
from spin_dp.units import EV_PER_ANGSTROM3_IN_KBAR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spin_dp.data_tools.frame import Array

DAMAGED_MOMENTS = "damaged file: the table of moments cannot be read"
MOMENT_SUM = "damaged file: the moments do not add up to the sums printed with them"
DAMAGED_STRESS = "damaged file: the stress in kB and in eV contradict each other"

FORCES = "TOTAL-FORCE (eV/Angst)"
ENERGY = "free  energy   TOTEN  ="
CELL = "direct lattice vectors "
SCF_ENERGY = "free energy    TOTEN  ="
ELECTRONS = "number of electron "
STRESS = "\n  in kB "
HEAD_POSITIONS = "position of ions in cartesian coordinates"


def _columns(decimals: tuple[int, ...]) -> re.Pattern[str]:
    fields = (rf"(?>(-?\d*\.\d{{{n}}}|\*+|NaN))" for n in decimals)
    return re.compile(r"\s*" + r"\s*".join(fields) + r"\s*")


_FORCE_ROW = _columns((5, 5, 5, 6, 6, 6))
_DRIFT = re.compile(r"\s*total drift:\s+" + _columns((6, 6, 6)).pattern)
_CELL_ROW = _columns((9,) * 6)
_STRESS_ROW = _columns((5,) * 6)
_HEAD_ROW = _columns((8, 8, 8))
_MOMENT = re.compile(r"-?\d*\.\d{3}|\*{1,8}|NaN")
_MOMENT_ROW = re.compile(rf"\s*(\d+|tot)\s+((?>\s*(?>{_MOMENT.pattern}))+)\s*")
_ENERGIES = re.compile(
    r"\s*(-?\d*\.\d{6}(?:\d\d)?|\*+|NaN) eV *\n"
    r"(?:\s*energy  without entropy=\s*(-?\d*\.\d{6,8})"
    r"  energy\(sigma->0\) =\s*(-?\d*\.\d{6,8}) *\n)?"
)
_SCF_ENERGY = re.compile(r"\s*(-?\d*\.\d{6,8}) eV")
_TOTAL_MOMENT = re.compile(
    rf"{ELECTRONS}\s*\d+\.\d+ magnetization((?:[ \t]+-?\d*\.\d+)*)[ \t]*\n"
)


def force_table(text: str, place: int, natoms: int) -> Array:
    """Read positions and forces.

    Parameters
    ----------
    text
        The OUTCAR.
    place
        Where :data:`FORCES` stands.
    natoms
        Number of atoms.

    Returns
    -------
    array
        Positions, Å, and forces, eV/Å, (nloc, 6).

    Raises
    ------
    DataError
        If rows are missing or damaged, or the forces do not add up to zero (VASP takes
        the drift off them) or to the drift.
    """
    lines = _lines(text, place, natoms + 4, DAMAGED_FORCES)
    rules = (lines[1], lines[natoms + 2])
    if any(rule.strip("- \t") or "---" not in rule for rule in rules):
        raise DataError(DAMAGED_FORCES)
    table = _table(_FORCE_ROW, lines[2 : natoms + 2], DAMAGED_FORCES)
    total = table[:, 3:].sum(axis=0)
    match = _DRIFT.fullmatch(lines[natoms + 3])
    drift = np.array(_floats(match.groups())) if match else np.zeros(3)
    rounding = 5.0e-7 * natoms + 1.0e-6
    if min(np.abs(total).max(), np.abs(total - drift).max()) > rounding:
        raise DataError(FORCE_SUM)
    return table


def moment_column(text: str, place: int, natoms: int) -> Array:
    """Read the moments along one axis.

    Parameters
    ----------
    text
        The OUTCAR.
    place
        Where ``magnetization (x)`` (or y, z) stands.
    natoms
        Number of atoms.

    Returns
    -------
    array
        Moments, (nloc,), μB.

    Raises
    ------
    DataError
        If atoms are missing or out of order, or the sums over angular momenta or over
        atoms are not those printed.
    """
    lines = _lines(text, place, natoms + 5 + (natoms > 1), DAMAGED_MOMENTS)
    n_columns = len(lines[2].split()) - 3
    if not lines[2].startswith("# of ion") or not lines[3].startswith("-----"):
        raise DataError(DAMAGED_MOMENTS)
    rows = lines[4 : natoms + 4] + ([lines[natoms + 5]] if natoms > 1 else [])
    labels = [*map(str, range(1, natoms + 1)), *(["tot"] if natoms > 1 else [])]
    matches = [_MOMENT_ROW.fullmatch(row) for row in rows]
    if [match[1] if match else "" for match in matches] != labels:
        raise DataError(DAMAGED_MOMENTS)
    numbers = [_floats(_MOMENT.findall(match[2])) for match in matches if match]
    if {len(row) for row in numbers} != {n_columns}:
        raise DataError(DAMAGED_MOMENTS)
    table = np.array(numbers)
    atoms = table[:natoms]
    over_shells = np.abs(atoms[:, :-1].sum(axis=1) - atoms[:, -1])
    over_atoms = np.abs(atoms.sum(axis=0) - table[-1])
    # Comparisons with nan are false: stars are judged later, as numbers missing.
    if (over_shells > 5.0e-4 * (n_columns + 1)).any() or (
        over_atoms > 5.0e-4 * (natoms + 2)
    ).any():
        raise DataError(MOMENT_SUM)
    return atoms[:, -1]


def cell_vectors(text: str, place: int) -> Array:
    """Read the lattice vectors as rows, (3, 3), Å.

    Parameters
    ----------
    text
        The OUTCAR.
    place
        Where :data:`CELL` stands.

    Returns
    -------
    array
        The lattice vectors.

    Raises
    ------
    DataError
        If they do not fit the reciprocal vectors or the lengths printed with them.
    """
    lines = _lines(text, place, 7, DAMAGED_CELL)
    both = _table(_CELL_ROW, lines[1:4], DAMAGED_CELL)
    cell = both[:, :3]
    check_cell(cell, both[:, 3:])
    lengths = _CELL_ROW.fullmatch(lines[6])
    if lengths is not None:
        printed = np.array(_floats(lengths.groups()[:3]))
        if not np.abs(printed - np.linalg.norm(cell, axis=1)).max() < 1.0e-6:
            raise DataError(DAMAGED_CELL)
    return cell


def free_energy(text: str, place: int, ismear: int) -> float | None:
    """Return the free energy of the ionic step, eV; None if its line is not whole.

    Parameters
    ----------
    text
        The OUTCAR.
    place
        Where :data:`ENERGY` stands.
    ismear
        Kind of smearing of the run.

    Raises
    ------
    DataError
        If the energies printed below it contradict it.
    """
    match = _ENERGIES.match(text, place + len(ENERGY))
    if match is None:
        return None
    free, *others = _floats(word for word in match.groups() if word is not None)
    if others and isfinite(free):
        check_energies(free, others[0], others[1], ismear)
    return free


def virial(text: str, place: int, volume: float) -> Array | None:
    """Return the virial, (3, 3), eV; VASP prints pressure (positive: compression).

    Parameters
    ----------
    text
        The OUTCAR.
    place
        Where :data:`STRESS` stands.
    volume
        Volume of the cell, Å³.

    Returns
    -------
    array or None
        None if the pressure is too long for its columns.

    Raises
    ------
    DataError
        If the line is damaged or does not fit the one above it, which is in eV.
    """
    above = text[text.rfind("\n", 0, place) + 1 : place]
    line = text[place + len(STRESS) : text.find("\n", place + len(STRESS))]
    if "*" in line:
        return None
    match = _STRESS_ROW.fullmatch(line)
    if match is None:
        raise DataError(DAMAGED_STRESS)
    in_ev = np.array(_floats(match.groups())) * volume / EV_PER_ANGSTROM3_IN_KBAR
    label, _, rest = above.partition("Total")
    total = _STRESS_ROW.fullmatch(rest)
    if total is None or label.strip():
        raise DataError(DAMAGED_STRESS)
    printed = np.array(_floats(total.groups()))
    rounding = 2.0e-5 + 2.0e-6 * np.abs(printed) + 1.0e-8 * volume
    if (np.abs(in_ev - printed) > rounding).any():
        raise DataError(DAMAGED_STRESS)
    xx, yy, zz, xy, yz, zx = in_ev
    return np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])


def head_structure(
    text: str, end: int, natoms: int
) -> tuple[Array, Array] | tuple[None, None]:
    """Return the structure that a run starts from.

    Parameters
    ----------
    text
        The OUTCAR.
    end
        Where its head ends.
    natoms
        Number of atoms.

    Returns
    -------
    tuple of array, or of None
        Cartesian positions, (nloc, 3), Å, and cell, (3, 3), Å; None where they cannot
        be read, as no frame is made of them.
    """
    place, cell = text.rfind(HEAD_POSITIONS, 0, end), text.rfind(CELL, 0, end)
    if place < 0 or cell < 0:
        return None, None
    try:
        rows = _lines(text, place, natoms + 1, DAMAGED_FORCES)[1:]
        return _table(_HEAD_ROW, rows, DAMAGED_FORCES), cell_vectors(text, cell)
    except DataError:
        return None, None


def scf_energy(text: str, start: int, end: int) -> float | None:
    """Return the free energy of the last SCF iteration in a stretch of text, eV."""
    place = text.rfind(SCF_ENERGY, start, end)
    match = _SCF_ENERGY.match(text, place + len(SCF_ENERGY)) if place >= 0 else None
    return float(match[1]) if match else None


def total_moment(text: str, start: int, end: int) -> float:
    """Return the last moment of the cell in a stretch of text, μB.

    It is the length of the vector in noncollinear runs and nan where there is none.
    """
    place = text.rfind(ELECTRONS, start, end)
    match = _TOTAL_MOMENT.match(text, place) if place >= 0 else None
    numbers = _floats(match[1].split()) if match else []
    if len(numbers) == 1:
        return numbers[0]
    return float(np.linalg.norm(numbers)) if numbers else nan


def _lines(text: str, place: int, count: int, reason: str) -> list[str]:
    """Return the rest of the line at a place and the lines below it."""
    end = place
    for _ in range(count):
        end = text.find("\n", end) + 1
        if end == 0:
            raise DataError(reason)
    return text[place : end - 1].split("\n")


def _table(row: re.Pattern[str], lines: list[str], reason: str) -> Array:
    matches = [row.fullmatch(line) for line in lines]
    if not all(matches):
        raise DataError(reason)
    return np.array([_floats(match.groups()) for match in matches if match])


def _floats(words: Iterable[str]) -> list[float]:
    return [nan if word[0] in "*N" else float(word) for word in words]
