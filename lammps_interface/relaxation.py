# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a relaxation came to, read from its log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ENERGY = "Energy initial, next-to-last, final ="
_FORCE = re.compile(r"\s*Force max component initial, final = (\S+) (\S+)")
_ITERATIONS = re.compile(r"\s*Iterations, force evaluations = (\d+) (\d+)")


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """What a relaxation came to.

    Attributes
    ----------
    iterations
        Steps of the minimiser.
    energy_change
        Energy at the end less that at the start, eV.
    largest_force
        Largest component of a force, or of the stress as LAMMPS scales it, eV/Å.
    """

    iterations: int
    energy_change: float
    largest_force: float


def read_relaxation(log: Path) -> Relaxation | None:
    """Return what the minimisations of a log came to together; None without one.

    Parameters
    ----------
    log
        Log of LAMMPS.
    """
    iterations, energies, force = 0, [], None
    lines = iter(log.read_text(encoding="utf-8", errors="replace").splitlines())
    for line in lines:
        if line.strip() == _ENERGY:
            numbers = next(lines, "").split()
            energies += [float(numbers[0]), float(numbers[-1])]
        elif found := _FORCE.match(line):
            force = float(found[2])
        elif found := _ITERATIONS.match(line):
            iterations += int(found[1])
    if force is None or not energies:
        return None
    return Relaxation(
        iterations=iterations,
        energy_change=energies[-1] - energies[0],
        largest_force=force,
    )
