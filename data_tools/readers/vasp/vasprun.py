# SPDX-License-Identifier: LGPL-3.0-or-later
"""VASP vasprun.xml: atoms, settings, and each ionic step that is complete.

Most of such a file is densities of states and eigenvalues. The few parts needed here
are cut out of the text and only those are parsed as XML. A file cut off at any byte
so keeps its complete steps, and a step counts as complete and converged only if its
element is closed and its SCF cycle shows it: :class:`pymatgen.io.vasp.Vasprun` reads
the whole file and calls some truncated runs converged.

No vasprun.xml holds moments of atoms: they are in the OUTCAR alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite, nan
from statistics import median
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from spin_dp.data_tools.frame import Frame, Rejected, reject
from spin_dp.data_tools.readers.vasp.step import (
    FORCE_SUM,
    UNFINISHED,
    AtomOrder,
    check_cell,
    check_energies,
    judge,
    read_text,
    rejected_step,
)
from spin_dp.data_tools.readers.vasp.vasprun_header import parse_header
from spin_dp.errors import DataError
from spin_dp.units import EV_PER_ANGSTROM3_IN_KBAR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spin_dp.data_tools.frame import Array
    from spin_dp.data_tools.readers.source import MissingMoments

NO_MOMENTS = (
    "vasprun.xml holds no per-atom moments, give the OUTCAR of this run too (LORBIT=11)"
)
NO_RESULTS = "no structure, forces and energy in this step of the vasprun.xml"
DAMAGED_XML = "damaged file: the XML of the ionic step cannot be read"

_ENERGY_END = "</energy>"
_NUMBER = re.compile(r"-?\d*\.\d+(?:E[+-]?\d+)?|\*+|NaN")
_FREE_ENERGY = re.compile(r'name="e_fr_energy">\s*(\S+)\s*</i>')


@dataclass(frozen=True, eq=False)
class VasprunStep:
    """One complete ionic step.

    Attributes
    ----------
    cell
        Cell vectors as rows, (3, 3), Å.
    positions
        Cartesian positions, (nloc, 3), Å.
    forces
        Forces, (nloc, 3), eV/Å.
    stress
        Stress as VASP has it (positive: compression), (3, 3), kbar, or None.
    energy
        Free energy of the ionic step, eV.
    scf_energy
        Free energy of the last SCF iteration, eV, or None.
    converged
        Whether the SCF cycle reached EDIFF in fewer than NELM iterations.
    """

    cell: Array
    positions: Array
    forces: Array
    stress: Array | None
    energy: float
    scf_energy: float | None
    converged: bool

    @property
    def virial(self) -> Array | None:
        """Virial, (3, 3), eV, positive under compression; made symmetric."""
        if self.stress is None:
            return None
        kbar = 0.5 * (self.stress + self.stress.T)
        volume = abs(np.linalg.det(self.cell))
        return np.asarray(kbar * volume / EV_PER_ANGSTROM3_IN_KBAR)


class VasprunRun:
    """A vasprun.xml and its ionic steps.

    Parameters
    ----------
    path
        The file; ``.gz`` is unpacked.

    Attributes
    ----------
    header
        Atoms, spin settings and level of theory.

    Raises
    ------
    DataError
        If the file is not a vasprun.xml or its head is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text = read_text(path)
        self._stretches = list(_stretches(self._text))
        end = self._stretches[0][0] if self._stretches else len(self._text)
        self.header, self._limits = parse_header(self._text[:end], self._correction())

    def steps(self) -> Iterator[VasprunStep | str]:
        """Yield each ionic step, or why it cannot be read."""
        for start, end, is_closed in self._stretches:
            if not is_closed:
                is_last = end == len(self._text)
                yield UNFINISHED if is_last else DAMAGED_XML
                continue
            try:
                yield self._step(start, end)
            except DataError as error:
                yield str(error)

    def frames(
        self, missing_moments: MissingMoments = "reject"
    ) -> Iterator[Frame | Rejected]:
        """Yield each ionic step, rejected unless the run has no moments at all.

        Parameters
        ----------
        missing_moments
            What becomes of runs that are not spin-polarised, see
            :class:`~spin_dp.data_tools.readers.source.ReadOptions`.
        """
        order = AtomOrder()
        for number, step in enumerate(self.steps(), 1):
            if isinstance(step, str):
                yield rejected_step(self.path, number, self.header, step)
                continue
            frame = self._frame(number, step)
            try:
                order.check(frame.positions, frame.cell)
            except DataError as error:
                yield reject(frame, str(error))
                continue
            yield judge(
                frame,
                self.header,
                converged=step.converged,
                scf_energy=step.scf_energy,
                missing_moments=missing_moments,
                no_moments=NO_MOMENTS,
            )

    def _step(self, start: int, end: int) -> VasprunStep:
        results = self._text.find("<structure", start, end)
        stop = self._text.find(_ENERGY_END, max(results, start), end)
        if results < 0 or stop < 0:
            raise DataError(NO_RESULTS)
        root = _parsed(self._text[results : stop + len(_ENERGY_END)])
        natoms = len(self.header.symbols)
        cell = _array(root, "structure/crystal/varray[@name='basis']", 3)
        check_cell(cell, _array(root, "structure/crystal/varray[@name='rec_basis']", 3))
        forces = _array(root, "varray[@name='forces']", natoms)
        if np.abs(forces.sum(axis=0)).max() > 5.0e-9 * natoms + 1.0e-8:
            raise DataError(FORCE_SUM)
        has_stress = root.find("varray[@name='stress']") is not None
        scf = self._scf_energies(start, results)
        is_whole = len(scf) == self._text.count("</scstep>", start, results)
        return VasprunStep(
            cell=cell,
            positions=_array(root, "structure/varray[@name='positions']", natoms)
            @ cell,
            forces=forces,
            stress=_array(root, "varray[@name='stress']", 3) if has_stress else None,
            energy=_energy(root, self.header.ismear),
            scf_energy=scf[-1] if scf and isfinite(scf[-1]) else None,
            converged=is_whole and self._limits.are_met(scf),
        )

    def _scf_energies(self, start: int, end: int) -> list[float]:
        return [_number(word) for word in _FREE_ENERGY.findall(self._text, start, end)]

    def _correction(self) -> float:
        """Return what the run adds to its energies after the SCF cycle, eV."""
        found = []
        for start, end, is_closed in self._stretches:
            results = self._text.find("<structure", start, end)
            stop = self._text.find(_ENERGY_END, max(results, start), end)
            if is_closed and results >= 0 and stop >= 0:
                found.append(self._scf_energies(start, stop)[-2:])
        differences = [pair[1] - pair[0] for pair in found if len(pair) == 2]
        return median(differences) if differences else 0.0

    def _frame(self, number: int, step: VasprunStep) -> Frame:
        return Frame(
            source=str(self.path),
            step=number,
            symbols=self.header.symbols,
            cell=step.cell,
            positions=step.positions,
            energy=step.energy,
            forces=step.forces,
            moments=np.zeros_like(step.positions),
            virial=step.virial,
            level=self.header.level,
            constrained=self.header.constrained,
        )


