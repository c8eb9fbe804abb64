# SPDX-License-Identifier: LGPL-3.0-or-later
"""The tables and lines of one ionic step in an OUTCAR.

VASP writes fixed numbers of decimals. They are demanded here, so that columns without a
blank between them are told apart and a lost digit is noticed. A field of stars, which
is a number too long for its column, is read as nan.

The moments of a step are the last table (tables x, y, z of a noncollinear run) between
its line ``aborting loop`` and ``TOTAL-FORCE``: noncollinear runs also print tables
inside the SCF cycle, and a finished run repeats the last one at its end. The energy is
the free energy of the ionic step, to which the forces belong; it contains dispersion,
which the energy of the last SCF iteration lacks.

The tables are read here and not by :class:`pymatgen.io.vasp.Outcar`, which keeps the
moments and the energy of the last step only, and whose ``read_table_pattern`` checks
neither the numbers of the atoms nor the sums below a table; damage that it would let
pass is in ``test_data_vasp_mutations.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
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
    from collections.abc import Iterable, Iterator

    from spin_dp.data_tools.frame import Array

DAMAGED_MOMENTS = "damaged file: the table of moments cannot be read"
MOMENT_SUM = "damaged file: the moments do not add up to the sums printed with them"
DAMAGED_STRESS = "damaged file: the stress in kB and in eV contradict each other"

FORCES = "TOTAL-FORCE (eV/Angst)"
ENERGY = "free  energy   TOTEN  ="
ITERATION = "- Iteration "
_FIRST_ITERATION = "(   1)  -"
_CONVERGED = "aborting loop because EDIFF is reached"
_CELL = "direct lattice vectors "
_SCF = "free energy    TOTEN  ="
_ELECTRONS = "number of electron "
_STRESS = "\n  in kB "
_HEAD_POSITIONS = "position of ions in cartesian coordinates"


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
    rf"{_ELECTRONS}\s*\d+\.\d+ magnetization((?:[ \t]+-?\d*\.\d+)*)[ \t]*\n"
)


@dataclass(frozen=True)
class OutcarStep:
    """One ionic step; every method raises DataError where the text is damaged.

    Attributes
    ----------
    text
        The OUTCAR.
    start, forces, end
        Where the step begins (at the forces of the step before it), where its table of
        forces stands, and where the next one does.
    natoms
        Number of atoms.
    """

    text: str
    start: int
    forces: int
    end: int
    natoms: int

    @property
    def n_begun(self) -> int:
        """Number of SCF cycles up to the forces; over 1 if steps lost their table."""
        return self.text.count(_FIRST_ITERATION, self.start, self.forces)

    @property
    def is_converged(self) -> bool:
        """Whether the SCF cycle reached EDIFF."""
        return self._last(_CONVERGED) >= 0

    def table(self) -> Array:
        """Return positions, Å, and forces, eV/Å, (nloc, 6).

        The forces have to add up to zero (VASP takes the drift off them) or to the
        drift.
        """
        natoms = self.natoms
        lines = _lines(self.text, self.forces, natoms + 4, DAMAGED_FORCES)
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

    def cell(self) -> Array:
        """Return the lattice vectors as rows, (3, 3), Å."""
        return _cell_vectors(self.text, self._last(_CELL))

    def moments(self, *, noncollinear: bool) -> Array | None:
        """Return the moments, (nloc, 3), μB; None without their table."""
        columns = {axis: np.zeros(self.natoms) for axis in "xyz"}
        for axis in "xyz" if noncollinear else "x":
            place = self._last(f" magnetization ({axis})", self._last(_CONVERGED))
            if place < 0:
                return None
            columns[axis if noncollinear else "z"] = self._moment_column(place + 1)
        return np.stack([columns[axis] for axis in "xyz"], axis=1)

    def _moment_column(self, place: int) -> Array:
        """Return the moments along one axis, compared with all sums of their table."""
        natoms = self.natoms
        lines = _lines(self.text, place, natoms + 5 + (natoms > 1), DAMAGED_MOMENTS)
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

    def free_energy(self, ismear: int) -> float | None:
        """Return the free energy, eV, None if there is no whole line with it.

        It is compared with the energies printed below it.
        """
        place = self.text.find(ENERGY, self.forces, self.end)
        match = _ENERGIES.match(self.text, place + len(ENERGY)) if place >= 0 else None
        if match is None:
            return None
        free, *others = _floats(word for word in match.groups() if word is not None)
        if others and isfinite(free):
            check_energies(free, others[0], others[1], ismear)
        return free

    def scf_energy(self) -> float | None:
        """Return the free energy of the last SCF iteration, eV."""
        place = self._last(_SCF)
        match = _SCF_ENERGY.match(self.text, place + len(_SCF)) if place >= 0 else None
        return float(match[1]) if match else None

    def total_moment(self) -> float:
        """Return the last moment of the cell, μB, nan where there is none.

        It is the length of the vector in noncollinear runs.
        """
        place = self._last(_ELECTRONS)
        match = _TOTAL_MOMENT.match(self.text, place) if place >= 0 else None
        numbers = _floats(match[1].split()) if match else []
        if len(numbers) == 1:
            return numbers[0]
        return float(np.linalg.norm(numbers)) if numbers else nan

    def virial(self, volume: float) -> Array | None:
        """Return the virial, (3, 3), eV; VASP prints pressure (positive: compression).

        None if there is no stress or it is too long for its columns. The line in kB is
        compared with the one above it, which is in eV.
        """
        place = self._last(_STRESS)
        start = place + len(_STRESS)
        line = self.text[start : self.text.find("\n", start)]
        if place < 0 or "*" in line:
            return None
        above = self.text[self.text.rfind("\n", 0, place) + 1 : place]
        label, _, rest = above.partition("Total")
        match, total = _STRESS_ROW.fullmatch(line), _STRESS_ROW.fullmatch(rest)
        if match is None or total is None or label.strip():
            raise DataError(DAMAGED_STRESS)
        in_ev = np.array(_floats(match.groups())) * volume / EV_PER_ANGSTROM3_IN_KBAR
        printed = np.array(_floats(total.groups()))
        rounding = 2.0e-5 + 2.0e-6 * np.abs(printed) + 1.0e-8 * volume
        if (np.abs(in_ev - printed) > rounding).any():
            raise DataError(DAMAGED_STRESS)
        xx, yy, zz, xy, yz, zx = in_ev
        return np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])

    def _last(self, marker: str, start: int = 0) -> int:
        """Return the last place of a marker before the forces, or -1."""
        return self.text.rfind(marker, max(start, self.start), self.forces)


def steps_of(text: str, natoms: int) -> Iterator[OutcarStep]:
    """Yield the ionic steps of an OUTCAR that have a table of forces, in order."""
    start, forces = 0, text.find(FORCES)
    while forces >= 0:
        following = text.find(FORCES, forces + 1)
        end = following if following >= 0 else len(text)
        yield OutcarStep(text, start, forces, end, natoms)
        start, forces = forces, following


def head_structure(head: str, natoms: int) -> tuple[Array, Array] | tuple[None, None]:
    """Return the structure that a run starts from.

    Parameters
    ----------
    head
        The OUTCAR up to its first SCF iteration.
    natoms
        Number of atoms.

    Returns
    -------
    tuple of array, or of None
        Cartesian positions, (nloc, 3), Å, and cell, (3, 3), Å; None where they cannot
        be read, as no frame is made of them.
    """
    try:
        rows = _lines(head, head.rfind(_HEAD_POSITIONS), natoms + 1, DAMAGED_FORCES)[1:]
        cell = _cell_vectors(head, head.rfind(_CELL))
        return _table(_HEAD_ROW, rows, DAMAGED_FORCES), cell
    except DataError:
        return None, None


def _cell_vectors(text: str, place: int) -> Array:
    """Read a cell, compared with the reciprocal vectors and lengths beside it."""
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


def _lines(text: str, place: int, count: int, reason: str) -> list[str]:
    """Return the rest of the line at a place (-1: nowhere) and the lines below it."""
    end = place
    for _ in range(count):
        end = text.find("\n", end) + 1
        if place < 0 or end == 0:
            raise DataError(reason)
    return text[place : end - 1].split("\n")


def _table(row: re.Pattern[str], lines: list[str], reason: str) -> Array:
    matches = [row.fullmatch(line) for line in lines]
    if not all(matches):
        raise DataError(reason)
    return np.array([_floats(match.groups()) for match in matches if match])


def _floats(words: Iterable[str]) -> list[float]:
    return [nan if word[0] in "*N" else float(word) for word in words]
