# SPDX-License-Identifier: LGPL-3.0-or-later
"""VASP OUTCAR: every ionic step with the moments that belong to it.

What the file prints twice is compared (see
:mod:`~spin_dp.data_tools.readers.vasp.outcar_step`); a step that contradicts itself is
rejected.
"""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.frame import Frame, Rejected, reject
from spin_dp.data_tools.readers.packed import read_text
from spin_dp.data_tools.readers.vasp.outcar_header import parse_header
from spin_dp.data_tools.readers.vasp.outcar_step import (
    ENERGY,
    FORCES,
    ITERATION,
    OutcarStep,
    head_structure,
    steps_of,
)
from spin_dp.data_tools.readers.vasp.step import (
    DAMAGED_ENERGY,
    UNFINISHED,
    AtomOrder,
    judge,
    rejected_step,
)
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spin_dp.data_tools.readers.source import MissingMoments
    from spin_dp.data_tools.readers.vasp.level import RunHeader

NO_MOMENTS = "no per-atom moments in the OUTCAR: rerun VASP with LORBIT=11"
NO_TABLE = "damaged file: no table of positions and forces of this ionic step"
HIDDEN_SPIN = "damaged file: it says ISPIN=1 and prints a magnetization"

_FOOTER = "General timing and accounting"


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
        first_step = self._text.partition(FORCES)[0]
        self._head, _, after = first_step.partition(ITERATION)
        self.header: RunHeader = parse_header(self._head, after)
        self._has_footer = self._text.rfind(_FOOTER) >= 0

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
        order = AtomOrder(*head_structure(self._head, natoms))
        number, step = 0, None
        for step in steps_of(self._text, natoms):
            for _ in range(step.n_begun - 1):  # steps that have lost their table
                number += 1
                yield self._rejected(number, NO_TABLE)
            number += 1
            try:
                yield self._frame(number, step, order, missing_moments)
            except DataError as error:
                yield self._rejected(number, str(error))
        if self._is_cut_off(step):
            yield self._rejected(number + 1, UNFINISHED)

    def _is_cut_off(self, last: OutcarStep | None) -> bool:
        """Return whether a step follows that has no table of forces."""
        if self._has_footer or last is None:
            return not self._has_footer
        energy = self._text.find(ENERGY, last.forces)
        # Without an energy the step itself is the unfinished one.
        return energy >= 0 and self._text.find(ITERATION, energy) >= 0

    def _frame(
        self, number: int, step: OutcarStep, order: AtomOrder, missing: MissingMoments
    ) -> Frame | Rejected:
        energy = step.free_energy(self.header.ismear)
        if energy is None:
            is_cut = step.end == len(self._text) and not self._has_footer
            raise DataError(UNFINISHED if is_cut else DAMAGED_ENERGY)
        cell, table = step.cell(), step.table()
        order.check(table[:, :3], cell, is_start=number == 1)
        moments = step.moments(noncollinear=self.header.noncollinear)
        frame = Frame(
            source=str(self.path),
            step=number,
            symbols=self.header.symbols,
            cell=cell,
            positions=table[:, :3],
            energy=energy,
            forces=table[:, 3:],
            moments=np.zeros_like(table[:, :3]) if moments is None else moments,
            virial=step.virial(abs(float(np.linalg.det(cell)))),
            level=self.header.level,
            constrained=self.header.constrained,
            total_moment=step.total_moment(),
        )
        if isfinite(frame.total_moment) and not self.header.polarised:
            return reject(frame, HIDDEN_SPIN)
        return judge(
            frame,
            self.header,
            converged=step.is_converged,
            scf_energy=step.scf_energy(),
            missing_moments=missing,
            no_moments=NO_MOMENTS if moments is None else "",
        )

    def _rejected(self, number: int, reason: str) -> Rejected:
        return rejected_step(self.path, number, self.header, reason)


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
