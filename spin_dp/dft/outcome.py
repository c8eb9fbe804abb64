# SPDX-License-Identifier: LGPL-3.0-or-later
"""What became of a DFT run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Status(StrEnum):
    """How a run stands."""

    CONVERGED = "converged"
    """There is a frame with forces and moments."""
    UNCONVERGED = "unconverged"
    """The SCF cycle ended without convergence: recorded, not run again."""
    FAILED = "failed"
    """The program failed; run again as often as allowed."""
    WAITING = "waiting"
    """Not there yet: not begun, run elsewhere, or to be run by the user."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a request.

    Attributes
    ----------
    name
        Of the request.
    status, reason
        How it stands, and why it is not converged; empty where it is.
    folder
        Where its files are, which ``spin-dp collect`` reads.
    energy
        Energy that belongs to the forces, eV; None if there is none.
    moments
        Moments that DFT ended in, of the atoms in the order of the request, μB.
    total_moment
        Of the cell, μB.
    seconds
        Wall time of the run; 0 if it was read only.
    failures
        Runs of this request that failed.
    """

    name: str
    status: Status
    folder: Path
    reason: str = ""
    energy: float | None = None
    moments: tuple[float, ...] | None = None
    total_moment: float | None = None
    seconds: float = 0.0
    failures: int = 0

    @property
    def is_final(self) -> bool:
        """Whether DFT has answered, with a state or by not converging."""
        return self.status in {Status.CONVERGED, Status.UNCONVERGED}