def read_vasprun(
    path: Path, *, missing_moments: MissingMoments = "reject"
) -> Iterator[Frame | Rejected]:
    """Yield the ionic steps of a vasprun.xml without its OUTCAR.

    Parameters
    ----------
    path
        vasprun.xml or vasprun.xml.gz.
    missing_moments
        ``zero`` takes the steps of a run that is not spin-polarised, with zero moments.

    Yields
    ------
    Frame or Rejected
        One for each ionic step, in order.

    Raises
    ------
    DataError
        If the file is not a vasprun.xml or its head is damaged.
    """
    yield from VasprunRun(path).frames(missing_moments)


def _stretches(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield begin and end of each ionic step, and whether both its tags are there."""
    tags = [(place, True) for place in _places(text, "<calculation>")]
    tags += [(place, False) for place in _places(text, "</calculation>")]
    begun = -1
    for place, is_opening in sorted(tags):
        if is_opening:
            if begun >= 0:
                yield begun, place, False
            begun = place
        else:
            yield (begun if begun >= 0 else place), place, begun >= 0
            begun = -1
    if begun >= 0:
        yield begun, len(text), False


def _places(text: str, marker: str) -> Iterator[int]:
    place = text.find(marker)
    while place >= 0:
        yield place
        place = text.find(marker, place + 1)


def _parsed(piece: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(f"<step>{piece}</step>")
    except ElementTree.ParseError as error:
        raise DataError(DAMAGED_XML) from error


def _array(root: ElementTree.Element, path: str, n_rows: int) -> Array:
    """Return the rows of a table, (n_rows, 3)."""
    rows = [(row.text or "").split() for row in root.iterfind(f"{path}/v")]
    if len(rows) != n_rows or {len(row) for row in rows} != {3}:
        raise DataError(DAMAGED_XML)
    return np.array([[_number(word) for word in row] for row in rows])


def _number(word: str) -> float:
    """Return a number; stars stand for one that is too long for its field."""
    if _NUMBER.fullmatch(word) is None:
        raise DataError(DAMAGED_XML)
    return nan if word[0] in "*N" else float(word)


def _energy(root: ElementTree.Element, ismear: int) -> float:
    """Return the free energy of the step, eV, compared with the two beside it.

    VASP 6 gives energy without entropy and extrapolated energy; VASP 5 the extrapolated
    one under the name of the former, and the entropy under the name of the latter.
    """
    found = {
        str(item.get("name")): _number((item.text or "").strip())
        for item in root.iterfind("energy/i")
    }
    if "e_fr_energy" not in found:
        raise DataError(NO_RESULTS)
    free = found["e_fr_energy"]
    if isfinite(free) and {"e_wo_entrp", "e_0_energy"} <= found.keys():
        second, third = found["e_wo_entrp"], found["e_0_energy"]
        is_old = abs(third) < 0.5 * abs(free)
        inner, extrapolated = (free - third, second) if is_old else (second, third)
        check_energies(free, inner, extrapolated, ismear)
    return free
