# SPDX-License-Identifier: LGPL-3.0-or-later
"""Thermo lines of LAMMPS: read them, write them as a table, sum them up."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
_PERFORMANCE = re.compile(r"^Performance:\s+(\S+)\s+ns/day")


class ThermoParser:
    """Picks the thermo rows out of the lines of a log, one line at a time."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self.ns_per_day: float | None = None

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
        if line.startswith("Loop time"):
            self._names = []
        match = _PERFORMANCE.match(line)
        if match:
            self.ns_per_day = float(match[1])
        if not words or len(words) != len(self._names) or not line.endswith("\n"):
            return None
        try:
            return dict(zip(self._names, map(float, words), strict=True))
        except ValueError:
            return None


def parse_thermo(lines: Iterable[str]) -> tuple[list[ThermoRow], float | None]:
    """Return the thermo rows of a log and its speed.

    Parameters
    ----------
    lines
        Lines of the log with their line ends; a cut-off last line is left out.

    Returns
    -------
    list of dict, float or None
        Rows by step, and ns/day where the log has it.
    """
    parser = ThermoParser()
    rows = [row for line in lines if (row := parser.feed(line)) is not None]
    return rows, parser.ns_per_day


def join_parts(parts: Sequence[Sequence[ThermoRow]]) -> list[ThermoRow]:
    """Return the rows of a resumed run: a later part replaces what it redid."""
    joined: list[ThermoRow] = []
    for rows in parts:
        if rows:
            joined = [row for row in joined if row["step"] < rows[0]["step"]]
            joined.extend(rows)
    return joined


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
