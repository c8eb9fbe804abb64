# SPDX-License-Identifier: LGPL-3.0-or-later
"""The table of what visits to a run did, and what of it an interruption leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spin_dp.files import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from spin_dp.lammps_interface import LammpsSession, MDResult

GAINED = "gained_eV"
"""Column: energy that visits have added since the start; what NVE conserves is the
total energy less that."""


class VisitTable:
    """A row for each visit, and notes in the restart points of the run.

    Parameters
    ----------
    file
        CSV.
    key
        Of the notes of the session.
    columns
        After ``step``.
    """

    def __init__(self, file: Path, key: str, columns: Sequence[str]) -> None:
        self._file, self._key = file, key
        self._columns = ["step", *columns]

    def begin(
        self, session: LammpsSession, first: Sequence[float]
    ) -> Mapping[str, Any] | None:
        """Start the table with a row of step 0, or go on; later rows are forgotten.

        Returns
        -------
        mapping or None
            The notes of the visit that the run goes on from; None at its start.
        """
        notes = session.notes.get(self._key)
        table = pd.DataFrame([[0, *first]], columns=self._columns)
        if notes is not None:
            table = pd.read_csv(self._file)
            table = table[table["step"] <= int(notes["step"])]
        with replacing(self._file) as part:
            table.to_csv(part, index=False)
        return notes

    def add(
        self, session: LammpsSession, row: Sequence[float], notes: Mapping[str, Any]
    ) -> None:
        """Write the row of a visit, and what the next one has to know."""
        step = session.state.step
        session.notes[self._key] = {"step": step, **notes}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(",".join(map(str, [step, *row])) + "\n")


def drift_without_visits(result: MDResult, file: Path) -> float | None:
    """Return the slope of the total energy less what visits gained, meV/atom/ps.

    Parameters
    ----------
    result
        A run in NVE.
    file
        Its table of visits, with the column :data:`GAINED`.
    """
    thermo = pd.read_csv(result.thermo)
    visits = pd.read_csv(file)
    if len(thermo) < 2:
        return None
    # The row of a step is that before its visit.
    before = np.searchsorted(visits["step"], thermo["step"], side="left") - 1
    gained = np.where(before >= 0, visits[GAINED].to_numpy()[before], 0.0)
    energies = (thermo["total_energy_eV"] - gained) * 1000.0 / result.n_atoms
    return float(np.polyfit(thermo["time_ps"], energies, 1)[0])
