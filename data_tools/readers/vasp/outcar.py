# SPDX-License-Identifier: LGPL-3.0-or-later
"""VASP OUTCAR: every ionic step with the moments that belong to it.

The moments of a step are the last table (tables x, y, z of a noncollinear run) between
its line ``aborting loop`` and ``TOTAL-FORCE``: noncollinear runs also print tables
inside the SCF cycle, and a finished run repeats the last one at its end. The energy is
the free energy of the ionic step, to which the forces belong; it contains dispersion,
which the energy of the last SCF iteration lacks. What the file prints twice is compared
(see :mod:`~spin_dp.data_tools.readers.vasp.outcar_tables`); a step that contradicts
itself is rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.frame import Frame, Rejected, reject
from spin_dp.data_tools.readers.packed import read_text
from spin_dp.data_tools.readers.vasp import outcar_tables as tables
from spin_dp.data_tools.readers.vasp.outcar_header import parse_header
from spin_dp.data_tools.readers.vasp.step import (
    DAMAGED_CELL,
    DAMAGED_ENERGY,
    UNFINISHED,
    AtomOrder,
    judge,
    rejected_step,
)
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spin_dp.data_tools.frame import Array
    from spin_dp.data_tools.readers.source import MissingMoments
    from spin_dp.data_tools.readers.vasp.level import RunHeader

NO_MOMENTS = "no per-atom moments in the OUTCAR: rerun VASP with LORBIT=11"
NO_TABLE = "damaged file: no table of positions and forces of this ionic step"
HIDDEN_SPIN = "damaged file: it says ISPIN=1 and prints a magnetization"

_ITERATION = "- Iteration "
_FIRST_ITERATION = "(   1)  -"
_CONVERGED = "aborting loop because EDIFF is reached"
_FOOTER = "General timing and accounting"


@dataclass(frozen=True)
class _Stretch:
    """The text of one ionic step: up to its forces, and on to the next forces."""

    start: int
    forces: int
    end: int


class OutcarRun:
    """An OUTCAR and its ionic steps.

    Parameters
    ----------
    path
        The file, plain or packed.

    Attributes
    ----------
    header
        Atoms, spin settings and level of theory.

    Raises
    ------
    DataError
        If the file is not an OUTCAR or its head is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text = read_text(path)
        self._head_end = _found(self._text, _ITERATION)
        first = _found(self._text, tables.FORCES)
        self.header: RunHeader = parse_header(
            self._text[: self._head_end], self._text[self._head_end : first]
        )

    def frames(
        self, missing_moments: MissingMoments = "reject"
    ) -> Iterator[Frame | Rejected]:
        """Yield each ionic step, usable or rejected.

        Parameters
        ----------
        missing_moments
            What becomes of runs that are not spin-polarised, see
            :class:`~spin_dp.data_tools.readers.source.ReadOptions`.
        """
        natoms = len(self.header.symbols)
        order = AtomOrder(*tables.head_structure(self._text, self._head_end, natoms))
        step = 0
        stretch = _Stretch(0, 0, self._head_end)
        for stretch in self._stretches():
            begun = self._text.count(_FIRST_ITERATION, stretch.start, stretch.forces)
            for _ in range(begun - 1):  # steps that have lost their table
                step += 1
                yield self._rejected(step, NO_TABLE)
            step += 1
            try:
                yield self._step(step, stretch, order, missing_moments)
            except DataError as error:
                yield self._rejected(step, str(error))
        if self._is_cut_off(stretch):
            yield self._rejected(step + 1, UNFINISHED)

    def _stretches(self) -> Iterator[_Stretch]:
        start = 0
        place = self._text.find(tables.FORCES)
        while place >= 0:
            end = _found(self._text, tables.FORCES, place + 1)
            yield _Stretch(start, place, end)
            start, place = place, end if end < len(self._text) else -1

    def _is_cut_off(self, last: _Stretch) -> bool:
        """Return whether a step follows that has no table of forces."""
        if self._has_footer:
            return False
        if last.forces == 0:
            return True
        energy = self._text.find(tables.ENERGY, last.forces)
        # Without an energy the step itself is the unfinished one.
        return energy >= 0 and self._text.find(_ITERATION, energy) >= 0

    @cached_property
    def _has_footer(self) -> bool:
        return self._text.rfind(_FOOTER) >= 0

    def _step(
        self, step: int, at: _Stretch, order: AtomOrder, missing: MissingMoments
    ) -> Frame | Rejected:
        energy = self._energy(at)
        cell = self._cell(at)
        table = tables.force_table(self._text, at.forces, len(self.header.symbols))
        order.check(table[:, :3], cell, is_start=step == 1)
        converged = self._text.rfind(_CONVERGED, at.start, at.forces)
        moments = self._moments(max(converged, at.start), at.forces)
        frame = Frame(
            source=str(self.path),
            step=step,
            symbols=self.header.symbols,
            cell=cell,
            positions=table[:, :3],
            energy=energy,
            forces=table[:, 3:],
            moments=np.zeros_like(table[:, :3]) if moments is None else moments,
            virial=self._virial(at, cell),
            level=self.header.level,
            constrained=self.header.constrained,
            total_moment=tables.total_moment(self._text, at.start, at.forces),
        )
        if isfinite(frame.total_moment) and not self.header.polarised:
            return reject(frame, HIDDEN_SPIN)
        return judge(
            frame,
            self.header,
            converged=converged >= 0,
            scf_energy=tables.scf_energy(self._text, at.start, at.forces),
            missing_moments=missing,
            no_moments=NO_MOMENTS if moments is None else "",
        )

    def _energy(self, at: _Stretch) -> float:
        place = self._text.find(tables.ENERGY, at.forces, at.end)
        energy = (
            tables.free_energy(self._text, place, self.header.ismear)
            if place >= 0
            else None
        )
        if energy is None:
            is_cut = at.end == len(self._text) and not self._has_footer
            raise DataError(UNFINISHED if is_cut else DAMAGED_ENERGY)
        return energy

    def _cell(self, at: _Stretch) -> Array:
        place = self._text.rfind(tables.CELL, at.start, at.forces)
        if place < 0:
            raise DataError(DAMAGED_CELL)
        return tables.cell_vectors(self._text, place)

    def _virial(self, at: _Stretch, cell: Array) -> Array | None:
        place = self._text.rfind(tables.STRESS, at.start, at.forces)
        if place < 0:
            return None
        return tables.virial(self._text, place, abs(float(np.linalg.det(cell))))

    def _moments(self, start: int, end: int) -> Array | None:
        natoms = len(self.header.symbols)
        columns = {axis: np.zeros(natoms) for axis in "xyz"}
        for axis in "xyz" if self.header.noncollinear else "x":
            place = self._text.rfind(f" magnetization ({axis})", start, end)
            if place < 0:
                return None
            column = tables.moment_column(self._text, place + 1, natoms)
            columns[axis if self.header.noncollinear else "z"] = column
        return np.stack([columns[axis] for axis in "xyz"], axis=1)

    def _rejected(self, step: int, reason: str) -> Rejected:
        return rejected_step(self.path, step, self.header, reason)


def read_outcar(
    path: Path, *, missing_moments: MissingMoments = "reject"
) -> Iterator[Frame | Rejected]:
    """Yield the ionic steps of an OUTCAR.

    Parameters
    ----------
    path
        The file, plain or packed.
    missing_moments
        ``zero`` takes the steps of a run that is not spin-polarised, with zero moments.

    Yields
    ------
    Frame or Rejected
        One for each ionic step, in order; an unfinished last one is rejected.

    Raises
    ------
    DataError
        If the file is not an OUTCAR or its head is damaged.
    """
    yield from OutcarRun(Path(path)).frames(missing_moments)


def _found(text: str, marker: str, start: int = 0) -> int:
    """Return the next place of a marker, or the end of the text."""
    place = text.find(marker, start)
    return place if place >= 0 else len(text)
