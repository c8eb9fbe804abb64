# SPDX-License-Identifier: LGPL-3.0-or-later
"""Thermo lines of LAMMPS: read them, write them as a table, sum them up."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ThermoRow: TypeAlias = dict[str, float]

_COLUMNS = {
    "Step": "step",
    "Temp": "temperature_K",
    "PotEng": "potential_energy_eV",
    "KinEng": "kinetic_energy_eV",
    "TotEng": "total_energy_eV",
    "Press": "pressure_bar",
    "Volume": "volume_A3",
    "Lx": "lx_A",
    "Ly": "ly_A",
    "Lz": "lz_A",
    "Xy": "xy_A",
    "Xz": "xz_A",
    "Yz": "yz_A",
}
_LOOP = re.compile(r"Loop time of (\S+) on \d+ procs for (\d+) steps")


class ThermoParser:
    """Picks the thermo rows out of the lines of a log, one line at a time.

    Attributes
    ----------
    loops
        Seconds and number of steps of each ``run``, as LAMMPS timed it.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self.loops: list[tuple[float, int]] = []

    def feed(self, line: str) -> ThermoRow | None:
        """Return the row that a line holds, or None.

        Parameters
        ----------
        line
            One line of the log or of the screen output.

        Returns
        -------
        dict or None
            Values by column name; names carry the unit, e.g. ``temperature_K``.
        """
        words = line.split()
        if words[:2] == ["Step", "Temp"]:
            self._names = [_COLUMNS.get(word, word) for word in words]
            return None
        loop = _LOOP.match(line)
        if loop:
            self._names = []
            self.loops.append((float(loop[1]), int(loop[2])))
        if not words or len(words) != len(self._names) or not line.endswith("\n"):
            return None
        try:
            return dict(zip(self._names, map(float, words), strict=True))
        except ValueError:
            return None


def read_thermo(
    logs: Sequence[Path], *, every: int
) -> tuple[list[ThermoRow], list[tuple[float, int]]]:
    """Return the thermo rows and the timed loops of a run from the logs of its parts.

    Parameters
    ----------
    logs
        Log files, oldest first; a later one replaces what it redid.
    every
        Steps between rows; those between, where a segment ended, are left out, but not
        the last.

    Returns
    -------
    list of dict, list of tuple
        Rows, each step once, as the run arrived there; a cut-off last line is left
        out. Seconds and number of steps of each loop.
    """
    joined: list[ThermoRow] = []
    loops: list[tuple[float, int]] = []
    for log in logs:
        parser = ThermoParser()
        with log.open(encoding="utf-8", errors="replace") as lines:
            rows = [row for line in lines if (row := parser.feed(line)) is not None]
        loops += parser.loops
        if rows:
            # Where one part ends and the next begins, moments may have changed: the row
            # and the frame of that step are those before.
            joined = [row for row in joined if row["step"] <= rows[0]["step"]]
        for row in rows:
            if not joined or row["step"] > joined[-1]["step"]:
                joined.append(row)
    return [row for row in joined[:-1] if row["step"] % every == 0] + joined[-1:], loops


def render_csv(rows: Sequence[ThermoRow], timestep_fs: float) -> str:
    """Return thermo rows as comma-separated text, with the time in ps added."""
    if not rows:
        return ""
    names = ["step", "time_ps", *(name for name in rows[0] if name != "step")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        full = row | {"time_ps": row["step"] * timestep_fs * 1.0e-3}
        writer.writerow([f"{full[name]:.12g}" for name in names])
    return text.getvalue()


def mean_temperature(rows: Sequence[ThermoRow]) -> float | None:
    """Return the mean temperature of the second half of the rows, K."""
    if not rows:
        return None
    return float(np.mean([row["temperature_K"] for row in rows[len(rows) // 2 :]]))


def energy_drift(
    rows: Sequence[ThermoRow], *, n_atoms: int, timestep_fs: float
) -> float | None:
    """Return the slope of the total energy by least squares, meV/atom/ps."""
    if len(rows) < 2:
        return None
    time_ps = np.array([row["step"] * timestep_fs * 1.0e-3 for row in rows])
    energy_mev = np.array([row["total_energy_eV"] for row in rows]) * 1000.0 / n_atoms
    time_ps -= time_ps.mean()
    return float(time_ps @ (energy_mev - energy_mev.mean()) / (time_ps @ time_ps))


def ns_per_day(
    loops: Sequence[tuple[float, int]], *, timestep_fs: float
) -> float | None:
    """Return the simulated time, ns, in a day of the timed loops; None without one."""
    seconds = sum(duration for duration, _ in loops)
    steps = sum(number for _, number in loops)
    return steps * timestep_fs * 1.0e-6 / seconds * 86_400.0 if seconds else None
