# SPDX-License-Identifier: LGPL-3.0-or-later
"""When an ionic step of VASP may be used: the reasons, the same for every file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.frame import Frame, Rejected, flaw, reject
from spin_dp.errors import DataError
from spin_dp.spin_states.elements import formula

if TYPE_CHECKING:
    from pathlib import Path

    from spin_dp.data_tools.frame import Array
    from spin_dp.data_tools.readers.source import MissingMoments
    from spin_dp.data_tools.readers.vasp.level import RunHeader

UNPOLARISED = "not spin-polarised (ISPIN=1): rerun VASP with ISPIN=2 and LORBIT=11"
UNCONVERGED = "SCF not converged: EDIFF was not reached within NELM iterations"
UNFINISHED = "unfinished ionic step: the file ends before its forces and energy"
POSITIVE = "absurd energy: the free energy of the ionic step is positive"
ABSURD_MOMENT = "absurd moments: over 10 μB on one atom"
INCONSISTENT = "absurd energy: over 2 eV/atom from the step's own last SCF iteration"
DAMAGED_FORCES = "damaged file: the table of positions and forces cannot be read"
DAMAGED_CELL = "damaged file: the lattice vectors cannot be read or are not consistent"
DAMAGED_ENERGY = "damaged file: the energies of the step contradict each other"
FORCE_SUM = "damaged file: the forces do not add up to zero or the drift of the step"
EXCHANGED = "damaged file: atoms or lattice vectors in another order than before"
NOT_AT_START = "damaged file: the first step is not at the positions at the start"
NO_SPIN_NOTE = "not spin-polarised (ISPIN=1): all moments set to zero"

_SCF_MISMATCH_EV_PER_ATOM = 2.0  # dispersion, absent from SCF energies, is far smaller
_LARGEST_MOMENT_MUB = 10.0  # 4f7 with a polarised 5d shell stays below 8
_START_ROUNDING_ANGSTROM = 1.0e-3  # VASP may symmetrise what it has read
_JUMP_ANGSTROM = 0.5  # shorter than any bond: a swap of two atoms moves both further


def judge(
    frame: Frame,
    header: RunHeader,
    *,
    converged: bool,
    scf_energy: float | None,
    missing_moments: MissingMoments,
    no_moments: str = "",
) -> Frame | Rejected:
    """Return a step as it may be used, or rejected.

    Parameters
    ----------
    frame
        The step, with zero moments where there are none.
    header
        The run that it belongs to.
    converged
        Whether its SCF cycle reached EDIFF.
    scf_energy
        Free energy of its last SCF iteration, eV; None if unknown.
    missing_moments
        What becomes of runs that are not spin-polarised.
    no_moments
        Why a spin-polarised step has no moments; empty if it has them.

    Returns
    -------
    Frame or Rejected
        The first reason that applies decides.
    """
    if not header.polarised and missing_moments == "reject":
        return reject(frame, UNPOLARISED)
    if not converged:
        return reject(frame, UNCONVERGED)
    reason = flaw(frame) or _absurd(frame, scf_energy)
    if reason is None and header.polarised and no_moments:
        reason = no_moments
    if reason is not None:
        return reject(frame, reason)
    return frame if header.polarised else replace(frame, note=NO_SPIN_NOTE)


def rejected_step(path: Path, step: int, header: RunHeader, reason: str) -> Rejected:
    """Return a step of which no more than its run is known."""
    return Rejected(
        source=str(path),
        step=step,
        reason=reason,
        formula=formula(header.symbols),
        natoms=len(header.symbols),
        level=header.level.id,
        constrained=header.constrained,
    )


def _absurd(frame: Frame, scf_energy: float | None) -> str | None:
    if frame.energy > 0.0:
        return POSITIVE
    if np.abs(frame.moments).max() > _LARGEST_MOMENT_MUB:
        return ABSURD_MOMENT
    if scf_energy is not None and (
        abs(frame.energy - scf_energy) > _SCF_MISMATCH_EV_PER_ATOM * frame.natoms
    ):
        return INCONSISTENT
    return None


def check_energies(free: float, inner: float, extrapolated: float, ismear: int) -> None:
    """Compare the three energies of an ionic step.

    VASP prints the free energy F, the energy E without entropy and their extrapolation
    to zero smearing, F - (F - E) / (2 + N) with the order N of the smearing (0 unless
    Methfessel-Paxton).

    Parameters
    ----------
    free, inner, extrapolated
        F, E and the extrapolation, eV.
    ismear
        Kind of smearing.

    Raises
    ------
    DataError
        If they do not fit.
    """
    expected = free - (free - inner) / (2 + max(ismear, 0))
    if abs(extrapolated - expected) > 2.5e-6:  # VASP before 5.3: six decimals
        raise DataError(DAMAGED_ENERGY)


def check_cell(cell: Array, reciprocal: Array) -> None:
    """Make sure that lattice vectors and reciprocal vectors belong together.

    Parameters
    ----------
    cell, reciprocal
        Vectors as rows, (3, 3), Å and 1/Å (without 2π).

    Raises
    ------
    DataError
        If their products are not the unit matrix within rounding.
    """
    rounding = 3.0e-8 * max(1.0, float(np.abs(cell).max()))
    if not np.abs(cell @ reciprocal.T - np.eye(3)).max() < rounding:
        raise DataError(DAMAGED_CELL)


class AtomOrder:
    """Finds steps in which atoms or lattice vectors have another order than before.

    A step must continue the last step that was in order, or the one just before it:
    so that one step (or list at the head) with two rows exchanged is the only one lost.

    Parameters
    ----------
    positions, cell
        Positions, (nloc, 3), Å, and cell, (3, 3), Å, at the start, if known.
    """

    def __init__(
        self, positions: Array | None = None, cell: Array | None = None
    ) -> None:
        self._in_order: tuple[Array, Array] | None = None
        if positions is not None and cell is not None:
            self._in_order = (positions, cell)
        self._latest = self._in_order

    def check(self, positions: Array, cell: Array, *, is_start: bool = False) -> None:
        """Compare the next step with those before it.

        Parameters
        ----------
        positions, cell
            Positions, (nloc, 3), Å, and cell, (3, 3), Å.
        is_start
            Whether nothing has moved yet.

        Raises
        ------
        DataError
            If two atoms are each far closer to the former place of the other, or the
            lattice vectors have changed their handedness; or if atoms have moved that
            should not have.
        """
        start = self._in_order if is_start else None
        former = [one for one in (self._in_order, self._latest) if one is not None]
        self._latest = (positions, cell)
        if former and all(_is_reordered(positions, cell, *one) for one in former):
            raise DataError(EXCHANGED)
        if start is not None:
            moved = positions - nearest_image(start[0], positions, cell)
            if np.abs(moved).max() > _START_ROUNDING_ANGSTROM:
                raise DataError(NOT_AT_START)
        self._in_order = self._latest


def _is_reordered(
    positions: Array, cell: Array, before: Array, cell_before: Array
) -> bool:
    if np.linalg.det(cell) * np.linalg.det(cell_before) < 0.0:
        return True
    scaled = positions @ np.linalg.inv(cell)
    former = before @ np.linalg.inv(cell_before)
    far = np.flatnonzero(_lengths(scaled - former, cell) > _JUMP_ANGSTROM)
    distances = _lengths(scaled[far, None] - former[None, far], cell)
    is_closer = distances < 0.5 * np.diag(distances)[:, None]
    return bool((is_closer & is_closer.T).any())


def nearest_image(positions: Array, reference: Array, cell: Array) -> Array:
    """Return positions shifted by lattice vectors to those of a reference, Å."""
    shift = np.round((reference - positions) @ np.linalg.inv(cell))
    return np.asarray(positions + shift @ cell)


def _lengths(scaled: Array, cell: Array) -> Array:
    return np.asarray(np.linalg.norm((scaled - np.round(scaled)) @ cell, axis=-1))
